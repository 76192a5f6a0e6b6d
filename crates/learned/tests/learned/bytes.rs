//! Real bytes: what is trained round-trips through the portable codec at the rate that was estimated.

use crate::common::{ENTROPIES, config, corpus, pictures, trained};
use lithify_learned::evaluate::points;
use lithify_learned::objective::Objective;
use lithify_learned::{coded, export};

/// Bits as coded, over bits as estimated.
fn ratio(transform: &str, more: &str) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = config(transform, more);
    config.data.tile = 48;
    let corpus = corpus(&pictures(dir.path()), &config);
    let mut t = trained(&config, &corpus);
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
    (real.bits_per_sample - headers) / estimated.bits_per_sample
}

#[test]
fn coded_bits_are_those_estimated() {
    for kind in ENTROPIES {
        let coded = ratio("kind = \"wavelet-hybrid\"", &format!("[entropy]\nkind = \"{kind}\"\nhyper = 4\nhidden = 8"));
        assert!((0.97..1.03).contains(&coded), "{kind}: {coded}");
    }
    for (quantizer, entropy) in [
        ("vector\"\nstages = 2\ncodewords = 16", "factorized"),
        ("binary\"", "factorized"),
        ("binary\"", "scale-hyperprior"),
    ] {
        let more = format!("[quantizer]\nkind = \"{quantizer}\n[entropy]\nkind = \"{entropy}\"\nhyper = 4\nhidden = 8");
        let coded = ratio("kind = \"wavelet-hybrid\"", &more);
        assert!((0.95..1.05).contains(&coded), "{more}: {coded}");
    }
}
