//! An artifact while it is written: a folder whose journal notes every finished part, so that a killed stage goes on at the next one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context as _, Result, bail};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::{FileManifest, Identity, Usage};
use crate::part::TableWriter;
use crate::stage::Inputs;
use crate::{Artifact, Context, Part, PartWriter, workers};

const JOURNAL: &str = "journal.jsonl";
const SCRATCH: &str = "scratch";
/// A process that writes into the draft from outside holds an advisory lock on this file.
pub const LOCK: &str = "lock";
/// The phase of [`Draft::parts`] in the journal.
pub(crate) const PARTS: &str = "";

/// An artifact in the making. All methods take `&self` and may be called from any thread.
pub struct Draft {
    dir: PathBuf,
    key: String,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) schemas: BTreeMap<String, SchemaRef>,
    pub(crate) done: HashMap<(String, usize), Line>,
    pub(crate) counts: BTreeMap<String, i64>,
    pub(crate) facts: BTreeMap<String, Value>,
    pub(crate) rows: HashMap<String, u64>,
    pub(crate) volatile: Vec<String>,
    pub(crate) foreign: Vec<String>,
    resumed: HashSet<(String, usize)>,
}

/// A finished part in the journal.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) phase: String,
    pub(crate) part: usize,
    pub(crate) files: Vec<FileManifest>,
    pub(crate) counts: BTreeMap<String, i64>,
    /// The start of the system in which scratch was written, when it was not synced: after another one it may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) boot: Option<String>,
}

impl Draft {
    /// Opens the draft in `dir`, with the parts that an earlier run finished.
    pub fn open(dir: impl Into<PathBuf>, key: &str) -> Result<Draft> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("creating `{}`; is the workspace writable?", dir.display()))?;
        let mut state = State::default();
        let boot = workers::boot();
        let journal = std::fs::read_to_string(dir.join(JOURNAL)).unwrap_or_default();
        // A line cut off by a kill is no finished part.
        for line in journal.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            if let Ok(line) = serde_json::from_str::<Line>(line)
                && (line.boot.is_none() || line.boot == boot)
            {
                let id = (line.phase.clone(), line.part);
                state.resumed.insert(id.clone());
                state.done.insert(id, line);
            }
        }
        Ok(Draft { dir, key: key.to_string(), state: Mutex::new(state) })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Declares a table before rows are written to it. A declared table without rows becomes one empty file.
    pub fn declare(&self, table: &str, schema: SchemaRef) -> Result<()> {
        match self.state().schemas.insert(table.to_string(), schema.clone()) {
            Some(before) if before != schema => bail!("table `{table}` was declared with another schema"),
            _ => Ok(()),
        }
    }

    /// Adds to a total of the manifest; for totals that do not come from parts.
    pub fn count(&self, name: &str, n: i64) {
        *self.state().counts.entry(name.to_string()).or_default() += n;
    }

    /// Notes a fact for later stages.
    pub fn fact(&self, name: &str, value: impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value).with_context(|| format!("fact `{name}`"))?;
        self.state().facts.insert(name.to_string(), value);
        Ok(())
    }

    /// The path of a further file of the artifact; its folder is made. A path that leads out of the artifact is an error.
    pub fn file(&self, relative: &str) -> Result<PathBuf> {
        // A name may come from another program's file.
        if !Path::new(relative).components().all(|component| matches!(component, Component::Normal(_))) {
            bail!("`{relative}` would be written outside of the artifact");
        }
        let path = self.dir.join(relative);
        let folder = path.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
        Ok(path)
    }

    /// Tells the rows of a file that is no Parquet file.
    pub fn rows(&self, relative: &str, rows: u64) {
        self.state().rows.insert(relative.to_string(), rows);
    }

    /// Leaves files below a path prefix out of the content fingerprint: timings and logs.
    pub fn volatile(&self, prefix: &str) {
        self.state().volatile.push(prefix.to_string());
    }

    /// Keeps files below a path prefix for other programs: they are part of the artifact, but no tables, whatever their names end in.
    pub fn foreign(&self, prefix: &str) {
        self.state().foreign.push(prefix.to_string());
    }

    /// Runs `work` for every part that is not finished yet, up to `ctx.threads` at once. Rows go to the artifact's tables.
    pub fn parts(&self, ctx: &Context, plan: &[Part], work: impl Fn(usize, &mut PartWriter) -> Result<()> + Sync) -> Result<()> {
        let schemas = self.state().schemas.clone();
        workers::each(self, ctx, PARTS, plan, |index| {
            let mut part = PartWriter::new(&self.dir, index, &schemas);
            work(index, &mut part)?;
            part.finish()
        })
    }

    /// Runs `work` for every unfinished part of a phase of wide work; it writes one file of any format at the path it gets.
    pub fn task(&self, ctx: &Context, phase: &str, plan: &[Part], work: impl Fn(usize, &Path) -> Result<()> + Sync) -> Result<()> {
        let folder = self.dir.join(SCRATCH).join(phase);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating `{}`", folder.display()))?;
        workers::each(self, ctx, phase, plan, |index| {
            work(index, &self.scratch_path(phase, index))?;
            Ok((Vec::new(), BTreeMap::new()))
        })
    }

    /// Where [`Draft::task`] puts the file of a part. Gone when the artifact is finished.
    pub fn scratch_path(&self, phase: &str, index: usize) -> PathBuf {
        self.dir.join(SCRATCH).join(phase).join(format!("part-{index:05}"))
    }

    /// Appends a finished part to the journal.
    pub(crate) fn note(&self, line: Line, synced: bool) -> Result<()> {
        let mut state = self.state();
        let path = self.dir.join(JOURNAL);
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        let journal = OpenOptions::new().create(true).append(true).open(&path);
        let written = journal.and_then(|mut journal| {
            journal.write_all(text.as_bytes())?;
            if synced { journal.sync_all() } else { Ok(()) }
        });
        written.with_context(|| format!("writing `{}`", path.display()))?;
        state.done.insert((line.phase.clone(), line.part), line);
        Ok(())
    }

    /// Turns the draft into the artifact at `target`: empty tables, balance, manifest, fsync, rename.
    pub(crate) fn finish(self, identity: Identity, inputs: &Inputs, target: &Path, usage: &Usage) -> Result<Artifact> {
        self.write_empty_tables()?;
        let usage = Usage { parts_resumed: self.state().resumed.len() as u64, ..usage.clone() };
        let manifest = crate::artifact::describe(&self, identity, usage)?;
        crate::balance::check(&manifest, inputs)?;
        crate::artifact::write_manifest(&self.dir, &manifest)?;
        publish(&self.dir, target)
    }

    fn write_empty_tables(&self) -> Result<()> {
        let schemas = self.state().schemas.clone();
        for (table, schema) in schemas {
            let folder = self.dir.join(&table);
            let has_file = std::fs::read_dir(&folder).map(|mut entries| entries.next().is_some()).unwrap_or(false);
            if !has_file {
                TableWriter::create(&self.dir, &table, 0, schema)?.finish()?;
            }
        }
        Ok(())
    }
}

/// Clears the bookkeeping of a draft whose manifest stands and renames it. A kill in between leaves a draft that this finishes.
pub(crate) fn publish(draft: &Path, target: &Path) -> Result<Artifact> {
    let scratch = draft.join(SCRATCH);
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).with_context(|| format!("removing `{}`", scratch.display()))?;
    }
    for name in [JOURNAL, LOCK] {
        let _ = std::fs::remove_file(draft.join(name));
    }
    std::fs::rename(draft, target).with_context(|| format!("renaming the draft to `{}`", target.display()))?;
    if let Some(parent) = target.parent() {
        File::open(parent).and_then(|folder| folder.sync_all()).with_context(|| format!("syncing `{}`", parent.display()))?;
    }
    Artifact::open(target)
}

/// Whether a file of the draft's folder is bookkeeping and not data.
pub(crate) fn is_bookkeeping(relative: &str) -> bool {
    relative == JOURNAL
        || relative == LOCK
        || relative == crate::manifest::FILE
        || relative.starts_with("scratch/")
        || relative.starts_with('.')
}
