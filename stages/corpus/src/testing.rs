//! For the tests of this crate: a folder of input files, configs run on it by the engine, and the rows that come out.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use engine::config::Config;
use engine::plan::{Plan, PlannedStep, Selection, plan};
use engine::run::{Observer, run};
use engine::{Artifact, Context, Manifest, Progress};

pub struct Lab {
    folder: tempfile::TempDir,
    warnings: Arc<Warnings>,
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn update(&self, _: u64, _: u64, _: &str) {}

    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_string());
    }
}

impl Lab {
    pub fn new(files: &[(&str, &[u8])]) -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap(), warnings: Arc::default() };
        files.iter().for_each(|(name, bytes)| lab.write(name, bytes));
        lab
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn config(&self, config: &str) -> Result<Config> {
        let path = self.folder.path().join("test.toml");
        std::fs::write(&path, format!("workspace = \"work\"\n{config}")).unwrap();
        Config::read(&path)
    }

    pub fn plan(&self, config: &str) -> Result<Plan> {
        plan(&self.config(config)?, &crate::stages(), &query::Session::new(&query::Settings::default())?, false)
    }

    /// Runs the config; steps that stand are skipped.
    pub fn run(&self, config: &str, threads: usize) -> Result<()> {
        let config = self.config(config)?;
        let sql = Arc::new(query::Session::new(&query::Settings::default())?);
        let plan = plan(&config, &crate::stages(), sql.as_ref(), false)?;
        let ctx = Context {
            seed: config.seed,
            threads,
            memory: 1 << 30,
            device: "cpu".to_string(),
            progress: self.warnings.clone(),
            stop: Arc::default(),
            sql,
        };
        run(&plan, &Selection::default(), &ctx, &Silent, "test").map(drop)
    }

    /// What the steps warned of.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.0.lock().unwrap().clone()
    }

    pub fn artifact(&self, step: &str) -> Artifact {
        engine::workspace::Workspace::new(self.work()).current(step).unwrap().unwrap()
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Removes all artifacts.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.work()).unwrap();
    }

    pub fn fingerprint(&self, step: &str) -> String {
        self.artifact(step).manifest.fingerprint
    }

    pub fn files(&self, step: &str, table: &str) -> usize {
        self.artifact(step).table(table).unwrap().files.len()
    }

    pub fn batches(&self, step: &str, table: &str) -> Vec<RecordBatch> {
        let table = self.artifact(step).table(table).unwrap();
        (0..table.files.len()).flat_map(|file| table.read(file, None, 1000).unwrap()).map(|batch| batch.unwrap()).collect()
    }

    /// The rows of a query over all steps, their columns between bars.
    pub fn sql(&self, query: &str) -> Vec<String> {
        let session = query::Session::new(&query::Settings::default()).unwrap();
        let catalog = query::Catalog::open(&session, &engine::workspace::Workspace::new(self.work())).unwrap();
        let mut rows = Vec::new();
        let frame = catalog.query(query).unwrap();
        let shown = |batch: &RecordBatch, row| {
            let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            values.collect::<Vec<_>>().join("|")
        };
        session
            .stream(frame, &mut |batch| {
                rows.extend((0..batch.num_rows()).map(|row| shown(&batch, row)));
                Ok(())
            })
            .unwrap();
        rows
    }

    /// The rows of a table, the wanted columns of each between bars.
    pub fn rows(&self, step: &str, table: &str, columns: &[&str]) -> Vec<String> {
        let mut rows = Vec::new();
        for batch in self.batches(step, table) {
            for row in 0..batch.num_rows() {
                let value = |name: &&str| array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap();
                rows.push(columns.iter().map(value).collect::<Vec<_>>().join("|"));
            }
        }
        rows
    }
}

struct Silent;

impl Observer for Silent {
    fn skipped(&self, _: &PlannedStep) {}
    fn started(&self, _: &PlannedStep, _: bool) {}
    fn finished(&self, _: &PlannedStep, _: &Manifest) {}
}

/// JSON Lines with a field `text` each.
pub fn jsonl(texts: &[&str]) -> Vec<u8> {
    texts.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect::<String>().into_bytes()
}

/// A Parquet file with a column `text`.
pub fn parquet(texts: &[&str]) -> Vec<u8> {
    let column: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(texts.to_vec()));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}
