//! Text cut into pieces whose tokens can be learned from one by one, and the characters that stand for bytes in a vocabulary.
//!
//! [`Cut::Gpt2`] cuts as GPT-2 does. [`Cut::Bert`] cuts at white space and around Han characters, where BERT's words always end; words and
//! punctuation are not told apart here.

use std::sync::OnceLock;

use crate::patterns::Pattern;

/// Where pieces end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Gpt2,
    Bert,
}

impl Cut {
    /// Calls `sink` with every piece in order.
    pub(crate) fn try_for_each<E>(self, text: &str, mut sink: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        match self {
            Cut::Gpt2 => {
                let mut result = Ok(());
                Pattern::Gpt2.for_each(text, |piece| {
                    if result.is_ok() {
                        result = sink(piece);
                    }
                });
                result
            }
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

    #[test]
    fn bert_pieces_end_at_blanks_and_han_characters() {
        let found: Vec<&str> = bert_pieces(" The fox's,\tGPU加速。Go\n").collect();
        assert_eq!(found, ["The", "fox's,", "GPU", "加", "速", "。Go"]);
    }
}
