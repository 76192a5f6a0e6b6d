//! Real bytes: what is trained round-trips through the portable codec at the rate that was estimated.

mod common;

use common::{Silent, config, pictures};
use lithify_learned::data::Corpus;
use lithify_learned::evaluate::points;
use lithify_learned::objective::Objective;
use lithify_learned::train::train;
use lithify_learned::{coded, export};

/// Bits as coded, over bits as estimated with rounded values; and those, over bits estimated with noise.
fn ratios(transform: &str, more: &str) -> (f64, f64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = config(transform, more);
    config.data.tile = 48;
    let corpus = Corpus::read(&pictures(dir.path()), &config.data, false, "").expect("pictures");
    let device = burn_tensor::Device::flex();
    let mut t = train(&config, &corpus, &device, None, false, &mut Silent(usize::MAX)).expect("training");
    let tiles = corpus.held_out(4, 48);
    let objective = Objective::new(&config, &corpus, &mut t.codec.params).expect("an objective");
    let estimated = points(&t.codec, &objective, &tiles, corpus.range()).expect("points");
    let model = export::model(&t.codec, &corpus, &estimated).expect("a model");
    let real = coded::measure(&model, &corpus, &tiles).expect("coding");
    assert_eq!(real.len(), estimated.len());
    let (real, estimated) = (real[0], estimated[0]);
    assert!((real.psnr_db - estimated.psnr_db).abs() < 0.1, "{real:?} {estimated:?}");
    // Name, flags and lengths: 55 bytes for each tile of 3 x 48 x 48 samples.
    let headers = 55.0 * 8.0 / (3.0 * 48.0 * 48.0);
    let noisy = noisy_bits(&t.codec, &tiles);
    ((real.bits_per_sample - headers) / estimated.bits_per_sample, estimated.bits_per_sample / noisy)
}

fn noisy_bits(codec: &lithify_learned::codec::Codec, tiles: &[lithify_learned::data::Batch]) -> f64 {
    let codec = codec.frozen();
    let mut rng = fastrand::Rng::with_seed(9);
    let bits: f32 = tiles
        .iter()
        .map(|b| {
            let x = lithify_learned::codec::samples(b, codec.params.device());
            let out = codec.run(x, 0, Some(&mut rng)).expect("running");
            lithify_learned::params::floats(out.bits)[0] / b.samples.len() as f32
        })
        .sum();
    f64::from(bits) / tiles.len() as f64
}

#[test]
fn coded_bits_are_those_estimated() {
    for kind in [
        "factorized",
        "laplacian",
        "scale-hyperprior",
        "mean-scale-hyperprior",
        "checkerboard",
        "channel-wise",
        "mixture",
    ] {
        let (coded, _) =
            ratios("kind = \"wavelet-hybrid\"", &format!("[entropy]\nkind = \"{kind}\"\nhyper = 4\nhidden = 8"));
        assert!((0.97..1.03).contains(&coded), "{kind}: {coded}");
    }
    for (quantizer, entropy) in [
        ("vector\"\nstages = 2\ncodewords = 16", "factorized"),
        ("binary\"", "factorized"),
        ("binary\"", "scale-hyperprior"),
    ] {
        let more = format!("[quantizer]\nkind = \"{quantizer}\n[entropy]\nkind = \"{entropy}\"\nhyper = 4\nhidden = 8");
        let (coded, _) = ratios("kind = \"wavelet-hybrid\"", &more);
        assert!((0.95..1.05).contains(&coded), "{more}: {coded}");
    }
}
