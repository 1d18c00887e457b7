//! `to_traditional(text)`: simplified Chinese becomes traditional.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "to_traditional",
        "The text with Chinese in traditional characters, phrase by phrase, by the tables of OpenCC (`s2t`).",
        Kernel::Text(text::rewrites::to_traditional),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn phrases_decide() {
        check("to_traditional(text)", &[("", ""), ("头发发展 abc", "頭髮發展 abc"), ("皇后在后面", "皇后在後面")]);
    }
}
