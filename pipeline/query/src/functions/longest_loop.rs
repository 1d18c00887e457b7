//! `longest_loop(text)`: the same words over and over, as broken pages and language models write them.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function(
        "longest_loop",
        "How often in a row a run of 1 to 13 words stands at most: 3 for `no way no way no way`. As Dolma's tagger tokenizer_repetitions, which counts \
         tokens where this counts words between white space; OLMo 2 drops documents above 32.",
        Kernel::Integer(|text| Some(text::longest_loop(text.split_whitespace(), MAX_PERIOD) as i64)),
    )
}

/// Dolma's longest period.
const MAX_PERIOD: usize = 13;

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_runs_in_a_row() {
        check("longest_loop(text)", &[("", "0"), ("a b c", "1"), ("no way no way\nno way", "3"), (&"ha ".repeat(40), "40")]);
    }
}
