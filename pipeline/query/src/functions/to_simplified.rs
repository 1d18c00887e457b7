//! `to_simplified(text)`: traditional Chinese becomes simplified.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "to_simplified",
        "The text with Chinese in simplified characters, phrase by phrase, by the tables of OpenCC (`t2s`).",
        Kernel::Text(text::rewrites::to_simplified),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn phrases_decide() {
        check("to_simplified(text)", &[("", ""), ("頭髮發展 abc", "头发发展 abc"), ("乾隆", "乾隆")]);
    }
}
