//! Reading files of fixed-size records in pieces that any thread may take, numbered so that each piece is trained alike by whoever takes it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};

use crate::words::END;

/// A piece is closed at the first sentence end after so many words, and in the middle of a sentence after twice as many.
const WORDS: usize = 10_000;

/// Files that are read one after another, by any thread.
pub(crate) struct Chunks {
    state: Mutex<State>,
}

struct State {
    files: std::vec::IntoIter<PathBuf>,
    file: Option<(PathBuf, BufReader<File>)>,
    number: u64,
    before: u64,
}

/// Where a piece stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// Words, or bytes of other records, before it.
    pub(crate) before: u64,
}

impl Chunks {
    pub(crate) fn new(files: &[PathBuf]) -> Chunks {
        Chunks { state: Mutex::new(State { files: Vec::from(files).into_iter(), file: None, number: 0, before: 0 }) }
    }

    /// The next sentences, ended by [`END`]; `None` after the last.
    pub(crate) fn sentences(&self, words: &mut Vec<u32>) -> Result<Option<Place>> {
        let mut state = self.state.lock().map_err(|_| anyhow!("a thread panicked"))?;
        words.clear();
        let mut known = 0;
        let mut record = [0; 4];
        while known < 2 * WORDS && state.record(&mut record)? {
            let word = u32::from_le_bytes(record);
            words.push(word);
            known += usize::from(word != END);
            if word == END && known >= WORDS {
                break;
            }
        }
        Ok((!words.is_empty()).then(|| state.place(known)))
    }

    /// The next records, up to `most` bytes.
    pub(crate) fn records<const N: usize>(&self, most: usize, records: &mut Vec<[u8; N]>) -> Result<Option<Place>> {
        let mut state = self.state.lock().map_err(|_| anyhow!("a thread panicked"))?;
        records.clear();
        let mut record = [0; N];
        while records.len() < most / N && state.record(&mut record)? {
            records.push(record);
        }
        Ok((!records.is_empty()).then(|| state.place(records.len() * N)))
    }
}

impl State {
    /// Reads a record; false after the last file's end.
    #[inline(always)]
    fn record<const N: usize>(&mut self, record: &mut [u8; N]) -> Result<bool> {
        loop {
            if let Some((path, file)) = &mut self.file {
                if !file.buffer().is_empty()
                    || !std::io::BufRead::fill_buf(file).with_context(|| format!("reading `{}`", path.display()))?.is_empty()
                {
                    return file.read_exact(record).map(|()| true).with_context(|| format!("reading `{}`", path.display()));
                }
                self.file = None;
            }
            let Some(path) = self.files.next() else { return Ok(false) };
            let file = File::open(&path).with_context(|| format!("opening `{}`", path.display()))?;
            self.file = Some((path, BufReader::with_capacity(1 << 18, file)));
        }
    }

    fn place(&mut self, length: usize) -> Place {
        let place = Place { number: self.number, before: self.before };
        self.number += 1;
        self.before += length as u64;
        place
    }
}
