//! Functions that compute several values of a text in one pass: one that gives them all as a struct, and one per field.
//!
//! A field function rewrites itself to `record(text)['field']`. The optimizer then sees the same sub-expression many times and evaluates
//! it once, so a profile that names twenty signals costs one pass.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::text_function::{documentation, for_each_text, map_texts, text_signature};

/// A function `name(text)` that gives a struct, with a function of the name of each field beside it.
pub(super) struct Record {
    pub name: &'static str,
    pub about: &'static str,
    pub fields: &'static [RecordField],
    /// Fills one value per field; `None` is null.
    pub kernel: fn(&str, &mut [Option<f64>]),
}

pub(super) struct RecordField {
    pub name: &'static str,
    pub about: &'static str,
    pub integer: bool,
    /// Whether the field has a function of its own name; if not, it is reached as `record(text)['field']` or by another function.
    pub function: bool,
}

impl RecordField {
    /// A field without a function of its own.
    pub const fn number(name: &'static str) -> RecordField {
        RecordField { name, about: "", integer: false, function: false }
    }

    /// The same for whole numbers.
    pub const fn integer(name: &'static str) -> RecordField {
        RecordField { name, about: "", integer: true, function: false }
    }
}

/// `part` divided by `whole`; undefined when there is no whole.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The struct function and those of its fields.
pub(super) fn functions(record: &'static Record) -> Vec<ScalarUDF> {
    let fields = record.fields.iter().enumerate().filter(|(_, field)| field.function);
    std::iter::once(record_function(record)).chain(fields.map(|(index, _)| field_function(record, index))).collect()
}

/// `record(argument)['field']`.
pub(super) fn field_of(record: &'static Record, argument: Expr, field: &str) -> Expr {
    get_field(record_function(record).call(vec![argument]), field)
}

fn record_function(record: &'static Record) -> ScalarUDF {
    let documentation = documentation(record.about, format!("{}(text)", record.name));
    ScalarUDF::new_from_impl(RecordFunction { record, field: None, signature: text_signature(), documentation })
}

fn field_function(record: &'static Record, field: usize) -> ScalarUDF {
    let documentation = documentation(record.fields[field].about, format!("{}(text)", record.fields[field].name));
    ScalarUDF::new_from_impl(RecordFunction { record, field: Some(field), signature: text_signature(), documentation })
}

struct RecordFunction {
    record: &'static Record,
    field: Option<usize>,
    signature: Signature,
    documentation: Documentation,
}

impl RecordFunction {
    fn evaluate(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let columns = evaluate(self.record, texts)?;
        Ok(match self.field {
            Some(field) => Arc::clone(&columns[field]),
            None => Arc::new(StructArray::new(fields(self.record), columns, None)),
        })
    }
}

fn fields(record: &Record) -> Fields {
    record.fields.iter().map(|field| Field::new(field.name, data_type(field), true)).collect()
}

fn data_type(field: &RecordField) -> DataType {
    if field.integer { DataType::Int64 } else { DataType::Float64 }
}

/// One column per field.
fn evaluate(record: &Record, texts: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let rows = texts.len();
    let width = record.fields.len();
    let mut row = vec![None; width];
    let mut columns: Vec<Float64Builder> = (0..width).map(|_| Float64Builder::with_capacity(rows)).collect();
    for_each_text(texts, |text| {
        row.fill(None);
        if let Some(text) = text {
            (record.kernel)(text, &mut row);
        }
        columns.iter_mut().zip(&row).for_each(|(column, value)| column.append_option(*value));
    })?;
    let finish = |(mut column, field): (Float64Builder, &RecordField)| -> ArrayRef {
        let values = column.finish();
        if !field.integer {
            return Arc::new(values);
        }
        let mut integers = Int64Builder::with_capacity(rows);
        values.iter().for_each(|value| integers.append_option(value.map(|value| value as i64)));
        Arc::new(integers.finish())
    };
    Ok(columns.into_iter().zip(record.fields).map(finish).collect())
}

impl ScalarUDFImpl for RecordFunction {
    fn name(&self) -> &str {
        self.field.map(|field| self.record.fields[field].name).unwrap_or(self.record.name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.map(|field| data_type(&self.record.fields[field])).unwrap_or_else(|| DataType::Struct(fields(self.record))))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.field {
            Some(field) => {
                let argument = args.into_iter().next().expect("the signature has one argument");
                ExprSimplifyResult::Simplified(field_of(self.record, argument, self.record.fields[field].name))
            }
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        map_texts(&args.args[0], |texts| self.evaluate(texts))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl std::fmt::Debug for RecordFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for RecordFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for RecordFunction {}

impl Hash for RecordFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Session, Settings};
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use std::sync::Arc;

    #[test]
    fn many_fields_cost_one_pass() {
        let session = Session::new(&Settings::default()).unwrap();
        let context = session.context();
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a b"]));
        context.register_batch("t", RecordBatch::try_from_iter([("text", text)]).unwrap()).unwrap();
        let sql = "explain select text, top_ngram_char_ratio(text, 2), duplicate_ngram_char_ratio(text, 5), duplicate_line_ratio(text) \
                   from (select nfc(text) as text from t)";
        let plan = arrow::util::pretty::pretty_format_batches(&session.collect(&context, sql).unwrap()).unwrap().to_string();
        let physical = plan.split("physical_plan").last().unwrap();
        assert_eq!(physical.matches("gopher_repetition(").count(), 1, "{plan}");
        assert_eq!(physical.matches("nfc(").count(), 1, "{plan}");
    }
}
