//! A stream of bytes on its way to a format's reader: a file, a piece of one, a member of an archive, or a payload inside a record.
//!
//! Whoever opens one hands it to `read_stream`; the readers know neither files nor archives.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::archive;
use super::rows::{Fault, Place};

/// Bytes, and where they stand.
pub struct Stream<'a> {
    pub reader: Box<dyn Read + 'a>,
    /// What is read, for messages.
    pub name: String,
    /// Offset of the first byte; positions of records count from here.
    pub position: u64,
    /// Number of the first line.
    pub line: u64,
}

impl<'a> Stream<'a> {
    /// A stream that is read from its beginning.
    pub fn new(name: impl Into<String>, reader: impl Read + 'a) -> Stream<'a> {
        Stream { reader: Box::new(reader), name: name.into(), position: 0, line: 1 }
    }

    /// Unpacks all of it into a file in `folder` that has no name and ends with the process; a stream that breaks is a fault.
    pub fn unpack(&mut self, folder: &Path) -> Result<Result<File, Fault>> {
        let mut file = tempfile::tempfile_in(folder).with_context(|| format!("writing into `{}`", folder.display()))?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&buffer[..count]).with_context(|| format!("writing into `{}`", folder.display()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(fault(&self.name, error)?)),
            }
        }
        file.rewind().with_context(|| format!("reading in `{}`", folder.display()))?;
        Ok(Ok(file))
    }

    /// Where the stream begins.
    pub fn place(&self) -> Place {
        Place { position: self.position, line: Some(self.line) }
    }
}

/// The reject for a stream that broke; the error itself when the operating system could not read.
pub fn fault(name: &str, error: io::Error) -> Result<Fault> {
    archive::broken(error).with_context(|| format!("reading `{name}`"))
}
