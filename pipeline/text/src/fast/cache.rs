//! Pieces of text that one thread remembers with their tokens: a hash table of bounded size that allocates nothing per piece or token.

use anyhow::Result;

/// Pieces of up to this many bytes are their own key.
const SHORT: usize = 15;

/// Longer pieces come once and are not remembered.
const LONGEST: usize = 255;

/// Buckets of 64 bytes.
const BUCKETS_MIN: usize = 1 << 11;
const BUCKETS_MAX: usize = 1 << 17;

/// When this many tokens or bytes lie outside of the slots, everything is forgotten.
const OUTSIDE_MAX: usize = 1 << 20;

/// In place of the length of a short piece: a long one, whose bytes lie in `bytes`.
const LONG: u128 = 0xff << 120;

const INLINE: usize = 3;

/// Pieces looked up together.
const BATCH: usize = 32;

/// One cache line: a piece lies in either slot of the bucket that its hash names, so that a look-up is one read.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([Slot; 2]);

#[derive(Clone, Copy, Default)]
struct Slot {
    /// A short piece: its bytes and, in the highest byte, its length. A long one: its hash (64 bits), place in `bytes` (32), length (8), [`LONG`].
    /// 0: nothing.
    key: u128,
    /// The tokens, or the place of the first in `tokens`.
    ids: [u32; INLINE],
    count: u32,
}

/// The pieces; empty at first, then grows with what it holds up to 8 MB of buckets.
pub(super) struct Cache {
    /// A power of two.
    buckets: Vec<Bucket>,
    used: usize,
    tokens: Vec<u32>,
    bytes: Vec<u8>,
}

/// What is looked up.
#[derive(Clone, Copy, Default)]
struct Key {
    key: u128,
    hash: u64,
}

/// Pieces that are looked up together, so that the waits for their buckets overlap.
pub(super) struct Batch {
    ranges: [(u32, u32); BATCH],
    keys: [Key; BATCH],
    filled: usize,
    /// Of a piece that was not known.
    tokens: Vec<u32>,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch { ranges: [(0, 0); BATCH], keys: [Key::default(); BATCH], filled: 0, tokens: Vec::new() }
    }

    /// Adds the piece `text[start..end]`; true when the batch is full.
    #[inline(always)]
    pub(super) fn push(&mut self, cache: &Cache, text: &[u8], start: usize, end: usize) -> bool {
        let at = self.filled % BATCH;
        self.ranges[at] = (start as u32, end as u32);
        self.keys[at] = if end - start <= SHORT { Key::short(text, start, end) } else { Key::long(&text[start..end]) };
        cache.fetch(self.keys[at].hash);
        self.filled = at + 1;
        self.filled == BATCH
    }

    /// Appends the tokens of all pieces in order and empties the batch; `encode` appends those of a piece that is not known to its vector.
    #[inline(always)]
    pub(super) fn write(
        &mut self,
        cache: &mut Cache,
        text: &[u8],
        out: &mut Out,
        mut encode: impl FnMut(usize, usize, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        let filled = std::mem::take(&mut self.filled);
        for (key, (start, end)) in self.keys[..filled].iter().zip(&self.ranges) {
            let (start, end) = (*start as usize, *end as usize);
            match cache.find(key, text, start, end) {
                Some(slot) => cache.write(slot, out),
                None => {
                    self.tokens.clear();
                    encode(start, end, &mut self.tokens)?;
                    cache.insert(*key, &text[start..end], &self.tokens);
                    out.extend(&self.tokens);
                }
            }
        }
        Ok(())
    }
}

/// Tokens on their way to the caller's vector: written three at a time, counted as many as there are.
pub(super) struct Out<'a> {
    buffer: [u32; 256],
    filled: usize,
    ids: &'a mut Vec<u32>,
}

impl Out<'_> {
    pub(super) fn new(ids: &mut Vec<u32>) -> Out<'_> {
        Out { buffer: [0; 256], filled: 0, ids }
    }

    #[inline(always)]
    fn push_inline(&mut self, ids: &[u32; INLINE], count: usize) {
        if self.filled > self.buffer.len() - INLINE {
            self.flush();
        }
        if let Some(place) = self.buffer.get_mut(self.filled..self.filled + INLINE) {
            place.copy_from_slice(ids);
        }
        self.filled += count;
    }

    fn extend(&mut self, ids: &[u32]) {
        self.flush();
        self.ids.extend_from_slice(ids);
    }

    pub(super) fn flush(&mut self) {
        self.ids.extend_from_slice(&self.buffer[..self.filled]);
        self.filled = 0;
    }
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache { buckets: vec![Bucket::default(); BUCKETS_MIN], used: 0, tokens: Vec::new(), bytes: Vec::new() }
    }

    /// Brings the bucket of a hash near.
    #[inline(always)]
    fn fetch(&self, hash: u64) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch only hints at an address, which is that of a living bucket.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(self.bucket(hash)).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = hash;
    }

    #[inline(always)]
    fn find(&self, key: &Key, text: &[u8], start: usize, end: usize) -> Option<&Slot> {
        let Bucket([first, second]) = self.bucket(key.hash);
        if end - start > SHORT {
            return self.find_long(key, &text[start..end]);
        }
        let slot = if second.key == key.key { second } else { first };
        (slot.key == key.key).then_some(slot)
    }

    fn find_long(&self, key: &Key, piece: &[u8]) -> Option<&Slot> {
        let bytes = |slot: &Slot| &self.bytes[(slot.key >> 64) as u32 as usize..];
        self.bucket(key.hash).0.iter().find(|slot| slot.key & !(0xffff_ffff << 64) == key.key && bytes(slot).starts_with(piece))
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }

    #[inline(always)]
    fn write(&self, slot: &Slot, out: &mut Out) {
        let count = slot.count as usize;
        if count <= INLINE {
            out.push_inline(&slot.ids, count);
        } else {
            let first = slot.ids[0] as usize;
            out.extend(&self.tokens[first..first + count]);
        }
    }

    /// Remembers the tokens of a piece that was not found.
    fn insert(&mut self, Key { mut key, hash }: Key, piece: &[u8], ids: &[u32]) {
        if piece.len() > LONGEST {
            return;
        }
        if self.tokens.len() + ids.len() > OUTSIDE_MAX || self.bytes.len() + piece.len() > OUTSIDE_MAX {
            self.buckets.fill(Bucket::default());
            self.used = 0;
            self.tokens.clear();
            self.bytes.clear();
        }
        if piece.len() > SHORT {
            key |= (self.bytes.len() as u128) << 64;
            self.bytes.extend_from_slice(piece);
        }
        let mut slot = Slot { key, ids: [0; INLINE], count: ids.len() as u32 };
        if ids.len() <= INLINE {
            slot.ids[..ids.len()].copy_from_slice(ids);
        } else {
            slot.ids[0] = self.tokens.len() as u32;
            self.tokens.extend_from_slice(ids);
        }
        if self.used >= self.buckets.len() && self.buckets.len() < BUCKETS_MAX {
            let larger = vec![Bucket::default(); 4 * self.buckets.len()];
            let slots = std::mem::replace(&mut self.buckets, larger).into_iter().flat_map(|bucket| bucket.0);
            self.used = 0;
            slots.filter(|slot| slot.key != 0).for_each(|slot| self.place(slot, home(slot.key)));
        }
        self.place(slot, hash);
    }

    /// What came last lies in the first slot; of the two that lay there, the older one is forgotten.
    fn place(&mut self, slot: Slot, hash: u64) {
        let mask = self.buckets.len() - 1;
        let Bucket(slots) = &mut self.buckets[hash as usize & mask];
        self.used += usize::from(slots[1].key == 0);
        slots[1] = slots[0];
        slots[0] = slot;
    }
}

/// The hash of a key.
#[inline(always)]
fn home(key: u128) -> u64 {
    if key & LONG == LONG { key as u64 } else { mix(key as u64, (key >> 64) as u64) }
}

impl Key {
    #[inline(always)]
    fn short(text: &[u8], start: usize, end: usize) -> Key {
        const MASKS: [u128; SHORT + 1] = {
            let mut masks = [0; SHORT + 1];
            let mut length = 0;
            while length <= SHORT {
                masks[length] = (1 << (8 * length)) - 1;
                length += 1;
            }
            masks
        };
        let length = end - start;
        let bytes = match text[start..].first_chunk::<16>() {
            Some(bytes) => *bytes,
            None => {
                let mut bytes = [0; 16];
                bytes[..length].copy_from_slice(&text[start..end]);
                bytes
            }
        };
        let key = u128::from_le_bytes(bytes) & MASKS[length] | (length as u128) << 120;
        Key { key, hash: home(key) }
    }

    /// What is too long to be remembered has a length that nothing in the table has.
    fn long(piece: &[u8]) -> Key {
        let hash = if piece.len() <= LONGEST { hash_long(piece) } else { 0 };
        Key { key: LONG | (piece.len().min(LONGEST + 1) as u128) << 96 | u128::from(hash), hash }
    }
}

/// The multiplication of wyhash (https://github.com/wangyi-fudan/wyhash), folded.
#[inline(always)]
fn mix(low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ 0xa076_1d64_78bd_642f) * u128::from(high ^ 0xe703_7ed1_a0b4_28db);
    product as u64 ^ (product >> 64) as u64
}

/// At least 16 bytes.
fn hash_long(piece: &[u8]) -> u64 {
    let word = |at: usize| piece[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let last = piece.len() - 16;
    let mut hash = piece.len() as u64;
    for at in (0..last).step_by(16) {
        hash = mix(hash ^ word(at), word(at + 8));
    }
    mix(hash ^ word(last), word(last + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that depend on the piece alone.
    fn tokens(piece: &[u8]) -> Vec<u32> {
        let count = 1 + piece.len() % 5;
        (0..count as u32)
            .map(|index| piece.iter().fold(7, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte) + index)))
            .collect()
    }

    /// The tokens of a text's pieces, and how many pieces were not known.
    fn look_up(cache: &mut Cache, text: &[u8], pieces: &[(usize, usize)]) -> (Vec<u32>, usize) {
        let (mut ids, mut unknown, mut batch) = (Vec::new(), 0, Batch::new());
        let mut out = Out::new(&mut ids);
        for (index, (start, end)) in pieces.iter().enumerate() {
            if batch.push(cache, text, *start, *end) || index + 1 == pieces.len() {
                let encode = |start: usize, end: usize, ids: &mut Vec<u32>| {
                    unknown += 1;
                    ids.extend(tokens(&text[start..end]));
                    Ok(())
                };
                batch.write(cache, text, &mut out, encode).unwrap();
            }
        }
        out.flush();
        (ids, unknown)
    }

    #[test]
    fn what_is_found_is_what_was_put_in() {
        let mut cache = Cache::new();
        let mut found = 0;
        // More pieces than there is room for, short and long, some of them seen again.
        for round in 0..6000u64 {
            let (mut text, mut pieces, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for number in 0..100 {
                let number = if number % 3 == 0 { (7 * round + number) % 1000 } else { 100 * round + number };
                let start = text.len();
                text.extend(format!("{number:0width$}", width = 1 + (number % 29) as usize).into_bytes());
                pieces.push((start, text.len()));
                expected.extend(tokens(&text[start..]));
            }
            let (ids, unknown) = look_up(&mut cache, &text, &pieces);
            assert_eq!(ids, expected);
            found += pieces.len() - unknown;
        }
        assert!(found > 150_000, "{found}");
        assert!(cache.buckets.len() == BUCKETS_MAX && cache.tokens.len() <= OUTSIDE_MAX && cache.bytes.len() <= OUTSIDE_MAX);
    }

    #[test]
    fn pieces_of_bytes_that_are_zero_are_told_apart() {
        let mut cache = Cache::new();
        let text = [0; 300];
        let pieces: Vec<(usize, usize)> = (1..=300).map(|length| (0, length)).collect();
        let expected: Vec<u32> = pieces.iter().flat_map(|(_, end)| tokens(&text[..*end])).collect();
        assert_eq!(look_up(&mut cache, &text, &pieces), (expected.clone(), 300));
        assert_eq!(look_up(&mut cache, &text, &pieces), (expected, 300 - LONGEST));
    }
}
