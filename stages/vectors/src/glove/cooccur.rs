//! How often words stand near each other: counted in bounded memory, summed in bins on disk, and put into a random order.
//!
//! Counts are whole numbers of 2^-32, so that no order of additions, number of threads or size of memory changes a bit of them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{Context, Draft, Part};

use crate::chunks::Chunks;
use crate::glove::Glove;
use crate::words::{Corpus, END, bytes};

/// A count of one.
const ONE: u64 = 1 << 32;
/// About so many pairs, before equal ones are summed, go to a bin: at most 64 MB in memory.
const BIN_PAIRS: u64 = 1 << 22;
const BINS_MAX: u64 = 4096;
/// The bytes of a cell: both words, the logarithm of their count, and its weight.
pub(crate) const CELL: usize = 16;

/// The table of co-occurrences, in files that are read one after another. A pair of different words stands there once.
pub(crate) struct Cells {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) count: u64,
}

/// Counts the corpus; what an earlier run finished is not done again.
pub(crate) fn cells(settings: &Glove, ctx: &Context, corpus: &Corpus, draft: &Draft) -> Result<Cells> {
    let pairs = corpus.vocabulary.known().saturating_mul(settings.window as u64);
    let bins = (pairs / BIN_PAIRS).clamp(1, BINS_MAX) as usize;
    let plan = corpus.files.iter().map(|path| Ok(Part { bytes: size(path)? })).collect::<Result<Vec<_>>>()?;
    // The table, and a copy of it while it is sorted.
    let slots = ctx.memory as usize / 4 / ctx.threads.max(1) / (size_of::<(u64, u64)>() + size_of::<(u32, u64, u64)>());
    draft.task(ctx, "pairs", &plan, |index, path| {
        let mut runs = Runs::new(path, bins, slots)?;
        count(settings, ctx, &corpus.files[index], &mut runs)?;
        runs.finish().with_context(|| format!("writing `{}`", path.display()))
    })?;
    let runs: Vec<PathBuf> = (0..plan.len()).map(|index| draft.scratch_path("pairs", index)).collect();
    draft.task(ctx, "cells", &vec![Part { bytes: 1 }; bins], |bin, path| sum(settings, ctx, &runs, bins, bin, path))?;
    for path in runs.iter().filter(|path| path.exists()) {
        std::fs::remove_file(path).with_context(|| format!("removing `{}`", path.display()))?;
    }
    let files: Vec<PathBuf> = (0..bins).map(|bin| draft.scratch_path("cells", bin)).collect();
    let count = files.iter().map(|path| size(path)).sum::<Result<u64>>()? / CELL as u64;
    if count == 0 {
        bail!("no two words stand near each other: every `within` holds one word only");
    }
    Ok(Cells { files, count })
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| format!("reading `{}`", path.display()))?.len())
}

/// Counts the pairs of one file of sentences.
fn count(settings: &Glove, ctx: &Context, file: &Path, runs: &mut Runs) -> Result<()> {
    let shares: Vec<u64> = (1..=settings.window as u64).map(|distance| (ONE + distance / 2) / distance).collect();
    // The last words, in a piece that may begin within a sentence.
    let mut before: Vec<u32> = Vec::new();
    let chunks = Chunks::new(&[file.to_path_buf()]);
    let mut words = Vec::new();
    while chunks.sentences(&mut words)?.is_some() {
        ctx.check_stop()?;
        for &word in &words {
            if word == END {
                before.clear();
                continue;
            }
            for (other, share) in before.iter().rev().zip(&shares) {
                runs.add(word, *other, *share)?;
            }
            before.push(word);
            if before.len() > 4 * settings.window {
                before.drain(..before.len() - settings.window);
            }
        }
    }
    Ok(())
}

/// Pairs with their counts: a table in memory that is written out, by bins, whenever it is full.
struct Runs {
    keys: Vec<u64>,
    counts: Vec<u64>,
    used: usize,
    out: BufWriter<File>,
    bins: usize,
    /// Where each bin of each run ends, in pairs.
    ends: Vec<u64>,
    written: u64,
}

const EMPTY: u64 = u64::MAX;

impl Runs {
    fn new(path: &Path, bins: usize, slots: usize) -> Result<Runs> {
        // A power of two, at most 2^24: 268 MB.
        let slots = 1 << slots.clamp(1 << 12, 1 << 24).ilog2();
        let out = BufWriter::with_capacity(1 << 18, File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
        Ok(Runs { keys: vec![EMPTY; slots], counts: vec![0; slots], used: 0, out, bins, ends: Vec::new(), written: 0 })
    }

    #[inline]
    fn add(&mut self, a: u32, b: u32, share: u64) -> Result<()> {
        let key = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        // A word near itself is so from both sides.
        let share = if a == b { 2 * share } else { share };
        let mask = self.keys.len() - 1;
        let mut slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.keys[slot] != key {
            if self.keys[slot] == EMPTY {
                if self.used >= self.keys.len() / 4 * 3 {
                    self.write()?;
                    slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
                }
                self.keys[slot] = key;
                self.used += 1;
                break;
            }
            slot = (slot + 1) & mask;
        }
        self.counts[slot] += share;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let mut pairs: Vec<(u32, u64, u64)> = Vec::with_capacity(self.used);
        for (key, count) in self.keys.iter_mut().zip(&mut self.counts).filter(|(key, _)| **key != EMPTY) {
            pairs.push((bin_of(*key, self.bins), *key, *count));
            (*key, *count) = (EMPTY, 0);
        }
        self.used = 0;
        pairs.sort_unstable();
        let mut pairs = pairs.iter().peekable();
        for bin in 0..self.bins as u32 {
            while let Some((_, key, count)) = pairs.next_if(|(of, ..)| *of == bin) {
                self.out.write_all(&key.to_le_bytes())?;
                self.out.write_all(&count.to_le_bytes())?;
                self.written += 1;
            }
            self.ends.push(self.written);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.write()?;
        self.ends.iter().try_for_each(|end| self.out.write_all(&end.to_le_bytes()))?;
        self.out.write_all(&(self.ends.len() as u64).to_le_bytes())?;
        Ok(self.out.flush()?)
    }
}

/// Where a pair stands in a random order.
fn place_of(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bin_of(key: u64, bins: usize) -> u32 {
    (((place_of(key) >> 32) * bins as u64) >> 32) as u32
}

/// Sums the pairs of one bin and writes its cells in random order.
fn sum(settings: &Glove, ctx: &Context, runs: &[PathBuf], bins: usize, bin: usize, path: &Path) -> Result<()> {
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    for run in runs {
        ctx.check_stop()?;
        pairs_of_bin(run, bins, bin, &mut pairs).with_context(|| format!("reading `{}`", run.display()))?;
    }
    pairs.sort_unstable();
    pairs.dedup_by(|(key, more), (kept, count)| {
        let same = key == kept;
        *count += if same { *more } else { 0 };
        same
    });
    pairs.sort_unstable_by_key(|(key, _)| place_of(*key));
    let write = || -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
        for (key, count) in &pairs {
            let x = *count as f64 / ONE as f64;
            let weight = (x / settings.x_max).powf(settings.alpha).min(1.0);
            for half in [(key >> 32) as u32, *key as u32, (x.ln() as f32).to_bits(), (weight as f32).to_bits()] {
                out.write_all(&half.to_le_bytes())?;
            }
        }
        Ok(out.flush()?)
    };
    write().with_context(|| format!("writing `{}`", path.display()))
}

/// Appends the pairs of a bin from all runs of a file.
fn pairs_of_bin(path: &Path, bins: usize, bin: usize, pairs: &mut Vec<(u64, u64)>) -> Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    file.seek(SeekFrom::End(-8))?;
    let ends = u64::from_le_bytes(bytes(&mut file)?) as usize;
    let index = file.seek(SeekFrom::End(-8 * (ends as i64 + 1)))?;
    for run in 0..ends / bins {
        let at = run * bins + bin;
        file.seek(SeekFrom::Start(index + 8 * at.saturating_sub(1) as u64))?;
        let start = if at == 0 { 0 } else { u64::from_le_bytes(bytes(&mut file)?) };
        let end = u64::from_le_bytes(bytes(&mut file)?);
        file.seek(SeekFrom::Start(16 * start))?;
        for _ in start..end {
            pairs.push((u64::from_le_bytes(bytes(&mut file)?), u64::from_le_bytes(bytes(&mut file)?)));
        }
    }
    Ok(())
}
