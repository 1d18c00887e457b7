//! Lines (JSON Lines, a line per document) and streams that are one document.

use std::io::Read;

use anyhow::Result;

use super::lines::Lines;
use super::rows::{Fault, Place, Record, Rows, excerpt};
use super::stream::{Stream, fault};
use super::{Shape, json};

pub use super::charset::record as decode;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A JSON object per line. Blank lines are no records.
pub fn read_jsonl(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let mut scratch = String::new();
    each_line(stream, shape, rows, |line, place, rows| {
        match json::parse(line, shape, &mut scratch, |record| rows.document(place, record)) {
            Ok(result) => result,
            Err(fault) => rows.reject(place, fault),
        }
    })
}

/// A document per line. Blank lines are no records.
pub fn read_lines(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let cells = shape.no_cells();
    each_line(stream, shape, rows, |line, place, rows| rows.document(place, Record { text: line, cells: &cells, extra: "", source: None }))
}

/// The whole stream is one document.
pub fn read_file(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    whole(stream, shape, rows, |text| (text, String::new()))
}

/// The whole stream is one document; a YAML block at its beginning is kept as it stands, but is no text.
pub fn read_markdown(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    whole(stream, shape, rows, |text| match front_matter(text) {
        Some((block, text)) => (text, serde_json::json!({ "front_matter": block }).to_string()),
        None => (text, String::new()),
    })
}

fn whole(stream: Stream, shape: &Shape, rows: &mut Rows, divide: impl Fn(&str) -> (&str, String)) -> Result<()> {
    let place = stream.place();
    let mut bytes = Vec::new();
    let limit = shape.record_bytes_max as u64;
    if let Err(error) = stream.reader.take(limit + 1).read_to_end(&mut bytes) {
        // Half a document is none.
        return rows.reject(place, fault(&stream.name, error)?);
    }
    if bytes.len() as u64 > limit {
        return rows.reject(place, too_long(&bytes, "the file", shape));
    }
    match decode(bytes.strip_prefix(BOM).unwrap_or(&bytes), shape.encoding) {
        Ok(text) => {
            let (text, extra) = divide(&text);
            rows.document(place, Record { text, cells: &shape.no_cells(), extra: &extra, source: None })
        }
        Err(fault) => rows.reject(place, fault),
    }
}

/// The lines between `---` and `---` or `...` at the beginning, and what follows them. Only lines that can be YAML keys, so that prose
/// between two rules stays text: every line that is not indented is `key: value`, a list item, a comment or blank, the first is not blank.
fn front_matter(text: &str) -> Option<(&str, &str)> {
    let body = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        let bare = line.trim_end();
        if end > 0 && (bare == "---" || bare == "...") {
            return Some((&body[..end], &body[end + line.len()..]));
        }
        let key = bare.split_once(':').is_some_and(|(key, value)| {
            let is_name = |c: char| c.is_alphanumeric() || ['_', '-', '.', '"', '\''].contains(&c);
            !key.is_empty() && key.chars().all(is_name) && (value.is_empty() || value.starts_with(' '))
        });
        let other = bare.starts_with([' ', '#', '-', '\t']) || (bare.is_empty() && end > 0);
        if !key && !other {
            return None;
        }
        end += line.len();
    }
    None
}

/// Calls `sink` for every line that is neither blank, nor too long, nor wrongly encoded.
fn each_line(stream: Stream, shape: &Shape, rows: &mut Rows, mut sink: impl FnMut(&str, Place, &mut Rows) -> Result<()>) -> Result<()> {
    every_line(stream, shape, rows, |line, place, rows| match line {
        Ok(Some(line)) => sink(line, place, rows),
        Ok(None) => Ok(()),
        Err(fault) => rows.reject(place, fault),
    })
    .map(drop)
}

/// Calls `sink` for every line, with nothing for a blank one and a fault for one that is too long or wrongly encoded. Tells whether the stream
/// came to its end; one that broke is a reject.
pub fn every_line(
    stream: Stream,
    shape: &Shape,
    rows: &mut Rows,
    mut sink: impl FnMut(Result<Option<&str>, Fault>, Place, &mut Rows) -> Result<()>,
) -> Result<bool> {
    let mut lines = Lines::new(stream.reader, shape.record_bytes_max, stream.position, stream.line);
    loop {
        let (offset, number) = lines.place();
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(true),
            Err(error) => {
                rows.reject(Place { position: offset, line: Some(number) }, fault(&stream.name, error)?)?;
                return Ok(false);
            }
        };
        let mut place = Place { position: line.offset, line: Some(line.number) };
        let mut bytes = line.bytes;
        if line.offset == 0 && bytes.starts_with(BOM) {
            bytes = &bytes[BOM.len()..];
            place.position = BOM.len() as u64;
        }
        if line.length > line.bytes.len() as u64 {
            sink(Err(too_long(bytes, &format!("the line has {} bytes, that", line.length), shape)), place, rows)?;
        } else if bytes.trim_ascii().is_empty() {
            sink(Ok(None), place, rows)?;
        } else {
            match decode(bytes, shape.encoding) {
                Ok(text) => sink(Ok(Some(&text)), place, rows)?,
                Err(fault) => sink(Err(fault), place, rows)?,
            }
        }
    }
}

pub fn too_long(bytes: &[u8], what: &str, shape: &Shape) -> Fault {
    let limit = shape.record_bytes_max;
    Fault::new("record_too_long", format!("{what} is more than record_bytes_max = {limit}: {}", excerpt(&bytes[..bytes.len().min(400)])))
}
