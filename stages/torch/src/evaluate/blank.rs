//! Masked models on the word that fills a blank, as the published script of StereoSet asks them (Nadeem et al. 2021; `IntrasentenceLoader` of
//! dataloader.py and `evaluate_intrasentence` of eval_discriminative_models.py): of a token at a time, which is hidden behind the word's tokens
//! before it and without those after it. A word is worth the mean of its tokens' probabilities, not of their logarithms.
//!
//! The script reads a word without the space before it, which makes no difference to WordPiece. Here the space belongs to the word, as Meade et al.
//! 2022 have it for RoBERTa.

use anyhow::{Context as _, Result, ensure};

use super::{Row, Target, Work};

/// Stands for the word.
const BLANK: &str = "BLANK";

impl Work<'_> {
    /// The word of each text in its place, once for each of its tokens.
    pub(super) fn filled(&self, context: &str, texts: &[String], first: usize) -> Result<Vec<Row>> {
        let mask = self.mask()?;
        let (left, right) = around(context)?;
        let (left, space) = left.split_at(left.trim_end().len());
        let (begin, end) = self.model.frame()?;
        let (before, after) = ([begin, self.model.encode(left)?].concat(), [self.model.encode(right)?, end].concat());
        let mut rows = Vec::new();
        for (text, request) in texts.iter().zip(first..) {
            let word = word(context, text)?;
            let tokens = self.model.encode(&format!("{space}{word}"))?;
            self.check_length(&word, tokens.len())?;
            for (place, label) in tokens.iter().enumerate() {
                let ids = [&before[..], &tokens[..place], &[mask], &after].concat();
                self.check_length(text, ids.len())?;
                rows.push(Row { ids, targets: vec![Target { place: before.len() + place, label: *label, request }] });
            }
        }
        Ok(rows)
    }
}

/// What stands before the blank and after it.
fn around(context: &str) -> Result<(&str, &str)> {
    let found = context.split_once(BLANK).filter(|(_, right)| !right.contains(BLANK));
    found.with_context(|| format!("masked models are asked of one `{BLANK}` in `context`, which is `{context}`"))
}

/// The word of a text that stands where the blank does, by spaces, without its punctuation.
fn word(context: &str, text: &str) -> Result<String> {
    let place = context.split(' ').position(|word| word.contains(BLANK)).unwrap_or(0);
    let word: String = text.split(' ').nth(place).unwrap_or_default().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    ensure!(!word.is_empty(), "text `{text}` has no word where `{context}` has its `{BLANK}`");
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_fills_the_blank() {
        let found = |context: &str, text: &str| word(context, text).map_err(|error| error.to_string());
        assert_eq!(found("Girls tend to be more BLANK than boys.", "Girls tend to be more soft than boys.").unwrap(), "soft");
        assert_eq!(found("He is so BLANK.", "He is so self-\"made\".").unwrap(), "selfmade");
        assert_eq!(found("BLANK, he said", "Très, he said").unwrap(), "Très");
        // The script takes one word, too.
        assert_eq!(found("He is BLANK here.", "He is very good here.").unwrap(), "very");
        assert_eq!(found("He is a BLANK", "He is").unwrap_err(), "text `He is` has no word where `He is a BLANK` has its `BLANK`");
        assert_eq!(found("He is BLANK", "He is ...").unwrap_err(), "text `He is ...` has no word where `He is BLANK` has its `BLANK`");
    }

    #[test]
    fn there_is_one_blank() {
        assert_eq!(around("a BLANK.").unwrap(), ("a ", "."));
        let none = "masked models are asked of one `BLANK` in `context`, which is";
        for context in ["", "a blank", "BLANK and BLANK"] {
            assert_eq!(around(context).unwrap_err().to_string(), format!("{none} `{context}`"));
        }
    }
}
