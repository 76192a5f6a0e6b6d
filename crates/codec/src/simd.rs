//! Vector lanes: code that is compiled once for the widest vectors worth having and once for what every machine has.
//!
//! Which one runs makes no difference to a result: lanes are fixed in number, every sum has its order, nothing is contracted.

use std::sync::OnceLock;

pub use fearless_simd::Level;

/// The vectors of this machine; with `LITHIFY_SIMD=baseline` in the environment those that every machine of its kind has.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| match std::env::var_os("LITHIFY_SIMD") {
        Some(v) if v == "baseline" => Level::baseline(),
        _ => Level::new(),
    })
}

/// Evaluates an expression with the best vectors of this machine as `$simd`. Functions called in it are compiled for them if they
/// are inlined.
macro_rules! widest {
    ($level:expr, $simd:ident => $body:expr) => {{
        #[cfg(target_arch = "x86_64")]
        use fearless_simd::Simd as _;
        let level: $crate::simd::Level = $level;
        #[cfg(target_arch = "x86_64")]
        match level.as_avx2() {
            Some($simd) => $simd.vectorize(
                #[inline(always)]
                || $body,
            ),
            None => match level.as_sse2() {
                Some($simd) => $simd.vectorize(
                    #[inline(always)]
                    || $body,
                ),
                None => unreachable!("every x86-64 has SSE2"),
            },
        }
        #[cfg(not(target_arch = "x86_64"))]
        fearless_simd::dispatch!(level, $simd => $body)
    }};
}
pub(crate) use widest;
