//! Every measure against numbers that NumPy 2 and SciPy 1 give for the same field, or that a pencil gives.

use lithify_codec::{Affine, Samples, block};
use lithify_metrics::{Comparer, Comparison};

const SHAPE: [usize; 3] = [2, 16, 20];

/// A field with ties, a quadratic trend and holes, and the same rounded to quarters.
fn field() -> (Vec<f64>, Vec<f64>, Vec<bool>) {
    let mut out = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..SHAPE.iter().product() {
        let (i, j, k) = (n / 320, n / 20 % 16, n % 20);
        let x = ((i * 31 + j * 17 + k * 7) % 101) as f64 / 10.0 + (j * j) as f64 / 50.0;
        out.0.push(x);
        out.1.push((x * 4.0).round_ties_even() / 4.0);
        out.2.push((i * 7 + j * 3 + k) % 29 != 0);
    }
    out
}

#[allow(clippy::unwrap_used)] // a helper of tests
fn compare(blocks: &[usize], in_parts: bool) -> Comparison {
    let (x, y, valid) = field();
    let mut whole = Comparer::new(&SHAPE, Affine::IDENTITY);
    for (start, count) in block::grid(&SHAPE, blocks) {
        let crop = |v: &[f64]| Samples::F64(block::crop(v, &SHAPE, &start, &count));
        let mask = block::crop(&valid, &SHAPE, &start, &count);
        let mut part = Comparer::new(&SHAPE, Affine::IDENTITY);
        let to = if in_parts { &mut part } else { &mut whole };
        to.add_block(&crop(&x), &crop(&y), &start, &count, Some(&mask)).unwrap();
        if in_parts {
            whole.merge(part);
        }
    }
    whole.finish()
}

fn close(what: &str, got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1e-3), "{what}: {got:?}, not {want:?}");
}

#[test]
fn measures_agree_with_scipy_for_any_blocks() {
    for (blocks, in_parts) in [([2, 16, 20], false), ([1, 5, 20], false), ([2, 7, 6], false), ([2, 7, 6], true)] {
        let c = compare(&blocks, in_parts);
        assert_eq!((c.n, c.n_valid, c.n_sampled), (640, 618, 618));
        assert_eq!((c.n_missing_changed, c.n_valid_lost), (20, 0));
        let [o, d] = [&c.original, &c.decoded];
        let ssim = c.ssim.as_ref().unwrap();
        assert_eq!((ssim.n_slices, ssim.n_skipped), (2, 0));
        for (what, got, want) in [
            ("pearson", c.pearson, 0.9997623204126449),
            ("spearman", c.spearman, 0.9997306519911878),
            ("ks distance", c.ks_distance, 0.022653721682847898),
            ("ks p-value", c.ks_p_value, 0.9973684117347559),
            ("determination", c.determination, 0.9995244532838459),
            ("mae", c.mae, 0.061796116504854386),
            ("rel_error_fraction", c.rel_error_fraction, 584.0 / 618.0),
            ("mean", o.mean, 6.550453074433656),
            ("std", o.std, 3.293425851606652),
            ("decoded mean", d.mean, 6.549757281553398),
            ("decoded std", d.std, 3.294113722409817),
            ("ssim min", ssim.min, 0.9996627326516087),
            ("ssim mean", ssim.mean, 0.9996629836000039),
        ] {
            close(what, got, want);
        }
        for (got, want) in o.quantiles.iter().zip([0.01234, 0.52, 1.397, 3.89, 6.4, 9.19, 11.915, 13.3996, 14.1149]) {
            close("quantile", *got, want);
        }
        for (p, want) in [(c.abs_error_p50, 0.07), (c.abs_error_p99, 0.12), (c.abs_error_p999, 0.12)] {
            assert!(p >= want - 1e-12 && p <= want * (1.0 + 1.0 / 64.0), "{p}");
        }
        let slices = [
            [0.009796562653242382, 4.0153990848554484e-05, 0.009836716644090937],
            [0.01035767791625427, 0.0019189161939651997, 0.013550993904454316],
            [0.009769314343322217, 0.0011296168677149944, 0.012444476778137524],
        ];
        for (dim, (got, want)) in c.slices.iter().zip(slices).enumerate() {
            assert_eq!(got.dim, dim);
            close("slice mean", got.mean, want[0]);
            close("slice std", got.std, want[1]);
            close("slice max", got.max, want[2]);
        }
    }
    // Neighbours in different blocks are not paired, hence only for one block.
    let c = compare(&SHAPE, false);
    for (got, want) in c.lag1.iter().zip([-0.02071393960424991, 0.04444070959840117, 0.008736083322884239]) {
        close("lag-1", *got, want);
    }
}

#[test]
fn large_variables_are_sampled_the_same_for_any_blocks() {
    let shape = [3usize, 500, 1000];
    let x: Vec<f32> = (0..1_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
    let y: Vec<f32> = x.iter().map(|v| v * 0.9).collect();
    let compare = |blocks: &[usize]| {
        let mut c = Comparer::new(&shape, Affine::IDENTITY);
        for (start, count) in block::grid(&shape, blocks) {
            let crop = |v: &[f32]| Samples::F32(block::crop(v, &shape, &start, &count));
            c.add_block(&crop(&x), &crop(&y), &start, &count, None).unwrap();
        }
        c.finish()
    };
    let (a, b) = (compare(&[3, 500, 1000]), compare(&[2, 130, 170]));
    assert_eq!(a.n_sampled, 750_000);
    assert_eq!((a.spearman, a.ks_distance, &a.original.quantiles), (b.spearman, b.ks_distance, &b.original.quantiles));
    // Uniform on [0, 2^24), shrunk by a tenth: the distance is a tenth.
    assert!((a.ks_distance - 0.1).abs() < 2e-3 && a.ks_p_value < 1e-12, "{}", a.ks_distance);
    assert!(a.spearman > 0.999_999_999);
    assert_eq!(a.ssim.unwrap().n_slices, 3);
}

#[test]
fn packed_values_are_judged_in_physical_units() {
    let mut c = Comparer::new(&[2, 2], Affine { scale: 0.5, offset: 10.0 });
    // 10, 11, 12, missing against 10, 11.5, 12, changed; the holes of an integer array are known to its mask only.
    let (x, y) = (Samples::I16(vec![0, 2, 4, -999]), Samples::I16(vec![0, 3, 4, -998]));
    c.add_block(&x, &y, &[0, 0], &[2, 2], Some(&[true, true, true, false])).unwrap();
    let c = c.finish();
    assert_eq!((c.n_valid, c.n_changed, c.n_missing_changed), (3, 2, 1));
    assert_eq!((c.max_abs, c.original.mean, c.decoded.max), (0.5, 11.0, 12.0));
    close("bias", c.bias, 0.5 / 3.0);
    // Regression sees no bias: sums 2, 2.1667 and 2 about the means.
    close("r^2", c.r_squared, 4.0 / (2.0 * (2.0 + 1.0 / 6.0)));
    close("determination", c.determination, 1.0 - 0.25 / 2.0);
    close("slice", c.slices[0].max, (0.25f64 / 221.0).sqrt());
    assert_eq!(c.rel_error_fraction, 1.0 / 3.0);
}

#[test]
fn nothing_bad_looks_good() {
    let judge = |x: Vec<f64>, y: Vec<f64>| {
        let mut c = Comparer::new(&[x.len()], Affine::IDENTITY);
        c.add_block(&Samples::F64(x.clone()), &Samples::F64(y), &[0], &[x.len()], None).unwrap();
        c.finish()
    };
    let lost = judge(vec![1.0, 2.0, 3.0, f64::NAN], vec![1.0, f64::NAN, 3.0, f64::NAN]);
    assert_eq!((lost.n_valid, lost.n_valid_lost, lost.n_missing_changed), (3, 1, 0));
    assert!(lost.pearson.is_nan() && lost.spearman.is_nan() && lost.ks_p_value.is_nan() && lost.determination.is_nan());
    assert_eq!((lost.max_abs, lost.abs_error_p99), (f64::INFINITY, f64::INFINITY));
    assert_eq!(lost.rel_error_fraction, 1.0 / 3.0);
    let constant = judge(vec![5.0; 4], vec![5.0, 5.0, 5.0, 6.0]);
    assert!(constant.pearson.is_nan() && constant.determination == f64::NEG_INFINITY);
    let same = judge(vec![0.0, 0.0], vec![0.0, 0.0]);
    assert_eq!((same.pearson, same.spearman, same.determination, same.ks_p_value), (1.0, 1.0, 1.0, 1.0));
    let none = judge(vec![f64::NAN], vec![f64::NAN]);
    assert!(none.pearson.is_nan() && none.mae.is_nan() && none.original.mean.is_nan() && none.n_valid == 0);
    assert!(judge(vec![], vec![]).ssim.is_none());
}

#[test]
fn misfits_are_refused() {
    let mut c = Comparer::new(&[4], Affine::IDENTITY);
    let x = Samples::F32(vec![0.0; 4]);
    assert!(c.add_block(&x, &Samples::F64(vec![0.0; 4]), &[0], &[4], None).is_err());
    assert!(c.add_block(&x, &x, &[1], &[4], None).is_err());
    assert!(c.add_block(&x, &x, &[0], &[3], None).is_err());
    assert!(c.add_block(&x, &x, &[0, 0], &[4, 1], None).is_err());
    assert!(c.add_block(&x, &x, &[0], &[4], Some(&[true])).is_err());
}
