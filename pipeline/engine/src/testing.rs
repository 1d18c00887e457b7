//! For the tests of stages: a context in which nothing is shown and no SQL is evaluated.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;

use crate::{Context, Quiet, Sql, Table};

/// Takes any expression as it stands and evaluates none.
pub struct NoSql;

impl Sql for NoSql {
    fn select(
        &self,
        _: &Table,
        _: usize,
        _: &[(String, String)],
        _: Option<&str>,
        _: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        bail!("no SQL in this test")
    }

    fn select_chain(&self, _: &Table, _: usize, _: &[Vec<(String, String)>], _: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        bail!("no SQL in this test")
    }

    fn canonical(&self, expression: &str) -> Result<String> {
        Ok(expression.to_string())
    }
}

/// A context with seed 1 and 1 GiB of memory.
pub fn context(threads: usize) -> Context {
    Context {
        seed: 1,
        threads,
        memory: 1 << 30,
        device: "cpu".into(),
        progress: Arc::new(Quiet),
        stop: Arc::default(),
        sql: Arc::new(NoSql),
    }
}
