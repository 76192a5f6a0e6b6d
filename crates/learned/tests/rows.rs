//! Every row of every axis trains, and becomes a model file.

mod common;

use burn_tensor::Device;
use common::{config, corpus, pictures, trained};
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
    let model = export::model(&after.codec, corpus, last).unwrap_or_else(|e| panic!("{what:?}: {e}"));
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
    for kind in [
        "factorized",
        "laplacian",
        "scale-hyperprior",
        "mean-scale-hyperprior",
        "checkerboard",
        "channel-wise",
        "mixture",
    ] {
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
