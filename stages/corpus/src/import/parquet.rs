//! Parquet files, by row groups. The position of a document is its row number in the file.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use engine::{InputFile, list, suggest};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Shape;
use super::plain::too_long;
use super::plan::{Content, Format, PartPlan, Piece};
use super::rows::{Cell, ColumnType, Fault, Place, Record, Rows};
use super::stream::Stream;

const BATCH_ROWS: usize = 1024;

/// Parts of whole row groups, each of about `part_bytes` compressed.
pub fn cut(file: &InputFile, whole: Piece, part_bytes: u64) -> Result<Vec<PartPlan>> {
    let groups: Vec<u64> = open(&file.path)?.metadata().row_groups().iter().map(|group| group.compressed_size().max(0) as u64).collect();
    let mut parts = Vec::new();
    let mut piece = Piece { end: 0, ..whole };
    let mut bytes = 0;
    for (index, size) in groups.iter().enumerate() {
        bytes += size;
        piece.end = index as u64 + 1;
        if bytes >= part_bytes || piece.end == groups.len() as u64 {
            parts.push(PartPlan { pieces: vec![piece], bytes });
            piece = Piece { start: piece.end, ..piece };
            bytes = 0;
        }
    }
    Ok(parts)
}

/// Reads the row groups of a piece.
pub fn read(piece: &Piece, path: &Path, shape: &Shape, rows: &mut Rows) -> Result<()> {
    read_groups(open(path)?, piece, &path.display().to_string(), shape, rows)
}

/// Reads a whole file that comes as a stream: a Parquet file is read from its end, so it is unpacked first.
pub fn read_stream(mut stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let file = match stream.unpack(&shape.scratch)? {
        Ok(file) => file,
        Err(fault) => return rows.reject(Place { position: 0, line: None }, fault),
    };
    let whole = Piece { file: 0, content: Content::Records(Format::Parquet), start: 0, end: u64::MAX, line: 1, entry: None };
    read_groups(reader(file, &stream.name)?, &whole, &stream.name, shape, rows)
}

fn read_groups(builder: ParquetRecordBatchReaderBuilder<File>, piece: &Piece, name: &str, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let groups = builder.metadata().row_groups();
    let (start, end) = (piece.start as usize, groups.len().min(piece.end as usize));
    let mut row: u64 = groups[..start].iter().map(|group| group.num_rows() as u64).sum();
    check_columns(builder.schema(), shape).with_context(|| format!("`{name}`"))?;
    let reader = builder.with_row_groups((start..end).collect()).with_batch_size(BATCH_ROWS).build()?;
    for batch in reader {
        let batch = batch.with_context(|| format!("reading `{name}`"))?;
        let table = Columns::new(&batch, shape)?;
        for index in 0..batch.num_rows() {
            let place = Place { position: row, line: None };
            row += 1;
            match table.record(index, shape, |record| rows.document(place, record)) {
                Ok(result) => result?,
                Err(fault) => rows.reject(place, fault)?,
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    reader(file, &path.display().to_string())
}

fn reader(file: File, name: &str) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    ParquetRecordBatchReaderBuilder::try_new(file).with_context(|| format!("`{name}` is no readable Parquet file"))
}

fn check_columns(schema: &Schema, shape: &Shape) -> Result<()> {
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
    text: StringArray,
    cells: Vec<(ArrayRef, ArrayRef)>,
    source: Option<StringArray>,
    extra: Option<Vec<String>>,
}

impl Columns {
    fn new(batch: &RecordBatch, shape: &Shape) -> Result<Columns> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column `{name}`"));
        let text = column(&shape.text)?;
        if !matches!(text.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) {
            bail!("column `{}` is {}, not text", shape.text, text.data_type());
        }
        let cells = shape.columns.iter().map(|wanted| {
            let raw = column(&wanted.field)?;
            Ok((convert(raw, &wanted.kind.data_type())?, raw.clone()))
        });
        let used =
            |name: &str| name == shape.text || shape.source_field.as_deref() == Some(name) || shape.columns.iter().any(|c| c.field == name);
        let others: Vec<usize> = (0..batch.num_columns()).filter(|index| !used(batch.schema_ref().field(*index).name())).collect();
        Ok(Columns {
            text: convert(text, &DataType::Utf8)?.as_string().clone(),
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
