//! The same seed is the same run, also when it is interrupted.

use crate::common::{Silent, config, corpus, pictures, trained};
use burn_tensor::Device;
use lithify_learned::train::train;
use lithify_learned::{Error, export};

const ROWS: (&str, &str) = ("kind = \"wavelet-hybrid\"", "[entropy]\nhyper = 4\nhidden = 8");

#[test]
fn same_seed_same_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = config(ROWS.0, ROWS.1);
    let corpus = corpus(&pictures(dir.path()), &config);
    let model = |config: &lithify_learned::config::Config| {
        let t = trained(config, &corpus);
        export::model(&t.codec, &corpus, &[]).expect("a model").hash()
    };
    let first = model(&config);
    assert_eq!(first, model(&config));
    config.train.seed += 1;
    assert_ne!(first, model(&config));
}

#[test]
fn resumed_is_uninterrupted() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = config(ROWS.0, ROWS.1);
    let corpus = corpus(&pictures(dir.path()), &config);
    let whole = trained(&config, &corpus);
    let path = dir.path().join("checkpoint");
    let device = Device::flex();
    let half = train(&config, &corpus, &device, Some(&path), false, &mut Silent(11)).expect("half");
    assert!(half.stopped && half.history.step == 11);
    let rest = train(&config, &corpus, &device, Some(&path), true, &mut Silent(usize::MAX)).expect("the rest");
    assert_eq!(whole.codec.params.portable(), rest.codec.params.portable());
    assert_eq!(whole.history.held_out, rest.history.held_out);

    let mut other = config.clone();
    other.transform.hidden += 1;
    let refused = train(&other, &corpus, &device, Some(&path), true, &mut Silent(usize::MAX));
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    std::fs::write(&path, b"not a checkpoint").expect("writing");
    let refused = train(&config, &corpus, &device, Some(&path), true, &mut Silent(usize::MAX));
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}
