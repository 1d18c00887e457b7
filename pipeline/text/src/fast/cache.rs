//! Pieces of text that one thread remembers with their tokens: a hash table of bounded size that allocates nothing per piece or token.

/// Pieces of up to this many bytes are their own key.
const SHORT: usize = 15;

/// Longer pieces come once and are not remembered.
const LONGEST: usize = 255;

/// Slots of 32 bytes; half of them are used at most.
const SLOTS_MIN: usize = 1 << 12;
const SLOTS_MAX: usize = 1 << 18;

/// When this many tokens or bytes lie outside of the slots, everything is forgotten.
const OUTSIDE_MAX: usize = 1 << 20;

/// In place of the length of a short piece: a long one, whose bytes lie in `bytes`.
const LONG: u128 = 0xff << 120;

const INLINE: usize = 3;

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    /// A short piece: its bytes and, in the highest byte, its length. A long one: its hash (64 bits), place in `bytes` (32), length (8), [`LONG`].
    /// 0: nothing.
    key: u128,
    /// The tokens, or the place of the first in `tokens`.
    ids: [u32; INLINE],
    count: u32,
}

/// The pieces; empty at first, then grows with what it holds up to 8 MB of slots.
pub(super) struct Cache {
    /// A power of two.
    slots: Vec<Slot>,
    used: usize,
    tokens: Vec<u32>,
    bytes: Vec<u8>,
}

/// What is looked up.
#[derive(Clone, Copy)]
pub(super) struct Key {
    key: u128,
    hash: u64,
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

    pub(super) fn extend(&mut self, ids: &[u32]) {
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
        Cache { slots: vec![Slot::default(); SLOTS_MIN], used: 0, tokens: Vec::new(), bytes: Vec::new() }
    }

    /// Writes the tokens of the piece `text[start..end]` if they are known, else returns the key under which to [`Cache::insert`] them.
    #[inline(always)]
    pub(super) fn find(&self, text: &[u8], start: usize, end: usize, out: &mut Out) -> Option<Key> {
        let length = end - start;
        if length > SHORT {
            return self.find_long(&text[start..end], out);
        }
        let key = short_key(text, start, length);
        let hash = mix(key as u64, (key >> 64) as u64);
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let slot = &self.slots[at];
            if slot.key == key {
                self.write(slot, out);
                return None;
            }
            if slot.key == 0 {
                return Some(Key { key, hash });
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[inline(never)]
    fn find_long(&self, piece: &[u8], out: &mut Out) -> Option<Key> {
        let hash = hash_long(piece);
        // The length of what cannot be remembered is out of the way of all that can.
        let key = LONG | (piece.len().min(LONGEST + 1) as u128) << 96 | u128::from(hash);
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let slot = &self.slots[at];
            if slot.key & !(0xffff_ffff << 64) == key {
                let place = (slot.key >> 64) as u32 as usize;
                if self.bytes[place..].starts_with(piece) {
                    self.write(slot, out);
                    return None;
                }
            }
            if slot.key == 0 {
                return Some(Key { key, hash });
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
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
    pub(super) fn insert(&mut self, Key { mut key, hash }: Key, piece: &[u8], ids: &[u32]) {
        if piece.len() > LONGEST {
            return;
        }
        if self.tokens.len() + ids.len() > OUTSIDE_MAX || self.bytes.len() + piece.len() > OUTSIDE_MAX {
            self.slots.fill(Slot::default());
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
        if 2 * self.used >= self.slots.len() && self.slots.len() < SLOTS_MAX {
            let slots = std::mem::take(&mut self.slots);
            self.slots = vec![Slot::default(); 4 * slots.len()];
            slots.into_iter().filter(|slot| slot.key != 0).for_each(|slot| self.place(slot, home(slot.key)));
        }
        if 2 * self.used < self.slots.len() {
            self.used += 1;
            self.place(slot, hash);
        } else {
            // Full: whatever lies here is forgotten. No other piece is lost by that, because the slot stays in use.
            let at = hash as usize & (self.slots.len() - 1);
            self.used += usize::from(self.slots[at].key == 0);
            self.slots[at] = slot;
        }
    }

    fn place(&mut self, slot: Slot, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].key != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

/// The hash of a stored key.
fn home(key: u128) -> u64 {
    if key & LONG == LONG { key as u64 } else { mix(key as u64, (key >> 64) as u64) }
}

#[inline(always)]
fn short_key(text: &[u8], start: usize, length: usize) -> u128 {
    const MASKS: [u128; SHORT + 1] = {
        let mut masks = [0; SHORT + 1];
        let mut length = 0;
        while length <= SHORT {
            masks[length] = (1 << (8 * length)) - 1;
            length += 1;
        }
        masks
    };
    let bytes = match text[start..].first_chunk::<16>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; 16];
            bytes[..length].copy_from_slice(&text[start..start + length]);
            bytes
        }
    };
    u128::from_le_bytes(bytes) & MASKS[length] | (length as u128) << 120
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
        (0..count as u32).map(|index| index + piece.iter().fold(7, |sum: u32, byte| sum.wrapping_mul(31) + u32::from(*byte))).collect()
    }

    #[test]
    fn what_is_found_is_what_was_put_in() {
        let mut cache = Cache::new();
        let mut found = 0;
        // More pieces than there is room for, short and long, some of them seen again.
        for round in 0..600_000u64 {
            let number = if round % 3 == 0 { round % 1000 } else { round };
            let piece = format!("{number:0width$}", width = 1 + (number % 29) as usize).into_bytes();
            let mut ids = Vec::new();
            let mut out = Out::new(&mut ids);
            match cache.find(&piece, 0, piece.len(), &mut out) {
                Some(key) => cache.insert(key, &piece, &tokens(&piece)),
                None => {
                    out.flush();
                    assert_eq!(ids, tokens(&piece), "{piece:?}");
                    found += 1;
                }
            }
        }
        assert!(found > 150_000, "{found}");
        assert!(cache.slots.len() == SLOTS_MAX && cache.tokens.len() <= OUTSIDE_MAX && cache.bytes.len() <= OUTSIDE_MAX);
    }

    #[test]
    fn pieces_of_bytes_that_are_zero_are_told_apart() {
        let mut cache = Cache::new();
        let text = [0; 300];
        for length in 1..=300 {
            let mut ids = Vec::new();
            let key = cache.find(&text, 0, length, &mut Out::new(&mut ids)).unwrap();
            cache.insert(key, &text[..length], &[length as u32]);
        }
        for length in 1..=LONGEST {
            let mut ids = Vec::new();
            let mut out = Out::new(&mut ids);
            assert!(cache.find(&text, 0, length, &mut out).is_none());
            out.flush();
            assert_eq!(ids, [length as u32]);
        }
    }
}
