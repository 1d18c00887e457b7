//! `gopher_repetition(text)`: all repetition signals of Gopher (Rae et al. 2021, table A1) in one pass, with functions for its fields.

use super::ngrams::{Ngrams, segments};
use super::record::{Record, RecordField};

pub(super) static RECORD: Record = Record {
    name: "gopher_repetition",
    about: "All repetition signals of Gopher (Rae et al. 2021, table A1) as a struct; details the paper leaves open follow dclm.",
    fields: &[
        segment_field("duplicate_line_ratio", "Lines that occur more than once (all copies), divided by all lines; null without lines."),
        segment_field(
            "duplicate_paragraph_ratio",
            "Paragraphs (split at empty lines) that occur more than once (all copies), divided by all paragraphs; null without paragraphs.",
        ),
        segment_field(
            "duplicate_line_char_ratio",
            "Characters of lines that occur more than once (all copies), divided by the characters of all lines; null without lines.",
        ),
        segment_field(
            "duplicate_paragraph_char_ratio",
            "Characters of paragraphs that occur more than once, divided by the characters of all paragraphs; null without paragraphs.",
        ),
        ngram_field("top_2gram_char_ratio"),
        ngram_field("top_3gram_char_ratio"),
        ngram_field("top_4gram_char_ratio"),
        ngram_field("duplicate_5gram_char_ratio"),
        ngram_field("duplicate_6gram_char_ratio"),
        ngram_field("duplicate_7gram_char_ratio"),
        ngram_field("duplicate_8gram_char_ratio"),
        ngram_field("duplicate_9gram_char_ratio"),
        ngram_field("duplicate_10gram_char_ratio"),
    ],
    kernel: gopher_repetition,
};

const fn segment_field(name: &'static str, about: &'static str) -> RecordField {
    RecordField { name, about, integer: false, function: true }
}

/// Reached by `top_ngram_char_ratio` and `duplicate_ngram_char_ratio`.
const fn ngram_field(name: &'static str) -> RecordField {
    RecordField { name, about: "", integer: false, function: false }
}

fn gopher_repetition(text: &str, values: &mut [Option<f64>]) {
    let lines = segments(text, "\n");
    let paragraphs = segments(text, "\n\n");
    values[0] = lines.as_ref().map(|lines| lines.duplicate_ratio);
    values[1] = paragraphs.as_ref().map(|paragraphs| paragraphs.duplicate_ratio);
    values[2] = lines.map(|lines| lines.duplicate_char_ratio);
    values[3] = paragraphs.map(|paragraphs| paragraphs.duplicate_char_ratio);
    let mut ngrams = Ngrams::new(text);
    for n in 2..=4 {
        ngrams.advance(n);
        values[n + 2] = Some(ngrams.top_char_ratio());
    }
    for n in 5..=10 {
        ngrams.advance(n);
        values[n + 2] = Some(ngrams.duplicate_char_ratio());
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn all_copies_of_a_line_count() {
        check("duplicate_line_ratio(text)", &[("", "null"), ("a", "0"), ("a\nb\na \n\nc", "0.5"), ("a\na\na", "1")]);
        check("duplicate_line_char_ratio(text)", &[("\n", "null"), ("aa\nbbbb\naa", "0.5"), ("中文\n中文\nab", "0.666667")]);
    }

    #[test]
    fn paragraphs_are_split_at_empty_lines() {
        check("duplicate_paragraph_ratio(text)", &[("", "null"), ("a\nb\n\nc\n\na\nb", "0.666667"), ("a\na", "0")]);
        check("duplicate_paragraph_char_ratio(text)", &[("a\nb\n\ncc\n\na\nb", "0.75")]);
    }

    #[test]
    fn fields_are_reached_by_name() {
        check("gopher_repetition(text)['top_2gram_char_ratio']", &[("a b a b c", "0.8"), ("", "0")]);
        check("gopher_repetition(text)['duplicate_10gram_char_ratio']", &[("a b c d e f g h i j a b c d e f g h i j", "1")]);
    }
}
