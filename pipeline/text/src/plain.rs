//! Plain words: what two texts share when case, punctuation and accents are ignored, as hashes with their places.
//!
//! For finding passages of one text in another; rules and lengths count the words of [`crate::words`]. No strings are made, so that a
//! corpus can be searched at the speed of reading it.

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

use crate::{Script, script};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0x0000_0100_0000_01b3;

/// Calls `visit` with the hash of every plain word, in order, and the bytes of `text` that it spans.
///
/// A plain word is a run of letters, digits and marks in lower case and without accents (`É` is `e`); each Han, hiragana and Thai character
/// is one. An apostrophe within a word is ignored (`don’t` is `dont`), all else separates (`e-mail` is two, `3.14` too).
pub fn plain_words(text: &str, mut visit: impl FnMut(u64, usize, usize)) {
    let bytes = text.as_bytes();
    let mut word = Word { hash: SEED, start: 0, end: 0 };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match CLASSES[usize::from(byte)] {
            BREAK => {
                word.close(&mut visit);
                at += 1;
            }
            APOSTROPHE => {
                if !word.joins(text, at, at + 1) {
                    word.close(&mut visit);
                }
                at += 1;
            }
            OTHER => at = wide(text, at, &mut word, &mut visit),
            lower => {
                word.push(lower, at, at + 1);
                at += 1;
            }
        }
    }
    word.close(&mut visit);
}

const BREAK: u8 = 0;
const APOSTROPHE: u8 = 1;
const OTHER: u8 = 2;

/// What each byte is: a letter or digit in lower case, or one of the classes above.
const CLASSES: [u8; 256] = {
    let mut classes = [BREAK; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            classes[byte] = (byte as u8).to_ascii_lowercase();
        } else if byte >= 128 {
            classes[byte] = OTHER;
        }
        byte += 1;
    }
    classes[b'\'' as usize] = APOSTROPHE;
    classes
};

/// The word that is being read.
struct Word {
    hash: u64,
    start: usize,
    end: usize,
}

impl Word {
    #[inline(always)]
    fn push(&mut self, byte: u8, start: usize, end: usize) {
        if self.hash == SEED {
            self.start = start;
        }
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FACTOR);
        self.end = end;
    }

    #[inline(always)]
    fn close(&mut self, visit: &mut impl FnMut(u64, usize, usize)) {
        if self.hash != SEED {
            visit(mix(self.hash), self.start, self.end);
            self.hash = SEED;
        }
    }

    /// Whether the apostrophe in `text[start..end]` stands within a word.
    fn joins(&self, text: &str, start: usize, end: usize) -> bool {
        self.hash != SEED && self.end == start && text[end..].starts_with(|c: char| c.is_alphabetic() && !is_alone(c))
    }
}

/// Spreads the bits of a hash.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(SEED);
    hash ^ (hash >> 29)
}

/// Whether the character is a word for itself.
fn is_alone(c: char) -> bool {
    matches!(script(c), Some(Script::Han | Script::Hiragana | Script::Thai))
}

/// Reads the character that is not ASCII at `at`; the place after it.
fn wide(text: &str, at: usize, word: &mut Word, visit: &mut impl FnMut(u64, usize, usize)) -> usize {
    let Some(c) = text[at..].chars().next() else { return text.len() };
    let end = at + c.len_utf8();
    if matches!(c, '’' | 'ʼ') {
        if !word.joins(text, at, end) {
            word.close(visit);
        }
        return end;
    }
    let alone = is_alone(c);
    if alone {
        word.close(visit);
    }
    let mut separates = false;
    for lower in c.to_lowercase() {
        decompose_canonical(lower, |part| {
            if canonical_combining_class(part) != 0 {
            } else if part.is_alphanumeric() {
                part.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word.push(byte, at, end));
            } else {
                separates = true;
            }
        });
    }
    if separates || alone {
        word.close(visit);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The spans of the words, and whether `other` has the same hashes.
    fn check(text: &str, expected: &[&str], other: &str) {
        let (mut spans, mut hashes, mut others) = (Vec::new(), Vec::new(), Vec::new());
        plain_words(text, |hash, start, end| {
            hashes.push(hash);
            spans.push(&text[start..end]);
        });
        plain_words(other, |hash, _, _| others.push(hash));
        assert_eq!(spans, expected, "{text:?}");
        assert_eq!(hashes, others, "{text:?} and {other:?}");
    }

    #[test]
    fn case_punctuation_and_accents_do_not_count() {
        check("", &[], " -- ");
        check("The quick, brown FOX!", &["The", "quick", "brown", "FOX"], "the (quick) brown-fox");
        check("Don’t say 'can't'.", &["Don’t", "say", "can't"], "dont say cant");
        check("the dogs' bone", &["the", "dogs", "bone"], "the dogs bone");
        check(
            "Café cafe\u{301} Ünï",
            &["Café", "cafe\u{301}", "Ünï"].map(|w| if w == "cafe\u{301}" { "cafe" } else { w }),
            "cafe CAFE uni",
        );
        check("3.14 e-mail x_y", &["3", "14", "e", "mail", "x", "y"], "3 14 E mail x y");
        check("中文分词 2024年", &["中", "文", "分", "词", "2024", "年"], "中 文，分 词2024 年");
        check("GPU加速 ひらカタ", &["GPU", "加", "速", "ひ", "ら", "カタ"], "gpu 加 速 ひ ら カタ");
        check("Ωmega straße", &["Ωmega", "straße"], "ωMEGA Straße");
    }

    proptest! {
        #[test]
        fn spans_are_in_order_and_within_the_text(text in any::<String>()) {
            let mut last = 0;
            plain_words(&text, |_, start, end| {
                assert!(last <= start && start < end && text.get(start..end).is_some());
                last = end;
            });
        }

        #[test]
        fn upper_case_has_the_same_words(text in "[a-z' .,0-9é中’-]{0,40}") {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            plain_words(&text, |hash, _, _| a.push(hash));
            plain_words(&text.to_uppercase(), |hash, _, _| b.push(hash));
            prop_assert_eq!(a, b);
        }
    }
}
