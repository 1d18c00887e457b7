//! Anchors: which places of the corpus can be repeats at all, by winnowing (Schleimer, Wilkerson and Aiken 2003).
//!
//! A window is a stretch of `bytes_min` bytes of a document, and its anchor the smallest hash of the k-grams in it. Equal windows have
//! equal anchors, whatever stands around them, so an anchor that occurs once in the corpus rules out all its windows. Neighbouring windows
//! mostly share their anchor: they are one run, and an anchor's runs are counted.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use engine::Context;

use super::bins::{BinWriter, number, read_bin};

const FACTOR: u64 = 0x9ddf_ea08_eb38_2d69;
/// Windows of a run at most: a long stretch of one byte is cut into several.
pub const RUN_WINDOWS_MAX: usize = 4096;

/// Neighbouring windows of one anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Begin of the first window.
    pub start: usize,
    pub windows: usize,
    pub anchor: u64,
}

/// Rolls a hash over all stretches of `length` bytes.
pub struct Rolling {
    hash: u64,
    leaving: u64,
}

impl Rolling {
    pub fn new(length: usize) -> Rolling {
        Rolling { hash: 0, leaving: (1..length).fold(1_u64, |power, _| power.wrapping_mul(FACTOR)) }
    }

    #[inline(always)]
    pub fn enter(&mut self, byte: u8) {
        self.hash = self.hash.wrapping_mul(FACTOR).wrapping_add(u64::from(byte) + 1);
    }

    /// Takes the oldest byte out, before the next enters.
    #[inline(always)]
    pub fn leave(&mut self, byte: u8) {
        self.hash = self.hash.wrapping_sub((u64::from(byte) + 1).wrapping_mul(self.leaving));
    }

    #[inline(always)]
    pub fn value(&self) -> u64 {
        spread(self.hash)
    }
}

#[inline(always)]
fn spread(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// Finds the runs of texts.
pub struct Winnower {
    bytes_min: usize,
    gram: usize,
    /// Hashes of the current block of k-grams, and the minima of the block before from each place to its end.
    block: Vec<u64>,
    suffix: Vec<u64>,
}

impl Winnower {
    pub fn new(bytes_min: usize) -> Winnower {
        let gram = bytes_min.div_ceil(2);
        let block = bytes_min - gram + 1;
        Winnower { bytes_min, gram, block: vec![0; block], suffix: vec![0; block] }
    }

    /// Calls `visit` with every run of a text, in order. A text shorter than a window has none.
    pub fn runs(&mut self, text: &[u8], mut visit: impl FnMut(Run) -> Result<()>) -> Result<()> {
        if text.len() < self.bytes_min {
            return Ok(());
        }
        let (gram, width) = (self.gram, self.block.len());
        let mut rolling = Rolling::new(gram);
        text[..gram - 1].iter().for_each(|byte| rolling.enter(*byte));
        let mut run = Run { start: 0, windows: 0, anchor: 0 };
        // The minimum of a window is that of the end of one block and the begin of the next (van Herk and Gil-Werman).
        let (mut place, mut prefix) = (0, u64::MAX);
        for (at, (entering, leaving)) in text[gram - 1..].iter().zip(text).enumerate() {
            rolling.enter(*entering);
            let hash = rolling.value();
            rolling.leave(*leaving);
            self.block[place] = hash;
            prefix = prefix.min(hash);
            if at + 1 >= width {
                let minimum = if place + 1 == width { prefix } else { prefix.min(self.suffix[place + 1]) };
                if run.windows > 0 && (minimum != run.anchor || run.windows == RUN_WINDOWS_MAX) {
                    visit(Run { anchor: spread(run.anchor), ..run })?;
                    run.windows = 0;
                }
                if run.windows == 0 {
                    run = Run { start: at + 1 - width, windows: 0, anchor: minimum };
                }
                run.windows += 1;
            }
            place += 1;
            if place == width {
                let mut least = u64::MAX;
                for (hash, suffix) in self.block.iter().zip(&mut self.suffix).rev() {
                    least = least.min(*hash);
                    *suffix = least;
                }
                (place, prefix) = (0, u64::MAX);
            }
        }
        visit(Run { anchor: spread(run.anchor), ..run })
    }
}

/// Bytes of a record of the phase `anchors`: the anchor and the number of its run within the part.
const RECORD_BYTES: usize = 12;

/// Collects the anchors of a part.
pub struct AnchorWriter {
    out: BinWriter,
    bins: usize,
    bytes_min: usize,
    runs: u32,
}

impl AnchorWriter {
    pub fn create(path: &Path, bins: usize, bytes_min: usize) -> Result<AnchorWriter> {
        Ok(AnchorWriter { out: BinWriter::create(path, bins)?, bins, bytes_min, runs: 0 })
    }

    pub fn push(&mut self, run: Run) -> Result<()> {
        // A run this long can repeat itself, so it stands for two.
        for _ in 0..if run.windows > self.bytes_min { 2 } else { 1 } {
            self.out.push(bin_of(run.anchor, self.bins), &[&run.anchor.to_le_bytes(), &self.runs.to_le_bytes()])?;
        }
        self.runs = self.runs.checked_add(1).context("a part has more than 4 294 967 295 runs of windows")?;
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        self.out.finish()
    }
}

pub fn bin_of(hash: u64, bins: usize) -> usize {
    ((u128::from(hash) * bins as u128) >> 64) as usize
}

/// Writes, part by part, which runs of a bin have an anchor that occurs again.
pub fn write_repeated(ctx: &Context, parts: &[PathBuf], bins: usize, bin: usize, path: &Path) -> Result<()> {
    let mut entries: Vec<(u64, u64)> = Vec::new();
    for (part, path) in parts.iter().enumerate() {
        ctx.check_stop()?;
        let records = read_bin(path, bins, bin)?;
        entries.extend(records.chunks_exact(RECORD_BYTES).map(|record| {
            let (anchor, run) = record.split_at(8);
            (u64::from_le_bytes(anchor.try_into().expect("8 bytes")), (part as u64) << 32 | u64::from(number(run)))
        }));
    }
    entries.sort_unstable();
    let groups = entries.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1);
    let mut places: Vec<u64> = groups.flatten().map(|(_, place)| *place).collect();
    drop(entries);
    places.sort_unstable();
    places.dedup();
    let mut out = BinWriter::create(path, parts.len())?;
    for place in places {
        out.push((place >> 32) as usize, &[&(place as u32).to_le_bytes()])?;
    }
    out.finish()
}

/// The runs of a part whose anchors occur again, ascending.
pub fn read_repeated(paths: &[PathBuf], parts: usize, part: usize) -> Result<Vec<u32>> {
    let mut runs = Vec::new();
    for path in paths {
        runs.extend(read_bin(path, parts, part)?.chunks_exact(4).map(number));
    }
    runs.sort_unstable();
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runs(text: &[u8], bytes_min: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut push = |run| {
            runs.push(run);
            Ok(())
        };
        Winnower::new(bytes_min).runs(text, &mut push).unwrap();
        runs
    }

    /// The anchor of every window, computed for each alone.
    fn windows(text: &[u8], bytes_min: usize) -> Vec<u64> {
        text.windows(bytes_min).map(|window| runs(window, bytes_min)[0].anchor).collect()
    }

    proptest! {
        #[test]
        fn an_anchor_depends_on_its_window_alone(text in "[ab]{0,300}", bytes_min in 2_usize..40) {
            let runs = runs(text.as_bytes(), bytes_min);
            let mut next = 0;
            for run in &runs {
                prop_assert_eq!(run.start, next);
                next += run.windows;
            }
            let of_runs: Vec<u64> = runs.iter().flat_map(|run| vec![run.anchor; run.windows]).collect();
            prop_assert_eq!(of_runs, windows(text.as_bytes(), bytes_min));
        }
    }

    #[test]
    fn one_byte_over_and_over_makes_long_runs() {
        let found = runs(&[b'-'; 10_000], 100);
        let windows: Vec<usize> = found.iter().map(|run| run.windows).collect();
        assert_eq!(windows, [4096, 4096, 9901 - 8192]);
    }
}
