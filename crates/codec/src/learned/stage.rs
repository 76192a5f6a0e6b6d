//! The transform `learned`: a chunk through a model, and what the model misses.
//!
//! # Maths
//! 1. Physical values, normalised band by band, in tiles `[band, depth, rows, columns]` whose edges are repeated to the model's strides.
//! 2. y = g_a(x) g_r with the gains g_r of a rate r; symbols, bits; near = g_s(y_hat / g_r), denormalised.
//! 3. Where a step bounds each sample, or the finest rate is not good enough: x - near by `predict`, or in bins by the neighbour coder,
//!    whichever is smaller.
//! # Shapes     `f64[.., band, row, column]`, `f64[.., depth, row, column]` or `f64[.., row, column]`, as the card says
//! # Bound      that of the residual's coder
//! # On the wire see `docs/format/learned.md`
//! # Cost       the networks'; about 10 GMAC/s on a core
//! # When       many chunks of one kind of data, few bits

use std::sync::Arc;

use super::activation::Activation;
use super::latents::Lengths;
use super::model::{Card, Hash, Layout, Model};
use super::registry;
use crate::bits::{Reader, Writer};
use crate::block::crop;
use crate::bound::Affine;
use crate::entropy::multi::{MultiDecoder, MultiEncoder};
use crate::error::{Error, Result};
use crate::quantize::log::{exp2, log2};
use crate::quantize::residual;
use crate::transform::{Analysis, Block, Goal, NormRule, Region, Stage, Transform, predict};

/// The row in the table.
pub const STAGE: Stage = Stage {
    id: 7,
    name: "learned",
    doc: "a trained model, learned:MODEL with its file or hash, and what it misses by predict",
    params: &[],
    norm_rule: NormRule::SharedStep,
    closed_loop: true,
    make: |params| Box::new(Learned { wanted: params.model().cloned() }),
};

/// A model, and its side inputs by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Which model.
    pub hash: Hash,
    /// Side inputs in physical units; those not given are at their means.
    pub side: Vec<(String, f64)>,
}

#[derive(Debug)]
struct Learned {
    /// For encoders.
    wanted: Option<Wanted>,
}

/// Rows and columns of a tile, at most.
const TILE: usize = 512;
/// Parts between two rate points.
const RATE: u32 = 256;
/// Up to this effort one rate is tried and `predict` only where it must be.
const PLAIN: u8 = 3;

/// Where a mean error is promised, so many rates are measured, until this part of it is used.
const TRIES: usize = 4;
const NEARLY: f64 = 0.9;
/// What a try aims at.
const AIM: f64 = 0.95;
/// Rates so near to each other have errors between which others can be told.
const CLOSE: u32 = 16;

const LATENTS: u8 = 1;
const INTEGER: u8 = 2;
const BINS: u8 = 4;
const PREDICT: u8 = 8;

const NAME: &str = "learned";

/// How a block is cut into the activations of a model.
#[derive(Debug, Clone)]
struct Plan {
    /// Blocks `[bands or depth, rows, columns]`, one after another.
    batch: usize,
    middle: usize,
    rows: usize,
    columns: usize,
    layout: Layout,
    multiple: [usize; 3],
}

/// Fails unless a model can code chunks of that shape.
///
/// # Errors
/// [`Error::Invalid`], saying which bands the model takes.
pub fn fits(model: &Model, shape: &[usize]) -> Result<()> {
    Plan::new(model, shape).map(drop)
}

/// The dimension that holds a model's bands in chunks of so many dimensions, if it takes several.
pub fn band_axis(model: &Model, n_dims: usize) -> Option<usize> {
    let card = model.card();
    n_dims.checked_sub(3).filter(|_| card.layout == Layout::Channels && card.bands.len() > 1)
}

/// A tile: its block, first row and column, rows and columns.
#[derive(Debug, Clone, Copy)]
struct Tile {
    item: usize,
    at: [usize; 2],
    count: [usize; 2],
}

impl Plan {
    fn new(model: &Model, shape: &[usize]) -> Result<Self> {
        let back = |d: usize| shape.len().checked_sub(d).map_or(1, |i| shape[i]);
        let bands = model.card().bands.len();
        let layout = model.card().layout;
        let middle = match layout {
            Layout::Channels if bands == 1 => 1,
            _ => back(3),
        };
        if layout == Layout::Channels && middle != bands {
            return Err(Error::invalid(
                format!(
                    "model {:?} takes {bands} bands, the dimension before rows and columns; give chunks of such a shape, or another codec",
                    model.card().name
                ),
                format!("chunks of {shape:?}"),
            ));
        }
        let (rows, columns) = (back(2), back(1));
        let batch = shape.iter().product::<usize>() / (middle * rows * columns).max(1);
        Ok(Self { batch, middle, rows, columns, layout, multiple: model.lengths().multiple })
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> + '_ {
        // A model's largest stride is below a tile.
        let [step_rows, step_columns] = [1, 2].map(|a| TILE.next_multiple_of(self.multiple[a]));
        (0..self.batch).flat_map(move |item| {
            (0..self.rows).step_by(step_rows).flat_map(move |y| {
                (0..self.columns).step_by(step_columns).map(move |x| Tile {
                    item,
                    at: [y, x],
                    count: [step_rows.min(self.rows - y), step_columns.min(self.columns - x)],
                })
            })
        })
    }

    /// Depth, rows and columns of a tile's activations.
    fn lengths(&self, tile: &Tile) -> [usize; 3] {
        let depth = if self.layout == Layout::Depth { self.middle } else { 1 };
        let n = [depth, tile.count[0], tile.count[1]];
        [0, 1, 2].map(|a| n[a].next_multiple_of(self.multiple[a]))
    }

    /// Where a row of a tile begins in the block; `middle` is its band or depth.
    fn row(&self, tile: &Tile, middle: usize, y: usize) -> usize {
        ((tile.item * self.middle + middle) * self.rows + tile.at[0] + y) * self.columns + tile.at[1]
    }

    fn activation(&self, tile: &Tile, x: &[f64], norm: &Norm) -> Result<Activation<f32>> {
        let [d, h, w] = self.lengths(tile);
        let channels = if self.layout == Layout::Depth { 1 } else { self.middle };
        let mut out = Activation::zeros([channels, d, h, w])?;
        for (i, row) in out.data.chunks_mut(w).enumerate() {
            let (y, plane) = (i % h, i / h);
            let middle = plane.min(self.middle - 1);
            let from = self.row(tile, middle, y.min(tile.count[0] - 1));
            let last = tile.count[1] - 1;
            for (j, v) in row.iter_mut().enumerate() {
                *v = norm.forward(if channels > 1 { plane } else { 0 }, x[from + j.min(last)]);
            }
        }
        Ok(out)
    }

    fn put(&self, tile: &Tile, y: &Activation<f32>, norm: &Norm, out: &mut [f64]) {
        let [c, _, h, w] = y.shape;
        for middle in 0..self.middle {
            for i in 0..tile.count[0] {
                let to = self.row(tile, middle, i);
                let row = &y.data[(middle * h + i) * w..][..tile.count[1]];
                let band = if c > 1 { middle } else { 0 };
                out[to..to + row.len()].iter_mut().zip(row).for_each(|(o, v)| *o = norm.inverse(band, *v));
            }
        }
    }
}

/// From stored numbers to activations and back.
#[derive(Debug, Clone)]
struct Norm {
    affine: Affine,
    bands: Vec<(f64, f64)>,
}

impl Norm {
    fn new(card: &Card, affine: Affine) -> Self {
        Self { affine, bands: card.bands.iter().map(|b| (b.mean, b.std)).collect() }
    }

    fn forward(&self, band: usize, v: f64) -> f32 {
        let (mean, std) = self.bands[band];
        // What lies far from everything a model has seen must not flood it.
        ((self.affine.physical(v) - mean) / std).clamp(-1e4, 1e4) as f32
    }

    fn inverse(&self, band: usize, v: f32) -> f64 {
        let (mean, std) = self.bands[band];
        let back = |v: f64| (v * std + mean - self.affine.offset) / self.affine.scale;
        let v = back(f64::from(v));
        if v.is_finite() { v } else { 0.0 }
    }
}

/// Gains of each channel of y at a rate, a point and parts towards the next one.
fn gains(model: &Model, rate: u32) -> Result<Vec<f32>> {
    let n = model.lengths().y;
    let Some(name) = &model.card().gains else { return Ok(vec![1.0; n]) };
    let (shape, g) = super::tensor::reals(model.tensors(), name, &[None, Some(n)])?;
    let (point, part) = ((rate / RATE) as usize, f64::from(rate % RATE) / f64::from(RATE));
    let next = (point + 1).min(shape[0] - 1);
    let row = |i: usize| &g[i * n..(i + 1) * n];
    let between = |(a, b): (&f32, &f32)| exp2(log2(f64::from(*a)) * (1.0 - part) + log2(f64::from(*b)) * part) as f32;
    Ok(row(point).iter().zip(row(next)).map(between).collect())
}

/// The finest rate.
fn finest(model: &Model) -> u32 {
    let points = model.card().gains.as_ref().and_then(|g| model.tensors().get(g)).map_or(1, |t| t.shape[0]);
    (points as u32 - 1) * RATE
}

fn scaled(y: &Activation<f32>, gains: &[f32], f: impl Fn(f32, f32) -> f32) -> Activation<f32> {
    let n = y.per_channel().max(1);
    let data = y.data.chunks(n).zip(gains).flat_map(|(v, g)| v.iter().map(|v| f(*v, *g)));
    Activation { shape: y.shape, data: data.collect() }
}

fn normal_side(card: &Card, side: &[f64]) -> Vec<f32> {
    card.side.iter().zip(side).map(|(b, v)| ((v - b.mean) / b.std) as f32).collect()
}

impl Transform for Learned {
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let wanted = self.wanted.as_ref();
        let wanted =
            wanted.ok_or_else(|| Error::invalid("learned needs a model: learned:FILE or learned:HASH", NAME))?;
        let model = registry::find(wanted.hash)?;
        let card = model.card();
        if let Some((name, _)) = wanted.side.iter().find(|(n, _)| !card.side.iter().any(|b| b.name == *n)) {
            let names: Vec<_> = card.side.iter().map(|b| b.name.as_str()).collect();
            return Err(Error::invalid(format!("side inputs of {:?} are [{}]", card.name, names.join(", ")), name));
        }
        let given = |name: &str| wanted.side.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let side: Vec<f64> = card.side.iter().map(|b| given(&b.name).unwrap_or(b.mean)).collect();
        let plan = Plan::new(&model, block.shape)?;
        let norm = Norm::new(card, block.affine);
        let inputs = normal_side(card, &side);
        let latents = plan
            .tiles()
            .map(|t| model.nets().g_a.run(plan.activation(&t, &x, &norm)?, &inputs))
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Looked {
            n_valid: block.valid.map_or(x.len(), |m| m.iter().filter(|v| **v).count()),
            shape: block.shape.to_vec(),
            valid: block.valid.map(<[bool]>::to_vec),
            integer: block.integer,
            pointwise: block.pointwise,
            effort: block.effort,
            errors: Vec::new(),
            last: None,
            model,
            side,
            plan,
            norm,
            latents,
            x,
        }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let shape = block.shape;
        let mut hash = [0; 32];
        hash.copy_from_slice(src.take(32)?);
        let model = registry::find(Hash(hash))?;
        let flags = src.u8()?;
        if flags >= PREDICT << 1 || flags & (BINS | PREDICT) == BINS | PREDICT {
            return Err(Error::corrupt(NAME, "there are no such flags"));
        }
        let affine = Affine { scale: src.f64()?, offset: src.f64()? };
        let norm = Norm::new(model.card(), affine);
        let n: usize = shape.iter().product();
        let mut near = crate::try_vec(n, 0.0)?;
        let whole = region.is_all(shape) || flags & (BINS | PREDICT) > 0;
        let plan = Plan::new(&model, shape).map_err(|_| Error::corrupt(NAME, "the chunk does not fit the model"))?;
        if flags & LATENTS > 0 {
            let rate = u32::from(src.u16()?);
            if rate > finest(&model) {
                return Err(Error::corrupt(NAME, "the model has no such rate"));
            }
            let gains = gains(&model, rate)?;
            let side = model.card().side.iter().map(|_| src.f64()).collect::<Result<Vec<_>>>()?;
            let side = normal_side(model.card(), &side);
            for tile in plan.tiles() {
                let mut section = src.section(NAME)?;
                if !whole && !touches(&tile, shape, region) {
                    continue;
                }
                let mut coder = MultiDecoder::new(section.rest());
                let lengths = Lengths::of(&model, plan.lengths(&tile));
                let y = model.nets().latents.code(&mut coder, None, lengths, &side)?;
                coder.finish(NAME)?;
                synthesize(&model, &plan, &tile, &y, &gains, &side, &norm, &mut near)?;
            }
        }
        let integer = flags & INTEGER > 0;
        if integer {
            near.iter_mut().for_each(|v| *v = v.round_ties_even());
        }
        if flags & BINS > 0 {
            let width = src.f64()?;
            let q = residual::decode(src.section(NAME)?, n, shape, block.valid)?;
            near.iter_mut().zip(q).for_each(|(v, q)| *v += q as f64 * width);
        } else if flags & PREDICT > 0 {
            let rest = nested().decode(src, block, &Region::all(shape))?;
            near.iter_mut().zip(rest).for_each(|(v, r)| *v += r);
        }
        Ok(if region.is_all(shape) { near } else { crop(&near, shape, &region.start, &region.count) })
    }
}

fn nested() -> Box<dyn Transform> {
    (predict::STAGE.make)(&predict::STAGE.decode_params())
}

/// Whether a tile may hold samples of a region; only rows and columns are looked at.
fn touches(tile: &Tile, shape: &[usize], region: &Region) -> bool {
    let along = |back: usize, at: usize, count: usize| {
        shape
            .len()
            .checked_sub(back)
            .is_none_or(|d| at < region.start[d] + region.count[d] && region.start[d] < at + count)
    };
    // One item of the batch may be many dimensions; those are decoded with the others.
    along(2, tile.at[0], tile.count[0]) && along(1, tile.at[1], tile.count[1])
}

#[allow(clippy::too_many_arguments)] // the two callers have nothing else in common
fn synthesize(
    model: &Model,
    plan: &Plan,
    tile: &Tile,
    y_hat: &Activation<f32>,
    gains: &[f32],
    side: &[f32],
    norm: &Norm,
    out: &mut [f64],
) -> Result<()> {
    let x = model.nets().g_s.run(scaled(y_hat, gains, |v, g| v / g), side)?;
    plan.put(tile, &x, norm, out);
    Ok(())
}

/// A block whose latents are known.
struct Looked {
    model: Arc<Model>,
    side: Vec<f64>,
    plan: Plan,
    norm: Norm,
    x: Vec<f64>,
    latents: Vec<Activation<f32>>,
    shape: Vec<usize>,
    valid: Option<Vec<bool>>,
    n_valid: usize,
    integer: bool,
    pointwise: bool,
    effort: u8,
    /// Rates and their squared errors, as far as they were measured.
    errors: Vec<(u32, f64)>,
    last: Option<Layer>,
}

/// What a rate makes.
#[derive(Clone)]
struct Layer {
    /// `None`: no latents at all.
    rate: Option<u32>,
    sections: Vec<Vec<u8>>,
    near: Vec<f64>,
}

impl Layer {
    fn bytes(&self) -> usize {
        self.sections.iter().map(|s| s.len() + 2).sum()
    }
}

impl Looked {
    fn layer(&mut self, rate: Option<u32>) -> Result<Layer> {
        if let Some(layer) = self.last.take().filter(|l| l.rate == rate) {
            return Ok(layer);
        }
        let mut layer = Layer { rate, sections: Vec::new(), near: crate::try_vec(self.x.len(), 0.0)? };
        if let Some(rate) = rate {
            let gains = gains(&self.model, rate)?;
            let side = normal_side(self.model.card(), &self.side);
            for (tile, y) in self.plan.tiles().zip(&self.latents) {
                let mut coder = MultiEncoder::default();
                let y = scaled(y, &gains, |v, g| v * g);
                let lengths = Lengths::of(&self.model, self.plan.lengths(&tile));
                let y_hat = self.model.nets().latents.code(&mut coder, Some(&y), lengths, &side)?;
                layer.sections.push(coder.finish());
                synthesize(&self.model, &self.plan, &tile, &y_hat, &gains, &side, &self.norm, &mut layer.near)?;
            }
        }
        if self.integer {
            layer.near.iter_mut().for_each(|v| *v = v.round_ties_even());
        }
        Ok(layer)
    }

    fn is_valid(&self, i: usize) -> bool {
        self.valid.as_ref().is_none_or(|m| m[i])
    }

    fn error(&self, near: &[f64]) -> f64 {
        let d = |i: usize| self.x[i] - near[i];
        (0..near.len()).filter(|i| self.is_valid(*i)).map(|i| d(i) * d(i)).sum()
    }

    /// Squared error at a rate; what is finer is never worse.
    fn measure(&mut self, rate: u32) -> Result<f64> {
        let layer = self.layer(Some(rate))?;
        let error = self.error(&layer.near);
        self.last = Some(layer);
        let at = self.errors.partition_point(|e| e.0 < rate);
        let error = self.errors[..at].last().map_or(error, |e| e.1.min(error));
        self.errors.insert(at, (rate, error));
        self.errors[at + 1..].iter_mut().for_each(|e| e.1 = e.1.min(error));
        Ok(error)
    }

    /// Squared errors at the rate points, from coarse to fine, falling, and at what else was measured.
    fn errors(&mut self) -> Result<&[(u32, f64)]> {
        for rate in (0..=finest(&self.model)).step_by(RATE as usize) {
            if !self.errors.iter().any(|e| e.0 == rate) {
                self.measure(rate)?;
            }
        }
        Ok(&self.errors)
    }

    /// The coarsest rate with at most that squared error, nearly, after so many tries; the finest one if none has.
    fn rate_for(&mut self, target: f64, tries: usize) -> Result<u32> {
        let mut guess = 0;
        for _ in 0..=tries {
            let errors = self.errors()?;
            let at = errors.iter().position(|e| e.1 <= target).unwrap_or(errors.len());
            if at == 0 || at == errors.len() {
                return Ok(errors[at.min(errors.len() - 1)].0);
            }
            let (coarse, fine) = (errors[at - 1], errors[at]);
            if fine.1 > NEARLY * target || fine.0 - coarse.0 < 2 {
                return Ok(fine.0);
            }
            // Logarithms of errors are nearly straight between.
            let part = (coarse.1 / target / AIM).ln() / (coarse.1 / fine.1.max(f64::MIN_POSITIVE)).ln();
            let part = if part.is_finite() { part } else { 0.5 };
            let rate = coarse.0 + (part * f64::from(fine.0 - coarse.0)).ceil() as u32;
            guess = rate.clamp(coarse.0 + 1, fine.0 - 1);
            if tries > 0 {
                self.measure(guess)?;
            }
        }
        let errors = self.errors()?;
        let best = errors.iter().find(|e| e.1 <= target).or(errors.last()).map_or(0, |e| e.0);
        Ok(if tries == 0 { guess } else { best })
    }

    /// Squared error at a rate, measured there or between two that lie close together.
    fn error_at(&mut self, rate: u32) -> Result<f64> {
        let finest = finest(&self.model);
        for end in [0, finest] {
            if !self.errors.iter().any(|e| e.0 == end) {
                self.measure(end)?;
            }
        }
        let at = self.errors.partition_point(|e| e.0 < rate);
        let fine = self.errors[at];
        let coarse = self.errors[at.saturating_sub(1)];
        if fine.0 == rate {
            return Ok(fine.1);
        }
        if fine.0 - coarse.0 > CLOSE || fine.1 <= 0.0 {
            return self.measure(rate);
        }
        let part = f64::from(rate - coarse.0) / f64::from(fine.0 - coarse.0);
        Ok(coarse.1 * (fine.1 / coarse.1).powf(part))
    }

    /// The rate of a step that all chunks share, so that they spend bits where those buy most: the coarsest whose own steps, in the mean
    /// over y's channels, are no larger. None if the finest rate's are.
    fn rate_of(&self, step: f64) -> Result<Option<u32>> {
        let card = self.model.card();
        let unit = card.bands.iter().map(|b| b.std.ln()).sum::<f64>() / card.bands.len() as f64;
        let unit = unit - self.norm.affine.scale.abs().ln();
        let own = |rate: u32| -> Result<f64> {
            let gains = gains(&self.model, rate)?;
            Ok(unit - gains.iter().map(|g| f64::from(*g).ln()).sum::<f64>() / gains.len() as f64)
        };
        let step = step.ln();
        let mut coarse = own(0)?;
        if coarse <= step {
            return Ok(Some(0));
        }
        for point in (RATE..=finest(&self.model)).step_by(RATE as usize) {
            let fine = own(point)?;
            if fine <= step {
                // Logarithms of gains are straight between.
                let part = ((coarse - step) / (coarse - fine) * f64::from(RATE)).ceil() as u32;
                return Ok(Some(point - RATE + part.min(RATE)));
            }
            coarse = fine;
        }
        Ok(None)
    }

    /// Encodes at the rate of a step that all chunks share, with a residual beyond the finest.
    fn encode_shared(&mut self, step: f64) -> Result<(Vec<u8>, Vec<f64>)> {
        let rate = self.rate_of(step)?;
        let layer = self.layer(Some(rate.unwrap_or(finest(&self.model))))?;
        let error = self.error(&layer.near);
        let enough = rate.is_some() || error <= self.target(step);
        let mut best = self.finish(&layer, Some(step).filter(|_| !enough))?;
        self.last = Some(layer);
        if self.effort <= PLAIN || error <= 0.0 {
            return Ok(best);
        }
        // Data that the model does not know are better off without it, at the same error.
        let allowed = if enough { error } else { self.target(step) };
        let mut step = (12.0 * allowed / self.n_valid.max(1) as f64).sqrt();
        let layer = self.layer(None)?;
        for _ in 0..TRIES {
            let without = self.finish(&layer, Some(step))?;
            let got = self.error(&without.1) / allowed;
            if without.0.len() >= best.0.len() || got > 1.0 {
                break;
            }
            best = without;
            if got > NEARLY {
                break;
            }
            // Coarse steps leave less than their twelfth: a coarser one is still good enough.
            step *= (AIM / got.max(0.01)).sqrt();
        }
        Ok(best)
    }

    fn target(&self, step: f64) -> f64 {
        step * step / 12.0 * self.n_valid as f64
    }

    fn step(&self, goal: Goal) -> f64 {
        let step = match goal {
            Goal::Step(s) => s,
            Goal::Relative(e) => {
                let norm: f64 = (0..self.x.len()).filter(|i| self.is_valid(*i)).map(|i| self.x[i] * self.x[i]).sum();
                e * (norm * 12.0 / self.n_valid.max(1) as f64).sqrt()
            }
        };
        step.max(f64::MIN_POSITIVE)
    }

    /// The stream of a layer with what it misses, and what it decodes to.
    fn finish(&self, layer: &Layer, step: Option<f64>) -> Result<(Vec<u8>, Vec<f64>)> {
        let (mut flags, mut tail, mut y) = (0, Vec::new(), layer.near.clone());
        if let Some(step) = step {
            let mut rest = None;
            if self.pointwise {
                let q: Vec<i64> = (0..y.len()).map(|i| bin(self.x[i] - y[i], step)).collect();
                let bytes = residual::encode(&mut q.clone(), &self.shape, self.valid.as_deref());
                rest = Some((bytes, q));
            }
            // Noise is coded as well by neighbours, and sooner.
            let small = rest.as_ref().is_none_or(|(b, _)| b.len() > 64 + self.x.len() / 64);
            let by_predict = match &rest {
                Some(_) if self.effort <= PLAIN || !small => None,
                _ => {
                    let d: Vec<f64> = (0..y.len()).map(|i| self.x[i] - y[i]).collect();
                    let block = Block {
                        valid: self.valid.as_deref(),
                        integer: self.integer && self.pointwise,
                        effort: self.effort,
                        pointwise: self.pointwise,
                        ..Block::new(&self.shape)
                    };
                    Some(nested().analyse(d, block)?.encode(Goal::Step(step))?)
                }
            };
            let mut w = Writer::new();
            match (rest, by_predict) {
                (Some((bytes, q)), p) if p.as_ref().is_none_or(|(b, _)| bytes.len() <= b.len()) => {
                    flags |= BINS;
                    w.f64(step);
                    w.section(&bytes);
                    let q = |i: usize| if self.is_valid(i) { q[i] as f64 } else { 0.0 };
                    y.iter_mut().enumerate().for_each(|(i, v)| *v += q(i) * step);
                }
                (_, Some((bytes, d))) => {
                    flags |= PREDICT;
                    w.bytes = bytes;
                    y.iter_mut().zip(d).for_each(|(v, d)| *v += d);
                }
                _ => {}
            }
            tail = w.bytes;
        }
        let mut w = Writer::new();
        w.bytes.extend(self.model.hash().0);
        w.u8(flags | if layer.rate.is_some() { LATENTS } else { 0 } | if self.integer { INTEGER } else { 0 });
        w.f64(self.norm.affine.scale);
        w.f64(self.norm.affine.offset);
        if let Some(rate) = layer.rate {
            w.u16(rate as u16);
            self.side.iter().for_each(|s| w.f64(*s));
            layer.sections.iter().for_each(|s| w.section(s));
        }
        w.bytes.extend(tail);
        Ok((w.bytes, y))
    }
}

/// Number of the bin.
fn bin(d: f64, step: f64) -> i64 {
    let q = (d / step).round_ties_even();
    // Beyond this the sum would lose the bound anyway; the pipeline stores such samples exactly.
    if q.abs() < 1e15 { q as i64 } else { 0 }
}

/// Errors worth trying beside a residual, in steps: its coder takes over what the model does not spend bits on.
const ERRORS: [f64; 3] = [1.1, 3.0, 8.0];

impl Analysis for Looked {
    fn squared_error(&mut self, step: f64) -> f64 {
        let target = self.target(step);
        let finest = finest(&self.model);
        let found = self.rate_of(step).and_then(|rate| match rate {
            Some(rate) => self.error_at(rate),
            None => Ok(self.error_at(finest)?.min(target)),
        });
        // An error such as that memory ran out ends the encoding itself.
        found.unwrap_or(target)
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        let step = self.step(goal);
        if matches!(goal, Goal::Step(_)) && !self.pointwise {
            return self.encode_shared(step);
        }
        let mut candidates: Vec<(Option<u32>, Option<f64>)> = Vec::new();
        if self.pointwise {
            let tried = if self.effort <= PLAIN { &ERRORS[1..2] } else { &ERRORS[..] };
            for f in tried {
                let rate = Some(self.rate_for(self.target(f * step), 0)?);
                if !candidates.iter().any(|c| c.0 == rate) {
                    candidates.push((rate, Some(step)));
                }
            }
        } else {
            let rate = self.rate_for(self.target(step), TRIES)?;
            let target = self.target(step);
            let enough = self.errors()?.last().is_some_and(|e| e.1 <= target);
            candidates.push((Some(rate), Some(step).filter(|_| !enough)));
        }
        // Data that the model does not know are better off without it.
        if self.effort > PLAIN && candidates.iter().all(|c| c.1.is_some()) {
            candidates.push((None, Some(step)));
        }
        let mut best: Option<(Vec<u8>, Vec<f64>)> = None;
        for (rate, step) in candidates {
            let layer = self.layer(rate)?;
            // Latents alone may be too many already.
            if best.as_ref().is_none_or(|b| layer.bytes() < b.0.len()) {
                let made = self.finish(&layer, step)?;
                best = Some(best.filter(|b| b.0.len() <= made.0.len()).unwrap_or(made));
            }
            self.last = Some(layer);
        }
        best.ok_or_else(|| Error::invalid("no rate can be tried", NAME))
    }
}
