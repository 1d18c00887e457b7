//! `han_ratio(text)`: how much of a text is Chinese writing.

use std::sync::LazyLock;

use datafusion::logical_expr::ScalarUDF;
use regex::Regex;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "han_ratio",
        "Han characters (script Han of Unicode) divided by all characters that are not white space; null without such characters.",
        Kernel::Number(|text| share_of_characters(text, &HAN)),
    )
}

static HAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{Han}+").expect("a constant pattern"));

/// Characters within matches of `pattern` (which matches no white space), divided by all characters that are not white space.
pub(super) fn share_of_characters(text: &str, pattern: &Regex) -> Option<f64> {
    let characters = text.chars().filter(|c| !c.is_whitespace()).count();
    let matched: usize = pattern.find_iter(text).map(|found| found.as_str().chars().count()).sum();
    (characters > 0).then(|| matched as f64 / characters as f64)
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn white_space_does_not_count() {
        check(
            "han_ratio(text)",
            &[("", "null"), (" \n", "null"), ("中文 ab", "0.5"), ("abc", "0"), ("漢字。", "0.666667"), ("カナ々", "0.333333")],
        );
    }
}
