//! `unescape_html(text)`: entities become characters.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "unescape_html",
        "The text with HTML entities that end in a semicolon (`&amp;`, `&#20013;`) as the characters they stand for, once.",
        Kernel::Text(text::rewrites::unescape_html),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn decodes_once() {
        check("unescape_html(text)", &[("", ""), ("a &amp;lt; b &eacute;", "a &lt; b é"), ("AT&T; R&D", "AT&T; R&D")]);
    }
}
