//! What every transform that keeps norms must do, for the tests of each.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use super::{Block, Goal, Region, Transform};
use crate::bits::Reader;
use crate::block::crop;
use crate::testkit::uniform;

/// A smooth field with a little noise.
pub fn field(shape: &[usize]) -> Vec<f64> {
    let row = shape.last().copied().unwrap_or(1).max(2);
    let smooth = |i: usize| ((i % row) as f64 * 0.2).sin() * ((i / row) as f64 * 0.1).cos();
    (0..shape.iter().product()).map(|i: usize| 280.0 + 10.0 * smooth(i) + 0.01 * uniform(i as u64)).collect()
}

/// Sum of squared differences.
pub fn sum_sq(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Goals are met, errors foretold to `share`, what is decoded is what the encoder said, and a part of it is cropped from the whole.
pub fn goals_hold(transform: &dyn Transform, shape: &[usize], share: f64) {
    let x = field(shape);
    let norm_sq: f64 = x.iter().map(|v| v * v).sum();
    for e in [1e-2, 1e-4, 1e-7] {
        let mut analysis = transform.analyse(x.clone(), Block::new(shape)).unwrap();
        let (bytes, y) = analysis.encode(Goal::Relative(e)).unwrap();
        assert!(sum_sq(&x, &y) <= e * e * norm_sq, "{shape:?} {e}");
        let decode = |r: &Region| transform.decode(&mut Reader::new(&bytes, "test"), Block::new(shape), r).unwrap();
        let whole = decode(&Region::all(shape));
        assert!(whole.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()), "{shape:?} {e}");
        let part = Region {
            start: shape.iter().map(|n| n / 3).collect(),
            count: shape.iter().map(|n| n.div_ceil(3)).collect(),
        };
        assert_eq!(decode(&part), crop(&y, shape, &part.start, &part.count), "{shape:?} {e}");
    }
    if x.len() >= 1000 {
        let mut analysis = transform.analyse(x.clone(), Block::new(shape)).unwrap();
        for step in [3.0, 0.1, 1e-3] {
            let foretold = analysis.squared_error(step);
            let error = sum_sq(&x, &analysis.encode(Goal::Step(step)).unwrap().1);
            assert!((foretold / error - 1.0).abs() < share, "{shape:?} {step}: {foretold} {error}");
        }
    }
}
