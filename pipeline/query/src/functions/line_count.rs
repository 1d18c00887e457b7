//! `line_count(text)`: lines that hold more than white space.

use datafusion::logical_expr::ScalarUDF;

use super::text_function::{Kernel, text_function};

pub(super) fn function() -> ScalarUDF {
    text_function("line_count", "Lines that hold more than white space.", Kernel::Integer(line_count))
}

fn line_count(text: &str) -> Option<i64> {
    Some(text.split('\n').filter(|line| !line.trim().is_empty()).count() as i64)
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn blank_lines_are_no_lines() {
        check("line_count(text)", &[("", "0"), (" \n\t\n", "0"), ("a", "1"), ("a\n\nb\r\n", "2")]);
    }
}
