//! Logarithmic histogram of absolute errors: percentiles in constant memory.
//!
//! # Maths   bin = exponent and first six mantissa bits of `|e|`: 64 bins an octave, each `1/64` wide relative to its lower end
//! # Cost    one shift and one add per sample; 1 MiB

/// Mantissa bits of an f64 that a bin does not see.
const SHIFT: u32 = 52 - 6;

#[derive(Debug, Clone)]
pub struct Histogram {
    /// Exact zeros are apart: they are common and have no logarithm.
    zeros: u64,
    bins: Vec<u64>,
    n: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { zeros: 0, bins: vec![0; 1 << (63 - SHIFT)], n: 0 }
    }

    /// Adds one error, not negative. NaN counts as infinite.
    #[inline]
    pub fn add(&mut self, e: f64) {
        self.n += 1;
        if e == 0.0 {
            self.zeros += 1;
        } else {
            let e = if e.is_nan() { f64::INFINITY } else { e };
            self.bins[(e.to_bits() >> SHIFT) as usize] += 1;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.n += other.n;
        self.bins.iter_mut().zip(&other.bins).for_each(|(a, b)| *a += b);
    }

    /// A value that at least `part` of the errors do not exceed: the upper end of the bin, never more than `max`.
    pub fn percentile(&self, part: f64, max: f64) -> f64 {
        let wanted = (part * self.n as f64).ceil() as u64;
        let mut seen = self.zeros;
        if seen >= wanted {
            return 0.0;
        }
        for (i, &count) in self.bins.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return f64::from_bits((i as u64 + 1) << SHIFT).min(max);
            }
        }
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_not_below_the_true_ones() {
        let mut h = Histogram::new();
        for i in 0..1000 {
            h.add(i as f64 * 1e-3);
        }
        for (part, exact) in [(0.5, 0.499), (0.99, 0.989), (0.999, 0.998)] {
            let p = h.percentile(part, 0.999);
            assert!(p >= exact && p <= exact * (1.0 + 1.0 / 64.0), "{part} {p}");
        }
        assert_eq!(h.percentile(0.0005, 1.0), 0.0);
        assert_eq!(h.percentile(1.0, 0.999), 0.999);
        h.add(f64::NAN);
        assert_eq!(h.percentile(1.0, f64::INFINITY), f64::INFINITY);
    }
}
