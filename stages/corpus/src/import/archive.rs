//! Opens a file for reading, decompressed, and tells a broken archive from a failed read.
//!
//! A broken archive is data: what can be read before the break is kept, then one reject names the place. A failed read is an error.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::rows::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the file's last extension.
    pub fn of(path: &Path) -> Compression {
        match path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).as_deref() {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// The decompressed bytes; members and frames that follow each other are read as one.
pub fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(match Compression::of(path) {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 17, file))),
        Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
    })
}

/// The reject for a break in a compressed file; the error itself when the operating system could not read.
pub fn broken(path: &Path, error: io::Error) -> Result<Fault, io::Error> {
    if error.raw_os_error().is_some() || Compression::of(path) == Compression::None {
        return Err(error);
    }
    let rule = if error.kind() == ErrorKind::UnexpectedEof { "truncated_archive" } else { "corrupt_archive" };
    Ok(Fault::new(rule, format!("nothing after this place can be read: {error}")))
}
