//! `fineweb_quality(text)`: the four signals that FineWeb found by comparing good and bad crawls, as datatrove's FineWebQualityFilter counts them.

use text::{Segments, characters, ends_in_terminal_mark};

use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "fineweb_quality",
    about: "The signals of FineWeb's own filter (Penedo et al. 2024, section 3.6) as a struct, with the details of datatrove.",
    fields: &[
        // Lines that end in a terminal mark of any script, divided by lines with more than white space.
        RecordField::number("terminal_line_ratio"),
        // Lines of at most 30 characters.
        RecordField::number("short_line_ratio"),
        // Characters of extra copies of lines, divided by all characters but line feeds.
        RecordField::number("duplicate_line_char_ratio"),
        // Line feeds divided by words, punctuation being words too.
        RecordField::number("newline_word_ratio"),
    ],
    kernel: fineweb_quality,
};

/// Lines up to this length are short.
const SHORT_LINE_CHARACTERS: usize = 30;

fn fineweb_quality(text: &str, values: &mut [Option<f64>]) {
    let lines = || text.split('\n').filter(|line| !line.trim().is_empty());
    let segments = Segments::new(lines());
    let terminal = lines().filter(|line| ends_in_terminal_mark(line)).count() as u64;
    let short = lines().filter(|line| characters(line) <= SHORT_LINE_CHARACTERS).count() as u64;
    let newlines = text.bytes().filter(|byte| *byte == b'\n').count() as u64;
    let mut words = 0;
    text::for_each_affix_word(text, |_| words += 1);
    values[0] = share(terminal, segments.count);
    values[1] = share(short, segments.count);
    values[2] = share(segments.extra_characters, characters(text) as u64 - newlines);
    values[3] = share(newlines, words);
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn lines_are_not_trimmed() {
        let field = |name: &str| format!("fineweb_quality(text)['{name}']");
        check(&field("terminal_line_ratio"), &[("\n \n", "null"), ("A.\nB! \n\nC？\n“D.”", "0.5")]);
        let (short, long) = ("x".repeat(30), "x".repeat(31));
        check(&field("short_line_ratio"), &[("", "null"), (&format!("{short}\n{long}\n \n中\n{long}"), "0.5")]);
        check(&field("duplicate_line_char_ratio"), &[("", "null"), ("aa\nbb\naa\naa", "0.5")]);
        check(&field("newline_word_ratio"), &[("\n", "null"), ("a bb.\nc\n", "0.5")]);
    }
}
