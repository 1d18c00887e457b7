//! How BLEU cuts a text into tokens: sacrebleu's tokenizers, byte for byte, in Rust.
//!
//! White space is Python's, which has four characters more than Rust's. The ASCII passes of `13a` and `zh` are written
//! out by hand; a test holds them against the regular expressions they replace.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;

/// A tokenizer of sacrebleu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Tokenize {
    /// That of mteval-v13a, used by WMT: ASCII punctuation apart, points and commas within numbers kept.
    #[default]
    #[serde(rename = "13a")]
    V13a,
    /// Each Chinese character one token, the rest as 13a: for Chinese references.
    #[serde(rename = "zh")]
    Zh,
    /// That of mteval-v14: all Unicode punctuation and symbols apart.
    #[serde(rename = "intl")]
    Intl,
    /// Each character one token.
    #[serde(rename = "char")]
    Char,
    /// White space only: for texts already tokenized.
    #[serde(rename = "none")]
    None,
}

impl Tokenize {
    /// As sacrebleu names it.
    pub(super) fn signature(self) -> &'static str {
        match self {
            Tokenize::V13a => "13a",
            Tokenize::Zh => "zh",
            Tokenize::Intl => "intl",
            Tokenize::Char => "char",
            Tokenize::None => "none",
        }
    }
}

/// The text in lower case if so set, without white space at its end, and with spaces between its tokens.
pub(super) fn prepare(settings: &Settings, text: &str) -> String {
    let text = if settings.lowercase { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
    let text = text.trim_end_matches(is_space);
    match settings.tokenize {
        Tokenize::V13a => v13a(text),
        Tokenize::Zh => zh(text),
        Tokenize::Intl => intl(text),
        Tokenize::Char => text.chars().flat_map(|c| [c, ' ']).collect(),
        Tokenize::None => text.to_owned(),
    }
}

/// Splits at Python's white space, as `str.split()` does.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|token| !token.is_empty())
}

/// Python's `str.isspace` for one character: also the four ASCII separators U+001C to U+001F.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn v13a(text: &str) -> String {
    // In this order: `&amp;lt;` becomes `<`.
    const REPLACED: [(&str, &str); 7] =
        [("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];
    let mut line = Cow::Borrowed(text);
    for (from, to) in REPLACED {
        if line.contains(from) {
            line = line.replace(from, to).into();
        }
    }
    separate(&format!(" {line} "), |line| line)
}

fn zh(text: &str) -> String {
    let mut line = String::with_capacity(2 * text.len());
    for c in text.trim_matches(is_space).chars() {
        if is_chinese(c) {
            line.extend([' ', c, ' ']);
        } else {
            line.push(c);
        }
    }
    separate(&line, |line| line)
}

fn intl(text: &str) -> String {
    static PASSES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        [(r"(\P{N})(\p{P})", "${1} ${2} "), (r"(\p{P})(\P{N})", " ${1} ${2}"), (r"(\p{S})", " ${1} ")]
            .map(|(pattern, with)| (Regex::new(pattern).expect("the pattern is constant and tested"), with))
    });
    PASSES.iter().fold(text.to_owned(), |line, (pattern, with)| pattern.replace_all(&line, *with).into_owned())
}

/// Characters that sacrebleu calls Chinese.
///
/// Two of its ranges are written with five digits in a four-digit escape (`\u20000` to `\u2a6d6`) and compared as
/// strings, which makes them U+2001 to U+2A6D: dashes, curly quotes, the euro sign and arrows are split off, true
/// Extension B is not. The scores people publish have it so.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{2001}'..='\u{2a6d}' // Meant as Extension B.
        | '\u{2e80}'..='\u{2eff}'
        | '\u{2f00}'..='\u{2fdf}' // The other one, U+2F81 to U+2FA1, lies within.
        | '\u{2ff0}'..='\u{2fff}'
        | '\u{3000}'..='\u{303f}'
        | '\u{3100}'..='\u{312f}'
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31c0}'..='\u{31ef}'
        | '\u{3200}'..='\u{33ff}'
        | '\u{3400}'..='\u{4db5}'
        | '\u{4e00}'..='\u{9fbb}'
        | '\u{f900}'..='\u{fa2d}'
        | '\u{fa30}'..='\u{fa6a}'
        | '\u{fa70}'..='\u{fad9}'
        | '\u{fe10}'..='\u{fe1f}'
        | '\u{fe30}'..='\u{fe4f}'
        | '\u{ff00}'..='\u{ffef}')
}

/// The four passes over ASCII that `13a` and `zh` share:
/// symbols apart, points and commas apart unless after a digit, unless before a digit, dashes apart after a digit.
///
/// On bytes: only ASCII bytes are looked for, and spaces are only put beside them, so UTF-8 stays whole.
/// `between` changes the line after the first pass; TER has a rule of its own there.
pub fn separate(line: &str, between: impl Fn(String) -> String) -> String {
    let mut bytes = Vec::with_capacity(2 * line.len());
    for byte in line.bytes() {
        match byte {
            b' '..=b'&' | b'('..=b'+' | b'/' | b':'..=b'@' | b'['..=b'`' | b'{'..=b'~' => bytes.extend([b' ', byte, b' ']),
            _ => bytes.push(byte),
        }
    }
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).expect("spaces were only put beside ascii bytes");
    let mut bytes = between(utf8(bytes)).into_bytes();
    let is_point = |byte: u8| matches!(byte, b'.' | b',');
    if bytes.iter().any(|byte| is_point(*byte)) {
        bytes = pairs(&bytes, |a, b| !a.is_ascii_digit() && is_point(b), |a, b| [a, b' ', b, b' ']);
        bytes = pairs(&bytes, |a, b| is_point(a) && !b.is_ascii_digit(), |a, b| [b' ', a, b' ', b]);
    }
    if bytes.contains(&b'-') {
        bytes = pairs(&bytes, |a, b| a.is_ascii_digit() && b == b'-', |a, b| [a, b' ', b, b' ']);
    }
    utf8(bytes)
}

/// Replaces matching pairs of neighbours from left to right; pairs do not overlap.
fn pairs(bytes: &[u8], matches: impl Fn(u8, u8) -> bool, with: impl Fn(u8, u8) -> [u8; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        match tail {
            [second, after @ ..] if matches(*first, *second) => {
                out.extend(with(*first, *second));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(tokenize: Tokenize, text: &str, expected: &str) {
        let prepared = prepare(&Settings { tokenize, ..Settings::default() }, text);
        assert_eq!(split(&prepared).collect::<Vec<_>>().join(" "), expected, "{tokenize:?} of {text:?}");
    }

    #[test]
    fn cuts_as_sacrebleu_documents() {
        check(Tokenize::V13a, "Hello, world! It's 1,000.50 (e.g.) 3-4.", "Hello , world ! It's 1,000.50 ( e . g . ) 3 - 4 .");
        check(Tokenize::V13a, "&amp;lt; &quot;x&quot; a-\nb <skipped>c", "< \" x \" ab c");
        check(Tokenize::Zh, "我有3.5元，GPT-4很好。", "我 有 3.5 元 ， GPT-4 很 好 。");
        check(Tokenize::Intl, "\u{201c}In 2020.\u{201d} x\u{a9} &amp;", "\u{201c} In 2020 . \u{201d} x \u{a9} & amp ;");
        check(Tokenize::Intl, "in 2020.", "in 2020.");
        check(Tokenize::Char, "ab \u{3000}c", "a b c");
        check(Tokenize::None, " a,b\u{1c}c\u{85}d ", "a,b c d");
    }

    #[test]
    fn copies_the_chinese_ranges_of_sacrebleu() {
        assert!(is_chinese('\u{2014}') && is_chinese('\u{2001}') && is_chinese('\u{2a6d}'));
        assert!(!is_chinese('\u{2000}') && !is_chinese('\u{2a6e}') && !is_chinese('\u{20001}'));
    }

    #[test]
    fn white_space_is_that_of_python() {
        let spaces = ('\0'..=char::MAX).filter(|&c| is_space(c)).count();
        assert_eq!(spaces, 29);
    }

    /// The passes of sacrebleu's tokenizer_re.py.
    fn separate_by_regex(line: &str) -> String {
        static PASSES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            let passes = [
                (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", " ${1} "),
                (r"([^0-9])([\.,])", "${1} ${2} "),
                (r"([\.,])([^0-9])", " ${1} ${2}"),
                (r"([0-9])(-)", "${1} ${2} "),
            ];
            passes.into_iter().map(|(pattern, with)| (Regex::new(pattern).unwrap(), with)).collect()
        });
        PASSES.iter().fold(line.to_owned(), |line, (pattern, with)| pattern.replace_all(&line, *with).into_owned())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn separates_as_the_regular_expressions(dense in "[-.,09a \n'\"é我\u{1f44d}/@\\[`{~&(+:]{0,24}", any in "\\PC*") {
            prop_assert_eq!(separate(&dense, |line| line), separate_by_regex(&dense));
            prop_assert_eq!(separate(&any, |line| line), separate_by_regex(&any));
        }
    }
}
