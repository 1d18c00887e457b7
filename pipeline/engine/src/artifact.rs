//! A finished artifact: reading its manifest and tables, and describing a draft's files for the manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use serde::de::DeserializeOwned;

use crate::draft::{Draft, is_bookkeeping};
use crate::manifest::{self, FileManifest, Identity, Manifest, TableManifest, Usage};
use crate::{list, selection, suggest};

/// An immutable folder with a manifest.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub dir: PathBuf,
    pub manifest: Manifest,
}

/// A table of an artifact: its files in order of parts.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub files: Vec<TableFile>,
    pub schema: SchemaRef,
    pub rows: u64,
}

/// A file of a table.
#[derive(Clone, Debug)]
pub struct TableFile {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    /// From a folder `split=NAME`.
    pub split: Option<String>,
    /// The file whose rows this one selects.
    pub of: Option<PathBuf>,
}

impl TableFile {
    /// The file that holds the rows: itself, or the one whose rows it selects.
    pub fn data(&self) -> &Path {
        self.of.as_deref().unwrap_or(&self.path)
    }
}

impl Artifact {
    /// Opens a folder that must hold a manifest.
    pub fn open(dir: &Path) -> Result<Artifact> {
        match Manifest::read(dir)? {
            Some(manifest) => Ok(Artifact { dir: dir.to_path_buf(), manifest }),
            None => bail!("`{}` is no artifact: it has no {}", dir.display(), manifest::FILE),
        }
    }

    /// The name of the table that bears the step's name in SQL.
    pub fn main(&self) -> &'static str {
        self.manifest.kind.main_table()
    }

    /// A table by name, or an error that lists the tables.
    pub fn table(&self, name: &str) -> Result<Table> {
        let Some(entry) = self.manifest.tables.get(name) else {
            let names = || self.manifest.tables.keys().map(String::as_str);
            bail!("step `{}` has no table `{name}`{}; tables: {}", self.manifest.step, suggest(name, names()), list(names()));
        };
        let files: Vec<TableFile> = self
            .manifest
            .files
            .iter()
            .filter(|file| file.table.as_deref() == Some(name))
            .map(|file| self.table_file(file))
            .collect::<Result<_>>()
            .with_context(|| format!("table `{name}` of step `{}`", self.manifest.step))?;
        let first = files.first().with_context(|| format!("table `{name}` of step `{}` has no file", self.manifest.step))?;
        let schema = if first.of.is_some() { selection::schema_of(first)? } else { schema_of(&first.path)? };
        Ok(Table { name: name.to_string(), schema, rows: entry.rows, files })
    }

    fn table_file(&self, file: &FileManifest) -> Result<TableFile> {
        let of = file.of.as_ref().map(|of| self.dir.parent().unwrap_or(&self.dir).join(of));
        let bytes = match &of {
            Some(of) => selection::bytes_of(of)?,
            None => file.bytes,
        };
        Ok(TableFile { path: self.dir.join(&file.path), rows: file.rows, bytes, split: file.split.clone(), of })
    }

    /// Reads every file and compares its length and hash with the manifest; an altered one is an error that names it.
    pub fn verify(&self) -> Result<()> {
        for file in &self.manifest.files {
            let path = self.dir.join(&file.path);
            let (bytes, blake3) = crate::files::hash_file(&path)?;
            let what = match bytes == file.bytes {
                true if blake3 == file.blake3 => continue,
                true => "has other bytes than when it was written".to_string(),
                false => format!("has {bytes} bytes, the manifest says {}", file.bytes),
            };
            bail!("`{}` {what}; remove the folder `{}` and run step `{}` again", path.display(), self.dir.display(), self.manifest.step);
        }
        Ok(())
    }

    /// The hash of a file as the manifest has it; `None` where there is no such file.
    pub fn hash_of(&self, path: &str) -> Option<&str> {
        self.manifest.files.iter().find(|file| file.path == path).map(|file| file.blake3.as_str())
    }

    /// A fact that the stage noted.
    pub fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let step = &self.manifest.step;
        let value = self.manifest.facts.get(name).with_context(|| format!("step `{step}` noted no fact `{name}`"))?;
        serde_json::from_value(value.clone()).with_context(|| format!("fact `{name}` of step `{step}`"))
    }
}

impl Table {
    /// Reads one Parquet file of the table in batches of at most `batch_rows` rows; `columns` in the table's order, all when `None`.
    pub fn read(
        &self,
        file: usize,
        columns: Option<&[&str]>,
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let file = self.files.get(file).with_context(|| format!("table `{}` has no file {file}", self.name))?;
        for name in columns.into_iter().flatten() {
            self.column(name)?;
        }
        let batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> = match &file.of {
            Some(_) => Box::new(selection::read(self, file, columns, batch_rows)?),
            None => Box::new(read_parquet(&file.path, columns, batch_rows, None)?),
        };
        Ok(batches)
    }

    /// The index of a column, or an error that lists the columns.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.schema.index_of(name).map_err(|_| {
            let names = || self.schema.fields().iter().map(|field| field.name().as_str());
            anyhow::anyhow!("table `{}` has no column `{name}`{}; columns: {}", self.name, suggest(name, names()), list(names()))
        })
    }

    pub fn has_column(&self, name: &str) -> bool {
        self.schema.index_of(name).is_ok()
    }

    /// One part of work per file.
    pub fn plan(&self) -> Vec<crate::Part> {
        self.files.iter().map(|file| crate::Part { bytes: file.bytes }).collect()
    }
}

/// The rows of a Parquet file, or the selected ones, with some of its columns in its order.
pub(crate) fn read_parquet(
    path: &Path,
    columns: Option<&[&str]>,
    batch_rows: usize,
    rows: Option<RowSelection>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let mut builder = open_parquet(path)?;
    if let Some(names) = columns {
        let projection = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        builder = builder.with_projection(projection);
    }
    if let Some(rows) = rows {
        builder = builder.with_row_selection(rows);
    }
    let path = path.to_path_buf();
    Ok(builder.with_batch_size(batch_rows).build()?.map(move |batch| batch.with_context(|| format!("reading `{}`", path.display()))))
}

pub(crate) fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    ParquetRecordBatchReaderBuilder::try_new(file).with_context(|| format!("`{}` is no readable Parquet file", path.display()))
}

pub(crate) fn schema_of(path: &Path) -> Result<SchemaRef> {
    if path.extension().is_some_and(|extension| extension == "arrow") {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        let reader = arrow::ipc::reader::FileReader::try_new(file, None);
        return Ok(reader.with_context(|| format!("`{}` is no readable Arrow file", path.display()))?.schema());
    }
    Ok(open_parquet(path)?.schema().clone())
}

/// Describes every data file of a draft. Hashes noted by parts are used, other files are read once.
pub(crate) fn describe(draft: &Draft, identity: Identity, usage: Usage) -> Result<Manifest> {
    let mut relative = Vec::new();
    walk(draft.dir(), "", &mut relative)?;
    relative.retain(|path| !is_bookkeeping(path));
    relative.sort();
    let state = draft.state();
    let noted: BTreeMap<&str, &FileManifest> =
        state.done.values().flat_map(|line| &line.files).map(|file| (file.path.as_str(), file)).collect();
    let mut files = Vec::new();
    for path in &relative {
        let mut file = match noted.get(path.as_str()) {
            Some(file) => (*file).clone(),
            None => {
                let foreign = state.foreign.iter().any(|prefix| path.starts_with(prefix.as_str()));
                let absolute = draft.dir().join(path);
                File::open(&absolute).and_then(|file| file.sync_all()).with_context(|| format!("syncing `{}`", absolute.display()))?;
                describe_file(draft.dir(), path, state.rows.get(path).copied(), foreign)?
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
        tables: describe_tables(draft.dir(), &files, &state.schemas)?,
        files,
        counts,
        facts: state.facts.clone(),
        usage,
        finished: SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or(0),
        program: concat!("mill ", env!("CARGO_PKG_VERSION")).to_string(),
    })
}

pub(crate) fn describe_file(dir: &Path, relative: &str, rows: Option<u64>, foreign: bool) -> Result<FileManifest> {
    let path = dir.join(relative);
    let (bytes, blake3) = crate::files::hash_file(&path)?;
    let parquet = !foreign && relative.ends_with(".parquet");
    let is_table = parquet || (!foreign && relative.ends_with(".arrow"));
    let table = if is_table { relative.split_once('/').map(|(table, _)| table.to_string()) } else { None };
    let split = relative.split('/').find_map(|folder| folder.strip_prefix("split=")).map(str::to_string);
    let rows = match rows {
        Some(rows) => rows,
        None if parquet => open_parquet(&path)?.metadata().file_metadata().num_rows() as u64,
        None => 0,
    };
    Ok(FileManifest { path: relative.to_string(), table, split, rows, of: None, bytes, blake3, volatile: false })
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

pub(crate) fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = dir.join(manifest::FILE);
    let temporary = dir.join(".manifest");
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    let written = File::create(&temporary).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.and_then(|()| std::fs::rename(&temporary, &path)).with_context(|| format!("writing `{}`", path.display()))
}

/// Relative paths of all files below `dir`, `/` separated.
fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(dir.join(prefix)).with_context(|| format!("listing `{}`", dir.join(prefix).display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing `{}`", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(dir, &relative, out)?;
        } else {
            out.push(relative);
        }
    }
    Ok(())
}

/// Bytes of all files below a folder; none of one that does not exist.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let mut files = Vec::new();
    // A file that goes while it is looked at counts nothing.
    let _ = walk(dir, "", &mut files);
    files.iter().filter_map(|file| Some(std::fs::metadata(dir.join(file)).ok()?.len())).sum()
}
