//! Functions of one text: what most signals, rewrites and hashes are. A leaf gives a name, a sentence and a kernel.
//!
//! Not for functions with further arguments; those implement `ScalarUDFImpl` themselves and use [`for_each_text`].

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, Int64Builder, StringViewBuilder, UInt64Builder};
use arrow::datatypes::DataType;
use datafusion::common::types::logical_string;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, DocSection, Documentation, DocumentationBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignatureClass, Volatility,
};

/// What is computed from one text. `None` is null: undefined for this text.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Integer(fn(&str) -> Option<i64>),
    Number(fn(&str) -> Option<f64>),
    Hash(fn(&str) -> u64),
    Text(for<'a> fn(&'a str) -> Cow<'a, str>),
}

/// The SQL function `name(text)`. `about` is its documentation: what it gives, by whose definition.
pub(super) fn text_function(name: &'static str, about: &'static str, kernel: Kernel) -> ScalarUDF {
    let documentation = documentation(about, format!("{name}(text)"));
    ScalarUDF::new_from_impl(TextFunction { name, kernel, signature: text_signature(), documentation })
}

struct TextFunction {
    name: &'static str,
    kernel: Kernel,
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kernel {
            Kernel::Integer(_) => DataType::Int64,
            Kernel::Number(_) => DataType::Float64,
            Kernel::Hash(_) => DataType::UInt64,
            Kernel::Text(_) => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        map_texts(&args.args[0], |texts| apply(self.kernel, texts))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn apply(kernel: Kernel, texts: &ArrayRef) -> Result<ArrayRef> {
    let rows = texts.len();
    Ok(match kernel {
        Kernel::Integer(kernel) => {
            let mut values = Int64Builder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
        Kernel::Number(kernel) => {
            let mut values = Float64Builder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
        Kernel::Hash(kernel) => {
            let mut values = UInt64Builder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.map(kernel)))?;
            Arc::new(values.finish())
        }
        // Views, because their total size has no limit of 2 GiB.
        Kernel::Text(kernel) => {
            let mut values = StringViewBuilder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.map(kernel)))?;
            Arc::new(values.finish())
        }
    })
}

/// Applies `kernel` to the texts of an argument; a constant is computed once.
pub(super) fn map_texts(argument: &ColumnarValue, kernel: impl FnOnce(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match argument {
        ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(kernel(texts)?)),
        ColumnarValue::Scalar(text) => {
            let values = kernel(&text.to_array()?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
        }
    }
}

/// Calls `each` for every row of a string array of any type.
pub(super) fn for_each_text(texts: &ArrayRef, each: impl FnMut(Option<&str>)) -> Result<()> {
    match texts.data_type() {
        DataType::Utf8View => texts.as_string_view().iter().for_each(each),
        DataType::Utf8 => texts.as_string::<i32>().iter().for_each(each),
        DataType::LargeUtf8 => texts.as_string::<i64>().iter().for_each(each),
        other => return exec_err!("expected text, got {other}"),
    }
    Ok(())
}

/// One argument: a string of any type.
pub(super) fn text_signature() -> Signature {
    Signature::coercible(vec![Coercion::new_exact(TypeSignatureClass::Native(logical_string()))], Volatility::Immutable)
}

pub(super) fn documentation(about: &str, syntax: String) -> Documentation {
    DocumentationBuilder::new_with_details(DocSection { include: true, label: "Corpusmill", description: None }, about, syntax).build()
}

impl std::fmt::Debug for TextFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

// A function is its name: names are unique (tested in the list).
impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TextFunction {}

impl Hash for TextFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Tables of cases for tests of leaves, run through SQL as users write it.
#[cfg(test)]
pub(super) mod check {
    use crate::{Session, Settings};
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};

    /// What the expression gives for one text, as a string; `null` for null, numbers rounded to 6 digits.
    pub fn evaluate(expression: &str, text: Option<&str>) -> String {
        let session = Session::new(&Settings::default()).unwrap();
        let batch = arrow::array::RecordBatch::try_from_iter([(
            "text",
            std::sync::Arc::new(arrow::array::StringViewArray::from(vec![text])) as arrow::array::ArrayRef,
        )])
        .unwrap();
        let context = session.context();
        context.register_batch("t", batch).unwrap();
        let batches = session
            .block_on(async { context.sql(&format!("select {expression} as value from t")).await?.collect().await })
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        let value = batches[0].column(0);
        if value.is_null(0) {
            return "null".to_string();
        }
        match value.data_type() {
            DataType::Int64 => value.as_primitive::<Int64Type>().value(0).to_string(),
            DataType::UInt64 => value.as_primitive::<UInt64Type>().value(0).to_string(),
            DataType::Float64 => {
                let number = value.as_primitive::<Float64Type>().value(0);
                ((number * 1e6).round() / 1e6).to_string()
            }
            DataType::Utf8View => value.as_string_view().value(0).to_string(),
            DataType::Utf8 => value.as_string::<i32>().value(0).to_string(),
            other => panic!("{expression} gives {other}"),
        }
    }

    /// `cases`: (text, expected value of `expression`).
    pub fn check(expression: &str, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(evaluate(expression, Some(text)), *expected, "{expression} of {text:?}");
        }
        assert_eq!(evaluate(expression, None), "null", "{expression} of null");
    }
}
