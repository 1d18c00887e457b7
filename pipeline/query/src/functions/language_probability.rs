//! `language_probability(text, code)`: how sure it is that a text is in a language.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::options::{Bound, Kind, Optioned, choice, function_with_options, text_of};

pub(super) fn function() -> ScalarUDF {
    function_with_options(Optioned {
        name: "language_probability",
        about: "How sure `language` is when it finds the given one (a code of ISO 639-1), else 0; null when nothing tells. A confidence from 0 to 1 \
                by the lead over the second language, no calibrated probability.",
        options: &[("code", Kind::Text)],
        required: 1,
        returns: DataType::Float64,
        bind: Box::new(|options| {
            let codes: Vec<_> = text::language_codes().iter().map(|code| (*code, *code)).collect();
            let wanted = choice("language", text_of(&options[0]), &codes)?;
            Ok(Bound::Number(Box::new(move |text| {
                let (code, confidence) = text::language(text)?;
                Some(if code == wanted { confidence } else { 0.0 })
            })))
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn is_zero_for_other_languages() {
        let english = "This is what the people of this country have said, and they have said it more than once to all who would listen.";
        check("language_probability(text, 'en')", &[("1", "null"), (english, "1"), ("我们一起去公园散步吧。", "0")]);
        check("language_probability(text, 'zh')", &[(english, "0"), ("我们一起去公园散步吧。", "1")]);
    }
}
