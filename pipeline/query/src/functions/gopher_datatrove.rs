//! `gopher_datatrove(text)`: Gopher's signals as datatrove counts them (its filters GopherRepetition and GopherQuality), in one pass.
//!
//! Words are pieces with punctuation cut off ([`text::for_each_affix_word`]), because datatrove counts spaCy's tokens; shares of characters are
//! divided by the length of the whole text; of lines and paragraphs only extra copies count; n-grams are skipped over once they repeat.

use text::{Ngrams, Segments, characters, split_at_runs, unicode_lines};

use super::gopher_quality::has_letter;
use super::record::{Record, RecordField, share};

pub(super) static RECORD: Record = Record {
    name: "gopher_datatrove",
    about: "All signals of Gopher (Rae et al. 2021) as a struct, by the definitions of datatrove's filters: words with punctuation cut off and \
            counted, extra copies only, shares of the length of the text.",
    fields: &[
        RecordField::number("duplicate_paragraph_ratio"),
        RecordField::number("duplicate_paragraph_char_ratio"),
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
        // Words that are not punctuation alone.
        RecordField::integer("word_count"),
        RecordField::number("mean_word_length"),
        // From here on all words count, punctuation too.
        RecordField::number("hash_word_ratio"),
        RecordField::number("ellipsis_word_ratio"),
        RecordField::number("bullet_line_ratio"),
        RecordField::number("ellipsis_line_ratio"),
        RecordField::number("alpha_word_ratio"),
        // Different ones, lower case only.
        RecordField::integer("stop_word_count"),
        // All words.
        RecordField::integer("piece_count"),
    ],
    kernel: gopher_datatrove,
};

fn gopher_datatrove(text: &str, values: &mut [Option<f64>]) {
    let length = characters(text) as u64;
    let mut words = Ngrams::builder(text.len());
    let (mut proper_words, mut proper_characters, mut alpha_words, mut stop_words) = (0u64, 0u64, 0u64, 0u8);
    text::for_each_affix_word(text, |word| {
        let characters = characters(word) as u64;
        words.push(word, characters);
        if !word.chars().all(is_punctuation) {
            proper_words += 1;
            proper_characters += characters;
        }
        alpha_words += has_letter(word) as u64;
        stop_words |= STOP_WORDS.iter().position(|stop_word| *stop_word == word).map_or(0, |place| 1 << place);
    });
    let words = words.finish();
    let all_words = words.words();
    repetition(text, length, words, values);
    let (mut lines, mut bullet_lines, mut ellipsis_lines) = (0, 0, 0);
    for line in unicode_lines(text) {
        lines += 1;
        bullet_lines += line.trim_start().starts_with(['•', '-']) as u64;
        let line = line.trim_end();
        ellipsis_lines += (line.ends_with("...") || line.ends_with('…')) as u64;
    }
    let hashes = text.bytes().filter(|byte| *byte == b'#').count() as u64;
    let ellipses = (text.matches("...").count() + text.matches('…').count()) as u64;
    values[13] = Some(proper_words as f64);
    values[14] = share(proper_characters, proper_words);
    values[15] = share(hashes, all_words);
    values[16] = share(ellipses, all_words);
    values[17] = share(bullet_lines, lines);
    values[18] = share(ellipsis_lines, lines);
    values[19] = share(alpha_words, all_words);
    values[20] = Some(stop_words.count_ones() as f64);
    values[21] = Some(all_words as f64);
}

/// The first thirteen fields.
fn repetition(text: &str, length: u64, mut ngrams: Ngrams, values: &mut [Option<f64>]) {
    let paragraphs = Segments::new(split_at_runs(text.trim(), 2));
    let lines = Segments::new(split_at_runs(text, 1));
    if length > 0 {
        values[0] = share(paragraphs.extra, paragraphs.count);
        values[1] = share(paragraphs.extra_characters, length);
        values[2] = share(lines.extra, lines.count);
        values[3] = share(lines.extra_characters, length);
    }
    for n in 2..=4 {
        ngrams.advance(n);
        // The spaces between the words of the n-gram count.
        let top = ngrams.first_top().map_or(0, |(count, characters)| count * (characters + n as u64 - 1));
        values[n + 2] = share(top, length);
    }
    for n in 5..=10 {
        ngrams.advance(n);
        values[n + 2] = share(ngrams.skipping_characters(), length);
    }
}

const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// What datatrove takes for punctuation: ASCII's, some of other scripts, controls, and every mark that ends a sentence.
fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() || c.is_ascii_control() && !matches!(c, '\t' | '\n');
    }
    matches!(
        c,
        '\u{80}'
            ..='\u{9f}'
                | '«'
                | '´'
                | '»'
                | '–'
                | '—'
                | '’'
                | '“'
                | '”'
                | '„'
                | '…'
                | '∶'
                | '━'
                | '►'
                | '、'
                | '〈'
                | '〉'
                | '《'
                | '》'
                | '「'
                | '」'
                | '【'
                | '】'
                | '％'
                | '（'
                | '）'
                | '，'
                | '１'
                | '：'
                | '；'
                | '～'
    ) || text::is_terminal_mark(c)
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_have_their_punctuation_cut_off() {
        let field = |name: &str| format!("gopher_datatrove(text)['{name}']");
        check(&field("word_count"), &[("", "0"), ("It's well-known, isn't it? -- …", "7"), ("# * !", "0")]);
        check(&field("mean_word_length"), &[("...", "null"), ("ab, (abcd)", "3")]);
        check(&field("alpha_word_ratio"), &[("", "null"), ("a, b", "0.666667")]);
        check(&field("hash_word_ratio"), &[("", "null"), ("# a #b", "0.5")]);
        check(&field("ellipsis_word_ratio"), &[("a... b… c", "0.4")]);
        check(&field("stop_word_count"), &[("The cat and the dog and", "2"), ("to be, of that with have", "6")]);
    }

    #[test]
    fn all_lines_count_and_are_trimmed() {
        let field = |name: &str| format!("gopher_datatrove(text)['{name}']");
        check(&field("bullet_line_ratio"), &[("", "null"), (" - a\n\n• b\n* c", "0.5")]);
        check(&field("ellipsis_line_ratio"), &[("a... \rb…\nc. . .", "0.666667")]);
    }

    #[test]
    fn extra_copies_are_divided_by_the_length_of_the_text() {
        let field = |name: &str| format!("gopher_datatrove(text)['{name}']");
        check(&field("duplicate_line_ratio"), &[("", "null"), ("a\nb\n\na\na", "0.5"), ("\na\n", "0.333333")]);
        check(&field("duplicate_line_char_ratio"), &[("aa\nbb\naa", "0.25")]);
        check(&field("duplicate_paragraph_ratio"), &[("a\nb\n\nc\n\n\na\nb\n\n", "0.333333"), ("a\na", "0")]);
        check(&field("duplicate_paragraph_char_ratio"), &[("a\nb\n\na\nb", "0.375")]);
        // The n-gram at the front counts although it occurs once; its space counts too.
        check(&field("top_2gram_char_ratio"), &[("", "null"), ("a", "0"), ("ab cd ef", "0.625"), ("a b a b", "0.857143")]);
        // After a repeated n-gram the next begins behind it.
        check(&field("duplicate_5gram_char_ratio"), &[("a b c d e a b c d e", "0.263158"), ("a a a a a a a a a a a", "0.47619")]);
    }
}
