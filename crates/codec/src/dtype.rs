//! Sample types, and typed buffers whose type is known at run time.
//!
//! # Shapes
//! Buffers are flat and in C order (last dimension fastest); the shape travels beside them.

use crate::error::{Error, Result};

/// A sample type. The numbers are on the wire and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dtype {
    /// 8-bit signed integer.
    I8 = 1,
    /// 16-bit signed integer.
    I16 = 2,
    /// 32-bit signed integer.
    I32 = 3,
    /// 64-bit signed integer.
    I64 = 4,
    /// 8-bit unsigned integer.
    U8 = 5,
    /// 16-bit unsigned integer.
    U16 = 6,
    /// 32-bit unsigned integer.
    U32 = 7,
    /// 64-bit unsigned integer.
    U64 = 8,
    /// IEEE 754 binary32.
    F32 = 9,
    /// IEEE 754 binary64.
    F64 = 10,
}

/// A Rust type that a [`Samples`] can hold.
pub trait Sample: Copy + PartialEq + PartialOrd + Default + Send + Sync + std::fmt::Debug + 'static {
    /// Its run-time name.
    const DTYPE: Dtype;
    /// The exact bit pattern, zero-extended.
    fn to_bits(self) -> u64;
    /// From the low bits of a pattern.
    fn from_bits(bits: u64) -> Self;
    /// Nearest f64. Exact for all but 64-bit integers beyond 2^53.
    fn to_f64(self) -> f64;
    /// Nearest sample, ties to even, saturating at the type's limits. NaN becomes 0 in integers.
    fn from_f64(v: f64) -> Self;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// `|self - other|` exactly as far as f64 can tell, and never below what the type's own subtraction gives.
    fn distance(self, other: Self) -> f64;
    /// Little-endian bytes appended to `out`.
    fn write_le(values: &[Self], out: &mut Vec<u8>);
    /// Parsed from little-endian bytes; a trailing partial sample is ignored.
    fn read_le(bytes: &[u8]) -> Vec<Self>;
    /// Into the run-time typed buffer.
    fn wrap(values: Vec<Self>) -> Samples;
    /// The buffer inside `samples`, if the type fits.
    fn slice(samples: &Samples) -> Option<&[Self]>;
}

/// CRC-32C of the little-endian bytes, in constant memory.
pub(crate) fn crc32c_of<T: Sample>(x: &[T]) -> u32 {
    let mut buffer = Vec::new();
    x.chunks(4096).fold(0, |crc, part| {
        buffer.clear();
        T::write_le(part, &mut buffer);
        crc32c::crc32c_append(crc, &buffer)
    })
}

macro_rules! int_sample {
    ($t:ident, $u:ident, $variant:ident) => {
        impl Sample for $t {
            const DTYPE: Dtype = Dtype::$variant;
            #[inline]
            fn to_bits(self) -> u64 {
                self as $u as u64
            }
            #[inline]
            fn from_bits(bits: u64) -> Self {
                bits as $u as $t
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline]
            fn from_f64(v: f64) -> Self {
                v.round_ties_even() as $t
            }
            #[inline]
            fn is_finite(self) -> bool {
                true
            }
            #[inline]
            fn distance(self, other: Self) -> f64 {
                self.abs_diff(other) as f64
            }
            int_sample!(@common $t, $variant);
        }
    };
    (@common $t:ident, $variant:ident) => {
        fn write_le(values: &[Self], out: &mut Vec<u8>) {
            if cfg!(target_endian = "little") {
                return out.extend_from_slice(bytemuck::cast_slice(values));
            }
            out.reserve(std::mem::size_of_val(values));
            for v in values {
                out.extend_from_slice(&v.to_le_bytes());
            }
        }
        fn read_le(bytes: &[u8]) -> Vec<Self> {
            let (chunks, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
            chunks.iter().map(|c| $t::from_le_bytes(*c)).collect()
        }
        fn wrap(values: Vec<Self>) -> Samples {
            Samples::$variant(values)
        }
        fn slice(samples: &Samples) -> Option<&[Self]> {
            match samples {
                Samples::$variant(v) => Some(v),
                _ => None,
            }
        }
    };
}

macro_rules! float_sample {
    ($t:ident, $u:ident, $variant:ident) => {
        impl Sample for $t {
            const DTYPE: Dtype = Dtype::$variant;
            #[inline]
            fn to_bits(self) -> u64 {
                $t::to_bits(self) as u64
            }
            #[inline]
            fn from_bits(bits: u64) -> Self {
                $t::from_bits(bits as $u)
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline]
            fn from_f64(v: f64) -> Self {
                v as $t
            }
            #[inline]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            #[inline]
            fn distance(self, other: Self) -> f64 {
                // Users subtract in the array's own type; a bound that holds only in f64 would look broken to them.
                let wide = (self as f64 - other as f64).abs();
                wide.max((self - other).abs() as f64)
            }
            int_sample!(@common $t, $variant);
        }
    };
}

int_sample!(i8, u8, I8);
int_sample!(i16, u16, I16);
int_sample!(i32, u32, I32);
int_sample!(i64, u64, I64);
int_sample!(u8, u8, U8);
int_sample!(u16, u16, U16);
int_sample!(u32, u32, U32);
int_sample!(u64, u64, U64);
float_sample!(f32, u32, F32);
float_sample!(f64, u64, F64);

/// Runs `$body` with `$v` bound to the typed vector inside a [`Samples`].
#[macro_export]
macro_rules! match_samples {
    ($samples:expr, $v:ident => $body:expr) => {
        match $samples {
            $crate::Samples::I8($v) => $body,
            $crate::Samples::I16($v) => $body,
            $crate::Samples::I32($v) => $body,
            $crate::Samples::I64($v) => $body,
            $crate::Samples::U8($v) => $body,
            $crate::Samples::U16($v) => $body,
            $crate::Samples::U32($v) => $body,
            $crate::Samples::U64($v) => $body,
            $crate::Samples::F32($v) => $body,
            $crate::Samples::F64($v) => $body,
        }
    };
}

/// Runs `$body` with `$T` naming the Rust type of a [`Dtype`].
#[macro_export]
macro_rules! match_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::Dtype::I8 => {
                type $T = i8;
                $body
            }
            $crate::Dtype::I16 => {
                type $T = i16;
                $body
            }
            $crate::Dtype::I32 => {
                type $T = i32;
                $body
            }
            $crate::Dtype::I64 => {
                type $T = i64;
                $body
            }
            $crate::Dtype::U8 => {
                type $T = u8;
                $body
            }
            $crate::Dtype::U16 => {
                type $T = u16;
                $body
            }
            $crate::Dtype::U32 => {
                type $T = u32;
                $body
            }
            $crate::Dtype::U64 => {
                type $T = u64;
                $body
            }
            $crate::Dtype::F32 => {
                type $T = f32;
                $body
            }
            $crate::Dtype::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

impl Dtype {
    /// Every sample type.
    pub const ALL: [Self; 10] =
        [Self::I8, Self::I16, Self::I32, Self::I64, Self::U8, Self::U16, Self::U32, Self::U64, Self::F32, Self::F64];

    /// Bytes per sample.
    pub fn size(self) -> usize {
        match_dtype!(self, T => size_of::<T>())
    }

    /// f32 or f64.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Name as numpy and Zarr write it: `int16`, `float32`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The inverse of [`Dtype::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// From the number on the wire.
    pub fn from_wire(id: u8) -> Result<Self> {
        Self::ALL.into_iter().find(|d| *d as u8 == id).ok_or(Error::Unsupported { what: "sample type", id: id.into() })
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A flat buffer of one of the sample types.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // one variant per sample type, named like it
pub enum Samples {
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Samples {
    /// The sample type.
    pub fn dtype(&self) -> Dtype {
        fn of<T: Sample>(_: &[T]) -> Dtype {
            T::DTYPE
        }
        match_samples!(self, v => of(v))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        match_samples!(self, v => v.len())
    }

    /// No samples at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `n` zeros.
    pub fn zeros(dtype: Dtype, n: usize) -> Self {
        match_dtype!(dtype, T => T::wrap(vec![T::default(); n]))
    }

    /// `n` samples with the bit pattern `bits`.
    pub fn filled(dtype: Dtype, n: usize, bits: u64) -> Self {
        match_dtype!(dtype, T => T::wrap(vec![<T as Sample>::from_bits(bits); n]))
    }

    /// Little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match_samples!(self, v => Sample::write_le(v, &mut out));
        out
    }

    /// From little-endian bytes.
    pub fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Self {
        match_dtype!(dtype, T => T::wrap(T::read_le(bytes)))
    }

    /// Bit pattern of sample `i`, zero-extended.
    pub fn bits(&self, i: usize) -> u64 {
        match_samples!(self, v => Sample::to_bits(v[i]))
    }

    /// Sample `i` as f64.
    pub fn f64(&self, i: usize) -> f64 {
        match_samples!(self, v => Sample::to_f64(v[i]))
    }

    /// All samples as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match_samples!(self, v => v.iter().map(|x| Sample::to_f64(*x)).collect())
    }

    /// CRC-32C of the little-endian bytes, in constant memory.
    pub fn crc32c(&self) -> u32 {
        match_samples!(self, v => crc32c_of(v))
    }

    /// The hyper-rectangle `[start, start + count)` of an array of shape `shape`.
    pub fn crop(&self, shape: &[usize], start: &[usize], count: &[usize]) -> Self {
        match_samples!(self, v => Sample::wrap(crate::block::crop(v, shape, start, count)))
    }

    /// The samples with dimension `order[d]` of `shape` in place of dimension `d`.
    #[must_use]
    pub fn reordered(&self, shape: &[usize], order: &[usize]) -> Self {
        match_samples!(self, v => Sample::wrap(crate::block::reordered(v, shape, order)))
    }

    /// Copies `block` of shape `count` into this array of shape `shape` at `start`. The types must agree.
    pub fn paste(&mut self, shape: &[usize], start: &[usize], block: &Self, count: &[usize]) -> Result<()> {
        let (got, want) = (block.dtype(), self.dtype());
        fn typed<'a, T: Sample>(_: &[T], block: &'a Samples) -> Option<&'a [T]> {
            T::slice(block)
        }
        match_samples!(self, v => match typed(v, block) {
            Some(b) => {
                crate::block::paste(v, shape, start, b, count);
                Ok(())
            }
            None => Err(Error::invalid(format!("sample types must agree, {want} expected"), got)),
        })
    }
}
