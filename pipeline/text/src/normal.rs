//! Normal forms: the same text written in different ways becomes the same bytes.
//!
//! [`nfc`] changes spelling only and keeps the text; the others throw away what does not tell two documents apart, for comparing alone.

use std::borrow::Cow;

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

/// Unicode NFC; borrowed when the text is in it already.
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let composed: String = text.nfc().collect();
    if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed) }
}

/// Unicode NFKC: also compatibility characters (full-width forms, ligatures, superscripts) as plain ones; borrowed when the text is in it already.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let composed: String = text.nfkc().collect();
    if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed) }
}

/// The form in which documents are compared, after FineWeb (datatrove `simplify_text`): lower-case; each number (`12`, `3.14`) is `0`; what is
/// no letter, digit or mark is a space; runs of white space are one space, none at the ends; accents are stripped by NFD.
///
/// Deviations from datatrove: it lists the punctuation it knows, here all punctuation and symbols count; it strips every non-spacing mark, here
/// marks with a combining class other than 0, so vowel signs of Indic scripts stay. The result may be empty.
pub fn dedup_normal(text: &str) -> String {
    let mut out = Normal::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_alphabetic() {
            let letters = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            out.push_letters(&bytes[at..at + letters]);
            at += letters;
        } else if byte.is_ascii() && !byte.is_ascii_digit() {
            out.gap = true;
            at += 1;
        } else {
            at += push_number_or_char(&text[at..], &mut out);
        }
    }
    out.finish()
}

/// Appends what begins with a digit or with a character beyond ASCII, and returns its bytes.
fn push_number_or_char(text: &str, out: &mut Normal) -> usize {
    let number = |text: &str| text.find(|c: char| !c.is_numeric()).unwrap_or(text.len());
    let digits = number(text);
    if digits > 0 {
        out.push('0');
        // A point between digits belongs to the number, once.
        let fraction = text[digits..].strip_prefix('.').map_or(0, number);
        return digits + if fraction > 0 { 1 + fraction } else { 0 };
    }
    let c = text.chars().next().unwrap_or_default();
    for lower in c.to_lowercase() {
        decompose_canonical(lower, |part| {
            if canonical_combining_class(part) != 0 {
            } else if part.is_alphanumeric() {
                out.push(part);
            } else {
                out.gap = true;
            }
        });
    }
    c.len_utf8()
}

/// The form in which SlimPajama compares documents, and after it OLMo and, but for NFD in place of NFC, RedPajama v2: NFC; lower-case; ASCII
/// punctuation is taken out without a space in its place; runs of white space are one space, none at the ends (modelzoo `normalize_text.py`,
/// `to_hash.py`). Numbers, accents and other punctuation stay.
pub fn slimpajama_normal(text: &str) -> String {
    let text = nfc(text);
    let mut out = Normal::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if c.is_whitespace() {
            out.gap = true;
        } else if !c.is_ascii_punctuation() {
            c.to_lowercase().for_each(|lower| out.push(lower));
        }
    }
    out.finish()
}

/// The text in lower case, its runs of white space as one space, none at the ends, into `out`: what is equal then is an exact copy.
pub fn folded(text: &str, out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.clear();
    bytes.reserve(text.len());
    let mut space = true;
    let mut at = 0;
    while at < text.len() {
        let chunk = &text.as_bytes()[at..text.len().min(at + CHUNK)];
        let ascii = if chunk.is_ascii() { chunk.len() } else { chunk.iter().take_while(|byte| byte.is_ascii()).count() };
        fold_ascii(&chunk[..ascii], &mut space, &mut bytes);
        at += ascii;
        for c in text[at..].chars().take_while(|c| !c.is_ascii()) {
            if !(c.is_whitespace() && space) {
                let mut buffer = [0; 4];
                let lower = c.to_lowercase().map(|lower| if c.is_whitespace() { ' ' } else { lower });
                lower.for_each(|lower| bytes.extend(lower.encode_utf8(&mut buffer).bytes()));
            }
            space = c.is_whitespace();
            at += c.len_utf8();
        }
    }
    if bytes.last() == Some(&b' ') {
        bytes.pop();
    }
    *out = String::from_utf8(bytes).expect("made of characters");
}

/// Bytes of ASCII that are folded at once.
const CHUNK: usize = 64;

/// Folds up to [`CHUNK`] bytes of ASCII. Conditions are numbers here, so that the loops become vector instructions.
fn fold_ascii(chunk: &[u8], space: &mut bool, out: &mut Vec<u8>) {
    if chunk.is_empty() {
        return;
    }
    let mut folded = [0; CHUNK];
    folded[..chunk.len()].copy_from_slice(chunk);
    let mut spaces = [0; CHUNK + 1];
    spaces[0] = u8::from(*space);
    for (byte, is_space) in folded.iter_mut().zip(&mut spaces[1..]) {
        *is_space = u8::from(*byte == b' ') | u8::from(byte.wrapping_sub(b'\t') < 5);
        let is_capital = u8::from(byte.wrapping_sub(b'A') < 26);
        let lower = *byte | (is_capital << 5);
        *byte = if *is_space != 0 { b' ' } else { lower };
    }
    let mut dropped = [0; CHUNK];
    for (i, dropped) in dropped.iter_mut().enumerate() {
        *dropped = spaces[i] & spaces[i + 1];
    }
    *space = spaces[chunk.len()] != 0;
    let start = out.len();
    out.extend_from_slice(&folded[..chunk.len()]);
    if dropped[..chunk.len()].iter().fold(0, |any, dropped| any | dropped) != 0 {
        // White space after white space is overwritten by what follows.
        let mut end = start;
        for (byte, dropped) in folded[..chunk.len()].iter().zip(dropped) {
            out[end] = *byte;
            end += usize::from(1 - dropped);
        }
        out.truncate(end);
    }
}

/// A normal form while it is written.
struct Normal {
    bytes: Vec<u8>,
    /// Something between the last character and the next was dropped: one space stands for it.
    gap: bool,
}

impl Normal {
    fn with_capacity(bytes: usize) -> Normal {
        Normal { bytes: Vec::with_capacity(bytes), gap: false }
    }

    fn close_gap(&mut self) {
        if self.gap && !self.bytes.is_empty() {
            self.bytes.push(b' ');
        }
        self.gap = false;
    }

    fn push(&mut self, c: char) {
        self.close_gap();
        self.bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
    }

    /// Appends ASCII letters in lower case.
    fn push_letters(&mut self, letters: &[u8]) {
        self.close_gap();
        self.bytes.extend(letters.iter().map(u8::to_ascii_lowercase));
    }

    fn finish(self) -> String {
        String::from_utf8(self.bytes).expect("made of characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nfc_composes_and_borrows_what_is_composed() {
        assert_eq!(nfc("cafe\u{301}"), "café");
        assert_eq!(nfc("\u{1112}\u{1161}\u{11ab}"), "한");
        assert!(matches!(nfc("café 中文"), Cow::Borrowed(_)));
    }

    #[test]
    fn nfkc_makes_compatibility_characters_plain() {
        assert_eq!(nfkc("ＡＢ１ ﬁ x² ｶﾞ\u{3000}…"), "AB1 fi x2 ガ ...");
        assert!(matches!(nfkc("café 中文，"), Cow::Owned(_)));
        assert!(matches!(nfkc("café 中文"), Cow::Borrowed(_)));
    }

    #[test]
    fn dedup_normal_forgets_case_numbers_punctuation_and_accents() {
        for (text, expected) in [
            ("", ""),
            ("  Hello,\n\tWORLD!  ", "hello world"),
            ("Version 12.50, 3.4.5 and 7", "version 0 0 0 and 0"),
            ("Éclair cafe\u{301} ÅNGSTRÖM", "eclair cafe angstrom"),
            ("e-mail_address: a@b.c", "e mail address a b c"),
            ("２０２４年，“中文”。", "0年 中文"),
            ("…!? ©", ""),
            ("a1b", "a0b"),
            ("हिन्दी", "हिनदी"),
        ] {
            assert_eq!(dedup_normal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn slimpajama_normal_forgets_case_ascii_punctuation_and_runs_of_space() {
        for (text, expected) in [
            ("", ""),
            ("  Hello,\n\tWORLD!  ", "hello world"),
            ("e-mail: a@b.c, 3.14", "email abc 314"),
            ("cafe\u{301} É", "café é"),
            ("中文，也是。 《书》", "中文，也是。 《书》"),
            (" - - ", ""),
            ("a\u{1}b", "a\u{1}b"),
        ] {
            assert_eq!(slimpajama_normal(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn folded_equals_its_definition(text in "([A-Za-z \u{b}é中İ\u{3000}\u{85}]{0,30}|[A-Z  ]{60,70}|.{0,20}){0,6}") {
            let lower = |word: &str| word.chars().flat_map(char::to_lowercase).collect::<String>();
            let expected: Vec<String> = text.split_whitespace().map(lower).collect();
            let mut out = String::new();
            folded(&text, &mut out);
            prop_assert_eq!(out, expected.join(" "));
        }
    }

    #[test]
    fn folded_forgets_case_and_white_space() {
        let mut out = "before".to_string();
        for (text, expected) in [("", ""), (" A  b\n\u{3000}Ç ", "a b ç"), ("\u{b}", ""), ("a-B", "a-b")] {
            folded(text, &mut out);
            assert_eq!(out, expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn dedup_normal_has_single_inner_spaces(text in any::<String>()) {
            let normal = dedup_normal(&text);
            prop_assert_eq!(normal.trim(), &normal);
            prop_assert!(!normal.contains("  "));
        }

        #[test]
        fn dedup_normal_twice_equals_once(text in "[a-zA-Z0-9 .,é中文ÅЖ\n]{0,40}") {
            let once = dedup_normal(&text);
            prop_assert_eq!(dedup_normal(&once), once.clone());
        }
    }
}
