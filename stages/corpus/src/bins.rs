//! Equal hashes, found within bounded memory: sorted runs on disk, read back bin by bin.
//!
//! A run holds the hashes of one stretch of rows, sorted, with a directory over their upper bits. A bin is a range of hashes and holds what
//! all runs have in it; their number follows from the number of entries alone, never from threads. Little-endian throughout.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Entries of a bin, about.
pub const BIN_ENTRIES: u64 = 1 << 19;
/// The most bins, and the parts of a run that its directory tells apart.
const BINS_MAX: usize = 1 << 10;
const DIRECTORY_BYTES: u64 = 4 * (BINS_MAX as u64 + 1);

/// A hash of 8 or 16 bytes.
pub trait Hash: Copy + Ord {
    const BYTES: usize;
    /// The upper bits, in which hashes are spread evenly.
    fn upper(self) -> u64;
    fn append(self, out: &mut Vec<u8>);
    fn parse(bytes: &[u8]) -> Self;
}

impl Hash for u64 {
    const BYTES: usize = 8;

    fn upper(self) -> u64 {
        self
    }

    fn append(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }
}

impl Hash for u128 {
    const BYTES: usize = 16;

    fn upper(self) -> u64 {
        (self >> 64) as u64
    }

    fn append(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> u128 {
        u128::from_le_bytes(bytes.try_into().expect("16 bytes"))
    }
}

/// How many bins so many entries need: a power of two.
pub fn bins(entries: u64) -> usize {
    entries.div_ceil(BIN_ENTRIES).next_power_of_two().clamp(1, BINS_MAX as u64) as usize
}

/// Where a run lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub offset: u64,
    pub entries: u64,
}

impl Run {
    /// Bytes of a run of so many hashes.
    pub fn bytes<H: Hash>(entries: u64) -> u64 {
        DIRECTORY_BYTES + entries * (H::BYTES as u64 + 4)
    }

    /// Sorts the entries and writes them: the directory, the hashes, the rows.
    pub fn write<H: Hash>(entries: &mut [(H, u32)], out: &mut impl Write) -> Result<()> {
        entries.sort_unstable();
        let mut bytes = Vec::with_capacity(Run::bytes::<H>(entries.len() as u64) as usize);
        let mut at = 0;
        for slot in 0..=BINS_MAX {
            at += entries[at..].partition_point(|(hash, _)| slot_of(*hash) < slot);
            bytes.extend((at as u32).to_le_bytes());
        }
        entries.iter().for_each(|(hash, _)| hash.append(&mut bytes));
        entries.iter().for_each(|(_, row)| bytes.extend(row.to_le_bytes()));
        Ok(out.write_all(&bytes)?)
    }

    /// Calls `visit` with what the run has in one of `bins` bins, in order of the hashes.
    pub fn read<H: Hash>(&self, file: &File, bin: usize, bins: usize, mut visit: impl FnMut(H, u32)) -> Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        let slots = BINS_MAX / bins;
        let bound = |slot: usize| -> Result<u64> {
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, self.offset + 4 * slot as u64)?;
            Ok(u64::from(u32::from_le_bytes(bytes)))
        };
        let (from, to) = if bins == 1 { (0, self.entries) } else { (bound(bin * slots)?, bound((bin + 1) * slots)?) };
        let mut hashes = vec![0; (to - from) as usize * H::BYTES];
        let mut rows = vec![0; (to - from) as usize * 4];
        let start = self.offset + DIRECTORY_BYTES;
        file.read_exact_at(&mut hashes, start + from * H::BYTES as u64)?;
        file.read_exact_at(&mut rows, start + self.entries * H::BYTES as u64 + from * 4)?;
        for (hash, row) in hashes.chunks_exact(H::BYTES).zip(rows.chunks_exact(4)) {
            visit(H::parse(hash), u32::from_le_bytes(row.try_into().expect("chunks of 4")));
        }
        Ok(())
    }
}

/// Writes numbers as the whole of a file.
pub fn write_u64s(path: &Path, numbers: &[u64]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
    for number in numbers {
        file.write_all(&number.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// Reads consecutive numbers.
pub fn read_u64s(file: &File, offset: u64, count: usize) -> Result<Vec<u64>> {
    if count > 1 << 32 {
        bail!("claims {count} numbers");
    }
    let mut bytes = vec![0; count * 8];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.chunks_exact(8).map(u64::parse).collect())
}

/// The numbers of a sorted file from `from` to before `to`.
pub fn read_range(path: &Path, from: u64, to: u64) -> Result<Vec<u64>> {
    let read = || -> Result<Vec<u64>> {
        let file = File::open(path)?;
        let count = file.metadata()?.len() / 8;
        let start = partition_point(&file, count, from)?;
        let end = partition_point(&file, count, to)?;
        read_u64s(&file, 8 * start, (end - start) as usize)
    };
    read().with_context(|| format!("scratch file `{}`", path.display()))
}

/// How many numbers of the sorted file are below `limit`.
fn partition_point(file: &File, count: u64, limit: u64) -> Result<u64> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if read_u64s(file, 8 * middle, 1)?[0] < limit { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

fn slot_of<H: Hash>(hash: H) -> usize {
    (hash.upper() >> (64 - BINS_MAX.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bins_follow_from_the_entries() {
        for (entries, expected) in [(0, 1), (1, 1), (BIN_ENTRIES, 1), (BIN_ENTRIES + 1, 2), (5 * BIN_ENTRIES, 8), (u64::MAX, BINS_MAX)] {
            assert_eq!(bins(entries), expected);
        }
    }

    fn check<H: Hash + std::fmt::Debug>(hashes: Vec<H>) {
        let mut entries: Vec<(H, u32)> = hashes.into_iter().zip(0..).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"before").unwrap();
        Run::write(&mut entries, &mut file).unwrap();
        let run = Run { offset: 6, entries: entries.len() as u64 };
        let file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 6 + Run::bytes::<H>(run.entries));
        for bins in [1, 2, 64, BINS_MAX] {
            let mut found = Vec::new();
            for bin in 0..bins {
                let before = found.len();
                run.read(&file, bin, bins, |hash: H, row| found.push((hash, row))).unwrap();
                assert!(found[before..].iter().all(|(hash, _)| slot_of(*hash) / (BINS_MAX / bins) == bin));
            }
            assert_eq!(found, entries);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn all_bins_together_are_the_sorted_entries(hashes in proptest::collection::vec(any::<u64>(), 0..200), wide in proptest::collection::vec(any::<u128>(), 0..50)) {
            check([hashes.clone(), hashes.iter().take(20).copied().collect(), vec![0, u64::MAX]].concat());
            check(wide);
        }
    }
}
