//! Data SSIM: structural similarity of the values themselves, slice by slice.
//!
//! # Maths     scale both to `[0, 1]` by their common extremes; `q = round(255 v) / 255`; with Gaussian means m over an 11 x 11 window of valid samples
//!   `(2 m(x) m(y) + C)(2 cov + C) / ((m(x)^2 + m(y)^2 + C)(var x + var y + C))`, `C = 1e-8`; mean over valid centres with a whole window
//! # Shapes    the last two dimensions; each index of the others is a slice
//! # Cost      132 multiply-adds a sample (separable window); two f64 slices for each slice that is not complete yet
//! # Reference Baker et al. 2022, DSSIM: a structural similarity index for floating-point data, arXiv 2202.02616

use std::collections::BTreeMap;

use crate::comparison::Ssim;

/// Reach of the window to each side.
const REACH: usize = 5;
const WINDOW: usize = 2 * REACH + 1;
const SIGMA: f64 = 1.5;
const C: f64 = 1e-8;
/// Samples, of both fields together, that incomplete slices may hold: 1 GiB.
const BUDGET: usize = 1 << 27;

/// A slice whose rows still come in. Samples that have not come are NaN, like missing ones.
#[derive(Debug, Clone)]
struct Open {
    x: Vec<f64>,
    y: Vec<f64>,
    left: usize,
}

/// Collects slices and judges each as soon as it is complete.
#[derive(Debug, Clone)]
pub struct Slices {
    ny: usize,
    nx: usize,
    open: BTreeMap<usize, Option<Open>>,
    held: usize,
    min: f64,
    sum: f64,
    judged: u64,
}

impl Slices {
    /// `None` where no slice can hold a window.
    pub fn new(shape: &[usize]) -> Option<Self> {
        let &[.., ny, nx] = shape else { return None };
        let fits = ny >= WINDOW && nx >= WINDOW;
        fits.then(|| Self { ny, nx, open: BTreeMap::new(), held: 0, min: f64::INFINITY, sum: 0.0, judged: 0 })
    }

    /// A row whose first sample is at position `at` of the array. NaN in `x` or `y` is missing.
    pub fn add_row(&mut self, at: usize, x: &[f64], y: &[f64]) {
        let size = self.ny * self.nx;
        let (slice, at) = (at / size, at % size);
        let Some(open) = self.entry(slice) else { return };
        open.x[at..at + x.len()].copy_from_slice(x);
        open.y[at..at + y.len()].copy_from_slice(y);
        open.left -= x.len();
        self.judge_if_complete(slice);
    }

    pub fn merge(&mut self, other: Self) {
        self.min = self.min.min(other.min);
        self.sum += other.sum;
        self.judged += other.judged;
        let size = self.ny * self.nx;
        for (slice, theirs) in other.open {
            match (self.entry(slice), theirs) {
                (Some(ours), Some(theirs)) => {
                    let fill = |a: &mut [f64], b: &[f64]| {
                        a.iter_mut().zip(b).filter(|(_, b)| !b.is_nan()).for_each(|(a, b)| *a = *b);
                    };
                    fill(&mut ours.x, &theirs.x);
                    fill(&mut ours.y, &theirs.y);
                    ours.left -= size - theirs.left;
                    self.judge_if_complete(slice);
                }
                (Some(_), None) => self.skip(slice),
                (None, _) => {}
            }
        }
    }

    pub fn finish(self) -> Option<Ssim> {
        let n_skipped = self.open.len() as u64;
        (self.judged > 0).then(|| Ssim {
            min: self.min,
            mean: self.sum / self.judged as f64,
            n_slices: self.judged,
            n_skipped,
        })
    }

    /// The slice's buffer; `None` if it was refused.
    fn entry(&mut self, slice: usize) -> Option<&mut Open> {
        let size = self.ny * self.nx;
        let held = &mut self.held;
        let new = || {
            let room = size.checked_mul(2).is_some_and(|n| n <= BUDGET - *held);
            room.then(|| {
                *held += 2 * size;
                Open { x: vec![f64::NAN; size], y: vec![f64::NAN; size], left: size }
            })
        };
        self.open.entry(slice).or_insert_with(new).as_mut()
    }

    fn skip(&mut self, slice: usize) {
        if self.open.insert(slice, None).flatten().is_some() {
            self.held -= 2 * self.ny * self.nx;
        }
    }

    fn judge_if_complete(&mut self, slice: usize) {
        if self.open.get(&slice).is_some_and(|o| o.as_ref().is_some_and(|o| o.left == 0)) {
            self.held -= 2 * self.ny * self.nx;
            // A slice without valid windows has nothing to be judged by.
            let judged = self.open.remove(&slice).flatten().and_then(|o| judge(o.x, o.y, self.ny, self.nx));
            if let Some(v) = judged {
                self.min = self.min.min(v);
                self.sum += v;
                self.judged += 1;
            }
        }
    }
}

/// Mean SSIM of one slice `[ny, nx]`.
fn judge(mut x: Vec<f64>, mut y: Vec<f64>, ny: usize, nx: usize) -> Option<f64> {
    quantize(&mut x, &mut y);
    let window: Vec<f64> =
        (0..WINDOW).map(|i| (-(i as f64 - REACH as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let (mut sum, mut n) = (0.0, 0u64);
    let mut columns = vec![[0.0; 6]; nx];
    for row in REACH..ny - REACH {
        // Down each column first: weight, x, y, x^2, y^2, xy; then along the row at each centre.
        columns.fill([0.0; 6]);
        for (k, w) in window.iter().enumerate() {
            let at = (row + k - REACH) * nx;
            for ((c, &x), &y) in columns.iter_mut().zip(&x[at..at + nx]).zip(&y[at..at + nx]) {
                if !(x.is_nan() || y.is_nan()) {
                    let terms = [1.0, x, y, x * x, y * y, x * y];
                    c.iter_mut().zip(terms).for_each(|(c, t)| *c += w * t);
                }
            }
        }
        for (i, around) in columns.windows(WINDOW).enumerate() {
            let centre = row * nx + i + REACH;
            if x[centre].is_nan() || y[centre].is_nan() {
                continue;
            }
            let mut s = [0.0; 6];
            for (w, c) in window.iter().zip(around) {
                s.iter_mut().zip(c).for_each(|(s, c)| *s += w * c);
            }
            let [mx, my, xx, yy, xy] = [s[1], s[2], s[3], s[4], s[5]].map(|v| v / s[0]);
            let (vx, vy, cov) = (xx - mx * mx, yy - my * my, xy - mx * my);
            sum += (2.0 * mx * my + C) * (2.0 * cov + C) / ((mx * mx + my * my + C) * (vx + vy + C));
            n += 1;
        }
    }
    (n > 0).then(|| sum / n as f64)
}

/// Both to 256 levels between their common extremes; a constant slice to one level.
fn quantize(x: &mut [f64], y: &mut [f64]) {
    let both = || x.iter().chain(y.iter()).filter(|v| v.is_finite());
    let (min, max) = both().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let (offset, scale) = match max - min {
        0.0 if max == 0.0 => (0.0, 1.0),
        0.0 => (0.0, max),
        range => (min, range),
    };
    for v in x.iter_mut().chain(y) {
        *v = if v.is_finite() { ((*v - offset) / scale * 255.0).round_ties_even() / 255.0 } else { f64::NAN };
    }
}
