//! `remove_repeated_paragraphs(text)`: each paragraph once.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "remove_repeated_paragraphs",
        "The text without paragraphs (divided by an empty line) that stood before in it, compared trimmed and in lower case. As \
         dclm.",
        Kernel::Text(text::rewrites::remove_repeated_paragraphs),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn the_first_stays() {
        check("remove_repeated_paragraphs(text)", &[("", ""), ("a\nb\n\nc\n\nA\nb", "a\nb\n\nc")]);
    }
}
