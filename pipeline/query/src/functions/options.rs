//! Functions of one text with options, such as `limit_newlines(text, 2)`: the options are constants, read once for all rows.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Builder, Int64Builder, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::types::{logical_int64, logical_string};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, TypeSignatureClass,
    Volatility,
};
use engine::{list, suggest};

use super::text_function::{documentation, for_each_text, map_texts};

/// A new text, borrowed where nothing changes.
type Rewrite = Box<dyn for<'a> Fn(&'a str) -> Cow<'a, str>>;

/// A function of one text.
type Kernel<T> = Box<dyn Fn(&str) -> T>;

/// What the function gives for one text and the options that were read. `None` is null.
pub(super) enum Bound {
    Rewrite(Rewrite),
    Text(Kernel<Option<String>>),
    Integer(Kernel<Result<i64, String>>),
    Number(Kernel<Option<f64>>),
}

/// Reads the options that are given. The message of an error says which values there are.
type Bind = Box<dyn Fn(&[ScalarValue]) -> Result<Bound, String> + Send + Sync>;

/// An option, by position.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Integer,
}

/// A function with options.
pub(super) struct Optioned {
    pub name: &'static str,
    pub about: &'static str,
    /// The names of the options, as documentation shows them, with their kinds.
    pub options: &'static [(&'static str, Kind)],
    /// So many of them must be given.
    pub required: usize,
    pub returns: DataType,
    pub bind: Bind,
}

pub(super) fn function_with_options(function: Optioned) -> ScalarUDF {
    let kind = |kind: Kind| match kind {
        Kind::Text => Coercion::new_exact(TypeSignatureClass::Native(logical_string())),
        Kind::Integer => Coercion::new_exact(TypeSignatureClass::Native(logical_int64())),
    };
    let with = |given: usize| {
        let options = function.options[..given].iter().map(|option| kind(option.1));
        TypeSignature::Coercible(std::iter::once(kind(Kind::Text)).chain(options).collect())
    };
    let signature = Signature::one_of((function.required..=function.options.len()).map(with).collect(), Volatility::Immutable);
    let option = |(index, option): (usize, &(&str, Kind))| match index < function.required {
        true => format!(", {}", option.0),
        false => format!("[, {}]", option.0),
    };
    let options: String = function.options.iter().enumerate().map(option).collect();
    let documentation = documentation(function.about, format!("{}(text{options})", function.name));
    ScalarUDF::new_from_impl(OptionedFunction { function, signature, documentation })
}

/// The choice with this name; an error that lists all.
pub(super) fn choice<T: Copy>(what: &str, name: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    let names = || choices.iter().map(|choice| choice.0);
    let found = choices.iter().find(|choice| choice.0 == name);
    found.map(|choice| choice.1).ok_or_else(|| format!("unknown {what} `{name}`{}; there are {}", suggest(name, names()), list(names())))
}

/// The text of an option.
pub(super) fn text_of(option: &ScalarValue) -> &str {
    option.try_as_str().flatten().unwrap_or("")
}

struct OptionedFunction {
    function: Optioned,
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for OptionedFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.function.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut options = Vec::new();
        for (value, (option, _)) in args.args[1..].iter().zip(self.function.options) {
            match value {
                ColumnarValue::Scalar(value) if !value.is_null() => options.push(value.clone()),
                _ => return exec_err!("`{}`: `{option}` must be a constant that is not null", self.function.name),
            }
        }
        let failed = |message| exec_datafusion_err!("`{}`: {message}", self.function.name);
        let bound = (self.function.bind)(&options).map_err(failed)?;
        map_texts(&args.args[0], |texts| apply(&bound, texts)?.map_err(failed))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The column of results; the message of the last text that failed.
fn apply(bound: &Bound, texts: &ArrayRef) -> Result<Result<ArrayRef, String>> {
    let rows = texts.len();
    let mut failed = None;
    let values: ArrayRef = match bound {
        Bound::Rewrite(rewrite) => {
            let mut values = StringViewBuilder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.map(rewrite)))?;
            Arc::new(values.finish())
        }
        Bound::Text(kernel) => {
            let mut values = StringViewBuilder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
        Bound::Integer(count) => {
            let mut values = Int64Builder::with_capacity(rows);
            let mut count = |text: &str| count(text).map_err(|message| failed = Some(message)).ok();
            for_each_text(texts, |text| values.append_option(text.and_then(&mut count)))?;
            Arc::new(values.finish())
        }
        Bound::Number(kernel) => {
            let mut values = Float64Builder::with_capacity(rows);
            for_each_text(texts, |text| values.append_option(text.and_then(kernel)))?;
            Arc::new(values.finish())
        }
    };
    Ok(failed.map_or(Ok(values), Err))
}

impl std::fmt::Debug for OptionedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for OptionedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for OptionedFunction {}

impl Hash for OptionedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}
