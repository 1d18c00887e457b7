//! A finished artifact: its manifest and tables.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::de::DeserializeOwned;

use crate::manifest::{self, FileManifest, Manifest};
use crate::table_file::{TableFile, read_parquet, schema_of};
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
            Some(_) => Box::new(selection::read(&self.schema, file, columns, batch_rows)?),
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
