//! `gopher_repetition(text)`: all repetition signals of Gopher (Rae et al. 2021, table A1) in one pass, with functions for its fields.

use text::{Ngrams, Segments};

use super::record::{Record, RecordField, share};

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
        // Reached by `top_ngram_char_ratio` and `duplicate_ngram_char_ratio`.
        RecordField::number("top_2gram_char_ratio"),
        RecordField::number("top_3gram_char_ratio"),
        RecordField::number("top_4gram_char_ratio"),
        RecordField::number("duplicate_5gram_char_ratio"),
        RecordField::number("duplicate_6gram_char_ratio"),
        RecordField::number("duplicate_7gram_char_ratio"),
        RecordField::number("duplicate_8gram_char_ratio"),
        RecordField::number("duplicate_9gram_char_ratio"),
        RecordField::number("duplicate_10gram_char_ratio"),
    ],
    kernel: gopher_repetition,
};

const fn segment_field(name: &'static str, about: &'static str) -> RecordField {
    RecordField { name, about, integer: false, function: true }
}

fn gopher_repetition(text: &str, values: &mut [Option<f64>]) {
    let lines = segments(text, "\n");
    let paragraphs = segments(text, "\n\n");
    values[0] = share(lines.duplicates, lines.count);
    values[1] = share(paragraphs.duplicates, paragraphs.count);
    values[2] = share(lines.duplicate_characters, lines.characters);
    values[3] = share(paragraphs.duplicate_characters, paragraphs.characters);
    let mut ngrams = Ngrams::new(text::words(text), text.len());
    for n in 2..=4 {
        ngrams.advance(n);
        values[n + 2] = Some(top_char_ratio(&ngrams));
    }
    for n in 5..=10 {
        ngrams.advance(n);
        values[n + 2] = Some(duplicate_char_ratio(&ngrams));
    }
}

/// Pieces between `separator`, trimmed, without empty ones.
fn segments(text: &str, separator: &str) -> Segments {
    Segments::new(text.split(separator).map(str::trim).filter(|segment| !segment.is_empty()))
}

/// Characters in all copies of the n-gram that occurs most, divided by the characters of all words; 0 when none occurs twice.
pub(super) fn top_char_ratio(ngrams: &Ngrams) -> f64 {
    ngrams.top().and_then(|(count, characters)| share(count * characters, ngrams.characters())).unwrap_or(0.0)
}

/// Characters of words within an n-gram that occurs more than once, divided by the characters of all words; 0 when there is none.
pub(super) fn duplicate_char_ratio(ngrams: &Ngrams) -> f64 {
    share(ngrams.covered_characters(), ngrams.characters()).unwrap_or(0.0)
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
