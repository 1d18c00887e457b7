//! Whether normalization to NFC or NFKC would leave a text as it is.

use std::sync::OnceLock;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfkc_quick};

/// True only if NFC changes nothing, in this and in every earlier version of Unicode.
pub(super) fn is_composed(text: &str) -> bool {
    text.is_ascii() || text.chars().all(|c| has(inert(), c)) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Whether a character, which is no white space, stays as it is under NFKC, whatever stands around it, in this and in every earlier version of
/// Unicode. That what follows it may join it is another matter.
#[inline(always)]
pub(super) fn keeps_nfkc(c: char) -> bool {
    static INERT: OnceLock<Vec<u64>> = OnceLock::new();
    has(INERT.get_or_init(|| inert_by(|c| is_nfkc_quick(std::iter::once(c)) == IsNormalized::Yes && !c.is_whitespace())), c)
}

/// One bit for each code point: it stays as it is, whatever stands around it.
fn inert() -> &'static [u64] {
    static INERT: OnceLock<Vec<u64>> = OnceLock::new();
    INERT.get_or_init(|| inert_by(|c| is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes))
}

fn inert_by(is_normal: impl Fn(char) -> bool) -> Vec<u64> {
    let mut bits = vec![0; char::MAX as usize / 64 + 1];
    for c in ('\0'..=char::MAX).filter(|c| canonical_combining_class(*c) == 0 && is_normal(*c)) {
        bits[c as usize / 64] |= 1 << (c as u32 % 64);
    }
    bits
}

#[inline(always)]
fn has(bits: &[u64], c: char) -> bool {
    bits[c as usize / 64] >> (c as u32 % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::normalizers::unicode::NFC;
    use tokenizers::{NormalizedString, Normalizer};

    fn check(text: &str) {
        let mut normal = NormalizedString::from(text);
        NFC.normalize(&mut normal).unwrap();
        assert!(!is_composed(text) || normal.get() == text, "{text:?}");
    }

    #[test]
    fn every_character_alone_and_after_others() {
        assert!(is_composed("déjà vu 中文，カタカナ") && is_composed("\u{915}\u{94d}\u{937}"));
        assert!(!is_composed("e\u{301}") && !is_composed("\u{212b}") && !is_composed("q\u{301}\u{323}"));
        ('\0'..=char::MAX).for_each(|c| check(&format!("{c}e{c}\u{301}{c}")));
    }

    proptest! {
        #[test]
        fn any_text(text in "(\\PC|[a-e\u{301}-\u{330}\u{9be}\u{9c7}\u{1100}-\u{11ff}\u{ac00}]){0,20}") {
            check(&text);
        }
    }
}
