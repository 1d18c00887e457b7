//! What stays the same for a whole run: seed, threads, memory, device, progress, the stop flag and SQL.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use arrow::array::RecordBatch;

use crate::{Stopped, Table};

/// Evaluates SQL for stages that must not know the SQL engine. Implemented by the crate `query`.
pub trait Sql: Send + Sync {
    /// Evaluates named SQL expressions over one Parquet file of a table, rows in order; `filter` keeps the rows for which it is true.
    fn select(
        &self,
        table: &Table,
        file: usize,
        expressions: &[(String, String)],
        filter: Option<&str>,
        sink: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()>;

    /// Like `select`, with projections one after another: the expressions of each see the columns of the one before.
    fn select_chain(
        &self,
        table: &Table,
        file: usize,
        projections: &[Vec<(String, String)>],
        sink: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()>;

    /// The canonical form of an expression (no comments, one spacing), or an error that names what is wrong.
    fn canonical(&self, expression: &str) -> Result<String>;

    /// The expression with the names of files in it (`fasttext_label(text, 'lid')`) replaced by content hashes, or an error that lists the names.
    /// `files`: name → hash. Hashes mean the same in every step, so that two steps may use one name for two files.
    fn bind_files(&self, expression: &str, files: &BTreeMap<String, String>) -> Result<String> {
        let _ = files;
        Ok(expression.to_string())
    }

    /// Tells where the file with this content hash lies, before an expression with it is evaluated.
    fn provide_file(&self, _hash: &str, _path: &Path) {}

    /// Opens the files with hashes in an expression, so that one that cannot be used is an error before there is work.
    fn open_files(&self, expression: &str) -> Result<()> {
        let _ = expression;
        Ok(())
    }
}

/// Receives progress of the running step. Implementations must be cheap and thread-safe.
pub trait Progress: Send + Sync {
    fn update(&self, done: u64, total: u64, unit: &str);

    /// Something the user should know of, though the step goes on.
    fn warn(&self, message: &str) {
        eprintln!("warning: {message}");
    }

    /// A line of how the step goes, such as the scores of a model on the way; it stays where progress is shown.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// No progress shown.
pub struct Quiet;

impl Progress for Quiet {
    fn update(&self, _done: u64, _total: u64, _unit: &str) {}
}

/// What a running stage may use.
#[derive(Clone)]
pub struct Context {
    pub seed: u64,
    pub threads: usize,
    /// Bytes of resident memory that this program and its children may use in all.
    pub memory: u64,
    /// `auto`, `cpu`, `cuda` or `cuda:N`; never part of a key.
    pub device: String,
    pub progress: Arc<dyn Progress>,
    pub stop: Arc<AtomicBool>,
    pub sql: Arc<dyn Sql>,
}

impl Context {
    /// Tells how far the step is: `done` of `total` `unit`s.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        self.progress.update(done, total, unit);
    }

    /// Tells the user of something that does not stop the step.
    pub fn warn(&self, message: &str) {
        self.progress.warn(message);
    }

    /// Tells the user how the step goes.
    pub fn note(&self, message: &str) {
        self.progress.note(message);
    }

    /// An error once the user asked to stop; stages call it between batches.
    pub fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped.into()) } else { Ok(()) }
    }

    pub fn sql(&self) -> &dyn Sql {
        self.sql.as_ref()
    }
}
