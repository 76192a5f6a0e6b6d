//! What is trained: one row from each of the four axes, the data and the schedule, from a TOML file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The model's name, for its card.
    pub name: String,
    /// What is said of the training data's terms, for the card.
    #[serde(default)]
    pub licence: String,
    /// Samples to latents and back.
    pub transform: Transform,
    /// Latents to symbols.
    #[serde(default)]
    pub quantizer: Quantizer,
    /// Symbols to bits.
    #[serde(default)]
    pub entropy: Entropy,
    /// What is minimised.
    pub objective: Objective,
    /// What it is learned from.
    #[serde(default)]
    pub data: Data,
    /// How long and how fast.
    #[serde(default)]
    pub train: Train,
}

/// `[transform]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Transform {
    /// The row.
    pub kind: TransformKind,
    /// Channels of the latent y.
    #[serde(default = "default_latents")]
    pub latents: usize,
    /// Channels of the hidden layers.
    #[serde(default = "default_hidden")]
    pub hidden: usize,
    /// Halvings of the resolution between samples and y; `spectral-mlp` has none.
    #[serde(default = "default_levels")]
    pub levels: usize,
    /// The axis before y and x is depth (levels, times), not bands: one channel, kernels also along it.
    #[serde(default)]
    pub volume: bool,
}

/// The rows of the first axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransformKind {
    /// Strided convolutions with generalised divisive normalisation.
    ConvGdn,
    /// Residual blocks and attention gates.
    ResidualAttention,
    /// Kernels over bands only, then kernels over space only.
    SpectralSpatial,
    /// Wavelet levels, then convolutions.
    WaveletHybrid,
    /// An autoencoder of each pixel's spectrum.
    SpectralMlp,
}

/// `[quantizer]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Quantizer {
    /// The row.
    pub kind: QuantizerKind,
    /// `vector`: entries of each codebook.
    pub codewords: usize,
    /// `vector`: codebooks, each for what the ones before left.
    pub stages: usize,
    /// `vector`: channels of one vector.
    pub dimension: usize,
    /// `vector`: weight of the commitment loss.
    pub commitment: f64,
}

/// The rows of the second axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuantizerKind {
    /// Rounding: uniform noise for the rate, straight through for the distortion.
    Uniform,
    /// The nearest of learned vectors, in stages.
    Vector,
    /// Signs.
    Binary,
}

/// `[entropy]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Entropy {
    /// The row.
    pub kind: EntropyKind,
    /// Channels of the hyper-latent z.
    pub hyper: usize,
    /// Channels of the hyper nets' hidden layers.
    pub hidden: usize,
    /// `channel-wise` and `checkerboard`: groups of channels, each seeing the ones before.
    pub slices: usize,
    /// The hyperpriors' distribution.
    pub distribution: Distribution,
    /// `mixture`: components.
    pub components: usize,
}

/// The rows of the third axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntropyKind {
    /// One table for each channel.
    Factorized,
    /// Laplacian with one scale for each channel, measured by the encoder (reduced complexity).
    Laplacian,
    /// Gaussian of mean zero, its scale from z.
    ScaleHyperprior,
    /// Gaussian, mean and scale from z.
    MeanScaleHyperprior,
    /// As before, and every second position also from its neighbours; with `slices`, each group also from the groups before.
    Checkerboard,
    /// As mean-scale, and each group of channels also from the groups before.
    ChannelWise,
    /// Several Gaussians, from z.
    Mixture,
}

/// The shape of probabilities around a predicted mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Normal.
    Gaussian,
    /// Laplace: heavier tails, as coefficients of near linear transforms have them.
    Laplacian,
}

/// `[objective]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Objective {
    /// The row.
    #[serde(default)]
    pub kind: ObjectiveKind,
    /// Weight of the distortion against bits per sample; several values make one model with as many gain units.
    pub lambda: Vec<f64>,
    /// `quality-map`: a variable of weights, shaped `[y, x]` as the samples.
    #[serde(default)]
    pub quality: String,
    /// `distill`: a model whose g_a gives the features.
    #[serde(default)]
    pub teacher: String,
    /// `masked`: the share of blocks that g_a does not see.
    #[serde(default = "default_masked")]
    pub masked: f64,
    /// `task`: weight of the classifier's loss beside that of the samples.
    #[serde(default = "default_task")]
    pub task_weight: f64,
}

/// The rows of the fourth axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Mean squared error.
    #[default]
    Mse,
    /// One minus the structural similarity over scales.
    MsSsim,
    /// Mean squared error with a weight for each sample.
    QualityMap,
    /// Mean squared error of a given encoder's features.
    Distill,
    /// Mean squared error where samples were hidden from g_a, too.
    Masked,
    /// Cross entropy of a linear classifier on y, beside the mean squared error.
    Task,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Data {
    /// Variables to read, one with bands inside or one for each band; none: the largest of each file.
    pub variables: Vec<String>,
    /// A tile's side in samples.
    pub tile: usize,
    /// How samples become numbers around zero.
    pub normalise: Normalise,
    /// A regular expression whose first group is the place in a file's path; none: the path is.
    pub place: String,
    /// Share of places that are held out.
    pub held_out: f64,
    /// Places that are held out, by name; instead of the share.
    pub held_out_places: Vec<String>,
    /// Side of blocks that count as places of their own, for files of one place; 0: none.
    pub block: usize,
    /// Tiles are flipped and turned.
    pub augment: bool,
}

/// How samples become numbers around zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Each band by its own mean, all by one deviation: errors weigh alike in all bands.
    Shared,
    /// Each band by its own mean and deviation: errors weigh relative to the band's variation.
    Band,
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Train {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Tiles in a step.
    pub batch: usize,
    /// Largest learning rate; it warms up over 2 % of the steps and falls to nothing along a cosine.
    pub rate: f64,
    /// Largest norm of a gradient.
    pub clip: f64,
    /// Seed of initial weights, tiles and noise.
    pub seed: u64,
    /// Steps between evaluations on held-out places, which also write a checkpoint.
    pub every: usize,
    /// Evaluations without gain after which training stops; 0: never.
    pub patience: usize,
    /// Held-out tiles of an evaluation.
    pub eval_tiles: usize,
    /// Their side; 0: that of the other tiles.
    pub eval_tile: usize,
}

fn default_latents() -> usize {
    96
}
fn default_hidden() -> usize {
    48
}
fn default_levels() -> usize {
    3
}
fn default_masked() -> f64 {
    0.25
}
fn default_task() -> f64 {
    0.1
}

impl Default for Quantizer {
    fn default() -> Self {
        Self { kind: QuantizerKind::Uniform, codewords: 64, stages: 1, dimension: 4, commitment: 0.25 }
    }
}

impl Default for Entropy {
    fn default() -> Self {
        Self {
            kind: EntropyKind::MeanScaleHyperprior,
            hyper: 24,
            hidden: 48,
            slices: 0,
            distribution: Distribution::Gaussian,
            components: 3,
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            variables: Vec::new(),
            tile: 128,
            normalise: Normalise::Shared,
            place: String::new(),
            held_out: 0.2,
            held_out_places: Vec::new(),
            block: 0,
            augment: true,
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 4,
            rate: 1e-3,
            clip: 1.0,
            seed: 1,
            every: 250,
            patience: 8,
            eval_tiles: 16,
            eval_tile: 0,
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Config`] naming the key that is wrong and what it may be.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text).map_err(|e| match e {
            Error::Config(what) => Error::Config(format!("{}: {what}", path.display())),
            e => e,
        })
    }

    /// The same from text.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str) -> Result<Self> {
        // A TOML error is several lines with a picture; ours are one.
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count().max(1));
            Error::Config(format!("line {line}: {}", e.message().replace('\n', "; ")))
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let (t, e, q) = (&self.transform, &self.entropy, &self.quantizer);
        let in_range = |key: &str, got: usize, from: usize, to: usize| match (from..=to).contains(&got) {
            true => Ok(()),
            false => Err(Error::Config(format!("{key} = {got} must be from {from} to {to}"))),
        };
        let share = |key: &str, got: f64| match (0.0..1.0).contains(&got) {
            true => Ok(()),
            false => Err(Error::Config(format!("{key} = {got} must be at least 0 and below 1"))),
        };
        in_range("transform.latents", t.latents, 1, 4096)?;
        in_range("transform.hidden", t.hidden, 1, 1024)?;
        in_range("transform.levels", t.levels, 1, 5)?;
        in_range("entropy.hyper", e.hyper, 1, 512)?;
        in_range("entropy.hidden", e.hidden, 1, 1024)?;
        in_range("entropy.slices", e.slices, 0, t.latents.clamp(1, 16))?;
        in_range("entropy.components", e.components, 2, 8)?;
        in_range("quantizer.codewords", q.codewords, 2, 4096)?;
        in_range("quantizer.stages", q.stages, 1, 8)?;
        in_range("quantizer.dimension", q.dimension, 1, t.latents)?;
        in_range("data.tile", self.data.tile, 8, 4096)?;
        in_range("train.steps", self.train.steps, 0, usize::MAX)?;
        in_range("train.batch", self.train.batch, 1, 1024)?;
        in_range("train.every", self.train.every, 1, usize::MAX)?;
        in_range("train.eval-tiles", self.train.eval_tiles, 1, 1 << 20)?;
        share("data.held-out", self.data.held_out)?;
        share("objective.masked", self.objective.masked)?;
        for (key, tile) in [("data.tile", self.data.tile), ("train.eval-tile", self.train.eval_tile)] {
            if !tile.is_multiple_of(self.stride()) {
                return Err(Error::Config(format!("{key} = {tile} must be a multiple of {}", self.stride())));
            }
        }
        if self.objective.lambda.is_empty() || self.objective.lambda.iter().any(|l| !(*l > 0.0 && l.is_finite())) {
            return Err(Error::Config("objective.lambda must be a list of positive numbers, such as [10, 100]".into()));
        }
        let wrong = match q.kind {
            QuantizerKind::Uniform => None,
            QuantizerKind::Vector if e.kind == EntropyKind::Factorized => None,
            QuantizerKind::Vector => Some("quantizer.kind = \"vector\" goes with entropy.kind = \"factorized\""),
            QuantizerKind::Binary if matches!(e.kind, EntropyKind::Factorized | EntropyKind::ScaleHyperprior) => None,
            QuantizerKind::Binary => {
                Some("quantizer.kind = \"binary\" goes with entropy.kind = \"factorized\" or \"scale-hyperprior\"")
            }
        };
        if let Some(wrong) = wrong {
            return Err(Error::Config(wrong.into()));
        }
        if q.kind != QuantizerKind::Uniform && self.objective.lambda.len() > 1 {
            return Err(Error::Config(
                "objective.lambda: several rates in one model need quantizer.kind = \"uniform\"".into(),
            ));
        }
        if q.kind == QuantizerKind::Vector && !t.latents.is_multiple_of(q.dimension) {
            return Err(Error::Config(format!(
                "transform.latents = {} must be a multiple of quantizer.dimension = {}",
                t.latents, q.dimension
            )));
        }
        for (kind, key, value) in [
            (ObjectiveKind::QualityMap, "objective.quality", &self.objective.quality),
            (ObjectiveKind::Distill, "objective.teacher", &self.objective.teacher),
        ] {
            if self.objective.kind == kind && value.is_empty() {
                return Err(Error::Config(format!("{key} is missing: this objective needs it")));
            }
        }
        Ok(())
    }

    /// Samples along a side that one y stands for.
    pub fn y_stride(&self) -> usize {
        if self.transform.kind == TransformKind::SpectralMlp { 1 } else { 1 << self.transform.levels }
    }

    /// Samples along a side that one position of the smallest latent stands for.
    pub fn stride(&self) -> usize {
        if self.has_hyper() { self.y_stride() * 4 } else { self.y_stride() }
    }

    /// Side of the tiles of an evaluation.
    pub fn eval_tile(&self) -> usize {
        if self.train.eval_tile > 0 { self.train.eval_tile } else { self.data.tile }
    }

    /// There is a hyper-latent z.
    pub fn has_hyper(&self) -> bool {
        !matches!(self.entropy.kind, EntropyKind::Factorized | EntropyKind::Laplacian)
    }
}
