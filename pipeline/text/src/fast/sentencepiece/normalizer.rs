//! Normalization as SentencePiece has it (normalizer.cc): again and again the longest beginning of the rest of a text that the map of characters
//! holds is replaced, else one character is kept; spaces are put before, removed and spelled as ▁ on the way.

use super::super::trie::Trie;
use super::charsmap::Charsmap;
use super::{SPACE, Settings};

pub(super) struct Normalizer {
    charsmap: Option<Charsmap>,
    /// User-defined pieces, which are not replaced.
    user_defined: Option<Trie>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    space: &'static str,
    /// ASCII characters that are kept where an ASCII character or nothing follows; not the space.
    kept: [bool; 256],
}

impl Normalizer {
    pub(super) fn new(settings: &Settings, charsmap: Option<Charsmap>, user_defined: Option<Trie>) -> Normalizer {
        let keeps = |byte: u8| {
            byte.is_ascii()
                && byte != b' '
                && charsmap.as_ref().is_none_or(|map| map.keeps(byte))
                && user_defined.as_ref().is_none_or(|pieces| !pieces.begins_with(byte))
        };
        Normalizer {
            kept: std::array::from_fn(|byte| keeps(byte as u8)),
            charsmap,
            user_defined,
            add_dummy_prefix: settings.add_dummy_prefix,
            remove_extra_whitespaces: settings.remove_extra_whitespaces,
            space: if settings.escape_whitespaces { SPACE } else { " " },
        }
    }

    /// The user-defined pieces.
    pub(super) fn user_defined(&self) -> Option<&Trie> {
        self.user_defined.as_ref()
    }

    /// Writes the normal form of a text to `out`. `note` is told of every stretch of it: its bytes, and the place in the text that they come from.
    /// Returns how far the text was read for what `out` holds.
    pub(super) fn normalize(&self, text: &str, out: &mut String, mut note: impl FnMut(usize, usize)) {
        out.clear();
        let mut at = 0;
        while self.remove_extra_whitespaces && at < text.len() {
            let (becomes, length) = self.prefix(text, at);
            if becomes != " " {
                break;
            }
            at += length;
        }
        if at == text.len() {
            return;
        }
        if self.add_dummy_prefix {
            out.push_str(self.space);
            note(self.space.len(), at);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while at < text.len() {
            let kept = self.kept_from(text, at);
            if kept > at {
                out.push_str(&text[at..kept]);
                (at..kept).for_each(|at| note(1, at));
                at = kept;
                after_space = false;
                continue;
            }
            let (mut becomes, length) = self.prefix(text, at);
            if after_space {
                becomes = becomes.trim_start_matches(' ');
            }
            for (index, part) in becomes.split(' ').enumerate() {
                if index > 0 {
                    out.push_str(self.space);
                    note(self.space.len(), at);
                }
                out.push_str(part);
                note(part.len(), at);
            }
            if !becomes.is_empty() {
                after_space = self.remove_extra_whitespaces && becomes.ends_with(' ');
            }
            at += length;
        }
        if self.remove_extra_whitespaces {
            out.truncate(out.trim_end_matches(self.space).len());
        }
    }

    /// The end of the ASCII characters from `at` on that are kept.
    #[inline(always)]
    fn kept_from(&self, text: &str, at: usize) -> usize {
        let bytes = text.as_bytes();
        let mut end = at;
        while end < bytes.len() && self.kept[bytes[end] as usize] {
            end += 1;
        }
        // The last one may be part of something with what follows.
        if end > at && end < bytes.len() && !bytes[end].is_ascii() { end - 1 } else { end }
    }

    /// What stands at a place, normalized, and its length in the text.
    #[inline(always)]
    fn prefix<'a>(&'a self, text: &'a str, at: usize) -> (&'a str, usize) {
        let rest = &text.as_bytes()[at..];
        if let Some((length, _)) = self.user_defined.as_ref().and_then(|pieces| pieces.longest(rest)) {
            return (text.get(at..at + length).unwrap_or("\u{fffd}"), length);
        }
        if let Some((length, becomes)) = self.charsmap.as_ref().and_then(|map| map.longest(rest)) {
            return (becomes, length);
        }
        match text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(c) => (&text[at..at + c.len_utf8()], c.len_utf8()),
            // A map with parts of characters left the rest of one.
            None => ("\u{fffd}", 1),
        }
    }
}
