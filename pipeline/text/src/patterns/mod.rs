//! The pre-tokenizers of GPT-2, cl100k (GPT-4, Llama 3), Qwen 2 and o200k (GPT-4o) without a regular expression engine.
//!
//! Each has a scanner that is exact for all of Unicode (`scan`) and goes from piece to piece. Over ASCII, `window` finds the pieces of 64 bytes
//! at once by arithmetic on bit masks, and leaves to the scanner what it cannot tell. Together the pieces are the text.

mod bert;
mod bytes;
mod classes;
mod scan;
mod window;

use std::sync::OnceLock;

pub(crate) use bert::for_each_bert_piece;
use classes::{CASES, KINDS, classes};
use scan::Scanner;
use serde_json::{Value, json};
use window::Window;

/// A pre-tokenizer that cuts text into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    Gpt2,
    Cl100k,
    Qwen2,
    O200k,
}

impl Pattern {
    pub(crate) const ALL: [Pattern; 4] = [Pattern::Gpt2, Pattern::Cl100k, Pattern::Qwen2, Pattern::O200k];

    /// The regular expression, as tokenizer.json files write it.
    pub(crate) fn regex(self) -> &'static str {
        match self {
            // https://github.com/openai/gpt-2/blob/master/src/encoder.py
            Pattern::Gpt2 => r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            // https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py, this and o200k
            Pattern::Cl100k => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
            Pattern::Qwen2 => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
            Pattern::O200k => concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
                r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
        }
    }

    /// The pre-tokenizer, as tokenizer.json files write it; GPT-2's pattern is ByteLevel's own.
    pub(crate) fn pre_tokenizer(self) -> Value {
        let byte_level =
            |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        if self == Pattern::Gpt2 {
            return byte_level(true);
        }
        let split = json!({"type": "Split", "pattern": {"Regex": self.regex()}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
    }

    /// The pattern with this regular expression, letter for letter.
    pub(crate) fn of_regex(regex: &str) -> Option<Pattern> {
        Pattern::ALL.into_iter().find(|pattern| pattern.regex() == regex)
    }

    /// Calls `sink` with every piece in order.
    pub(crate) fn for_each(self, text: &str, mut sink: impl FnMut(&str)) {
        self.for_each_range(text, |start, end| sink(&text[start..end]));
    }

    /// Calls `sink` with the first byte of every piece and the byte after its last, in order.
    #[inline]
    pub(crate) fn for_each_range(self, text: &str, sink: impl FnMut(usize, usize)) {
        match self {
            Pattern::Gpt2 => each(text, &KINDS, Window::gpt2, |scanner, at| scanner.gpt2(at), sink),
            Pattern::Cl100k => each(text, &KINDS, |window| window.cl100k(3), |scanner, at| scanner.cl100k(at, 3), sink),
            Pattern::Qwen2 => each(text, &KINDS, |window| window.cl100k(1), |scanner, at| scanner.cl100k(at, 1), sink),
            Pattern::O200k => each(text, &CASES, Window::o200k, |scanner, at| scanner.o200k(at), sink),
        }
    }
}

/// Pieces by windows where these tell, by the scanner elsewhere.
#[inline(always)]
fn each(
    text: &str,
    table: &'static OnceLock<Box<[u8]>>,
    starts: impl Fn(&Window) -> u64,
    scan: impl Fn(&Scanner, usize) -> usize,
    mut sink: impl FnMut(usize, usize),
) {
    let bytes = text.as_bytes();
    let scanner = Scanner { text: bytes, classes: classes(table) };
    let mut at = 0;
    while let Some(first) = bytes.get(at) {
        if first.is_ascii() {
            let base = at;
            let mut starts = starts(&Window::at(bytes, base));
            while starts != 0 {
                let next = base + starts.trailing_zeros() as usize;
                sink(at, next);
                at = next;
                starts &= starts - 1;
            }
            if at > base {
                continue;
            }
        }
        let end = scan(&scanner, at);
        sink(at, end);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

    /// The pieces of the crate `tokenizers`.
    fn reference(pattern: Pattern, text: &str) -> Vec<String> {
        static SPLITS: OnceLock<Vec<Split>> = OnceLock::new();
        let split = |pattern: &Pattern| {
            Split::new(SplitPattern::Regex(pattern.regex().to_string()), SplitDelimiterBehavior::Isolated, false).unwrap()
        };
        let splits = SPLITS.get_or_init(|| Pattern::ALL.iter().map(split).collect());
        let mut cut = PreTokenizedString::from(text);
        splits[pattern as usize].pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(piece, _, _)| piece.to_string()).filter(|piece| !piece.is_empty()).collect()
    }

    fn pieces(pattern: Pattern, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        pattern.for_each(text, |piece| found.push(piece.to_string()));
        found
    }

    fn check(text: &str) {
        for pattern in Pattern::ALL {
            assert_eq!(pieces(pattern, text), reference(pattern, text), "{pattern:?} of {text:?}");
        }
    }

    #[test]
    fn pieces_of_usual_text() {
        let cases: [(Pattern, &str, &[&str]); 4] = [
            (
                Pattern::Gpt2,
                "I can't see 12 dogs!!  We'LL 中文ab\n\n x \u{a0}y  ",
                &[
                    "I",
                    " can",
                    "'t",
                    " see",
                    " 12",
                    " dogs",
                    "!!",
                    " ",
                    " We",
                    "'",
                    "LL",
                    " 中文ab",
                    "\n\n",
                    " x",
                    " ",
                    "\u{a0}",
                    "y",
                    "  ",
                ],
            ),
            (
                Pattern::Cl100k,
                "We'LL pay 12345.\n\n\tfoo(bar) \n  x",
                &["We", "'LL", " pay", " ", "123", "45", ".\n\n", "\tfoo", "(bar", ")", " \n", " ", " x"],
            ),
            (Pattern::Qwen2, "1999年 it's", &["1", "9", "9", "9", "年", " it", "'s"]),
            (Pattern::O200k, "HTMLParser fooBar don't\n//", &["HTMLParser", " foo", "Bar", " don't", "\n", "//"]),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pieces(pattern, text), expected, "{pattern:?}");
        }
    }

    #[test]
    fn windows_end_anywhere() {
        let texts = [
            "word  12345 don't --\n\n  x's \t\ty!\n/z",
            " \n \n  \r\n a",
            "!\n\n!b\n//\n/ c",
            "aB'S'tHE'ſ'l",
            "é\u{301}A\u{301}B\u{301} 'll\u{301}",
            "   \u{3000}x  ",
        ];
        for text in texts {
            for before in 0..70 {
                check(&format!("{}{text}", "x".repeat(before)));
                check(&format!("{}{text}{}", " ".repeat(before), "y ".repeat(40)));
            }
        }
        check("");
    }

    #[test]
    fn every_character_is_of_its_class() {
        // Planes 4 to 13 are not assigned, 15 and 16 are for private use.
        let all: Vec<char> = ('\0'..'\u{40000}').chain('\u{e0000}'..'\u{e1000}').collect();
        for part in all.chunks(4096) {
            let frame = |before: &str, after: &str| part.iter().map(|c| format!("{before}{c}{after}")).collect::<String>();
            for text in [frame("\n!", "a\n"), frame("\nB", "\n"), frame("\n'", "1 \n")] {
                check(&text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn pieces_equal_the_regular_expressions(text in "([a-cA-C]{0,6}|['’](s|S|ll|LL|re|Ve|m|d|T|ſ)?|[ \t]{0,3}|[\r\n]{0,2}|[0-9]{0,5}|[²Ⅷ٣]|[!?/.,-]{0,3}|[中文あé\u{301}ǅʰ]{0,3}|[\u{a0}\u{3000}\u{85}\u{200b}\u{378}]){0,40}") {
            check(&text);
        }

        #[test]
        fn pieces_of_any_text_equal_the_regular_expressions(text in any::<String>()) {
            check(&text);
        }
    }
}
