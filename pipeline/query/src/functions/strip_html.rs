//! `strip_html(text)`: takes remnants of HTML out.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "strip_html",
        "The text without HTML tags, comments, scripts and styles, and with entities decoded; `br` and block elements become \
         line feeds. Comparisons and code between back ticks stay.",
        Kernel::Text(text::rewrites::strip_html),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn tags_go() {
        check("strip_html(text)", &[("", ""), ("<p>a <b>b</b></p>", "a b\n"), ("a < b > c Vec<String>", "a < b > c Vec<String>")]);
    }
}
