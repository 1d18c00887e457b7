//! `gopher_dclm(text)`: Gopher's quality signals as the filters of dclm count them, in one pass. Its repetition signals are `gopher_repetition`.
//!
//! Words are what stands between white space, except where they repeat; only the word count leaves out those that begin with a sign.

use text::characters;

use super::gopher_quality::{ELLIPSES, has_letter, is_stop_word};
use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "gopher_dclm",
    about: "The quality signals of Gopher (Rae et al. 2021, section A1.1) as a struct, by the definitions of dclm's filters: words between white \
            space. The repetition signals are those of `gopher_repetition`.",
    fields: &[
        // Words that begin with a letter or digit.
        RecordField::integer("word_count"),
        RecordField::number("mean_word_length"),
        RecordField::number("symbol_word_ratio"),
        RecordField::number("bullet_line_ratio"),
        RecordField::number("ellipsis_line_ratio"),
        RecordField::number("alpha_word_ratio"),
        RecordField::integer("stop_word_count"),
    ],
    kernel: gopher_dclm,
};

fn gopher_dclm(text: &str, values: &mut [Option<f64>]) {
    let (mut words, mut word_characters, mut alpha_words, mut stop_words) = (0u64, 0u64, 0u64, 0u64);
    for word in text.split_whitespace() {
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
    let hashes = text.bytes().filter(|byte| *byte == b'#').count();
    let symbols = hashes + ELLIPSES.iter().map(|ellipsis| text.matches(ellipsis).count()).sum::<usize>();
    // fastText's splitter knows ASCII's white space alone.
    let proper_words = text.split(|c: char| c.is_ascii_whitespace() || matches!(c, '\u{b}' | '\0'));
    values[0] = Some(proper_words.filter(|word| word.starts_with(char::is_alphanumeric)).count() as f64);
    values[1] = share(word_characters, words);
    values[2] = share(symbols as u64, words);
    values[3] = share(bullet_lines, lines);
    values[4] = share(ellipsis_lines, lines);
    values[5] = share(alpha_words, words);
    values[6] = Some(stop_words as f64);
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_stand_between_white_space() {
        let field = |name: &str| format!("gopher_dclm(text)['{name}']");
        check(&field("word_count"), &[("", "0"), ("It's (not) well-known, -- 3 … \"times\"", "3")]);
        check(&field("mean_word_length"), &[("", "null"), ("ab abcd!!", "4")]);
        check(&field("symbol_word_ratio"), &[("", "null"), ("a... b… c . . . d#", "0.571429")]);
        check(&field("bullet_line_ratio"), &[("\n", "null"), (" ● a\n\n• b\nc\n*d", "0.75")]);
        check(&field("ellipsis_line_ratio"), &[("a... \nb…\nc. . .\n... d", "0.75")]);
        check(&field("alpha_word_ratio"), &[("a, -- 1 b2", "0.5")]);
        check(&field("stop_word_count"), &[("The the the, BE", "3")]);
    }
}
