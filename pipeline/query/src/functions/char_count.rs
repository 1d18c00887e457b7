//! `char_count(text)`: characters, that is Unicode scalar values.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function("char_count", "Characters (Unicode scalar values).", Kernel::Integer(|text| Some(text.chars().count() as i64)))
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_scalar_values() {
        check("char_count(text)", &[("", "0"), ("a b\n", "4"), ("中文", "2"), ("e\u{301}", "2")]);
    }
}
