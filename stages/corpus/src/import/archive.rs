//! Unpacks compressed files, and tells a broken archive from a failed read.
//!
//! A broken archive is data: what can be read before the break is kept, then one reject names the place. A failed read is an error.
//! An archive that grows beyond what text can (a bomb) counts as broken where it does.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};

use super::Shape;
use super::plan::Piece;
use super::rows::Fault;
use super::segments::Entry;
use super::stream::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    /// As in zip files; no extension stands for it.
    Deflate,
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
    /// About how many times larger the artifact is that a packed file becomes. Of the texts and mails of `data-samples/`, gzip and Zstandard
    /// leave a quarter to a third, bzip2 and xz a fifth to a quarter, and LZ4 in Parquet a half.
    pub fn artifact_bytes(self, packed: u64) -> u64 {
        match self {
            Compression::None => packed,
            Compression::Gzip | Compression::Zstd | Compression::Deflate => packed * 2,
            Compression::Bzip2 | Compression::Xz => packed * 5 / 2,
        }
    }

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

/// Whatever the ratio, this much may come out: small files of little variety are no attack.
const EXPANSION_FREE: u64 = 64 << 20;

/// Counts what goes into the decoders of a file and what comes out, and holds the limits for both.
pub struct Meter {
    expansion_max: u64,
    window_bytes_max: u64,
    packed: Cell<u64>,
    unpacked: Cell<u64>,
}

impl Meter {
    pub fn new(shape: &Shape) -> Rc<Meter> {
        let (expansion_max, window_bytes_max) = (shape.expansion_max, shape.window_bytes_max);
        Rc::new(Meter { expansion_max, window_bytes_max, packed: Cell::new(0), unpacked: Cell::new(0) })
    }

    /// How much more may come out of what has gone in.
    fn room(&self) -> u64 {
        allowed(self.packed.get(), self.expansion_max).saturating_sub(self.unpacked.get())
    }
}

/// Bytes that may come out of `packed` ones.
pub fn allowed(packed: u64, expansion_max: u64) -> u64 {
    packed.saturating_mul(expansion_max).saturating_add(EXPANSION_FREE)
}

/// The decompressed bytes of a piece of a file.
pub fn open(piece: &Piece, path: &Path, meter: &Rc<Meter>) -> Result<Stream<'static>> {
    let failed = || format!("reading `{}`", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let compression = Compression::of(path);
    let entry = piece.entry.unwrap_or(Entry { offset: if compression == Compression::None { piece.start } else { 0 }, skip: 0 });
    file.seek(SeekFrom::Start(entry.offset)).with_context(failed)?;
    let mut reader = unpack(compression, file, meter).with_context(failed)?;
    io::copy(&mut reader.by_ref().take(entry.skip), &mut io::sink()).with_context(failed)?;
    if piece.end != u64::MAX {
        reader = Box::new(reader.take(piece.end - piece.start));
    }
    Ok(Stream { position: piece.start, line: piece.line, ..Stream::new(path.display().to_string(), reader) })
}

/// Decompresses what `packed` gives; members and frames that follow each other are read as one.
pub fn unpack<'a>(compression: Compression, packed: impl Read + 'a, meter: &Rc<Meter>) -> io::Result<Box<dyn Read + 'a>> {
    let packed = BufReader::with_capacity(1 << 17, Packed { inner: packed, meter: meter.clone() });
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::None => return Ok(Box::new(packed.into_inner().inner)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Compression::Xz => {
            // What the decoder needs besides its window is well below 1 MiB.
            let memory = meter.window_bytes_max + (1 << 20);
            let decoder = liblzma::stream::Stream::new_stream_decoder(memory, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, decoder))
        }
        Compression::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(meter.window_bytes_max.ilog2())?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(Unpacked { inner, meter: meter.clone() }))
}

/// What goes into a decoder.
struct Packed<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.packed.set(self.meter.packed.get() + count as u64);
        Ok(count)
    }
}

/// What comes out of a decoder, until it is more than any text would become.
struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    meter: Rc<Meter>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.meter.room()).unwrap_or(usize::MAX));
        if wanted == 0 && !buffer.is_empty() {
            let (packed, limit) = (self.meter.packed.get(), self.meter.expansion_max);
            let detail = format!("the first {packed} bytes unpack to more than expansion_max = {limit} times as many");
            return Err(io::Error::other(Refused { rule: "archive_bomb", detail }));
        }
        let count = self.inner.read(&mut buffer[..wanted]).map_err(|error| self.explain(error))?;
        self.meter.unpacked.set(self.meter.unpacked.get() + count as u64);
        Ok(count)
    }
}

impl Unpacked<'_> {
    /// Both libraries refuse a window beyond the limit, each in its own words.
    fn explain(&self, error: io::Error) -> io::Error {
        let xz = error.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
        if xz == Some(&liblzma::stream::Error::MemLimit) || error.to_string().contains("requires too much memory") {
            let detail = format!("unpacking it needs a window of more than window_bytes_max = {}", self.meter.window_bytes_max);
            return io::Error::other(Refused { rule: "window_too_large", detail });
        }
        error
    }
}

/// Why we stop reading a stream that a decoder would go on with.
#[derive(Debug)]
struct Refused {
    rule: &'static str,
    detail: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Refused {}

/// The reject for a break in a compressed file; the error itself when the operating system could not read.
pub fn broken(error: io::Error) -> Result<Fault, io::Error> {
    if error.raw_os_error().is_some() {
        return Err(error);
    }
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    let rule = match refused {
        Some(refused) => refused.rule,
        None if error.kind() == ErrorKind::UnexpectedEof => "truncated_archive",
        None => "corrupt_archive",
    };
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
