//! Sequences of tokens as numbers that two texts agree on.

/// An n-gram of tokens that are numbers of some bits, from the left; 0 fills orders below the highest.
pub type Ngram = u128;

/// All n-grams up to an order, of tokens that are numbers from 1 and of fewer than 2^`BITS`; with their counts, sorted.
pub fn counted<const ORDER: usize, const BITS: usize>(tokens: &[u32]) -> Vec<(Ngram, u32)> {
    const { assert!(ORDER * BITS <= 128) };
    let place = |token: &u32, place: usize| Ngram::from(*token) << (BITS * (ORDER - 1 - place));
    let longest = |first: usize| {
        let tokens = &tokens[first..tokens.len().min(first + ORDER)];
        (tokens.iter().enumerate().fold(0, |ngram, (index, token)| ngram | place(token, index)), tokens.len())
    };
    let mut sorted: Vec<(Ngram, usize)> = (0..tokens.len()).map(longest).collect();
    // What begins alike stands together, so that sorting the longest is enough.
    sorted.sort_unstable();
    let mut ngrams: Vec<(Ngram, u32)> = Vec::with_capacity(ORDER * tokens.len());
    let (mut before, mut at) = (0, [0; ORDER]);
    for (ngram, length) in sorted {
        let shared = ((ngram ^ before).leading_zeros() as usize - (128 - ORDER * BITS)) / BITS;
        for order in 0..length {
            if order < shared {
                ngrams[at[order]].1 += 1;
            } else {
                at[order] = ngrams.len();
                ngrams.push((ngram >> (BITS * (ORDER - 1 - order)) << (BITS * (ORDER - 1 - order)), 1));
            }
        }
        before = ngram;
    }
    ngrams
}

/// How many tokens an n-gram of [`counted`] has.
pub fn order<const ORDER: usize, const BITS: usize>(ngram: Ngram) -> usize {
    ORDER - ngram.trailing_zeros() as usize / BITS
}

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
    fn counts_ngrams_of_all_orders() {
        check::<3, 40>(&[1, 2, 1, 2, 1]);
        check::<4, 32>(&[7, 7, 7, 7, 7, 7, u32::MAX, 7]);
        check::<6, 21>(&[1 << 20, 1, 1 << 20, 1, 2, 1 << 20]);
        check::<6, 21>(&[]);
    }

    fn check<const ORDER: usize, const BITS: usize>(tokens: &[u32]) {
        let mut expected = std::collections::BTreeMap::new();
        for order in 1..=ORDER {
            for window in tokens.windows(order) {
                let ngram = window.iter().fold(0, |ngram, token| ngram << BITS | Ngram::from(*token)) << (BITS * (ORDER - order));
                expected.entry(ngram).or_insert((order, 0)).1 += 1;
            }
        }
        let found: Vec<_> =
            counted::<ORDER, BITS>(tokens).into_iter().map(|(ngram, count)| (ngram, (order::<ORDER, BITS>(ngram), count))).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn ends_of_tokens_count_and_repetitions_are_clipped() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        let (a, b) = (sorted(&["x", "y", "x", "z"], 1), sorted(&["x", "x", "x", "y"], 1));
        assert_eq!((common(&a, &b), common(&b, &a), common(&a, &[])), (3, 3, 0));
    }
}
