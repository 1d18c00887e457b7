//! Results of queries as text or Parquet, streamed: memory holds a few batches whatever the size of the result.
//!
//! Values keep their full precision, ids and other bytes are hexadecimal, and numbers are numbers in JSON.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::{JsonArray, LineDelimited, Writer as JsonWriter};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use engine::{list, suggest};
use parquet::arrow::ArrowWriter;

use crate::catalog::Catalog;

/// Rows that a table on the screen is laid out for; a longer result gets its header again after as many.
const TABLE_ROWS: usize = 4096;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    NdJson,
    Csv,
    Parquet,
}

impl Format {
    /// Names, as `--format` takes them.
    pub const NAMES: [(&'static str, Format); 5] =
        [("table", Format::Table), ("json", Format::Json), ("ndjson", Format::NdJson), ("csv", Format::Csv), ("parquet", Format::Parquet)];

    /// The format of this name, or an error that lists the names.
    pub fn parse(name: &str) -> Result<Format> {
        let names = || Format::NAMES.iter().map(|(name, _)| *name);
        match Format::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, format)) => Ok(*format),
            None => bail!("unknown format `{name}`{}; formats: {}", suggest(name, names()), list(names())),
        }
    }
}

/// Runs the statements of `sql` one after another and writes their results. `json`, `csv` and `parquet` take one statement.
/// The caller makes sure that `parquet` does not go to a terminal.
pub fn run_queries(catalog: &Catalog, sql: &str, format: Format, out: &mut dyn Write) -> Result<()> {
    let statements = catalog.parse(sql)?;
    match (statements.len(), format) {
        (0, _) => bail!("no query given"),
        (2.., Format::Json | Format::Csv | Format::Parquet) => {
            bail!("{} queries given; this format holds the result of one, `table` and `ndjson` of many", statements.len())
        }
        _ => {}
    }
    for statement in statements {
        let frame = catalog.plan(statement)?;
        let schema: SchemaRef = std::sync::Arc::clone(frame.schema().inner());
        let mut printer = Printer::new(format, &schema, out)?;
        catalog.session().stream(frame, &mut |batch| printer.write(&batch))?;
        printer.finish()?;
    }
    out.flush().context("writing the result")
}

/// Writes batches that no query made, as the result of one would be.
pub fn print(format: Format, schema: &SchemaRef, batches: &[RecordBatch], out: &mut dyn Write) -> Result<()> {
    let mut printer = Printer::new(format, schema, out)?;
    batches.iter().try_for_each(|batch| printer.write(batch))?;
    printer.finish()
}

enum Printer<'a> {
    Table { schema: SchemaRef, waiting: Vec<RecordBatch>, rows: usize, out: &'a mut dyn Write },
    Json(JsonWriter<&'a mut dyn Write, JsonArray>),
    NdJson(JsonWriter<&'a mut dyn Write, LineDelimited>),
    Csv(Box<arrow::csv::Writer<&'a mut dyn Write>>),
    // The Parquet writer needs a sink that can be sent to threads; a row group is small, so it goes through memory.
    Parquet { writer: Box<ArrowWriter<Vec<u8>>>, out: &'a mut dyn Write },
}

impl<'a> Printer<'a> {
    fn new(format: Format, schema: &SchemaRef, out: &'a mut dyn Write) -> Result<Printer<'a>> {
        Ok(match format {
            Format::Table => Printer::Table { schema: SchemaRef::clone(schema), waiting: Vec::new(), rows: 0, out },
            Format::Json => Printer::Json(json_builder().build::<_, JsonArray>(out)),
            Format::NdJson => Printer::NdJson(json_builder().build::<_, LineDelimited>(out)),
            Format::Csv => {
                refuse_nested(schema)?;
                let mut writer = CsvBuilder::new().with_header(true).build(out);
                // The header also stands above no rows.
                writer.write(&RecordBatch::new_empty(SchemaRef::clone(schema)))?;
                Printer::Csv(Box::new(writer))
            }
            Format::Parquet => {
                Printer::Parquet { writer: Box::new(ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), None)?), out }
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Printer::Table { waiting, rows, .. } => {
                *rows += batch.num_rows();
                waiting.push(batch.clone());
                if *rows >= TABLE_ROWS {
                    self.write_table()?;
                }
            }
            Printer::Json(writer) => writer.write(batch)?,
            Printer::NdJson(writer) => writer.write(batch)?,
            Printer::Csv(writer) => writer.write(batch)?,
            Printer::Parquet { writer, out } => {
                writer.write(batch)?;
                let ready = std::mem::take(writer.inner_mut());
                out.write_all(&ready)?;
            }
        }
        Ok(())
    }

    fn write_table(&mut self) -> Result<()> {
        let Printer::Table { schema, waiting, rows, out } = self else { return Ok(()) };
        if waiting.is_empty() {
            waiting.push(RecordBatch::new_empty(SchemaRef::clone(schema)));
        }
        let options = FormatOptions::new().with_null("null").with_display_error(true);
        writeln!(out, "{}", pretty_format_batches_with_options(waiting, &options)?)?;
        waiting.clear();
        *rows = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if let Printer::Table { .. } = self {
            return self.write_table();
        }
        match self {
            Printer::Table { .. } => {}
            Printer::Json(mut writer) => {
                writer.finish()?;
                writeln!(writer.into_inner())?;
            }
            Printer::NdJson(mut writer) => writer.finish()?,
            Printer::Csv(_) => {}
            Printer::Parquet { writer, out } => out.write_all(&writer.into_inner()?)?,
        }
        Ok(())
    }
}

fn json_builder() -> JsonBuilder {
    JsonBuilder::new().with_explicit_nulls(true)
}

/// CSV has no lists and structs; arrow's message would not say what to do.
fn refuse_nested(schema: &SchemaRef) -> Result<()> {
    match schema.fields().iter().find(|field| field.data_type().is_nested()) {
        Some(field) => bail!("column `{}` is a {}, which csv cannot hold; leave it out or use json", field.name(), field.data_type()),
        None => Ok(()),
    }
}
