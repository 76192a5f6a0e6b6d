//! Closed-loop prediction: slices in sequence, inside each a multilevel order, online least squares, context mixing.
//!
//! # Maths      `slices`: prediction; `geometry`: order; `ls`: least squares; `contexts`: what the symbols are coded under
//! # Shapes     `f64[shape]`, 0 to 8 dimensions
//! # Bound      bins of width `step`: every sample is off by at most half a step
//! # On the wire `u8 flags`, `u8 features`, `u8 memories`, `u8 every`, `u8 alpha` (1 + a / 64), `u8 planar`, `u8 axis` each, `f64 width`, `f64`
//! least and `f64` largest sample, range-coded symbols
//! # Cost       features squared / 2 multiplications a sample, 8 contexts a decision
//! # When       pointwise bounds, and norms above 1.5 bits a sample
//! # Reference  X. Liang et al., SZ3, 2022, for the multilevel order; M. Mahoney, 2005, for the mixing

mod contexts;
mod features;
mod geometry;
mod ls;
mod quick;
mod sequence;
mod slices;
mod trial;

use super::{Analysis, Block, Goal, NormRule, Param, Region, Stage, Transform};
use crate::bits::{Reader, Writer};
use crate::block::crop;
use crate::entropy::rans::{RowDecoder, RowEncoder};
use crate::entropy::{Decoder, Encoder};
use crate::error::{Error, Result};
use features::PAD;
use geometry::Layout;
use slices::Settings;
use trial::Choice;

/// The row in the table.
pub const STAGE: Stage = Stage {
    id: 5,
    name: "predict",
    doc: "closed-loop prediction by online least squares, context-coded",
    params: &[
        Param {
            name: "layout",
            doc: "dimensions of a slice, counted from 0: 8 rows + columns; 64 + columns for slices of one row",
            default: f64::NAN,
            min: 0.0,
            max: 71.0,
        },
        Param {
            name: "alpha",
            doc: "finer bins at coarser levels, by this factor",
            default: f64::NAN,
            min: 1.0,
            max: 2.0,
        },
        Param {
            name: "quick",
            doc: "1: whole segments at once, static entropy coder",
            default: f64::NAN,
            min: 0.0,
            max: 1.0,
        },
        Param { name: "features", doc: "0: few, 1: more, 2: most", default: f64::NAN, min: 0.0, max: 2.0 },
        Param { name: "memories", doc: "memories of the least squares", default: f64::NAN, min: 1.0, max: 3.0 },
        Param { name: "every", doc: "learn from one sample of so many", default: f64::NAN, min: 1.0, max: 255.0 },
    ],
    norm_rule: NormRule::SharedStep,
    closed_loop: true,
    make: |params| {
        Box::new(Predict {
            layout: params.count("layout"),
            alpha: Some(params.get("alpha")).filter(|a| !a.is_nan()),
            quick: params.count("quick").map(|q| q > 0),
            features: params.count("features").map(|n| n as u8),
            memories: params.count("memories"),
            every: params.count("every"),
        })
    },
};

#[derive(Debug, Clone)]
struct Predict {
    layout: Option<usize>,
    alpha: Option<f64>,
    quick: Option<bool>,
    features: Option<u8>,
    memories: Option<usize>,
    every: Option<usize>,
}

/// What an effort buys, unless a parameter says otherwise.
#[derive(Debug, Clone, Copy)]
struct Preset {
    /// Quick symbols.
    quick: bool,
    features: u8,
    memories: usize,
    /// One sample of so many is learned from.
    every: usize,
    /// All trials together code one part in so many of the block; 0 is no trial, 1: the decisive ones code all of it.
    trials: usize,
}

impl Preset {
    fn of(effort: u8) -> Self {
        let (quick, features, memories, every, trials) = match effort {
            0..=1 => (true, 0, 1, 8, 0),
            2 => (true, 1, 1, 4, 16),
            3 => (true, 2, 1, 2, 16),
            4 => (false, 1, 1, 2, 16),
            5..=6 => (false, 2, 2, 1, 8),
            7..=8 => (false, 2, 2, 1, 4),
            _ => (false, 2, 2, 1, 1),
        };
        Self { quick, features, memories, every, trials }
    }
}

/// Steps of alpha on the wire.
const ALPHA: f64 = 64.0;
const INTEGER: u8 = 1;
const QUICK: u8 = 2;

impl Transform for Predict {
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let counts = |i: usize| block.valid.is_none_or(|m| m[i]);
        let range = (0..x.len())
            .filter(|&i| counts(i))
            .fold([f64::INFINITY, f64::NEG_INFINITY], |r, i| [r[0].min(x[i]), r[1].max(x[i])]);
        let range = if range[0] <= range[1] { range } else { [0.0; 2] };
        let preset = Preset::of(block.effort);
        let preset = Preset {
            quick: self.quick.unwrap_or(preset.quick),
            features: self.features.unwrap_or(preset.features),
            memories: self.memories.unwrap_or(preset.memories),
            every: self.every.unwrap_or(preset.every),
            ..preset
        };
        Ok(Box::new(Looked {
            options: self.clone(),
            preset,
            x,
            shape: block.shape.to_vec(),
            valid: block.valid.map(<[bool]>::to_vec),
            integer: block.integer,
            range,
            sample: None,
            choice: None,
        }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let (layout, settings) = read_settings(src, block.shape)?;
        let n: usize = block.shape.iter().product();
        let mut v = crate::try_vec(n + 2 * PAD, 0.0)?;
        let valid = block.valid.map(|m| layout.reordered(m, block.shape));
        let g = layout.geometry(block.shape);
        if settings.quick {
            let mut coder = RowDecoder::new(src, quick::CONTEXTS)?;
            quick::code(&mut coder, &mut v, valid.as_deref(), g, &settings);
            coder.finish()?;
        } else {
            let mut coder = Decoder::new(src.rest());
            slices::code(&mut coder, &mut v, valid.as_deref(), g, &settings);
            coder.finish("predict")?;
        }
        let x = layout.restored(&v, block.shape);
        Ok(if region.is_all(block.shape) { x } else { crop(&x, block.shape, &region.start, &region.count) })
    }
}

fn write_settings(layout: &Layout, s: &Settings, w: &mut Writer) {
    w.u8(if s.integer { INTEGER } else { 0 } | if s.quick { QUICK } else { 0 });
    w.u8(s.features);
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
    let features = src.u8()?;
    let memories = usize::from(src.u8()?);
    let every = u32::from(src.u8()?);
    let alpha = 1.0 + f64::from(src.u8()?) / ALPHA;
    let planar = usize::from(src.u8()?);
    let axes = shape.iter().map(|_| src.u8().map(usize::from)).collect::<Result<Vec<_>>>()?;
    let layout = Layout { axes, planar };
    let (width, range) = (src.f64()?, [src.f64()?, src.f64()?]);
    let sound = flags <= INTEGER | QUICK
        && features <= 2
        && (1..=ls::MAX_MEMORIES).contains(&memories)
        && every > 0
        && layout.fits(shape.len())
        && width > 0.0
        && width.is_finite()
        && range[0].is_finite()
        && range[0] <= range[1]
        && range[1].is_finite();
    if !sound {
        return Err(Error::corrupt("predict", "the settings are not possible"));
    }
    let (integer, quick) = (flags & INTEGER > 0, flags & QUICK > 0);
    Ok((layout, Settings { width, alpha, range, integer, quick, features, memories, every }))
}

/// A block in hand.
struct Looked {
    options: Predict,
    preset: Preset,
    x: Vec<f64>,
    shape: Vec<usize>,
    valid: Option<Vec<bool>>,
    integer: bool,
    range: [f64; 2],
    /// On which errors are estimated.
    sample: Option<Box<Looked>>,
    /// Made for the whole block once a step is known.
    choice: Option<Choice>,
}

/// Samples on which the error of a step is measured.
const ERROR_SAMPLE: usize = 20_000;

impl Looked {
    fn n_valid(&self) -> usize {
        self.valid.as_ref().map_or(self.x.len(), |m| m.iter().filter(|v| **v).count())
    }

    /// Sum of squared errors at that step.
    fn error_at(&self, choice: &Choice, step: f64) -> f64 {
        let (_, y) = self.encode_with(&choice.layout, &self.settings(step.max(f64::MIN_POSITIVE), choice.alpha));
        let counts = |i: usize| self.valid.as_ref().is_none_or(|m| m[i]);
        (0..y.len()).filter(|&i| counts(i)).map(|i| (y[i] - self.x[i]) * (y[i] - self.x[i])).sum()
    }

    fn norm(&self) -> f64 {
        let counts = |i: usize| self.valid.as_ref().is_none_or(|m| m[i]);
        (0..self.x.len()).filter(|&i| counts(i)).map(|i| self.x[i] * self.x[i]).sum::<f64>().sqrt()
    }

    fn width(&self, goal: Goal) -> f64 {
        let width = match goal {
            Goal::Step(s) => s,
            Goal::Relative(e) => e * self.norm() * (12.0 / self.x.len() as f64).sqrt(),
        };
        width.max(f64::MIN_POSITIVE)
    }

    /// The choice made earlier, or that of trials at that width.
    fn choose(&mut self, width: f64) -> Choice {
        self.choice.take().unwrap_or_else(|| trial::choose(self, Layout::candidates(&self.shape), width))
    }

    fn settings(&self, width: f64, alpha: f64) -> Settings {
        let alpha = 1.0 + ((alpha - 1.0) * ALPHA).floor() / ALPHA;
        let Preset { quick, features, memories, every, .. } = self.preset;
        let (range, integer) = (self.range, self.integer);
        Settings { width, alpha, range, integer, quick, features, memories, every: every as u32 }
    }

    fn encode_with(&self, layout: &Layout, settings: &Settings) -> (Vec<u8>, Vec<f64>) {
        let mut w = Writer::new();
        write_settings(layout, settings, &mut w);
        let mut v = layout.reordered(&self.x, &self.shape);
        let valid = self.valid.as_ref().map(|m| layout.reordered(m, &self.shape));
        let g = layout.geometry(&self.shape);
        if settings.quick {
            let mut coder = RowEncoder::default();
            quick::code(&mut coder, &mut v, valid.as_deref(), g, settings);
            coder.finish(&mut w);
        } else {
            let mut coder = Encoder::new();
            slices::code(&mut coder, &mut v, valid.as_deref(), g, settings);
            w.bytes.extend(coder.finish());
        }
        (w.bytes, layout.restored(&v, &self.shape))
    }
}

impl Analysis for Looked {
    fn squared_error(&mut self, step: f64) -> f64 {
        // Errors are spread evenly over the bins, except where most samples fall in one: a sample tells.
        let sample = match self.sample.take() {
            Some(sample) => sample,
            None => {
                let mut sample = trial::sample(self, ERROR_SAMPLE);
                let layouts = Layout::candidates(&self.shape);
                sample.choice = Some(trial::choose(&sample, layouts, step));
                Box::new(sample)
            }
        };
        let n = self.n_valid();
        let share = n as f64 / sample.n_valid().max(1) as f64;
        let error = match &sample.choice {
            Some(choice) => sample.error_at(choice, step),
            None => step * step / 12.0 * n as f64,
        };
        self.sample = Some(sample);
        error * share
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let width = self.width(goal);
        let choice = self.choose(width);
        let coded = self.encode_with(&choice.layout, &self.settings(width, choice.alpha));
        self.choice = Some(choice);
        Ok(coded)
    }

    fn choices(&mut self, goal: Goal) -> Vec<(&'static str, f64)> {
        let choice = self.choose(self.width(goal));
        let choices = vec![("layout", choice.layout.code() as f64), ("alpha", choice.alpha)];
        self.choice = Some(choice);
        choices
    }
}
