//! What is asked of a chunk: codec, tolerance, meaning of stored values, effort. Pure data.

use crate::block;
use crate::bound::{Affine, Tolerance};
use crate::error::{Error, Result};
use crate::learned::stage::{self, Wanted};
use crate::learned::{self, Hash};
use crate::transform::{self, Stage};

/// Checked parameter values of a stage, in the order of its table row.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    names: Vec<&'static str>,
    values: Vec<f64>,
    model: Option<Wanted>,
}

impl Params {
    /// The defaults of a stage.
    pub fn defaults(stage: &Stage) -> Self {
        Self {
            names: stage.params.iter().map(|p| p.name).collect(),
            values: stage.params.iter().map(|p| p.default).collect(),
            model: None,
        }
    }

    /// The value of `name`; NaN if the stage has no such parameter or decides by itself.
    pub fn get(&self, name: &str) -> f64 {
        self.names.iter().position(|n| *n == name).map_or(f64::NAN, |i| self.values[i])
    }

    /// The model of a learned codec.
    pub fn model(&self) -> Option<&Wanted> {
        self.model.as_ref()
    }

    /// Changes the value of `name`, if there is such a parameter.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.names.iter().zip(&mut self.values).filter(|(n, _)| **n == name).for_each(|(_, v)| *v = value);
    }

    /// Like [`Params::get`], `None` where the stage decides by itself.
    pub fn count(&self, name: &str) -> Option<usize> {
        let v = self.get(name);
        (!v.is_nan()).then_some(v as usize)
    }
}

/// Which codec, with its parameters: `auto`, `auto,model=HASH`, `tensor`, `hgfdr-blocked,rank=8`, `lossless`.
#[derive(Debug, Clone)]
pub enum Codec {
    /// The smallest on a sample of the data; these models are candidates for chunks that fit them.
    Auto(Vec<Hash>),
    /// Every bit; no transform.
    Lossless,
    /// A row of the transform table.
    Transform(&'static Stage, Params),
}

impl Codec {
    /// The stage's name, or `lossless`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auto(_) => "auto",
            Self::Lossless => "lossless",
            Self::Transform(stage, _) => stage.name,
        }
    }
}

impl Codec {
    /// The models that chunks may need.
    pub fn models(&self) -> Vec<Hash> {
        match self {
            Self::Auto(models) => models.clone(),
            Self::Lossless => Vec::new(),
            Self::Transform(_, params) => params.model().map(|wanted| wanted.hash).into_iter().collect(),
        }
    }

    /// [`block::part_shape`], but with all bands where a model needs them to code chunks of that shape.
    pub fn part_shape(&self, shape: &[usize], n: usize) -> Vec<usize> {
        let axis = self.models().into_iter().find_map(|hash| {
            let model = learned::find(hash).ok().filter(|m| stage::fits(m, shape).is_ok())?;
            stage::band_axis(&model, shape.len())
        });
        let Some(d) = axis else { return block::part_shape(shape, n) };
        let mut one = shape.to_vec();
        one[d] = 1;
        let mut count = block::part_shape(&one, n / shape[d].max(1));
        count[d] = shape[d];
        count
    }

    /// The same with those parameters that are not set yet taken from `choices`.
    pub fn settled(mut self, choices: &[(&str, f64)]) -> Self {
        if let Self::Transform(_, params) = &mut self {
            for (name, value) in params.names.iter().zip(&mut params.values).filter(|(_, v)| v.is_nan()) {
                *value = choices.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, v)| *v);
            }
        }
        self
    }
}

impl std::str::FromStr for Codec {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let mut parts = s.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if name == "auto" {
            let model = |p: &str| {
                let hash = p.strip_prefix("model=").map(str::parse);
                hash.unwrap_or_else(|| Err(Error::invalid("auto takes models that may code, as model=HASH", p)))
            };
            return Ok(Self::Auto(parts.map(model).collect::<Result<_>>()?));
        }
        if name == "lossless" {
            return match parts.next() {
                None => Ok(Self::Lossless),
                Some(p) => Err(Error::invalid("lossless takes no parameters", p)),
            };
        }
        if let Some(model) = name.strip_prefix("learned:") {
            let number = |p: &str| p.split_once('=').and_then(|(k, v)| Some((k.trim().into(), v.trim().parse().ok()?)));
            let side = parts
                .map(|p| number(p).filter(|(_, v): &(String, f64)| v.is_finite()).ok_or(p))
                .collect::<std::result::Result<_, _>>()
                .map_err(|p| Error::invalid("learned:MODEL takes side inputs of the model as NAME=NUMBER", p))?;
            let model = Some(Wanted { hash: model.parse()?, side });
            return Ok(Self::Transform(&stage::STAGE, Params { model, ..Params::defaults(&stage::STAGE) }));
        }
        let stage = transform::by_name(name)?;
        if stage.id == stage::STAGE.id {
            return Err(Error::invalid(
                "a learned codec is given with its model, as learned:FILE or learned:HASH",
                name,
            ));
        }
        let mut params = Params::defaults(stage);
        for part in parts {
            let known = || {
                let names: Vec<_> =
                    stage.params.iter().map(|p| format!("{}= ({} to {})", p.name, p.min, p.max)).collect();
                Error::invalid(
                    format!(
                        "{name} takes {}",
                        if names.is_empty() { "no parameters".into() } else { names.join(", ") }
                    ),
                    part,
                )
            };
            let (key, value) = part.split_once('=').ok_or_else(known)?;
            let i = stage.params.iter().position(|p| p.name == key.trim()).ok_or_else(known)?;
            let v: f64 = value.trim().parse().map_err(|_| known())?;
            if !(stage.params[i].min..=stage.params[i].max).contains(&v) {
                return Err(known());
            }
            params.values[i] = v;
        }
        Ok(Self::Transform(stage, params))
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        if let Self::Auto(models) = self {
            return models.iter().try_for_each(|hash| write!(f, ",model={hash}"));
        }
        if let Self::Transform(_, params) = self {
            if let Some(model) = params.model() {
                write!(f, ":{}", model.hash)?;
                model.side.iter().try_for_each(|(name, value)| write!(f, ",{name}={value}"))?;
            }
            for (name, value) in params.names.iter().zip(&params.values).filter(|(_, v)| !v.is_nan()) {
                write!(f, ",{name}={value}")?;
            }
        }
        Ok(())
    }
}

/// Everything an encoder needs to know about one chunk.
#[derive(Debug, Clone)]
pub struct ChunkSpec {
    /// How to write it.
    pub codec: Codec,
    /// What must hold.
    pub tolerance: Tolerance,
    /// What stored values mean.
    pub affine: Affine,
    /// Bit patterns that mark missing samples, beside NaN and infinities.
    pub missing: Vec<u64>,
    /// The quantizer step that all chunks of the variable share, physical units, when a norm over the variable is promised.
    pub step: Option<f64>,
    /// 1 (fast) to 9 (small).
    pub effort: u8,
}

impl ChunkSpec {
    /// Every bit, nothing missing by pattern, effort 5.
    pub fn lossless() -> Self {
        Self {
            codec: Codec::Lossless,
            tolerance: Tolerance::LOSSLESS,
            affine: Affine::IDENTITY,
            missing: Vec::new(),
            step: None,
            effort: 5,
        }
    }
}
