//! Collects the documents and rejects of one part into bounded batches, and gives each its identity.
//!
//! Formats decide what a record holds; here it becomes a row, or a reject with the reason.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, SchemaRef};
use engine::{Context, PartWriter, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shape;
use crate::rejects::{Reject, Rejects};

const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 1 << 20;

/// Type of a column that the user named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    String,
    Integer,
    Float,
    Boolean,
}

impl ColumnType {
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::String => DataType::Utf8,
            ColumnType::Integer => DataType::Int64,
            ColumnType::Float => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
        }
    }
}

/// A column of the user's: its name, and the field of the record that it is read from.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub field: String,
    pub kind: ColumnType,
}

impl Column {
    pub fn arrow_field(&self) -> Field {
        Field::new(&self.name, self.kind.data_type(), true)
    }
}

/// A value of a user's column.
#[derive(Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    String(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

impl<'a> Cell<'a> {
    /// Reads a value written as plain text (CSV); an empty field is null unless it is a string.
    pub fn from_text(kind: ColumnType, value: Cow<'a, str>) -> Option<Cell<'a>> {
        let trimmed = value.trim();
        match kind {
            ColumnType::String => Some(Cell::String(value)),
            _ if trimmed.is_empty() => Some(Cell::Null),
            ColumnType::Integer => trimmed.parse().ok().map(Cell::Integer),
            ColumnType::Float => trimmed.parse().ok().map(Cell::Float),
            ColumnType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(Cell::Boolean(true)),
                "false" | "0" | "no" => Some(Cell::Boolean(false)),
                _ => None,
            },
        }
    }
}

/// What makes a record no document: the rule and what was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub rule: &'static str,
    pub detail: String,
}

impl Fault {
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Fault {
        Fault { rule, detail: detail.into() }
    }

    /// A value that does not have the column's type.
    pub fn wrong_type(column: &Column, found: &[u8]) -> Fault {
        let kind = format!("{:?}", column.kind).to_lowercase();
        Fault::new("wrong_type", format!("column `{}` expects {kind}, found {}", column.name, excerpt(found)))
    }
}

/// Where a record stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Byte offset in the decompressed file; the row number for Parquet.
    pub position: u64,
    /// Counted from 1; none for Parquet.
    pub line: Option<u64>,
}

/// A record that can be read.
pub struct Record<'a> {
    pub text: &'a str,
    /// In the order of the columns.
    pub cells: &'a [Cell<'a>],
    /// All other fields as a JSON object; empty when there are none.
    pub extra: &'a str,
    /// From the field named by `source_field`.
    pub source: Option<&'a str>,
}

/// Whether the user's columns and the field of the source have a value anywhere, over all parts of a step.
#[derive(Default)]
pub struct Seen(Mutex<Values>);

#[derive(Default)]
struct Values {
    parts: usize,
    documents: bool,
    sources: bool,
    columns: Vec<bool>,
}

impl Seen {
    /// Warns of fields that no document had; `parts` are all of the step, of which a resumed one does not see those before.
    pub fn warn(&self, ctx: &Context, parts: usize, shape: &Shape, source: &str) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.documents || seen.parts != parts {
            return;
        }
        for (Column { name, field, .. }, _) in shape.columns.iter().zip(&seen.columns).filter(|(_, filled)| !**filled) {
            ctx.warn(&format!("`columns`: no record has a value in its field `{field}`, so the column `{name}` is null in every document"));
        }
        if let Some(field) = shape.source_field.as_ref().filter(|_| !seen.sources) {
            ctx.warn(&format!("`source_field`: no record has text in its field `{field}`, so the source of every document is `{source}`"));
        }
    }
}

/// Rows of one part on their way to the writer.
pub struct Rows<'a, 'w> {
    ctx: &'a Context,
    part: &'a mut PartWriter<'w>,
    schema: SchemaRef,
    source: String,
    path: String,
    /// The member of an archive that is read: the length of the archive's own path, and where in the archive it stands.
    member: Option<(usize, u64)>,
    ids: FixedSizeBinaryBuilder,
    hashes: FixedSizeBinaryBuilder,
    sources: StringBuilder,
    paths: StringBuilder,
    positions: Int64Builder,
    lines: Int64Builder,
    texts: StringBuilder,
    columns: Vec<ColumnBuilder>,
    /// Which columns had a value yet.
    filled: Vec<bool>,
    extras: StringBuilder,
    rows: usize,
    bytes: usize,
    /// Whether there was a document yet, and one that names its source.
    documents: bool,
    sourced: bool,
    rejects: Rejects,
}

impl<'a, 'w> Rows<'a, 'w> {
    pub fn new(ctx: &'a Context, part: &'a mut PartWriter<'w>, columns: &[Column]) -> Self {
        let fields: Vec<Field> = columns.iter().map(Column::arrow_field).collect();
        Rows {
            ctx,
            part,
            schema: schema::documents(&fields),
            source: String::new(),
            path: String::new(),
            member: None,
            ids: FixedSizeBinaryBuilder::new(16),
            hashes: FixedSizeBinaryBuilder::new(16),
            sources: StringBuilder::new(),
            paths: StringBuilder::new(),
            positions: Int64Builder::new(),
            lines: Int64Builder::new(),
            texts: StringBuilder::new(),
            columns: columns.iter().map(|column| ColumnBuilder::new(column.kind)).collect(),
            filled: vec![false; columns.len()],
            extras: StringBuilder::new(),
            rows: 0,
            bytes: 0,
            documents: false,
            sourced: false,
            rejects: Rejects::new("import"),
        }
    }

    /// Sets the file that the following records come from.
    pub fn enter(&mut self, source: &str, path: &str) {
        self.source = source.to_string();
        self.path = path.to_string();
        self.member = None;
    }

    /// Sets the member of the file's archive that the following records come from; `offset` tells members of the same name apart.
    pub fn enter_member(&mut self, name: &str, offset: u64) {
        self.leave_member();
        self.member = Some((self.path.len(), offset));
        self.path.push('/');
        self.path.push_str(name);
    }

    /// The following records, or faults, are those of the archive itself.
    pub fn leave_member(&mut self) {
        if let Some((length, _)) = self.member.take() {
            self.path.truncate(length);
        }
    }

    /// Adds a record as a document, or as a reject when its text is empty.
    pub fn document(&mut self, place: Place, record: Record) -> Result<()> {
        let source = record.source.unwrap_or(&self.source);
        let id = self.identity(source, place);
        if record.text.trim().is_empty() {
            let detail = if record.text.is_empty() { "the text is empty" } else { "the text is white space only" };
            return self.add_reject(place, Some(id), record.source, Fault::new("empty_text", detail));
        }
        if let Some(controls) = binary(record.text) {
            let detail = format!("{controls} of {} bytes are control characters: {}", record.text.len(), excerpt(record.text.as_bytes()));
            return self.add_reject(place, Some(id), record.source, Fault::new("binary_text", detail));
        }
        self.ids.append_value(id)?;
        self.hashes.append_value(crate::content_hash(record.text))?;
        self.sources.append_value(source);
        self.paths.append_value(&self.path);
        self.positions.append_value(place.position as i64);
        self.lines.append_option(place.line.map(|line| line as i64));
        self.texts.append_value(record.text);
        for ((builder, filled), cell) in self.columns.iter_mut().zip(&mut self.filled).zip(record.cells) {
            builder.append(cell);
            *filled |= *cell != Cell::Null;
        }
        self.extras.append_option(Some(record.extra).filter(|extra| !extra.is_empty()));
        self.documents = true;
        self.sourced |= record.source.is_some();
        self.rows += 1;
        self.bytes += record.text.len() + record.extra.len();
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a record that is no document. Its id is kept when the record could be read and only its content is wrong.
    pub fn reject(&mut self, place: Place, fault: Fault) -> Result<()> {
        let readable = ["missing_text", "not_text", "wrong_type"].contains(&fault.rule);
        let id = readable.then(|| self.identity(&self.source, place));
        self.add_reject(place, id, None, fault)
    }

    /// Counts a record that by its nature holds no document: it is in no table and in no balance.
    pub fn skip(&mut self) {
        self.part.count("records_skipped", 1);
    }

    /// The id of a document: its provenance, not its content.
    fn identity(&self, source: &str, place: Place) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(source.as_bytes());
        hasher.update(&[0]);
        hasher.update(self.path.as_bytes());
        hasher.update(&[0]);
        hasher.update(&place.position.to_le_bytes());
        if let Some((_, offset)) = self.member {
            hasher.update(&offset.to_le_bytes());
        }
        crate::first_16(hasher.finalize())
    }

    fn add_reject(&mut self, place: Place, id: Option<[u8; 16]>, source: Option<&str>, fault: Fault) -> Result<()> {
        self.rejects.push(&Reject {
            id,
            source: source.unwrap_or(&self.source),
            path: &self.path,
            position: place.position as i64,
            line: place.line.map(|line| line as i64),
            rule: fault.rule,
            detail: Some(&fault.detail),
            ..Reject::default()
        })?;
        self.part.count("records", 1);
        if self.rejects.len() >= BATCH_ROWS { self.rejects.write(self.part) } else { Ok(()) }
    }

    /// Writes the last rows of the part.
    pub fn finish(mut self, seen: &Seen) -> Result<()> {
        self.flush()?;
        let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.parts += 1;
        seen.documents |= self.documents;
        seen.sources |= self.sourced;
        seen.columns.resize(self.filled.len(), false);
        seen.columns.iter_mut().zip(self.filled).for_each(|(all, filled)| *all |= filled);
        Ok(())
    }

    /// Writes what is collected.
    fn flush(&mut self) -> Result<()> {
        self.ctx.check_stop()?;
        self.rejects.write(self.part)?;
        if self.rows == 0 {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.hashes.finish()),
            Arc::new(self.sources.finish()),
            Arc::new(self.paths.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.lines.finish()),
            Arc::new(self.texts.finish()),
        ];
        columns.extend(self.columns.iter_mut().map(ColumnBuilder::finish));
        columns.push(Arc::new(self.extras.finish()));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.part.count("records", self.rows as i64);
        (self.rows, self.bytes) = (0, 0);
        self.part.write("documents", &batch)
    }
}

enum ColumnBuilder {
    String(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
}

impl ColumnBuilder {
    fn new(kind: ColumnType) -> ColumnBuilder {
        match kind {
            ColumnType::String => ColumnBuilder::String(StringBuilder::new()),
            ColumnType::Integer => ColumnBuilder::Integer(Int64Builder::new()),
            ColumnType::Float => ColumnBuilder::Float(Float64Builder::new()),
            ColumnType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
        }
    }

    /// A cell of another type than the column's cannot be made: cells are built by the column's type.
    fn append(&mut self, cell: &Cell) {
        match (self, cell) {
            (ColumnBuilder::String(builder), Cell::String(value)) => builder.append_value(value),
            (ColumnBuilder::Integer(builder), Cell::Integer(value)) => builder.append_value(*value),
            (ColumnBuilder::Float(builder), Cell::Float(value)) => builder.append_value(*value),
            (ColumnBuilder::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (ColumnBuilder::String(builder), _) => builder.append_null(),
            (ColumnBuilder::Integer(builder), _) => builder.append_null(),
            (ColumnBuilder::Float(builder), _) => builder.append_null(),
            (ColumnBuilder::Boolean(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::String(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Integer(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The first characters of a record, for the reader of a reject.
pub fn excerpt(bytes: &[u8]) -> String {
    const CHARACTERS: usize = 80;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * CHARACTERS)]);
    let mut short: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS).is_some() || bytes.len() > 4 * CHARACTERS {
        short.push('…');
    }
    format!("\"{short}\"")
}

/// How many control characters a text has, if they are so many that it is none. Those of terminals (backspace, escape) do not count.
fn binary(text: &str) -> Option<usize> {
    let is_control = |byte: &u8| u8::from(matches!(byte, 0..=7 | 14..=26 | 28..=31));
    // Sums of bytes, as many as a byte can hold, are vectors.
    let controls: usize = text.as_bytes().chunks(255).map(|bytes| usize::from(bytes.iter().map(is_control).sum::<u8>())).sum();
    (controls >= 16 && controls > text.len() / 20).then_some(controls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_no_text() {
        let bytes: Vec<u8> = (0..=255).cycle().take(25_600).collect();
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(binary(&latin), Some(2500));
        assert_eq!(binary(&"\0".repeat(16)), Some(16));
        for text in [
            "\0\u{1}two",
            "x\u{8}x".repeat(100).as_str(),
            "\u{1b}[1mbold\u{1b}[0m".repeat(9).as_str(),
            &("\0".repeat(16) + &"a".repeat(400)),
        ] {
            assert_eq!(binary(text), None, "{text:?}");
        }
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt(b"a\x00\xffb"), "\"a\\0\u{fffd}b\"");
        assert_eq!(excerpt("é".repeat(90).as_bytes()).chars().count(), 83);
    }

    #[test]
    fn cells_from_text() {
        let read = |kind, value: &'static str| Cell::from_text(kind, value.into());
        assert_eq!(read(ColumnType::Integer, " 7 "), Some(Cell::Integer(7)));
        assert_eq!(read(ColumnType::Integer, "7.5"), None);
        assert_eq!(read(ColumnType::Float, ""), Some(Cell::Null));
        assert_eq!(read(ColumnType::String, ""), Some(Cell::String("".into())));
        assert_eq!(read(ColumnType::Boolean, "No"), Some(Cell::Boolean(false)));
    }
}
