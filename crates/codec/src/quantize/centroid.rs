//! A uniform quantizer whose sizes 1, 2 and above are rebuilt at their classes' mean, and the search for its step.
//!
//! # Maths      c' = sign(q) (|q| + shift of the class of |q|) step; shifts are means of |c| / step - |q|
//! # Shapes     one number, one symbol; an encoder's choice of symbols is its own
//! # On the wire three `i8` shifts, in 1/128 step
//! # When       norms: a symbol may be smaller than the nearest one, and the shifts take back part of the error

/// Shifts are stored in this fraction of a step.
const SHIFT: f64 = 1.0 / 128.0;

/// What a symbol stands for.
#[inline]
pub fn value(q: i64, step: f64, shifts: [i8; 3]) -> f64 {
    let class = match q.unsigned_abs() {
        0 => return 0.0,
        1 => 0,
        2 => 1,
        _ => 2,
    };
    let size = (q.unsigned_abs() as f64 + f64::from(shifts[class]) * SHIFT) * step;
    if q < 0 { -size } else { size }
}

/// `v` rounded to zero below `dead`, else to the nearest integer; small enough that nothing overflows later.
#[inline]
pub fn symbol(v: f64, dead: f64) -> i64 {
    if v.abs() < dead { 0 } else { v.round_ties_even().clamp(-4e18, 4e18) as i64 }
}

/// What quantizing comes to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Squared sizes of what became zero.
    lost: f64,
    /// Number, sum, sum of squares of size minus symbol, for symbols of size 1, 2, more; in steps.
    classes: [[f64; 3]; 3],
}

impl Tally {
    /// `n` numbers of sizes whose squares have the mean `square`, in squared steps, became zero.
    #[inline]
    pub fn lose(&mut self, n: f64, square: f64) {
        self.lost += n * square;
    }

    /// `n` numbers became a symbol of size `q >= 1`; `d` and `square` are the means of size minus symbol and of its square.
    #[inline]
    pub fn keep(&mut self, n: f64, q: i64, d: f64, square: f64) {
        let class = &mut self.classes[(q - 1).clamp(0, 2) as usize];
        class[0] += n;
        class[1] += n * d;
        class[2] += n * square;
    }

    /// The shifts that leave least.
    pub fn shifts(&self) -> [i8; 3] {
        self.classes.map(|[n, s, _]| if n > 0.0 { (s / n / SHIFT).round().clamp(-127.0, 127.0) as i8 } else { 0 })
    }

    /// Sum of squared errors, in squared steps.
    pub fn error(&self) -> f64 {
        let shifts = self.shifts();
        let classes = self.classes.iter().zip(shifts).map(|([n, s, ss], shift)| {
            let c = f64::from(shift) * SHIFT;
            ss - 2.0 * c * s + n * c * c
        });
        self.lost + classes.sum::<f64>()
    }
}

/// Steps for numbers of size 1: finer ones than an f64 can tell, and coarser ones than anything, are not needed.
pub const MIN_STEP: f64 = 1e-16;
/// See [`MIN_STEP`].
pub const MAX_STEP: f64 = 1e9;

/// The largest step within the factor `precision` that leaves at most `budget`, for an error that grows with the step.
pub fn largest_step(first: f64, budget: f64, precision: f64, mut error: impl FnMut(f64) -> f64) -> f64 {
    let (mut low, mut high, mut factor) = (first, first, 1.04);
    if error(first) <= budget {
        while high < MAX_STEP && error(high) <= budget {
            (low, high, factor) = (high, (high * factor).min(MAX_STEP), factor * factor);
        }
    } else {
        while low > MIN_STEP && error(low) > budget {
            (low, high, factor) = ((low / factor).max(MIN_STEP), low, factor * factor);
        }
    }
    while high > low * precision {
        let middle = low * (high / low).sqrt();
        if error(middle) <= budget { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_says_what_the_values_miss() {
        let x: Vec<f64> = (1..4000).map(|i| f64::from(i) * 0.0013).collect();
        let (mut tally, step) = (Tally::default(), 1.0);
        let symbols: Vec<i64> = x.iter().map(|&v| symbol(v - 0.2, 0.5).max(0)).collect();
        for (&v, &q) in x.iter().zip(&symbols) {
            let d = v - q as f64;
            if q == 0 { tally.lose(1.0, d * d) } else { tally.keep(1.0, q, d, d * d) }
        }
        let error: f64 = x.iter().zip(&symbols).map(|(v, &q)| (v - value(q, step, tally.shifts())).powi(2)).sum();
        assert!((tally.error() / error - 1.0).abs() < 1e-9, "{} {error}", tally.error());
        assert_eq!(value(-3, 2.0, [0, 0, 64]), -7.0);
    }

    #[test]
    fn the_largest_step_is_found_from_either_side() {
        for first in [1e-12, 0.3, 1e6] {
            let step = largest_step(first, 0.04, 1.001, |s| s * s);
            assert!((0.1997..=0.2).contains(&step), "{step}");
        }
        assert!(largest_step(1.0, -1.0, 1.01, |s| s) < MIN_STEP * 1.01);
        assert!(largest_step(1.0, f64::INFINITY, 1.01, |s| s) > MAX_STEP / 1.01);
    }
}
