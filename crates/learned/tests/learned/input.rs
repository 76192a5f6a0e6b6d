//! What is asked for and what is read: errors name what to change; places stay together.

use crate::common::{BANDS, config, corpus, npy, pictures};
use lithify_learned::config::Config;
use lithify_learned::data::Corpus;

#[test]
fn configurations_are_checked() {
    let parse = |body: &str| Config::parse(&format!("name = \"a\"\n{body}")).map(|_| ()).map_err(|e| e.to_string());
    let good = "[transform]\nkind = \"conv-gdn\"\n[objective]\nlambda = [10.0]\n";
    assert_eq!(parse(good), Ok(()));
    for (body, said) in [
        (good.replace("conv-gdn", "conv-gnd"), "expected one of `conv-gdn`, `residual-attention`"),
        (good.replace("lambda", "lamda"), "unknown field `lamda`, expected"),
        (good.replace("10.0", "-1.0"), "objective.lambda must be a list of positive numbers"),
        (good.replace("\n[obj", "\nlevels = 9\n[obj"), "transform.levels = 9 must be from 1 to 5"),
        (format!("{good}[data]\ntile = 100\n"), "data.tile = 100 must be a multiple of 32"),
        (format!("{good}[quantizer]\nkind = \"vector\"\n"), "goes with entropy.kind = \"factorized\""),
        (format!("{good}kind = \"distill\"\n"), "objective.teacher is missing"),
    ] {
        let e = parse(&body).expect_err("refused");
        assert!(e.contains(said) && !e.contains('\n'), "{e}");
    }
}

#[test]
fn places_are_not_split() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = config("kind = \"spectral-mlp\"", "");
    let pattern = pictures(dir.path());
    let by_file = corpus(&pattern, &config);
    assert_eq!((by_file.bands(), by_file.labels.as_slice()), (BANDS, ["field".to_string(), "water".into()].as_slice()));
    assert_eq!((by_file.places(false).len(), by_file.places(true).len()), (4, 2));
    assert!(by_file.places(false).is_disjoint(&by_file.places(true)));
    config.data.place = "/(field|water)/".into();
    let by_folder = corpus(&pattern, &config);
    assert_eq!((by_folder.places(false).len(), by_folder.places(true).len()), (1, 1));
    config.data.place = String::new();
    config.data.block = 24;
    let by_block = corpus(&pattern, &config);
    assert_eq!(by_block.places(false).len() + by_block.places(true).len(), 6 * 4);
    config.data.held_out_places = vec!["nowhere".into()];
    let e = Corpus::read(&pattern, &config.data, false, "").expect_err("unknown place").to_string();
    assert!(e.contains("\"nowhere\" is not one of"), "{e}");
}

#[test]
fn statistics_leave_out_what_is_missing_or_held_out() {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, value) in [("a", 1.0_f32), ("b", 3.0), ("c", 1000.0)] {
        let mut values = vec![value; 64];
        values[5] = f32::NAN;
        npy(&dir.path().join(format!("{name}.npy")), &[8, 8], &values);
    }
    let mut config = config("kind = \"spectral-mlp\"", "");
    config.data.tile = 8;
    config.data.place = "([abc])\\.npy".into();
    config.data.held_out_places = vec!["c".into()];
    let corpus = corpus(&format!("{}/*.npy", dir.path().display()), &config);
    assert_eq!((corpus.means.as_slice(), corpus.deviations.as_slice()), ([2.0].as_slice(), [1.0].as_slice()));
    assert!(corpus.images.iter().all(|i| i.samples.iter().all(|v| v.is_finite()) && i.samples[5] == 0.0));
}

#[test]
fn tiles_are_turned_as_a_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = config("kind = \"spectral-mlp\"", "");
    let corpus = corpus(&pictures(dir.path()), &config);
    let mut rng = fastrand::Rng::with_seed(1);
    let plain = corpus.batch(50, 48, false, &mut fastrand::Rng::with_seed(1));
    let turned = corpus.batch(50, 48, true, &mut rng);
    assert_eq!(plain.shape, [50, BANDS, 1, 48, 48]);
    let mut changed = 0;
    let n = BANDS * 48 * 48;
    for tile in turned.samples.chunks_exact(n) {
        let sorted = |t: &[f32]| {
            let mut t = t.to_vec();
            t.sort_by(f32::total_cmp);
            t
        };
        // Each is one of the pictures, in some orientation, all bands alike.
        let is = corpus.images.iter().find(|i| sorted(&i.samples[..48 * 48]) == sorted(&tile[..48 * 48]));
        let is = is.expect("a picture");
        assert_eq!(sorted(&is.samples[48 * 48..2 * 48 * 48]), sorted(&tile[48 * 48..2 * 48 * 48]));
        changed += usize::from(is.samples != tile);
    }
    assert!(changed > 25, "{changed} of 50 are turned");
}
