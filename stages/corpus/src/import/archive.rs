//! Unpacks compressed files, and tells a broken archive from a failed read.
//!
//! A broken archive is data: what can be read before the break is kept, then one reject names the place. A failed read is an error.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::plan::Piece;
use super::rows::Fault;
use super::stream::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// Extensions of compressed files; those of compressed tar files have a short form.
const EXTENSIONS: [(&str, Compression, &str); 10] = [
    (".gz", Compression::Gzip, ""),
    (".bgz", Compression::Gzip, ""),
    (".bz2", Compression::Bzip2, ""),
    (".xz", Compression::Xz, ""),
    (".zst", Compression::Zstd, ""),
    (".tgz", Compression::Gzip, ".tar"),
    (".tbz", Compression::Bzip2, ".tar"),
    (".tbz2", Compression::Bzip2, ".tar"),
    (".txz", Compression::Xz, ".tar"),
    (".tzst", Compression::Zstd, ".tar"),
];

impl Compression {
    /// By the file's last extension.
    pub fn of(path: &Path) -> Compression {
        Self::split(&path.to_string_lossy()).0
    }

    /// The compression that a file's name tells, and the name that the file has once it is unpacked, in lower case.
    pub fn split(name: &str) -> (Compression, String) {
        let name = name.to_ascii_lowercase();
        for (extension, compression, instead) in EXTENSIONS {
            if let Some(stem) = name.strip_suffix(extension) {
                return (compression, format!("{stem}{instead}"));
            }
        }
        (Compression::None, name)
    }
}

/// The decompressed bytes of a piece of a file.
pub fn open(piece: &Piece, path: &Path) -> Result<Stream<'static>> {
    let failed = || format!("reading `{}`", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let reader = if piece.end == u64::MAX {
        unpack(Compression::of(path), file).with_context(failed)?
    } else {
        file.seek(SeekFrom::Start(piece.start)).with_context(failed)?;
        Box::new(file.take(piece.end - piece.start))
    };
    Ok(Stream { position: piece.start, line: piece.line, ..Stream::new(path.display().to_string(), reader) })
}

/// Decompresses what `packed` gives; members and frames that follow each other are read as one.
pub fn unpack<'a>(compression: Compression, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let buffered = |packed| BufReader::with_capacity(1 << 17, packed);
    Ok(match compression {
        Compression::None => Box::new(packed),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(packed))),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(packed))),
        Compression::Xz => {
            let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(buffered(packed), decoder))
        }
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(packed))?),
    })
}

/// Memory for one xz file; `xz -9` asks for 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// The reject for a break in a compressed file; the error itself when the operating system could not read.
pub fn broken(error: io::Error) -> Result<Fault, io::Error> {
    if error.raw_os_error().is_some() {
        return Err(error);
    }
    let rule = if error.kind() == ErrorKind::UnexpectedEof { "truncated_archive" } else { "corrupt_archive" };
    Ok(Fault::new(rule, format!("nothing after this place can be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_compression() {
        for (name, compression, stem) in [
            ("A.JSONL.GZ", Compression::Gzip, "a.jsonl"),
            ("a.tar.bz2", Compression::Bzip2, "a.tar"),
            ("a.tgz", Compression::Gzip, "a.tar"),
            ("a.txz", Compression::Xz, "a.tar"),
            ("a.tar.zst", Compression::Zstd, "a.tar"),
            ("gz", Compression::None, "gz"),
            ("a.txt", Compression::None, "a.txt"),
        ] {
            assert_eq!(Compression::split(name), (compression, stem.to_string()), "{name}");
        }
    }
}
