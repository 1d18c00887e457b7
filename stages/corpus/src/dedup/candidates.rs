//! Pairs of documents that may be near duplicates: those that share a band, bin by bin, and the check of each pair by its true similarity.
//!
//! Bins hold the hashes of one band within one range and are fixed by the number of documents, so that memory is bounded and the pairs
//! are the same for any number of threads. Which pairs a document is in with those before it does not depend on those after it: so documents
//! added at the end never change what was found before.

use std::path::{Path, PathBuf};

use anyhow::Result;
use engine::{Context, Part};

use super::index::{Column, Index};
use super::minhash::{containment, jaccard};
use super::settings::Verify;
use super::union::UnionFind;
use crate::bins::{BIN_ENTRIES, bins, read_range, write_u64s};

/// The first documents of a bucket are paired with all others among them.
const BUCKET_ALL_PAIRS: usize = 32;
/// Each later one is paired with the first of the bucket and with those just before it, this many each.
const BUCKET_LEADERS: usize = 8;
/// Documents whose pairs are checked in one part.
const CHECK_DOCUMENTS: u32 = 1 << 15;

/// Calls `visit` with neighbours of equal hashes in a column: enough pairs to join all that are equal.
pub fn each_equal(ctx: &Context, index: &Index, column: Column, mut visit: impl FnMut(u32, u32) -> Result<()>) -> Result<()> {
    let bins = bins(u64::from(index.documents()));
    for bin in 0..bins {
        ctx.check_stop()?;
        let entries = index.bin::<u128>(column, bin, bins, |_| true)?;
        for pair in entries.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            visit(pair[0].1, pair[1].1)?;
        }
    }
    Ok(())
}

/// The parts of the search for pairs: every bin of every band, of few documents several bands together.
pub fn pair_plan(index: &Index) -> Vec<Part> {
    let bins = bins(u64::from(index.documents()));
    let bands = bands_of_part(index);
    vec![Part { bytes: 12 * u64::from(index.documents()) * bands as u64 / bins as u64 }; index.bands().div_ceil(bands) * bins]
}

fn bands_of_part(index: &Index) -> usize {
    (BIN_ENTRIES / u64::from(index.documents()).max(1)).clamp(1, index.bands().max(1) as u64) as usize
}

/// Writes the pairs of one part, sorted, each once. Only documents that stand for themselves take part; equal ones are joined already. Pairs of
/// documents before `old` are left out: they are no matter of this step.
pub fn write_pairs(index: &Index, sets: &UnionFind, old: u32, part: usize, path: &Path) -> Result<()> {
    let bins = bins(u64::from(index.documents()));
    let (first, bin) = (part / bins * bands_of_part(index), part % bins);
    let mut pairs = Vec::new();
    for band in first..(first + bands_of_part(index)).min(index.bands()) {
        let entries = index.bin::<u64>(Column::Band(band), bin, bins, |document| sets.is_root(document))?;
        for bucket in entries.chunk_by(|a, b| a.0 == b.0).filter(|bucket| bucket.len() > 1) {
            push_pairs(bucket, old, &mut pairs);
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    write_u64s(path, &pairs)
}

fn push_pairs(bucket: &[(u64, u32)], old: u32, pairs: &mut Vec<u64>) {
    for (at, (_, document)) in bucket.iter().enumerate().filter(|(_, (_, document))| *document >= old) {
        let (leaders, before) = if at < BUCKET_ALL_PAIRS { (0, 0) } else { (BUCKET_LEADERS, at - BUCKET_LEADERS) };
        let partners = bucket[..leaders].iter().chain(&bucket[before..at]);
        pairs.extend(partners.map(|(_, partner)| u64::from(*partner) << 32 | u64::from(*document)));
    }
}

/// The parts of the check: stretches of documents.
pub fn check_plan(documents: u32) -> Vec<Part> {
    vec![Part { bytes: u64::from(CHECK_DOCUMENTS) }; documents.div_ceil(CHECK_DOCUMENTS) as usize]
}

/// When two documents are alike.
#[derive(Clone, Copy)]
pub struct Measure {
    pub verify: Verify,
    pub similarity_min: f64,
}

impl Measure {
    /// The similarity as it is shown: that which is verified, the Jaccard without.
    pub fn similarity(self, a: &[u64], b: &[u64]) -> f64 {
        if self.verify == Verify::Containment { containment(a, b) } else { jaccard(a, b) }
    }

    /// Whether sets of so many shingles can be alike: their Jaccard is at most the ratio of their sizes.
    fn possible(self, a: usize, b: usize) -> bool {
        self.verify == Verify::Containment || a.min(b) as f64 >= self.similarity_min * a.max(b) as f64
    }
}

/// Writes those pairs of one stretch of first documents that stand the check.
pub fn write_checked(ctx: &Context, index: &Index, pair_files: &[PathBuf], measure: Measure, part: usize, path: &Path) -> Result<()> {
    let pairs = pairs_of(pair_files, part)?;
    if measure.verify == Verify::None {
        return write_u64s(path, &pairs);
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut held = None;
    let mut checked = Vec::new();
    for (at, pair) in pairs.into_iter().enumerate() {
        if at % 4096 == 0 {
            ctx.check_stop()?;
        }
        let (first, second) = split(pair);
        if held != Some(first) {
            index.shingles(first, &mut a)?;
            held = Some(first);
        }
        if !measure.possible(a.len(), index.shingle_count(second)?) {
            continue;
        }
        index.shingles(second, &mut b)?;
        if measure.similarity(&a, &b) >= measure.similarity_min {
            checked.push(pair);
        }
    }
    write_u64s(path, &checked)
}

/// The pairs of one stretch of first documents, sorted, each once.
fn pairs_of(pair_files: &[PathBuf], part: usize) -> Result<Vec<u64>> {
    let from = u64::from(CHECK_DOCUMENTS) * part as u64;
    let mut pairs = Vec::new();
    for file in pair_files {
        pairs.extend(read_range(file, first_pair(from), first_pair(from + u64::from(CHECK_DOCUMENTS)))?);
    }
    pairs.sort();
    pairs.dedup();
    Ok(pairs)
}

/// No pair of a document from this one on is smaller.
fn first_pair(document: u64) -> u64 {
    document.saturating_mul(1 << 32)
}

/// The first and the second document of a pair.
fn split(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// The first documents of all pairs whose first one is in a stretch, sorted, each once.
pub fn first_documents(pair_files: &[PathBuf], documents: std::ops::Range<u32>) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for file in pair_files {
        let pairs = read_range(file, first_pair(documents.start.into()), first_pair(documents.end.into()))?;
        found.extend(pairs.into_iter().map(|pair| split(pair).0));
        found.sort();
        found.dedup();
    }
    Ok(found)
}

/// Joins the checked pairs.
pub fn join_checked(paths: &[PathBuf], sets: &mut UnionFind) -> Result<()> {
    for path in paths {
        for pair in read_range(path, 0, u64::MAX)? {
            let (first, second) = split(pair);
            sets.join(first, second);
        }
    }
    Ok(())
}
