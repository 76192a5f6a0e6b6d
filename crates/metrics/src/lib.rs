//! Judging a reconstruction against its original, block after block, in memory that does not grow with the variable.
//!
//! The promise itself is [`lithify_codec::Promise`], and what it needs is [`lithify_codec::ErrorStats`]; this crate adds what
//! climate scientists ask for beyond a bound. [`Comparer`] takes blocks in any layout, [`Comparison`] is what comes out.
//!
//! ```
//! use lithify_codec::{Affine, Samples};
//! use lithify_metrics::Comparer;
//! let (x, y) = (Samples::F32(vec![1.0, 2.0, 4.0, 3.0]), Samples::F32(vec![1.0, 2.5, 4.0, 3.0]));
//! let mut comparer = Comparer::new(&[4], Affine::IDENTITY);
//! comparer.add_block(&x, &y, &[0], &[4], None)?;
//! let judged = comparer.finish();
//! assert_eq!((judged.max_abs, judged.mae), (0.5, 0.125));
//! assert!(judged.pearson > 0.98 && judged.ssim.is_none());
//! # Ok::<(), lithify_codec::Error>(())
//! ```

mod comparer;
mod comparison;
mod histogram;
mod moments;
mod sample;
mod slices;
mod ssim;

pub use comparer::Comparer;
pub use comparison::{Comparison, FieldSummary, QUANTILES, REL_ERROR_MARK, SliceErrors, Ssim};
