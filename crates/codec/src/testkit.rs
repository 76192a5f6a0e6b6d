//! Fields that break codecs, and fields that codecs should be good at. For tests of this and other crates.

use crate::dtype::{Dtype, Sample, Samples};
use crate::error::Result;
use crate::spec::Codec;
use crate::transform::Stage;
use crate::{learned, match_dtype};

/// A row of the transform table as a codec, with a model where it needs one.
///
/// # Errors
/// None, unless the checks of codecs are wrong.
pub fn codec_of(stage: &Stage) -> Result<Codec> {
    if stage.id != learned::stage::STAGE.id {
        return stage.name.parse();
    }
    format!("learned:{}", learned::register(learned::testkit::wavelet()?)).parse()
}

/// A named generator: sample `i` of `n`, in C order, for a given seed.
pub struct Field {
    name: &'static str,
    make: fn(i: usize, n: usize, seed: u64) -> f64,
    /// Samples are raw bit patterns, not rounded numbers.
    raw: bool,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A well-mixed hash: reproducible noise.
pub fn hash(i: u64) -> u64 {
    let mut z = i.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Uniform in [0, 1).
pub fn uniform(i: u64) -> f64 {
    (hash(i) >> 11) as f64 / (1u64 << 53) as f64
}

fn smooth(i: usize, n: usize, seed: u64) -> f64 {
    let t = i as f64 / n.max(1) as f64;
    let s = 1.0 + (seed % 7) as f64;
    100.0 * (9.0 * s * t).sin() + 30.0 * (40.0 * t + s).cos() + 5.0 * t
}

/// Every field.
pub const FIELDS: &[Field] = &[
    Field { name: "smooth", make: smooth, raw: false },
    Field { name: "rough", make: |i, n, s| smooth(i, n, s) + 20.0 * uniform(i as u64 ^ s << 32), raw: false },
    Field { name: "constant", make: |_, _, _| 42.5, raw: false },
    Field { name: "zero", make: |_, _, _| 0.0, raw: false },
    Field { name: "huge offset", make: |i, n, s| 1e7 + smooth(i, n, s) * 1e-3, raw: false },
    Field { name: "checkerboard", make: |i, _, _| if i % 2 == 0 { 100.0 } else { -100.0 }, raw: false },
    Field {
        name: "sparse",
        make: |i, n, s| if hash(i as u64 ^ s).is_multiple_of(10) { smooth(i, n, s).abs() * 1e-6 } else { 0.0 },
        raw: false,
    },
    Field {
        name: "many magnitudes",
        make: |i, _, s| {
            (uniform(i as u64 ^ s) * 60.0 - 30.0).exp2() * if hash(i as u64 + s) & 1 == 0 { 1.0 } else { -1.0 }
        },
        raw: false,
    },
    Field { name: "masked", make: |i, n, s| if (i / 7) % 3 == 0 { f64::NAN } else { smooth(i, n, s) }, raw: false },
    Field {
        name: "non-finite and signed zeros",
        make: |i, n, s| match hash(i as u64 ^ s) % 8 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            4 => 0.0,
            _ => smooth(i, n, s),
        },
        raw: false,
    },
    Field { name: "all missing", make: |_, _, _| f64::NAN, raw: false },
    Field { name: "subnormal", make: |i, _, s| f64::from_bits(hash(i as u64 ^ s) % 1000), raw: true },
    Field { name: "any bits", make: |i, _, s| f64::from_bits(hash(i as u64 ^ s << 20)), raw: true },
    Field { name: "largest", make: |i, _, _| if i % 3 == 0 { f64::MAX } else { f64::MIN }, raw: false },
];

impl Field {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `n` samples of type `dtype`.
    pub fn samples(&self, dtype: Dtype, n: usize, seed: u64) -> Samples {
        match_dtype!(dtype, T => T::wrap((0..n).map(|i| {
            let v = (self.make)(i, n, seed);
            if self.raw { <T as Sample>::from_bits(v.to_bits()) } else { <T as Sample>::from_f64(v) }
        }).collect()))
    }
}

/// Shapes that break codecs: 0-D to 6-D, empty, length 1, primes, odd edges, long and thin.
pub const SHAPES: &[&[usize]] = &[
    &[],
    &[1],
    &[2],
    &[0],
    &[997],
    &[1, 61],
    &[61, 1],
    &[3, 0, 5],
    &[17, 31],
    &[5, 7, 11],
    &[1, 1, 64],
    &[16, 16, 16],
    &[2, 3, 5, 7],
    &[2, 1, 3, 2, 5],
    &[2, 2, 3, 2, 2, 3],
];
