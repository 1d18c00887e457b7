//! `refinedweb_lines(text)`: the line rules of RefinedWeb.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "refinedweb_lines",
        "The text by the line rules of RefinedWeb as dclm has them: without lines of more than half capitals, of digits alone, \
         of counters (`3 likes`) and of one word, and without `items in cart`, `Read more...` and `Sign-in` in lines of at most \
         10 words.",
        Kernel::Text(text::rewrites::refinedweb_lines),
    )
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn drops_lines() {
        check("refinedweb_lines(text)", &[("", ""), ("Two words\nONE SHOUT\n12\n3 likes\nword", "Two words")]);
    }
}
