//! `sentence_count(text)`: sentences by the crate `text`.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "sentence_count",
        "Sentences with a letter or digit: UAX-29 sentences, also cut after the full-width semicolon.",
        Kernel::Integer(|text| Some(text::sentences(text).count() as i64)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_english_and_chinese_sentences() {
        check("sentence_count(text)", &[("", "0"), ("One. Two!\nThree", "3"), ("今天下雨。我们走吧！", "2")]);
    }
}
