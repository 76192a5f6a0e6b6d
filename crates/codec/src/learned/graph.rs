//! The language in which networks are written. Two executors read it: the portable one beside it, and whatever trains.
//!
//! # Shapes     an activation is `[channel, depth, row, column]`; planes have depth 1. Batches are taken one by one
//! # On the wire JSON in the model's card: `[{"op": "conv", "weight": "g_a.0.weight", "bias": "g_a.0.bias", "stride": [1, 2, 2]}, ...]`
//!
//! Networks are real (`f32`: g_a, h_a, g_s) or whole (integers: h_s, context nets). A real network has none of the ops whose names
//! begin with `i`, a whole one none of those that say "real" below.

use serde::{Deserialize, Serialize};

use super::tensor::{Tensors, bad, integers, reals};
use crate::error::Result;

/// Steps in a row.
pub type Graph = Vec<Op>;

const fn ones() -> [usize; 3] {
    [1; 3]
}

const fn one() -> usize {
    1
}

/// One step: what it makes of activations x. Kernels have odd lengths; triples are depth, row, column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Real. Convolution, zeros around: out\[o, p\] = bias\[o\] + sum over i, t of w\[o, i, t\] x\[i, p stride + t - (k - 1) / 2\]
    /// (cross-correlation, symmetric padding (k - 1) / 2; a stride divides the length). The sum starts with the bias and takes input
    /// channels in order, for each depth, row, column of the kernel in order; taps in the padding add w * 0.
    Conv {
        /// `f32[out, in / groups, kd, kh, kw]`
        weight: String,
        /// `f32[out]`; zeros if missing
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// Every so many positions.
        #[serde(default = "ones")]
        stride: [usize; 3],
        /// Channels in so many groups that do not see each other.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Depth to space: `[c fd fh fw, d, h, w]` to `[c, d fd, h fh, w fw]`; input channel `((c fd + i) fh + j) fw + k` has offsets i, j, k.
    Shuffle {
        /// By how much each axis grows.
        factor: [usize; 3],
    },
    /// Space to depth, the inverse of `shuffle`.
    Unshuffle {
        /// By how much each axis shrinks.
        factor: [usize; 3],
    },
    /// Real. x\[i\] / sqrt(beta\[i\] + sum over j of gamma\[i, j\] x\[j\]^2) at every position, times it if inverse; j in order, from beta.
    Gdn {
        /// `f32[c]`, above 0
        beta: String,
        /// `f32[c, c]`, not below 0
        gamma: String,
        /// For synthesis.
        #[serde(default)]
        inverse: bool,
    },
    /// x if x > 0, else 0.
    Relu,
    /// Real. x if x > 0, else slope x.
    LeakyRelu {
        /// 0 to 1
        slope: f32,
    },
    /// x + body(x).
    Residual {
        /// Keeps the shape.
        body: Graph,
    },
    /// Real. x + trunk(x) s(mask(x)) with s(z) = 0.5 (1 + z / (1 + |z|)): simplified attention.
    Gate {
        /// Keeps the shape.
        trunk: Graph,
        /// Keeps the shape.
        mask: Graph,
    },
    /// Channels of all branches of x, one after another. An empty branch is x itself.
    Concat {
        /// At least one; same lengths.
        branches: Vec<Graph>,
    },
    /// Real. One orthonormal level over rows and columns, `[c, d, h, w]` to `[4 c, d, h / 2, w / 2]`; band b = 2 high_row + high_column of channel c is
    /// channel 4 c + b. Columns first, then rows; the inverse goes back.
    Wavelet {
        /// Which filters.
        kind: Wavelet,
        /// From bands to planes.
        #[serde(default)]
        inverse: bool,
    },
    /// Real. weight\[c\] x + bias\[c\].
    Scale {
        /// `f32[c]`
        weight: String,
        /// `f32[c]`; zeros if missing
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
    },
    /// Real. Appends one constant plane for each side input (place, season, sun angle), normalised.
    Side {
        /// All that the card lists.
        channels: usize,
    },
    /// Whole. Convolution as `conv`, then back to the activations' scale:
    /// out = clamp((acc m\[o\] + 2^(s - 1)) >> s) with acc = bias\[o\] + sum of w x, `>>` towards minus infinity, the clamp to +-[`LIMIT`].
    /// |bias\[o\]| + [`LIMIT`] sum of |w\[o\]| must be below 2^31, so that 32 bits hold acc; the product takes 64.
    Iconv {
        /// Integers `[out, in / groups, kd, kh, kw]`, `int8` or `int16` as a rule
        weight: String,
        /// `i32[out]`, at the accumulator's scale
        bias: String,
        /// `i32[out]` m, 0 to 2^30
        multiplier: String,
        /// s, 1 to 46
        shift: u32,
        /// Every so many positions.
        #[serde(default = "ones")]
        stride: [usize; 3],
        /// Channels in so many groups that do not see each other.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Whole. x if x > 0, else x >> shift (towards minus infinity).
    Ileaky {
        /// The slope is 2^-shift; 1 to 15.
        shift: u32,
    },
}

/// Filters of `wavelet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wavelet {
    /// (a + b) h, (a - b) h with h = sqrt(1 / 2) rounded to `f32`.
    Haar,
    /// CDF 9/7 by lifting, whole-sample symmetric at the edges, low band times `ZETA`, high band divided by it; see the executor.
    Cdf97,
}

/// Activations of a whole network lie in `-LIMIT..=LIMIT`.
pub const LIMIT: i32 = (1 << 15) - 1;
/// Deepest nesting of `residual`, `gate`, `concat`.
const DEPTH: usize = 8;
/// Longest kernel, stride or factor along an axis.
const LONGEST: usize = 64;
/// Most channels of an activation.
pub const CHANNELS: usize = 1 << 14;

/// Which arithmetic a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `f32`.
    Real,
    /// Integers.
    Whole,
}

/// Channels, and lengths as fractions of the network's input: depth, rows, columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Each axis is so many times as long as it was.
    pub up: [usize; 3],
    /// Divided by this.
    pub down: [usize; 3],
}

impl Shape {
    /// What enters a network.
    pub fn input(channels: usize) -> Self {
        Self { channels, up: [1; 3], down: [1; 3] }
    }

    fn shrink(mut self, factor: [usize; 3]) -> Result<Self> {
        for a in 0..3 {
            let g = gcd(self.up[a], factor[a]);
            self.up[a] /= g;
            self.down[a] *= factor[a] / g;
        }
        self.checked()
    }

    fn grow(self, factor: [usize; 3]) -> Result<Self> {
        let turned = Self { up: self.down, down: self.up, ..self }.shrink(factor)?;
        Ok(Self { up: turned.down, down: turned.up, ..turned })
    }

    fn checked(self) -> Result<Self> {
        if self.up.iter().chain(&self.down).any(|n| *n > 1 << 12) || !(1..=CHANNELS).contains(&self.channels) {
            return Err(bad("a network leads to too many channels or lengths"));
        }
        Ok(self)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Checks a network and its tensors; what comes out of it. `side` is the number of side inputs.
///
/// # Errors
/// [`crate::Error::Corrupt`] with the op that does not fit.
pub fn check(graph: &[Op], kind: Kind, tensors: &Tensors, side: usize, input: Shape) -> Result<Shape> {
    Checker { kind, tensors, side, most_down: input.down }.graph(graph, input, 0).map(|(s, _)| s)
}

/// What the lengths of an input must be multiples of for every stride in the network to divide.
///
/// # Errors
/// As [`check`].
pub fn multiple(graph: &[Op], kind: Kind, tensors: &Tensors, side: usize, input: Shape) -> Result<[usize; 3]> {
    Checker { kind, tensors, side, most_down: input.down }.graph(graph, input, 0).map(|(_, down)| down)
}

struct Checker<'a> {
    kind: Kind,
    tensors: &'a Tensors,
    side: usize,
    most_down: [usize; 3],
}

impl Checker<'_> {
    fn graph(&mut self, graph: &[Op], mut shape: Shape, depth: usize) -> Result<(Shape, [usize; 3])> {
        if depth > DEPTH {
            return Err(bad(format!("ops are nested more than {DEPTH} deep")));
        }
        for (i, op) in graph.iter().enumerate() {
            shape = self.op(op, shape, depth).map_err(|e| match e {
                crate::Error::Corrupt { what, stage } if depth == 0 => {
                    crate::Error::Corrupt { stage, what: format!("op {i}: {what}") }
                }
                e => e,
            })?;
            for a in 0..3 {
                self.most_down[a] = lcm(self.most_down[a], shape.down[a]);
                if self.most_down[a] > 1 << 12 {
                    return Err(bad("the strides of a network are too large"));
                }
            }
        }
        Ok((shape, self.most_down))
    }

    fn op(&mut self, op: &Op, x: Shape, depth: usize) -> Result<Shape> {
        let real = !matches!(op, Op::Iconv { .. } | Op::Ileaky { .. });
        let both = matches!(
            op,
            Op::Relu | Op::Shuffle { .. } | Op::Unshuffle { .. } | Op::Residual { .. } | Op::Concat { .. }
        );
        if !both && real != (self.kind == Kind::Real) {
            return Err(bad("the op does not belong into this kind of network"));
        }
        let c = x.channels;
        match op {
            Op::Conv { weight, bias, stride, groups } => {
                let shape = reals(self.tensors, weight, &[None; 5])?.0;
                if let Some(bias) = bias {
                    reals(self.tensors, bias, &[Some(shape[0])])?;
                }
                conv(shape, weight, c, *groups)?;
                Shape { channels: shape[0], ..x }.shrink(lengths(*stride)?)
            }
            Op::Iconv { weight, bias, multiplier, shift, stride, groups } => {
                let (shape, w) = integers(self.tensors, weight, &[None; 5])?;
                let (_, b) = integers(self.tensors, bias, &[Some(shape[0])])?;
                let (_, m) = integers(self.tensors, multiplier, &[Some(shape[0])])?;
                if !(1..=46).contains(shift) || m.iter().any(|m| !(0..=1 << 30).contains(m)) {
                    return Err(bad("a multiplier or shift is out of range"));
                }
                conv(shape, weight, c, *groups)?;
                let most = |(b, w): (&i32, &[i32])| {
                    i64::from(*b).abs() + w.iter().map(|w| i64::from(*w).abs()).sum::<i64>() * i64::from(LIMIT)
                };
                if b.iter().zip(w.chunks(w.len() / shape[0])).map(most).any(|m| m >= 1 << 31) {
                    return Err(bad(format!("sums of {weight:?} may exceed 32 bits")));
                }
                Shape { channels: shape[0], ..x }.shrink(lengths(*stride)?)
            }
            Op::Shuffle { factor } => {
                let n = lengths(*factor)?.iter().product();
                if !c.is_multiple_of(n) {
                    return Err(bad(format!("{c} channels cannot be shuffled by {factor:?}")));
                }
                Shape { channels: c / n, ..x }.grow(*factor)
            }
            Op::Unshuffle { factor } => {
                let n: usize = lengths(*factor)?.iter().product();
                Shape { channels: c * n, ..x }.shrink(*factor)
            }
            Op::Gdn { beta, gamma, .. } => {
                let (_, b) = reals(self.tensors, beta, &[Some(c)])?;
                let (_, g) = reals(self.tensors, gamma, &[Some(c), Some(c)])?;
                if b.iter().any(|b| *b <= 0.0) || g.iter().any(|g| *g < 0.0) {
                    return Err(bad("gdn needs beta > 0 and gamma >= 0"));
                }
                Ok(x)
            }
            Op::Relu => Ok(x),
            Op::LeakyRelu { slope } if (0.0..=1.0).contains(slope) => Ok(x),
            Op::LeakyRelu { .. } => Err(bad("a slope must lie between 0 and 1")),
            Op::Ileaky { shift } if (1..=15).contains(shift) => Ok(x),
            Op::Ileaky { .. } => Err(bad("ileaky needs a shift of 1 to 15")),
            Op::Residual { body } => self.same(body, x, depth),
            Op::Gate { trunk, mask } => {
                self.same(trunk, x, depth)?;
                self.same(mask, x, depth)
            }
            Op::Concat { branches } => {
                let shapes =
                    branches.iter().map(|b| self.graph(b, x, depth + 1).map(|(s, _)| s)).collect::<Result<Vec<_>>>()?;
                let first = *shapes.first().ok_or_else(|| bad("concat needs a branch"))?;
                if shapes.iter().any(|s| (s.up, s.down) != (first.up, first.down)) {
                    return Err(bad("the branches of concat have different lengths"));
                }
                Shape { channels: shapes.iter().map(|s| s.channels).sum(), ..first }.checked()
            }
            Op::Wavelet { inverse: false, .. } => Shape { channels: c * 4, ..x }.shrink([1, 2, 2]),
            Op::Wavelet { .. } if c.is_multiple_of(4) => Shape { channels: c / 4, ..x }.grow([1, 2, 2]),
            Op::Wavelet { .. } => Err(bad(format!("{c} channels are not four bands"))),
            Op::Scale { weight, bias } => {
                reals(self.tensors, weight, &[Some(c)])?;
                if let Some(bias) = bias {
                    reals(self.tensors, bias, &[Some(c)])?;
                }
                Ok(x)
            }
            Op::Side { channels } if *channels == self.side => Shape { channels: c + channels, ..x }.checked(),
            Op::Side { channels } => Err(bad(format!("side asks for {channels} inputs, the card lists {}", self.side))),
        }
    }

    fn same(&mut self, body: &[Op], x: Shape, depth: usize) -> Result<Shape> {
        match self.graph(body, x, depth + 1)?.0 {
            y if y == x => Ok(x),
            _ => Err(bad("the body must keep the shape")),
        }
    }
}

fn conv(weight: &[usize], name: &str, c: usize, groups: usize) -> Result<()> {
    let fits = groups > 0
        && c.is_multiple_of(groups)
        && weight[0].is_multiple_of(groups)
        && weight[1] == c / groups
        && weight[2..].iter().all(|k| k % 2 == 1 && *k < LONGEST);
    if fits {
        return Ok(());
    }
    Err(bad(format!(
        "tensor {name:?} of shape {weight:?} does not fit {c} channels in {groups} groups; kernels have odd lengths"
    )))
}

fn lengths(factor: [usize; 3]) -> Result<[usize; 3]> {
    if factor.iter().all(|f| (1..=LONGEST).contains(f)) {
        return Ok(factor);
    }
    Err(bad(format!("a stride or factor must be 1 to {LONGEST}, not {factor:?}")))
}

fn lcm(a: usize, b: usize) -> usize {
    a / gcd(a, b) * b
}
