//! `remove_repeated_lines(text)`: each line once.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "remove_repeated_lines",
        "The text without lines that stood before in it, compared trimmed and in lower case; empty lines stay. As dclm.",
        Kernel::Text(text::rewrites::remove_repeated_lines),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn the_first_stays() {
        check("remove_repeated_lines(text)", &[("", ""), ("a\nb\n A\n\n\nb", "a\nb\n\n")]);
    }
}
