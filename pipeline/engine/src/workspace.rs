//! The folder of a config's results: `store/` (artifacts), `steps/` (links to the current ones), `journal/` (one file per run).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::manifest::Manifest;
use crate::{Artifact, Locked};

/// How much of a key is part of a folder's name.
const KEY_DIGITS: usize = 16;

/// Where a config's results lie.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub dir: PathBuf,
}

/// Held while a run works in the workspace; the lock ends with the process.
pub struct Lock {
    _file: File,
}

impl Workspace {
    pub fn new(dir: PathBuf) -> Workspace {
        Workspace { dir }
    }

    /// Makes the folders.
    pub fn create(&self) -> Result<()> {
        for folder in ["store", "steps", "journal"] {
            let path = self.dir.join(folder);
            std::fs::create_dir_all(&path).with_context(|| {
                format!("creating `{}`; is it writable? `workspace = \"…\"` in the config chooses another", path.display())
            })?;
        }
        Ok(())
    }

    /// Takes the workspace for this process, or tells who has it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.dir.join("lock");
        let opening = || format!("opening `{}`; is the workspace writable?", path.display());
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).with_context(opening)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "another process".to_string() } else { holder.trim().to_string() };
                return Err(Locked { workspace: self.dir.display().to_string(), holder }.into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(opening),
        }
        let text = format!("process {} since {}\n", std::process::id(), crate::journal::timestamp());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).with_context(|| format!("writing `{}`", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// The folder of the artifact of a step with this key.
    pub fn artifact_dir(&self, step: &str, key: &str) -> PathBuf {
        self.dir.join("store").join(format!("{step}-{}", &key[..KEY_DIGITS.min(key.len())]))
    }

    pub fn draft_dir(&self, step: &str, key: &str) -> PathBuf {
        self.artifact_dir(step, key).with_extension("draft")
    }

    /// The artifact of a step with exactly this key, if it is finished.
    pub fn find(&self, step: &str, key: &str) -> Result<Option<Artifact>> {
        let dir = self.artifact_dir(step, key);
        let manifest = Manifest::read(&dir)?;
        Ok(manifest.filter(|manifest| manifest.key == key).map(|manifest| Artifact { dir, manifest }))
    }

    /// The artifact that `steps/STEP` points to.
    pub fn current(&self, step: &str) -> Result<Option<Artifact>> {
        let link = self.dir.join("steps").join(step);
        let Ok(dir) = std::fs::canonicalize(&link) else { return Ok(None) };
        Ok(Manifest::read(&dir)?.map(|manifest| Artifact { dir, manifest }))
    }

    /// Names of the steps that have a current artifact, sorted.
    pub fn steps(&self) -> Result<Vec<String>> {
        let path = self.dir.join("steps");
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("listing `{}`", path.display())),
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    /// Points `steps/STEP` to an artifact, in one move.
    pub fn link(&self, step: &str, artifact: &Path) -> Result<()> {
        let link = self.dir.join("steps").join(step);
        let target = Path::new("../store").join(artifact.file_name().context("an artifact's folder has a name")?);
        if std::fs::read_link(&link).is_ok_and(|current| current == target) {
            return Ok(());
        }
        let temporary = self.dir.join("steps").join(format!(".{step}"));
        let _ = std::fs::remove_file(&temporary);
        std::os::unix::fs::symlink(&target, &temporary)
            .and_then(|()| std::fs::rename(&temporary, &link))
            .with_context(|| format!("linking `{}`", link.display()))
    }
}
