//! Which mapping and which predictor: guessed at low effort, else compared by the price of coding a part of the array.
//!
//! # Cost       at effort 4 to 6 a few codings of a quarter of the array, at most of `TRIAL` samples

use super::base::Base;
use super::lift::Lift;
use super::line::{self, Rule};
use super::{Model, code_palette, field, keys_of, misses, row_of};
use crate::bits::Writer;
use crate::dtype::Sample;
use crate::entropy::Price;

/// Arrays up to this many samples are also tried with the rules of `line`.
const SHORT: usize = 4096;
/// Arrays below this many samples are too short for `field` to learn anything.
const FEW: usize = 192;
/// Samples on which candidates are compared.
const TRIAL: usize = 1 << 16;
/// Bits a sample that slices must save to be tried, and to leave every base of the whole array untried.
const SLIGHT: f64 = 0.1;
const CLEAR: f64 = 1.0;
/// Samples on which the fineness of bare bits is judged.
const PROBES: usize = 4096;
/// Largest palette.
const MAX_PALETTE: usize = 1 << 16;

/// An array to choose for.
struct Subject<'a, T> {
    known: &'a [T],
    all: &'a [T],
    shape: &'a [usize],
    valid: Option<&'a [bool]>,
}

/// The cheapest choice so far, in 1/65536 bit.
struct Best {
    cost: u64,
    lift: Lift,
    model: Model,
}

impl Best {
    fn offer(&mut self, cost: u64, lift: &Lift, model: Model) -> bool {
        let better = cost < self.cost;
        if better {
            *self = Self { cost, lift: lift.clone(), model };
        }
        better
    }
}

/// The cheapest mapping and predictor.
pub fn choose<T: Sample>(known: &[T], all: &[T], shape: &[usize], valid: Option<&[bool]>, effort: u8) -> (Lift, Model) {
    let subject = Subject { known, all, shape, valid };
    let bases = Base::candidates(known);
    // The narrowest keys: a lattice of values rounded to few bits reaches from the smallest of them to the largest.
    let width = |base: &&Base| {
        let (low, high) =
            known.iter().map(|x| base.key(*x)).fold((i64::MAX, i64::MIN), |(l, h), k| (l.min(k), h.max(k)));
        high.wrapping_sub(low) as u64
    };
    let narrowest = *bases.iter().rev().min_by_key(width).unwrap_or(&bases[0]);
    let sliced = if known.len() < FEW { None } else { Lift::sliced(all, shape, valid, narrowest, &bases) };
    let lattice = Lift::plain(narrowest);
    let mut best = Best { cost: u64::MAX, lift: lattice.clone(), model: Model::Line(Rule::Difference(0)) };
    if effort <= 3 {
        if known.len() <= FEW {
            subject.offer_rules(&mut best, &lattice, 1);
        } else {
            let lattice = sliced.map_or(lattice, |(lift, _)| lift);
            let values = lattice.is_sliced() || T::DTYPE.is_float() && lattice.base.id() == 0;
            best.model = Model::Field(field::Options { values, copies: false, smooth: false });
            best.lift = lattice;
        }
        return (best.lift, best.model);
    }
    let mut lifts: Vec<Lift> = bases.iter().map(|b| Lift::plain(*b)).collect();
    lifts.extend(bases.iter().filter_map(|b| palette_of(*b, known)));
    if known.len() <= SHORT {
        for lift in &lifts {
            subject.offer_rules(&mut best, lift, 3);
        }
        subject.offer_splits(&mut best);
    }
    if known.len() < FEW {
        return (best.lift, best.model);
    }
    // Slices do at least what the narrowest base does, which they hold to where they have no lattice.
    if let Some((lift, gain)) = sliced.filter(|(_, gain)| *gain >= SLIGHT || effort > 6) {
        let beaten = |l: &Lift| l.palette.is_empty() && (gain >= CLEAR || l.base == narrowest);
        lifts.retain(|l| effort > 6 || !beaten(l));
        lifts.push(lift);
    }
    let part = trial_part(shape, (all.len() / 4).clamp(4096, TRIAL) << u8::from(effort > 6));
    let mut winner: Option<(usize, field::Options)> = None;
    for (i, lift) in lifts.iter().enumerate() {
        for values in [true, false] {
            // Lattices are their own values; bare bits rarely have better ones.
            let own = lift.id() > 0 && lift.palette.is_empty() && !lift.is_sliced();
            // Keys of different slices cannot be compared, their values can.
            let bare = lift.id() == 0 && lift.palette.is_empty() && effort < 7 || lift.is_sliced();
            if values && (!T::DTYPE.is_float() || own) || !values && bare && T::DTYPE.is_float() {
                continue;
            }
            let options = field::Options { values, copies: false, smooth: false };
            if subject.offer_field(&mut best, lift, options, &part) || winner.is_none() {
                winner = Some((i, options));
            }
        }
    }
    if let Some((i, mut options)) = winner {
        for smooth in [true, false] {
            let tried = field::Options { smooth, copies: !smooth, ..options };
            // Copies are tried with whatever smoothness won.
            let tried = if smooth { tried } else { field::Options { smooth: options.smooth, ..tried } };
            if (!smooth || T::DTYPE.is_float()) && subject.offer_field(&mut best, &lifts[i], tried, &part) {
                options = tried;
            }
        }
        // Where values come back, ranks in a palette may win only with copies.
        for lift in lifts.iter().filter(|l| !l.palette.is_empty()) {
            let tried = field::Options { values: false, copies: true, smooth: false };
            subject.offer_field(&mut best, lift, tried, &part);
        }
    }
    (best.lift, best.model)
}

impl<T: Sample> Subject<'_, T> {
    fn row(&self) -> usize {
        if self.valid.is_some() { 1 } else { row_of(self.shape) }
    }

    /// Cost of a lift's parameters.
    fn fixed(lift: &Lift) -> u64 {
        let mut head = Writer::new();
        lift.write::<T>(&mut head);
        let mut price = Price::default();
        code_palette(&mut price, &mut lift.palette.clone(), !lift.palette.is_empty());
        price.cost + ((head.bytes.len() as u64) << 19)
    }

    /// Offers the `n` rules that look best.
    fn offer_rules(&self, best: &mut Best, lift: &Lift, n: usize) {
        let keys: Vec<i64> = self.known.iter().map(|x| lift.key(*x)).collect();
        let fixed = Self::fixed(lift);
        for rule in self.likely_rules(&keys, lift).into_iter().take(n) {
            let mut price = Price::default();
            line::code::<_, T>(&mut price, &mut keys.clone(), rule, self.row(), lift);
            best.offer(fixed + price.cost, lift, Model::Line(rule));
        }
    }

    /// Rules, the most promising first.
    fn likely_rules(&self, keys: &[i64], lift: &Lift) -> Vec<Rule> {
        let row = self.row();
        let polynomials = T::DTYPE.is_float() && lift.base.id() == 0 && lift.palette.is_empty();
        let mut rules: Vec<(u64, Rule)> = Rule::candidates(keys.len(), row, polynomials)
            .into_iter()
            .map(|r| (line::estimate::<T>(keys, r, row, lift), r))
            .collect();
        rules.sort_by_key(|(bits, _)| *bits);
        rules.into_iter().map(|(_, r)| r).collect()
    }

    /// Offers bases that hold the samples only nearly: f64 that were f32 or text once, numbers with a few exceptions.
    fn offer_splits(&self, best: &mut Best) {
        if !T::DTYPE.is_float() || self.known.len() < 2 {
            return;
        }
        let widened = (size_of::<T>() == 8).then_some(Base::Bits { shift: 29 });
        let digits = if self.known.len() <= 512 { 20 } else { 6 };
        let decimals = (0..digits).map(|digits| Base::Decimal { digits });
        for base in widened.into_iter().chain(decimals) {
            let lift = Lift::plain(base);
            let mut keys: Vec<i64> = self.known.iter().map(|x| lift.nearest::<T>(x.to_f64())).collect();
            let mut missed = misses(&lift, self.known, &keys);
            for rule in self.likely_rules(&keys, &lift).into_iter().take(1) {
                let mut price = Price::default();
                line::code::<_, T>(&mut price, &mut keys, rule, self.row(), &lift);
                line::code::<_, T>(&mut price, &mut missed, Rule::Plain, 1, &lift);
                best.offer(Self::fixed(&lift) + price.cost + (1 << 19), &lift, Model::Split(rule));
            }
        }
    }

    /// Offers `field`, priced on a part.
    fn offer_field(&self, best: &mut Best, lift: &Lift, options: field::Options, part: &Part) -> bool {
        let n: usize = part.shape.iter().product();
        let range = part.start..part.start + n;
        let m = self.valid.map(|m| &m[range.clone()]);
        let x = &self.all[range];
        let model = Model::Field(options);
        let lift_part = lift.part(part.start);
        let mut keys = keys_of(&lift_part, model, x, x, m);
        let mut price = Price::default();
        field::code::<_, T>(&mut price, &mut keys, &part.shape, m, &lift_part, options);
        // What a part costs stands for the whole; what costs time must gain a little.
        let slower = 1.0 + 0.005 * f64::from(u8::from(options.copies)) + 0.002 * f64::from(u8::from(options.smooth));
        let scale = slower * self.all.len() as f64 / n.max(1) as f64;
        // Bare bits may be finer or coarser elsewhere: a number above the next power of two has one less for its fraction.
        let bare = lift.id() == 0 && lift.palette.is_empty() && n < self.all.len();
        let finer = if bare { finer_bits(lift.base, x, self.all) } else { 0.0 };
        let cost = (price.cost + (1 << 19)) as f64 * scale + finer * 65536.0 * self.known.len() as f64;
        best.offer(Self::fixed(lift) + cost as u64, lift, model)
    }
}

/// A part of an array along its first long dimensions.
struct Part {
    start: usize,
    shape: Vec<usize>,
}

/// A run of about `size` samples from the middle.
fn trial_part(shape: &[usize], size: usize) -> Part {
    let mut part = Part { start: 0, shape: shape.to_vec() };
    for d in 0..shape.len() {
        let rest: usize = shape[d + 1..].iter().product();
        let want = size.div_ceil(rest.max(1)).clamp(1, shape[d].max(1));
        if want < shape[d] {
            part.start += (shape[d] - want) / 2 * rest;
            part.shape[d] = want;
        }
        if want > 1 {
            break;
        }
    }
    part
}

/// By how many bits a sample `base` is finer in all of an array than in a part. Zeros do not count: they are cheap in every base.
fn finer_bits<T: Sample>(base: Base, part: &[T], all: &[T]) -> f64 {
    // Sum of logarithms of distances to the next key, over a few samples; how many of them count; how many there are.
    let look = |x: &[T]| {
        let few = || x.iter().step_by(x.len().div_ceil(PROBES).max(1));
        let some = few().filter(|v| T::DTYPE.is_float() && v.is_finite() && v.to_f64() != 0.0);
        let (sum, n) = some.fold((0.0, 0.0), |(sum, n), v| (sum + base.gap(*v).log2(), n + 1.0));
        (sum, n, few().count() as f64)
    };
    let ((part, n_part, _), (all, n_all, n)) = (look(part), look(all));
    if n_part > 0.0 && n_all > 0.0 { (part / n_part - all / n_all) * n_all / n } else { 0.0 }
}

/// The base with a palette, if that could pay.
fn palette_of<T: Sample>(base: Base, x: &[T]) -> Option<Lift> {
    let mut keys: Vec<i64> = x.iter().map(|v| base.key(*v)).collect();
    keys.sort_unstable();
    keys.dedup();
    let dense = (keys.last()?.wrapping_sub(*keys.first()?) as u64) < keys.len() as u64;
    let pays = keys.len() <= MAX_PALETTE && keys.len() * 2 <= x.len() && !dense;
    pays.then(|| Lift::ranks(base, keys))
}
