//! `pii_count(text, kinds)`: how much personal data a text has.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use text::rewrites::pii_count;

use super::mask_pii::kinds;
use super::options::{Bound, Kind, Optioned, function_with_options, text_of};

pub(super) fn function() -> ScalarUDF {
    function_with_options(Optioned {
        name: "pii_count",
        about: "How many pieces of personal data of these kinds the text has, as `mask_pii` finds them (Dolma drops documents with more than 5).",
        options: &[("kinds", Kind::Text)],
        required: 1,
        returns: DataType::Int64,
        bind: Box::new(|options| {
            let kinds = kinds(text_of(&options[0]))?;
            Ok(Bound::Integer(Box::new(move |text| Ok(pii_count(text, kinds) as i64))))
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts() {
        check("pii_count(text, 'email,phone')", &[("", "0"), ("a@b.org, (415) 555-2671, 8.8.4.40", "2")]);
    }
}
