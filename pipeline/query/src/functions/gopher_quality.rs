//! `gopher_quality(text)`: all quality signals of Gopher (Rae et al. 2021, A1.1) in one pass, with a function per field.

use text::characters;

use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "gopher_quality",
    about: "All quality signals of Gopher (Rae et al. 2021, section A1.1) as a struct; words are UAX-29 words, signs follow dclm.",
    fields: &[
        field("word_count", true, "Words: UAX-29 words, pure punctuation left out, each Han character one word."),
        field("mean_word_length", false, "Mean number of characters of a word; null without words."),
        field(
            "symbol_word_ratio",
            false,
            "`#` and ellipses (`...`, `. . .`, `…`) together, divided by words split at white space; null without words.",
        ),
        field("bullet_line_ratio", false, "Lines that begin with ●, •, * or -, divided by all lines; null without lines."),
        field("ellipsis_line_ratio", false, "Lines that end in `...`, `. . .` or `…`, divided by all lines; null without lines."),
        field("alpha_word_ratio", false, "Words with an alphabetic character, divided by all words; null without words."),
        field("stop_word_count", true, "Occurrences of the, be, to, of, and, that, have, with, in any case."),
        field("hash_word_ratio", false, "`#` divided by all words; null without words."),
        field("ellipsis_word_ratio", false, "Ellipses (`...`, `. . .`, `…`) divided by all words; null without words."),
    ],
    kernel: gopher_quality,
};

const fn field(name: &'static str, integer: bool, about: &'static str) -> RecordField {
    RecordField { name, about, integer, function: true }
}

fn gopher_quality(text: &str, values: &mut [Option<f64>]) {
    let (mut words, mut word_characters, mut alpha_words, mut stop_words) = (0u64, 0u64, 0u64, 0u64);
    for word in text::words(text) {
        words += 1;
        word_characters += characters(word) as u64;
        alpha_words += has_letter(word) as u64;
        stop_words += is_stop_word(word) as u64;
    }
    let (mut lines, mut bullet_lines, mut ellipsis_lines) = (0u64, 0u64, 0u64);
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        lines += 1;
        bullet_lines += line.starts_with(['●', '•', '*', '-']) as u64;
        ellipsis_lines += ELLIPSES.iter().any(|ellipsis| line.ends_with(ellipsis)) as u64;
    }
    let hashes = text.bytes().filter(|byte| *byte == b'#').count() as u64;
    let ellipses = ELLIPSES.iter().map(|ellipsis| text.matches(ellipsis).count() as u64).sum::<u64>();
    values[0] = Some(words as f64);
    values[1] = share(word_characters, words);
    values[2] = share(hashes + ellipses, text.split_whitespace().count() as u64);
    values[3] = share(bullet_lines, lines);
    values[4] = share(ellipsis_lines, lines);
    values[5] = share(alpha_words, words);
    values[6] = Some(stop_words as f64);
    values[7] = share(hashes, words);
    values[8] = share(ellipses, words);
}

pub(super) const ELLIPSES: [&str; 3] = ["...", ". . .", "…"];

pub(super) fn has_letter(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic()) || (!word.is_ascii() && word.chars().any(char::is_alphabetic))
}

pub(super) fn is_stop_word(word: &str) -> bool {
    let is = |stop_word: &str| word.eq_ignore_ascii_case(stop_word);
    match word.len() {
        2 => is("be") || is("to") || is("of"),
        3 => is("the") || is("and"),
        4 => is("that") || is("have") || is("with"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_leave_punctuation_out() {
        check("word_count(text)", &[("", "0"), ("It's 3.14, right?", "3"), ("中文 words", "3"), (" -- ...", "0")]);
        check("mean_word_length(text)", &[("", "null"), ("ab abcd!", "3"), ("中文", "1"), ("é", "1")]);
        check("alpha_word_ratio(text)", &[("!", "null"), ("a 1 b2 3", "0.5"), ("中 1", "0.5")]);
        check("stop_word_count(text)", &[("", "0"), ("The man, the one with THAT.", "4"), ("then bee", "0")]);
    }

    #[test]
    fn symbols_are_divided_by_words_between_white_space() {
        check("symbol_word_ratio(text)", &[("", "null"), ("# a b c", "0.25"), ("a... b… c . . . d", "0.428571"), ("a,b #c", "0.5")]);
        check("hash_word_ratio(text)", &[("", "null"), ("# # a,b", "1")]);
        check("ellipsis_word_ratio(text)", &[("...", "null"), ("a... b… . . .", "1.5")]);
    }

    #[test]
    fn lines_are_trimmed_and_empty_ones_left_out() {
        check("bullet_line_ratio(text)", &[("\n \n", "null"), (" - a\n\n• b\nc\n*d", "0.75"), ("a - b", "0")]);
        check("ellipsis_line_ratio(text)", &[("", "null"), ("a... \nb…\nc. . .\n... d", "0.75")]);
    }
}
