//! The two kinds of words that RedPajama v2's annotations speak of (Weber et al. 2024; its program's `normalization.py` and `document.py`).

use unicode_normalization::{UnicodeNormalization, is_nfd};

/// Without ASCII punctuation, in lower case and decomposed; white space stays, for words are split at it.
pub fn normalize(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let lower = plain.to_lowercase();
    if lower.is_ascii() || is_nfd(&lower) { lower } else { lower.nfd().collect() }
}

/// Runs of word characters and runs of what is neither that nor white space.
pub fn raw_words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|chunk| {
        let mut rest = chunk;
        std::iter::from_fn(move || {
            let is_word = is_word_character(rest.chars().next()?);
            let end = rest.find(|c| is_word_character(c) != is_word).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(end);
            rest = behind;
            Some(run)
        })
    })
}

/// A letter, a digit or `_`.
pub fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
