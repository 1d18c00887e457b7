//! An artifact while it is written: a folder whose journal notes every finished part, so that a killed stage goes on at the next one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::{self, FileManifest, Identity, Manifest, TableManifest, Usage};
use crate::part_writer::TableWriter;
use crate::table_file::{describe_file, schema_of};
use crate::{Artifact, Context, Inputs, Part, PartWriter, files, workers};

const JOURNAL: &str = "journal.jsonl";
const SCRATCH: &str = "scratch";
/// A process that writes into the draft from outside holds an advisory lock on this file.
pub const LOCK: &str = "lock";
/// The phase of [`Draft::parts`] in the journal.
const PARTS: &str = "";

/// An artifact in the making. All methods take `&self` and may be called from any thread.
pub struct Draft {
    dir: PathBuf,
    key: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    schemas: BTreeMap<String, SchemaRef>,
    done: HashMap<(String, usize), Line>,
    counts: BTreeMap<String, i64>,
    facts: BTreeMap<String, Value>,
    rows: HashMap<String, u64>,
    volatile: Vec<String>,
    foreign: Vec<String>,
    resumed: HashSet<(String, usize)>,
}

/// A finished part in the journal.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    phase: String,
    part: usize,
    files: Vec<FileManifest>,
    counts: BTreeMap<String, i64>,
    /// The start of the system in which scratch was written, when it was not synced: after another one it may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

/// What a part wrote into tables, and its counts.
type Written = (Vec<FileManifest>, BTreeMap<String, i64>);

impl Draft {
    /// Opens the draft in `dir`, with the parts that an earlier run finished.
    pub fn open(dir: impl Into<PathBuf>, key: &str) -> Result<Draft> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("creating `{}`; is the workspace writable?", dir.display()))?;
        let mut state = State::default();
        let boot = boot();
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

    fn state(&self) -> MutexGuard<'_, State> {
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
        self.each(ctx, PARTS, plan, |index| {
            let mut part = PartWriter::new(&self.dir, index, &schemas);
            work(index, &mut part)?;
            part.finish()
        })
    }

    /// Runs `work` for every unfinished part of a phase of wide work; it writes one file of any format at the path it gets.
    pub fn task(&self, ctx: &Context, phase: &str, plan: &[Part], work: impl Fn(usize, &Path) -> Result<()> + Sync) -> Result<()> {
        let folder = self.dir.join(SCRATCH).join(phase);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating `{}`", folder.display()))?;
        self.each(ctx, phase, plan, |index| {
            work(index, &self.scratch_path(phase, index))?;
            Ok((Vec::new(), BTreeMap::new()))
        })
    }

    /// Where [`Draft::task`] puts the file of a part. Gone when the artifact is finished.
    pub fn scratch_path(&self, phase: &str, index: usize) -> PathBuf {
        self.dir.join(SCRATCH).join(phase).join(format!("part-{index:05}"))
    }

    /// Runs `work` for every part of a phase that the journal does not hold, and notes it there. Files of tables are synced before; scratch files
    /// are not where the journal can tell that the system was started anew since.
    fn each(&self, ctx: &Context, phase: &str, plan: &[Part], work: impl Fn(usize) -> Result<Written> + Sync) -> Result<()> {
        let todo: Vec<usize> = {
            let state = self.state();
            (0..plan.len()).filter(|index| !state.done.contains_key(&(phase.to_string(), *index))).collect()
        };
        workers::each(ctx, plan, &todo, work, |part, written| self.settle(phase, part, written))
    }

    /// Brings a finished part to the disk and notes it.
    fn settle(&self, phase: &str, part: usize, (files, counts): Written) -> Result<()> {
        let scratch = (phase != PARTS).then(|| self.scratch_path(phase, part));
        let boot = scratch.as_ref().and_then(|_| boot());
        for path in files.iter().map(|file| self.dir.join(&file.path)).chain(scratch) {
            let file = File::open(&path).with_context(|| format!("phase `{phase}` wrote no `{}`", path.display()))?;
            if boot.is_none() {
                file.sync_all().with_context(|| format!("syncing `{}`", path.display()))?;
            }
        }
        let synced = boot.is_none();
        self.note(Line { phase: phase.to_string(), part, files, counts, boot }, synced)
    }

    /// Appends a finished part to the journal.
    fn note(&self, line: Line, synced: bool) -> Result<()> {
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
        let manifest = self.describe(identity, usage)?;
        crate::balance::check(&manifest, inputs)?;
        manifest.write(&self.dir)?;
        publish(&self.dir, target)
    }

    /// Describes every data file. Hashes noted by parts are used, other files are read once.
    fn describe(&self, identity: Identity, usage: Usage) -> Result<Manifest> {
        let mut relative = Vec::new();
        files::walk(&self.dir, "", &mut relative)?;
        relative.retain(|path| !is_bookkeeping(path));
        relative.sort();
        let state = self.state();
        let noted: BTreeMap<&str, &FileManifest> =
            state.done.values().flat_map(|line| &line.files).map(|file| (file.path.as_str(), file)).collect();
        let mut files = Vec::new();
        for path in &relative {
            let mut file = match noted.get(path.as_str()) {
                Some(file) => (*file).clone(),
                None => {
                    let foreign = state.foreign.iter().any(|prefix| path.starts_with(prefix.as_str()));
                    let absolute = self.dir.join(path);
                    File::open(&absolute).and_then(|file| file.sync_all()).with_context(|| format!("syncing `{}`", absolute.display()))?;
                    describe_file(&self.dir, path, state.rows.get(path).copied(), foreign)?
                }
            };
            file.volatile = state.volatile.iter().any(|prefix| path.starts_with(prefix.as_str()));
            files.push(file);
        }
        let mut counts = state.counts.clone();
        for (name, n) in state.done.values().flat_map(|line| &line.counts) {
            *counts.entry(name.clone()).or_default() += n;
        }
        let mut fingerprint = blake3::Hasher::new();
        for file in files.iter().filter(|file| !file.volatile) {
            fingerprint.update(file.path.as_bytes()).update(b"\0").update(file.blake3.as_bytes()).update(b"\n");
        }
        Ok(Manifest {
            format: manifest::FORMAT,
            kind: identity.kind,
            step: identity.step,
            stage: identity.stage,
            version: identity.version,
            key: identity.key,
            key_parts: identity.key_parts,
            fingerprint: fingerprint.finalize().to_hex().to_string(),
            tables: describe_tables(&self.dir, &files, &state.schemas)?,
            files,
            counts,
            facts: state.facts.clone(),
            usage,
            finished: SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or(0),
            program: concat!("mill ", env!("CARGO_PKG_VERSION")).to_string(),
        })
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

fn describe_tables(dir: &Path, files: &[FileManifest], declared: &BTreeMap<String, SchemaRef>) -> Result<BTreeMap<String, TableManifest>> {
    let mut tables: BTreeMap<String, TableManifest> = BTreeMap::new();
    for file in files {
        let Some(name) = &file.table else { continue };
        if !tables.contains_key(name) {
            let schema = match declared.get(name) {
                Some(schema) => schema.clone(),
                None => schema_of(&dir.join(&file.path))?,
            };
            let columns = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect();
            tables.insert(name.clone(), TableManifest { rows: 0, bytes: 0, columns });
        }
        let table = tables.get_mut(name).expect("inserted above");
        table.rows += file.rows;
        table.bytes += file.bytes;
    }
    Ok(tables)
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
fn is_bookkeeping(relative: &str) -> bool {
    relative == JOURNAL || relative == LOCK || relative == manifest::FILE || relative.starts_with("scratch/") || relative.starts_with('.')
}

/// What is the same as long as the system runs, where it tells.
fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_string())
}
