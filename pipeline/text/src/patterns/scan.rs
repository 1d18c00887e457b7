//! The end of the piece that begins at a place: the regular expressions written out, for any text.

use super::classes::{LETTER, LOWER, NEWLINE, NUMBER, OTHER, SPACE, UPPER};

/// A text and the classes of its characters.
pub(super) struct Scanner<'a> {
    /// Valid UTF-8.
    pub(super) text: &'a [u8],
    pub(super) classes: &'a [u8],
}

impl Scanner<'_> {
    pub(super) fn gpt2(&self, at: usize) -> usize {
        if let Some(end) = self.contraction(at, false) {
            return end;
        }
        // One blank may stand before letters, numbers or marks, but not before other white space.
        let start = at + usize::from(self.text[at] == b' ' && self.class(at + 1).0 & (LETTER | NUMBER | OTHER) != 0);
        match self.class(start).0 & (LETTER | NUMBER | OTHER) {
            0 => self.white(at, false),
            kind => self.run(start, kind),
        }
    }

    /// Numbers are cut after `digits` characters.
    pub(super) fn cl100k(&self, at: usize, digits: usize) -> usize {
        if let Some(end) = self.contraction(at, true) {
            return end;
        }
        let (class, length) = self.class(at);
        if class & LETTER != 0 {
            return self.run(at, LETTER);
        }
        if class & (NUMBER | NEWLINE) == 0 && self.class(at + length).0 & LETTER != 0 {
            return self.run(at + length, LETTER);
        }
        self.rest(at, digits, false)
    }

    pub(super) fn o200k(&self, at: usize) -> usize {
        match self.cased_word(at) {
            Some(end) => self.contraction(end, true).unwrap_or(end),
            None => self.rest(at, 3, true),
        }
    }

    /// What is no word: numbers, marks, white space.
    fn rest(&self, at: usize, digits: usize, slashes: bool) -> usize {
        if self.class(at).0 & NUMBER != 0 {
            let mut end = at;
            for _ in 0..digits {
                let (class, length) = self.class(end);
                end += if class & NUMBER != 0 { length } else { 0 };
            }
            return end;
        }
        let start = at + usize::from(self.text[at] == b' ');
        let mut end = self.run(start, OTHER);
        if end == start {
            return self.white(at, true);
        }
        while matches!(self.text.get(end), Some(b'\r' | b'\n')) || slashes && self.text.get(end) == Some(&b'/') {
            end += 1;
        }
        end
    }

    /// `[^\r\n\p{L}\p{N}]?`, then `UPPER*LOWER+`, else `UPPER+`; tried in the order in which a regular expression tracks back.
    fn cased_word(&self, at: usize) -> Option<usize> {
        let (class, length) = self.class(at);
        let prefix = if class & (LETTER | NUMBER | NEWLINE) == 0 { length } else { 0 };
        let lower = |start| {
            let (mut end, mut last) = (start, None);
            loop {
                let (class, length) = self.class(end);
                if class & UPPER == 0 {
                    // Lower case follows, or the last character that is both makes do as lower case.
                    return if class & LOWER != 0 { Some(self.run(end, LOWER)) } else { last };
                }
                end += length;
                last = if class & LOWER != 0 { Some(end) } else { last };
            }
        };
        let upper = |start| Some(self.run(start, UPPER)).filter(|end| *end > start);
        let alone = |word: Option<usize>| if prefix > 0 { word } else { None };
        lower(at + prefix).or_else(|| alone(lower(at))).or_else(|| upper(at + prefix))
    }

    /// White space: through the last newline if `newlines` and there is one; else without its last character, which is left to what follows,
    /// unless it is all there is or nothing follows.
    fn white(&self, at: usize, newlines: bool) -> usize {
        let (mut end, mut last, mut newline) = (at, at, at);
        loop {
            let (class, length) = self.class(end);
            if class & SPACE == 0 {
                break;
            }
            last = end;
            end += length;
            if class & NEWLINE != 0 {
                newline = end;
            }
        }
        if newlines && newline > at {
            newline
        } else if end == self.text.len() || last == at {
            end
        } else {
            last
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d`; without regard to case, `ſ` is an `s`.
    fn contraction(&self, at: usize, any_case: bool) -> Option<usize> {
        if self.text.get(at) != Some(&b'\'') {
            return None;
        }
        let fold = if any_case { 0x20 } else { 0 };
        let letter = |place: usize| self.text.get(at + place).map_or(0, |byte| if byte.is_ascii_uppercase() { byte | fold } else { *byte });
        match (letter(1), letter(2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
            (b'r' | b'v', b'e') | (b'l', b'l') => Some(at + 3),
            (0xc5, 0xbf) if any_case => Some(at + 3),
            _ => None,
        }
    }

    /// The end of the characters of a kind.
    fn run(&self, mut at: usize, kind: u8) -> usize {
        loop {
            let (class, length) = self.class(at);
            if class & kind == 0 {
                return at;
            }
            at += length;
        }
    }

    /// The class of the character at a place and its length in bytes; zeros at the end of the text.
    #[inline]
    fn class(&self, at: usize) -> (u8, usize) {
        let byte = |place: usize| u32::from(self.text.get(at + place).copied().unwrap_or(0));
        let more = |place: usize| byte(place) & 0x3f;
        let (code, length) = match byte(0) {
            0 if at >= self.text.len() => return (0, 0),
            ascii @ 0..0x80 => (ascii, 1),
            first @ 0..0xe0 => ((first & 0x1f) << 6 | more(1), 2),
            first @ 0..0xf0 => ((first & 0xf) << 12 | more(1) << 6 | more(2), 3),
            first => ((first & 7) << 18 | more(1) << 12 | more(2) << 6 | more(3), 4),
        };
        (self.classes[code as usize], length)
    }
}
