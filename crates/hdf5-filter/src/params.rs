//! The filter's parameters: HDF5's `cd_values`, 32-bit numbers that are stored with the dataset.
//!
//! A list of entries, each a key and its value; none at all keeps every bit. Keys up to 99 are for users. A number is an IEEE 754
//! double in two words, the low one first, as `nccopy -F` makes of `0.05d`; a pattern is 64 bits in two words alike.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | 0 | - | nothing: what no bound is given for keeps every bit |
//! | 1 | number | `abs`: largest error of a value |
//! | 2 | number | `rel`: largest error of a value, relative to it |
//! | 3 | number | `l2-block`: relative norm of the error in each chunk |
//! | 4 | word | `bits`: mantissa bits that rounding leaves |
//! | 5 | word | effort, 1 to 9; 5 if absent |
//! | 6 | number | CF `scale_factor`: errors are those of `scale * stored + offset` |
//! | 7 | number | CF `add_offset` |
//! | 8 | number | a value that marks missing samples, beside the dataset's fill value, NaN and infinities; can be given again |
//! | 9 | pattern | the same by its bits |
//! | 10 | word | transform by its number in `docs/format.md`; 0, or absent: the best on a sample |
//! | 100 | below | what the dataset is; set when it is created, in place of what was there |
//!
//! Value of key 100: version (1), sample type and byte order (0 little, 1 big), whether a fill value was set (0, 1), its bits as a pattern, number of
//! dimensions, lengths of a chunk. Types have the numbers of `docs/format.md`. What is no number is stored as bytes.
//!
//! Behind it comes a 0: NCO gives all other variables that it writes the last word of the first one's list, and nothing else.

use lithify_codec::pipeline::MAX_DIMS;
use lithify_codec::transform::{self, TRANSFORMS};
use lithify_codec::{
    Affine, Bound, ChunkSpec, Codec, Dtype, Error, FieldStats, Promise, Result, Sample, match_dtype, spec,
};

const LOSSLESS: u32 = 0;
const ABS: u32 = 1;
const REL: u32 = 2;
const L2_BLOCK: u32 = 3;
const BITS: u32 = 4;
const EFFORT: u32 = 5;
const SCALE: u32 = 6;
const OFFSET: u32 = 7;
const MISSING: u32 = 8;
const PATTERN: u32 = 9;
const TRANSFORM: u32 = 10;
const DATASET: u32 = 100;
const VERSION: u32 = 1;

/// What the chunks of a dataset are.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Sample type.
    pub dtype: Dtype,
    /// Samples are stored with their high bytes first.
    pub big_endian: bool,
    /// Bits of what the padding of a chunk holds.
    pub fill: u64,
    /// Somebody chose that value, so it marks missing samples.
    pub fill_is_missing: bool,
    /// Shape of a chunk, padding included.
    pub chunk: Vec<usize>,
}

/// Parameters of the filter for one dataset.
#[derive(Debug, Clone)]
pub struct Params {
    /// What must hold.
    pub promise: Promise,
    /// 1 (fast) to 9 (small).
    pub effort: u8,
    /// CF packing.
    pub affine: Affine,
    /// Values that mark missing samples.
    pub missing: Vec<f64>,
    /// Bit patterns that mark missing samples.
    pub patterns: Vec<u64>,
    /// Number of the transform; 0 takes the best on a sample.
    pub transform: u16,
    /// Filled in when a dataset is created.
    pub dataset: Option<Dataset>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            promise: Promise::lossless(),
            effort: 5,
            affine: Affine::IDENTITY,
            missing: Vec::new(),
            patterns: Vec::new(),
            transform: 0,
            dataset: None,
        }
    }
}

fn invalid(what: impl Into<String>, got: impl std::fmt::Display) -> Error {
    Error::invalid(format!("HDF5 filter lithify: {}", what.into()), got)
}

/// The words that are left.
struct Words<'a>(&'a [u32]);

impl Words<'_> {
    fn word(&mut self, key: u32) -> Result<u32> {
        let (first, rest) = self.0.split_first().ok_or_else(|| {
            invalid("the parameters end too early; doubles take two words (0.05d in nccopy), after key", key)
        })?;
        self.0 = rest;
        Ok(*first)
    }

    fn pattern(&mut self, key: u32) -> Result<u64> {
        Ok(u64::from(self.word(key)?) | u64::from(self.word(key)?) << 32)
    }

    fn number(&mut self, key: u32) -> Result<f64> {
        self.pattern(key).map(f64::from_bits)
    }

    fn dataset(&mut self) -> Result<Dataset> {
        let version = self.word(DATASET)?;
        if version != VERSION {
            return Err(Error::Unsupported { what: "version of the HDF5 filter's parameters", id: version });
        }
        let dtype = self.word(DATASET)?;
        let dtype = Dtype::from_wire(u8::try_from(dtype).unwrap_or(u8::MAX))?;
        let big_endian = self.word(DATASET)? != 0;
        let fill_is_missing = self.word(DATASET)? != 0;
        let fill = self.pattern(DATASET)?;
        let n = self.word(DATASET)? as usize;
        if n == 0 || n > MAX_DIMS {
            return Err(invalid(format!("a chunk has 1 to {MAX_DIMS} dimensions"), n));
        }
        let chunk = (0..n).map(|_| self.word(DATASET).map(|d| d as usize)).collect::<Result<Vec<_>>>()?;
        let bytes = chunk.iter().try_fold(dtype.size(), |n, d| n.checked_mul(*d));
        if bytes.is_none_or(|n| n == 0 || n > isize::MAX as usize) {
            return Err(invalid("a chunk cannot have this shape", format!("{chunk:?}")));
        }
        Ok(Dataset { dtype, big_endian, fill, fill_is_missing, chunk })
    }
}

impl Params {
    /// Reads `cd_values`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for unknown keys, values out of range, and lists that end inside an entry.
    pub fn parse(values: &[u32]) -> Result<Self> {
        let mut words = Words(values);
        let mut bounds = Vec::new();
        let mut params = Self::default();
        while !words.0.is_empty() {
            let key = words.word(0)?;
            match key {
                LOSSLESS => {}
                ABS => bounds.push(Bound::Abs(words.number(key)?)),
                REL => bounds.push(Bound::Rel(words.number(key)?)),
                L2_BLOCK => bounds.push(Bound::L2Block(words.number(key)?)),
                BITS => bounds.push(Bound::Bits(Some(words.word(key)?))),
                EFFORT => {
                    let effort = words.word(key)?;
                    let known = u8::try_from(effort).ok().filter(|e| (1..=9).contains(e));
                    params.effort = known.ok_or_else(|| invalid("effort (key 5) must be 1 to 9", effort))?;
                }
                SCALE => params.affine.scale = words.number(key)?,
                OFFSET => params.affine.offset = words.number(key)?,
                MISSING => params.missing.push(words.number(key)?),
                PATTERN => params.patterns.push(words.pattern(key)?),
                TRANSFORM => params.transform = transform_of(words.word(key)?)?,
                DATASET => params.dataset = Some(words.dataset()?),
                _ => return Err(invalid("keys are 0 to 10; see its parameters; unknown is", key)),
            }
        }
        let Affine { scale, offset } = params.affine;
        if !(scale.is_finite() && scale != 0.0 && offset.is_finite()) {
            return Err(invalid(
                "scale and offset (keys 6, 7) must be finite, scale not zero",
                format!("{scale}, {offset}"),
            ));
        }
        if !bounds.is_empty() {
            // As text it passes the checks that every bound passes.
            params.promise = Promise(bounds).to_string().parse()?;
        }
        Ok(params)
    }

    /// The inverse of [`Params::parse`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for bounds that need the whole variable: a filter sees one chunk at a time.
    pub fn to_values(&self) -> Result<Vec<u32>> {
        let mut out = Vec::new();
        let pattern = |out: &mut Vec<u32>, key: u32, bits: u64| out.extend([key, bits as u32, (bits >> 32) as u32]);
        let lossless = [Bound::Lossless];
        for bound in if self.promise.is_lossless() { &lossless[..] } else { &self.promise.0 } {
            match *bound {
                Bound::Lossless => out.push(LOSSLESS),
                Bound::Abs(e) => pattern(&mut out, ABS, e.to_bits()),
                Bound::Rel(e) => pattern(&mut out, REL, e.to_bits()),
                Bound::L2Block(e) => pattern(&mut out, L2_BLOCK, e.to_bits()),
                Bound::Bits(Some(k)) => out.extend([BITS, k]),
                _ => {
                    let what = "a filter sees one chunk at a time and takes abs, rel, l2-block, bits and lossless; \
                                `lithify compress` takes";
                    return Err(invalid(what, bound));
                }
            }
        }
        out.extend([EFFORT, self.effort.into()]);
        if self.affine != Affine::IDENTITY {
            pattern(&mut out, SCALE, self.affine.scale.to_bits());
            pattern(&mut out, OFFSET, self.affine.offset.to_bits());
        }
        self.missing.iter().for_each(|v| pattern(&mut out, MISSING, v.to_bits()));
        self.patterns.iter().for_each(|bits| pattern(&mut out, PATTERN, *bits));
        if self.transform != 0 {
            out.extend([TRANSFORM, self.transform.into()]);
        }
        if let Some(d) = &self.dataset {
            out.extend([DATASET, VERSION, d.dtype as u32, d.big_endian.into(), d.fill_is_missing.into()]);
            out.extend([d.fill as u32, (d.fill >> 32) as u32, d.chunk.len() as u32]);
            for n in &d.chunk {
                out.push(u32::try_from(*n).map_err(|_| invalid("the length of a chunk must be below 2^32", n))?);
            }
            out.push(LOSSLESS);
        }
        Ok(out)
    }

    /// What the encoder is to do with a chunk of `dataset`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the samples cannot keep the promise: integers have no mantissa.
    pub fn spec(&self, dataset: &Dataset) -> Result<ChunkSpec> {
        let tolerance = self.promise.resolve(&FieldStats::default());
        if tolerance.bits.is_some() && !dataset.dtype.is_float() {
            return Err(invalid("bits (key 4) rounds floating-point numbers only; these are", dataset.dtype));
        }
        let exact = tolerance.lossless || tolerance.bits.is_some();
        let codec = match self.transform {
            _ if exact => Codec::Lossless,
            0 => Codec::Auto(Vec::new()),
            id => {
                let stage = transform::by_id(id)?;
                Codec::Transform(stage, spec::Params::defaults(stage))
            }
        };
        Ok(ChunkSpec {
            codec,
            tolerance,
            affine: self.affine,
            missing: self.all_patterns(dataset),
            step: None,
            effort: self.effort,
        })
    }

    /// Bits of everything that marks missing samples.
    fn all_patterns(&self, dataset: &Dataset) -> Vec<u64> {
        let dtype = dataset.dtype;
        let mut bits = self.patterns.clone();
        bits.extend(dataset.fill_is_missing.then_some(dataset.fill));
        // nccopy and others write without telling HDF5 the fill value.
        bits.extend(netcdf_default_fill(dtype));
        for &value in &self.missing {
            match_dtype!(dtype, T => {
                let sample = <T as Sample>::from_f64(value);
                let back = Sample::to_f64(sample);
                // Rounded to the samples' own type, as it was when it was written among them.
                if back == value || (dtype.is_float() && back.is_finite()) {
                    bits.push(Sample::to_bits(sample));
                }
            });
        }
        // -0.0 and 0.0 are one value to whoever compares them.
        let sign = 1u64 << (dtype.size() * 8 - 1);
        if dtype.is_float() && bits.iter().any(|b| *b == 0 || *b == sign) {
            bits.extend([0, sign]);
        }
        bits.sort_unstable();
        bits.dedup();
        bits
    }
}

/// What NetCDF writes where nothing was written, in floating-point variables: no measurement is that large.
fn netcdf_default_fill(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::F32 => Some(9.969_21e36f32.to_bits().into()),
        Dtype::F64 => Some(9.969_209_968_386_869e36f64.to_bits()),
        _ => None,
    }
}

fn transform_of(word: u32) -> Result<u16> {
    let known = TRANSFORMS.iter().map(|t| t.id).chain([0]).find(|id| u32::from(*id) == word);
    known.ok_or_else(|| {
        let names: Vec<_> = TRANSFORMS.iter().map(|t| format!("{} {}", t.id, t.name)).collect();
        invalid(format!("transforms (key 10) are 0 (the best), {}; unknown is", names.join(", ")), word)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn f64_words(v: f64) -> [u32; 2] {
        [v.to_bits() as u32, (v.to_bits() >> 32) as u32]
    }

    #[test]
    fn what_is_written_is_read() {
        let params = Params {
            promise: "abs=0.05,rel=0.01,l2-block=0.001".parse().unwrap(),
            effort: 7,
            affine: Affine { scale: 0.01, offset: 273.15 },
            missing: vec![-9999.0, f64::NAN],
            patterns: vec![0x7fc0_0000, u64::MAX],
            transform: 5,
            dataset: Some(Dataset {
                dtype: Dtype::I16,
                big_endian: true,
                fill: 0x8001,
                fill_is_missing: true,
                chunk: vec![3, 40, 50],
            }),
        };
        let values = params.to_values().unwrap();
        assert_eq!(format!("{:?}", Params::parse(&values).unwrap()), format!("{params:?}"));
        let both = Params { promise: "abs=0.5,lossless".parse().unwrap(), ..Params::default() };
        assert!(Params::parse(&both.to_values().unwrap()).unwrap().promise.is_lossless());
        for promise in ["lossless", "bits=7"] {
            let params = Params { promise: promise.parse().unwrap(), ..params.clone() };
            assert_eq!(Params::parse(&params.to_values().unwrap()).unwrap().promise, params.promise);
        }
        for n in 0..values.len() {
            if let Ok(part) = Params::parse(&values[..n]) {
                assert_eq!(part.dataset.is_some(), n == values.len() - 1, "the last entry ends before the last word");
            }
        }
        // What NCO makes of it for other variables.
        assert!(Params::parse(&values[values.len() - 1..]).unwrap().promise.is_lossless());
    }

    #[test]
    fn short_lists_are_enough() {
        let [low, high] = f64_words(0.05);
        // What netcdf-c makes of `0.05d`.
        assert_eq!([low, high], [2_576_980_378, 1_068_079_513]);
        assert_eq!(Params::parse(&[]).unwrap().promise, Promise::lossless());
        assert_eq!(Params::parse(&[0]).unwrap().promise, Promise::lossless());
        assert_eq!(Params::parse(&[1, low, high]).unwrap().promise.to_string(), "abs=0.05");
        assert_eq!(Params::parse(&[4, 7, 5, 9]).unwrap().promise.to_string(), "bits=7");
        assert_eq!(Params::parse(&[5, 9]).unwrap().effort, 9);
    }

    #[test]
    fn nonsense_is_refused() {
        let number = |key: u32, v: f64| vec![key, f64_words(v)[0], f64_words(v)[1]];
        for values in [
            vec![1],
            vec![1, 0],
            vec![77],
            vec![4, 99],
            vec![5, 0],
            vec![5, 10],
            vec![10, 500],
            number(1, f64::NAN),
            number(1, -1.0),
            number(2, 1.0),
            number(6, 0.0),
            number(7, f64::INFINITY),
            [number(1, 0.5), vec![4, 3]].concat(),
            vec![100, 2, 9, 0, 0, 0, 0, 1, 5],
            vec![100, 1, 99, 0, 0, 0, 0, 1, 5],
            vec![100, 1, 9, 0, 0, 0, 0, 0],
            vec![100, 1, 9, 0, 0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            vec![100, 1, 9, 0, 0, 0, 0, 1, 0],
            vec![100, 1, 9, 0, 0, 0, 0, 3, u32::MAX, u32::MAX, u32::MAX],
        ] {
            assert!(Params::parse(&values).is_err(), "{values:?}");
        }
        let whole = Params { promise: "range=0.1".parse().unwrap(), ..Params::default() };
        assert!(whole.to_values().unwrap_err().to_string().contains("lithify compress"));
    }

    #[test]
    fn missing_values_are_those_of_the_samples_type() {
        let dataset = |dtype, fill| Dataset { dtype, big_endian: false, fill, fill_is_missing: true, chunk: vec![1] };
        let params = Params { missing: vec![-9999.0, 1e36, 0.5], patterns: vec![7], ..Params::default() };
        let bits = |v: f32| u64::from(v.to_bits());
        let mut want = vec![7, bits(-9999.0), bits(1e36), bits(0.5), 0, bits(-0.0), bits(9.969_21e36)];
        want.sort_unstable();
        assert_eq!(params.all_patterns(&dataset(Dtype::F32, 0)), want);
        assert_eq!(params.all_patterns(&dataset(Dtype::I16, 3)), [3, 7, u64::from((-9999i16) as u16)]);
    }
}
