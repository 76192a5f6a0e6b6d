//! What a piece of work costs: seconds, and memory at its peak beyond what was held before.
//!
//! # Maths      peak = high-water mark after - resident size before, with free memory returned and the mark reset in between
//! # When       on Linux with glibc; elsewhere the peak is NaN
#![allow(unsafe_code)] // returning free memory to the system is a call of the C library

use std::time::Instant;

/// Seconds and MiB of one piece of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Wall-clock time.
    pub seconds: f64,
    /// Peak memory beyond what was held before; NaN where the system does not tell.
    pub peak_mib: f64,
}

impl Cost {
    /// The smaller of either number: what disturbs a measurement only adds.
    pub fn least(self, other: Self) -> Self {
        Self { seconds: self.seconds.min(other.seconds), peak_mib: self.peak_mib.min(other.peak_mib) }
    }
}

/// `work` and its cost.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let before = start_of_peak();
    let start = Instant::now();
    let value = work();
    let seconds = start.elapsed().as_secs_f64();
    let peak = before.zip(status("VmHWM:")).map_or(f64::NAN, |(before, after)| (after - before).max(0.0) / 1024.0);
    (value, Cost { seconds, peak_mib: peak })
}

/// Resets the high-water mark; the resident size in KiB.
fn start_of_peak() -> Option<f64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call has no preconditions; it only gives free pages back.
    unsafe {
        libc::malloc_trim(0);
    }
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:")
}

/// A line of the process's status, in KiB.
fn status(key: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_shows_in_the_peak() {
        // Held until it is measured, and with room for what other tests give back meanwhile.
        let (buffer, cost) = measured(|| vec![1u8; 64 << 20]);
        assert_eq!(buffer.len(), 64 << 20);
        assert!(cost.seconds > 0.0 && (cost.peak_mib.is_nan() || cost.peak_mib > 32.0), "{cost:?}");
    }
}
