//! The one way to DataFusion: a session with our functions and nothing of the environment.
//!
//! Every plan has one partition, so rows keep their order and the same query gives the same bytes on any machine. Parallelism comes from
//! running several plans at once (a plan per part); the thread that calls does the work of its plan, tokio's workers only help.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::runtime::Runtime;

use crate::errors::explain;
use crate::functions::{ModelFiles, functions, model_functions};
use crate::ids::{IdLists, IdLiterals};

/// Rows of a batch unless a caller asks for fewer.
pub const BATCH_ROWS: usize = 8192;

/// What a session may use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads of the one tokio runtime.
    pub threads: usize,
    /// Bytes that sorts, groups and joins of all plans together may hold; unlimited when `None`. Resident memory is 2 to 3 times that.
    pub memory: Option<u64>,
    /// Folder for what does not fit into `memory`; it is created. `None`: nothing spills, such queries fail.
    pub temp: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { threads: 1, memory: None, temp: None }
    }
}

/// A tokio runtime and a DataFusion environment (memory and disk) that all contexts made by it share.
pub struct Session {
    runtime: Runtime,
    environment: Arc<RuntimeEnv>,
    /// For parsing alone: the names of all functions.
    planning: OnceLock<SessionState>,
    models: Arc<ModelFiles>,
}

impl Session {
    /// Starts the runtime. Fails when the folder for spilling cannot be made.
    pub fn new(settings: &Settings) -> Result<Session> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(settings.threads.max(1)).thread_name("query").enable_time();
        let mut environment = RuntimeEnvBuilder::new();
        if let Some(memory) = settings.memory {
            environment = environment.with_memory_pool(Arc::new(FairSpillPool::new(memory as usize)));
        }
        let mode = match &settings.temp {
            Some(temp) => {
                std::fs::create_dir_all(temp).with_context(|| format!("creating `{}` for queries beyond memory", temp.display()))?;
                DiskManagerMode::Directories(vec![temp.clone()])
            }
            None => DiskManagerMode::Disabled,
        };
        // The limit is the disk itself: mill checks its free space before it runs.
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(u64::MAX);
        let environment = environment.with_disk_manager_builder(disk).build_arc().map_err(explain).context("setting up queries")?;
        let runtime = runtime.build().context("starting the threads of queries")?;
        Ok(Session { runtime, environment, planning: OnceLock::new(), models: Arc::default() })
    }

    /// A context of its own tables, with our functions.
    pub fn context(&self) -> SessionContext {
        self.context_with(BATCH_ROWS)
    }

    /// The same, with batches of at most `batch_rows` rows.
    pub fn context_with(&self, batch_rows: usize) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(batch_rows.max(1))
            .with_information_schema(true)
            .with_collect_statistics(false);
        let options = config.options_mut();
        options.execution.time_zone = Some("+00:00".to_string());
        // It would pull `record(text)['field']` apart again and evaluate the record once per field.
        options.optimizer.enable_leaf_expression_pushdown = false;
        let mut rules = Analyzer::new().rules;
        rules.insert(0, Arc::new(IdLists));
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.environment))
            // Ours come first: they rewrite what the others would refuse.
            .with_expr_planners(vec![Arc::new(IdLiterals)])
            .with_default_features()
            .with_analyzer_rules(rules)
            .build();
        let context = SessionContext::new_with_state(state);
        for function in functions().into_iter().chain(model_functions(&self.models)) {
            context.register_udf(function);
        }
        context
    }

    pub(crate) fn models(&self) -> &ModelFiles {
        &self.models
    }

    pub(crate) fn planning(&self) -> &SessionState {
        self.planning.get_or_init(|| self.context().state())
    }

    /// Runs a future to its end on the calling thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs a plan and hands its batches on as they come; memory holds a few batches at a time.
    pub fn stream(&self, frame: DataFrame, sink: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.block_on(async {
            let mut batches = frame.execute_stream().await.map_err(explain)?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(explain)?;
                if batch.num_rows() > 0 {
                    sink(batch)?;
                }
            }
            Ok(())
        })
    }

    /// Runs a query and returns its batches. For small results.
    pub fn collect(&self, context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
        let frame = self.block_on(context.sql(sql)).map_err(explain)?;
        let mut batches = Vec::new();
        self.stream(frame, &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;
    use expect_test::{Expect, expect};

    fn check(sql: &str, expected: Expect) {
        let session = Session::new(&Settings::default()).unwrap();
        let shown = match session.collect(&session.context(), sql) {
            Ok(batches) => pretty_format_batches(&batches).unwrap().to_string(),
            Err(error) => format!("{error:#}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn our_functions_are_there_and_time_is_utc() {
        check(
            "select word_count('a b') as n, arrow_typeof(now()) as t",
            expect![[r#"
                +---+-------------------------+
                | n | t                       |
                +---+-------------------------+
                | 2 | Timestamp(ns, "+00:00") |
                +---+-------------------------+"#]],
        );
    }

    #[test]
    fn a_sort_beyond_memory_spills_into_the_given_folder() {
        let temp = tempfile::tempdir().unwrap();
        let settings = Settings { threads: 1, memory: Some(16 << 20), temp: Some(temp.path().join("spill")) };
        let session = Session::new(&settings).unwrap();
        let sql = "select value, repeat('x', 100) as filler from generate_series(1, 300000) order by xxh3(cast(value as varchar))";
        let rows: usize = session.collect(&session.context(), sql).unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 300_000);
        let without = Session::new(&Settings { temp: None, ..settings }).unwrap();
        let error = without.collect(&without.context(), sql).unwrap_err();
        assert!(format!("{error:#}").contains("memory"), "{error:#}");
    }
}
