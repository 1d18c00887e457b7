//! The n-grams of all items, found by hash: a bitmap that almost every n-gram of a document fails, then a sorted table.

use super::evaluation::Items;

const FACTOR: u64 = 0x9ddf_ea08_eb38_2d69;

/// Calls `visit` with the place and the hash of every run of `n` words.
pub fn ngrams(words: &[u64], n: usize, mut visit: impl FnMut(usize, u64)) {
    if words.len() < n {
        return;
    }
    let leaving = (0..n).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
    let mut rolling = words[..n].iter().fold(0_u64, |hash, word| hash.wrapping_mul(FACTOR).wrapping_add(*word));
    visit(0, spread(rolling));
    for (at, (gone, word)) in words.iter().zip(&words[n..]).enumerate() {
        rolling = rolling.wrapping_mul(FACTOR).wrapping_add(*word).wrapping_sub(gone.wrapping_mul(leaving));
        visit(at + 1, spread(rolling));
    }
}

fn spread(hash: u64) -> u64 {
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where an n-gram stands first in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    pub piece: u32,
    pub position: u32,
}

/// Hashes of n-grams with the pieces that hold them, each piece once.
pub struct Table {
    bitmap: Vec<u64>,
    bitmap_shift: u32,
    /// Bounds in `hashes` of those that share their highest bits.
    buckets: Vec<u32>,
    bucket_shift: u32,
    hashes: Vec<u64>,
    starts: Vec<u32>,
    postings: Vec<Posting>,
}

impl Table {
    pub fn new(mut entries: Vec<(u64, Posting)>) -> Table {
        entries.sort_unstable();
        entries.dedup_by_key(|(hash, posting)| (*hash, posting.piece));
        let mut hashes: Vec<u64> = Vec::new();
        let mut starts = Vec::new();
        for (at, (hash, _)) in entries.iter().enumerate() {
            if hashes.last() != Some(hash) {
                hashes.push(*hash);
                starts.push(at as u32);
            }
        }
        starts.push(entries.len() as u32);
        // 16 bits a hash: 6 of 100 other n-grams pass the bitmap.
        let bits = (hashes.len() * 16).next_power_of_two().max(1 << 12).trailing_zeros();
        let bucket_bits = hashes.len().next_power_of_two().max(2).trailing_zeros();
        let mut bitmap = vec![0; 1 << (bits - 6)];
        let mut buckets = vec![0; (1 << bucket_bits) + 1];
        for hash in &hashes {
            let bit = hash >> (64 - bits);
            bitmap[(bit >> 6) as usize] |= 1 << (bit & 63);
            buckets[(hash >> (64 - bucket_bits)) as usize + 1] += 1;
        }
        for at in 1..buckets.len() {
            buckets[at] += buckets[at - 1];
        }
        let postings = entries.into_iter().map(|(_, posting)| posting).collect();
        Table { bitmap, bitmap_shift: 64 - bits, buckets, bucket_shift: 64 - bucket_bits, hashes, starts, postings }
    }

    /// The number of an n-gram of the items.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<u32> {
        let bit = hash >> self.bitmap_shift;
        if self.bitmap[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return None;
        }
        let bucket = (hash >> self.bucket_shift) as usize;
        (self.buckets[bucket]..self.buckets[bucket + 1]).find(|at| self.hashes[*at as usize] == hash)
    }

    /// The pieces with an n-gram, ascending.
    pub fn postings(&self, gram: u32) -> &[Posting] {
        &self.postings[self.starts[gram as usize] as usize..self.starts[gram as usize + 1] as usize]
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Calls `visit` with every n-gram and its pieces.
    pub fn each(&self, mut visit: impl FnMut(u32, &[Posting])) {
        (0..self.hashes.len() as u32).for_each(|gram| visit(gram, self.postings(gram)));
    }
}

/// All items by their n-grams, and the short ones by their first words.
pub struct Index {
    pub items: Items,
    pub ngram: usize,
    pub table: Table,
    /// Pieces of fewer than `whole_below` words: found only as a whole, by their first `short` words.
    pub shorts: Table,
    pub short: usize,
    whole_below: u32,
    /// N-grams of each piece; 1 for a short piece, 0 for one that is not searched.
    pub grams: Vec<u32>,
    /// The sum over the pieces of each item.
    pub item_grams: Vec<u32>,
}

impl Index {
    /// Pieces of fewer than `words_min` words are not searched, those of fewer than `whole_below` only as a whole.
    pub fn new(items: Items, ngram: usize, whole_below: usize, words_min: usize) -> Index {
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for (number, piece) in items.pieces.iter().enumerate() {
            let words = items.words_of(piece);
            let posting = |position: usize| Posting { piece: number as u32, position: position as u32 };
            if words.len() >= words_min && words.len() < whole_below {
                ngrams(&words[..words_min], words_min, |_, hash| short.push((hash, posting(0))));
            }
            ngrams(words, ngram, |position, hash| long.push((hash, posting(position))));
        }
        let (table, shorts) = (Table::new(long), Table::new(short));
        let mut grams = vec![0; items.pieces.len()];
        table.each(|_, postings| postings.iter().for_each(|posting| grams[posting.piece as usize] += 1));
        for (grams, piece) in grams.iter_mut().zip(&items.pieces) {
            if (piece.words as usize) < words_min {
                *grams = 0;
            } else if (piece.words as usize) < whole_below {
                *grams = 1;
            }
        }
        let mut item_grams = vec![0; items.items.len()];
        items.pieces.iter().zip(&grams).for_each(|(piece, grams)| item_grams[piece.item as usize] += grams);
        Index { items, ngram, table, shorts, short: words_min, whole_below: whole_below as u32, grams, item_grams }
    }

    /// Whether a piece counts only as a whole.
    pub fn is_short(&self, piece: u32) -> bool {
        self.items.pieces[piece as usize].words < self.whole_below
    }

    /// The short pieces that stand as a whole in `words`, with their places.
    pub fn whole(&self, words: &[u64], mut visit: impl FnMut(usize, u32)) {
        if self.shorts.is_empty() {
            return;
        }
        ngrams(words, self.short, |at, hash| {
            for posting in self.shorts.find(hash).map_or(&[][..], |gram| self.shorts.postings(gram)) {
                let piece = &self.items.pieces[posting.piece as usize];
                if words[at..].starts_with(self.items.words_of(piece)) {
                    visit(at, posting.piece);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ngrams_depend_on_their_words_alone() {
        let words = [1, 2, 3, 9, 1, 2, 3];
        let mut hashes = Vec::new();
        ngrams(&words, 3, |at, hash| hashes.push((at, hash)));
        assert_eq!(hashes.len(), 5);
        assert_eq!(hashes[0].1, hashes[4].1);
        assert_eq!((1..4).filter(|at| hashes[*at].1 == hashes[0].1).count(), 0);
        ngrams(&words[..2], 3, |_, _| panic!("too few words"));
    }

    #[test]
    fn a_table_finds_its_hashes_and_no_others() {
        let hash = |n: u64| spread(n * 7 + 1);
        let entry = |n: u64, piece: u32, position: u32| (hash(n), Posting { piece, position });
        let entries = (0..5000).map(|n| entry(n, n as u32 % 7, 3)).chain([entry(4, 4, 1), entry(4, 6, 0)]).collect();
        let table = Table::new(entries);
        for n in 0..5000 {
            let gram = table.find(hash(n)).unwrap();
            assert_eq!(table.postings(gram)[0].piece, n as u32 % 7);
        }
        let four = table.find(hash(4)).unwrap();
        assert_eq!(table.postings(four), [Posting { piece: 4, position: 1 }, Posting { piece: 6, position: 0 }]);
        assert!((5000..20_000).all(|n| table.find(hash(n)).is_none()));
        assert!(Table::new(Vec::new()).find(7).is_none());
    }
}
