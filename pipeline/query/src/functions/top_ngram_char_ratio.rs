//! `top_ngram_char_ratio(text, n)`: how much of a text its most frequent n-gram takes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::types::{logical_int64, logical_string};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignatureClass, Volatility,
};

use text::Ngrams;

use super::gopher_repetition::{self, top_char_ratio};
use super::record::field_of;
use super::text_function::{documentation, for_each_text};

pub(super) fn function() -> ScalarUDF {
    ngram_function(
        "top_ngram_char_ratio",
        "Characters in all copies of the word n-gram that occurs most (of several the longest), divided by the characters of all words; 0 when \
         none occurs twice. Gopher (Rae et al. 2021) with the details of dclm.",
        top_char_ratio,
    )
}

/// A function `name(text, n)` of the n-grams of a text.
pub(super) fn ngram_function(name: &'static str, about: &str, ratio: fn(&Ngrams) -> f64) -> ScalarUDF {
    let types = [logical_string(), logical_int64()].map(|class| Coercion::new_exact(TypeSignatureClass::Native(class)));
    let signature = Signature::coercible(types.to_vec(), Volatility::Immutable);
    ScalarUDF::new_from_impl(NgramFunction { name, ratio, signature, documentation: documentation(about, format!("{name}(text, n)")) })
}

struct NgramFunction {
    name: &'static str,
    ratio: fn(&Ngrams) -> f64,
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for NgramFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    /// The lengths of Gopher share one pass with its other repetition signals.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let field = match &args[1] {
            Expr::Literal(ScalarValue::Int64(Some(n)), _) => self.name.replace("ngram", &format!("{n}gram")),
            _ => return Ok(ExprSimplifyResult::Original(args)),
        };
        if !gopher_repetition::RECORD.fields.iter().any(|known| known.name == field) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let text = args.into_iter().next().expect("the signature has two arguments");
        Ok(ExprSimplifyResult::Simplified(field_of(&gopher_repetition::RECORD, text, &field)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(self.evaluate(&arrays[0], &arrays[1])?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl NgramFunction {
    fn evaluate(&self, texts: &ArrayRef, lengths: &ArrayRef) -> Result<ArrayRef> {
        let lengths = lengths.as_primitive::<Int64Type>();
        if let Some(n) = lengths.iter().flatten().find(|n| !(1..=1000).contains(n)) {
            return exec_err!("`{}`: n must be between 1 and 1000, got {n}", self.name);
        }
        let mut lengths = lengths.iter();
        let mut ratios = Float64Builder::with_capacity(texts.len());
        for_each_text(texts, |text| {
            let n = lengths.next().flatten();
            ratios.append_option(text.zip(n).map(|(text, n)| {
                let mut ngrams = Ngrams::new(text::words(text), text.len());
                ngrams.advance(n as usize);
                (self.ratio)(&ngrams)
            }));
        })?;
        Ok(Arc::new(ratios.finish()))
    }
}

impl std::fmt::Debug for NgramFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for NgramFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for NgramFunction {}

impl Hash for NgramFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_function::check::check;

    #[test]
    fn counts_copies_and_takes_the_longest() {
        check("top_ngram_char_ratio(text, 2)", &[("", "0"), ("a b c d", "0"), ("a b x a b", "0.8"), ("a b a b ccc ddd ccc ddd", "0.75")]);
        check("top_ngram_char_ratio(text, 1)", &[("the cat the", "0.666667")]);
        check("top_ngram_char_ratio(text, 2 + 1)", &[("中文的中文的", "1")]);
    }
}
