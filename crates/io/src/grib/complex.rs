//! Complex packing (templates 5.2 and 5.3): groups of integers with their own reference and width, perhaps of differences.
//!
//! # Maths
//! In group g: `X = ref_g + bits(width_g)`. With spatial differencing of order 1 or 2 the X of what is not missing are
//! `d[i] - m`, with m the smallest difference, and `x[i] = d[i] + x[i-1]` or `x[i] = d[i] + 2 x[i-1] - x[i-2]`.
//!
//! # On the wire
//! first values and m, then the groups' references, widths, lengths and values, each list padded to a whole byte.
//!
//! # Reference
//! WMO Manual on Codes, volume I.2, templates 5.2, 5.3, 7.2 and 7.3.

use super::octets::{Bits, Octets, Parse, corrupt, unsupported};

/// How the groups are laid out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Groups {
    /// 0: nothing is missing inside; 1: all ones is missing; 2: all ones less one, too.
    missing: u8,
    n_groups: usize,
    width_reference: u64,
    width_bits: u32,
    length_reference: u64,
    length_increment: u64,
    last_length: u64,
    length_bits: u32,
    /// Order of differencing and octets of each of the first values; `None` for template 5.2.
    differencing: Option<(u8, u8)>,
}

impl Groups {
    pub(super) fn from_section5(s: &Octets<'_>, differencing: bool) -> Parse<Self> {
        Ok(Self {
            missing: s.u8(23)?,
            n_groups: s.u32(32)? as usize,
            width_reference: s.uint(36, 1)?,
            width_bits: s.u8(37)?.into(),
            length_reference: s.uint(38, 4)?,
            length_increment: s.uint(42, 1)?,
            last_length: s.uint(43, 4)?,
            length_bits: s.u8(47)?.into(),
            differencing: if differencing { Some((s.u8(48)?, s.u8(49)?)) } else { None },
        })
    }

    /// The name that eccodes gives the packing.
    pub(super) fn name(&self) -> &'static str {
        if self.differencing.is_some() { "grid_complex_spatial_differencing" } else { "grid_complex" }
    }

    /// The `n` integers, `None` where missing; `bits` is the width of a group's reference.
    pub(super) fn unpack(&self, data: &[u8], n: usize, bits: u32) -> Parse<Vec<Option<i64>>> {
        if data.is_empty() || self.n_groups == 0 {
            return Ok(vec![Some(0); n]);
        }
        if self.n_groups > n {
            return corrupt(format!("{} groups for {n} values", self.n_groups));
        }
        let mut input = Bits::new(data);
        let (mut first, mut smallest) = (Vec::new(), 0);
        if let Some((order, octets)) = self.differencing {
            if order > 2 {
                return unsupported(format!("spatial differencing of order {order}; 1 and 2 are read"));
            }
            let width = width_of(u64::from(octets) * 8)?;
            for _ in 0..order {
                first.push(input.take(width)? as i64);
            }
            smallest = sign_and_magnitude(input.take(width)?, width);
        }
        let references = self.list(&mut input, bits)?;
        let widths = self.list(&mut input, self.width_bits)?;
        let lengths = self.list(&mut input, self.length_bits)?;

        let mut out = Vec::with_capacity(n);
        for (g, ((reference, width), length)) in references.into_iter().zip(widths).zip(lengths).enumerate() {
            let width = width_of(self.width_reference + width)?;
            let last = g + 1 == self.n_groups;
            let length = if last { self.last_length } else { self.length_reference + self.length_increment * length };
            if length > (n - out.len()) as u64 {
                return corrupt(format!("the groups hold more than the {n} values declared"));
            }
            for _ in 0..length {
                let x = input.take(width)?;
                // A group without bits is missing as a whole if its reference says so.
                let missing = if width == 0 { self.is_missing(reference, bits) } else { self.is_missing(x, width) };
                out.push(if missing { None } else { Some(reference.wrapping_add(x) as i64) });
            }
        }
        if out.len() != n {
            return corrupt(format!("the groups hold {} values where {n} are declared", out.len()));
        }
        integrate(&mut out, &first, smallest);
        Ok(out)
    }

    /// One number a group, then padding.
    fn list(&self, input: &mut Bits<'_>, width: u32) -> Parse<Vec<u64>> {
        let width = width_of(width.into())?;
        let list = (0..self.n_groups).map(|_| input.take(width)).collect();
        input.align();
        list
    }

    fn is_missing(&self, x: u64, width: u32) -> bool {
        let ones = (1u64 << width) - 1;
        width > 0 && (self.missing >= 1 && x == ones || self.missing >= 2 && x + 1 == ones)
    }
}

fn width_of(bits: u64) -> Parse<u32> {
    if bits <= 56 { Ok(bits as u32) } else { corrupt(format!("numbers of {bits} bits")) }
}

fn sign_and_magnitude(raw: u64, width: u32) -> i64 {
    let sign = if width == 0 { 0 } else { 1u64 << (width - 1) };
    let magnitude = (raw & !sign) as i64;
    if raw & sign != 0 { -magnitude } else { magnitude }
}

/// Undoes differencing of order `first.len()`, in place, past what is missing. Wraps: damaged input gives nonsense, not a panic.
fn integrate(values: &mut [Option<i64>], first: &[i64], smallest: i64) {
    let (mut one_back, mut two_back) = (0i64, 0i64);
    for (i, x) in values.iter_mut().flatten().enumerate() {
        *x = match (first.get(i), first.len()) {
            (_, 0) => return,
            (Some(&given), _) => given,
            (None, 1) => x.wrapping_add(smallest).wrapping_add(one_back),
            (None, _) => x.wrapping_add(smallest).wrapping_add(one_back.wrapping_mul(2)).wrapping_sub(two_back),
        };
        (two_back, one_back) = (one_back, *x);
    }
}
