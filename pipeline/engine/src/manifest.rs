//! `manifest.json`: what an artifact is, where it came from and what its files must be. Written last; without it there is no artifact.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;

/// The version of the manifest and the folder layout.
pub const FORMAT: u32 = 1;
/// The file's name in the artifact's folder.
pub const FILE: &str = "manifest.json";

/// A finished artifact, described.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub kind: Kind,
    pub step: String,
    pub stage: String,
    pub version: u32,
    /// BLAKE3 of `key_parts`, in hexadecimal.
    pub key: String,
    /// What the key was made of: stage, settings, files, keys of inputs, seed. Kept so that a plan can say what changed.
    pub key_parts: Value,
    /// BLAKE3 over names and contents of the files that are not volatile.
    pub fingerprint: String,
    pub tables: BTreeMap<String, TableManifest>,
    pub files: Vec<FileManifest>,
    /// Totals: rows per table are in `tables`; stages add their own (`records`, `tokens_cut` …).
    pub counts: BTreeMap<String, i64>,
    /// Free-form facts of the stage that later stages read.
    pub facts: BTreeMap<String, Value>,
    pub usage: Usage,
    /// Seconds since 1970.
    pub finished: u64,
    pub program: String,
}

/// A table of an artifact. It has at least one file, so that an empty table keeps its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableManifest {
    pub rows: u64,
    pub bytes: u64,
    /// `name: type` of each column, for readers of the manifest; the files hold the exact schema.
    pub columns: Vec<String>,
}

/// A file of an artifact. `path` is relative to the folder, `/` separated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileManifest {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    #[serde(default)]
    pub rows: u64,
    /// The file of another artifact in the same store whose rows this one selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub bytes: u64,
    pub blake3: String,
    /// Timings and logs: may differ between two runs of the same step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volatile: bool,
}

/// What the step took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    /// Highest resident memory of the program while the step ran, in bytes.
    pub peak_memory: u64,
    /// Parts that an earlier, interrupted run had already finished.
    #[serde(default)]
    pub parts_resumed: u64,
}

/// Who an artifact is: everything known before its stage runs.
#[derive(Clone, Debug)]
pub struct Identity {
    pub step: String,
    pub stage: String,
    pub version: u32,
    pub kind: Kind,
    pub key: String,
    pub key_parts: Value,
}

impl Manifest {
    /// Reads the manifest of a folder; `None` when there is none, so no artifact.
    pub fn read(dir: &Path) -> Result<Option<Manifest>> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A file where a folder should be is found and named when the workspace is made.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading `{}`", path.display())),
        };
        let manifest: Manifest = serde_json::from_str(&text).with_context(|| format!("`{}` is not a manifest", path.display()))?;
        if manifest.format != FORMAT {
            bail!(
                "`{}` has format {}, this program reads format {FORMAT}; remove the folder to make it again",
                path.display(),
                manifest.format
            );
        }
        Ok(Some(manifest))
    }

    /// Writes it into a folder at once, so that there is all of it or none.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let temporary = dir.join(".manifest");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let written = File::create(&temporary).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.and_then(|()| std::fs::rename(&temporary, &path)).with_context(|| format!("writing `{}`", path.display()))
    }

    /// Rows of a table, 0 when the artifact has no such table.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).map(|table| table.rows).unwrap_or(0)
    }

    pub fn count(&self, name: &str) -> i64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}
