//! `punctuation_ratio(text)`: share of punctuation characters, of any script.

use std::sync::LazyLock;

use datafusion::logical_expr::ScalarUDF;
use regex::Regex;

use super::han_ratio::share_of_characters;
use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "punctuation_ratio",
        "Punctuation (Unicode category P) divided by all characters that are not white space; null without such characters.",
        Kernel::Number(|text| share_of_characters(text, &PUNCTUATION)),
    )
}

static PUNCTUATION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{P}+").expect("a constant pattern"));

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_punctuation_of_any_script() {
        check("punctuation_ratio(text)", &[("", "null"), ("a, b!", "0.5"), ("好。", "0.5"), ("1 + 1", "0"), ("——", "1")]);
    }
}
