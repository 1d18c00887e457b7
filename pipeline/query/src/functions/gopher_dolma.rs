//! `gopher_dolma(text)`: Gopher's signals as Dolma's tagger `gopher_v2` counts them, in one pass.
//!
//! Words are what stands between white space, their length is the median, all copies of a repeated n-gram or line count, and characters of lines
//! are divided by those of words (so that a share may pass 1). There are no paragraphs. `gopher_v1`, which the first Dolma used, differs in that
//! empty lines are lines too.

use text::{Ngrams, Segments, characters, split_at_runs};

use super::gopher_quality::has_letter;
use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "gopher_dolma",
    about: "All signals of Gopher (Rae et al. 2021) as a struct, by the definitions of Dolma's tagger gopher_v2: words between white space, their \
            median length, all copies.",
    fields: &[
        RecordField::integer("word_count"),
        RecordField::number("median_word_length"),
        // Words that contain `#` or `…`.
        RecordField::number("symbol_word_ratio"),
        RecordField::number("alpha_word_ratio"),
        RecordField::integer("stop_word_count"),
        RecordField::number("bullet_line_ratio"),
        RecordField::number("ellipsis_line_ratio"),
        RecordField::number("duplicate_line_ratio"),
        RecordField::number("duplicate_line_char_ratio"),
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
    kernel: gopher_dolma,
};

fn gopher_dolma(text: &str, values: &mut [Option<f64>]) {
    let mut ngrams = Ngrams::builder(text.len());
    let mut lengths = Vec::with_capacity(text.len() / 5);
    let (mut symbol_words, mut alpha_words, mut stop_words) = (0u64, 0u64, 0u64);
    for word in text.split_whitespace() {
        let characters = characters(word) as u64;
        ngrams.push(word, characters);
        lengths.push(characters);
        symbol_words += word.contains(['#', '…']) as u64;
        alpha_words += has_letter(word) as u64;
        stop_words += matches!(word, "the" | "be" | "to" | "of" | "and" | "that" | "have" | "with") as u64;
    }
    let mut ngrams = ngrams.finish();
    let (words, word_characters) = (ngrams.words(), ngrams.characters());
    values[0] = Some(words as f64);
    values[1] = Some(median(&mut lengths));
    values[2] = share(symbol_words, words.max(1));
    values[3] = share(alpha_words, words.max(1));
    values[4] = Some(stop_words as f64);
    let lines = || split_at_runs(text, 1);
    let segments = Segments::new(lines());
    values[5] = share(lines().filter(|line| line.starts_with(['*', '-'])).count() as u64, segments.count);
    values[6] = share(lines().filter(|line| line.ends_with('…')).count() as u64, segments.count);
    values[7] = share(segments.duplicates, segments.count);
    values[8] = share(segments.duplicate_characters, word_characters.max(1));
    for n in 2..=4 {
        ngrams.advance(n);
        let top = ngrams.first_top().map_or(0, |(count, characters)| count * characters);
        values[n + 7] = share(top, word_characters.max(1));
    }
    for n in 5..=10 {
        ngrams.advance(n);
        let (repeated, all) = ngrams.overlapping_characters();
        values[n + 7] = share(repeated, all.max(1));
    }
}

/// The middle of the sorted values, or the mean of the two in the middle; 0 without values.
fn median(values: &mut [u64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable(middle);
    let lower = if even { below.iter().copied().max().unwrap_or(*upper) } else { *upper };
    (lower + *upper) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_stand_between_white_space() {
        let field = |name: &str| format!("gopher_dolma(text)['{name}']");
        check(&field("word_count"), &[("", "0"), ("It's well-known, isn't it? -- …", "6")]);
        check(&field("median_word_length"), &[("", "0"), ("a bb ccccc", "2"), ("a bb ccccc dddd", "3"), ("a bb", "1.5")]);
        check(&field("symbol_word_ratio"), &[("", "0"), ("#a## b… c... d", "0.5")]);
        check(&field("alpha_word_ratio"), &[("a, -- 1 b2", "0.5")]);
        check(&field("stop_word_count"), &[("The the the, be", "2")]);
    }

    #[test]
    fn lines_are_not_trimmed_and_all_copies_count() {
        let field = |name: &str| format!("gopher_dolma(text)['{name}']");
        check(&field("bullet_line_ratio"), &[("", "0"), ("- a\n\n * b\n• c\n*d", "0.5")]);
        check(&field("ellipsis_line_ratio"), &[("a…\nb… \nc...\nd", "0.25")]);
        check(&field("duplicate_line_ratio"), &[("a\nb\n\na", "0.666667"), ("\na\n", "0.666667"), ("\n", "1")]);
        check(&field("duplicate_line_char_ratio"), &[("a b\na b", "1.5")]);
    }

    #[test]
    fn every_ngram_counts_for_itself() {
        let field = |name: &str| format!("gopher_dolma(text)['{name}']");
        check(&field("top_2gram_char_ratio"), &[("", "0"), ("a", "0"), ("ab cd ef", "0.666667"), ("a b a b", "1")]);
        check(&field("duplicate_5gram_char_ratio"), &[("a b c d e a b c d e", "0.333333"), ("a b c d e", "0")]);
    }
}
