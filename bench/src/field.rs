//! Fields to compress: read through `lithify-io`, as stored and as the plain f32 numbers that rivals take.
//!
//! # Shapes     a field has the shape of its variable less dimensions of length 1, C order

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lithify_codec::block::strides;
use lithify_codec::mask::{self, Mask};
use lithify_codec::{Affine, ChunkSpec, Codec, FieldStats, Samples, match_samples};
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
    /// Reads `variable` of `file` below `data`; of its first dimension only `[0, first)` where that is given.
    pub fn read(data: &Path, file: &str, variable: &str, label: &str, first: Option<usize>) -> Result<Self> {
        let path = data.join(file);
        let source = formats::open(&path)?;
        let var = source.root().find(variable)?;
        let mut count = var.shape.clone();
        if let (Some(n), Some(c)) = (first, count.first_mut()) {
            *c = n.min(*c);
        }
        let Values::Numbers(stored) = source.read(variable, &vec![0; count.len()], &count)? else {
            anyhow::bail!("{variable} of {file} does not hold numbers");
        };
        let number = |name: &str| var.attr(name).and_then(|a| a.as_f64());
        let affine =
            Affine { scale: number("scale_factor").unwrap_or(1.0), offset: number("add_offset").unwrap_or(0.0) };
        let units = var.attr("units").and_then(|a| a.as_text()).unwrap_or("1").to_owned();
        let keep: Vec<usize> = (0..count.len()).filter(|&d| count[d] > 1).collect();
        let shape = keep.iter().map(|&d| count[d]).collect();
        let dims = keep.iter().map(|&d| var.dims[d].clone()).collect();
        Self::new(label, &units, shape, dims, stored, affine, missing(var)).with_context(|| format!("{file}: {label}"))
    }

    /// A field of samples in memory.
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
            lithify_codec::Sample::wrap(from.iter().map(|&i| v[i]).collect())
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
