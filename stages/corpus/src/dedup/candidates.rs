//! Pairs of documents that may be near duplicates: those that share a band, bin by bin, and the check of each pair by its true Jaccard.
//!
//! Bins hold the hashes of one band within one range and are fixed by the number of documents, so that memory is bounded and the pairs
//! are the same for any number of threads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use engine::{Context, Part};

use super::index::{Column, Index, read_u64s};
use super::minhash::jaccard;
use super::union::UnionFind;

/// Hashes of a bin, about: 16 bytes each.
const BIN_ENTRIES: u64 = 1 << 19;
/// Buckets up to this many documents give all their pairs.
const BUCKET_ALL_PAIRS: usize = 32;
/// In larger ones each document is paired with the first of the bucket and with those next to it, this many each.
const BUCKET_LEADERS: usize = 8;
/// Documents whose pairs are checked in one part.
const CHECK_DOCUMENTS: u32 = 1 << 15;

/// How many bins a column of so many documents has.
pub fn bins(documents: u32) -> u64 {
    u64::from(documents).div_ceil(BIN_ENTRIES).max(1)
}

/// Joins the documents whose hashes in a column are equal. Documents without n-grams have no set that could be equal.
pub fn join_equal(ctx: &Context, index: &Index, column: Column, sets: &mut UnionFind) -> Result<()> {
    let bins = bins(index.documents());
    for bin in 0..bins {
        ctx.check_stop()?;
        let mut entries: Vec<(u128, u32)> = Vec::new();
        index.scan(column, |document, hash| {
            let comparable = matches!(column, Column::Exact) || index.shingle_count(document) > 0;
            if bin_of((hash >> 64) as u64, bins) == bin && comparable {
                entries.push((hash, document));
            }
        })?;
        entries.sort_unstable();
        for pair in entries.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            sets.join(pair[0].1, pair[1].1);
        }
    }
    Ok(())
}

fn bin_of(hash: u64, bins: u64) -> u64 {
    ((u128::from(hash) * u128::from(bins)) >> 64) as u64
}

/// The parts of the search for pairs: every bin of every band.
pub fn pair_plan(documents: u32, bands: usize) -> Vec<Part> {
    let bins = bins(documents);
    vec![Part { bytes: 16 * u64::from(documents) / bins }; bands * bins as usize]
}

/// Writes the pairs of one bin, sorted. Only documents that stand for themselves take part; equal ones are joined already.
pub fn write_pairs(index: &Index, sets: &UnionFind, part: usize, path: &Path) -> Result<()> {
    let bins = bins(index.documents());
    let (band, bin) = (part / bins as usize, part as u64 % bins);
    let mut entries: Vec<(u64, u32)> = Vec::new();
    index.scan(Column::Band(band), |document, hash| {
        // Documents without words have no n-gram in common with anything.
        if bin_of(hash as u64, bins) == bin && sets.is_root(document) && index.shingle_count(document) > 0 {
            entries.push((hash as u64, document));
        }
    })?;
    entries.sort_unstable();
    let mut pairs = Vec::new();
    for bucket in entries.chunk_by(|a, b| a.0 == b.0) {
        for (at, (_, first)) in bucket.iter().enumerate() {
            let small = bucket.len() <= BUCKET_ALL_PAIRS;
            let leads = small || at < BUCKET_LEADERS;
            let followers = if leads { &bucket[at + 1..] } else { &bucket[at + 1..bucket.len().min(at + 1 + BUCKET_LEADERS)] };
            pairs.extend(followers.iter().map(|(_, second)| pair(*first, *second)));
        }
    }
    pairs.sort_unstable();
    write_u64s(path, &pairs)
}

/// The smaller document in the upper half, so that pairs sort by it.
fn pair(a: u32, b: u32) -> u64 {
    u64::from(a.min(b)) << 32 | u64::from(a.max(b))
}

fn write_u64s(path: &Path, numbers: &[u64]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
    for number in numbers {
        file.write_all(&number.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// The parts of the check: stretches of documents.
pub fn check_plan(documents: u32) -> Vec<Part> {
    vec![Part { bytes: u64::from(CHECK_DOCUMENTS) }; documents.div_ceil(CHECK_DOCUMENTS) as usize]
}

/// Writes those pairs of one stretch of first documents whose Jaccard reaches the limit.
pub fn write_checked(ctx: &Context, index: &Index, pair_files: &[PathBuf], similarity_min: f64, part: usize, path: &Path) -> Result<()> {
    let from = u64::from(CHECK_DOCUMENTS) * part as u64;
    let mut pairs = Vec::new();
    for file in pair_files {
        pairs.extend(read_range(file, from << 32, (from + u64::from(CHECK_DOCUMENTS)) << 32)?);
    }
    pairs.sort_unstable();
    pairs.dedup();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut held = None;
    let mut checked = Vec::new();
    for (at, pair) in pairs.into_iter().enumerate() {
        if at % 4096 == 0 {
            ctx.check_stop()?;
        }
        let (first, second) = ((pair >> 32) as u32, pair as u32);
        let (fewer, more) = minmax(index.shingle_count(first), index.shingle_count(second));
        // The Jaccard of two sets is at most the ratio of their sizes.
        if (fewer as f64) < similarity_min * more as f64 {
            continue;
        }
        if held != Some(first) {
            index.shingles(first, &mut a)?;
            held = Some(first);
        }
        index.shingles(second, &mut b)?;
        if jaccard(&a, &b) >= similarity_min {
            checked.push(pair);
        }
    }
    write_u64s(path, &checked)
}

fn minmax(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// The numbers of a sorted file from `from` to before `to`.
fn read_range(path: &Path, from: u64, to: u64) -> Result<Vec<u64>> {
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

/// Joins the checked pairs.
pub fn join_checked(paths: &[PathBuf], sets: &mut UnionFind) -> Result<()> {
    for path in paths {
        for pair in read_range(path, 0, u64::MAX)? {
            sets.join((pair >> 32) as u32, pair as u32);
        }
    }
    Ok(())
}
