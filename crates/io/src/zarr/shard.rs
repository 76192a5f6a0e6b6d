//! A shard's bytes: payloads, then an index of where each lies, then the index's checksum (`sharding_indexed` of Zarr v3, the index at
//! the end, as `bytes` and `crc32c`).

use std::ops::Range;

/// Offset and length of a chunk that is absent.
const ABSENT: [u64; 2] = [u64::MAX; 2];

/// The index of a shard, with its checksum.
pub(super) fn index_bytes(index: &[[u64; 2]]) -> Vec<u8> {
    let mut bytes: Vec<u8> = index.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// A whole shard. Chunks are in C order of the shard, `None` for what lies outside of the array.
pub fn assemble<P: AsRef<[u8]>>(chunks: &[Option<P>]) -> Vec<u8> {
    let (mut bytes, mut index) = (Vec::new(), Vec::with_capacity(chunks.len()));
    for payload in chunks {
        index.push(payload.as_ref().map_or(ABSENT, |p| [bytes.len() as u64, p.as_ref().len() as u64]));
        bytes.extend(payload.iter().flat_map(AsRef::as_ref));
    }
    bytes.extend(index_bytes(&index));
    bytes
}

/// Where the payloads of a shard of `n` chunks lie; `None` if the index is damaged.
pub fn disassemble(shard: &[u8], n: usize) -> Option<Vec<Option<Range<usize>>>> {
    let at = shard.len().checked_sub(n.checked_mul(16)?.checked_add(4)?)?;
    let (index, crc) = shard[at..].split_last_chunk::<4>()?;
    if crc32c::crc32c(index) != u32::from_le_bytes(*crc) {
        return None;
    }
    let range = |entry: &[[u8; 8]; 2]| match entry.map(u64::from_le_bytes) {
        ABSENT => Some(None),
        [offset, len] => {
            let end = offset.checked_add(len).filter(|end| *end <= at as u64)?;
            Some(Some(offset as usize..end as usize))
        }
    };
    index.as_chunks::<8>().0.as_chunks::<2>().0.iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_damage_is_seen() {
        let chunks = [Some(vec![1u8, 2, 3]), None, Some(vec![]), Some(vec![4])];
        let mut shard = assemble(&chunks);
        assert_eq!(disassemble(&shard, 4), Some(vec![Some(0..3), None, Some(3..3), Some(3..4)]));
        assert_eq!(disassemble(&shard, 3), None);
        assert_eq!(disassemble(&shard[1..], 5), None);
        assert_eq!(disassemble(&shard, usize::MAX), None);
        shard[7] ^= 1;
        assert_eq!(disassemble(&shard, 4), None);
    }

    #[test]
    fn no_payload_reaches_into_the_index() {
        let bytes = index_bytes(&[[0, 1]]);
        assert_eq!(disassemble(&bytes, 1), None);
    }
}
