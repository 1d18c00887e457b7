//! Rows in the order of their keys: scattered to bins on disk, each of which is then sorted in memory.
//!
//! A bin is a range of keys, so the order is that of one sort over everything. Each part writes one file; within it the rows of one bin lie
//! together in chunks of bounded size, with an index that says where.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Rows of a chunk in bytes, about.
const CHUNK_BYTES: usize = 16 << 20;
/// Key, copy and length before every row.
const HEAD_BYTES: usize = 16;

/// Writes the rows of one part.
pub struct ScatterWriter {
    file: BufWriter<File>,
    bins: u64,
    chunk_bytes: usize,
    position: u64,
    rows: Vec<u8>,
    /// Bin, begin and end of each row of the chunk.
    ends: Vec<(u64, usize, usize)>,
    /// Where the index of each chunk lies.
    chunks: Vec<u64>,
}

impl ScatterWriter {
    pub fn create(path: &Path, bins: u64) -> Result<ScatterWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(ScatterWriter { file, bins, chunk_bytes: CHUNK_BYTES, position: 0, rows: Vec::new(), ends: Vec::new(), chunks: Vec::new() })
    }

    pub fn push(&mut self, key: u64, copy: u32, row: &[u8]) -> Result<()> {
        let start = self.rows.len();
        let length = u32::try_from(row.len()).context("a document is longer than 4 GB")?;
        self.rows.extend(key.to_le_bytes());
        self.rows.extend(copy.to_le_bytes());
        self.rows.extend(length.to_le_bytes());
        self.rows.extend(row);
        let bin = ((u128::from(key) * u128::from(self.bins)) >> 64) as u64;
        self.ends.push((bin, start, self.rows.len()));
        if self.rows.len() >= self.chunk_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.ends.sort_by_key(|(bin, _, _)| *bin);
        let mut index = Vec::with_capacity(self.bins as usize + 1);
        let mut rows = self.ends.iter().peekable();
        for bin in 0..self.bins {
            index.push(self.position);
            while let Some((_, start, end)) = rows.next_if(|row| row.0 == bin) {
                self.file.write_all(&self.rows[*start..*end])?;
                self.position += (end - start) as u64;
            }
        }
        index.push(self.position);
        self.chunks.push(self.position);
        for position in &index {
            self.file.write_all(&position.to_le_bytes())?;
        }
        self.position += 8 * index.len() as u64;
        self.rows.clear();
        self.ends.clear();
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        for number in self.chunks.iter().chain([&(self.chunks.len() as u64)]) {
            self.file.write_all(&number.to_le_bytes())?;
        }
        self.file.flush().context("writing rows to their bins")
    }
}

/// The files of all parts.
pub struct Bins {
    /// With the places of the indexes of their chunks.
    files: Vec<(PathBuf, Vec<u64>)>,
}

/// The rows of one bin in their order.
#[derive(Default)]
pub struct Bin {
    bytes: Vec<u8>,
    rows: Vec<(u64, u32, std::ops::Range<usize>)>,
}

impl Bins {
    pub fn open(paths: Vec<PathBuf>) -> Result<Bins> {
        let chunks = |path: &PathBuf| -> Result<Vec<u64>> {
            let file = File::open(path)?;
            let end = file.metadata()?.len().checked_sub(8).context("is too short")?;
            let count = numbers(&file, end, 1)?[0];
            numbers(&file, end.checked_sub(8 * count).context("is too short")?, count as usize)
        };
        let open = |path: PathBuf| {
            let chunks = chunks(&path).with_context(|| format!("scratch file `{}`", path.display()))?;
            Ok((path, chunks))
        };
        Ok(Bins { files: paths.into_iter().map(open).collect::<Result<_>>()? })
    }

    /// Reads a bin. Equal keys are in order of their copies and then of their bytes, so the input's order has no say.
    pub fn read(&self, bin: u64) -> Result<Bin> {
        let mut found = Bin::default();
        for (path, chunks) in &self.files {
            found.add(path, chunks, bin).with_context(|| format!("scratch file `{}`", path.display()))?;
        }
        let Bin { bytes, rows } = &mut found;
        rows.sort_unstable_by(|a, b| (a.0, a.1, &bytes[a.2.clone()]).cmp(&(b.0, b.1, &bytes[b.2.clone()])));
        Ok(found)
    }
}

impl Bin {
    fn add(&mut self, path: &Path, chunks: &[u64], bin: u64) -> Result<()> {
        let file = File::open(path)?;
        for chunk in chunks {
            let bounds = numbers(&file, chunk + 8 * bin, 2)?;
            let start = self.bytes.len();
            self.bytes.resize(start + (bounds[1] - bounds[0]) as usize, 0);
            file.read_exact_at(&mut self.bytes[start..], bounds[0])?;
            let mut at = start;
            while at < self.bytes.len() {
                let head = &self.bytes[at..at + HEAD_BYTES];
                let key = u64::from_le_bytes(head[..8].try_into().expect("8 bytes"));
                let copy = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
                let length = u32::from_le_bytes(head[12..].try_into().expect("4 bytes")) as usize;
                self.rows.push((key, copy, at + HEAD_BYTES..at + HEAD_BYTES + length));
                at += HEAD_BYTES + length;
            }
        }
        Ok(())
    }

    /// The rows with the numbers of their copies, in stretches of about so many bytes.
    pub fn stretches(&self, bytes: usize) -> Vec<Vec<(u32, &[u8])>> {
        let mut stretches: Vec<Vec<(u32, &[u8])>> = Vec::new();
        let mut room = 0;
        for (_, copy, range) in &self.rows {
            if room == 0 {
                stretches.push(Vec::new());
                room = bytes;
            }
            stretches.last_mut().expect("pushed above").push((*copy, &self.bytes[range.clone()]));
            room = room.saturating_sub(range.len());
        }
        stretches
    }
}

fn numbers(file: &File, offset: u64, count: usize) -> Result<Vec<u64>> {
    let mut bytes = vec![0; 8 * count];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of 8"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_one_after_another_are_one_sort(
            parts in prop::collection::vec(prop::collection::vec((any::<u64>(), 0u32..3, prop::collection::vec(any::<u8>(), 0..9)), 0..30), 1..4),
            bins in 1u64..6,
            stretch in 1usize..20,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let paths: Vec<PathBuf> = (0..parts.len()).map(|part| folder.path().join(part.to_string())).collect();
            for (path, rows) in paths.iter().zip(&parts) {
                let mut writer = ScatterWriter { chunk_bytes: 64, ..ScatterWriter::create(path, bins).unwrap() };
                rows.iter().for_each(|(key, copy, row)| writer.push(*key, *copy, row).unwrap());
                writer.finish().unwrap();
            }
            let all = Bins::open(paths).unwrap();
            let mut found = Vec::new();
            for bin in 0..bins {
                let bin = all.read(bin).unwrap();
                found.extend(bin.stretches(stretch).concat().iter().map(|(copy, row)| (*copy, row.to_vec())));
            }
            let mut expected: Vec<_> = parts.concat();
            expected.sort();
            prop_assert_eq!(found, expected.into_iter().map(|(_, copy, row)| (copy, row)).collect::<Vec<_>>());
        }
    }
}
