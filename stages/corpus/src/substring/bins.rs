//! Scratch files whose records are sorted into bins while they are written, in segments of bounded size, so that a later pass reads one
//! bin of all files and holds nothing else. Records of a bin keep the order in which they came. Little-endian throughout.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Bytes of a segment, about: they are held in memory while they are collected.
const SEGMENT_BYTES: usize = 8 << 20;

/// Writes one file of records.
pub struct BinWriter {
    file: BufWriter<File>,
    bins: Vec<Vec<u8>>,
    buffered: usize,
    /// The bytes of each bin, segment after segment.
    sizes: Vec<u32>,
}

impl BinWriter {
    pub fn create(path: &Path, bins: usize) -> Result<BinWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(BinWriter { file, bins: vec![Vec::new(); bins], buffered: 0, sizes: Vec::new() })
    }

    pub fn push(&mut self, bin: usize, record: &[&[u8]]) -> Result<()> {
        for field in record {
            self.bins[bin].extend_from_slice(field);
            self.buffered += field.len();
        }
        if self.buffered >= SEGMENT_BYTES { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<()> {
        for bin in &mut self.bins {
            self.file.write_all(bin)?;
            self.sizes.push(bin.len() as u32);
            bin.clear();
        }
        self.buffered = 0;
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.close_segment()?;
        for size in &self.sizes {
            self.file.write_all(&size.to_le_bytes())?;
        }
        self.file.write_all(&(self.sizes.len() as u32).to_le_bytes())?;
        Ok(self.file.flush()?)
    }
}

/// All records of one bin of a file that was written with so many bins.
pub fn read_bin(path: &Path, bins: usize, bin: usize) -> Result<Vec<u8>> {
    read(path, bins, bin).with_context(|| format!("reading scratch file `{}`", path.display()))
}

fn read(path: &Path, bins: usize, bin: usize) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let sizes = sizes(&file)?;
    let mut records = vec![0; sizes.iter().skip(bin).step_by(bins).map(|size| *size as usize).sum()];
    let (mut offset, mut filled) = (0, 0);
    for (at, size) in sizes.iter().enumerate() {
        if at % bins == bin {
            let end = filled + *size as usize;
            file.read_exact_at(&mut records[filled..end], offset)?;
            filled = end;
        }
        offset += u64::from(*size);
    }
    Ok(records)
}

/// Bytes of records in a file.
pub fn record_bytes(path: &Path) -> Result<u64> {
    let total = File::open(path).map_err(anyhow::Error::from).and_then(|file| sizes(&file));
    Ok(total.with_context(|| format!("reading scratch file `{}`", path.display()))?.iter().map(|size| u64::from(*size)).sum())
}

fn sizes(file: &File) -> Result<Vec<u32>> {
    let length = file.metadata()?.len();
    let mut count = [0; 4];
    let tail = length.checked_sub(4).context("is too short")?;
    file.read_exact_at(&mut count, tail)?;
    let bytes = 4 * u64::from(u32::from_le_bytes(count));
    let mut sizes = vec![0; bytes as usize];
    file.read_exact_at(&mut sizes, tail.checked_sub(bytes).context("is too short")?)?;
    Ok(sizes.chunks_exact(4).map(number).collect())
}

/// A number of 4 bytes.
pub fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_come_back_over_segments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bins");
        let mut writer = BinWriter::create(&path, 3).unwrap();
        let long = vec![7; SEGMENT_BYTES / 2];
        let pushes: [(usize, &[u8]); 5] = [(0, b"a"), (2, &long), (0, b"b"), (2, &long), (0, b"c")];
        pushes.iter().for_each(|(bin, record)| writer.push(*bin, &[record]).unwrap());
        writer.finish().unwrap();
        assert_eq!(read_bin(&path, 3, 0).unwrap(), b"abc");
        assert_eq!(read_bin(&path, 3, 1).unwrap(), b"");
        assert_eq!(read_bin(&path, 3, 2).unwrap(), long.repeat(2));
        assert_eq!(record_bytes(&path).unwrap(), 3 + 2 * long.len() as u64);
        BinWriter::create(&path, 2).unwrap().finish().unwrap();
        assert_eq!(read_bin(&path, 2, 1).unwrap(), b"");
    }
}
