//! Four interleaved rANS coders with tables that do not change: fast, for rows of integers whose contexts are known beforehand.
//!
//! # Maths      x' = (x / f) 2^12 + x mod f + c for a token of frequency f / 2^12 and lower tokens' sum c; x in [2^16, 2^32)
//! # Shapes     rows of any length, one context per integer; integer i of a row belongs to coder i mod 4
//! # On the wire tables (range-coded), four states, words of 16 bits, raw bits lowest first
//! # When       speed matters more than what context mixing saves
//! # Reference  J. Duda, Asymmetric numeral systems, 2013; F. Giesen, Interleaved entropy coders, 2014; tokens and raw bits as in
//! JPEG XL's hybrid integers, ISO/IEC 18181-1

use super::mixing::IntModel;
use super::range::{BinaryCoder, Decoder, Encoder};
use crate::bits::{Reader, Writer};
use crate::error::{Error, Result};

/// Something that codes a row of integers, each under its context.
pub trait RowCoder {
    /// An encoder takes `values`, a decoder writes them.
    fn code(&mut self, contexts: &[u8], values: &mut [i32]);
}

/// Frequencies are parts of 2^12.
const SCALE: u32 = 12;
const ALL: u32 = 1 << SCALE;
/// States are not below this.
const LOWEST: u32 = 1 << 16;
const STATES: usize = 4;
/// Tokens below this are integers themselves.
const DIRECT: u32 = 16;
const TOKEN_BITS: u32 = 7;
const TOKENS: usize = 1 << TOKEN_BITS;
const STAGE: &str = "rANS";

/// An integer's token; how many raw bits follow it, and which.
#[inline(always)]
fn token(value: i32) -> (u32, u32, u32) {
    let u = ((value << 1) ^ (value >> 31)) as u32;
    if u < DIRECT {
        return (u, 0, 0);
    }
    let n = u.ilog2();
    let raw = n - 2;
    (DIRECT + (n - 4) * 4 + ((u >> raw) & 3), raw, u & ((1 << raw) - 1))
}

/// Raw bits of a token.
#[inline(always)]
fn raw_bits(token: u32) -> u32 {
    if token < DIRECT { 0 } else { (token - DIRECT) / 4 + 2 }
}

/// The integer again.
#[inline(always)]
fn value(token: u32, raw: u32) -> i32 {
    let u = if token < DIRECT { token } else { (4 + (token - DIRECT) % 4) << raw_bits(token) | raw };
    (u >> 1) as i32 ^ -((u & 1) as i32)
}

/// Collects rows; writes them at the end.
#[derive(Debug, Default)]
pub struct RowEncoder {
    /// 128 times the context, and the token.
    symbols: Vec<u16>,
    rows: Vec<u32>,
    raw: RawWriter,
}

impl RowCoder for RowEncoder {
    #[inline(always)]
    fn code(&mut self, contexts: &[u8], values: &mut [i32]) {
        self.symbols.extend(contexts.iter().zip(values.iter()).map(|(c, v)| {
            let (token, n, bits) = token(*v);
            if n > 0 {
                self.raw.push(bits, n);
            }
            u16::from(*c) << TOKEN_BITS | token as u16
        }));
        self.rows.push(values.len() as u32);
    }
}

impl RowEncoder {
    /// All rows as bytes.
    pub fn finish(self, w: &mut Writer) {
        let mut counts = vec![0; TOKENS << 8];
        self.symbols.iter().for_each(|s| counts[usize::from(*s)] += 1);
        let n_contexts = counts.iter().rposition(|c| *c > 0).map_or(0, |last| last / TOKENS + 1);
        let counts = &counts.as_chunks::<TOKENS>().0[..n_contexts];
        let tables: Vec<[u16; TOKENS]> = counts.iter().map(frequencies).collect();
        w.section(&write_tables(&tables));
        let codes: Vec<Code> = tables.iter().flat_map(codes).collect();
        let mut states = [LOWEST; STATES];
        let mut words = Vec::with_capacity(self.symbols.len() / 4);
        let mut end = self.symbols.len();
        for n in self.rows.iter().rev() {
            let start = end - *n as usize;
            for (i, symbol) in self.symbols[start..end].iter().enumerate().rev() {
                let Code { frequency, lower } = codes[usize::from(*symbol)];
                let x = &mut states[i % STATES];
                if u64::from(*x) >= u64::from(frequency) << (32 - SCALE) {
                    words.push(*x as u16);
                    *x >>= 16;
                }
                let (quotient, rest) = (*x / frequency, *x % frequency);
                *x = (quotient << SCALE) + rest + lower;
            }
            end = start;
        }
        states.iter().for_each(|x| w.u32(*x));
        w.varint(words.len() as u64);
        words.iter().rev().for_each(|word| w.u16(*word));
        self.raw.finish(w);
    }
}

/// A token's interval.
#[derive(Debug, Clone, Copy)]
struct Code {
    frequency: u32,
    lower: u32,
}

fn codes(table: &[u16; TOKENS]) -> [Code; TOKENS] {
    let mut lower = 0;
    table.map(|f| {
        let code = Code { frequency: u32::from(f).max(1), lower };
        lower += u32::from(f);
        code
    })
}

/// Parts of 2^12 by counts: no token that occurs gets none.
fn frequencies(counts: &[u32; TOKENS]) -> [u16; TOKENS] {
    let total: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    if total == 0 {
        return [0; TOKENS];
    }
    let mut out = counts.map(|c| {
        let f = (u64::from(c) * u64::from(ALL) + total / 2) / total;
        f.max(u64::from(c > 0)) as u16
    });
    // What rounding left over goes to the most frequent one; what is missing is taken where most is.
    let mut sum: i32 = out.iter().map(|f| i32::from(*f)).sum();
    while sum != ALL as i32 {
        let most = (0..TOKENS).max_by_key(|i| out[*i]).unwrap_or(0);
        let change = (ALL as i32 - sum).max(-i32::from(out[most] / 2).max(1));
        out[most] = (i32::from(out[most]) + change) as u16;
        sum += change;
    }
    out
}

/// Each frequency beside the one before it and the one that the table before has.
struct TableModel(IntModel<2>);

impl TableModel {
    fn new() -> Self {
        Self(IntModel::new(&[14, 14], 1, 12))
    }

    /// A decoder's table is overwritten. Fails if it is none.
    fn code<C: BinaryCoder>(&mut self, c: &mut C, table: &mut [u16; TOKENS], before: &[u16; TOKENS]) -> Option<()> {
        let size = |f: u16| (u16::BITS - f.leading_zeros()) as usize;
        let used = self.0.code(c, i64::from(table.iter().any(|f| *f > 0)), &[13, 13], 0);
        let (mut left, mut last) = (if used == 0 { 0 } else { i64::from(ALL as u16) }, 0);
        for (f, before) in table.iter_mut().zip(before) {
            if left > 0 {
                let value = self.0.code(c, i64::from(*f), &[size(last).min(12), size(*before).min(12)], 0);
                if value < 0 || value > left {
                    return None;
                }
                left -= value;
                *f = value as u16;
                last = *f;
            } else {
                *f = 0;
            }
        }
        (left == 0).then_some(())
    }
}

fn write_tables(tables: &[[u16; TOKENS]]) -> Vec<u8> {
    let mut w = Writer::new();
    w.u8(tables.len() as u8);
    let mut c = Encoder::new();
    let mut model = TableModel::new();
    let mut before = [0; TOKENS];
    for table in tables {
        model.code(&mut c, &mut table.clone(), &before);
        if table.iter().any(|f| *f > 0) {
            before = *table;
        }
    }
    w.bytes.extend(c.finish());
    w.bytes
}

fn read_tables(mut src: Reader<'_>) -> Result<Vec<[u16; TOKENS]>> {
    let n = usize::from(src.u8()?);
    let mut c = Decoder::new(src.rest());
    let mut model = TableModel::new();
    let mut before = [0; TOKENS];
    let tables = (0..n)
        .map(|_| {
            let mut table = [0; TOKENS];
            model
                .code(&mut c, &mut table, &before)
                .ok_or_else(|| Error::corrupt(STAGE, "frequencies do not add up"))?;
            if table.iter().any(|f| *f > 0) {
                before = table;
            }
            Ok(table)
        })
        .collect::<Result<Vec<_>>>()?;
    c.finish(STAGE)?;
    Ok(tables)
}

/// Bits, lowest first.
#[derive(Debug, Default)]
struct RawWriter {
    bytes: Vec<u8>,
    bits: u64,
    n: u32,
}

impl RawWriter {
    #[inline(always)]
    fn push(&mut self, bits: u32, n: u32) {
        self.bits |= u64::from(bits) << self.n;
        self.n += n;
        if self.n >= 32 {
            self.bytes.extend_from_slice(&(self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.n -= 32;
        }
    }

    fn finish(mut self, w: &mut Writer) {
        self.bytes.extend_from_slice(&self.bits.to_le_bytes()[..self.n.div_ceil(8) as usize]);
        w.section(&self.bytes);
    }
}

/// What a state's lowest bits say: the token, its frequency less one, and how far above its lower end.
#[derive(Debug, Clone, Copy, Default)]
struct Slot(u32);

impl Slot {
    fn new(token: usize, frequency: u16, above: u32) -> Self {
        Self(token as u32 | (u32::from(frequency) - 1) << 8 | above << 20)
    }
}

/// Reads what [`RowEncoder`] wrote. What follows the end of a damaged stream is zeros; [`Self::finish`] tells.
#[derive(Debug)]
pub struct RowDecoder<'a> {
    /// `ALL` slots for each context that occurs, after those of the others.
    slots: Vec<Slot>,
    first: Vec<u32>,
    states: [u32; STATES],
    words: &'a [[u8; 2]],
    raw: &'a [u8],
    bits: u64,
    n_bits: u32,
    /// Words and bytes asked for in vain.
    missing: usize,
}

impl<'a> RowDecoder<'a> {
    /// Reads tables and states; at most `n_contexts` contexts will be asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Truncated`] if there are no such.
    pub fn new(src: &mut Reader<'a>, n_contexts: usize) -> Result<Self> {
        let tables = read_tables(src.section(STAGE)?)?;
        // Contexts that do not occur share a table that says 0; a damaged stream may ask for them.
        let mut slots = vec![Slot::new(0, ALL as u16, 0); ALL as usize];
        (0..ALL).for_each(|above| slots[above as usize] = Slot::new(0, ALL as u16, above));
        let mut first = vec![0; n_contexts.max(tables.len())];
        for (first, table) in first.iter_mut().zip(&tables) {
            if table.iter().any(|f| *f > 0) {
                *first = slots.len() as u32;
                for (token, &f) in table.iter().enumerate() {
                    slots.extend((0..u32::from(f)).map(|above| Slot::new(token, f, above)));
                }
            }
        }
        let mut states = [0; STATES];
        for x in &mut states {
            *x = src.u32()?;
        }
        let n = src.count("words of a stream", 1 << 40)?;
        let words = src.take(n.saturating_mul(2))?.as_chunks::<2>().0;
        let raw = src.section(STAGE)?.rest();
        Ok(Self { slots, first, states, words, raw, bits: 0, n_bits: 0, missing: 0 })
    }

    #[inline(always)]
    fn raw(&mut self, n: u32) -> u32 {
        if self.n_bits < n {
            let (word, rest) = match self.raw.split_first_chunk::<4>() {
                Some((word, rest)) => (u32::from_le_bytes(*word), rest),
                None => {
                    let mut last = [0; 4];
                    last[..self.raw.len()].copy_from_slice(self.raw);
                    self.missing += usize::from(self.raw.is_empty());
                    (u32::from_le_bytes(last), &[][..])
                }
            };
            self.raw = rest;
            self.bits |= u64::from(word) << self.n_bits;
            self.n_bits += 32;
        }
        let out = self.bits as u32 & ((1u64 << n) - 1) as u32;
        self.bits >>= n;
        self.n_bits -= n;
        out
    }

    /// Fails unless exactly what was written has been read.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn finish(self) -> Result<()> {
        if self.missing > 0 || self.states != [LOWEST; STATES] || !self.words.is_empty() || !self.raw.is_empty() {
            return Err(Error::corrupt(STAGE, "the stream does not end where its symbols do"));
        }
        Ok(())
    }
}

impl RowCoder for RowDecoder<'_> {
    #[inline(always)]
    fn code(&mut self, contexts: &[u8], values: &mut [i32]) {
        let mut states = self.states;
        let mut words = self.words;
        let mut missing = 0;
        let slots = self.slots.as_slice();
        let first = self.first.as_slice();
        let mut step = |context: u8, x: &mut u32| {
            let Slot(slot) = slots[first[usize::from(context)] as usize + (*x & (ALL - 1)) as usize];
            *x = ((slot >> 8 & (ALL - 1)) + 1) * (*x >> SCALE) + (slot >> 20);
            if *x < LOWEST {
                let (word, rest) = words.split_first().unwrap_or_else(|| {
                    missing += 1;
                    (&[0; 2], &[])
                });
                *x = *x << 16 | u32::from(u16::from_le_bytes(*word));
                words = rest;
            }
            (slot & 0xff) as i32
        };
        let (fours, rest) = contexts.as_chunks::<STATES>();
        let (to, to_rest) = values[..contexts.len()].as_chunks_mut::<STATES>();
        for (contexts, to) in fours.iter().zip(to) {
            for k in 0..STATES {
                to[k] = step(contexts[k], &mut states[k]);
            }
        }
        for ((context, to), x) in rest.iter().zip(to_rest).zip(&mut states) {
            *to = step(*context, x);
        }
        self.states = states;
        self.words = words;
        self.missing += missing;
        for v in &mut values[..contexts.len()] {
            let token = *v as u32;
            let raw = if token < DIRECT { 0 } else { self.raw(raw_bits(token).min(31)) };
            *v = value(token, raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of all lengths with integers of all sizes, more of the small ones.
    fn rows() -> Vec<(Vec<u8>, Vec<i32>)> {
        let mut s = 1u32;
        let mut next = || {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            s >> 8
        };
        (0..400)
            .map(|row| {
                (0..row % 70)
                    .map(|_| {
                        let c = (next() % 9) as u8;
                        let size = if c == 7 { 30 } else { u32::from(c) };
                        (c, (next() as i32 - (1 << 23)) << 7 >> (31 - size))
                    })
                    .unzip()
            })
            .collect()
    }

    #[test]
    fn every_integer_has_one_token() {
        let sizes = (0..31).flat_map(|k| [1 << k, (1i32 << k) - 1, (1 << k) + (1 << k >> 1)]);
        for v in sizes.flat_map(|v: i32| [v, -v]).chain([i32::MIN, i32::MAX]) {
            let (t, n, raw) = token(v);
            assert!(t < TOKENS as u32 && n == raw_bits(t));
            assert_eq!(value(t, raw), v);
        }
    }

    #[test]
    fn rows_come_back_and_damage_is_seen() {
        let rows = rows();
        let mut e = RowEncoder::default();
        rows.iter().for_each(|(c, v)| e.code(c, &mut v.clone()));
        let mut w = Writer::new();
        e.finish(&mut w);
        let decode = |bytes: &[u8]| -> Result<Vec<Vec<i32>>> {
            let mut src = Reader::new(bytes, STAGE);
            let mut d = RowDecoder::new(&mut src, 9)?;
            let mut out = Vec::new();
            for (c, v) in &rows {
                let mut got = vec![0; v.len()];
                d.code(c, &mut got);
                out.push(got);
            }
            d.finish()?;
            Ok(out)
        };
        assert_eq!(decode(&w.bytes).unwrap(), rows.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>());
        for n in 0..w.bytes.len() {
            assert!(decode(&w.bytes[..n]).is_err(), "cut at {n}");
        }
        for i in (0..w.bytes.len()).step_by(7) {
            let mut bytes = w.bytes.clone();
            bytes[i] ^= 0x55;
            // No panic; a flip among raw bits is another number.
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn frequencies_add_up() {
        let mut counts = [0; TOKENS];
        for n in 1..TOKENS {
            counts[n - 1] = if n % 3 == 0 { 1 } else { 1 << (n % 30) };
            let f = frequencies(&counts);
            assert_eq!(f.iter().map(|f| u32::from(*f)).sum::<u32>(), ALL);
            assert!((0..TOKENS).all(|i| (f[i] > 0) == (counts[i] > 0)));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let mut w = Writer::new();
        RowEncoder::default().finish(&mut w);
        let mut src = Reader::new(&w.bytes, STAGE);
        RowDecoder::new(&mut src, 3).unwrap().finish().unwrap();
        src.end().unwrap();
    }
}
