//! `datatrove_sentence_count(text)`: sentences as datatrove counts them.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "datatrove_sentence_count",
        "Sentences of each line, added up, by the rules that datatrove takes from spaCy: the next sentence begins after a mark that ends one and \
         stands alone once punctuation is cut off words.",
        Kernel::Integer(|text| Some(text::unicode_lines(text).map(text::affix_sentence_count).sum::<u64>() as i64)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn abbreviations_end_no_sentence() {
        check("datatrove_sentence_count(text)", &[("", "0"), ("Mr. No, e.g. here. Two?!\nThree", "3"), ("v1.2 of the U.S. law", "1")]);
    }
}
