//! Sequences of tokens as numbers that two texts agree on.

/// 128 bits for a sequence of tokens: FNV-1a over them and their ends.
pub fn hash(tokens: &[&str]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    // 0xff is no byte of UTF-8.
    let bytes = tokens.iter().flat_map(|token| token.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// All sequences of a length, sorted.
pub fn sorted(tokens: &[&str], order: usize) -> Vec<u128> {
    let mut ngrams: Vec<u128> = tokens.windows(order).map(hash).collect();
    ngrams.sort_unstable();
    ngrams
}

/// How many of two sorted lists are in both, each as often as in the list that has fewer.
pub fn common(a: &[u128], b: &[u128]) -> u64 {
    let (mut a, mut b, mut same) = (a.iter().peekable(), b.iter().peekable(), 0);
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        match left.cmp(right) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                same += 1;
                a.next();
                b.next();
            }
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_tokens_count_and_repetitions_are_clipped() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        let (a, b) = (sorted(&["x", "y", "x", "z"], 1), sorted(&["x", "x", "x", "y"], 1));
        assert_eq!((common(&a, &b), common(&b, &a), common(&a, &[])), (3, 3, 0));
    }
}
