//! The promise: what may differ between a sample and its reconstruction, and by how much.
//!
//! One definition, used by the encoder, the tests, `verify` and the metrics.
//!
//! # Maths (x a valid sample, x' its reconstruction, both in physical units)
//! | bound | holds when |
//! |---|---|
//! | `abs=e` | `abs(x - x') <= e` |
//! | `rel=e` | `abs(x - x') <= e abs(x)`; zeros stay zeros, signs are kept |
//! | `range=e` | `abs` with `e (max - min)` of the variable's valid samples |
//! | `l2=e` | `norm(X - X') <= e norm(X)`, Frobenius, over the variable |
//! | `l2-block=e` | the same for each block by itself |
//! | `psnr=d` | `20 log10((max - min) / RMSE) >= d` dB over the variable |
//! | `ratio=r` | uncompressed bytes / stored bytes of the variable's chunks, indices of shards included, metadata not, >= r |
//! | `bytes=n` | stored bytes, counted like this, <= n |
//! | `bits=k` | x' is x rounded to k mantissa bits ([`crate::quantize::round`]); `bits=auto`: as many as hold the real information |
//! | `lossless` | every bit |
//!
//! `ratio` and `bytes` say nothing about errors: they become the smallest `abs` that fits. `bits=auto` becomes `bits=k`. Who does
//! that looks at the whole variable; what came out is a promise like any other.

use crate::dtype::Sample;
use crate::error::{Error, Result};
use crate::quantize::round;
use crate::size;
use crate::stats::{ErrorStats, FieldStats};

/// One condition on the reconstruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Largest absolute error, physical units.
    Abs(f64),
    /// Largest error relative to each sample.
    Rel(f64),
    /// Largest absolute error as a part of the variable's range.
    Range(f64),
    /// Relative Frobenius norm of the error over the variable.
    L2(f64),
    /// Relative Frobenius norm of the error in each block.
    L2Block(f64),
    /// Peak signal-to-noise ratio over the variable, dB.
    Psnr(f64),
    /// Uncompressed bytes over stored bytes of the variable's chunks, at least.
    Ratio(f64),
    /// Stored bytes of the variable's chunks, at most.
    Bytes(u64),
    /// Mantissa bits that rounding leaves; `None` is as many as hold the real information.
    Bits(Option<u32>),
    /// Every bit.
    Lossless,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Abs(e) => write!(f, "abs={e:?}"),
            Self::Rel(e) => write!(f, "rel={e:?}"),
            Self::Range(e) => write!(f, "range={e:?}"),
            Self::L2(e) => write!(f, "l2={e:?}"),
            Self::L2Block(e) => write!(f, "l2-block={e:?}"),
            Self::Psnr(d) => write!(f, "psnr={d:?}"),
            Self::Ratio(r) => write!(f, "ratio={r:?}"),
            Self::Bytes(n) => write!(f, "bytes={n}"),
            Self::Bits(Some(k)) => write!(f, "bits={k}"),
            Self::Bits(None) => f.write_str("bits=auto"),
            Self::Lossless => f.write_str("lossless"),
        }
    }
}

impl std::str::FromStr for Bound {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        const HELP: &str = "a bound is abs=, rel=, range=, l2=, l2-block=, psnr= or ratio= with a positive number, bytes= with \
                            a size, bits= with a number or auto, or lossless";
        let bad = || Error::invalid(HELP, format!("{s:?}"));
        let s = s.trim();
        if s == "lossless" {
            return Ok(Self::Lossless);
        }
        let (name, value) = s.split_once('=').ok_or_else(bad)?;
        let value = value.trim();
        match name.trim() {
            "bytes" => return size::parse(value).map(Self::Bytes),
            "bits" if value == "auto" => return Ok(Self::Bits(None)),
            "bits" => {
                let k = value.parse().ok().filter(|k| *k <= round::MOST_BITS);
                let what =
                    format!("the bound bits= takes the mantissa bits to keep, 0 to {}, or auto", round::MOST_BITS);
                return k.map(|k| Self::Bits(Some(k))).ok_or_else(|| Error::invalid(what, value));
            }
            _ => {}
        }
        let v: f64 = value.parse().map_err(|_| bad())?;
        if !v.is_finite() || v < 0.0 {
            return Err(bad());
        }
        match name.trim() {
            "psnr" if v > 0.0 => Ok(Self::Psnr(v)),
            "ratio" if v < 1.0 => {
                Err(Error::invalid("the bound ratio= is uncompressed size over stored size: 1 or more", value))
            }
            "ratio" => Ok(Self::Ratio(v)),
            // No error allowed at all is lossless by another name.
            "abs" | "rel" | "range" | "l2" | "l2-block" if v == 0.0 => Ok(Self::Lossless),
            "abs" => Ok(Self::Abs(v)),
            "rel" | "l2" | "l2-block" if v >= 1.0 => Err(Error::invalid(
                format!("{} must be below 1: at 1 nothing would be left of the data", name.trim()),
                s,
            )),
            "rel" => Ok(Self::Rel(v)),
            "range" => Ok(Self::Range(v)),
            "l2" => Ok(Self::L2(v)),
            "l2-block" => Ok(Self::L2Block(v)),
            _ => Err(bad()),
        }
    }
}

/// Bounds that must all hold: `abs=0.1,l2=1e-3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise(pub Vec<Bound>);

impl Promise {
    /// Every bit.
    pub fn lossless() -> Self {
        Self(vec![Bound::Lossless])
    }

    /// Whether any of the bounds asks for every bit.
    pub fn is_lossless(&self) -> bool {
        self.0.contains(&Bound::Lossless)
    }

    /// Whether statistics of the variable are needed before it can be encoded.
    pub fn needs_field(&self) -> bool {
        let of_field = |b: &Bound| matches!(b, Bound::Range(_) | Bound::L2(_) | Bound::Psnr(_));
        self.has_budget() || self.0.iter().any(of_field)
    }

    /// Whether the bits to keep are to be found.
    pub fn needs_bits(&self) -> bool {
        self.0.contains(&Bound::Bits(None))
    }

    /// The promise once the bits to keep are known.
    pub fn with_bits(&self, keep: u32) -> Self {
        let known = |b: &Bound| if *b == Bound::Bits(None) { Bound::Bits(Some(keep)) } else { *b };
        Self(self.0.iter().map(known).collect())
    }

    fn has_budget(&self) -> bool {
        self.0.iter().any(|b| matches!(b, Bound::Ratio(_) | Bound::Bytes(_)))
    }

    /// The most bytes that a variable of `raw` uncompressed bytes may take; `None` if that is not bounded.
    pub fn budget(&self, raw: u64) -> Option<u64> {
        let of = |b: &Bound| match *b {
            Bound::Ratio(r) => {
                let most = (raw as f64 / r) as u64;
                // The quotient may have been rounded up to a whole number.
                Some(if most > 0 && (raw as f64 / most as f64) < r { most - 1 } else { most })
            }
            Bound::Bytes(n) => Some(n),
            _ => None,
        };
        self.0.iter().filter_map(of).min()
    }

    /// What is promised of the errors: everything but `ratio` and `bytes`.
    pub fn without_budget(&self) -> Self {
        Self(self.0.iter().filter(|b| !matches!(b, Bound::Ratio(_) | Bound::Bytes(_))).copied().collect())
    }

    /// What the promise means for a variable with the statistics `field`, all in physical units.
    pub fn resolve(&self, field: &FieldStats) -> Tolerance {
        let mut t = Tolerance { lossless: self.is_lossless(), ..Tolerance::default() };
        let at_most = |slot: &mut Option<f64>, v: f64| *slot = Some(slot.map_or(v, |old: f64| old.min(v)));
        let range = field.range();
        let mean_square = if field.n_valid == 0 { 0.0 } else { field.sum_sq / field.n_valid as f64 };
        for bound in &self.0 {
            match *bound {
                Bound::Abs(e) => at_most(&mut t.abs, e),
                Bound::Rel(e) => at_most(&mut t.rel, e),
                Bound::Range(e) => at_most(&mut t.abs, e * range),
                Bound::L2(e) => {
                    at_most(&mut t.mse, e * e * mean_square);
                    at_most(&mut t.l2, e);
                }
                Bound::L2Block(e) => at_most(&mut t.l2_block, e),
                // RMSE <= range / 10^(d/20): an encoder-side number, so powf may differ in the last bit between machines.
                Bound::Psnr(d) => at_most(&mut t.mse, (range / 10f64.powf(d / 20.0)).powi(2)),
                Bound::Bits(keep) => t.bits = keep,
                Bound::Ratio(_) | Bound::Bytes(_) | Bound::Lossless => {}
            }
        }
        // A relative bound on each sample implies the same on the norm; the other way round is the price of asking for both.
        if let (Some(rel), Some(mse)) = (t.rel, t.mse) {
            t.rel = Some(rel.min((mse / mean_square).sqrt()));
        }
        // A constant field, or one of zeros, leaves no room for any error.
        t.lossless |= [t.abs, t.rel, t.mse, t.l2_block].iter().any(|v| v.is_some_and(|v| v.is_nan() || v <= 0.0));
        t
    }

    /// Whether every bound held for a variable whose errors were summed up in `e`.
    /// `l2-block` is judged where the blocks are; over the variable it implies the same `l2`. `bits` is judged value by value
    /// ([`Tolerance::holds`]), `ratio` and `bytes` where bytes are counted ([`Promise::budget`]).
    pub fn kept(&self, e: &ErrorStats) -> bool {
        self.0.iter().all(|bound| match *bound {
            Bound::Abs(v) => e.max_abs <= v,
            Bound::Rel(v) => e.max_rel <= v,
            Bound::Range(v) => e.max_abs <= v * e.field.range(),
            Bound::L2(v) | Bound::L2Block(v) => e.l2() <= v,
            Bound::Psnr(d) => e.psnr() >= d,
            Bound::Bits(_) | Bound::Ratio(_) | Bound::Bytes(_) => true,
            Bound::Lossless => e.n_changed == 0,
        })
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, bound) in self.0.iter().enumerate() {
            write!(f, "{}{bound}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Promise {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let bounds = s.split(',').map(str::parse).collect::<Result<Vec<_>>>()?;
        match bounds.iter().find(|b| matches!(b, Bound::Bits(_))) {
            Some(bits) if bounds.len() > 1 => {
                Err(Error::invalid(format!("{bits} rounds every value alike and joins no other bound"), s))
            }
            _ => Ok(Self(bounds)),
        }
    }
}

/// Physical value = `scale * stored + offset`, as CF packing has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// CF `scale_factor`.
    pub scale: f64,
    /// CF `add_offset`.
    pub offset: f64,
}

impl Affine {
    /// Stored values are physical values.
    pub const IDENTITY: Self = Self { scale: 1.0, offset: 0.0 };

    /// Stored to physical.
    #[inline]
    pub fn physical(self, stored: f64) -> f64 {
        stored * self.scale + self.offset
    }

    /// `abs(x - x')` in physical units, never below what unpacking both and subtracting gives.
    #[inline]
    pub fn distance<T: Sample>(self, x: T, y: T) -> f64 {
        let stored = x.distance(y);
        if self == Self::IDENTITY {
            return stored;
        }
        let unpacked = (self.physical(x.to_f64()) - self.physical(y.to_f64())).abs();
        unpacked.max(stored * self.scale.abs())
    }
}

/// A promise with its numbers worked out for one variable, in physical units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tolerance {
    /// Every bit must come back.
    pub lossless: bool,
    /// Largest absolute error.
    pub abs: Option<f64>,
    /// Largest error relative to each sample.
    pub rel: Option<f64>,
    /// Largest mean squared error over the variable.
    pub mse: Option<f64>,
    /// Largest relative Frobenius error over the variable; `mse` holds the same in absolute terms.
    pub l2: Option<f64>,
    /// Largest relative Frobenius error of each block.
    pub l2_block: Option<f64>,
    /// Samples come back rounded to so many mantissa bits; stands alone.
    pub bits: Option<u32>,
}

impl Tolerance {
    /// Every bit.
    pub const LOSSLESS: Self =
        Self { lossless: true, abs: None, rel: None, mse: None, l2: None, l2_block: None, bits: None };

    /// Whether the pointwise bounds hold for one valid sample.
    #[inline]
    pub fn holds<T: Sample>(&self, affine: Affine, x: T, y: T) -> bool {
        if self.lossless {
            return x.to_bits() == y.to_bits();
        }
        if let Some(keep) = self.bits {
            // Where rounding would do harm, the sample stays as it is.
            return y.to_bits() == round::round(x, keep).to_bits() || y.to_bits() == x.to_bits();
        }
        if !y.is_finite() {
            return false;
        }
        let d = affine.distance(x, y);
        self.abs.is_none_or(|e| d <= e)
            && self.rel.is_none_or(|e| {
                let (px, py) = (affine.physical(x.to_f64()), affine.physical(y.to_f64()));
                // Both forms, for among subnormals the product rounds in the wrong direction.
                let near = d == 0.0 || (d <= e * px.abs() && d / px.abs() <= e);
                near && (px == 0.0) == (py == 0.0) && (px < 0.0) == (py < 0.0)
            })
    }

    /// Whether an absolute bound alone holds for all of some valid samples; `false` where that takes a closer look.
    #[inline(always)]
    pub(crate) fn all_hold<T: Sample>(&self, affine: Affine, x: &[T], y: &[T]) -> bool {
        let most = self.abs.unwrap_or(f64::INFINITY);
        !self.lossless
            && self.bits.is_none()
            && self.rel.is_none()
            && x.iter().zip(y).fold(true, |ok, (a, b)| ok & b.is_finite() & (affine.distance(*a, *b) <= most))
    }

    /// Whether single samples are bounded, not only norms.
    pub fn is_pointwise(&self) -> bool {
        self.abs.is_some() || self.rel.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_print_as_they_parse() {
        for s in [
            "abs=0.5",
            "rel=0.001",
            "range=0.01",
            "l2=0.001",
            "l2-block=0.1",
            "psnr=60.0",
            "ratio=50.0",
            "bytes=2000",
            "bits=7",
            "bits=auto",
            "lossless",
        ] {
            assert_eq!(s.parse::<Bound>().unwrap().to_string(), s);
        }
        assert_eq!("bytes=1.5 kB".parse::<Bound>().unwrap(), Bound::Bytes(1500));
        assert_eq!("abs=1e-3, l2=1e-4".parse::<Promise>().unwrap().to_string(), "abs=0.001,l2=0.0001");
        assert_eq!("abs=0".parse::<Bound>().unwrap(), Bound::Lossless);
    }

    #[test]
    fn impossible_bounds_are_refused() {
        for s in [
            "abs=nan",
            "abs=-1",
            "abs=inf",
            "abs",
            "abs=",
            "foo=1",
            "",
            "rel=1",
            "l2=2",
            "psnr=0",
            "abs=1,,l2=0.1",
            "psnr=-3",
            "ratio=0",
            "ratio=0.5",
            "ratio=nan",
            "ratio=inf",
            "ratio=-2",
            "bytes=0",
            "bytes=nan",
            "bytes=-1k",
            "bits=53",
            "bits=-1",
            "bits=7.5",
            "bits=all",
            "bits=7,abs=1",
        ] {
            assert!(s.parse::<Promise>().is_err(), "{s}");
        }
    }

    #[test]
    fn a_budget_is_never_larger_than_the_ratio_allows() {
        for (promise, raw, want) in [
            ("ratio=50", 1000, Some(20)),
            ("ratio=3", 1000, Some(333)),
            ("ratio=3,bytes=300", 1000, Some(300)),
            ("ratio=7,bytes=1k", 6999, Some(999)),
            ("abs=1", 1000, None),
        ] {
            assert_eq!(promise.parse::<Promise>().unwrap().budget(raw), want, "{promise}");
        }
        for i in 1..2000u64 {
            let (raw, r) = (i * 7919, 1.0 + i as f64 / 97.0);
            let most = Promise(vec![Bound::Ratio(r)]).budget(raw).unwrap();
            assert!(raw as f64 / most as f64 >= r && raw as f64 / (most + 2) as f64 <= r, "{raw} {r}");
        }
    }

    #[test]
    fn holds_looks_at_the_types_own_arithmetic() {
        let t = Tolerance { abs: Some(0.1), ..Tolerance::default() };
        assert!(t.holds(Affine::IDENTITY, 1.0f64, 1.05));
        assert!(!t.holds(Affine::IDENTITY, 1.0f64, 1.11));
        assert!(!t.holds(Affine::IDENTITY, 1.0f32, f32::NAN));
        let r = Tolerance { rel: Some(0.1), ..Tolerance::default() };
        assert!(r.holds(Affine::IDENTITY, 0.0f32, -0.0) && !r.holds(Affine::IDENTITY, 0.0f32, 1e-30));
        assert!(!r.holds(Affine::IDENTITY, f32::from_bits(1), 0.0));
        let packed = Affine { scale: 0.01, offset: 273.0 };
        assert!(t.holds(packed, 100i16, 109) && !t.holds(packed, 100i16, 111));
    }
}
