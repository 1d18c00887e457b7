//! Writes the index of one part: segments of bounded size, then their heads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::index::{Column, Head};
use crate::bins::Run;

/// Rows of a segment at most; all of it is held in memory while it is collected.
pub const SEGMENT_ROWS: usize = 1 << 15;
/// Shingles of a segment at most (bytes): they wait for the segment's end too.
const SEGMENT_SHINGLE_BYTES: usize = 16 << 20;

/// What the index knows of one document.
#[derive(Default)]
pub struct Entry<'a> {
    pub id: [u8; 16],
    /// Of the text with case and white space ignored.
    pub exact: u128,
    /// Of the address.
    pub url: Option<u128>,
    pub short: bool,
    /// Left out of every comparison.
    pub dropped: bool,
    /// Of the set of shingles.
    pub set: Option<u128>,
    /// Empty without a set.
    pub bands: &'a [u64],
    /// Sorted and unique.
    pub shingles: &'a [u64],
    /// Comparable bytes: the smallest key of a cluster survives.
    pub order: &'a [u8],
}

/// Writes the index of one part.
pub struct IndexWriter {
    file: BufWriter<File>,
    bands: usize,
    position: u64,
    segments: Vec<Head>,
    rows: u32,
    ids: Vec<u8>,
    exact: Vec<u8>,
    urls: Vec<u8>,
    short: Vec<u8>,
    shingles: Vec<u8>,
    shingle_ends: Vec<u8>,
    orders: Vec<u8>,
    order_ends: Vec<u8>,
    exact_run: Vec<(u128, u32)>,
    url_run: Vec<(u128, u32)>,
    set_run: Vec<(u128, u32)>,
    band_runs: Vec<Vec<(u64, u32)>>,
}

impl IndexWriter {
    pub fn create(path: &Path, bands: usize) -> Result<IndexWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(IndexWriter {
            file: BufWriter::with_capacity(1 << 18, file),
            bands,
            position: 0,
            segments: Vec::new(),
            rows: 0,
            ids: Vec::new(),
            exact: Vec::new(),
            urls: Vec::new(),
            short: Vec::new(),
            shingles: Vec::new(),
            shingle_ends: Vec::new(),
            orders: Vec::new(),
            order_ends: Vec::new(),
            exact_run: Vec::new(),
            url_run: Vec::new(),
            set_run: Vec::new(),
            band_runs: vec![Vec::new(); bands],
        })
    }

    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        self.ids.extend(entry.id);
        self.exact.extend(entry.exact.to_le_bytes());
        self.urls.extend(entry.url.unwrap_or(0).to_le_bytes());
        self.short.push(u8::from(entry.short));
        self.shingles.extend(entry.shingles.iter().flat_map(|shingle| shingle.to_le_bytes()));
        self.shingle_ends.extend((self.shingles.len() as u64).to_le_bytes());
        self.orders.extend(entry.order);
        self.order_ends.extend((self.orders.len() as u64).to_le_bytes());
        if !entry.dropped {
            self.exact_run.push((entry.exact, self.rows));
            self.url_run.extend(entry.url.map(|hash| (hash, self.rows)));
            if let Some(set) = entry.set {
                self.set_run.push((set, self.rows));
                self.band_runs.iter_mut().zip(entry.bands).for_each(|(run, hash)| run.push((*hash, self.rows)));
            }
        }
        self.rows += 1;
        if self.rows as usize >= SEGMENT_ROWS || self.shingles.len() >= SEGMENT_SHINGLE_BYTES { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let head = Head {
            rows: u64::from(self.rows),
            offset: self.position,
            order_bytes: self.orders.len() as u64,
            shingle_bytes: self.shingles.len() as u64,
            exact: self.exact_run.len() as u64,
            url: self.url_run.len() as u64,
            set: self.set_run.len() as u64,
        };
        let columns = [
            &mut self.ids,
            &mut self.exact,
            &mut self.urls,
            &mut self.short,
            &mut self.shingle_ends,
            &mut self.order_ends,
            &mut self.orders,
            &mut self.shingles,
        ];
        for column in columns {
            self.file.write_all(column)?;
            column.clear();
        }
        for run in [&mut self.exact_run, &mut self.url_run, &mut self.set_run] {
            Run::write(run, &mut self.file)?;
            run.clear();
        }
        for run in &mut self.band_runs {
            Run::write(run, &mut self.file)?;
            run.clear();
        }
        self.position = head.run(Column::Band(self.bands)).offset;
        self.segments.push(head);
        self.rows = 0;
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.close_segment()?;
        for number in self.segments.iter().flat_map(|head| head.numbers()) {
            self.file.write_all(&number.to_le_bytes())?;
        }
        for number in [self.segments.len() as u64, self.bands as u64] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        Ok(self.file.flush()?)
    }
}
