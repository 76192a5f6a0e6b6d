//! A model: its card, its tensors, one file, one hash.
//!
//! # On the wire a safetensors file: 8 bytes length, JSON header, tensors (F32, F16, I8, I16, I32). `__metadata__` holds one entry, `lithify`: the [`Card`] as JSON.
//! A model is called by the SHA-256 of the file's bytes.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::graph::{self, Graph, Kind, Shape};
use super::latents::Latents;
use super::real::RealNet;
use super::tensor::{Data, Tensor, Tensors, bad, integers, reals};
use crate::error::{Error, Result};

/// Version of the card that this build reads and writes.
pub const FORMAT: u32 = 1;
/// Entry of the file's metadata.
const ENTRY: &str = "lithify";
/// Largest model file.
const MAX_BYTES: u64 = 1 << 30;

/// Everything about a model but its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`FORMAT`].
    pub format: u32,
    /// For people.
    pub name: String,
    /// How a chunk becomes activations.
    pub layout: Layout,
    /// Bands in their order; one if bands do not differ.
    pub bands: Vec<Band>,
    /// Side inputs in their order; the mean is what holds if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side: Vec<Band>,
    /// Real: `[bands, d, h, w]` to the latents y.
    pub g_a: Graph,
    /// Real: latents y_hat to `[bands, d, h, w]`.
    pub g_s: Graph,
    /// Latents to symbols.
    pub quantizer: Quantizer,
    /// Symbols to bits.
    pub entropy: Entropy,
    /// Rate points, from few bits to many: `f32[points, channels of y]` above 0. y is multiplied by a row before it is quantized, y_hat divided
    /// by it; between two rows lie their geometric means. Missing: one rate. Uniform quantizer only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gains: Option<String>,
    /// What it was trained on.
    #[serde(default)]
    pub data: String,
    /// Terms of the weights.
    #[serde(default)]
    pub licence: String,
    /// What training says of itself.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// How it was made, as the trainer likes to have it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub training: serde_json::Value,
}

/// How a chunk `[.., y, x]` becomes activations `[c, d, h, w]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Bands are channels: `[.., band, y, x]`, or `[.., y, x]` if there is one; other dimensions are a batch.
    Channels,
    /// The third-last dimension is depth, any length; one channel, one band in the card.
    Depth,
}

/// A number's normalisation: (v - mean) / std, in `f32` after `f64` arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// For people, and for side inputs by which they are given.
    pub name: String,
    /// Physical units.
    pub mean: f64,
    /// Physical units, above 0.
    pub std: f64,
}

/// From latents y to integer symbols and back to y_hat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Quantizer {
    /// Symbol round(y - mean), ties to even; y_hat = symbol + mean. The mean is 0 unless the entropy model gives one.
    Uniform,
    /// Residual vector quantization: at every position each group of channels is a sum of code words, one for each stage; symbols are their
    /// indices, symbol channel = stage groups + group. With the factorized entropy model only.
    Vector {
        /// `f32[stages, groups, words, channels of y / groups]`
        codebook: String,
    },
    /// Symbol 1 if y > 0, else 0; y_hat = 2 symbol - 1.
    Binary,
}

/// Probabilities of the symbols of y.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entropy {
    /// One table for each channel of symbols.
    Factorized {
        /// The tables.
        tables: Tables,
    },
    /// One scale for each channel, measured by the encoder and written with the symbols.
    Estimated {
        /// Its shape.
        distribution: Distribution,
    },
    /// Parameters from a second, smaller latent z.
    Hyperprior(Box<Hyperprior>),
}

/// Tables of frequencies, one for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// `i32[c]`: the symbol of the first frequency.
    pub offset: String,
    /// `i32[c, n + 1]`: frequencies of n symbols, 0 allowed, and of the escape, at least 1; each row adds up to 2^16.
    pub frequencies: String,
}

/// Probabilities of symbols around a mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Normal, integrated over each symbol's bin.
    Gaussian,
    /// Laplace, integrated over each symbol's bin; scales are standard deviations as well.
    Laplacian,
    /// Binary symbols: scale index i stands for probability (i + 1/2) / 64 of a 1.
    Bernoulli,
}

/// y, then z = h_a(y), then parameters of y from h_s(z_hat) and what is decoded already.
///
/// Activations of whole networks are fixed-point numbers with `fraction` bits. A parameter net's channels are parameters times channels of its
/// pass, parameter by parameter: `scale`; `mean, scale` if `mean`; with K > 1 components `weight` of each component, `mean` of each, `scale` of each.
/// A scale v / 2^fraction is an index into 64 log-spaced scales, rounded and clamped; 0 is [`SCALES`]`.0`, 63 is [`SCALES`]`.1`.
/// A weight counts as max(v, 0) + 1. Means count in steps of 2^-fraction; with several components in steps of 1/8, and symbols are round(y).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperprior {
    /// Shape of each component.
    pub distribution: Distribution,
    /// Whether means are predicted.
    #[serde(default)]
    pub mean: bool,
    /// Components of a mixture; above 1 with means only.
    #[serde(default = "one")]
    pub components: usize,
    /// Real: y (times its gain) to z. Encoder only.
    pub h_a: Graph,
    /// Whole: z_hat as integers times 2^fraction to hyper features.
    pub h_s: Graph,
    /// Probabilities of z_hat = round(z).
    pub z: Tables,
    /// Bits behind the point, 4 to 12.
    pub fraction: u32,
    /// In what order y is coded.
    pub passes: Vec<Pass>,
}

/// Some of y's symbols, coded together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// First channel, and one after the last.
    pub channels: [usize; 2],
    /// Which positions.
    #[serde(default)]
    pub positions: Positions,
    /// Whole: hyper features, then all channels of y_hat (fixed-point; 0 where not yet decoded), to the parameters of the pass' channels at every
    /// position. Missing: the hyper features are the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<Graph>,
}

/// Positions of a pass, by depth + row + column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Every one.
    #[default]
    All,
    /// Sum is even: the anchors of a checkerboard.
    Even,
    /// The others.
    Odd,
}

const fn one() -> usize {
    1
}

/// Smallest and largest scale of the 64 log-spaced ones.
pub const SCALES: (f64, f64) = (0.11, 256.0);
/// How many there are.
pub const N_SCALES: usize = 64;

impl Hyperprior {
    /// Parameters of a symbol.
    pub fn n_params(&self) -> usize {
        match self.components {
            1 => 1 + usize::from(self.mean),
            k => 3 * k,
        }
    }
}

/// SHA-256 of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::str::FromStr for Hash {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let wrong = || Error::invalid("a model is called by 64 hexadecimal digits or by its file", format!("{s:?}"));
        let digits: Vec<u8> =
            s.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>().ok_or_else(wrong)?;
        let bytes: Vec<u8> = digits.chunks(2).map(|d| d.iter().fold(0, |n, d| n << 4 | d)).collect();
        if digits.len() != 64 {
            return Err(wrong());
        }
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// Lengths that the networks of a model agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Channels of y.
    pub y: usize,
    /// Channels of its symbols.
    pub symbols: usize,
    /// Channels of z; 0 without a hyperprior.
    pub z: usize,
    /// What the lengths of activations are padded to: depth, rows, columns.
    pub multiple: [usize; 3],
    /// How much shorter y is.
    pub y_down: [usize; 3],
    /// How much shorter z is.
    pub z_down: [usize; 3],
}

/// A checked model.
#[derive(Debug, Clone)]
pub struct Model {
    card: Card,
    tensors: Tensors,
    lengths: Lengths,
    nets: Nets,
    bytes: Vec<u8>,
    hash: Hash,
}

/// What runs.
#[derive(Debug, Clone)]
pub(super) struct Nets {
    pub g_a: RealNet,
    pub g_s: RealNet,
    pub latents: Latents,
}

impl Model {
    /// A model of a card and its tensors.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what does not fit.
    pub fn new(card: Card, tensors: Tensors) -> Result<Self> {
        check(&card, &tensors)?;
        Self::from_bytes(&write(&card, &tensors)?)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what does not fit; [`Error::Unsupported`] for a newer card.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::Limit { what: "bytes of a model", asked: bytes.len() as u64, max: MAX_BYTES });
        }
        let (card, tensors) = read(bytes)?;
        let lengths = check(&card, &tensors)?;
        let nets = Nets {
            g_a: RealNet::new(&card.g_a, &tensors)?,
            g_s: RealNet::new(&card.g_s, &tensors)?,
            latents: Latents::new(&card.quantizer, &card.entropy, &tensors, lengths.y, lengths.symbols)?,
        };
        Ok(Self { card, tensors, lengths, nets, hash: Hash(Sha256::digest(bytes).into()), bytes: bytes.to_vec() })
    }

    /// The model file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// By what streams call it.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Its tensors.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    pub(super) fn nets(&self) -> &Nets {
        &self.nets
    }

    /// What its networks agree on.
    pub fn lengths(&self) -> Lengths {
        self.lengths
    }
}

fn write(card: &Card, tensors: &Tensors) -> Result<Vec<u8>> {
    let json = serde_json::to_string(card).map_err(|e| bad(format!("the card cannot be written: {e}")))?;
    let raw: Vec<(&String, Dtype, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| {
            let (dtype, bytes) = match &t.data {
                Data::F32(v) => (Dtype::F32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Data::F16(v) => (Dtype::F16, v.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()),
                Data::I8(v) => (Dtype::I8, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Data::I16(v) => (Dtype::I16, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Data::I32(v) => (Dtype::I32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            };
            (name, dtype, &t.shape, bytes)
        })
        .collect();
    let views = raw
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
    let metadata = Some(HashMap::from([(ENTRY.to_string(), json)]));
    views.and_then(|v| safetensors::serialize(v, metadata)).map_err(|e| bad(format!("it cannot be written: {e}")))
}

fn read(bytes: &[u8]) -> Result<(Card, Tensors)> {
    let unsafe_file = |e| bad(format!("this is no safetensors file: {e}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unsafe_file)?;
    let json = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let json = json.ok_or_else(|| bad("this safetensors file has no card; it is no lithify model"))?;
    let value: serde_json::Value = serde_json::from_str(json).map_err(|e| bad(format!("the card is no JSON: {e}")))?;
    if let Some(format) = value.get("format").and_then(serde_json::Value::as_u64).filter(|f| *f != u64::from(FORMAT)) {
        return Err(Error::Unsupported { what: "model format", id: u32::try_from(format).unwrap_or(u32::MAX) });
    }
    let card = serde_json::from_value(value).map_err(|e| bad(format!("the card: {e}")))?;
    let mut tensors = Tensors::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(unsafe_file)?.iter() {
        let b = view.data();
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(b.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Dtype::F16 => Data::F16(b.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
            Dtype::I8 => Data::I8(b.iter().map(|b| *b as i8).collect()),
            Dtype::I16 => Data::I16(b.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect()),
            Dtype::I32 => Data::I32(b.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()),
            other => {
                return Err(bad(format!(
                    "tensor {name:?} has type {other:?}; float32, float16, int8, int16, int32 are read"
                )));
            }
        };
        tensors.insert(name.to_string(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok((card, tensors))
}

/// Everything that can be wrong with a model is found here.
fn check(card: &Card, tensors: &Tensors) -> Result<Lengths> {
    if card.format != FORMAT {
        return Err(Error::Unsupported { what: "model format", id: card.format });
    }
    let normal = |b: &Band| b.mean.is_finite() && b.std.is_normal() && b.std > 0.0;
    if card.bands.is_empty() || !card.bands.iter().chain(&card.side).all(normal) {
        return Err(bad("bands and side inputs need a finite mean and a std above 0, at least one band"));
    }
    let bands = match card.layout {
        Layout::Channels => card.bands.len(),
        Layout::Depth if card.bands.len() == 1 => 1,
        Layout::Depth => return Err(bad("with layout depth all levels share one band of the card")),
    };
    let side = card.side.len();
    let named = |net: &'static str| move |e: Error| named(net, e);
    let input = Shape::input(bands);
    let y = graph::check(&card.g_a, Kind::Real, tensors, side, input).map_err(named("g_a"))?;
    let mut multiple = graph::multiple(&card.g_a, Kind::Real, tensors, side, input).map_err(named("g_a"))?;
    if y.up != [1; 3] {
        return Err(bad("g_a: the latents must not be longer than the samples"));
    }
    match graph::check(&card.g_s, Kind::Real, tensors, side, y).map_err(named("g_s"))? {
        back if back == input => {}
        back => return Err(bad(format!("g_s: leads to {back:?} instead of {input:?}"))),
    }
    let symbols = match &card.quantizer {
        Quantizer::Vector { codebook } => {
            let (shape, _) = reals(tensors, codebook, &[None; 4])?;
            if shape[1].checked_mul(shape[3]) != Some(y.channels) || shape[2] > 1 << 15 || shape[0] > 64 {
                return Err(bad(format!("codebook {shape:?} does not fit {} channels", y.channels)));
            }
            shape[0] * shape[1]
        }
        _ => y.channels,
    };
    if let Some(gains) = &card.gains {
        let (_, g) = reals(tensors, gains, &[None, Some(y.channels)])?;
        if card.quantizer != Quantizer::Uniform
            || g.iter().any(|g| !(1e-6..1e6).contains(g))
            || g.len() / y.channels > 256
        {
            return Err(bad("gains go with the uniform quantizer and lie between 1e-6 and 1e6, at most 256 points"));
        }
    }
    let vector = matches!(card.quantizer, Quantizer::Vector { .. });
    let binary = card.quantizer == Quantizer::Binary;
    let mut z = Shape { channels: 0, ..y };
    match &card.entropy {
        Entropy::Factorized { tables } => check_tables(tables, tensors, symbols)?,
        Entropy::Estimated { distribution } => {
            if vector || binary != (*distribution == Distribution::Bernoulli) {
                return Err(bad("the entropy model does not fit the quantizer; bernoulli goes with binary"));
            }
        }
        Entropy::Hyperprior(h) => {
            let fits = !vector && binary == (h.distribution == Distribution::Bernoulli);
            let sound = (4..=12).contains(&h.fraction)
                && (1..=8).contains(&h.components)
                && (h.mean || h.components == 1)
                && !(binary && h.mean);
            if !fits || !sound {
                return Err(bad("hyperprior: distribution, mean, components or fraction do not fit together"));
            }
            z = graph::check(&h.h_a, Kind::Real, tensors, side, y).map_err(named("h_a"))?;
            let of_z = graph::multiple(&h.h_a, Kind::Real, tensors, side, y).map_err(named("h_a"))?;
            (0..3).for_each(|a| multiple[a] = multiple[a].max(of_z[a]));
            if z.up != [1; 3] {
                return Err(bad("h_a: z must not be longer than the samples"));
            }
            check_tables(&h.z, tensors, z.channels)?;
            check_passes(h, tensors, y, z)?;
        }
    }
    let fits = |down: [usize; 3]| (0..3).all(|a| multiple[a].is_multiple_of(down[a]));
    if multiple.iter().any(|m| *m > 1024) || !fits(y.down) || !fits(z.down) {
        return Err(bad(format!("strides {multiple:?} are too large")));
    }
    if card.layout == Layout::Channels && multiple[0] != 1 {
        return Err(bad("with layout channels there is no depth to shrink"));
    }
    Ok(Lengths { y: y.channels, symbols, z: z.channels, multiple, y_down: y.down, z_down: z.down })
}

fn named(net: &'static str, e: Error) -> Error {
    match e {
        Error::Corrupt { stage, what } => Error::Corrupt { stage, what: format!("{net}: {what}") },
        e => e,
    }
}

fn check_tables(tables: &Tables, tensors: &Tensors, channels: usize) -> Result<()> {
    let (_, offset) = integers(tensors, &tables.offset, &[Some(channels)])?;
    let (shape, f) = integers(tensors, &tables.frequencies, &[Some(channels), None])?;
    let row_is_sound = |row: &[i32]| {
        row.iter().all(|f| (0..=1 << 16).contains(f))
            && row.iter().map(|f| i64::from(*f)).sum::<i64>() == 1 << 16
            && row.last().is_some_and(|f| *f > 0)
    };
    if offset.iter().any(|o| o.abs() > 1 << 20) || shape[1] > 1 << 15 || !f.chunks(shape[1]).all(row_is_sound) {
        return Err(bad(format!(
            "each row of {:?} must add up to 65536 and end in an escape above 0",
            tables.frequencies
        )));
    }
    Ok(())
}

/// Passes must code every symbol once, with as many parameters as it needs.
fn check_passes(h: &Hyperprior, tensors: &Tensors, y: Shape, z: Shape) -> Result<()> {
    let features = graph::check(&h.h_s, Kind::Whole, tensors, 0, z).map_err(|e| named("h_s", e))?;
    if (features.up, features.down) != (y.up, y.down) {
        return Err(bad("h_s: does not lead back to the lengths of y"));
    }
    let mut coded = vec![0u8; y.channels];
    for pass in &h.passes {
        let [a, b] = pass.channels;
        let bits = match pass.positions {
            Positions::All => 3,
            Positions::Even => 1,
            Positions::Odd => 2,
        };
        let range = coded.get_mut(a..b).filter(|r| !r.is_empty() && r.iter().all(|c| c & bits == 0));
        range
            .ok_or_else(|| bad("passes: a channel is coded twice, or there is none"))?
            .iter_mut()
            .for_each(|c| *c |= bits);
        let out = match &pass.net {
            None => features,
            Some(net) => {
                let input = Shape { channels: features.channels + y.channels, ..features };
                graph::check(net, Kind::Whole, tensors, 0, input).map_err(|e| named("pass", e))?
            }
        };
        if out != (Shape { channels: h.n_params() * (b - a), ..y }) {
            return Err(bad(format!(
                "passes: {} parameters of {} channels are needed, not {out:?}",
                h.n_params(),
                b - a
            )));
        }
    }
    if coded.iter().any(|c| *c != 3) {
        return Err(bad("passes: not every symbol is coded"));
    }
    Ok(())
}
