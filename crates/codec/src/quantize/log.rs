//! Logarithm to base 2 and its inverse in plain IEEE arithmetic: a pointwise relative bound becomes an absolute one.
//!
//! # Maths      y = log2(x), x > 0; |y - y'| <= log2(1 + e)  =>  |x - x'| <= e x
//! # Bound      both directions are off by a few units in the last place; the pipeline's check covers it
//! # Cost       a division and 24 multiplications
//! # Reference  S. Di et al., Efficient lossy compression based on pointwise relative error bound, 2018

const LN2: f64 = std::f64::consts::LN_2;

/// log2 of a positive finite number.
pub fn log2(x: f64) -> f64 {
    // Subnormals are scaled into the normal range first.
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * (1u64 << 54) as f64, 54) } else { (x, 0) };
    let bits = x.to_bits();
    let mut e = (bits >> 52) as i64 - 1023 - shift;
    let mut m = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        e += 1;
    }
    // ln m = 2 artanh(s), |s| < 0.172: eleven terms reach 1e-17.
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let mut sum = 0.0;
    let mut k = 21;
    while k > 0 {
        sum = sum * s2 + 1.0 / f64::from(k);
        k -= 2;
    }
    e as f64 + 2.0 * s * sum / LN2
}

/// 2^y; 0 and infinity beyond the range of f64.
pub fn exp2(y: f64) -> f64 {
    let n = y.clamp(-1100.0, 1100.0).round_ties_even();
    let f = (y.clamp(-1100.0, 1100.0) - n) * LN2;
    // |f| <= 0.35: fifteen terms reach 1e-18.
    let mut e = 1.0;
    for k in (1..16).rev() {
        e = 1.0 + f / f64::from(k) * e;
    }
    let power = |n: i64| f64::from_bits(((n + 1023) as u64) << 52);
    let n = n as i64;
    let half = n / 2;
    e * power(half) * power(n - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_library_and_inverts() {
        let mut x = f64::from_bits(1);
        while x < f64::MAX / 3.0 {
            assert!((log2(x) - x.log2()).abs() <= 1e-15 * x.log2().abs().max(1.0), "{x:e}");
            if x > 1e-300 {
                assert!((exp2(log2(x)) / x - 1.0).abs() < 1e-12, "{x:e}");
            }
            x = (x * 1.37).max(x.next_up());
        }
        assert_eq!((exp2(-5000.0), exp2(5000.0), exp2(0.0)), (0.0, f64::INFINITY, 1.0));
    }
}
