//! The quantizer step that makes a given number of bytes.
//!
//! # Maths
//! Bytes fall with the step, nearly as a power of it over short distances. The search keeps what was tried as points of log step
//! against log bytes:
//! 1. With points on one side of the target only: along the line through the two nearest ones, or with an expected slope.
//! 2. Between the nearest points on both sides: along the line through them; in the middle where that has not led there soon.
//!
//! It knows nothing of encoders: somebody tries [`RateSearch::next`] and tells [`RateSearch::add`].
//! # Cost       bytes within 1 % after two or three encodes where the first guess is within 30 %

/// Part of the target that still counts as met.
const WINDOW: f64 = 0.9902;
/// What is aimed at: the middle of the window.
const AIM: f64 = 0.995;
/// Steps closer than this are one.
const PRECISION: f64 = 1.0005;
/// One guess goes at most so far beyond what was tried.
const LEAP: f64 = 256.0;
/// Guesses after which the middle is tried every other time.
const PATIENCE: usize = 3;

/// A search for the smallest step whose bytes fit.
#[derive(Debug, Clone)]
pub struct RateSearch {
    target: f64,
    finest: f64,
    coarsest: f64,
    /// Steps are whole numbers.
    whole: bool,
    /// Expected d log bytes / d log step.
    slope: f64,
    /// (step, bytes), by step.
    points: Vec<(f64, f64)>,
}

impl RateSearch {
    /// Steps between `finest` and `coarsest`, whole numbers only or all, that make at most `target` bytes and hardly less.
    pub fn new(target: f64, finest: f64, coarsest: f64, whole: bool, slope: f64) -> Self {
        Self { target, finest, coarsest, whole, slope, points: Vec::new() }
    }

    /// The same for a part of the data.
    pub fn for_part(&self, part: f64) -> Self {
        Self { target: self.target * part, ..self.clone() }
    }

    /// The same with another expected slope.
    pub fn with_slope(self, slope: f64) -> Self {
        Self { slope, ..self }
    }

    /// Whether so many bytes do not exceed the target.
    pub fn fits(&self, bytes: u64) -> bool {
        bytes as f64 <= self.target
    }

    /// Whether so many bytes are what was asked.
    pub fn lands(&self, bytes: u64) -> bool {
        self.fits(bytes) && bytes as f64 >= WINDOW * self.target
    }

    /// How far so many bytes are from the target, in logarithms.
    pub fn distance(&self, bytes: u64) -> f64 {
        (bytes.max(1) as f64 / self.target).ln().abs()
    }

    /// Notes what a step made.
    pub fn add(&mut self, step: f64, bytes: u64) {
        let at = self.points.partition_point(|p| p.0 < step);
        self.points.insert(at, (step, bytes.max(1) as f64));
    }

    /// The nearest step that may be tried.
    pub fn snap(&self, step: f64) -> f64 {
        let step = step.clamp(self.finest, self.coarsest);
        if self.whole { step.round() } else { step }
    }

    /// Whether there is no finer step.
    pub fn is_finest(&self, step: f64) -> bool {
        step == self.snap(self.finest)
    }

    /// The step to try next; `None` if none can do better.
    pub fn next(&self) -> Option<f64> {
        let coarse = self.points.iter().position(|p| p.1 <= self.target);
        let fine = self.points[..coarse.unwrap_or(self.points.len())].last().copied();
        match (fine, coarse.map(|i| self.points[i])) {
            (Some(fine), Some(coarse)) => self.between(fine, coarse),
            (None, Some(coarse)) => self.beyond(coarse, self.finest),
            (Some(fine), None) => self.beyond(fine, self.coarsest),
            (None, None) => Some(self.snap((self.finest * self.coarsest).sqrt())),
        }
    }

    /// How bytes change with the step near the target, as far as was seen.
    pub fn slope(&self) -> f64 {
        let far = |p: &&(f64, f64)| (p.1 / self.target).ln().abs();
        let nearest = self.points.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
        let Some(nearest) = nearest else { return self.slope };
        let others = self.points.iter().filter(|p| (p.0 / nearest.0).ln().abs() > 1e-3);
        let slope = others.min_by(|a, b| far(a).total_cmp(&far(b))).map(|other| slope(*nearest, *other));
        slope.filter(|s| (-4.0..-0.02).contains(s)).unwrap_or(self.slope)
    }

    fn between(&self, fine: (f64, f64), coarse: (f64, f64)) -> Option<f64> {
        let closed = if self.whole { coarse.0 - fine.0 <= 1.0 } else { coarse.0 / fine.0 <= PRECISION };
        if closed {
            return None;
        }
        let middle = (fine.0 * coarse.0).sqrt();
        let late = self.points.len() > PATIENCE && self.points.len().is_multiple_of(2);
        let line = fine.0 * ((self.target * AIM / fine.1).ln() / slope(fine, coarse)).exp();
        let step = if late || !line.is_finite() { middle } else { line };
        if self.whole {
            return Some(step.round().clamp(fine.0 + 1.0, coarse.0 - 1.0));
        }
        // Never so close to what is known that nothing is learnt.
        let least = (coarse.0 / fine.0).powf(0.02);
        Some(step.clamp(fine.0 * least, coarse.0 / least))
    }

    /// From the last point on one side towards `end`.
    fn beyond(&self, from: (f64, f64), end: f64) -> Option<f64> {
        if from.0 == self.snap(end) {
            return None;
        }
        // What did not reach the other side in some steps takes longer ones.
        let haste = 1.5f64.powi(self.points.len().saturating_sub(2) as i32);
        let factor = ((self.target * AIM / from.1).ln() / self.slope() * haste).exp();
        let factor =
            if end > from.0 { factor.clamp(PRECISION, LEAP) } else { factor.clamp(1.0 / LEAP, 1.0 / PRECISION) };
        let step = self.snap(from.0 * factor);
        let next = if end > from.0 { from.0 + 1.0 } else { from.0 - 1.0 };
        Some(if step == from.0 { self.snap(next) } else { step })
    }
}

fn slope(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.1 / b.1).ln() / (a.0 / b.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;

    /// Best bytes that fit, and tries, from a first guess.
    fn run(mut s: RateSearch, first: f64, bytes: impl Fn(f64) -> u64) -> (Option<u64>, usize) {
        let (mut best, mut tries, mut step) = (None, 0, Some(s.snap(first)));
        while let Some(e) = step.filter(|_| tries < 60) {
            tries += 1;
            let b = bytes(e);
            s.add(e, b);
            best = best.max(Some(b).filter(|b| s.fits(*b)));
            step = if s.lands(b) { None } else { s.next() };
        }
        (best, tries)
    }

    #[test]
    fn lands_on_the_right_side_within_one_percent() {
        type Curve = fn(f64) -> f64;
        let curves: [(&str, Curve); 4] = [
            ("high rate", |e| 1e6 * (20.0 - e.log2()).max(0.001) / 8.0),
            ("low rate", |e| 1e5 * e.powf(-0.7) + 800.0),
            ("noisy", |e| 1e5 * e.powf(-0.5) * (1.0 + 0.003 * uniform(e.to_bits()))),
            ("steep", |e| 4e6 / (1.0 + (e / 3.0).powi(2)) + 50.0),
        ];
        for (name, curve) in curves {
            let bytes = |e: f64| curve(e) as u64;
            for target in [1000u64, 5000, 77_777, 1_000_000, 2_000_000] {
                let s = RateSearch::new(target as f64, 1e-12, 1e9, false, -0.5);
                for first in [1e-3, 1.0, 300.0] {
                    let (best, tries) = run(s.clone(), first, bytes);
                    let best = best.unwrap_or_else(|| panic!("{name} {target} {first}"));
                    assert!(s.lands(best) && tries <= 18, "{name} {target} {first}: {best} in {tries}");
                }
            }
        }
    }

    #[test]
    fn a_good_guess_lands_in_two_or_three() {
        for bias in [0.75, 0.9, 1.1, 1.3] {
            let bytes = |e: f64| (1e6 * e.powf(-0.4)) as u64;
            let first = (1e6f64 / 50_000.0 * bias).powf(1.0 / 0.4);
            let (best, tries) = run(RateSearch::new(5e4, 1e-9, 1e9, false, -0.45), first, bytes);
            assert!(best.is_some_and(|b| b > 49_500) && tries <= 3, "{bias}: {best:?} in {tries}");
        }
    }

    #[test]
    fn jumps_and_ends_are_met_on_the_right_side() {
        // Between 3 and 4 lies a jump over the target; the best that fits is the end of the jump.
        let stairs = |e: f64| if e < 3.7 { 2000 - (e * 100.0) as u64 } else { 1000 - e as u64 };
        let s = RateSearch::new(1200.0, 1e-6, 1e3, false, -0.5);
        assert_eq!(run(s, 50.0, stairs).0, Some(997));
        let whole = RateSearch::new(1200.0, 1.0, 1e3, true, -0.5);
        assert_eq!(run(whole.clone(), 50.0, stairs).0, Some(996));
        // Nothing fits; everything fits.
        let (best, tries) = run(whole.clone(), 50.0, |e| 5000 - e as u64);
        assert!(best.is_none() && tries < 20);
        assert_eq!(run(whole, 50.0, |e| 500 - (e.min(100.0)) as u64).0, Some(499));
    }
}
