//! SentencePiece's map of characters: a double array in the format of Darts, whose leaves are places in a list of texts.
//!
//! The crate's `Precompiled` reads it without looking whether places exist, so a damaged one is found here.

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use tokenizers::normalizers::precompiled::Precompiled;

/// The step of a normalizer.
pub(super) fn normalizer(charsmap: &[u8]) -> Result<Value> {
    check(charsmap).context("it is damaged")?;
    let precompiled = Precompiled::from(charsmap).map_err(|error| anyhow!("{error}"))?;
    Ok(serde_json::to_value(precompiled)?)
}

/// Follows every path of the double array.
fn check(charsmap: &[u8]) -> Result<()> {
    let (size, rest) = charsmap.split_first_chunk::<4>().context("it is shorter than its head")?;
    let size = u32::from_le_bytes(*size) as usize;
    ensure!(size > 0 && size.is_multiple_of(4) && size <= rest.len(), "its array of {size} bytes does not fit");
    let (array, texts) = rest.split_at(size);
    let texts = std::str::from_utf8(texts).context("its texts are not UTF-8")?;
    let units: Vec<usize> =
        array.chunks_exact(4).map(|unit| u32::from_le_bytes(unit.try_into().expect("chunks have four bytes")) as usize).collect();
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let mut seen = vec![false; units.len()];
    let mut open = vec![offset(units[0])];
    while let Some(node) = open.pop() {
        ensure!(node < units.len(), "a path leads out of its array");
        if std::mem::replace(&mut seen[node], true) {
            continue;
        }
        for byte in 1..=255 {
            let place = node ^ byte;
            let unit = *units.get(place).context("a path leads out of its array")?;
            if unit & (1 << 31 | 0xff) != byte {
                continue;
            }
            let next = place ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let leaf = *units.get(next).context("a path leads out of its array")?;
                ensure!(texts.is_char_boundary(leaf & ((1 << 31) - 1)), "a path leads out of its texts");
            }
            open.push(next);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn damage_is_found() {
        for (bytes, expected) in [
            (vec![], "it is shorter than its head"),
            (vec![8, 0, 0, 0, 1], "its array of 8 bytes does not fit"),
            (vec![4, 0, 0, 0, 0, 4, 0, 0], "a path leads out of its array"),
            (vec![4, 0, 0, 0, 0, 0, 0, 0, 255], "its texts are not UTF-8"),
        ] {
            assert_eq!(check(&bytes).unwrap_err().to_string(), expected);
        }
    }
}
