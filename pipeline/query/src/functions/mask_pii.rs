//! `mask_pii(text, kinds[, style])`: personal data gives way to a mask.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use text::rewrites::{Pii, PiiKinds, PiiStyle, mask_pii};

use super::options::{Bound, Kind, Optioned, choice, function_with_options, text_of};

pub(super) fn function() -> ScalarUDF {
    function_with_options(Optioned {
        name: "mask_pii",
        about: "The text with personal data of these kinds masked, such as `'email,ip'` (as datatrove and FineWeb): `email` (not at \
                example.com and other reserved names), `ip` (public ones; four numbers below 10 are a version, but for name servers such as 8.8.8.8), \
                `phone`, `card` (with Luhn's check), `cn_id` (with date and check), `cn_mobile`, `us_ssn`. The style is `label` (default: `[EMAIL]`), \
                `dolma` or `datatrove`.",
        options: &[("kinds", Kind::Text), ("style", Kind::Text)],
        required: 1,
        returns: DataType::Utf8View,
        bind: Box::new(|options| {
            let kinds = kinds(text_of(&options[0]))?;
            let style = options.get(1).map_or(Ok(PiiStyle::Label), |name| choice("style", text_of(name), &PiiStyle::NAMES))?;
            Ok(Bound::Rewrite(Box::new(move |text| mask_pii(text, kinds, style))))
        }),
    })
}

/// The kinds of a list such as `email, ip`.
pub(super) fn kinds(list: &str) -> Result<PiiKinds, String> {
    list.split(',').try_fold(PiiKinds::default(), |kinds, name| Ok(kinds.with(choice("kind", name.trim(), &Pii::NAMES)?)))
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn kinds_and_styles() {
        check("mask_pii(text, 'email, ip')", &[("", ""), ("a@b.org 10.0.0.1 8.8.4.40", "[EMAIL] 10.0.0.1 [IP]")]);
        check("mask_pii(text, 'email', 'dolma')", &[("a@b.org", "|||EMAIL_ADDRESS|||")]);
        check("mask_pii(text, 'cn_mobile')", &[("手机13812345678", "手机[CN_MOBILE]")]);
    }
}
