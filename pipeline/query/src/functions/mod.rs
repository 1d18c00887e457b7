//! The SQL functions of Corpusmill: one file each, listed in [`functions`].
//!
//! All are immutable, give null for null, and take any string type. Characters are Unicode scalar values, words are those of the crate
//! `text` (UAX-29 words, each Han character one word). What SQL says well by itself has no function here.

mod options;
mod record;
mod text_function;

mod blake3_hex;
mod c4_lines;
mod char_count;
mod compression_ratio;
mod datatrove_sentence_count;
mod digit_ratio;
mod duplicate_ngram_char_ratio;
mod fineweb_quality;
mod fix_mojibake;
mod gopher_datatrove;
mod gopher_dclm;
mod gopher_dolma;
mod gopher_quality;
mod gopher_repetition;
mod han_ratio;
mod language;
mod language_probability;
mod length_bucket;
mod limit_newlines;
mod line_count;
mod longest_loop;
mod longest_word_length;
mod mask_pii;
mod model_files;
mod nfc;
mod nfkc;
mod normalize_whitespace;
mod pii_count;
mod punctuation_ratio;
mod redpajama2;
mod refinedweb_lines;
mod remove_control_characters;
mod remove_repeated_lines;
mod remove_repeated_paragraphs;
mod remove_urls;
mod removed_word_ratio;
mod sentence_count;
mod strip_html;
mod to_simplified;
mod to_traditional;
mod top_ngram_char_ratio;
mod unescape_html;
mod xxh3;

use datafusion::logical_expr::ScalarUDF;

pub use model_files::{ModelFiles, file_arguments, model_functions};

/// Every function of ours. A new one is a file, a `mod` line above and a line here.
pub fn functions() -> Vec<ScalarUDF> {
    let mut functions = vec![
        blake3_hex::function(),
        c4_lines::function(),
        char_count::function(),
        compression_ratio::function(),
        datatrove_sentence_count::function(),
        digit_ratio::function(),
        duplicate_ngram_char_ratio::function(),
        fix_mojibake::function(),
        han_ratio::function(),
        language::function(),
        language_probability::function(),
        length_bucket::function(),
        limit_newlines::function(),
        line_count::function(),
        longest_loop::function(),
        longest_word_length::function(),
        mask_pii::function(),
        nfc::function(),
        nfkc::function(),
        normalize_whitespace::function(),
        pii_count::function(),
        punctuation_ratio::function(),
        refinedweb_lines::function(),
        remove_control_characters::function(),
        remove_repeated_lines::function(),
        remove_repeated_paragraphs::function(),
        remove_urls::function(),
        removed_word_ratio::function(),
        sentence_count::function(),
        strip_html::function(),
        to_simplified::function(),
        to_traditional::function(),
        top_ngram_char_ratio::function(),
        unescape_html::function(),
        xxh3::function(),
    ];
    // Functions that share one pass over the text: the record and each of its fields.
    for record in RECORDS {
        functions.extend(record::functions(record));
    }
    functions
}

const RECORDS: &[&record::Record] = &[
    &fineweb_quality::RECORD,
    &gopher_datatrove::RECORD,
    &gopher_dclm::RECORD,
    &gopher_dolma::RECORD,
    &gopher_quality::RECORD,
    &gopher_repetition::RECORD,
    &redpajama2::RECORD,
];

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::Volatility;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_snake_case_and_documented() {
        let mut names = HashSet::new();
        for function in functions().into_iter().chain(model_functions(&Default::default())) {
            let name = function.name().to_string();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(names.insert(name.clone()), "`{name}` is listed twice");
            assert_eq!(function.signature().volatility, Volatility::Immutable, "{name}");
            let documentation = function.documentation().unwrap_or_else(|| panic!("`{name}` has no documentation"));
            assert!(documentation.description.ends_with('.') && documentation.description.len() > 20, "{name}");
        }
    }
}
