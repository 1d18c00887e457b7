//! Files of other programs: writing them whole, and reading them in order without believing what their headers say.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const BUFFER: usize = 1 << 20;

/// A file while it is written.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Output> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(Output { path: path.to_path_buf(), file: BufWriter::with_capacity(BUFFER, file) })
    }

    /// Goes on at the end of a file that was finished.
    pub(super) fn append(path: &Path) -> Result<Output> {
        let file = File::options().append(true).open(path).with_context(|| format!("writing `{}`", path.display()))?;
        Ok(Output { path: path.to_path_buf(), file: BufWriter::with_capacity(BUFFER, file) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("writing `{}`", self.path.display()))
    }

    /// Syncs the file, so that a part is noted only when its files are whole; returns the number of bytes.
    pub(super) fn finish(self) -> Result<u64> {
        let failed = || format!("writing `{}`", self.path.display());
        let file = self.file.into_inner().map_err(|error| error.into_error()).with_context(failed)?;
        file.sync_all().with_context(failed)?;
        Ok(file.metadata().with_context(failed)?.len())
    }
}

/// Writes a small file whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<u64> {
    let mut output = Output::create(path)?;
    output.write(bytes)?;
    output.finish()
}

/// A file while it is read.
pub(super) struct Input {
    path: PathBuf,
    file: BufReader<File>,
    pub(super) bytes: u64,
    position: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Input> {
        let reading = || format!("reading `{}`", path.display());
        let file = File::open(path).with_context(reading)?;
        let bytes = file.metadata().with_context(reading)?.len();
        Ok(Input { path: path.to_path_buf(), file: BufReader::with_capacity(BUFFER, file), bytes, position: 0 })
    }

    pub(super) fn seek(&mut self, to: u64) -> Result<()> {
        if to != self.position {
            self.file.seek(SeekFrom::Start(to)).with_context(|| format!("reading `{}`", self.path.display()))?;
            self.position = to;
        }
        Ok(())
    }

    /// The next bytes into `out`, which is overwritten.
    pub(super) fn take(&mut self, length: usize, out: &mut Vec<u8>) -> Result<()> {
        // Asked before memory is taken: a damaged header may speak of exabytes.
        self.ask(length)?;
        out.resize(length, 0);
        self.fill(out)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.ask(N)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn ask(&self, length: usize) -> Result<()> {
        let left = self.bytes.saturating_sub(self.position);
        if length as u64 > left {
            bail!(
                "`{}` ends early: from byte {} on it should have {length} bytes or more, and has {left}; get the file again",
                self.path.display(),
                self.position
            );
        }
        Ok(())
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.file.read_exact(out).with_context(|| format!("reading `{}`", self.path.display()))?;
        self.position += out.len() as u64;
        Ok(())
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// A JSON file.
pub(super) fn read_json(path: &Path) -> Result<serde_json::Value> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("`{}` is missing; copy the whole folder", path.display()),
        Err(error) => return Err(error).with_context(|| format!("reading `{}`", path.display())),
    };
    serde_json::from_slice(&bytes).with_context(|| format!("`{}` is no valid JSON; get the file again", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_lacks_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        std::fs::write(&path, [0; 98]).unwrap();
        let mut input = Input::open(&path).unwrap();
        input.take(48, &mut Vec::new()).unwrap();
        let error = input.take(100, &mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.ends_with("a.bin` ends early: from byte 48 on it should have 100 bytes or more, and has 50; get the file again"),
            "{error}"
        );
    }
}
