//! An implicit neural representation: a small network from coordinates to samples, and what it misses by closed-loop prediction.
//!
//! # Maths      x(c) = offset + scale f(c), f a multilayer perceptron with sine activations or over Fourier features; bins of what is left
//! # Shapes     `f64[shape]`; coordinates in [-1, 1] along each dimension, or on the unit sphere
//! # Bound      that of `predict`, which codes the residual: every sample is off by at most half a step
//! # On the wire section of the network (`weights`), then what `predict` writes
//! # Cost       samples x weights multiplications a decode; about 10^3 times the weights of them an encode, for each of its steps
//! # When       smooth fields at very high ratios; values between the grid's points
//! # Reference  V. Sitzmann et al., Implicit neural representations with periodic activation functions, 2020; M. Tancik et al., Fourier
//! features let networks learn high frequency functions in low dimensional domains, 2020

mod coordinates;
mod net;
mod train;
mod weights;

use super::{Analysis, Block, Goal, NormRule, Param, Region, Stage, Transform, predict};
use crate::bits::{Reader, Writer};
use crate::error::Result;
use crate::spec::Params;
use coordinates::Grid;
use net::Net;
use weights::Form;

const fn param(name: &'static str, doc: &'static str, min: f64, max: f64) -> Param {
    Param { name, doc, default: f64::NAN, min, max }
}

/// The row in the table.
pub const STAGE: Stage = Stage {
    id: 8,
    name: "inr",
    doc: "a small network from coordinates to samples, what it misses by prediction",
    params: &[
        param("width", "neurons of a hidden layer", 4.0, 512.0),
        param("layers", "hidden layers", 1.0, 8.0),
        param("fourier", "1: fixed random frequencies, then rectifiers, instead of sines", 0.0, 1.0),
        param("frequency", "of the first layer, radians from one edge to the centre", 1.0, 500.0),
        param(
            "globe",
            "1: the last two dimensions are latitude and longitude of a whole globe; by itself where a file says so and chunks have all of it",
            0.0,
            1.0,
        ),
        param("steps", "of the training", 1.0, 1e6),
    ],
    norm_rule: NormRule::SharedStep,
    closed_loop: true,
    make: |params| Box::new(Inr(params.clone())),
};

#[derive(Debug, Clone)]
struct Inr(Params);

/// Samples for each weight, unless the width is given.
const SAMPLES_PER_WEIGHT: f64 = 150.0;
/// Steps of the training at each effort, but no more than one for so many samples.
const STEPS: [usize; 10] = [200, 200, 500, 1000, 2000, 4000, 6000, 8000, 12_000, 20_000];
const SAMPLES_PER_STEP: usize = 32;

impl Inr {
    fn plan(&self, n: usize, grid: &Grid, effort: u8) -> train::Plan {
        let get = |name, default: f64| Some(self.0.get(name)).filter(|v| !v.is_nan()).unwrap_or(default);
        let layers = get("layers", 3.0) as usize;
        let hidden = layers.saturating_sub(1).max(1) as f64;
        let width = get("width", (n as f64 / SAMPLES_PER_WEIGHT / hidden).sqrt().clamp(8.0, 128.0)) as usize;
        let form = Form {
            n_in: grid.n_coordinates(),
            width,
            layers,
            fourier: get("fourier", 0.0) > 0.0,
            frequency: get("frequency", 30.0) as f32,
        };
        let steps = STEPS[usize::from(effort.min(9))].min(n / SAMPLES_PER_STEP + 1);
        train::Plan { form, steps: get("steps", steps as f64) as usize }
    }
}

fn rest() -> Box<dyn Transform> {
    (predict::STAGE.make)(&predict::STAGE.decode_params())
}

impl Transform for Inr {
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let grid = Grid::new(block.shape, self.0.get("globe") > 0.0);
        let plan = self.plan(x.len(), &grid, block.effort);
        let written = |net: &Net| {
            let mut w = Writer::new();
            let net = weights::write(&plan.form, net, &mut w);
            (w.bytes, base(&net, &grid, &Region::all(block.shape), block.integer))
        };
        let missed = |near: &[f64]| -> Vec<f64> { x.iter().zip(near).map(|(x, n)| x - n).collect() };
        let squares = |v: &[f64]| {
            let valid = |i: &usize| block.valid.is_none_or(|m| m[*i]);
            (0..v.len()).filter(valid).map(|i| v[i] * v[i]).sum::<f64>()
        };
        let fitted = train::fit(&x, block.valid, &grid, block.shape.len(), &plan)?;
        let (mut net, mut near) = written(&fitted);
        // A training that went astray leaves everything to the prediction.
        let helps = squares(&missed(&near)) < squares(&x);
        if !helps {
            (net, near) = written(&plan.form.net());
        }
        let rest = rest().analyse(missed(&near), block)?;
        Ok(Box::new(Fitted { net, globe: grid.globe, integer: block.integer, near, rest }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let (net, grid, flags) = network(src, block)?;
        let mut x = rest().decode(src, block, region)?;
        for (x, near) in x.iter_mut().zip(base(&net, &grid, region, flags & INTEGER > 0)) {
            *x += near;
        }
        Ok(x)
    }

    fn between(&self, src: &mut Reader<'_>, block: Block<'_>, places: &[Vec<f64>]) -> Result<Option<Vec<f64>>> {
        let (net, grid, _) = network(src, block)?;
        Ok(Some(net.evaluate_at(&grid, places)))
    }
}

/// The network of a stream, the grid that it knows, and the flags.
fn network(src: &mut Reader<'_>, block: Block<'_>) -> Result<(Net, Grid, usize)> {
    let flags = src.count("flags of a network", 3)?;
    let grid = Grid::new(block.shape, flags & GLOBE > 0);
    let net = weights::read(&mut src.section("network")?, grid.n_coordinates(), grid.n_slices())?;
    Ok((net, grid, flags))
}

const GLOBE: usize = 1;
const INTEGER: usize = 2;

/// What the network says of a region.
fn base(net: &Net, grid: &Grid, region: &Region, integer: bool) -> Vec<f64> {
    let mut near = net.evaluate(grid, region);
    if integer {
        near.iter_mut().for_each(|v| *v = v.round_ties_even());
    }
    near
}

/// A network that fits a block as well as it can.
struct Fitted {
    net: Vec<u8>,
    globe: bool,
    integer: bool,
    near: Vec<f64>,
    rest: Box<dyn Analysis>,
}

impl Analysis for Fitted {
    fn squared_error(&mut self, step: f64) -> f64 {
        self.rest.squared_error(step)
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let (rest, mut x) = self.rest.encode(goal)?;
        let mut w = Writer::new();
        let flags = if self.globe { GLOBE } else { 0 } | if self.integer { INTEGER } else { 0 };
        w.varint(flags as u64);
        w.section(&self.net);
        w.bytes.extend(rest);
        x.iter_mut().zip(&self.near).for_each(|(x, near)| *x += near);
        Ok((w.bytes, x))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;
    use crate::spec::Codec;
    use crate::transform::checks::{field, sum_sq};

    fn quick(spec: &str) -> Box<dyn Transform> {
        match format!("inr,steps=60,{spec}").parse().unwrap() {
            Codec::Transform(stage, params) => (stage.make)(&params),
            other => unreachable!("{other}"),
        }
    }

    #[test]
    fn bounds_hold_and_parts_are_parts() {
        let shapes: &[&[usize]] = &[&[], &[1], &[7], &[40, 50], &[3, 1, 17, 19], &[2, 2, 2, 9, 11]];
        for (i, shape) in shapes.iter().enumerate() {
            let x = field(shape);
            for spec in ["width=8,layers=2", "fourier=1,layers=1,width=12", "globe=1,width=4"] {
                let valid: Vec<bool> = (0..x.len()).map(|j| i % 2 == 0 || j % 5 > 0).collect();
                let block = Block { valid: Some(&valid), ..Block::new(shape) };
                let transform = quick(spec);
                let (bytes, y) = transform.analyse(x.clone(), block).unwrap().encode(Goal::Step(0.02)).unwrap();
                let near = |(j, (x, y)): (usize, (&f64, &f64))| !valid[j] || (x - y).abs() <= 0.01 + 1e-9;
                assert!(x.iter().zip(&y).enumerate().all(near), "{shape:?} {spec}");
                let decode = |r: &Region| transform.decode(&mut Reader::new(&bytes, "test"), block, r).unwrap();
                let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&decode(&Region::all(shape))), bits(&y), "{shape:?} {spec}");
                let part = Region {
                    start: shape.iter().map(|n| n / 3).collect(),
                    count: shape.iter().map(|n| n.div_ceil(3)).collect(),
                };
                let want = crate::block::crop(&y, shape, &part.start, &part.count);
                assert_eq!(bits(&decode(&part)), bits(&want), "{shape:?} {spec}");
            }
        }
    }

    #[test]
    fn between_samples_the_network_speaks() {
        for spec in ["width=8,layers=2", "fourier=1,layers=1,width=12", "globe=1,width=4"] {
            for shape in [&[7][..], &[9, 11], &[3, 17, 19]] {
                let transform = quick(spec);
                let block = Block::new(shape);
                let mut analysis = transform.analyse(field(shape), block).unwrap();
                let (bytes, _) = analysis.encode(Goal::Step(0.02)).unwrap();
                let ask = |places: &[Vec<f64>]| {
                    transform.between(&mut Reader::new(&bytes, "test"), block, places).unwrap().unwrap()
                };
                let (net, grid, _) = network(&mut Reader::new(&bytes, "test"), block).unwrap();
                let mut places = Vec::new();
                grid.each(&Region::all(shape), |_, _, place| places.push(place.to_vec()));
                assert_eq!(ask(&places), net.evaluate(&grid, &Region::all(shape)), "{shape:?} {spec}");
                // Continuous, and more than a straight line.
                let last = shape.len() - 1;
                let along = |t: f64| [vec![1.0; last], vec![t]].concat();
                let [a, near, half, b] = ask(&[3.0, 3.0 + 1e-4, 3.5, 4.0].map(along))[..] else { unreachable!() };
                assert!((a - near).abs() < 1e-2 && half != (a + b) / 2.0, "{shape:?} {spec}: {a} {near} {half} {b}");
            }
        }
    }

    #[test]
    fn training_learns_the_field() {
        let shape = [60, 80];
        let x = field(&shape);
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = sum_sq(&x, &vec![mean; x.len()]);
        let grid = Grid::new(&shape, false);
        let Codec::Transform(_, params) = "inr,width=24,steps=1500,frequency=10".parse().unwrap() else {
            unreachable!()
        };
        let plan = Inr(params).plan(x.len(), &grid, 5);
        let mut w = Writer::new();
        let net = weights::write(&plan.form, &train::fit(&x, None, &grid, 2, &plan).unwrap(), &mut w);
        let error = sum_sq(&x, &net.evaluate(&grid, &Region::all(&shape)));
        assert!(error < 0.02 * variance, "{error} of {variance}");
        assert!(w.bytes.len() < 2500, "{}", w.bytes.len());
    }
}
