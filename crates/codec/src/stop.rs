//! Stopping an encode: what takes long on one chunk asks now and then whether anybody still wants it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

thread_local! {
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work` on this thread; soon after `stop` is set, training and networks in it end with [`Error::Interrupted`].
pub fn unless<R>(stop: &Arc<AtomicBool>, work: impl FnOnce() -> R) -> R {
    /// Puts back what was there, after a panic as well.
    struct Before(Option<Arc<AtomicBool>>);
    impl Drop for Before {
        fn drop(&mut self) {
            STOP.set(self.0.take());
        }
    }
    let _before = Before(STOP.replace(Some(Arc::clone(stop))));
    work()
}

/// Fails once a stop was asked for.
pub(crate) fn check() -> Result<()> {
    let asked = STOP.with_borrow(|stop| stop.as_ref().is_some_and(|s| s.load(Ordering::Relaxed)));
    if asked { Err(Error::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;
    use crate::bound::Promise;
    use crate::spec::ChunkSpec;
    use crate::stats::FieldStats;
    use crate::{Samples, encode_chunk};

    #[test]
    fn it_holds_for_its_own_work_only() {
        let (stop, other) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        assert_eq!(check(), Ok(()));
        unless(&stop, || {
            assert_eq!(check(), Err(Error::Interrupted));
            unless(&other, || assert_eq!(check(), Ok(())));
            assert_eq!(check(), Err(Error::Interrupted));
            assert!(std::panic::catch_unwind(|| unless(&Arc::default(), || panic!("on purpose"))).is_err());
            assert_eq!(check(), Err(Error::Interrupted));
        });
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn a_training_and_a_model_end() {
        let model = crate::learned::testkit::wavelet().unwrap();
        let hash = crate::learned::register(model);
        let x = Samples::F32((0..4000).map(|i| (i as f32 * 0.01).sin()).collect());
        for codec in ["inr,steps=1000000,width=128".to_string(), format!("learned:{hash}")] {
            let tolerance = "abs=0.1".parse::<Promise>().unwrap().resolve(&FieldStats::default());
            let spec = ChunkSpec { codec: codec.parse().unwrap(), tolerance, ..ChunkSpec::lossless() };
            let stop = Arc::new(AtomicBool::new(true));
            let ended = unless(&stop, || encode_chunk(&x, &[50, 80], &spec));
            assert_eq!(ended.unwrap_err(), Error::Interrupted, "{codec}");
        }
    }
}
