//! `redpajama2(text)`: the quality signals of RedPajama v2 that a text alone gives, in one pass.
//!
//! Fields are named like its annotations without `rps_doc_`. Its signals per line become shares of lines or means over lines. What needs
//! word lists, an address or models are functions of their own (`listed_phrase_count`, `listed_word_ratio`, `listed_host`, `log_importance`,
//! `fasttext_probability`, `arpa_perplexity`); MinHash signatures are `dedup`'s.

use std::borrow::Cow;

use text::redpajama::{is_word_character, normalize, raw_words};
use text::{Ngrams, characters};

use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "redpajama2",
    about: "The quality signals of RedPajama v2 (Weber et al. 2024) that a text alone gives, as a struct; signals per line as shares of lines or means.",
    fields: &[
        // Normalized words: ASCII punctuation taken out, lower case, NFD, split at white space.
        RecordField::integer("word_count"),
        RecordField::number("mean_word_length"),
        RecordField::number("frac_unique_words"),
        RecordField::number("unigram_entropy"),
        RecordField::number("frac_chars_top_2gram"),
        RecordField::number("frac_chars_top_3gram"),
        RecordField::number("frac_chars_top_4gram"),
        RecordField::number("frac_chars_dupe_5grams"),
        RecordField::number("frac_chars_dupe_6grams"),
        RecordField::number("frac_chars_dupe_7grams"),
        RecordField::number("frac_chars_dupe_8grams"),
        RecordField::number("frac_chars_dupe_9grams"),
        RecordField::number("frac_chars_dupe_10grams"),
        RecordField::number("lorem_ipsum"),
        // Raw words: runs of letters, digits and `_`, and runs of signs.
        RecordField::number("symbol_to_word_ratio"),
        RecordField::number("frac_no_alph_words"),
        RecordField::number("frac_all_caps_words"),
        RecordField::integer("num_sentences"),
        RecordField::number("curly_bracket"),
        RecordField::number("frac_lines_end_with_ellipsis"),
        RecordField::number("frac_lines_end_with_terminal_mark"),
        RecordField::number("frac_lines_start_with_bulletpoint"),
        RecordField::integer("javascript_count"),
        RecordField::number("mean_words_per_line"),
        RecordField::number("mean_uppercase_letter_fraction"),
        RecordField::number("mean_numerical_chars_fraction"),
    ],
    kernel: redpajama2,
};

fn redpajama2(text: &str, values: &mut [Option<f64>]) {
    let normal = normalize(text);
    normalized(&normal, values);
    raw(text, values);
    lines(text, values);
}

fn normalized(normal: &str, values: &mut [Option<f64>]) {
    let mut ngrams = Ngrams::new(normal.split_whitespace(), normal.len());
    let words = ngrams.words();
    values[0] = Some(words as f64);
    values[1] = share(ngrams.characters(), words);
    values[2] = share(ngrams.counts().len() as u64, words);
    let entropy = ngrams.counts().iter().map(|count| *count as f64 / words as f64).map(|share| -share * share.ln()).sum::<f64>();
    // One word alone gives -0, which + 0 makes 0.
    values[3] = (words > 0).then_some(entropy + 0.0);
    let of_all = |part: u64, all: u64| share(part, all).unwrap_or(0.0);
    for n in 2..=4 {
        ngrams.advance(n);
        let top = ngrams.first_top().filter(|(count, _)| *count > 1).map_or(0, |(count, characters)| count * characters);
        values[n + 2] = Some(of_all(top, ngrams.characters()));
    }
    for n in 5..=10 {
        ngrams.advance(n);
        values[n + 2] = Some(of_all(ngrams.covered_characters(), ngrams.characters()));
    }
    values[13] = Some(of_all(one_spaced(normal).matches("lorem ipsum").count() as u64, spaced_characters(normal)));
}

/// Characters of the words with one space between them.
fn spaced_characters(normal: &str) -> u64 {
    normal.split_whitespace().map(|word| characters(word) as u64 + 1).sum::<u64>().saturating_sub(1)
}

/// One space between words, if the phrase that is looked for can be there at all.
fn one_spaced(normal: &str) -> Cow<'_, str> {
    if normal.contains("lorem") { Cow::Owned(normal.split_whitespace().collect::<Vec<_>>().join(" ")) } else { Cow::Borrowed("") }
}

fn raw(text: &str, values: &mut [Option<f64>]) {
    let (mut words, mut without_letter, mut capitals) = (0u64, 0u64, 0u64);
    for word in raw_words(text) {
        words += 1;
        without_letter += !word.bytes().any(|byte| byte.is_ascii_alphabetic()) as u64;
        capitals += (word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase)) as u64;
    }
    let symbols = ["#", "...", "…"].iter().map(|symbol| text.matches(symbol).count() as u64).sum();
    values[14] = share(symbols, words);
    values[15] = share(without_letter, words);
    values[16] = share(capitals, words);
    let sentences = text.split(['.', '!', '?']).filter(|piece| piece.contains(is_word_character)).count();
    values[17] = Some(sentences as f64);
    let brackets = text.bytes().filter(|byte| matches!(byte, b'{' | b'}')).count() as u64;
    values[18] = Some(share(brackets, characters(text) as u64).unwrap_or(0.0));
}

/// Signals of lines, which end with their line feed.
fn lines(text: &str, values: &mut [Option<f64>]) {
    let (mut lines, mut ellipsis, mut terminal, mut bullets, mut scripts, mut words) = (0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
    let (mut upper_share, mut digit_share) = (0.0, 0.0);
    for line in text.split_inclusive('\n') {
        lines += 1;
        let length = characters(line) as f64;
        let trimmed = line.trim_end();
        ellipsis += (trimmed.ends_with("...") || trimmed.ends_with('…')) as u64;
        terminal += trimmed.ends_with(['.', '!', '?', '”']) as u64;
        bullets += line.trim_start().starts_with(BULLETS) as u64;
        let normal = normalize(line);
        words += normal.split_whitespace().count() as u64;
        scripts += normal.split_whitespace().filter(|word| *word == "javascript").count() as u64;
        upper_share += line.chars().filter(|c| c.is_uppercase()).count() as f64 / length;
        let digits = normal.chars().filter(|c| c.is_numeric()).count() as u64;
        digit_share += share(digits, spaced_characters(&normal)).unwrap_or(0.0);
    }
    values[19] = share(ellipsis, lines);
    values[20] = share(terminal, lines);
    values[21] = share(bullets, lines);
    values[22] = Some(scripts as f64);
    values[23] = share(words, lines);
    values[24] = (lines > 0).then(|| upper_share / lines as f64);
    values[25] = (lines > 0).then(|| digit_share / lines as f64);
}

const BULLETS: [char; 10] = ['•', '‣', '▶', '◀', '◦', '■', '□', '▪', '▫', '–'];

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    fn field(name: &str) -> String {
        format!("redpajama2(text)['{name}']")
    }

    #[test]
    fn normalized_words_have_no_punctuation() {
        check(&field("word_count"), &[("", "0"), ("It's -- a well-known 'Fact'.", "4")]);
        check(&field("mean_word_length"), &[("", "null"), ("a, bbb!", "2")]);
        check(&field("frac_unique_words"), &[("a A b c", "0.75")]);
        check(&field("unigram_entropy"), &[("", "null"), ("a a", "0"), ("a b", "0.693147")]);
        check(&field("frac_chars_top_2gram"), &[("", "0"), ("a b c", "0"), ("a b, a b c", "0.8")]);
        check(&field("frac_chars_dupe_5grams"), &[("a b c d e A B C D E", "1"), ("a b", "0")]);
        check(&field("lorem_ipsum"), &[("", "0"), ("Lorem  ipsum, x", "0.076923")]);
    }

    #[test]
    fn raw_words_are_runs() {
        check(&field("symbol_to_word_ratio"), &[("", "null"), ("# a... b", "0.5"), ("a…", "0.5")]);
        check(&field("frac_no_alph_words"), &[("a, 1 b", "0.5"), ("é", "1")]);
        check(&field("frac_all_caps_words"), &[("AB Ab 1 É", "0.5")]);
        check(&field("num_sentences"), &[("", "0"), ("One. Two?! -- three... ", "3")]);
        check(&field("curly_bracket"), &[("{a}b", "0.5")]);
    }

    #[test]
    fn lines_give_shares_and_means() {
        check(&field("frac_lines_end_with_ellipsis"), &[("", "null"), ("a... \nb\n", "0.5")]);
        check(&field("frac_lines_end_with_terminal_mark"), &[("a.\n“b”\nc\n\n", "0.5")]);
        check(&field("frac_lines_start_with_bulletpoint"), &[(" • a\n- b", "0.5")]);
        check(&field("javascript_count"), &[("JavaScript, javascript! javascripts", "2")]);
        check(&field("mean_words_per_line"), &[("a b c\nd", "2")]);
        check(&field("mean_uppercase_letter_fraction"), &[("AB\nc", "0.333333")]);
        check(&field("mean_numerical_chars_fraction"), &[("1.2 a", "0.5")]);
    }
}
