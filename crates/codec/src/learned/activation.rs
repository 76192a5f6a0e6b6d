//! Activations of a network, and the ops that only move them.

use crate::error::Result;

/// Numbers `[channel, depth, row, column]`, in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation<T> {
    /// Channels, depth, rows, columns.
    pub shape: [usize; 4],
    /// The numbers.
    pub data: Vec<T>,
}

impl<T: Copy + Default> Activation<T> {
    /// All zero.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if memory does not suffice.
    pub fn zeros(shape: [usize; 4]) -> Result<Self> {
        let n = crate::block::n_samples(&shape).unwrap_or(usize::MAX);
        Ok(Self { shape, data: crate::try_vec(n, T::default())? })
    }

    /// Numbers of a channel.
    pub fn per_channel(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Channels `[a, b)`.
    pub fn channels(&self, [a, b]: [usize; 2]) -> &[T] {
        let n = self.per_channel();
        &self.data[a * n..b * n]
    }

    /// Depth to space.
    pub(super) fn shuffle(&self, [fd, fh, fw]: [usize; 3]) -> Result<Self> {
        let [c, d, h, w] = self.shape;
        let mut out = Self::zeros([c / (fd * fh * fw), d * fd, h * fh, w * fw])?;
        out.moved([fd, fh, fw], self.shape, |small, large| *large = self.data[small]);
        Ok(out)
    }

    /// Space to depth.
    pub(super) fn unshuffle(&self, [fd, fh, fw]: [usize; 3]) -> Result<Self> {
        let [c, d, h, w] = self.shape;
        let mut out = Self::zeros([c * fd * fh * fw, d / fd, h / fh, w / fw])?;
        let shape = out.shape;
        let mut large = self.clone();
        large.moved([fd, fh, fw], shape, |small, large| out.data[small] = *large);
        Ok(out)
    }

    /// Visits pairs of places: in an activation of shape `small`, and in this one, larger by `factor`.
    fn moved(&mut self, [fd, fh, fw]: [usize; 3], small: [usize; 4], mut pair: impl FnMut(usize, &mut T)) {
        let [c, d, h, w] = small;
        let [_, ld, lh, lw] = self.shape;
        for ci in 0..c {
            let (to, i, j, k) = (ci / (fd * fh * fw), ci / (fh * fw) % fd, ci / fw % fh, ci % fw);
            for z in 0..d {
                for y in 0..h {
                    let from = ((ci * d + z) * h + y) * w;
                    let row = ((to * ld + z * fd + i) * lh + y * fh + j) * lw + k;
                    for (x, v) in self.data[row..].iter_mut().step_by(fw).take(w).enumerate() {
                        pair(from + x, v);
                    }
                }
            }
        }
    }

    /// Channels one after another; all have the same lengths, and there is at least one.
    pub(super) fn concat(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        for part in parts {
            all.shape[0] += part.shape[0];
            all.data.extend(part.data);
        }
        Some(all)
    }
}
