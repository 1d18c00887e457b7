//! Token ids of one width, one after another without a header: how documents wait for their rows.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use memmap2::Mmap;

use crate::Width;

/// Such a file, mapped into memory.
pub struct TokenFile {
    path: PathBuf,
    map: Mmap,
    width: Width,
}

impl TokenFile {
    /// Maps the file, which nobody may change as long as it is mapped.
    pub fn open(path: &Path, width: Width) -> Result<TokenFile> {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        // SAFETY: such files lie in the scratch folder of a draft, which is locked, and are written once.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping `{}` into memory", path.display()))?;
        Ok(TokenFile { path: path.to_path_buf(), map, width })
    }

    /// The bytes of some tokens, little endian; an error if the file is shorter.
    pub fn bytes(&self, tokens: Range<u64>) -> Result<&[u8]> {
        let width = self.width.bytes() as u64;
        let range = (tokens.start * width) as usize..(tokens.end * width) as usize;
        self.map.get(range).with_context(|| format!("`{}` is shorter than {} tokens", self.path.display(), tokens.end))
    }
}
