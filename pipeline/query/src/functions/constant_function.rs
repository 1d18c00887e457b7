//! Functions of a text whose further arguments are constants: they are looked at once per batch, not per row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::types::logical_string;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignatureClass, Volatility,
};

use super::text_function::{documentation, for_each_text, map_texts};

/// A function of one text.
type Kernel<T> = Box<dyn Fn(&str) -> T>;

/// What is computed from one text once the constants are known. `None` is null.
pub(super) enum Prepared {
    Integer(Kernel<Result<Option<i64>>>),
    Number(Kernel<Option<f64>>),
    Text(Kernel<Option<String>>),
}

/// Looks at the constants.
type Prepare = dyn Fn(&[&str]) -> Result<Prepared> + Send + Sync;

/// The SQL function `name(text, argument, …)`; `returns` is the type that `prepare` gives.
pub(super) fn constant_function(
    name: &'static str,
    about: &str,
    arguments: &'static [&'static str],
    returns: DataType,
    prepare: impl Fn(&[&str]) -> Result<Prepared> + Send + Sync + 'static,
) -> ScalarUDF {
    let string = || Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
    let signature = Signature::coercible((0..=arguments.len()).map(|_| string()).collect(), Volatility::Immutable);
    let documentation = documentation(about, format!("{name}(text, {})", arguments.join(", ")));
    ScalarUDF::new_from_impl(ConstantFunction { name, arguments, returns, prepare: Arc::new(prepare), signature, documentation })
}

struct ConstantFunction {
    name: &'static str,
    arguments: &'static [&'static str],
    returns: DataType,
    prepare: Arc<Prepare>,
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for ConstantFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut constants = Vec::new();
        for (argument, name) in args.args[1..].iter().zip(self.arguments) {
            let ColumnarValue::Scalar(value) = argument else { return exec_err!("`{}`: `{name}` must be a constant", self.name) };
            match value.try_as_str() {
                Some(Some(constant)) => constants.push(constant),
                // Null in, null out.
                _ => return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&self.returns)?)),
            }
        }
        let prepared = (self.prepare)(&constants)?;
        map_texts(&args.args[0], |texts| apply(&prepared, texts))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn apply(prepared: &Prepared, texts: &ArrayRef) -> Result<ArrayRef> {
    Ok(match prepared {
        Prepared::Integer(kernel) => {
            let mut values = Int64Builder::with_capacity(texts.len());
            let mut failed = None;
            for_each_text(texts, |text| {
                let value = text.map_or(Ok(None), kernel).unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                });
                values.append_option(value);
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            Arc::new(values.finish())
        }
        Prepared::Number(kernel) => {
            let mut values = Float64Builder::with_capacity(texts.len());
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
        Prepared::Text(kernel) => {
            let mut values = StringViewBuilder::with_capacity(texts.len());
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
    })
}

impl std::fmt::Debug for ConstantFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ConstantFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ConstantFunction {}

impl Hash for ConstantFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
