//! Text cut into pieces that a tokenizer can encode one by one, so that a piece seen before costs one look-up.
//!
//! [`Cut::Gpt2`] writes out GPT-2's regular expression:
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```
//!
//! What is a letter, a number or white space is asked once of the regular expressions of the crate `tokenizers`, so that both always agree.
//! [`Cut::Bert`] cuts at white space and around Han characters, where BERT's words always end; words and punctuation are not told apart here.

use std::sync::OnceLock;

use tokenizers::utils::SysRegex;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Letter,
    Number,
    Space,
}

/// Where pieces end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Gpt2,
    Bert,
}

impl Cut {
    /// Calls `sink` with every piece in order.
    pub(crate) fn try_for_each<E>(self, text: &str, sink: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        match self {
            Cut::Gpt2 => gpt2_pieces(text).try_for_each(sink),
            Cut::Bert => bert_pieces(text).try_for_each(sink),
        }
    }
}

/// Stretches without white space, and each Han character for itself.
fn bert_pieces(text: &str) -> impl Iterator<Item = &str> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    text.split(blank).flat_map(|stretch| {
        let mut rest = stretch;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = if is_bert_han(first) { first.len_utf8() } else { rest.find(is_bert_han).unwrap_or(rest.len()) };
            let (piece, after) = rest.split_at(end);
            rest = after;
            Some(piece)
        })
    })
}

/// The blocks around which BERT puts spaces, its gaps included.
fn is_bert_han(c: char) -> bool {
    matches!(
        c as u32,
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf
            | 0xf900..=0xfaff | 0x2f800..=0x2fa1f
    )
}

/// GPT-2's pieces; together they are the text.
fn gpt2_pieces(text: &str) -> impl Iterator<Item = &str> {
    let classes = classes();
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(first_piece(rest, classes));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Length in bytes of the first piece; 0 for the empty text.
fn first_piece(text: &str, classes: &[Class]) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'\'') {
        let ending = match bytes.get(1..).unwrap_or_default() {
            [b's' | b't' | b'm' | b'd', ..] => 2,
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => 3,
            _ => 0,
        };
        if ending > 0 {
            return ending;
        }
    }
    let class = |at: usize| text[at..].chars().next().map(|c| (classes[c as usize], c.len_utf8()));
    // One blank may stand before letters, numbers or marks, but not before other white space.
    let start = usize::from(bytes.first() == Some(&b' ') && class(1).is_some_and(|(class, _)| class != Class::Space));
    let Some((first, _)) = class(start) else { return text.len() };
    let mut end = start;
    let mut last = 0;
    while let Some((_, length)) = class(end).filter(|(class, _)| *class == first) {
        end += length;
        last = length;
    }
    // Of white space before a word, the last character is left to the word, unless it is all there is.
    if first == Class::Space && end < text.len() && end > last {
        end -= last;
    }
    end
}

/// The class of every character, by code point.
fn classes() -> &'static [Class] {
    static CLASSES: OnceLock<Vec<Class>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let mut classes = vec![Class::Other; char::MAX as usize + 1];
        let all: String = ('\0'..=char::MAX).collect();
        for (pattern, class) in [(r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number), (r"\s+", Class::Space)] {
            let regex = SysRegex::new(pattern).expect("the pattern is valid");
            for (start, end) in regex.find_iter(&all) {
                all[start..end].chars().for_each(|c| classes[c as usize] = class);
            }
        }
        classes
    })
}

/// The character that stands for each byte in the vocabulary of a byte-level tokenizer: itself where it can be seen, else one from U+0100 on.
pub(crate) fn byte_characters() -> &'static [char; 256] {
    static CHARACTERS: OnceLock<[char; 256]> = OnceLock::new();
    CHARACTERS.get_or_init(|| {
        let mut next = 256u32;
        std::array::from_fn(|byte| match byte as u8 {
            visible @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => visible as char,
            _ => {
                next += 1;
                char::from_u32(next - 1).expect("far below the surrogates")
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    /// The pieces of the crate `tokenizers`, in the characters that stand for bytes.
    fn reference(text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        ByteLevel::new(false, true, true).pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        splits.into_iter().map(|(piece, _, _)| piece.to_string()).filter(|piece| !piece.is_empty()).collect()
    }

    fn mapped(text: &str) -> Vec<String> {
        gpt2_pieces(text).map(|piece| piece.bytes().map(|byte| byte_characters()[byte as usize]).collect()).collect()
    }

    #[test]
    fn pieces_of_usual_text() {
        let found: Vec<&str> = gpt2_pieces("I can't see 12 dogs!!  We'LL 中文ab\n\n x \u{a0}y  ").collect();
        assert_eq!(
            found,
            ["I", " can", "'t", " see", " 12", " dogs", "!!", " ", " We", "'", "LL", " 中文ab", "\n\n", " x", " ", "\u{a0}", "y", "  "]
        );
    }

    #[test]
    fn bert_pieces_end_at_blanks_and_han_characters() {
        let found: Vec<&str> = bert_pieces(" The fox's,\tGPU加速。Go\n").collect();
        assert_eq!(found, ["The", "fox's,", "GPU", "加", "速", "。Go"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn pieces_equal_the_regular_expression(text in "[a-ct' \n\t\u{a0}\u{3000}\u{85}0-9²Ⅷ.!?_中é\u{301}srevmld\r]{0,24}") {
            prop_assert_eq!(mapped(&text), reference(&text));
        }

        #[test]
        fn pieces_of_any_text_equal_the_regular_expression(text in any::<String>()) {
            prop_assert_eq!(mapped(&text), reference(&text));
        }
    }
}
