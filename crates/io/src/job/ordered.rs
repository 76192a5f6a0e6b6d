//! A bounded pipeline: items are made in order, worked on in parallel, and used in order.
//!
//! Memory: at most `threads + 2` items exist at a time. Results do not depend on the number of threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, mpsc};

use crate::error::Result;

/// Runs `make` (this thread, in order), `work` (any thread) and `take` (this thread, in order) for `0..n`.
///
/// # Errors
/// The first error of any of the three; work in flight is finished and dropped.
pub fn run<I: Send, O: Send>(
    n: usize,
    threads: usize,
    mut make: impl FnMut(usize) -> Result<I>,
    work: impl Fn(usize, I) -> Result<O> + Sync,
    mut take: impl FnMut(usize, O) -> Result<()>,
) -> Result<()> {
    let threads = threads.clamp(1, n.max(1));
    let (to_work, jobs) = mpsc::sync_channel::<(usize, I)>(threads + 2);
    let jobs = Mutex::new(jobs);
    let (done, results) = mpsc::channel::<(usize, std::thread::Result<Result<O>>)>();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (jobs, work, done) = (&jobs, &work, done.clone());
            scope.spawn(move || {
                loop {
                    let job = match jobs.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok((i, item)) = job else { return };
                    // A panic is handed on, too: nobody else would answer for this item.
                    let result = catch_unwind(AssertUnwindSafe(|| work(i, item)));
                    if done.send((i, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // Moved in here so that an early return closes the queue and lets the workers end.
        let to_work = to_work;
        let mut waiting = BTreeMap::new();
        let (mut made, mut taken) = (0, 0);
        while taken < n {
            while made < n && made - taken < threads + 1 {
                // The workers live as long as the queue, so sending cannot fail before this function returns.
                let _ = to_work.send((made, make(made)?));
                made += 1;
            }
            let Ok((i, result)) = results.recv() else { break };
            waiting.insert(i, result.unwrap_or_else(|panic| resume_unwind(panic)));
            while let Some(result) = waiting.remove(&taken) {
                take(taken, result?)?;
                taken += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_panic_ends_it() {
        for threads in [1, 2, 7] {
            let all = || {
                run(
                    50,
                    threads,
                    Ok,
                    |i, x: usize| {
                        assert!(i != 20, "item 20");
                        Ok(x)
                    },
                    |_, _| Ok(()),
                )
            };
            assert!(catch_unwind(all).is_err());
        }
    }

    #[test]
    fn results_arrive_in_order() {
        for threads in [1, 2, 7] {
            let mut out = Vec::new();
            run(
                50,
                threads,
                Ok,
                |i, x: usize| {
                    assert_eq!(i, x);
                    Ok(x * x)
                },
                |_, y| {
                    out.push(y);
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(out, (0..50).map(|i| i * i).collect::<Vec<_>>());
        }
        run(0, 3, |_| Ok(()), |_, ()| Ok(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn errors_end_it_at_every_stage() {
        let fail = |at: usize| move |i: usize| if i == at { Err(Error::Interrupted) } else { Ok(i) };
        assert!(run(20, 2, fail(7), |_, x| Ok(x), |_, _| Ok(())).is_err());
        assert!(run(20, 2, Ok, |i, _| fail(7)(i), |_, _| Ok(())).is_err());
        assert!(run(20, 2, Ok, |_, x| Ok(x), |i, _| fail(7)(i).map(drop)).is_err());
    }
}
