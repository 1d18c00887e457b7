//! Which characters may begin as one symbol instead of as two or three bytes, with the same tokens in the end.
//!
//! BPE merges the lowest rank first. A character that becomes one token by itself, under ranks up to `r`, also does so among others if (1) no
//! token reaches from a part of it over its edge, so that nothing but its own bytes can merge with its parts, and (2) every merge of the whole
//! character with a neighbour has a rank above `r`. For then, as long as the character is incomplete, its next own merge is available and goes
//! before all merges that need it complete: that those were not available yet changes nothing. (1) is looked up for the bytes on both sides of an
//! edge, (2) is a property of the character.

use super::merges::{Merges, NONE};

/// Characters of two and three bytes lie below this.
const CHARACTERS: usize = 1 << 16;

/// The characters of a vocabulary that begin as one symbol.
pub(super) struct Characters {
    /// By code point; [`NONE`] for those that begin as bytes.
    ids: Box<[u32]>,
    /// Bits by (byte before an edge, byte after): some token has this edge inside and begins or ends within a character.
    torn: Box<[u64]>,
}

impl Characters {
    /// `tokens`: bytes and id of each token.
    pub(super) fn of<'a>(merges: &Merges, tokens: impl Iterator<Item = (&'a [u8], u32)>) -> Characters {
        let mut found = Characters { ids: vec![NONE; CHARACTERS].into(), torn: vec![0; CHARACTERS / 64].into() };
        // The highest rank on the way to a character's token.
        let mut ranks = hashbrown::HashMap::new();
        for (token, id) in tokens {
            found.tear(token);
            let Ok(text) = std::str::from_utf8(token) else { continue };
            let mut characters = text.chars();
            if let (Some(c @ '\u{80}'..='\u{ffff}'), None) = (characters.next(), characters.next())
                && let Some(rank) = merges.rank_of_whole(token, id)
            {
                found.ids[c as usize] = id;
                ranks.insert(id, (rank, c));
            }
        }
        for merge in merges.all() {
            for part in [merge.left, merge.right] {
                if let Some((_, c)) = ranks.get(&part).filter(|(rank, _)| merge.rank <= *rank) {
                    found.ids[*c as usize] = NONE;
                }
            }
        }
        found
    }

    /// Notes the edges inside a token that begins or ends within a character.
    fn tear(&mut self, token: &[u8]) {
        let starts: Vec<usize> = (0..token.len()).filter(|at| token[*at] & 0xc0 != 0x80).collect();
        let whole_end = starts.last().is_some_and(|last| last + length(token[*last]) <= token.len());
        if starts.first() == Some(&0) && whole_end {
            return;
        }
        for at in starts.into_iter().filter(|at| *at > 0) {
            let edge = usize::from(token[at - 1]) << 8 | usize::from(token[at]);
            self.torn[edge / 64] |= 1 << (edge % 64);
        }
    }

    #[inline(always)]
    fn is_torn(&self, before: u8, after: u8) -> bool {
        let edge = usize::from(before) << 8 | usize::from(after);
        self.torn[edge / 64] >> (edge % 64) & 1 != 0
    }

    /// The symbol and the length of the character that begins at `at` in a piece of text, if it begins as one symbol.
    #[inline(always)]
    pub(super) fn at(&self, piece: &[u8], at: usize) -> Option<(u32, usize)> {
        let bits = |n: usize| u32::from(piece[at + n] & 0x3f);
        let (c, length) = match piece[at] {
            lead @ 0xc2..=0xdf => (u32::from(lead & 0x1f) << 6 | bits(1), 2),
            lead @ 0xe0..=0xef => (u32::from(lead & 0xf) << 12 | bits(1) << 6 | bits(2), 3),
            _ => return None,
        };
        let id = self.ids[c as usize];
        let end = at + length;
        let torn = at > 0 && self.is_torn(piece[at - 1], piece[at]) || end < piece.len() && self.is_torn(piece[end - 1], piece[end]);
        (id != NONE && !torn).then_some((id, length))
    }
}

/// Bytes of the character that begins with this byte.
fn length(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
