//! `language_probability(text, code)`: how sure it is that a text is in a language.

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;
use engine::{list, suggest};

use super::constant_function::{Prepared, constant_function};

pub(super) fn function() -> ScalarUDF {
    constant_function(
        "language_probability",
        "How sure `language` is when it finds the given one (a code of ISO 639-1), else 0; null when nothing tells. A confidence from 0 to 1 by the \
         lead over the second language, no calibrated probability.",
        &["code"],
        DataType::Float64,
        prepare,
    )
}

fn prepare(arguments: &[&str]) -> Result<Prepared> {
    let codes = text::language_codes();
    let Ok(known) = codes.binary_search(&arguments[0]) else {
        return exec_err!(
            "unknown language `{}`{}; known: {}",
            arguments[0],
            suggest(arguments[0], codes.iter().copied()),
            list(codes.iter().copied())
        );
    };
    let wanted = codes[known];
    Ok(Prepared::Number(Box::new(move |text| {
        let (code, confidence) = text::language(text)?;
        Some(if code == wanted { confidence } else { 0.0 })
    })))
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
