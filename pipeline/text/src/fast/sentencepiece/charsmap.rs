//! The map of characters of a SentencePiece model: a double array in the format of Darts-clone, whose leaves are places in a list of texts that
//! end with a zero byte.

use anyhow::{Context as _, Result, ensure};

/// A map without damage.
pub(crate) struct Charsmap {
    units: Vec<u32>,
    texts: String,
}

fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

/// The byte that leads to a unit; above a byte's range for leaves.
fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

impl Charsmap {
    /// Bytes of the array (four bytes, little-endian), the array, the texts.
    pub(crate) fn new(bytes: &[u8]) -> Result<Charsmap> {
        let (size, rest) = bytes.split_first_chunk::<4>().context("it is shorter than its head")?;
        let size = u32::from_le_bytes(*size) as usize;
        ensure!(size > 0 && size.is_multiple_of(4) && size <= rest.len(), "its array of {size} bytes does not fit");
        let (array, texts) = rest.split_at(size);
        let texts = std::str::from_utf8(texts).context("its texts are not UTF-8")?.to_string();
        let units = array.chunks_exact(4).map(|unit| unit.iter().rev().fold(0, |unit, byte| unit << 8 | u32::from(*byte))).collect();
        let map = Charsmap { units, texts };
        map.check()?;
        Ok(map)
    }

    /// Follows every path of the double array.
    fn check(&self) -> Result<()> {
        let mut seen = vec![false; self.units.len()];
        let mut open = vec![offset(self.units[0])];
        while let Some(node) = open.pop() {
            ensure!((node as usize) < seen.len(), "a path leads out of its array");
            if std::mem::replace(&mut seen[node as usize], true) {
                continue;
            }
            for byte in 0..=255 {
                let place = node ^ byte;
                let unit = *self.units.get(place as usize).context("a path leads out of its array")?;
                if label(unit) != byte {
                    continue;
                }
                let next = place ^ offset(unit);
                if has_leaf(unit) {
                    let leaf = *self.units.get(next as usize).context("a path leads out of its array")?;
                    let place = value(leaf);
                    ensure!(place < self.texts.len() && self.texts.is_char_boundary(place), "a path leads out of its texts");
                }
                open.push(next);
            }
        }
        Ok(())
    }

    /// Calls `found` with the length of every text of the map that `text` begins with, shortest first, and the place of what it becomes.
    #[inline(always)]
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, usize)) {
        let mut node = offset(self.units[0]);
        for (index, byte) in text.iter().enumerate() {
            node ^= u32::from(*byte);
            let unit = self.units[node as usize];
            if label(unit) != u32::from(*byte) {
                return;
            }
            node ^= offset(unit);
            if has_leaf(unit) {
                found(index + 1, value(self.units[node as usize]));
            }
        }
    }

    /// How long the longest beginning of `text` is that the map holds, and what it becomes.
    #[inline(always)]
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, &str)> {
        let mut longest = None;
        self.prefixes(text, |length, place| longest = Some((length, place)));
        let (length, place) = longest?;
        let text = &self.texts[place..];
        Some((length, text.split_once('\0').map_or(text, |(text, _)| text)))
    }

    /// Whether an ASCII character stays itself before another one and at the end of a text.
    pub(super) fn keeps(&self, byte: u8) -> bool {
        let node = offset(self.units[0]) ^ u32::from(byte);
        let unit = self.units[node as usize];
        if label(unit) != u32::from(byte) {
            return true;
        }
        let below = node ^ offset(unit);
        !has_leaf(unit) && (0..128).all(|next| label(self.units[(below ^ next) as usize]) != next)
    }
}

fn value(leaf: u32) -> usize {
    (leaf & ((1 << 31) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::Charsmap;

    #[test]
    fn damage_is_found() {
        for (bytes, expected) in [
            (vec![], "it is shorter than its head"),
            (vec![8, 0, 0, 0, 1], "its array of 8 bytes does not fit"),
            (vec![4, 0, 0, 0, 0, 4, 0, 0], "a path leads out of its array"),
            (vec![4, 0, 0, 0, 0, 0, 0, 0, 255], "its texts are not UTF-8"),
        ] {
            assert_eq!(Charsmap::new(&bytes).err().unwrap().to_string(), expected);
        }
    }
}
