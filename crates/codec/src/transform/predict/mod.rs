//! Closed-loop prediction: slices in sequence, inside each a multilevel order, online least squares, context mixing.
//!
//! # Maths      `slices`: prediction; `geometry`: order; `ls`: least squares; `contexts`: what the symbols are coded under
//! # Shapes     `f64[shape]`, 0 to 8 dimensions
//! # Bound      bins of width `step`: every sample is off by at most half a step
//! # On the wire `u8 flags`, `u8 memories`, `u8 every`, `u8 alpha` (1 + a / 64), `u8 planar`, `u8 axis` each, `f64 width`, `f64`
//! least and `f64` largest sample, range-coded symbols
//! # Cost       features squared / 2 multiplications a sample, 8 contexts a decision
//! # When       pointwise bounds, and norms above 1.5 bits a sample
//! # Reference  X. Liang et al., SZ3, 2022, for the multilevel order; M. Mahoney, 2005, for the mixing

mod contexts;
mod geometry;
mod ls;
mod slices;
mod trial;

use super::{Analysis, Block, Goal, NormRule, Param, Region, Stage, Transform};
use crate::bits::{Reader, Writer};
use crate::block::crop;
use crate::entropy::{Decoder, Encoder};
use crate::error::{Error, Result};
use geometry::Layout;
use slices::Settings;

/// The row in the table.
pub const STAGE: Stage = Stage {
    id: 6,
    name: "predict",
    doc: "closed-loop prediction by online least squares, context-coded",
    params: &[
        Param { name: "layout", doc: "order of the dimensions, by number", default: f64::NAN, min: 0.0, max: 100.0 },
        Param {
            name: "alpha",
            doc: "finer bins at coarser levels, by this factor",
            default: f64::NAN,
            min: 1.0,
            max: 2.0,
        },
        Param { name: "wide", doc: "1: more features", default: 0.0, min: 0.0, max: 1.0 },
        Param { name: "memories", doc: "memories of the least squares", default: 2.0, min: 1.0, max: 3.0 },
        Param { name: "every", doc: "learn from one sample of so many", default: 1.0, min: 1.0, max: 255.0 },
    ],
    norm_rule: NormRule::SharedStep,
    closed_loop: true,
    make: |params| {
        Box::new(Predict {
            layout: params.count("layout"),
            alpha: Some(params.get("alpha")).filter(|a| !a.is_nan()),
            wide: params.get("wide") >= 0.5,
            memories: params.get("memories") as usize,
            every: params.get("every") as u32,
        })
    },
};

#[derive(Debug, Clone)]
struct Predict {
    layout: Option<usize>,
    alpha: Option<f64>,
    wide: bool,
    memories: usize,
    every: u32,
}

/// Steps of alpha on the wire.
const ALPHA: f64 = 64.0;
const INTEGER: u8 = 1;
const WIDE: u8 = 2;

impl Transform for Predict {
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let counts = |i: usize| block.valid.is_none_or(|m| m[i]);
        let range = (0..x.len())
            .filter(|&i| counts(i))
            .fold([f64::INFINITY, f64::NEG_INFINITY], |r, i| [r[0].min(x[i]), r[1].max(x[i])]);
        let range = if range[0] <= range[1] { range } else { [0.0; 2] };
        let norm = (0..x.len()).filter(|&i| counts(i)).map(|i| x[i] * x[i]).sum::<f64>().sqrt();
        Ok(Box::new(Looked {
            options: self.clone(),
            x,
            shape: block.shape.to_vec(),
            valid: block.valid.map(<[bool]>::to_vec),
            integer: block.integer,
            range,
            norm,
        }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let (layout, settings) = read_settings(src, block.shape)?;
        let n = block.shape.iter().product();
        let mut v = crate::try_vec(n, 0.0)?;
        let valid = block.valid.map(|m| reordered(m, block.shape, &layout));
        let mut coder = Decoder::new(src.rest());
        slices::code(&mut coder, &mut v, valid.as_deref(), layout.geometry(block.shape), &settings);
        coder.finish("predict")?;
        let x = restored(&v, block.shape, &layout);
        Ok(if region.is_all(block.shape) { x } else { crop(&x, block.shape, &region.start, &region.count) })
    }
}

fn reordered<T: Copy + Default>(x: &[T], shape: &[usize], layout: &Layout) -> Vec<T> {
    let mut out = Vec::with_capacity(x.len());
    layout.for_each(shape, |from, _| out.push(x[from]));
    out
}

fn restored(v: &[f64], shape: &[usize], layout: &Layout) -> Vec<f64> {
    let mut out = vec![0.0; v.len()];
    layout.for_each(shape, |to, from| out[to] = v[from]);
    out
}

fn write_settings(layout: &Layout, s: &Settings, w: &mut Writer) {
    w.u8(if s.integer { INTEGER } else { 0 } | if s.wide { WIDE } else { 0 });
    w.u8(s.memories as u8);
    w.u8(s.every as u8);
    w.u8(((s.alpha - 1.0) * ALPHA) as u8);
    w.u8(layout.planar as u8);
    layout.axes.iter().for_each(|a| w.u8(*a as u8));
    w.f64(s.width);
    w.f64(s.range[0]);
    w.f64(s.range[1]);
}

fn read_settings(src: &mut Reader<'_>, shape: &[usize]) -> Result<(Layout, Settings)> {
    let flags = src.u8()?;
    let memories = usize::from(src.u8()?);
    let every = u32::from(src.u8()?);
    let alpha = 1.0 + f64::from(src.u8()?) / ALPHA;
    let planar = usize::from(src.u8()?);
    let axes = shape.iter().map(|_| src.u8().map(usize::from)).collect::<Result<Vec<_>>>()?;
    let layout = Layout { axes, planar };
    let (width, range) = (src.f64()?, [src.f64()?, src.f64()?]);
    let sound = flags <= INTEGER | WIDE
        && (1..=ls::MAX_MEMORIES).contains(&memories)
        && every > 0
        && layout.fits(shape.len())
        && width.is_finite()
        && range[0].is_finite()
        && range[0] <= range[1]
        && range[1].is_finite();
    if !sound {
        return Err(Error::corrupt("predict", "the settings are not possible"));
    }
    let (integer, wide) = (flags & INTEGER > 0, flags & WIDE > 0);
    Ok((layout, Settings { width, alpha, range, integer, wide, memories, every }))
}

/// A block in hand.
struct Looked {
    options: Predict,
    x: Vec<f64>,
    shape: Vec<usize>,
    valid: Option<Vec<bool>>,
    integer: bool,
    range: [f64; 2],
    norm: f64,
}

impl Looked {
    fn settings(&self, width: f64, alpha: f64) -> Settings {
        let alpha = 1.0 + ((alpha - 1.0) * ALPHA).floor() / ALPHA;
        let Predict { wide, memories, every, .. } = self.options;
        Settings { width, alpha, range: self.range, integer: self.integer, wide, memories, every }
    }

    fn encode_with(&self, layout: &Layout, settings: &Settings) -> (Vec<u8>, Vec<f64>) {
        let mut w = Writer::new();
        write_settings(layout, settings, &mut w);
        let mut v = reordered(&self.x, &self.shape, layout);
        let valid = self.valid.as_ref().map(|m| reordered(m, &self.shape, layout));
        let mut coder = Encoder::new();
        slices::code(&mut coder, &mut v, valid.as_deref(), layout.geometry(&self.shape), settings);
        w.bytes.extend(coder.finish());
        (w.bytes, restored(&v, &self.shape, layout))
    }
}

impl Analysis for Looked {
    fn squared_error(&mut self, step: f64) -> f64 {
        // Errors are spread evenly over the bins, except where most samples fall in one.
        let n = self.valid.as_ref().map_or(self.x.len(), |m| m.iter().filter(|v| **v).count());
        step * step / 12.0 * n as f64
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let width = match goal {
            Goal::Step(s) => s,
            Goal::Relative(e) => e * self.norm * (12.0 / self.x.len() as f64).sqrt(),
        };
        let width = width.max(f64::MIN_POSITIVE);
        let candidates = Layout::candidates(&self.shape);
        let choice = trial::choose(self, candidates, width);
        Ok(self.encode_with(&choice.layout, &self.settings(width, choice.alpha)))
    }
}
