//! `language(text)`: which language a text is in.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "language",
        "The language as a code of ISO 639-1, `und` when nothing tells: trigrams of the first 16 KiB against 70 languages, by the crate whatlang. \
         For single lines or close relatives use `fasttext_label` with a model file.",
        Kernel::Text(|text| Cow::Borrowed(text::language(text).map_or("und", |(code, _)| code))),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn gives_codes() {
        check(
            "language(text)",
            &[
                ("", "und"),
                ("1 2 3", "und"),
                ("我们一起去公园散步吧。", "zh"),
                ("This is what the people of this country have said.", "en"),
            ],
        );
    }
}
