//! A progress bar on stderr, if that is a terminal; and Ctrl-C, which ends a job so that nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lithify_io::job::{Context, Progress};

use crate::args::Running;

/// Runs `job` with a bar over `total_bytes` of uncompressed data.
pub fn run<T>(
    running: &Running,
    total_bytes: u64,
    job: impl FnOnce(&Context<'_>) -> lithify_io::Result<T>,
) -> lithify_io::Result<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A second handler in the same process is refused; the first one still works then.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    let target = if running.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target);
    let style = "{wide_bar} {percent:>3} %  {binary_bytes_per_sec}  {msg}  {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let (raw, coded) = (AtomicU64::new(0), AtomicU64::new(0));
    let show = |p: Progress<'_>| {
        let raw = raw.fetch_add(p.raw_bytes, Ordering::Relaxed) + p.raw_bytes;
        let coded = coded.fetch_add(p.coded_bytes, Ordering::Relaxed) + p.coded_bytes;
        bar.inc(p.raw_bytes);
        let ratio = if coded > 0 { format!("  ratio {:.2}", raw as f64 / coded as f64) } else { String::new() };
        bar.set_message(format!("{}{ratio}", p.variable));
    };
    let threads = match running.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let result = job(&Context { threads, progress: &show, stop: &stop });
    bar.finish_and_clear();
    result
}
