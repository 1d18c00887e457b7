//! `Sql` of the engine: named expressions over one Parquet file, rows in their order.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;
use engine::{Sql, Table, TableFile};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use crate::errors::explain;
use crate::expression::{bind_files, canonical, file_calls};
use crate::listing::provider;
use crate::session::{BATCH_ROWS, Session};

/// What a batch should hold at most, so that a batch of long documents does not fill memory.
const BATCH_BYTES: u64 = 16 << 20;

impl Sql for Session {
    fn select(
        &self,
        table: &Table,
        file: usize,
        expressions: &[(String, String)],
        filter: Option<&str>,
        sink: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let file = file_of(table, file)?;
        let mut frame = self.open(table, file)?;
        if let Some(filter) = filter {
            let condition = parse(&frame, filter)?;
            frame = frame.filter(condition).map_err(explain).with_context(|| format!("condition `{filter}`"))?;
        }
        let frame = project(frame, expressions)?;
        self.stream(frame, sink).with_context(|| format!("reading `{}`", file.path.display()))
    }

    fn select_chain(
        &self,
        table: &Table,
        file: usize,
        projections: &[Vec<(String, String)>],
        sink: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let file = file_of(table, file)?;
        let mut frame = self.open(table, file)?;
        for expressions in projections {
            frame = project(frame, expressions)?;
        }
        self.stream(frame, sink).with_context(|| format!("reading `{}`", file.path.display()))
    }

    fn canonical(&self, expression: &str) -> Result<String> {
        canonical(self.planning(), expression)
    }

    fn bind_files(&self, expression: &str, files: &BTreeMap<String, String>) -> Result<String> {
        bind_files(expression, files)
    }

    fn provide_file(&self, hash: &str, path: &Path) {
        self.models().provide(hash, path);
    }

    fn open_files(&self, expression: &str) -> Result<()> {
        file_calls(expression)?.iter().try_for_each(|call| self.collect(&self.context(), &format!("select {call}")).map(drop))
    }
}

impl Session {
    fn open(&self, table: &Table, file: &TableFile) -> Result<DataFrame> {
        let context = self.context_with(batch_rows(file)?);
        context.read_table(provider(table, std::slice::from_ref(file))?).map_err(explain)
    }
}

fn file_of(table: &Table, file: usize) -> Result<&TableFile> {
    table.files.get(file).with_context(|| format!("table `{}` has no file {file}", table.name))
}

fn project(frame: DataFrame, expressions: &[(String, String)]) -> Result<DataFrame> {
    let columns: Vec<Expr> = expressions.iter().map(|(name, sql)| Ok(parse(&frame, sql)?.alias(name))).collect::<Result<_>>()?;
    frame.select(columns).map_err(explain).with_context(|| {
        let list: Vec<String> = expressions.iter().map(|(name, sql)| format!("{name} = {sql}")).collect();
        format!("expressions {}", list.join(", "))
    })
}

fn parse(frame: &DataFrame, sql: &str) -> Result<Expr> {
    frame.parse_sql_expr(sql).map_err(explain).with_context(|| format!("expression `{}`", sql.trim()))
}

/// As many rows as the largest row group of the file says will fit, at most [`BATCH_ROWS`].
fn batch_rows(file: &TableFile) -> Result<usize> {
    let path = file.data();
    let opened = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    let reader = SerializedFileReader::new(opened).with_context(|| format!("`{}` is no readable Parquet file", path.display()))?;
    let groups = reader.metadata().row_groups().iter();
    let row_bytes = groups.map(|group| group.total_byte_size().max(0) as u64 / group.num_rows().max(1) as u64).max().unwrap_or(0);
    Ok((BATCH_BYTES / row_bytes.max(1)).clamp(16, BATCH_ROWS as u64) as usize)
}
