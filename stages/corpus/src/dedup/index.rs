//! The index of all documents: hashes, shingles and order keys in scratch files, one per part of the input.
//!
//! Files are read by position and never mapped, because mapped pages count as resident memory. Rows are stored in segments of bounded
//! size, each column together, so that a pass over one column reads nothing else. Little-endian throughout.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Rows of a segment at most; their fixed columns are held in memory while they are collected.
const SEGMENT_ROWS: usize = 1 << 15;
/// Shingles of a segment at most (bytes): they wait for the segment's end too.
const SEGMENT_SHINGLE_BYTES: usize = 16 << 20;

/// What the index knows of one document.
pub struct Entry<'a> {
    pub id: [u8; 16],
    /// Of the text with case and white space ignored.
    pub exact: u128,
    /// Of the set of shingles.
    pub set: u128,
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
    segments: Vec<SegmentHead>,
    ids: Vec<u8>,
    exact: Vec<u8>,
    sets: Vec<u8>,
    band_columns: Vec<Vec<u8>>,
    shingles: Vec<u8>,
    shingle_ends: Vec<u8>,
    orders: Vec<u8>,
    order_ends: Vec<u8>,
}

/// Where the columns of a segment lie.
#[derive(Clone, Copy, Debug)]
struct SegmentHead {
    rows: u64,
    /// Begin of the columns: ids, exact, sets, bands one by one, shingle ends, order ends, order keys, shingles.
    offset: u64,
    order_bytes: u64,
}

impl IndexWriter {
    pub fn create(path: &Path, bands: usize) -> Result<IndexWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(IndexWriter {
            file: BufWriter::with_capacity(1 << 18, file),
            bands,
            position: 0,
            segments: Vec::new(),
            ids: Vec::new(),
            exact: Vec::new(),
            sets: Vec::new(),
            band_columns: vec![Vec::new(); bands],
            shingles: Vec::new(),
            shingle_ends: Vec::new(),
            orders: Vec::new(),
            order_ends: Vec::new(),
        })
    }

    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        self.ids.extend(entry.id);
        self.exact.extend(entry.exact.to_le_bytes());
        self.sets.extend(entry.set.to_le_bytes());
        for (column, hash) in self.band_columns.iter_mut().zip(entry.bands) {
            column.extend(hash.to_le_bytes());
        }
        self.shingles.extend(entry.shingles.iter().flat_map(|shingle| shingle.to_le_bytes()));
        self.shingle_ends.extend((self.shingles.len() as u64).to_le_bytes());
        self.orders.extend(entry.order);
        self.order_ends.extend((self.orders.len() as u64).to_le_bytes());
        if self.ids.len() >= SEGMENT_ROWS * 16 || self.shingles.len() >= SEGMENT_SHINGLE_BYTES { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<()> {
        let rows = self.ids.len() as u64 / 16;
        if rows == 0 {
            return Ok(());
        }
        self.segments.push(SegmentHead { rows, offset: self.position, order_bytes: self.orders.len() as u64 });
        let fixed = [&mut self.ids, &mut self.exact, &mut self.sets].into_iter();
        let others = [&mut self.shingle_ends, &mut self.order_ends, &mut self.orders, &mut self.shingles];
        for column in fixed.chain(&mut self.band_columns).chain(others) {
            self.file.write_all(column)?;
            self.position += column.len() as u64;
            column.clear();
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.close_segment()?;
        for head in &self.segments {
            for number in [head.rows, head.offset, head.order_bytes] {
                self.file.write_all(&number.to_le_bytes())?;
            }
        }
        for number in [self.segments.len() as u64, self.bands as u64] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        Ok(self.file.flush()?)
    }
}

/// A column of hashes.
#[derive(Clone, Copy)]
pub enum Column {
    Exact,
    Set,
    Band(usize),
}

/// The index of all parts. Documents are numbered from 0 in the order of parts and rows.
pub struct Index {
    files: Vec<File>,
    segments: Vec<Segment>,
    bands: u64,
    documents: u32,
    /// Number of the first document of each part, then the number of documents.
    part_starts: Vec<u32>,
}

struct Segment {
    file: usize,
    first: u32,
    head: SegmentHead,
    /// Begin and ends of the documents' shingles, in bytes from the begin of the segment's shingles.
    shingle_bounds: Vec<u64>,
}

impl Index {
    /// Opens the files of all parts. Holds 8 bytes a document.
    pub fn open(paths: &[PathBuf]) -> Result<Index> {
        let mut index = Index { files: Vec::new(), segments: Vec::new(), bands: 0, documents: 0, part_starts: vec![0] };
        for path in paths {
            index.add(path).with_context(|| format!("scratch file `{}`", path.display()))?;
        }
        Ok(index)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let tail = read_u64s(&file, length.checked_sub(16).context("is too short")?, 2)?;
        let heads = read_u64s(&file, length.checked_sub(16 + 24 * tail[0]).context("is too short")?, 3 * tail[0] as usize)?;
        self.bands = tail[1];
        for head in heads.chunks_exact(3) {
            let head = SegmentHead { rows: head[0], offset: head[1], order_bytes: head[2] };
            let mut shingle_bounds = vec![0];
            shingle_bounds.extend(read_u64s(&file, head.offset + self.column_bytes(head.rows), head.rows as usize)?);
            self.segments.push(Segment { file: self.files.len(), first: self.documents, head, shingle_bounds });
            let documents = u64::from(self.documents) + head.rows;
            self.documents =
                u32::try_from(documents).ok().context("more than 4 294 967 295 documents cannot be deduplicated in one step")?;
        }
        self.files.push(file);
        self.part_starts.push(self.documents);
        Ok(())
    }

    /// Bytes of the columns of hashes before the shingle ends.
    fn column_bytes(&self, rows: u64) -> u64 {
        rows * (48 + 8 * self.bands)
    }

    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// The numbers of the documents of a part.
    pub fn part(&self, part: usize) -> std::ops::Range<u32> {
        self.part_starts[part]..self.part_starts[part + 1]
    }

    /// Calls `visit` with every document's hash in a column, in order of the documents.
    pub fn scan(&self, column: Column, mut visit: impl FnMut(u32, u128)) -> Result<()> {
        let mut bytes = Vec::new();
        for segment in &self.segments {
            let rows = segment.head.rows;
            let (start, width) = match column {
                Column::Exact => (16 * rows, 16),
                Column::Set => (32 * rows, 16),
                Column::Band(band) => (48 * rows + 8 * rows * band as u64, 8),
            };
            bytes.resize(rows as usize * width, 0);
            self.files[segment.file].read_exact_at(&mut bytes, segment.head.offset + start)?;
            for (row, hash) in bytes.chunks_exact(width).enumerate() {
                let mut wide = [0; 16];
                wide[..width].copy_from_slice(hash);
                visit(segment.first + row as u32, u128::from_le_bytes(wide));
            }
        }
        Ok(())
    }

    fn segment(&self, document: u32) -> (&Segment, u64) {
        let at = self.segments.partition_point(|segment| segment.first <= document) - 1;
        (&self.segments[at], u64::from(document - self.segments[at].first))
    }

    pub fn id(&self, document: u32) -> Result<[u8; 16]> {
        self.fixed(document, 0)
    }

    pub fn exact(&self, document: u32) -> Result<u128> {
        Ok(u128::from_le_bytes(self.fixed(document, 1)?))
    }

    fn fixed(&self, document: u32, column: u64) -> Result<[u8; 16]> {
        let (segment, row) = self.segment(document);
        let mut bytes = [0; 16];
        self.files[segment.file].read_exact_at(&mut bytes, segment.head.offset + 16 * (column * segment.head.rows + row))?;
        Ok(bytes)
    }

    pub fn shingle_count(&self, document: u32) -> usize {
        let (segment, row) = self.segment(document);
        ((segment.shingle_bounds[row as usize + 1] - segment.shingle_bounds[row as usize]) / 8) as usize
    }

    /// Reads the shingles of a document into `shingles`.
    pub fn shingles(&self, document: u32, shingles: &mut Vec<u64>) -> Result<()> {
        let (segment, row) = self.segment(document);
        let (from, to) = (segment.shingle_bounds[row as usize], segment.shingle_bounds[row as usize + 1]);
        let rows = segment.head.rows;
        let start = segment.head.offset + self.column_bytes(rows) + 16 * rows + segment.head.order_bytes;
        let mut bytes = vec![0; (to - from) as usize];
        self.files[segment.file].read_exact_at(&mut bytes, start + from)?;
        shingles.clear();
        shingles.extend(bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of 8"))));
        Ok(())
    }

    /// The order key of a document: the smallest of a cluster survives.
    pub fn order(&self, document: u32) -> Result<Vec<u8>> {
        let (segment, row) = self.segment(document);
        let (file, rows) = (&self.files[segment.file], segment.head.rows);
        let ends = segment.head.offset + self.column_bytes(rows) + 8 * rows;
        let (from, to) = match row {
            0 => (0, read_u64s(file, ends, 1)?[0]),
            _ => {
                let bounds = read_u64s(file, ends + 8 * (row - 1), 2)?;
                (bounds[0], bounds[1])
            }
        };
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, ends + 8 * rows + from)?;
        Ok(bytes)
    }
}

/// Reads consecutive little-endian numbers.
pub fn read_u64s(file: &File, offset: u64, count: usize) -> Result<Vec<u64>> {
    if count > 1 << 32 {
        bail!("claims {count} numbers");
    }
    let mut bytes = vec![0; count * 8];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of 8"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_over_parts_and_segments() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3).map(|part| folder.path().join(part.to_string())).collect();
        let mut number = 0_u64;
        for (path, rows) in paths.iter().zip([SEGMENT_ROWS + 3, 0, 2]) {
            let mut writer = IndexWriter::create(path, 2).unwrap();
            for _ in 0..rows {
                let shingles: Vec<u64> = (0..number % 3).collect();
                let order = vec![7; number as usize % 5];
                let wide = u128::from(number);
                let id = (wide + 1).to_le_bytes();
                let entry =
                    Entry { id, exact: wide + 2, set: wide + 3, bands: &[number + 4, number + 5], shingles: &shingles, order: &order };
                writer.push(&entry).unwrap();
                number += 1;
            }
            writer.finish().unwrap();
        }
        let index = Index::open(&paths).unwrap();
        assert_eq!(index.documents() as u64, number);
        assert_eq!(index.part(2), number as u32 - 2..number as u32);
        for (column, offset) in [(Column::Exact, 2), (Column::Set, 3), (Column::Band(0), 4), (Column::Band(1), 5)] {
            let mut next = 0;
            index
                .scan(column, |document, hash| {
                    assert_eq!((document, hash), (next, u128::from(next) + offset));
                    next += 1;
                })
                .unwrap();
            assert_eq!(next as u64, number);
        }
        let mut shingles = Vec::new();
        for document in [0, 1, 2, 4, SEGMENT_ROWS as u32 - 1, SEGMENT_ROWS as u32, SEGMENT_ROWS as u32 + 4] {
            assert_eq!(index.id(document).unwrap(), (u128::from(document) + 1).to_le_bytes());
            assert_eq!(index.exact(document).unwrap(), u128::from(document) + 2);
            index.shingles(document, &mut shingles).unwrap();
            assert_eq!(shingles, (0..u64::from(document) % 3).collect::<Vec<_>>());
            assert_eq!(index.order(document).unwrap(), vec![7; document as usize % 5]);
        }
    }
}
