//! `digit_ratio(text)`: share of digits, of any script.

use std::sync::LazyLock;

use datafusion::logical_expr::ScalarUDF;
use regex::Regex;

use super::han_ratio::share_of_characters;
use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "digit_ratio",
        "Digits (Unicode category Nd) divided by all characters that are not white space; null without such characters.",
        Kernel::Number(|text| share_of_characters(text, &DIGITS)),
    )
}

static DIGITS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{Nd}+").expect("a constant pattern"));

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_digits_of_any_script() {
        check("digit_ratio(text)", &[("", "null"), ("a 1 b 2", "0.5"), ("１２三", "0.666667")]);
    }
}
