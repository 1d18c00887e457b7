//! Records whose fields come from the format and not from the user's file: pages, WARC records, wiki pages, questions, tagged sentences.

use anyhow::Result;
use serde_json::{Map, Value};

use super::plan::Format;
use super::rows::{Cell, Column, ColumnType, Fault, Place, Record, Rows};
use super::{Shape, conll, html, mediawiki, squad, warc};

/// The fields of a record; those that are null are left out.
pub type Fields = Vec<(&'static str, Value)>;

/// The names of the fields that a format gives its records; `None` when they are the user's.
pub fn of(format: Format) -> Option<Vec<&'static str>> {
    match format {
        Format::Html => Some(html::FIELDS.to_vec()),
        Format::Warc => Some([html::FIELDS, warc::FIELDS].concat()),
        Format::Mediawiki => Some(mediawiki::FIELDS.to_vec()),
        Format::Squad => Some(squad::FIELDS.to_vec()),
        Format::Conll => Some(conll::FIELDS.to_vec()),
        _ => None,
    }
}

/// Adds a record: fields that the user named become columns, the others `extra`.
pub fn document(text: &str, fields: Fields, place: Place, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let mut cells = Vec::with_capacity(shape.columns.len());
    for column in &shape.columns {
        let value = fields.iter().find(|(name, _)| *name == column.field).map_or(&Value::Null, |(_, value)| value);
        match cell(column, value) {
            Ok(cell) => cells.push(cell),
            Err(fault) => return rows.reject(place, fault),
        }
    }
    let source = shape.source_field.as_deref();
    let source = fields.iter().find(|(name, _)| source == Some(*name)).and_then(|(_, value)| value.as_str());
    let used = |name: &str| shape.source_field.as_deref() == Some(name) || shape.columns.iter().any(|column| column.field == name);
    let others = fields.iter().filter(|(name, value)| !value.is_null() && !used(name));
    let extra: Map<String, Value> = others.map(|(name, value)| (name.to_string(), value.clone())).collect();
    let extra = if extra.is_empty() { String::new() } else { Value::Object(extra).to_string() };
    rows.document(place, Record { text, cells: &cells, extra: &extra, source })
}

fn cell<'a>(column: &Column, value: &'a Value) -> Result<Cell<'a>, Fault> {
    let cell = match (value, column.kind) {
        (Value::Null, _) => Some(Cell::Null),
        (Value::String(text), kind) => Cell::from_text(kind, text.as_str().into()),
        (Value::Number(number), ColumnType::Integer) => number.as_i64().map(Cell::Integer),
        (Value::Number(number), ColumnType::Float) => number.as_f64().map(Cell::Float),
        (Value::Bool(value), ColumnType::Boolean) => Some(Cell::Boolean(*value)),
        (other, ColumnType::String) => Some(Cell::String(other.to_string().into())),
        _ => None,
    };
    cell.ok_or_else(|| Fault::wrong_type(column, value.to_string().as_bytes()))
}

#[cfg(test)]
pub mod tests {
    use crate::testing::Lab;

    /// Imports one file with `settings` and shows the wanted columns of its documents, and its rejects, one line each.
    pub fn check(name: &str, file: &[u8], settings: &str, columns: &[&str], documents: &[&str], rejects: &[&str]) {
        let lab = Lab::new(&[(name, file)]);
        lab.run(&format!("[[step]]\nstage = \"import\"\npaths = [\"{name}\"]\n{settings}"), 1).unwrap();
        assert_eq!(lab.rows("import", "documents", columns), documents, "{settings}");
        assert_eq!(lab.rows("import", "rejects", &["position", "line", "rule"]), rejects, "{settings}");
    }
}
