//! The bytes behind `/bytes/N`: the same for every backend, and known at every offset, so that a client can check a
//! download byte by byte, or its hash, without having seen it before.

/// Bytes in one word of the stream.
const WORD: usize = 8;

/// Fills `chunk` with the stream's bytes from `offset` on.
pub fn body_chunk(offset: u64, chunk: &mut [u8]) {
    let skip = usize::try_from(offset % WORD as u64).unwrap_or_default();
    let mut index = offset / WORD as u64;
    let (first, rest) = chunk.split_at_mut(chunk.len().min(WORD - skip));
    for (byte, value) in first.iter_mut().zip(word(index).into_iter().skip(skip)) {
        *byte = value;
    }
    for part in rest.chunks_mut(WORD) {
        index = index.wrapping_add(1);
        for (byte, value) in part.iter_mut().zip(word(index)) {
            *byte = value;
        }
    }
}

/// One word: the counter, scattered by the finaliser of `SplitMix64`. No state, hence any offset at the same price.
fn word(index: u64) -> [u8; WORD] {
    let mixed = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stream_begins_as_it_always_did() {
        let mut bytes = [0; 8];
        body_chunk(0, &mut bytes);
        // The first number of SplitMix64 with seed 0.
        assert_eq!(u64::from_le_bytes(bytes), 0xe220_a839_7b1d_cdaf);
    }

    proptest! {
        #[test]
        fn a_chunk_is_a_window_on_one_stream(offset in 0usize..100, length in 0usize..100) {
            let mut whole = [0; 256];
            body_chunk(0, &mut whole);
            let mut chunk = vec![0; length];
            body_chunk(offset as u64, &mut chunk);
            prop_assert_eq!(&chunk[..], &whole[offset..offset + length]);
        }
    }
}
