//! Normal forms: the same text written in different ways becomes the same bytes.
//!
//! [`nfc`] changes spelling only and keeps the text; [`dedup_normal`] throws away what does not tell two documents apart, for comparing alone.

use std::borrow::Cow;

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Unicode NFC; borrowed when the text is in it already.
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let composed: String = text.nfc().collect();
    if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed) }
}

/// The form in which documents are compared, after FineWeb (datatrove `simplify_text`): lower-case; each number (`12`, `3.14`) is `0`; what is
/// no letter, digit or mark is a space; runs of white space are one space, none at the ends; accents are stripped by NFD.
///
/// Deviations from datatrove: it lists the punctuation it knows, here all punctuation and symbols count; it strips every non-spacing mark, here
/// marks with a combining class other than 0, so vowel signs of Indic scripts stay. The result may be empty.
pub fn dedup_normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut gap = false;
    while let Some(c) = chars.next() {
        if c.is_numeric() {
            while chars.next_if(|c| c.is_numeric()).is_some() {}
            // A point between digits belongs to the number, once.
            let mut ahead = chars.clone();
            if ahead.next() == Some('.') && ahead.next().is_some_and(char::is_numeric) {
                chars = ahead;
                while chars.next_if(|c| c.is_numeric()).is_some() {}
            }
            push(&mut out, &mut gap, '0');
        } else if c.is_ascii_alphabetic() {
            push(&mut out, &mut gap, c.to_ascii_lowercase());
        } else if c.is_ascii() {
            gap = true;
        } else {
            for lower in c.to_lowercase() {
                decompose_canonical(lower, |part| {
                    if canonical_combining_class(part) != 0 {
                    } else if part.is_alphanumeric() {
                        push(&mut out, &mut gap, part);
                    } else {
                        gap = true;
                    }
                });
            }
        }
    }
    out
}

/// Appends a character, after one space when something between it and the text before was dropped.
fn push(out: &mut String, gap: &mut bool, c: char) {
    if *gap && !out.is_empty() {
        out.push(' ');
    }
    *gap = false;
    out.push(c);
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
