//! The index of all documents: hashes, shingles and order keys in scratch files, one per part of the input.
//!
//! Files are read by position and never mapped, because mapped pages count as resident memory. Rows are stored in segments of bounded
//! size: columns by row, then a sorted run of every hash that documents are joined by. Little-endian throughout.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::against::Fetched;
use crate::bins::{Hash, Run, read_u64s};

/// Numbers of a segment in the file's tail.
const HEAD_NUMBERS: usize = 7;

/// A column of hashes that documents are joined by.
#[derive(Clone, Copy)]
pub enum Column {
    Exact,
    Url,
    Set,
    Band(usize),
}

/// What a segment holds. Its columns: ids, exact and URL hashes, short flags, shingle ends, order ends, order keys, shingles; then the runs:
/// exact, url, set, and every band.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub rows: u64,
    pub offset: u64,
    pub order_bytes: u64,
    pub shingle_bytes: u64,
    pub exact: u64,
    pub url: u64,
    pub set: u64,
}

impl Head {
    pub fn numbers(self) -> [u64; HEAD_NUMBERS] {
        [self.rows, self.offset, self.order_bytes, self.shingle_bytes, self.exact, self.url, self.set]
    }

    fn parse(numbers: &[u64]) -> Head {
        let [rows, offset, order_bytes, shingle_bytes, exact, url, set] = numbers.try_into().expect("the numbers of a head");
        Head { rows, offset, order_bytes, shingle_bytes, exact, url, set }
    }

    fn exact_hashes(&self) -> u64 {
        self.offset + 16 * self.rows
    }

    fn url_hashes(&self) -> u64 {
        self.offset + 32 * self.rows
    }

    fn short(&self) -> u64 {
        self.offset + 48 * self.rows
    }

    fn shingle_ends(&self) -> u64 {
        self.offset + 49 * self.rows
    }

    fn order_ends(&self) -> u64 {
        self.offset + 57 * self.rows
    }

    fn orders(&self) -> u64 {
        self.offset + 65 * self.rows
    }

    fn shingles(&self) -> u64 {
        self.orders() + self.order_bytes
    }

    pub fn run(&self, column: Column) -> Run {
        let exact = self.shingles() + self.shingle_bytes;
        let url = exact + Run::bytes::<u128>(self.exact);
        let set = url + Run::bytes::<u128>(self.url);
        let bands = set + Run::bytes::<u128>(self.set);
        match column {
            Column::Exact => Run { offset: exact, entries: self.exact },
            Column::Url => Run { offset: url, entries: self.url },
            Column::Set => Run { offset: set, entries: self.set },
            Column::Band(band) => Run { offset: bands + Run::bytes::<u64>(self.set) * band as u64, entries: self.set },
        }
    }
}

/// The index of all parts. Documents are numbered from 0 in the order of parts and rows.
pub struct Index {
    files: Vec<File>,
    segments: Vec<Segment>,
    bands: usize,
    documents: u32,
    /// Number of the first document of each part, then the number of documents.
    part_starts: Vec<u32>,
    /// Shingles that the first parts do not hold themselves.
    fetched: Vec<Fetched>,
}

struct Segment {
    file: usize,
    first: u32,
    head: Head,
}

impl Index {
    /// Opens the files of all parts. Memory holds the heads of segments and nothing of the documents.
    pub fn open(paths: &[PathBuf]) -> Result<Index> {
        let mut index =
            Index { files: Vec::new(), segments: Vec::new(), bands: 0, documents: 0, part_starts: vec![0], fetched: Vec::new() };
        for path in paths {
            index.add(path).with_context(|| format!("scratch file `{}`", path.display()))?;
        }
        Ok(index)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let tail = read_u64s(&file, length.checked_sub(16).context("is too short")?, 2)?;
        let heads = HEAD_NUMBERS as u64 * tail[0];
        let heads = read_u64s(&file, length.checked_sub(16 + 8 * heads).context("is too short")?, heads as usize)?;
        self.bands = tail[1] as usize;
        for numbers in heads.chunks_exact(HEAD_NUMBERS) {
            let head = Head::parse(numbers);
            self.segments.push(Segment { file: self.files.len(), first: self.documents, head });
            let documents = u64::from(self.documents) + head.rows;
            self.documents =
                u32::try_from(documents).ok().context("more than 4 294 967 295 documents cannot be deduplicated in one step")?;
        }
        self.files.push(file);
        self.part_starts.push(self.documents);
        Ok(())
    }

    /// Takes shingles of documents of the first parts from other files.
    pub fn attach(&mut self, fetched: Vec<Fetched>) {
        self.fetched = fetched;
    }

    pub fn documents(&self) -> u32 {
        self.documents
    }

    pub fn bands(&self) -> usize {
        self.bands
    }

    /// The numbers of the documents of a part.
    pub fn part(&self, part: usize) -> std::ops::Range<u32> {
        self.part_starts[part]..self.part_starts[part + 1]
    }

    /// The part of a document.
    pub fn part_of(&self, document: u32) -> usize {
        self.part_starts.partition_point(|start| *start <= document) - 1
    }

    /// What a column has in one of `bins` bins of the wanted documents, sorted by hash and document.
    pub fn bin<H: Hash>(&self, column: Column, bin: usize, bins: usize, wanted: impl Fn(u32) -> bool) -> Result<Vec<(H, u32)>> {
        let mut entries = Vec::new();
        for segment in &self.segments {
            let run = segment.head.run(column);
            run.read(&self.files[segment.file], bin, bins, |hash: H, row| {
                let document = segment.first + row;
                if wanted(document) {
                    entries.push((hash, document));
                }
            })?;
        }
        // The stable sort makes use of the runs.
        entries.sort();
        Ok(entries)
    }

    fn segment(&self, document: u32) -> (&File, &Head, u64) {
        let segment = &self.segments[self.segments.partition_point(|segment| segment.first <= document) - 1];
        (&self.files[segment.file], &segment.head, u64::from(document - segment.first))
    }

    pub fn id(&self, document: u32) -> Result<[u8; 16]> {
        let (file, head, row) = self.segment(document);
        read_16(file, head.offset + 16 * row)
    }

    pub fn exact(&self, document: u32) -> Result<u128> {
        let (file, head, row) = self.segment(document);
        Ok(u128::from_le_bytes(read_16(file, head.exact_hashes() + 16 * row)?))
    }

    /// The hash of the address; 0 without one.
    pub fn url(&self, document: u32) -> Result<u128> {
        let (file, head, row) = self.segment(document);
        Ok(u128::from_le_bytes(read_16(file, head.url_hashes() + 16 * row)?))
    }

    pub fn is_short(&self, document: u32) -> Result<bool> {
        let (file, head, row) = self.segment(document);
        let mut flag = [0];
        file.read_exact_at(&mut flag, head.short() + row)?;
        Ok(flag[0] != 0)
    }

    /// Begin and end of what belongs to a row, by the column of ends.
    fn bounds(file: &File, ends: u64, row: u64) -> Result<(u64, u64)> {
        if row == 0 {
            return Ok((0, read_u64s(file, ends, 1)?[0]));
        }
        let bounds = read_u64s(file, ends + 8 * (row - 1), 2)?;
        Ok((bounds[0], bounds[1]))
    }

    /// The file, first byte and number of a document's shingles.
    fn stretch(&self, document: u32) -> Result<(&File, u64, usize)> {
        if !self.fetched.is_empty() && document < self.part_starts[self.fetched.len()] {
            return self.fetched[self.part_of(document)].stretch(document);
        }
        let (file, head, row) = self.segment(document);
        let (from, to) = Index::bounds(file, head.shingle_ends(), row)?;
        Ok((file, head.shingles() + from, (to - from) as usize / 8))
    }

    pub fn shingle_count(&self, document: u32) -> Result<usize> {
        Ok(self.stretch(document)?.2)
    }

    /// Reads the shingles of a document into `shingles`.
    pub fn shingles(&self, document: u32, shingles: &mut Vec<u64>) -> Result<()> {
        let (file, start, count) = self.stretch(document)?;
        shingles.clear();
        shingles.extend(read_u64s(file, start, count)?);
        Ok(())
    }

    /// The order key of a document: the smallest of a cluster survives.
    pub fn order(&self, document: u32) -> Result<Vec<u8>> {
        let (file, head, row) = self.segment(document);
        let (from, to) = Index::bounds(file, head.order_ends(), row)?;
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, head.orders() + from)?;
        Ok(bytes)
    }

    /// The set and band hashes of the segment that a document is in, by row.
    pub fn hashes(&self, document: u32) -> Result<SegmentHashes> {
        let segment = &self.segments[self.segments.partition_point(|segment| segment.first <= document) - 1];
        let (file, head) = (&self.files[segment.file], &segment.head);
        let rows = head.rows as usize;
        let mut hashes =
            SegmentHashes { first: segment.first, sets: vec![None; rows], bands: vec![0; rows * self.bands], width: self.bands };
        head.run(Column::Set).read(file, 0, 1, |set: u128, row| hashes.sets[row as usize] = Some(set))?;
        for band in 0..self.bands {
            head.run(Column::Band(band)).read(file, 0, 1, |hash: u64, row| hashes.bands[row as usize * self.bands + band] = hash)?;
        }
        Ok(hashes)
    }
}

/// Hashes of a segment in the order of its documents.
pub struct SegmentHashes {
    first: u32,
    sets: Vec<Option<u128>>,
    bands: Vec<u64>,
    width: usize,
}

impl SegmentHashes {
    pub fn holds(&self, document: u32) -> bool {
        (self.first..self.first + self.sets.len() as u32).contains(&document)
    }

    /// The set hash and the bands of a document; `None` when it is not compared.
    pub fn get(&self, document: u32) -> Option<(u128, &[u64])> {
        let row = (document - self.first) as usize;
        Some((self.sets[row]?, &self.bands[row * self.width..(row + 1) * self.width]))
    }
}

fn read_16(file: &File, offset: u64) -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::index_writer::{Entry, IndexWriter, SEGMENT_ROWS};
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
                let wide = u128::from(number);
                let compared = !number.is_multiple_of(5);
                let entry = Entry {
                    id: (wide + 1).to_le_bytes(),
                    exact: wide + 2,
                    url: (!number.is_multiple_of(7)).then_some(wide + 6),
                    short: !compared,
                    dropped: number % 11 == 3,
                    set: compared.then_some(wide + 3),
                    bands: if compared { &[number + 4, number + 5] } else { &[] },
                    shingles: &shingles,
                    order: &vec![7; number as usize % 5],
                };
                writer.push(&entry).unwrap();
                number += 1;
            }
            writer.finish().unwrap();
        }
        let index = Index::open(&paths).unwrap();
        assert_eq!(u64::from(index.documents()), number);
        assert_eq!(index.part(2), number as u32 - 2..number as u32);
        assert_eq!([0, number as u32 - 3, number as u32 - 2].map(|document| index.part_of(document)), [0, 0, 2]);
        let dropped = |document: u32| document % 11 == 3;
        let compared = |document: u32| !document.is_multiple_of(5) && !dropped(document);
        let all = |keep: &dyn Fn(u32) -> bool, add: u64| -> Vec<(u64, u32)> {
            (0..number as u32).filter(|document| keep(*document)).map(|document| (u64::from(document) + add, document)).collect()
        };
        let narrow = |column| -> Vec<(u64, u32)> {
            index.bin::<u128>(column, 0, 1, |_| true).unwrap().into_iter().map(|(hash, document)| (hash as u64, document)).collect()
        };
        assert_eq!(narrow(Column::Exact), all(&|document| !dropped(document), 2));
        assert_eq!(narrow(Column::Url), all(&|document| document % 7 != 0 && !dropped(document), 6));
        assert_eq!(narrow(Column::Set), all(&compared, 3));
        assert_eq!(index.bin::<u64>(Column::Band(1), 0, 1, |_| true).unwrap(), all(&compared, 5));
        let mut shingles = Vec::new();
        for document in [0, 1, 2, 4, SEGMENT_ROWS as u32 - 1, SEGMENT_ROWS as u32, SEGMENT_ROWS as u32 + 4] {
            let wide = u128::from(document);
            assert_eq!(index.id(document).unwrap(), (wide + 1).to_le_bytes());
            assert_eq!(index.exact(document).unwrap(), wide + 2);
            assert_eq!(index.url(document).unwrap(), if document % 7 == 0 { 0 } else { wide + 6 });
            assert_eq!(index.is_short(document).unwrap(), document % 5 == 0);
            index.shingles(document, &mut shingles).unwrap();
            assert_eq!(shingles, (0..u64::from(document) % 3).collect::<Vec<_>>());
            assert_eq!(index.order(document).unwrap(), vec![7; document as usize % 5]);
            let hashes = index.hashes(document).unwrap();
            assert!(hashes.holds(document));
            let expected = [u64::from(document) + 4, u64::from(document) + 5];
            assert_eq!(hashes.get(document), compared(document).then_some((wide + 3, &expected[..])));
        }
    }
}
