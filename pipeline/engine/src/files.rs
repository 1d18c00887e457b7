//! Input files: globs below the root, and content hashes that are cached by size, modification time and inode.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// A file that a step reads from outside the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub path: PathBuf,
    /// The path below the fixed part of the step's globs, `/` separated: part of the key and of document ids.
    pub relative: String,
    pub bytes: u64,
    /// BLAKE3 of the content, in hexadecimal.
    pub hash: String,
}

/// Size and BLAKE3 of a file.
pub fn hash_file(path: &Path) -> Result<(u64, String)> {
    let reading = || format!("reading `{}`", path.display());
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).with_context(reading)?;
    // Reads enough at once for the widest vector instructions.
    hasher.update_reader(&file).with_context(reading)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}

/// Content hashes of earlier runs, so that an unchanged file is not read again.
pub struct HashCache {
    path: PathBuf,
    entries: BTreeMap<String, CachedHash>,
    changed: bool,
    verify: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct CachedHash {
    size: u64,
    modified: (i64, i64),
    inode: u64,
    hash: String,
}

impl HashCache {
    /// Opens the cache file; an unreadable one counts as empty. With `verify` nothing cached is believed.
    pub fn open(path: PathBuf, verify: bool) -> HashCache {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        HashCache { entries: serde_json::from_str(&text).unwrap_or_default(), path, changed: false, verify }
    }

    fn hash(&mut self, path: &Path, metadata: &Metadata) -> Result<String> {
        let name = path.to_string_lossy().into_owned();
        let (size, modified, inode) = (metadata.size(), (metadata.mtime(), metadata.mtime_nsec()), metadata.ino());
        if let Some(cached) = self.entries.get(&name)
            && !self.verify
            && (cached.size, cached.modified, cached.inode) == (size, modified, inode)
        {
            return Ok(cached.hash.clone());
        }
        let (_, hash) = hash_file(path)?;
        self.entries.insert(name, CachedHash { size, modified, inode, hash: hash.clone() });
        self.changed = true;
        Ok(hash)
    }

    /// A file with its size and hash.
    pub fn file(&mut self, path: PathBuf, relative: String) -> Result<InputFile> {
        let metadata = std::fs::metadata(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let hash = self.hash(&path, &metadata)?;
        Ok(InputFile { path, relative, bytes: metadata.len(), hash })
    }

    /// Writes the cache back; failing to is no error, the hashes are only computed again.
    pub fn save(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let temporary = self.path.with_extension("tmp");
        let written = serde_json::to_vec(&self.entries).map_err(io::Error::from).and_then(|text| std::fs::write(&temporary, text));
        let _ = written.and_then(|()| std::fs::rename(&temporary, &self.path));
    }

    /// The files that the patterns match below `root`, sorted by relative path.
    pub fn find(&mut self, root: &Path, patterns: &[String]) -> Result<Vec<InputFile>> {
        let mut paths = BTreeMap::new();
        for pattern in patterns {
            let absolute = root.join(pattern);
            let text = absolute.to_str().with_context(|| format!("path `{}` is not UTF-8", absolute.display()))?;
            let matches = glob::glob(text).with_context(|| format!("`{pattern}` is no valid pattern"))?;
            let before = paths.len();
            for path in matches {
                let path = path.with_context(|| format!("listing files of `{pattern}`"))?;
                let metadata = std::fs::metadata(&path).with_context(|| format!("reading `{}`", path.display()))?;
                if metadata.is_file() {
                    paths.insert(path, metadata);
                }
            }
            if paths.len() == before && !paths.keys().any(|path| glob::Pattern::new(text).is_ok_and(|p| p.matches_path(path))) {
                bail!("`{pattern}` matches no file below `{}`; check the path, relative ones start at the config's `root`", root.display());
            }
        }
        let fixed = fixed_part(root, patterns);
        let mut files = Vec::new();
        for (path, metadata) in paths {
            let relative = path.strip_prefix(&fixed).unwrap_or(&path);
            let relative = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            let hash = self.hash(&path, &metadata)?;
            files.push(InputFile { path, relative, bytes: metadata.len(), hash });
        }
        files.sort_by(|a, b| a.relative.cmp(&b.relative));
        Ok(files)
    }
}

/// The deepest folder that holds everything the patterns can match.
fn fixed_part(root: &Path, patterns: &[String]) -> PathBuf {
    let folders = patterns.iter().map(|pattern| {
        let full = root.join(pattern);
        let is_fixed = |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let fixed: PathBuf = full.components().take_while(is_fixed).collect();
        if fixed == full { fixed.parent().unwrap_or(&fixed).to_path_buf() } else { fixed }
    });
    folders.reduce(|a, b| a.components().zip(b.components()).take_while(|(x, y)| x == y).map(|(x, _)| x).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_below_the_fixed_part_and_hashes_follow_content() {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("data/en/a.txt", "one"), ("data/zh/a.txt", "two")] {
            std::fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(name), text).unwrap();
        }
        let mut cache = HashCache::open(root.path().join("hashes"), false);
        let mut find = |patterns: &[&str]| cache.find(root.path(), &patterns.iter().map(|p| p.to_string()).collect::<Vec<_>>());
        let relative = |files: Vec<InputFile>| files.into_iter().map(|file| file.relative).collect::<Vec<_>>();
        assert_eq!(relative(find(&["data/*/*.txt"]).unwrap()), ["en/a.txt", "zh/a.txt"]);
        assert_eq!(relative(find(&["data/zh/a.txt", "data/en/a.txt"]).unwrap()), ["en/a.txt", "zh/a.txt"]);
        assert_eq!(relative(find(&["data/en/a.txt"]).unwrap()), ["a.txt"]);
        let before = find(&["data/en/a.txt"]).unwrap();
        std::fs::write(root.path().join("data/en/a.txt"), "one").unwrap();
        assert_eq!(find(&["data/en/a.txt"]).unwrap()[0].hash, before[0].hash);
        assert!(find(&["data/*.csv"]).unwrap_err().to_string().contains("matches no file"));
    }
}
