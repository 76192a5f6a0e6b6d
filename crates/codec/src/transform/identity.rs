//! No transform: samples are quantized where they are.
//!
//! # Maths      c = x
//! # Shapes     `f64[shape]` -> `f64[shape]`
//! # Bound      gain 1
//! # On the wire what [`super::OpenLoop`] writes
//! # When       noise; as a yardstick for every other row

use super::{Linear, NormRule, OpenLoop, Stage};

/// The row in the table.
pub const STAGE: Stage = Stage {
    id: 1,
    name: "identity",
    doc: "no transform: samples are quantized and coded under their neighbours",
    params: &[],
    norm_rule: NormRule::SharedStep,
    closed_loop: false,
    make: |_| Box::new(OpenLoop(Identity)),
};

#[derive(Debug, Clone)]
struct Identity;

impl Linear for Identity {
    fn forward(&self, _: &[usize], _: &mut [f64]) {}
    fn inverse(&self, _: &[usize], _: &mut [f64]) {}
    fn gain(&self, _: &[usize]) -> f64 {
        1.0
    }
}
