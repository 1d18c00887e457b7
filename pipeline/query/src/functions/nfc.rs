//! `nfc(text)`: Unicode normal form C.

use std::borrow::Cow;

use datafusion::logical_expr::ScalarUDF;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function("nfc", "The text in Unicode normal form C (UAX #15): letters with their marks as one character.", Kernel::Text(nfc))
}

fn nfc(text: &str) -> Cow<'_, str> {
    // Nearly all text of the web is ASCII or in this form already.
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn composes() {
        check("nfc(text)", &[("", ""), ("abc", "abc"), ("e\u{301}", "é"), ("é", "é"), ("\u{2126}", "Ω"), ("ＡＢ", "ＡＢ"), ("각", "각")]);
    }
}
