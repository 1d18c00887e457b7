//! MinHash signatures and their bands (Broder 1997), over the hashes of n-grams of words or characters.
//!
//! Pure functions. A permutation is `a·x + b mod 2^32` with odd `a` over the upper half of the 64-bit hash, so that it fits vector
//! instructions; the constants are fixed for all time, so that signatures of different runs can be compared.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Permutations worked on at once: two 256-bit registers.
const LANES: usize = 16;

/// Sorted, unique hashes of all runs of `ngram` units (hashes of words, or characters); fewer units give one shingle of all, and none give none.
pub fn shingles(units: &[u64], ngram: usize, shingles: &mut Vec<u64>) {
    shingles.clear();
    if units.is_empty() {
        return;
    }
    // A polynomial over the units, rolled from one n-gram to the next, then mixed: its low bits alone would not do.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let ngram = ngram.min(units.len());
    let top = (1..ngram).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let mut rolled = units[..ngram].iter().fold(0_u64, |sum, unit| sum.wrapping_mul(BASE).wrapping_add(*unit));
    shingles.push(mix(rolled));
    for (leaving, entering) in units.iter().zip(&units[ngram..]) {
        rolled = rolled.wrapping_sub(leaving.wrapping_mul(top)).wrapping_mul(BASE).wrapping_add(*entering);
        shingles.push(mix(rolled));
    }
    shingles.sort_unstable();
    shingles.dedup();
}

/// The words of a normal text as units.
pub fn word_units(normal: &str, units: &mut Vec<u64>) {
    units.clear();
    let bytes = normal.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if bytes.get(end).is_none_or(|byte| *byte == b' ') {
            // Letters and digits between spaces are one word: the usual case needs no segmenter.
            units.extend((end > at).then(|| xxh3_64(&bytes[at..end])));
            at = end + 1;
            continue;
        }
        let end = end + memchr::memchr(b' ', &bytes[end..]).unwrap_or(bytes.len() - end);
        units.extend(text::words(&normal[at..end]).map(|word| xxh3_64(word.as_bytes())));
        at = end + 1;
    }
}

/// The characters of a normal text as units: plain small numbers would cancel out in a polynomial of few terms.
pub fn character_units(normal: &str, units: &mut Vec<u64>) {
    units.clear();
    units.extend(normal.chars().map(|c| mix(u64::from(c) + 1)));
}

/// The finalizer of MurmurHash3.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A hash of the whole set: equal sets of shingles, equal hashes.
pub fn set_hash(shingles: &[u64]) -> u128 {
    let bytes: Vec<u8> = shingles.iter().flat_map(|shingle| shingle.to_le_bytes()).collect();
    xxh3_128(&bytes)
}

/// Shared elements divided by all elements of two sorted sets. Two empty sets are equal.
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let shared = shared(a, b);
    ratio(shared, a.len() + b.len() - shared)
}

/// Shared elements divided by those of the smaller of two sorted sets.
pub fn containment(a: &[u64], b: &[u64]) -> f64 {
    ratio(shared(a, b), a.len().min(b.len()))
}

fn ratio(shared: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { shared as f64 / all as f64 }
}

fn shared(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        // Without branches on the comparison: which side is smaller cannot be predicted.
        let (x, y) = (a[i], b[j]);
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared
}

/// `bands` groups of `rows` permutations.
pub struct MinHash {
    bands: usize,
    rows: usize,
    multipliers: Vec<[u32; LANES]>,
    increments: Vec<[u32; LANES]>,
}

impl MinHash {
    pub fn new(bands: usize, rows: usize) -> MinHash {
        let chunks = (bands * rows).div_ceil(LANES);
        let mut state = 0_u64;
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 32) as u32
        };
        let multipliers = (0..chunks).map(|_| std::array::from_fn(|_| next() | 1)).collect();
        let increments = (0..chunks).map(|_| std::array::from_fn(|_| next())).collect();
        MinHash { bands, rows, multipliers, increments }
    }

    /// The hash of every band: equal where all `rows` minima of the band are equal.
    pub fn bands(&self, shingles: &[u64], bands: &mut Vec<u64>) {
        let mut signature = [[0; LANES]; 64];
        let signature = &mut signature[..self.multipliers.len()];
        self.signature(shingles, signature);
        let minima = signature.as_flattened();
        bands.clear();
        bands.extend(
            minima
                .chunks_exact(self.rows)
                .take(self.bands)
                .enumerate()
                .map(|(band, rows)| rows.iter().fold(mix(band as u64 + 1), |hash, minimum| mix(hash ^ u64::from(*minimum)))),
        );
    }

    /// The same integers with and without AVX2; only the speed differs.
    fn signature(&self, shingles: &[u64], signature: &mut [[u32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as just checked.
            return unsafe { self.signature_avx2(shingles, signature) };
        }
        self.signature_any(shingles, signature);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn signature_avx2(&self, shingles: &[u64], signature: &mut [[u32; LANES]]) {
        self.signature_any(shingles, signature);
    }

    #[inline(always)]
    fn signature_any(&self, shingles: &[u64], signature: &mut [[u32; LANES]]) {
        for ((minima, a), b) in signature.iter_mut().zip(&self.multipliers).zip(&self.increments) {
            let mut least = [u32::MAX; LANES];
            for shingle in shingles {
                let x = (shingle >> 32) as u32;
                for lane in 0..LANES {
                    least[lane] = least[lane].min(a[lane].wrapping_mul(x).wrapping_add(b[lane]));
                }
            }
            *minima = least;
        }
    }
}

/// The most permutations that [`MinHash::bands`] has room for.
pub const PERMUTATIONS_MAX: usize = 64 * LANES;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str, ngram: usize) -> Vec<u64> {
        let (mut units, mut set) = (Vec::new(), Vec::new());
        word_units(text, &mut units);
        shingles(&units, ngram, &mut set);
        set
    }

    fn characters(text: &str, ngram: usize) -> Vec<u64> {
        let (mut units, mut set) = (Vec::new(), Vec::new());
        character_units(text, &mut units);
        shingles(&units, ngram, &mut set);
        set
    }

    #[test]
    fn shingles_are_sets_of_ngrams() {
        assert_eq!(set("", 5).len(), 0);
        assert_eq!(set("one two", 5).len(), 1);
        assert_eq!(set("a b c d e f", 5).len(), 2);
        assert_eq!(set("a b a b a b a b", 2).len(), 2);
        assert_eq!(set("中文也有词", 2).len(), 4);
        assert_eq!(jaccard(&set("a b c d", 2), &set("x a b c", 2)), 0.5);
        assert_eq!(containment(&set("a b c d", 2), &set("x a b c y z a", 2)), 2.0 / 3.0);
        assert_eq!(containment(&set("", 2), &set("x a", 2)), 1.0);
        // A rolled n-gram is the same wherever it stands.
        assert!(set("p q a b c d e", 5).iter().any(|shingle| set("a b c d e z", 5).contains(shingle)));
        assert_eq!(characters("abcabc", 3).len(), 3);
        assert_eq!(characters("中文", 13).len(), 1);
        assert_eq!(jaccard(&characters("abcd", 2), &characters("xbcd", 2)), 0.5);
    }

    #[test]
    fn vector_and_plain_signatures_agree() {
        let minhash = MinHash::new(14, 8);
        let shingles: Vec<u64> = (0..300).map(|n| mix(n + 1)).collect();
        let (mut fast, mut plain) = (vec![[0; LANES]; 7], vec![[0; LANES]; 7]);
        minhash.signature(&shingles, &mut fast);
        minhash.signature_any(&shingles, &mut plain);
        assert_eq!(fast, plain);
    }

    #[test]
    fn minima_estimate_the_jaccard() {
        let minhash = MinHash::new(125, 8);
        for overlap in [200_u64, 600, 900] {
            let a: Vec<u64> = (0..1000).map(|n| mix(n + 1)).collect();
            let b: Vec<u64> = (1000 - overlap..2000 - overlap).map(|n| mix(n + 1)).collect();
            let (mut x, mut y) = (vec![[0; LANES]; 63], vec![[0; LANES]; 63]);
            minhash.signature(&a, &mut x);
            minhash.signature(&b, &mut y);
            let equal = x.as_flattened().iter().zip(y.as_flattened()).filter(|(x, y)| x == y).count() as f64 / 1008.0;
            let expected = overlap as f64 / (2000 - overlap) as f64;
            assert!((equal - expected).abs() < 0.05, "{equal} {expected}");
        }
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_text_crate(text in "([a-z0-9]{1,4}| |[-.'_中é\n\u{301}]){0,20}") {
            let mut units = Vec::new();
            word_units(&text, &mut units);
            prop_assert_eq!(units, text::words(&text).map(|word| xxh3_64(word.as_bytes())).collect::<Vec<_>>());
        }

        #[test]
        fn jaccard_equals_its_definition(a in proptest::collection::btree_set(0..40_u64, 0..20), b in proptest::collection::btree_set(0..40_u64, 0..20)) {
            let expected = if a.is_empty() && b.is_empty() { 1.0 } else { a.intersection(&b).count() as f64 / a.union(&b).count() as f64 };
            let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
            prop_assert_eq!(jaccard(&a, &b), expected);
        }
    }
}
