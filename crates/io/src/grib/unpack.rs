//! Packed integers to values.
//!
//! # Maths
//! `Y = (R + X 2^E) / 10^D`, in f64: `R + X 2^E` and the division round once each. Callers store Y as f32 unless X has more
//! than 24 bits, so values are eccodes' f64 values rounded to f32.
//!
//! # Panics
//! JPEG 2000, PNG and CCSDS streams go through other people's decoders. They return errors for bad input as far as is known, but
//! are not proven free of panics, and a damaged message must not take the process down: they run under `catch_unwind`.

use super::complex;
use super::octets::{Bits, Octets, Parse, corrupt, over_power_of_ten, unsupported};

/// How the values of one field are packed; enough to decode them when the data section is at hand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packing {
    /// How the integers are coded.
    pub(super) method: Method,
    /// R.
    pub(super) reference: f64,
    /// E.
    pub(super) binary: i32,
    /// D.
    pub(super) decimal: i32,
    /// Bits of X; of a group's reference for complex packing.
    pub(super) bits: u32,
    /// Values that are coded, missing ones inside complex packing included; `None` where only the bitmap or grid tells (GRIB1).
    pub(super) n_coded: Option<usize>,
}

/// How the integers X are coded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Method {
    /// Fixed width.
    Simple,
    /// Groups of their own width, perhaps of differences.
    Complex(complex::Groups),
    /// No integers: the values themselves, of 4 or 8 bytes.
    Ieee(usize),
    /// A JPEG 2000 code stream.
    Jpeg2000,
    /// A PNG image.
    Png,
    /// CCSDS 121.0-B adaptive entropy coding.
    Ccsds {
        /// Octet 22 of template 5.42.
        flags: u8,
        /// Samples per block.
        block: u32,
        /// Blocks between reference samples.
        interval: u32,
    },
    /// Known by name only.
    Other(String),
}

impl Packing {
    /// Of a field whose data section is not known yet.
    pub(super) const NONE: Self =
        Self { method: Method::Simple, reference: 0.0, binary: 0, decimal: 0, bits: 0, n_coded: Some(0) };

    /// Section 5 of GRIB2.
    pub(super) fn from_section5(s: &Octets<'_>) -> Parse<Self> {
        let template = s.u16(10)?;
        let method = match template {
            0 => Method::Simple,
            2 | 3 => Method::Complex(complex::Groups::from_section5(s, template == 3)?),
            4 => match s.u8(12)? {
                1 => Method::Ieee(4),
                2 => Method::Ieee(8),
                other => Method::Other(format!("IEEE precision {other}")),
            },
            40 | 40000 => Method::Jpeg2000,
            41 | 40010 => Method::Png,
            42 => Method::Ccsds { flags: s.u8(22)?, block: s.u8(23)?.into(), interval: s.u16(24)?.into() },
            50 | 51 | 53 => Method::Other(format!("spherical harmonics (5.{template})")),
            61 => Method::Other("simple packing of logarithms (5.61)".into()),
            200 => Method::Other("run length (5.200)".into()),
            other => Method::Other(format!("data representation template 5.{other}")),
        };
        let n_coded = Some(s.u32(6)? as usize);
        Ok(match method {
            Method::Ieee(size) => {
                Self { method, reference: 0.0, binary: 0, decimal: 0, bits: 8 * size as u32, n_coded }
            }
            Method::Other(_) => Self { method, reference: 0.0, binary: 0, decimal: 0, bits: 0, n_coded },
            _ => Self {
                method,
                reference: s.f32(12)?,
                binary: s.int(16, 2)? as i32,
                decimal: s.int(18, 2)? as i32,
                bits: s.u8(20)?.into(),
                n_coded,
            },
        })
    }

    /// The name that eccodes gives the packing.
    pub(super) fn name(&self) -> &str {
        match &self.method {
            Method::Simple => "grid_simple",
            Method::Complex(g) => g.name(),
            Method::Ieee(_) => "grid_ieee",
            Method::Jpeg2000 => "grid_jpeg",
            Method::Png => "grid_png",
            Method::Ccsds { .. } => "grid_ccsds",
            Method::Other(name) => name,
        }
    }

    /// Whether f32 is too narrow for what is stored.
    pub(super) fn needs_f64(&self) -> bool {
        self.bits > 24 && self.method != Method::Ieee(4)
    }

    /// The `n` coded values of a data section's payload.
    pub(super) fn unpack(&self, data: &[u8], n: usize) -> Parse<Vec<f64>> {
        let two_to_e = 2f64.powi(self.binary);
        let value = |x: f64| over_power_of_ten(self.reference + x * two_to_e, self.decimal);
        if let Method::Other(name) = &self.method {
            return unsupported(format!(
                "packing {name} is not read; convert with `grib_set -r -s packingType=grid_simple`"
            ));
        }
        if let Method::Complex(groups) = &self.method {
            let integers = groups.unpack(data, n, self.bits)?;
            return Ok(integers.into_iter().map(|x| x.map_or(f64::NAN, |x| value(x as f64))).collect());
        }
        if self.bits == 0 {
            return Ok(vec![value(0.0); n]);
        }
        match &self.method {
            Method::Ieee(size) => {
                let Some(data) = n.checked_mul(*size).and_then(|len| data.get(..len)) else {
                    return corrupt(format!("{n} IEEE values do not fit {} bytes", data.len()));
                };
                Ok(if *size == 4 {
                    data.as_chunks().0.iter().map(|&b| f64::from(f32::from_be_bytes(b))).collect()
                } else {
                    data.as_chunks().0.iter().map(|&b| f64::from_be_bytes(b)).collect()
                })
            }
            Method::Jpeg2000 => {
                guarded("JPEG 2000", || jpeg2000(data, n))?.into_iter().map(|x| Ok(value(x.into()))).collect()
            }
            Method::Png => {
                let (width, row, pixels) = guarded("PNG", || png_rows(data, n))?;
                let mut out = Vec::with_capacity(n);
                for line in pixels.chunks(row.max(1)) {
                    fixed_width(&mut Bits::new(line), width, line.len() * 8 / width as usize, n, &value, &mut out)?;
                }
                exactly(out, n)
            }
            Method::Ccsds { flags, block, interval } => {
                let bytes = guarded("CCSDS", || ccsds(data, n, self.bits, *flags, *block, *interval))?;
                let size = (bytes.len() / n.max(1)).max(1);
                Ok(bytes
                    .chunks(size)
                    .map(|x| value(x.iter().fold(0u64, |v, &b| v << 8 | u64::from(b)) as f64))
                    .collect())
            }
            _ => {
                let mut bits = Bits::new(data);
                if self.bits > 56 || bits.left() / (self.bits as usize) < n {
                    return corrupt(format!("{n} values of {} bits do not fit {} bytes", self.bits, data.len()));
                }
                let mut out = Vec::with_capacity(n);
                fixed_width(&mut bits, self.bits, n, n, &value, &mut out)?;
                Ok(out)
            }
        }
    }
}

/// Appends up to `count` values, as long as there are fewer than `n` in all.
fn fixed_width(
    bits: &mut Bits<'_>,
    width: u32,
    count: usize,
    n: usize,
    value: &impl Fn(f64) -> f64,
    out: &mut Vec<f64>,
) -> Parse<()> {
    for _ in 0..count.min(n - out.len()) {
        out.push(value(bits.take(width)? as f64));
    }
    Ok(())
}

fn exactly<T>(values: Vec<T>, n: usize) -> Parse<Vec<T>> {
    if values.len() == n { Ok(values) } else { corrupt(format!("{} values where {n} are declared", values.len())) }
}

/// Runs a foreign decoder; its panic becomes an error. (See the head of this file.)
fn guarded<T>(what: &str, decode: impl FnOnce() -> Parse<T>) -> Parse<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode))
        .unwrap_or_else(|_| corrupt(format!("the {what} decoder gave up")))
}

fn jpeg2000(data: &[u8], n: usize) -> Parse<Vec<f32>> {
    let bad = |e: hayro_jpeg2000::error::DecodeError| super::octets::Problem::Corrupt(format!("JPEG 2000: {e}"));
    let image = hayro_jpeg2000::Image::new(data, &hayro_jpeg2000::DecodeSettings::default()).map_err(bad)?;
    if u64::from(image.width()) * u64::from(image.height()) != n as u64 {
        return corrupt(format!("a JPEG 2000 image of {} x {} for {n} values", image.width(), image.height()));
    }
    if image.original_bit_depth() > 24 {
        return unsupported(format!("JPEG 2000 with {} bits a value; up to 24 are read", image.original_bit_depth()));
    }
    let mut context = hayro_jpeg2000::DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(bad)?;
    match decoded.components() {
        [one] => exactly(one.samples().to_vec(), n),
        more => corrupt(format!("a JPEG 2000 image of {} components where 1 is wanted", more.len())),
    }
}

/// Bits a value, bytes a row, all rows.
fn png_rows(data: &[u8], n: usize) -> Parse<(u32, usize, Vec<u8>)> {
    let bad = |e: png::DecodingError| super::octets::Problem::Corrupt(format!("PNG: {e}"));
    let mut reader = png::Decoder::new(std::io::Cursor::new(data)).read_info().map_err(bad)?;
    let info = reader.info();
    let width = info.bits_per_pixel() as u32;
    if u64::from(info.width) * u64::from(info.height) != n as u64 {
        return corrupt(format!("a PNG image of {} x {} for {n} values", info.width, info.height));
    }
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let frame = reader.next_frame(&mut pixels).map_err(bad)?;
    if width > 56 {
        return unsupported(format!("PNG with {width} bits a value"));
    }
    Ok((width, frame.line_size, pixels))
}

/// Big-endian integers of equal size.
fn ccsds(data: &[u8], n: usize, bits: u32, flags: u8, block: u32, interval: u32) -> Parse<Vec<u8>> {
    // The sender's memory layout is not ours: whole big-endian samples.
    let flags = rust_aec::flags_from_grib2_ccsds_flags(flags) | rust_aec::AecFlags::MSB;
    let params = rust_aec::AecParams::new(bits.min(255) as u8, block, interval, flags);
    rust_aec::decode(data, params, n).map_err(|e| super::octets::Problem::Corrupt(format!("CCSDS: {e}")))
}
