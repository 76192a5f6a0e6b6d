//! The paper's two methods as such: the bytes of the factors, without the product's choice of a lossless payload where that is smaller.

use anyhow::{Context, Result, bail};
use lithify_codec::bits::Reader;
use lithify_codec::transform::tensor::hgfdr::{BlockRank, block_ranks};
use lithify_codec::transform::{Block, Goal, Stage};
use lithify_codec::{Codec, Region};

use crate::cost::measured;
use crate::field::Field;
use crate::peers::Outcome;

/// Adaptive-HGFDR in `blocks` blocks, each meeting the relative error `e` with the smallest rank that does.
pub fn adaptive(field: &Field, blocks: usize, e: f64) -> Result<(Outcome, Vec<BlockRank>)> {
    run(field, "hgfdr", &format!("hgfdr,blocks={blocks}"), Goal::Relative(e))
}

/// Blocked-HGFDR: `rank` in all of `blocks` blocks, whatever the error.
pub fn blocked(field: &Field, blocks: usize, rank: usize) -> Result<Outcome> {
    let codec = format!("hgfdr-blocked,blocks={blocks},rank={rank},enforce=0");
    let (outcome, _) = run(field, "hgfdr-blocked", &codec, Goal::Relative(0.5))?;
    Ok(Outcome { knob: rank as f64, ..outcome })
}

/// Blocked-HGFDR with the smallest rank that meets the relative error `e` over the field.
pub fn blocked_to(field: &Field, blocks: usize, e: f64) -> Result<Outcome> {
    let (mut below, mut meets) = (0, None::<Outcome>);
    let mut rank = 1;
    loop {
        let o = blocked(field, blocks, rank)?;
        if o.l2 <= e {
            meets = Some(o);
        } else {
            below = rank;
        }
        rank = match &meets {
            Some(m) if m.knob as usize - below <= 1 => break,
            Some(m) => (below + m.knob as usize) / 2,
            None if rank > 4096 => break,
            None => 2 * rank,
        };
    }
    meets.with_context(|| format!("hgfdr-blocked meets {e:e} on {} with no rank", field.label))
}

/// Mean rank of the blocks, rounded. A block that Adaptive-HGFDR stores as it is, because no rank that meets the error is smaller,
/// counts with the first rank at which the factors outgrow the samples.
pub fn mean_rank(ranks: &[BlockRank]) -> usize {
    let sum: usize = ranks.iter().map(|b| b.rank.unwrap_or_else(|| outgrown(&b.region.count))).sum();
    ((sum as f64 / ranks.len() as f64).round() as usize).max(1)
}

/// Smallest rank with `r (I + J + K) + r^3 + r^2 >= I J K`, as the paper counts.
fn outgrown(shape: &[usize]) -> usize {
    let samples: usize = shape.iter().product();
    let sides: usize = shape.iter().sum();
    (1..).find(|r| r * sides + r.pow(3) + r.pow(2) >= samples).unwrap_or(1)
}

fn run(field: &Field, name: &str, codec: &str, goal: Goal) -> Result<(Outcome, Vec<BlockRank>)> {
    let Codec::Transform(stage, params) = codec.parse()? else { bail!("{codec} is no transform") };
    let x = field.values.iter().map(|v| f64::from(*v)).collect();
    let encode = || (stage.make)(&params).analyse(x, Block::new(&field.shape))?.encode(goal);
    let (encoded, encode_cost) = measured(encode);
    let body = encoded.with_context(|| codec.to_owned())?.0;
    let (decoded, decode_cost) = measured(|| decode(stage, &body, &field.shape));
    let ranks = block_ranks(&body, &field.shape)?;
    let bytes = body.len() + field.mask_bytes;
    Ok((Outcome::judge(field, (name, ""), 0.0, bytes, (encode_cost, decode_cost), decoded?), ranks))
}

fn decode(stage: &Stage, body: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
    let transform = (stage.make)(&stage.decode_params());
    let x = transform.decode(&mut Reader::new(body, "factors"), Block::new(shape), &Region::all(shape))?;
    Ok(x.into_iter().map(|v| v as f32).collect())
}
