//! Rows of Arrow record batches as records, for Parquet and Arrow files.

use std::cell::Cell as Shared;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringViewArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use engine::{list, suggest};

use super::Shape;
use super::plain::too_long;
use super::rows::{Cell, ColumnType, Fault, Place, Record, Rows};

/// The libraries check much of what a file claims, and panic where it contradicts itself in a way they did not foresee. That is a fault of
/// the file like others.
pub fn guarded<T, E>(rule: &'static str, read: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, Fault> {
    thread_local! {
        static GUARDED: Shared<bool> = const { Shared::new(false) };
    }
    static HOOK: Once = Once::new();
    // A panic that is caught here is nobody's concern; those of other threads and places are told as ever.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    GUARDED.set(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    read.map_err(|_| Fault::new(rule, "nothing after this row can be read: the file contradicts itself"))
}

/// Rows that are converted at once.
pub const BATCH_ROWS: usize = 1024;

/// Hands on the rows of a batch, the first of which is number `row` of the file `name`.
pub fn read_batch(batch: &RecordBatch, row: u64, name: &str, shape: &Shape, rows: &mut Rows) -> Result<()> {
    for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
        let batch = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
        let table = Columns::new(&batch, shape).with_context(|| format!("`{name}`"))?;
        for index in 0..batch.num_rows() {
            let place = Place { position: row + (start + index) as u64, line: None };
            match table.record(index, shape, |record| rows.document(place, record)) {
                Ok(result) => result?,
                Err(fault) => rows.reject(place, fault)?,
            }
        }
    }
    Ok(())
}

/// Refuses a file that lacks a wanted column.
pub fn check_columns(schema: &Schema, shape: &Shape) -> Result<()> {
    let wanted = std::iter::once(&shape.text).chain(shape.columns.iter().map(|column| &column.field)).chain(&shape.source_field);
    for name in wanted {
        if schema.index_of(name).is_err() {
            let names = || schema.fields().iter().map(|field| field.name().as_str());
            bail!("has no column `{name}`{}; columns: {}", suggest(name, names()), list(names()));
        }
    }
    Ok(())
}

/// The wanted columns of one batch in the types we need; a value that does not fit its type is null in `cells` and not in `raw`.
struct Columns {
    /// As views, so that many rows with one value of a dictionary do not hold it many times.
    text: StringViewArray,
    cells: Vec<(ArrayRef, ArrayRef)>,
    source: Option<StringArray>,
    extra: Option<Vec<String>>,
}

impl Columns {
    fn new(batch: &RecordBatch, shape: &Shape) -> Result<Columns> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column `{name}`"));
        let text = column(&shape.text)?;
        let kind = match text.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            kind => kind,
        };
        if !matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) {
            bail!("column `{}` is {}, not text; give the column that holds the text as `text`", shape.text, text.data_type());
        }
        let cells = shape.columns.iter().map(|wanted| {
            let raw = column(&wanted.field)?;
            Ok((convert(raw, &wanted.kind.data_type())?, raw.clone()))
        });
        let used =
            |name: &str| name == shape.text || shape.source_field.as_deref() == Some(name) || shape.columns.iter().any(|c| c.field == name);
        let others: Vec<usize> = (0..batch.num_columns()).filter(|index| !used(batch.schema_ref().field(*index).name())).collect();
        Ok(Columns {
            text: convert(text, &DataType::Utf8View)?.as_string_view().clone(),
            cells: cells.collect::<Result<_>>()?,
            source: match &shape.source_field {
                Some(name) => Some(convert(column(name)?, &DataType::Utf8)?.as_string().clone()),
                None => None,
            },
            extra: if others.is_empty() { None } else { Some(as_json(&batch.project(&others)?)?) },
        })
    }

    fn record<T>(&self, index: usize, shape: &Shape, sink: impl FnOnce(Record) -> T) -> Result<T, Fault> {
        if self.text.is_null(index) {
            return Err(Fault::new("missing_text", format!("column `{}` is null", shape.text)));
        }
        let text = self.text.value(index);
        if text.len() > shape.record_bytes_max {
            return Err(too_long(text.as_bytes(), &format!("the text has {} bytes, that", text.len()), shape));
        }
        let mut cells = Vec::with_capacity(self.cells.len());
        for ((values, raw), column) in self.cells.iter().zip(&shape.columns) {
            if values.is_null(index) && !raw.is_null(index) {
                let found = arrow::util::display::array_value_to_string(raw, index).unwrap_or_default();
                return Err(Fault::wrong_type(column, found.as_bytes()));
            }
            cells.push(if values.is_null(index) { Cell::Null } else { cell(values, column.kind, index) });
        }
        let source = self.source.as_ref().filter(|source| source.is_valid(index)).map(|source| source.value(index));
        let extra = self.extra.as_ref().map_or("", |extra| extra[index].as_str());
        Ok(sink(Record { text, cells: &cells, extra, source }))
    }
}

fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(array, to, &options).with_context(|| format!("a column of type {} cannot be read as {to}", array.data_type()))
}

fn cell(values: &ArrayRef, kind: ColumnType, index: usize) -> Cell<'_> {
    match kind {
        ColumnType::String => Cell::String(values.as_string::<i32>().value(index).into()),
        ColumnType::Integer => Cell::Integer(values.as_primitive::<Int64Type>().value(index)),
        ColumnType::Float => Cell::Float(values.as_primitive::<Float64Type>().value(index)),
        ColumnType::Boolean => Cell::Boolean(values.as_boolean().value(index)),
    }
}

/// Each row as a JSON object; nulls are left out.
fn as_json(batch: &RecordBatch) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
    writer.write(batch).context("other columns cannot be written as JSON")?;
    writer.finish()?;
    let text = String::from_utf8(bytes).expect("the JSON writer writes UTF-8");
    let rows: Vec<String> = text.lines().map(|line| if line == "{}" { String::new() } else { line.to_string() }).collect();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Run by the test below in a process of its own, where its standard error can be read.
    #[test]
    #[ignore = "panics on purpose"]
    fn two_panics() {
        let read = guarded("corrupt_parquet", || -> Result<(), ()> { panic!("a panic of the library") });
        assert_eq!(read.unwrap_err().rule, "corrupt_parquet");
        panic!("a panic of ours");
    }

    #[test]
    fn caught_panics_say_nothing() {
        let name = "import::columns::tests::two_panics";
        let output = Command::new(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "--nocapture", name]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("a panic of ours") && !told.contains("a panic of the library"), "{told}");
    }
}
