//! `nfkc(text)`: Unicode normal form KC.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "nfkc",
        "The text in Unicode normal form KC (UAX #15): as `nfc`, and full-width forms, ligatures, superscripts and other \
         compatibility characters as plain ones.",
        Kernel::Text(text::nfkc),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn gives_plain_characters() {
        check("nfkc(text)", &[("", ""), ("abc", "abc"), ("ＡＢＣ１", "ABC1"), ("ﬁ x²", "fi x2"), ("e\u{301}", "é")]);
    }
}
