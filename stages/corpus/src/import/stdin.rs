//! The standard input as an input file: kept in the workspace under its content hash, so that its key is right and a killed run goes on.
//!
//! When nothing is piped in (a terminal, `/dev/null`), what was piped in last is taken, so that settings can be changed without the pipe.
//! An empty pipe is an error: the command before it failed.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::Site;

/// What stands for the standard input in `paths`.
pub const NAME: &str = "-";
/// Holds the name of what was piped in last.
const LAST: &str = "stdin.last";
/// First bytes of compressed files, with the extension that stands for each.
const MAGICS: [(&[u8], &str); 4] = [(b"\x1f\x8b", ".gz"), (b"BZh", ".bz2"), (b"\xfd7zXZ\0", ".xz"), (b"\x28\xb5\x2f\xfd", ".zst")];

/// The file that holds the standard input.
pub fn take(site: &Site) -> Result<PathBuf> {
    let folder = site.inputs_folder()?;
    let is_device = std::fs::metadata("/dev/stdin").is_ok_and(|metadata| metadata.file_type().is_char_device());
    if is_device || site.takes_above("import", "paths", NAME) {
        return last(&folder);
    }
    keep(io::stdin().lock(), &folder)
}

fn last(folder: &Path) -> Result<PathBuf> {
    let path = std::fs::read_to_string(folder.join(LAST)).map(|name| folder.join(name)).unwrap_or_default();
    if !path.is_file() {
        bail!("`paths` names `-`, but nothing is piped in; run for example `zcat FILE | mill run CONFIG`");
    }
    Ok(path)
}

/// Copies `input` into `folder`, named by its hash.
fn keep(mut input: impl BufRead, folder: &Path) -> Result<PathBuf> {
    let failed = || format!("keeping the standard input in `{}`", folder.display());
    let head = input.fill_buf().context("reading the standard input")?;
    if head.is_empty() {
        bail!("`paths` names `-`, but the standard input is empty; did the command before the pipe fail?");
    }
    let extension = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map_or("", |(_, extension)| extension);
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("reading the standard input"),
        };
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).with_context(failed)?;
    }
    let name = format!("stdin-{}{extension}", &hasher.finalize().to_hex()[..32]);
    let path = folder.join(&name);
    if !path.exists() {
        file.as_file().sync_all().with_context(failed)?;
        file.persist(&path).with_context(failed)?;
    }
    File::create(folder.join(LAST)).and_then(|mut last| last.write_all(name.as_bytes())).with_context(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_by_content_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(last(folder).unwrap_err().to_string().contains("nothing is piped in"));
        assert!(keep(&b""[..], folder).unwrap_err().to_string().contains("is empty"));
        let one = keep(&b"one"[..], folder).unwrap();
        let packed = keep(&b"\x1f\x8bpacked"[..], folder).unwrap();
        assert_eq!(packed.extension().unwrap(), "gz");
        assert_eq!(last(folder).unwrap(), packed);
        assert_eq!(keep(&b"one"[..], folder).unwrap(), one);
        assert_eq!(last(folder).unwrap(), one);
        assert_eq!(std::fs::read(one).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 3, "two files and the note");
    }
}
