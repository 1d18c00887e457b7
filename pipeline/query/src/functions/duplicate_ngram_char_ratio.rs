//! `duplicate_ngram_char_ratio(text, n)`: how much of a text lies within n-grams that occur more than once.

use datafusion::logical_expr::ScalarUDF;

use super::gopher_repetition::duplicate_char_ratio;
use super::top_ngram_char_ratio::ngram_function;

pub(super) fn function() -> ScalarUDF {
    ngram_function(
        "duplicate_ngram_char_ratio",
        "Characters of words within a word n-gram that occurs more than once, each word counted once, divided by the characters of all words. \
         Gopher (Rae et al. 2021) with the details of dclm.",
        duplicate_char_ratio,
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn overlapping_ngrams_count_once() {
        check("duplicate_ngram_char_ratio(text, 2)", &[("", "0"), ("a", "0"), ("a a a", "1"), ("a b x a b", "0.8")]);
        let sentence = "one two three four five";
        check("duplicate_ngram_char_ratio(text, 5)", &[(&format!("{sentence}. {sentence}!"), "1"), (sentence, "0")]);
        check("duplicate_ngram_char_ratio(text, 6)", &[(&format!("{sentence}. {sentence}!"), "0")]);
    }
}
