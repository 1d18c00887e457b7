//! Drawing documents: of every stratum those whose keys are smallest, up to a wanted amount.
//!
//! A key is a hash of the seed and the content, so what is drawn does not depend on the order of the input, and adding documents moves as
//! few as can be. Keys lie in one scratch file per part; where a stratum is cut is found by histograms of ever finer ranges until what is
//! left to be sorted fits into memory. What a stratum is and how much is wanted of it is decided elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;

/// Bytes of an entry in a scratch file.
const ENTRY_BYTES: usize = 36;
/// Different strata at most: their names are held in memory.
const STRATA_MAX: usize = 1 << 20;
/// Entries that are sorted in memory, 48 bytes each.
const SORTED_MAX: u64 = 1 << 20;
/// Counters of a histogram, 16 bytes each.
const COUNTERS: usize = 1 << 18;
/// Finest division of a range by one histogram.
const BITS_MAX: u32 = 16;

/// A document that can be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub stratum: u32,
    /// The order in which documents are drawn. It tells documents apart: ties are drawn in order of the input.
    pub key: u128,
    /// What it counts of the wanted amount.
    pub amount: u64,
    /// Bytes of its text.
    pub bytes: u64,
}

/// What a stratum has in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    pub documents: u64,
    pub amount: u64,
    pub bytes: u64,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.documents += other.documents;
        self.amount += other.amount;
        self.bytes += other.bytes;
    }
}

/// Where the drawn documents of a stratum end: the first key, part and row that is not drawn.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Limit(pub u128, pub u32, pub u32);

impl Limit {
    pub const NONE: Limit = Limit(0, 0, 0);
    pub const ALL: Limit = Limit(u128::MAX, u32::MAX, u32::MAX);

    /// All keys below a share of their range.
    pub fn share(share: f64) -> Limit {
        match share {
            share if share >= 1.0 => Limit::ALL,
            share => Limit(((share * (1_u64 << 53) as f64) as u128) << 75, 0, 0),
        }
    }

    pub fn draws(&self, key: u128, part: u32, row: u32) -> bool {
        Limit(key, part, row) < *self
    }
}

/// A key's place between 0 and 1.
pub fn place(key: u128) -> f64 {
    (key >> 75) as f64 / (1_u64 << 53) as f64
}

/// Writes the entries of one part.
pub struct EntryWriter {
    file: BufWriter<File>,
    strata: HashMap<String, u32>,
    names: Vec<(String, Total)>,
    entries: u64,
}

impl EntryWriter {
    pub fn create(path: &Path) -> Result<EntryWriter> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(EntryWriter { file: BufWriter::with_capacity(1 << 18, file), strata: HashMap::new(), names: Vec::new(), entries: 0 })
    }

    pub fn push(&mut self, stratum: &str, key: u128, amount: u64, bytes: u64) -> Result<()> {
        let number = match self.strata.get(stratum) {
            Some(number) => *number,
            None => {
                let number = self.names.len() as u32;
                self.strata.insert(stratum.to_string(), number);
                self.names.push((stratum.to_string(), Total::default()));
                number
            }
        };
        self.names[number as usize].1.add(Total { documents: 1, amount, bytes });
        self.file.write_all(&number.to_le_bytes())?;
        self.file.write_all(&key.to_le_bytes())?;
        self.file.write_all(&amount.to_le_bytes())?;
        self.file.write_all(&bytes.to_le_bytes())?;
        self.entries += 1;
        Ok(())
    }

    /// Ends the file with its strata and the number of its entries.
    pub fn finish(mut self) -> Result<()> {
        for (name, total) in &self.names {
            for number in [name.len() as u64, total.documents, total.amount, total.bytes] {
                self.file.write_all(&number.to_le_bytes())?;
            }
            self.file.write_all(name.as_bytes())?;
        }
        self.file.write_all(&self.entries.to_le_bytes())?;
        self.file.flush().context("writing the keys of documents")
    }
}

/// The entries of all parts.
pub struct Draw {
    files: Vec<PathBuf>,
    entries: Vec<u64>,
    /// From the strata of each part to those of all.
    numbers: Vec<Vec<u32>>,
    /// Sorted by name.
    pub strata: Vec<(String, Total)>,
}

impl Draw {
    pub fn open(files: Vec<PathBuf>) -> Result<Draw> {
        let mut totals: BTreeMap<String, Total> = BTreeMap::new();
        let (mut entries, mut parts) = (Vec::new(), Vec::new());
        for path in &files {
            let (count, strata) = read_strata(path).with_context(|| format!("scratch file `{}`", path.display()))?;
            strata.iter().for_each(|(name, total)| totals.entry(name.clone()).or_default().add(*total));
            if totals.len() > STRATA_MAX {
                bail!("the documents fall into more than {STRATA_MAX} groups; take an expression with fewer values");
            }
            entries.push(count);
            parts.push(strata);
        }
        let strata: Vec<(String, Total)> = totals.into_iter().collect();
        let number = |name: &String| strata.partition_point(|(other, _)| other < name) as u32;
        let numbers = parts.iter().map(|names| names.iter().map(|(name, _)| number(name)).collect()).collect();
        Ok(Draw { files, entries, numbers, strata })
    }

    /// The entries of a part, in order of its documents.
    pub fn entries(&self, part: usize) -> Result<impl Iterator<Item = Result<Entry>>> {
        let path = &self.files[part];
        let failed = || format!("scratch file `{}`", path.display());
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).with_context(failed)?);
        let numbers = &self.numbers[part];
        Ok((0..self.entries[part]).map(move |_| {
            let mut bytes = [0; ENTRY_BYTES];
            file.read_exact(&mut bytes).with_context(failed)?;
            let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            let stratum = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
            let key = u128::from(number(4)) | u128::from(number(12)) << 64;
            Ok(Entry { stratum: numbers[stratum as usize], key, amount: number(20), bytes: number(28) })
        }))
    }

    /// For every stratum the limit whose drawn amount comes nearest to the wanted one; exact where every document counts 1.
    pub fn limits(&self, wanted: &[u64]) -> Result<Vec<Limit>> {
        self.limits_within(wanted, SORTED_MAX, COUNTERS)
    }

    fn limits_within(&self, wanted: &[u64], sorted_max: u64, counters: usize) -> Result<Vec<Limit>> {
        let mut limits = vec![Limit::NONE; wanted.len()];
        let mut ranges: Vec<Range> = Vec::new();
        for (stratum, (wanted, (_, total))) in wanted.iter().zip(&self.strata).enumerate() {
            match *wanted {
                0 => {}
                wanted if wanted >= total.amount => limits[stratum] = Limit::ALL,
                wanted => ranges.push(Range { stratum: stratum as u32, low: 0, bits: 128, before: 0, wanted, entries: total.documents }),
            }
        }
        while ranges.iter().map(|range| range.entries).sum::<u64>() > sorted_max && ranges.iter().any(|range| range.bits > 0) {
            let bits = (counters / ranges.len()).max(2).ilog2().min(BITS_MAX);
            let histogram = self.histogram(&ranges, bits)?;
            for (range, counts) in ranges.iter_mut().zip(histogram.chunks(1 << bits)) {
                range.narrow(counts, bits);
            }
        }
        for (stratum, limit) in self.cut(&ranges)? {
            limits[stratum as usize] = limit;
        }
        Ok(limits)
    }

    /// Entries and amounts in each of the `2^bits` parts of each range.
    fn histogram(&self, ranges: &[Range], bits: u32) -> Result<Vec<(u64, u64)>> {
        let range_of = self.range_of(ranges);
        let empty = || vec![(0, 0); ranges.len() << bits];
        let count = |mut counts: Vec<(u64, u64)>, part: usize| -> Result<Vec<(u64, u64)>> {
            for entry in self.entries(part)? {
                let entry = entry?;
                let Some(index) = range_of[entry.stratum as usize] else { continue };
                if let Some(at) = ranges[index].part_of(entry.key, bits) {
                    let (entries, amount) = &mut counts[(index << bits) + at];
                    *entries += 1;
                    *amount += entry.amount;
                }
            }
            Ok(counts)
        };
        let sum = |mut a: Vec<(u64, u64)>, b: Vec<(u64, u64)>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a = (a.0 + b.0, a.1 + b.1));
            Ok(a)
        };
        (0..self.files.len()).into_par_iter().try_fold(empty, count).try_reduce(empty, sum)
    }

    /// Sorts the entries of all ranges and cuts each where the wanted amount is nearest.
    fn cut(&self, ranges: &[Range]) -> Result<Vec<(u32, Limit)>> {
        let range_of = self.range_of(ranges);
        let collect = |part: usize| -> Result<Vec<(u32, Limit, u64)>> {
            let mut found = Vec::new();
            for (row, entry) in self.entries(part)?.enumerate() {
                let entry = entry?;
                if range_of[entry.stratum as usize].is_some_and(|index| ranges[index].part_of(entry.key, 0).is_some()) {
                    found.push((entry.stratum, Limit(entry.key, part as u32, row as u32), entry.amount));
                }
            }
            Ok(found)
        };
        let found: Result<Vec<Vec<_>>> = (0..self.files.len()).into_par_iter().map(collect).collect();
        let mut found: Vec<(u32, Limit, u64)> = found?.into_iter().flatten().collect();
        found.sort_by_key(|(stratum, limit, _)| (*stratum, limit.0, limit.1, limit.2));
        let mut cuts = Vec::new();
        for stratum in found.chunk_by(|a, b| a.0 == b.0) {
            let range = &ranges[range_of[stratum[0].0 as usize].expect("only strata with a range were collected")];
            let mut sum = range.before;
            let mut limit = Limit::ALL;
            for (_, at, amount) in stratum {
                let (short, with) = (range.wanted.saturating_sub(sum), sum + amount);
                if short == 0 || with.saturating_sub(range.wanted) > short {
                    limit = *at;
                    break;
                }
                sum = with;
                limit = Limit(at.0, at.1, at.2 + 1);
            }
            cuts.push((range.stratum, limit));
        }
        Ok(cuts)
    }

    fn range_of(&self, ranges: &[Range]) -> Vec<Option<usize>> {
        let mut of = vec![None; self.strata.len()];
        ranges.iter().enumerate().for_each(|(index, range)| of[range.stratum as usize] = Some(index));
        of
    }

    /// What the limits draw of every stratum.
    pub fn drawn(&self, limits: &[Limit]) -> Result<Vec<Total>> {
        let empty = || vec![Total::default(); self.strata.len()];
        let count = |mut totals: Vec<Total>, part: usize| -> Result<Vec<Total>> {
            for (row, entry) in self.entries(part)?.enumerate() {
                let entry = entry?;
                if limits[entry.stratum as usize].draws(entry.key, part as u32, row as u32) {
                    totals[entry.stratum as usize].add(Total { documents: 1, amount: entry.amount, bytes: entry.bytes });
                }
            }
            Ok(totals)
        };
        let sum = |mut a: Vec<Total>, b: Vec<Total>| {
            a.iter_mut().zip(b).for_each(|(a, b)| a.add(b));
            Ok(a)
        };
        (0..self.files.len()).into_par_iter().try_fold(empty, count).try_reduce(empty, sum)
    }
}

/// The keys of a stratum among which it is cut.
struct Range {
    stratum: u32,
    low: u128,
    /// The range has `2^bits` keys.
    bits: u32,
    /// Amount of the keys below the range.
    before: u64,
    wanted: u64,
    entries: u64,
}

impl Range {
    /// Which of the `2^bits` parts of the range holds a key.
    fn part_of(&self, key: u128, bits: u32) -> Option<usize> {
        let offset = key.checked_sub(self.low)?;
        if self.bits < 128 && offset >> self.bits > 0 {
            return None;
        }
        match self.bits.saturating_sub(bits) {
            128 => Some(0),
            shift => Some((offset >> shift) as usize),
        }
    }

    /// Goes on with the part in which the wanted amount is reached.
    fn narrow(&mut self, counts: &[(u64, u64)], bits: u32) {
        let shift = self.bits.saturating_sub(bits);
        for (part, (entries, amount)) in counts.iter().enumerate() {
            if self.before + amount >= self.wanted {
                self.low += (part as u128) << shift;
                self.bits = shift;
                self.entries = *entries;
                return;
            }
            self.before += amount;
        }
    }
}

/// The number of entries of a file and its strata.
fn read_strata(path: &Path) -> Result<(u64, Vec<(String, Total)>)> {
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(-8))?;
    let mut number = [0; 8];
    file.read_exact(&mut number)?;
    let entries = u64::from_le_bytes(number);
    let start = entries * ENTRY_BYTES as u64;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; end.checked_sub(start).context("is too short")? as usize];
    file.read_exact(&mut bytes)?;
    let mut strata = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(32).context("is cut off")?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
        let (name, tail) = tail.split_at_checked(number(0) as usize).context("is cut off")?;
        strata.push((String::from_utf8(name.to_vec())?, Total { documents: number(8), amount: number(16), bytes: number(24) }));
        rest = tail;
    }
    Ok((entries, strata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Documents as (stratum, key, amount), spread over parts.
    fn draw(folder: &Path, parts: &[Vec<(u8, u128, u64)>]) -> Draw {
        let path = |part: usize| folder.join(part.to_string());
        for (part, documents) in parts.iter().enumerate() {
            let mut writer = EntryWriter::create(&path(part)).unwrap();
            documents.iter().for_each(|(stratum, key, amount)| writer.push(&format!("s{stratum}"), *key, *amount, 2 * amount).unwrap());
            writer.finish().unwrap();
        }
        Draw::open((0..parts.len()).map(path).collect()).unwrap()
    }

    #[test]
    fn entries_come_back_with_the_strata_of_all_parts() {
        let folder = tempfile::tempdir().unwrap();
        let draw = draw(folder.path(), &[vec![(2, 7, 10), (1, u128::MAX, 3)], vec![], vec![(1, 5 << 64, 1)]]);
        let strata: Vec<(&str, u64)> = draw.strata.iter().map(|(name, total)| (name.as_str(), total.amount)).collect();
        assert_eq!(strata, [("s1", 4), ("s2", 10)]);
        let entries: Vec<Entry> = (0..3).flat_map(|part| draw.entries(part).unwrap()).map(|entry| entry.unwrap()).collect();
        let expected = [(1, 7, 10), (0, u128::MAX, 3), (0, 5 << 64, 1)];
        assert_eq!(entries, expected.map(|(stratum, key, amount)| Entry { stratum, key, amount, bytes: 2 * amount }));
    }

    #[test]
    fn shares_and_places_agree() {
        for share in [0.0, 0.1, 0.5, 1.0] {
            let key = ((share * 0.999 * (1_u64 << 53) as f64) as u128) << 75;
            assert!(share == 0.0 || Limit::share(share).draws(key, 0, 0));
            assert!(!Limit::share(share).draws(u128::MAX, u32::MAX, u32::MAX));
            assert!((place(key) - share * 0.999).abs() < 1e-9);
        }
    }

    proptest! {
        /// Against sorting all documents, with so little memory that histograms must narrow down to equal keys.
        #[test]
        fn the_smallest_keys_are_drawn(
            parts in prop::collection::vec(prop::collection::vec((0u8..3, prop_oneof![any::<u128>(), 0u128..4], 0u64..50), 0..40), 1..4),
            share in 0.0f64..1.1,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let draw = draw(folder.path(), &parts);
            let wanted: Vec<u64> = draw.strata.iter().map(|(_, total)| (total.amount as f64 * share) as u64).collect();
            for (sorted_max, counters) in [(SORTED_MAX, COUNTERS), (3, 16)] {
                let limits = draw.limits_within(&wanted, sorted_max, counters).unwrap();
                let drawn = draw.drawn(&limits).unwrap();
                for (stratum, (name, total)) in draw.strata.iter().enumerate() {
                    let mut keys = Vec::new();
                    for (part, documents) in parts.iter().enumerate() {
                        let of = documents.iter().enumerate().filter(|(_, document)| format!("s{}", document.0) == *name);
                        keys.extend(of.map(|(row, document)| (document.1, part, row, document.2)));
                    }
                    keys.sort_unstable();
                    let is_drawn = |key: &&(u128, usize, usize, u64)| limits[stratum].draws(key.0, key.1 as u32, key.2 as u32);
                    prop_assert_eq!(keys.iter().take_while(is_drawn).count(), keys.iter().filter(is_drawn).count());
                    let largest = keys.iter().map(|key| key.3).max().unwrap_or(0);
                    let off = drawn[stratum].amount.abs_diff(wanted[stratum].min(total.amount));
                    prop_assert!(2 * off <= largest, "{} of {}", drawn[stratum].amount, wanted[stratum]);
                }
            }
        }
    }
}
