//! `longest_word_length(text)`: what stands without white space for too long is no word.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "longest_word_length",
        "Characters of the longest piece between white space; null without one. C4 drops lines with more than 1000: encoded data, text without spaces.",
        Kernel::Integer(|text| text.split_whitespace().map(|word| text::characters(word) as i64).max()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_stand_between_white_space() {
        check("longest_word_length(text)", &[("", "null"), (" \n", "null"), ("a bcd, é", "4"), ("中文\tab", "2")]);
    }
}
