//! Runs `tests/sql/*.slt` through the session that stages use. Files of profiles (with `@` in their names) belong to the crate `corpus`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use query::{Session, Settings};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

struct Database {
    session: Session,
    context: SessionContext,
}

#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl DB for Database {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let batches = self.session.collect(&self.context, sql).map_err(|error| Failed(format!("{error:#}")))?;
        let Some(first) = batches.first() else {
            // `create table` and the like, or no rows; the runner takes both.
            return Ok(DBOutput::StatementComplete(0));
        };
        let types = first.schema().fields().iter().map(|field| column_type(field.data_type())).collect();
        let rows = batches.iter().flat_map(rows).collect();
        Ok(DBOutput::Rows { types, rows })
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Float64 | DataType::Float32 => DefaultColumnType::FloatingPoint,
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        _ => DefaultColumnType::Text,
    }
}

/// Cells as text: `null` for null, `(empty)` for an empty string, line feeds escaped.
fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::new().with_null("null");
    let columns: Vec<ArrayFormatter> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let cell = |column: &ArrayFormatter, row: usize| match column.value(row).to_string() {
        text if text.is_empty() => "(empty)".to_string(),
        text => text.replace('\n', "\\n"),
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect()
}

#[test]
fn sql_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt") && !path.to_string_lossy().contains('@'));
    files.sort();
    assert!(!files.is_empty(), "no .slt files in {}", folder.display());
    for file in files {
        let mut runner = Runner::new(|| async {
            let session = Session::new(&Settings::default()).map_err(|error| Failed(error.to_string()))?;
            let context = session.context();
            Ok(Database { session, context })
        });
        if let Err(error) = runner.run_file(&file) {
            panic!("{error}");
        }
    }
}
