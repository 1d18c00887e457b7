//! Words as numbers: equal words have equal numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Numbers by word.
pub type Numbers<'a> = HashMap<&'a str, u32, BuildHasherDefault<Fast>>;

/// The numbers of words, from 1 in the order in which words are met.
pub fn number<'a>(words: impl Iterator<Item = &'a str>, known: &mut Numbers<'a>) -> Vec<u32> {
    let mut number = |word| {
        let next = known.len() as u32 + 1;
        *known.entry(word).or_insert(next)
    };
    words.map(&mut number).collect()
}

/// A hash for short texts; unlike the standard library's it does not guard against words that were chosen to collide.
#[derive(Default)]
pub struct Fast(u64);

impl Hasher for Fast {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let product = u128::from(self.0 ^ u64::from_le_bytes(word) ^ 0xf39c_c060_5ced_c835) * 0x9e37_79b9_7f4a_7c15;
            self.0 = (product >> 64) as u64 ^ product as u64;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_have_equal_numbers() {
        let mut known = Numbers::default();
        assert_eq!(number("a b a longer_than_eight".split(' '), &mut known), [1, 2, 1, 3]);
        assert_eq!(number("c longer_than_eight longer_than_nine b".split(' '), &mut known), [4, 3, 5, 2]);
    }
}
