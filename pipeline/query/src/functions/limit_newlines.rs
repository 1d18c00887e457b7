//! `limit_newlines(text, most)`: no more than so many line feeds in a row.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;
use text::rewrites::limit_newlines;

use super::options::{Bound, Kind, Optioned, function_with_options};

pub(super) fn function() -> ScalarUDF {
    function_with_options(Optioned {
        name: "limit_newlines",
        about: "The text with at most so many line feeds in a row (RefinedWeb as in dclm: 2).",
        options: &[("most", Kind::Integer)],
        required: 1,
        returns: DataType::Utf8View,
        bind: Box::new(|options| match options {
            [ScalarValue::Int64(Some(most @ 0..=1000))] => {
                let most = *most as usize;
                Ok(Bound::Rewrite(Box::new(move |text| limit_newlines(text, most))))
            }
            other => Err(format!("`most` must be between 0 and 1000, got {}", other.first().unwrap_or(&ScalarValue::Null))),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn runs_are_cut() {
        check("limit_newlines(text, 2)", &[("", ""), ("a\n\nb\n\n\n\nc", "a\n\nb\n\nc")]);
    }
}
