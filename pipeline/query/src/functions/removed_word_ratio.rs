//! `removed_word_ratio(before, after)`: how much of a text a rewrite took.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Builder, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::types::logical_string;
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignatureClass, Volatility,
};

use super::text_function::{documentation, for_each_text};

pub(super) fn function() -> ScalarUDF {
    let about = "The share of the words of the first text that the second has fewer, below 0 if it has more; null without words before. A rule of \
                 RefinedWeb as in dclm: `removed_word_ratio(text, refinedweb_lines(text))` is at most 0.05, computed before the rewrite.";
    let text = Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
    let signature = Signature::coercible(vec![text.clone(), text], Volatility::Immutable);
    let documentation = documentation(about, "removed_word_ratio(before, after)".to_string());
    ScalarUDF::new_from_impl(RemovedWordRatio { signature, documentation })
}

#[derive(Debug)]
struct RemovedWordRatio {
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for RemovedWordRatio {
    fn name(&self) -> &str {
        "removed_word_ratio"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (before, after) = (word_counts(&arrays[0])?, word_counts(&arrays[1])?);
        let mut ratios = Float64Builder::with_capacity(before.len());
        for (before, after) in before.iter().zip(after.iter()) {
            let ratio = before.zip(after).filter(|(before, _)| *before > 0);
            ratios.append_option(ratio.map(|(before, after)| (before - after) as f64 / before as f64));
        }
        Ok(ColumnarValue::Array(Arc::new(ratios.finish())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn word_counts(texts: &ArrayRef) -> Result<Int64Array> {
    let mut counts = Int64Array::builder(texts.len());
    for_each_text(texts, |text| counts.append_option(text.map(|text| text::words(text).count() as i64)))?;
    Ok(counts.finish())
}

// A function is its name.
impl PartialEq for RemovedWordRatio {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RemovedWordRatio {}

impl Hash for RemovedWordRatio {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn words_that_went() {
        check("removed_word_ratio(text, refinedweb_lines(text))", &[("", "null"), ("a b\nc", "0.333333"), ("a b", "0")]);
        check("removed_word_ratio(text, text || ' x')", &[("a b", "-0.5")]);
    }
}
