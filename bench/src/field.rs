//! Fields to compress: read through `lithify-io`, as stored and as the plain f32 numbers that rivals take.
//!
//! # Shapes     a field has the shape of its variable less dimensions of length 1, C order

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lithify_codec::block::strides;
use lithify_codec::mask::{self, Mask};
use lithify_codec::{Affine, ChunkSpec, Codec, FieldStats, Sample, Samples, match_samples};
use lithify_io::formats;
use lithify_io::model::{Values, Variable};

/// A variable, or a part of one, of the development data.
#[derive(Debug, Clone)]
pub struct Field {
    /// For tables and legends.
    pub label: String,
    /// Physical units.
    pub units: String,
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Name of each dimension.
    pub dims: Vec<String>,
    /// What the file holds: what our codecs are given, and what ratios are measured against.
    pub stored: Samples,
    /// Stored to physical.
    pub affine: Affine,
    /// Bit patterns of missing samples, beside NaN and infinities.
    pub missing: Vec<u64>,
    /// Physical values with the gaps extended smoothly: what rivals are given.
    pub values: Vec<f32>,
    /// Which samples count; `None` if all do.
    pub valid: Option<Vec<bool>>,
    /// Bytes of the exact mask, charged to every rival, since none of them keeps one.
    pub mask_bytes: usize,
    /// Of the valid values.
    pub stats: FieldStats,
}

impl Field {
    /// Reads `variable` of `file` below `data`; of its dimension `d` only `[0, crop[d])` where there is such a number.
    pub fn read(data: &Path, file: &str, variable: &str, label: &str, crop: &[usize]) -> Result<Self> {
        let path = data.join(file);
        let source = formats::open(&path)?;
        let var = source.root().find(variable)?;
        let count = cropped(&var.shape, crop);
        let Values::Numbers(stored) = source.read(variable, &vec![0; count.len()], &count)? else {
            anyhow::bail!("{variable} of {file} does not hold numbers");
        };
        let number = |name: &str| var.attr(name).and_then(|a| a.as_f64());
        let affine =
            Affine { scale: number("scale_factor").unwrap_or(1.0), offset: number("add_offset").unwrap_or(0.0) };
        let units = var.attr("units").and_then(|a| a.as_text()).unwrap_or("1").to_owned();
        Self::new(label, &units, count, var.dims.clone(), stored, affine, missing(var))
            .with_context(|| format!("{file}: {label}"))
    }

    /// A field of samples in memory; dimensions of length 1 are dropped.
    pub fn new(
        label: &str,
        units: &str,
        shape: Vec<usize>,
        dims: Vec<String>,
        stored: Samples,
        affine: Affine,
        missing: Vec<u64>,
    ) -> Result<Self> {
        ensure!(shape.iter().product::<usize>() == stored.len(), "shape {shape:?} does not fit the samples");
        let (shape, dims): (Vec<_>, Vec<_>) = shape.into_iter().zip(dims).filter(|(n, _)| *n > 1).unzip();
        let mask = match_samples!(&stored, v => Mask::of(v, &missing));
        let valid = mask.as_ref().map(Mask::valid);
        let mut x: Vec<f64> = stored.to_f64().into_iter().map(|v| affine.physical(v)).collect();
        if let Some(valid) = &valid {
            mask::extend(&mut x, valid, &shape);
        }
        let values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let mut stats = FieldStats::default();
        stats.add(&values, valid.as_deref(), Affine::IDENTITY);
        ensure!(stats.n_valid > 0, "no sample is valid");
        let mask_bytes = mask.map_or(0, |m| m.encode(&shape).len());
        let (label, units) = (label.to_owned(), units.to_owned());
        Ok(Self { label, units, shape, dims, stored, affine, missing, values, valid, mask_bytes, stats })
    }

    /// Bytes as the file's own type holds them.
    pub fn raw_bytes(&self) -> usize {
        self.stored.len() * self.stored.dtype().size()
    }

    /// Scale and offset of a packed type; `None` where samples are floating-point numbers.
    pub fn lattice(&self) -> Option<(f64, f64)> {
        (!self.stored.dtype().is_float()).then_some((self.affine.scale, self.affine.offset))
    }

    /// Physical values rounded to the lattice of a packed type.
    pub fn on_lattice(&self, x: &[f32]) -> Option<Vec<f32>> {
        let (scale, offset) = self.lattice()?;
        let snap = |v: &f32| (offset + scale * ((f64::from(*v) - offset) / scale).round()) as f32;
        Some(x.iter().map(snap).collect())
    }

    /// The samples as stored with the gaps filled smoothly; `None` where none are missing, or where a mask does not suffice to
    /// bring the missing ones back.
    pub fn filled(&self) -> Option<Samples> {
        let valid = self.valid.as_ref()?;
        let mut gaps = (0..valid.len()).filter(|&i| !valid[i]).map(|i| self.stored.bits(i));
        let first = gaps.next()?;
        let smooth = |i: usize| (f64::from(self.values[i]) - self.affine.offset) / self.affine.scale;
        gaps.all(|bits| bits == first).then(|| match_samples!(&self.stored, v => patched(v, valid, smooth)))
    }

    /// Largest absolute physical value.
    pub fn largest(&self) -> f64 {
        self.stats.min.abs().max(self.stats.max.abs())
    }

    /// Whether sample `i` counts.
    pub fn is_valid(&self, i: usize) -> bool {
        self.valid.as_ref().is_none_or(|m| m[i])
    }

    /// The same field with its dimensions stored in another order: dimension `d` of the result is `order[d]` of this one.
    pub fn permuted(&self, order: &[usize]) -> Result<Self> {
        let shape: Vec<usize> = order.iter().map(|&d| self.shape[d]).collect();
        let dims = order.iter().map(|&d| self.dims[d].clone()).collect();
        let from = permutation(&self.shape, order);
        let stored = match_samples!(&self.stored, v => {
            Sample::wrap(from.iter().map(|&i| v[i]).collect())
        });
        Self::new(&self.label, &self.units, shape, dims, stored, self.affine, self.missing.clone())
    }

    /// The same field with its gaps filled for good.
    pub fn without_gaps(&self) -> Result<Self> {
        let stored = Samples::F32(self.values.clone());
        let (shape, dims) = (self.shape.clone(), self.dims.clone());
        Self::new(&self.label, &self.units, shape, dims, stored, Affine::IDENTITY, Vec::new())
    }

    /// What our encoder is asked, with nothing promised yet.
    pub fn spec(&self, codec: Codec) -> ChunkSpec {
        ChunkSpec { codec, affine: self.affine, missing: self.missing.clone(), ..ChunkSpec::lossless() }
    }

    /// The dimension that runs along longitude; the first one where none does.
    pub fn longitude(&self) -> usize {
        self.dims.iter().position(|d| d.contains("lon") || d == "x").unwrap_or(0)
    }
}

/// The first `crop[d]` of each dimension, all of those that `crop` does not reach.
pub fn cropped(shape: &[usize], crop: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(d, n)| crop.get(d).map_or(*n, |c| *n.min(c))).collect()
}

/// Samples with those that are not valid replaced.
fn patched<T: Sample>(x: &[T], valid: &[bool], smooth: impl Fn(usize) -> f64) -> Samples {
    T::wrap((0..x.len()).map(|i| if valid[i] { x[i] } else { T::from_f64(smooth(i)) }).collect())
}

/// For each sample of an array stored in the order `order`, its position in the array of shape `shape`.
pub fn permutation(shape: &[usize], order: &[usize]) -> Vec<usize> {
    let old = strides(shape);
    let new_shape: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
    let new = strides(&new_shape);
    (0..shape.iter().product())
        .map(|i| (0..order.len()).map(|d| i / new[d] % new_shape[d] * old[order[d]]).sum())
        .collect()
}

/// Bit patterns that the variable's attributes declare to be missing.
fn missing(var: &Variable) -> Vec<u64> {
    use lithify_io::model::AttrValue::Numbers;
    let mut bits = Vec::new();
    for name in ["_FillValue", "missing_value"] {
        if let Some(Numbers(n)) = var.attr(name)
            && Some(n.dtype()) == var.dtype()
        {
            bits.extend((0..n.len()).map(|i| n.bits(i)));
        }
    }
    bits.sort_unstable();
    bits.dedup();
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_only_where_a_mask_brings_them_back() {
        let field = |x: Vec<f32>| {
            let dims = vec!["y".into(), "x".into()];
            Field::new("f", "1", vec![2, 2], dims, Samples::F32(x), Affine::IDENTITY, vec![]).unwrap()
        };
        assert!(field(vec![1.0; 4]).filled().is_none());
        assert!(field(vec![1.0, f32::NAN, 3.0, f32::INFINITY]).filled().is_none());
        let Some(Samples::F32(x)) = field(vec![1.0, f32::NAN, 3.0, f32::NAN]).filled() else { panic!("not filled") };
        assert!(x[0] == 1.0 && x[2] == 3.0 && x.iter().all(|v| (1.0..=3.0).contains(v)));
    }

    #[test]
    fn permuting_there_and_back_changes_nothing() {
        let shape = vec![2, 3, 4];
        let x = Samples::F32((0..24).map(|i| if i == 5 { f32::NAN } else { i as f32 }).collect());
        let dims = ["t", "y", "x"].map(String::from).to_vec();
        let f = Field::new("f", "1", shape, dims, x, Affine::IDENTITY, Vec::new()).unwrap();
        let there = f.permuted(&[2, 0, 1]).unwrap();
        assert_eq!(there.shape, [4, 2, 3]);
        assert_eq!(there.stored.f64(1), f.stored.f64(4));
        let back = there.permuted(&[1, 2, 0]).unwrap();
        assert_eq!(back.stored.to_le_bytes(), f.stored.to_le_bytes());
        assert_eq!(f.stats.n_valid, 23);
    }
}
