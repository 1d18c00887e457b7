//! CSV and TSV files with a header line.
//!
//! A file is read from front to back: a quoted field may hold newlines, so no byte range can be read alone.

use std::cell::Cell as Shared;
use std::io::{self, Read};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use csv::ByteRecord;
use engine::{list, suggest};
use serde_json::{Map, Value};

use super::Shape;
use super::charset::{UTF_16, is_utf16};
use super::plain::{decode, too_long};
use super::rows::{Cell, Fault, Place, Record, Rows, excerpt};
use super::stream::{self, Stream};

/// Read after the end of a file, as a line of its own; it lands within a field only if a quote is still open there.
const END: &[u8] = b"\n\x1cend of the file\x1c\n";

/// Where the wanted fields stand.
struct Header {
    names: Vec<String>,
    text: usize,
    columns: Vec<usize>,
    source: Option<usize>,
}

/// Reads all records.
pub fn read(stream: Stream, delimiter: u8, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let base = (stream.position, stream.line);
    let budget = Rc::new(Shared::new(0));
    let limit = shape.record_bytes_max as u64 + (1 << 16);
    budget.set(limit);
    let input = Budgeted { inner: stream.reader.chain(END), budget: budget.clone() };
    let quoting = delimiter != b'\t';
    // Only with `\n` as the end does a record's position not depend on a `\r` before it.
    let mut builder = csv::ReaderBuilder::new();
    builder.delimiter(delimiter).quoting(quoting).flexible(true).has_headers(false).terminator(csv::Terminator::Any(b'\n'));
    let mut reader = builder.from_reader(input);
    let mut record = ByteRecord::new();
    let mut header: Option<Header> = None;
    loop {
        budget.set(limit);
        let start = reader.position().clone();
        let more = match reader.read_byte_record(&mut record) {
            Ok(more) => more,
            Err(error) => return rows.reject(place_of(&start, base), stopped(&stream.name, shape, error)?),
        };
        if !more {
            return Ok(());
        }
        let place = place_of(record.position().unwrap_or(&start), base);
        if record.as_slice() == END.trim_ascii() {
            return Ok(());
        }
        if record.as_slice().ends_with(END) {
            let opening = excerpt(&record.as_slice()[..record.as_slice().len() - END.len()]);
            return rows
                .reject(place, Fault::new("broken_csv", format!("a quote is open to the end of the file, in the record {opening}")));
        }
        if drop_carriage_return(&mut record) {
            continue;
        }
        let Some(header) = &header else {
            if is_utf16(&record[0]) {
                return rows.reject(place, Fault::new("invalid_utf8", UTF_16));
            }
            header = Some(Header::new(&record, shape).with_context(|| format!("header of `{}`", stream.name))?);
            continue;
        };
        let size = record.as_slice().len();
        if size > shape.record_bytes_max {
            rows.reject(place, too_long(record.as_slice(), &format!("the record has {size} bytes, that"), shape))?;
            continue;
        }
        match parse(&record, header, shape, |record| rows.document(place, record)) {
            Ok(result) => result?,
            Err(fault) => rows.reject(place, fault)?,
        }
    }
}

/// Takes the `\r` of a line end from the last field; tells whether nothing else stood on the line.
fn drop_carriage_return(record: &mut ByteRecord) -> bool {
    let Some(last) = record.len().checked_sub(1) else { return true };
    if let Some(field) = record[last].strip_suffix(b"\r") {
        let field = field.to_vec();
        record.truncate(last);
        record.push_field(&field);
        return last == 0 && field.is_empty();
    }
    false
}

/// A place in the stream, counted from the stream's beginning.
fn place_of(position: &csv::Position, (byte, line): (u64, u64)) -> Place {
    Place { position: byte + position.byte(), line: Some(line + position.line() - 1) }
}

fn parse<T>(record: &ByteRecord, header: &Header, shape: &Shape, sink: impl FnOnce(Record) -> T) -> Result<T, Fault> {
    if record.len() != header.names.len() {
        let detail = format!("{} fields, the header has {}: {}", record.len(), header.names.len(), excerpt(record.as_slice()));
        return Err(Fault::new("broken_csv", detail));
    }
    let fields = record.iter().map(|field| decode(field, shape.encoding)).collect::<Result<Vec<_>, _>>()?;
    let mut cells = Vec::with_capacity(header.columns.len());
    for (column, index) in shape.columns.iter().zip(&header.columns) {
        let cell = Cell::from_text(column.kind, fields[*index].clone());
        cells.push(cell.ok_or_else(|| Fault::wrong_type(column, &record[*index]))?);
    }
    let used = |index: usize| index == header.text || header.source == Some(index) || header.columns.contains(&index);
    let others = header.names.iter().zip(&fields).enumerate().filter(|(index, _)| !used(*index));
    let extra: Map<String, Value> = others.map(|(_, (name, value))| (name.clone(), Value::from(value.as_ref()))).collect();
    let extra = if extra.is_empty() { String::new() } else { Value::Object(extra).to_string() };
    let source = header.source.map(|index| fields[index].as_ref()).filter(|source| !source.is_empty());
    Ok(sink(Record { text: &fields[header.text], cells: &cells, extra: &extra, source }))
}

impl Header {
    fn new(record: &ByteRecord, shape: &Shape) -> Result<Header> {
        let names: Vec<String> = record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let find = |wanted: &str| match names.iter().position(|name| name == wanted) {
            Some(index) => Ok(index),
            None => {
                // The first line of a file of another kind is long and not printable.
                let shown: Vec<String> = names.iter().take(FIELDS_SHOWN).map(|name| printable(name)).collect();
                let choices = || shown.iter().map(String::as_str);
                let more = if names.len() > FIELDS_SHOWN { format!(" and {} more", names.len() - FIELDS_SHOWN) } else { String::new() };
                bail!("has no field `{wanted}`{}; fields: {}{more}", suggest(wanted, choices()), list(choices()))
            }
        };
        Ok(Header {
            text: find(&shape.text)?,
            columns: shape.columns.iter().map(|column| find(&column.field)).collect::<Result<_>>()?,
            source: shape.source_field.as_deref().map(find).transpose()?,
            names,
        })
    }
}

const FIELDS_SHOWN: usize = 50;

fn printable(name: &str) -> String {
    name.chars().take(40).flat_map(char::escape_debug).collect()
}

/// Ends a record that never ends (an open quote swallows the rest of the file) before it fills the memory.
struct Budgeted<R> {
    inner: R,
    budget: Rc<Shared<u64>>,
}

const NO_END: &str = "the record has no end within record_bytes_max";

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        if left == 0 {
            return Err(io::Error::other(NO_END));
        }
        let count = buffer.len().min(left as usize);
        let read = self.inner.read(&mut buffer[..count])?;
        self.budget.set(left - read as u64);
        Ok(read)
    }
}

/// The reject for the place where reading had to stop.
fn stopped(name: &str, shape: &Shape, error: csv::Error) -> Result<Fault> {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.to_string() == NO_END => {
            let detail = format!("{NO_END} = {}: an open quote? nothing after this place was read", shape.record_bytes_max);
            Ok(Fault::new("record_too_long", detail))
        }
        csv::ErrorKind::Io(error) => stream::fault(name, error),
        other => Ok(Fault::new("broken_csv", format!("{other:?}"))),
    }
}
