//! A real network turned into a whole one, for h_s and context nets: what training calls when it writes a model.
//!
//! # Maths
//! Activations are x 2^F. For output channel o with weights w and bias b, A is the largest factor for which round(w A) has 16 bits and every sum
//! 31 (see `iconv`): weights round(w A), bias round(b A 2^F), multiplier round(2^s / A).

use super::activation::Activation;
use super::graph::{Graph, LIMIT, Op};
use super::real::RealNet;
use super::tensor::{Data, Tensor, Tensors, bad, reals};
use crate::error::Result;

/// Part of the range of activations that calibration may fill.
const ROOM: f32 = 0.66;

/// The most fraction bits, 4 to 12, with which every activation of a real network fits for all `inputs`.
///
/// # Errors
/// Those of the network.
pub fn fraction(graph: &[Op], tensors: &Tensors, inputs: &[Activation<f32>]) -> Result<u32> {
    let mut largest = 0.0f32;
    for x in inputs {
        visit(graph, tensors, x.clone(), &mut largest)?;
    }
    Ok((4..=12).rev().find(|f| largest * (1 << f) as f32 <= ROOM * LIMIT as f32).unwrap_or(4))
}

fn visit(graph: &[Op], tensors: &Tensors, mut x: Activation<f32>, largest: &mut f32) -> Result<Activation<f32>> {
    let size = |x: &Activation<f32>| x.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    *largest = largest.max(size(&x));
    for op in graph {
        match op {
            Op::Residual { body } => drop(visit(body, tensors, x.clone(), largest)?),
            Op::Concat { branches } => {
                branches.iter().try_for_each(|b| visit(b, tensors, x.clone(), largest).map(drop))?;
            }
            _ => {}
        }
        x = RealNet::new(std::slice::from_ref(op), tensors)?.run(x, &[])?;
        *largest = largest.max(size(&x));
    }
    Ok(x)
}

/// The whole network of a real one of `conv`, `relu`, `leaky_relu` with slope 2^-k, `shuffle`, `unshuffle`, `residual` and `concat`. Its tensors go
/// to `out` under names that begin with `prefix`.
///
/// # Errors
/// [`crate::Error::Corrupt`] for other ops, and for weights that leave no precision.
pub fn quantise(graph: &[Op], tensors: &Tensors, fraction: u32, prefix: &str, out: &mut Tensors) -> Result<Graph> {
    let inner = |g: &Graph, name: String, out: &mut Tensors| quantise(g, tensors, fraction, &name, out);
    let mut whole = Graph::new();
    for (i, op) in graph.iter().enumerate() {
        let name = format!("{prefix}.{i}");
        whole.push(match op {
            Op::Conv { weight, bias, stride, groups } => {
                let (shape, w) = reals(tensors, weight, &[None; 5])?;
                let bias = match bias {
                    Some(b) => reals(tensors, b, &[Some(shape[0])])?.1.to_vec(),
                    None => vec![0.0; shape[0]],
                };
                let taps = w.len() / shape[0];
                let factors: Vec<f64> = w.chunks(taps).zip(&bias).map(|(w, b)| factor(w, *b, fraction)).collect();
                let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
                // The largest multiplier just fits 30 bits.
                let shift = (30.0 + least.log2()).floor();
                if !(8.0..1e3).contains(&shift) {
                    return Err(bad(format!("weights of {weight:?} are too large for integers")));
                }
                let shift = shift.min(46.0) as u32;
                let scaled = |v: f32, a: f64| (f64::from(v) * a).round_ties_even();
                let put = |part: &str, t: Tensor, out: &mut Tensors| {
                    out.insert(format!("{name}.{part}"), t);
                    format!("{name}.{part}")
                };
                let w: Vec<i16> = w
                    .chunks(taps)
                    .zip(&factors)
                    .flat_map(|(w, a)| w.iter().map(move |w| scaled(*w, *a) as i16))
                    .collect();
                let b: Vec<i32> =
                    bias.iter().zip(&factors).map(|(b, a)| scaled(*b, a * f64::from(1 << fraction)) as i32).collect();
                let m: Vec<i32> = factors
                    .iter()
                    .map(|a| ((1u64 << shift) as f64 / a).round_ties_even().min(f64::from(1 << 30)) as i32)
                    .collect();
                Op::Iconv {
                    weight: put("weight", Tensor { shape: shape.to_vec(), data: Data::I16(w) }, out),
                    bias: put("bias", Tensor::i32(&[b.len()], b), out),
                    multiplier: put("multiplier", Tensor::i32(&[m.len()], m), out),
                    shift,
                    stride: *stride,
                    groups: *groups,
                }
            }
            Op::LeakyRelu { slope } => {
                let shift = (1..=15).find(|k| (1.0 / f64::from(1u32 << k)) as f32 == *slope);
                Op::Ileaky {
                    shift: shift.ok_or_else(|| bad(format!("a slope must be 2^-k, k from 1 to 15, not {slope}")))?,
                }
            }
            Op::Relu | Op::Shuffle { .. } | Op::Unshuffle { .. } => op.clone(),
            Op::Residual { body } => Op::Residual { body: inner(body, name, out)? },
            Op::Concat { branches } => {
                let branches = branches.iter().enumerate().map(|(k, b)| inner(b, format!("{name}.{k}"), out));
                Op::Concat { branches: branches.collect::<Result<_>>()? }
            }
            other => return Err(bad(format!("{other:?} has no integer form; h_s and context nets must do without"))),
        });
    }
    Ok(whole)
}

/// The largest factor of a channel's weights.
fn factor(w: &[f32], b: f32, fraction: u32) -> f64 {
    let limit = f64::from(LIMIT);
    let largest = w.iter().fold(0.0f64, |m, w| m.max(f64::from(*w).abs()));
    let sum: f64 = w.iter().map(|w| f64::from(*w).abs()).sum();
    // Each weight may be rounded up by a half.
    let room = 2f64.powi(31) - 2.0 - 0.5 * limit * w.len() as f64;
    let by_sum = room / (sum * limit + f64::from(b).abs() * f64::from(1 << fraction)).max(1e-30);
    by_sum.min(32767.0 / largest.max(1e-30)).min(2f64.powi(30))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::super::graph::{Kind, Shape, check};
    use super::super::whole::WholeNet;
    use super::*;
    use crate::testkit::uniform;

    #[test]
    fn whole_networks_follow_real_ones() {
        let mut tensors = Tensors::new();
        let mut put = |name: &str, shape: &[usize], size: f32, seed: u64| {
            let n: usize = shape.iter().product();
            let v = (0..n as u64).map(|i| (uniform(i ^ seed << 32) as f32 - 0.5) * size).collect();
            tensors.insert(name.into(), Tensor::f32(shape, v));
        };
        put("a", &[16, 8, 1, 3, 3], 0.4, 1);
        put("a.b", &[16], 4.0, 2);
        put("r", &[16, 16, 1, 3, 3], 0.2, 3);
        put("d", &[24, 32, 1, 1, 1], 0.5, 4);
        let json = r#"[{"op":"conv","weight":"a","bias":"a.b"},{"op":"leaky_relu","slope":0.125},
            {"op":"residual","body":[{"op":"conv","weight":"r"},{"op":"relu"}]},
            {"op":"concat","branches":[[],[{"op":"relu"}]]},{"op":"conv","weight":"d"},{"op":"shuffle","factor":[1,2,2]}]"#;
        let graph: Graph = serde_json::from_str(json).unwrap();
        let x = Activation { shape: [8, 1, 9, 10], data: (0..720).map(|i| (8.0 * uniform(i)) as f32 - 4.0).collect() };
        let f = fraction(&graph, &tensors, std::slice::from_ref(&x)).unwrap();
        let mut integers = Tensors::new();
        let whole = quantise(&graph, &tensors, f, "h_s", &mut integers).unwrap();
        check(&whole, Kind::Whole, &integers, 0, Shape::input(8)).unwrap();
        let fixed =
            Activation { shape: x.shape, data: x.data.iter().map(|v| (v * (1 << f) as f32).round() as i32).collect() };
        let got = WholeNet::new(&whole, &integers).unwrap().run(fixed).unwrap();
        let want = RealNet::new(&graph, &tensors).unwrap().run(x, &[]).unwrap();
        let largest = want.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest > 3.0 && f >= 8, "{largest} {f}");
        for (g, w) in got.data.iter().zip(&want.data) {
            assert!((*g as f32 / (1 << f) as f32 - w).abs() < 0.002 * largest, "{g} {w}");
        }
        assert!(quantise(&[Op::LeakyRelu { slope: 0.2 }], &tensors, f, "x", &mut integers).is_err());
    }
}
