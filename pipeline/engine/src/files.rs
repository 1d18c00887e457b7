//! Input files: globs below the root, and content hashes that are cached by size, modification time and inode. Files below a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{self, Read};
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

impl InputFile {
    /// The id of a row, counted from 0: whoever reads rows of a file gives them the same ids.
    pub fn row_id(&self, row: u64) -> [u8; 16] {
        let hash = blake3::Hasher::new().update(self.hash.as_bytes()).update(&row.to_le_bytes()).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        id
    }

    /// The content, unpacked if the name ends with `.gz` or `.zst`.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let file = File::open(&self.path)?;
        Ok(match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Some("zst") => Box::new(zstd::Decoder::new(file)?),
            _ => Box::new(file),
        })
    }
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
            if is_file(root, pattern) {
                let path = root.join(pattern);
                let metadata = std::fs::metadata(&path).with_context(|| format!("reading `{}`", path.display()))?;
                paths.insert(path, metadata);
                continue;
            }
            let text = absolute(root, pattern)?;
            let compiled = glob::Pattern::new(&text).with_context(|| format!("`{pattern}` is no valid pattern"))?;
            refuse_unnamed(&text)?;
            let before = paths.len();
            for path in glob::glob(&text).with_context(|| format!("`{pattern}` is no valid pattern"))? {
                let path = path.with_context(|| format!("listing files of `{pattern}`"))?;
                let metadata = std::fs::metadata(&path).with_context(|| format!("reading `{}`", path.display()))?;
                if metadata.is_file() {
                    paths.insert(path, metadata);
                }
            }
            if paths.len() == before && !paths.keys().any(|path| compiled.matches_path(path)) {
                if root.join(pattern).is_dir() {
                    let folder = pattern.trim_end_matches('/');
                    bail!("`{pattern}` is a folder; name the files in it, for example `{folder}/**/*.jsonl`");
                }
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

const WILD: [char; 3] = ['*', '?', '['];

/// Whether a pattern is the name of a file, whatever signs of patterns stand in it.
fn is_file(root: &Path, pattern: &str) -> bool {
    root.join(pattern).is_file()
}

/// The pattern of whole paths; in the root's own name no sign is wild.
fn absolute(root: &Path, pattern: &str) -> Result<String> {
    let root = root.to_str().with_context(|| format!("path `{}` is not UTF-8", root.display()))?;
    let joined = Path::new(&glob::Pattern::escape(root)).join(pattern);
    Ok(joined.to_string_lossy().into_owned())
}

/// Refuses names that are no UTF-8 where the pattern is wild, because listing by patterns passes them over.
fn refuse_unnamed(pattern: &str) -> Result<()> {
    let parts: Vec<&str> = pattern.split('/').collect();
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| part.contains(WILD)) {
        // `a/**` stands for the folders below `a`, and for `a` itself.
        let after = index > 0 && parts[index - 1] == "**";
        let ends = [index - usize::from(after), index + usize::from(*part == "**")];
        for end in BTreeSet::from(ends) {
            let above = format!("{}/", parts[..end].join("/"));
            for folder in glob::glob(&above).with_context(|| format!("`{pattern}` is no valid pattern"))?.filter_map(Result::ok) {
                refuse_unnamed_in(&folder, part, index + 1 < parts.len())?;
            }
        }
    }
    Ok(())
}

/// `inner` are parts that only folders can match.
fn refuse_unnamed_in(folder: &Path, part: &str, inner: bool) -> Result<()> {
    // What is no folder, or cannot be read, is told by the listing itself.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let wanted = || {
            let matches = part == "**" || glob::Pattern::new(part).is_ok_and(|part| part.matches(&name.to_string_lossy()));
            matches && (!inner || entry.path().is_dir())
        };
        if name.to_str().is_none() && wanted() {
            let escaped = name.as_encoded_bytes().escape_ascii();
            bail!("`{}/{escaped}`: the name is not UTF-8, and ids of documents need one that is; rename it", folder.display());
        }
    }
    Ok(())
}

/// The deepest folder that holds everything the patterns can match.
fn fixed_part(root: &Path, patterns: &[String]) -> PathBuf {
    let folders = patterns.iter().map(|pattern| {
        let full = root.join(pattern);
        let below = full.strip_prefix(root).unwrap_or(&full);
        let is_wild = |part: &Component| part.as_os_str().to_string_lossy().contains(WILD);
        let wild = if is_file(root, pattern) { 1 } else { below.components().skip_while(|part| !is_wild(part)).count().max(1) };
        full.ancestors().nth(wild).unwrap_or(&full).to_path_buf()
    });
    folders.reduce(|a, b| a.components().zip(b.components()).take_while(|(x, y)| x == y).map(|(x, _)| x).collect()).unwrap_or_default()
}

/// Relative paths of all files below `dir`, `/` separated.
pub(crate) fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) -> Result<()> {
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
        let folder = find(&["data/en/"]).unwrap_err().to_string();
        assert_eq!(folder, "`data/en/` is a folder; name the files in it, for example `data/en/**/*.jsonl`");
    }

    #[test]
    fn packed_files_are_unpacked_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        io::Write::write_all(&mut gzip, b"text").unwrap();
        let (gzip, zstd) = (gzip.finish().unwrap(), zstd::encode_all(&b"text"[..], 0).unwrap());
        // A file of several members is one text.
        for (name, bytes, expected) in [("a.txt", b"text".to_vec(), "text"), ("a.gz", gzip.repeat(2), "texttext"), ("a.zst", zstd, "text")]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let file = InputFile { path, relative: name.into(), bytes: 0, hash: String::new() };
            assert_eq!(io::read_to_string(file.open().unwrap()).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_path_that_exists_is_that_file() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("a [1]");
        std::fs::create_dir_all(root.join("od[d]")).unwrap();
        for name in ["x [1].txt", "x 1.txt", "od[d]/y?.txt"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let mut cache = HashCache::open(root.join("hashes"), false);
        let mut find = |pattern: &str| {
            let files = cache.find(&root, &[pattern.to_string()]).unwrap();
            files.into_iter().map(|file| file.relative).collect::<Vec<_>>()
        };
        assert_eq!(find("x [1].txt"), ["x [1].txt"]);
        assert_eq!(find("od[d]/y?.txt"), ["y?.txt"]);
        assert_eq!(find("x [12].tx?"), ["x 1.txt"]);
        assert_eq!(find("**/*.txt"), ["od[d]/y?.txt", "x 1.txt", "x [1].txt"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_are_refused_where_they_are_wanted() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        for name in [&b"a/x.jsonl"[..], b"a/\xff\xfe.jsonl", b"a/b/\xff.txt", b"a/b/y.txt"] {
            std::fs::write(root.path().join(OsStr::from_bytes(name)), "x").unwrap();
        }
        let mut cache = HashCache::open(root.path().join("hashes"), false);
        let mut find = |pattern: &str| cache.find(root.path(), &[pattern.to_string()]).map_err(|error| format!("{error:#}"));
        for pattern in ["a/*.jsonl", "a/**/*.jsonl", "**/*.jsonl", "*/*"] {
            let told = find(pattern).unwrap_err();
            assert!(told.contains("a/\\xff\\xfe.jsonl`: the name is not UTF-8") && told.ends_with("rename it"), "{pattern}: {told}");
        }
        assert!(find("a/*/*.txt").unwrap_err().contains("a/b/\\xff.txt`"));
        assert!(find("**/*.txt").unwrap_err().contains("a/b/\\xff.txt`"));
        assert_eq!(find("a/x.*").unwrap().len(), 1);
        std::fs::create_dir(root.path().join(OsStr::from_bytes(b"a/b/\xfd"))).unwrap();
        assert!(find("**/y.txt").unwrap_err().contains("a/b/\\xfd`"));
    }
}
