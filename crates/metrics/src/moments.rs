//! Means, variances and covariance of pairs, block by block.
//!
//! # Maths     within a block two passes about its mean; blocks joined by `M2 = M2a + M2b + d^2 na nb / n`: no cancellation, whatever the offset
//! # Reference Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance, doi 10.1080/00031305.1983.10483115

#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    n: f64,
    pub mean_x: f64,
    pub mean_y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Moments {
    /// Of the pairs whose `x` is not NaN.
    pub fn of(x: &[f64], y: &[f64]) -> Self {
        let pairs = || x.iter().zip(y).filter(|(x, _)| !x.is_nan());
        let (n, sum_x, sum_y) = pairs().fold((0.0, 0.0, 0.0), |(n, a, b), (x, y)| (n + 1.0, a + x, b + y));
        if n == 0.0 {
            return Self::default();
        }
        let mut m = Self { n, mean_x: sum_x / n, mean_y: sum_y / n, ..Self::default() };
        for (x, y) in pairs() {
            let (dx, dy) = (x - m.mean_x, y - m.mean_y);
            m.xx += dx * dx;
            m.yy += dy * dy;
            m.xy += dx * dy;
        }
        m
    }

    pub fn merge(&mut self, other: &Self) {
        if other.n == 0.0 {
            return;
        }
        let n = self.n + other.n;
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = self.n * other.n / n;
        self.xx += other.xx + dx * dx * weight;
        self.yy += other.yy + dy * dy * weight;
        self.xy += other.xy + dx * dy * weight;
        self.mean_x += dx * other.n / n;
        self.mean_y += dy * other.n / n;
        self.n = n;
    }

    /// Standard deviations of `x` and `y`, of the population.
    pub fn std(&self) -> (f64, f64) {
        ((self.xx / self.n).sqrt(), (self.yy / self.n).sqrt())
    }

    /// Sum of squares of `x` about its mean.
    pub fn spread_x(&self) -> f64 {
        self.xx
    }

    /// Correlation; NaN if one side is constant.
    pub fn pearson(&self) -> f64 {
        // Two square roots: the product of the sums may leave f64's range.
        let size = self.xx.sqrt() * self.yy.sqrt();
        if size > 0.0 { (self.xy / size).clamp(-1.0, 1.0) } else { f64::NAN }
    }
}
