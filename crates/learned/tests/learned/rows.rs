//! Every row of every axis trains, and becomes a model file.

use crate::common::{ENTROPIES, config, corpus, pictures, trained, zarr};
use burn_tensor::Device;
use lithify_codec::learned::model::Model;
use lithify_learned::codec::Codec;
use lithify_learned::config::Config;
use lithify_learned::data::Corpus;
use lithify_learned::evaluate::points;
use lithify_learned::export;
use lithify_learned::objective::Objective;

/// Loss on held-out places falls, and what is exported is a model.
fn improves(config: &Config, corpus: &Corpus) {
    let tiles = corpus.held_out(4, config.data.tile);
    let mut codec = Codec::new(config, corpus, &Device::flex()).expect("a codec");
    let objective = Objective::new(config, corpus, &mut codec.params).expect("an objective");
    let before = points(&codec, &objective, &tiles, corpus.range()).expect("points");
    let after = trained(config, corpus);
    let last = &after.history.held_out.last().expect("an evaluation").1;
    let what = (config.transform.kind, config.quantizer.kind, config.entropy.kind, config.objective.kind);
    for (a, b) in before.iter().zip(last) {
        assert!(b.loss < a.loss, "{what:?}: {} -> {}", a.loss, b.loss);
        assert!(b.bits_per_sample > 0.0 && b.psnr_db.is_finite(), "{what:?}: {b:?}");
    }
    let model = export::model(&after.codec, corpus, last).map_err(|e| format!("{what:?}: {e}")).expect("a model");
    let again = Model::from_bytes(model.as_bytes()).expect("what was written");
    assert_eq!((again.hash(), again.card()), (model.hash(), model.card()));
}

fn all(rows: &[(&str, &str)]) {
    let dir = tempfile::tempdir().expect("a folder");
    let pattern = pictures(dir.path());
    for (transform, more) in rows {
        let config = config(transform, more);
        improves(&config, &corpus(&pattern, &config));
    }
}

#[test]
fn transforms() {
    all(&[
        ("kind = \"conv-gdn\"", ""),
        ("kind = \"residual-attention\"", ""),
        ("kind = \"spectral-spatial\"", ""),
        ("kind = \"wavelet-hybrid\"", ""),
        ("kind = \"spectral-mlp\"", ""),
        ("kind = \"conv-gdn\"\nvolume = true", ""),
        ("kind = \"wavelet-hybrid\"\nvolume = true", ""),
    ]);
}

#[test]
fn quantizers() {
    let mlp = "kind = \"wavelet-hybrid\"";
    all(&[
        (mlp, "[quantizer]\nkind = \"vector\"\nstages = 2\ncodewords = 16\n[entropy]\nkind = \"factorized\""),
        (mlp, "[quantizer]\nkind = \"binary\"\n[entropy]\nkind = \"factorized\""),
        (mlp, "[quantizer]\nkind = \"binary\"\n[entropy]\nkind = \"scale-hyperprior\""),
    ]);
}

#[test]
fn entropy_models() {
    for kind in ENTROPIES {
        all(&[("kind = \"wavelet-hybrid\"", &format!("[entropy]\nkind = \"{kind}\"\nhyper = 4\nhidden = 8"))]);
    }
}

#[test]
fn objectives() {
    let wavelet = "kind = \"wavelet-hybrid\"";
    for kind in ["ms-ssim", "masked", "task"] {
        // Four pictures teach little that holds elsewhere of labels, or of what is hidden.
        all(&[(
            wavelet,
            &format!("[objective]\nkind = \"{kind}\"\nlambda = [30.0]\ntask-weight = 0.001\nmasked = 0.03"),
        )]);
    }
    all(&[(wavelet, "[objective]\nlambda = [30.0, 300.0]")]);
}

#[test]
fn objective_of_a_quality_map() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = fastrand::Rng::with_seed(4);
    for place in 0..4 {
        let values: Vec<f32> = (0..32 * 32).map(|i| (i as f32 * 0.1 * (1 + place) as f32).sin() + rng.f32()).collect();
        // The left half counts, the right half does not.
        let quality: Vec<f32> = (0..32 * 32).map(|i| if i % 32 < 16 { 1.0 } else { 0.0 }).collect();
        let arrays: [(&str, &[usize], &[f32]); 2] = [("x", &[1, 32, 32], &values), ("quality", &[32, 32], &quality)];
        zarr(&dir.path().join(format!("{place}.zarr")), &arrays);
    }
    let kind = "[objective]\nkind = \"quality-map\"\nquality = \"quality\"\nlambda = [30.0]";
    let mut config = config("kind = \"wavelet-hybrid\"", kind);
    config.data.variables = vec!["x".into()];
    let corpus = corpus(&format!("{}/*.zarr", dir.path().display()), &config);
    let weights = &corpus.images[0].quality;
    assert_eq!((weights.iter().sum::<f32>(), weights.len()), (512.0, 1024));
    improves(&config, &corpus);
}

#[test]
fn objective_of_a_teacher() {
    let dir = tempfile::tempdir().expect("a folder");
    let pattern = pictures(dir.path());
    let teaching = config("kind = \"spectral-mlp\"", "");
    let pictures = corpus(&pattern, &teaching);
    let teacher = dir.path().join("teacher.safetensors");
    let model = export::model(&trained(&teaching, &pictures).codec, &pictures, &[]).expect("a model");
    std::fs::write(&teacher, model.as_bytes()).expect("writing");
    let kind = format!("[objective]\nkind = \"distill\"\nteacher = {teacher:?}\nlambda = [30.0]");
    improves(&config("kind = \"wavelet-hybrid\"", &kind), &pictures);
}
