//! What `split` must know of documents beyond their rows: the group that stays together, and the split that a document's time asks for.
//!
//! Nine bytes a document lie in a scratch file per part. A group with several times goes where its earliest document goes; such groups are
//! found bin by bin within memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use engine::{Context, Table};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::documents::{id_at, texts};

/// In place of a split: the document has no time.
const NO_TIME: u8 = u8::MAX;
/// Splits of time at most.
pub const BORDERS_MAX: usize = 200;

/// What tells the groups and times of documents.
pub struct Grouping<'a> {
    /// SQL expression whose equal values stay together.
    pub group: Option<&'a str>,
    pub clusters: Option<Clusters>,
    /// SQL expression, and where the splits after the first begin.
    pub time: Option<(&'a str, &'a Borders)>,
}

/// The begins of splits, ascending: numbers, or times in microseconds since 1970.
#[derive(Debug, PartialEq)]
pub enum Borders {
    Numbers(Vec<f64>),
    Times(Vec<i64>),
}

impl Borders {
    /// Reads begins that are all numbers or all times.
    pub fn parse(begins: &[&str]) -> Result<Borders> {
        let numbers: Option<Vec<f64>> = begins.iter().map(|begin| begin.trim().parse().ok()).collect();
        if let Some(numbers) = numbers {
            return Ok(Borders::Numbers(numbers));
        }
        let texts: ArrayRef = std::sync::Arc::new(arrow::array::StringArray::from(begins.to_vec()));
        let times = timestamps(&texts)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        match (0..begins.len()).find(|index| times.is_null(*index)) {
            Some(index) => bail!("`since`: `{}` is neither a time such as 2024-01-31 or 2024-01-31T12:00:00Z nor a number", begins[index]),
            None => Ok(Borders::Times(times.values().to_vec())),
        }
    }

    /// The order of the begins, or an error when two are equal.
    pub fn order(&self) -> Result<Vec<usize>> {
        let compare = |a: usize, b: usize| match self {
            Borders::Numbers(numbers) => numbers[a].total_cmp(&numbers[b]),
            Borders::Times(times) => times[a].cmp(&times[b]),
        };
        let count = match self {
            Borders::Numbers(numbers) => numbers.len(),
            Borders::Times(times) => times.len(),
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| compare(*a, *b));
        if order.windows(2).any(|pair| compare(pair[0], pair[1]).is_eq()) {
            bail!("`since`: two splits begin at the same time");
        }
        Ok(order)
    }

    /// How many borders each value has reached, [`NO_TIME`] for none.
    fn splits(&self, column: &ArrayRef) -> Result<Vec<u8>> {
        match self {
            Borders::Numbers(borders) => {
                let values = cast(column, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>();
                let split = |value: Option<f64>| match value {
                    Some(value) if !value.is_nan() => borders.partition_point(|border| *border <= value) as u8,
                    _ => NO_TIME,
                };
                Ok(values.iter().map(split).collect())
            }
            Borders::Times(borders) => {
                let values = timestamps(column)?;
                let values = values.as_primitive::<TimestampMicrosecondType>();
                let split = |value: Option<i64>| value.map_or(NO_TIME, |value| borders.partition_point(|border| *border <= value) as u8);
                Ok(values.iter().map(split).collect())
            }
        }
    }
}

fn timestamps(column: &ArrayRef) -> Result<ArrayRef> {
    let to = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(cast(&cast(column, &DataType::Utf8)?, &to)?),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Ok(cast(column, &to)?),
        other => bail!("`time` gives {other}: begins that are times need a column of times or text; for numbers give numbers in `since`"),
    }
}

/// The clusters of near duplicates that documents belong to: 16 bytes each.
pub struct Clusters(Vec<(u64, u64)>);

impl Clusters {
    /// Reads the table `clusters` of a `dedup`.
    pub fn read(ctx: &Context, table: &Table) -> Result<Clusters> {
        let mut clusters = Vec::with_capacity(table.rows as usize);
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&["id", "cluster_id"]), 8192)? {
                ctx.check_stop()?;
                let batch = batch?;
                let (ids, of) = (batch.column(0).as_fixed_size_binary(), batch.column(1).as_fixed_size_binary());
                clusters.extend((0..batch.num_rows()).map(|row| (head(id_at(ids, row)), xxh3_64_with_seed(of.value(row), ctx.seed))));
            }
        }
        clusters.sort_unstable();
        Ok(Clusters(clusters))
    }

    fn of(&self, id: [u8; 16]) -> Option<u64> {
        let at = self.0.binary_search_by_key(&head(id), |(id, _)| *id).ok()?;
        Some(self.0[at].1)
    }
}

fn head(id: [u8; 16]) -> u64 {
    u64::from_le_bytes(id[..8].try_into().expect("ids have 16 bytes"))
}

impl Grouping<'_> {
    /// Writes the hash of the group and the split by time of every document of a file.
    pub fn write(&self, ctx: &Context, table: &Table, file: usize, path: &Path) -> Result<()> {
        let mut expressions = vec![("id".to_string(), "id".to_string()), ("content".to_string(), "content_hash".to_string())];
        expressions.extend(self.group.map(|sql| ("group".to_string(), sql.to_string())));
        expressions.extend(self.time.map(|(sql, _)| ("time".to_string(), sql.to_string())));
        let mut out = BufWriter::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
        ctx.sql().select(table, file, &expressions, None, &mut |batch| {
            ctx.check_stop()?;
            for (hash, split) in self.rows(ctx.seed, &batch)? {
                out.write_all(&hash.to_le_bytes())?;
                out.write_all(&[split])?;
            }
            Ok(())
        })?;
        out.flush().context("writing the groups of documents")
    }

    fn rows(&self, seed: u64, batch: &RecordBatch) -> Result<Vec<(u64, u8)>> {
        let (ids, contents) = (batch.column(0).as_fixed_size_binary(), batch.column(1).as_fixed_size_binary());
        let groups = batch.column_by_name("group").map(texts).transpose()?;
        let splits = match (self.time, batch.column_by_name("time")) {
            (Some((sql, borders)), Some(column)) => borders.splits(column).with_context(|| format!("`time` ({sql})"))?,
            _ => vec![0; batch.num_rows()],
        };
        let hash = |row: usize| {
            let cluster = self.clusters.as_ref().and_then(|clusters| clusters.of(id_at(ids, row)));
            cluster.unwrap_or_else(|| match &groups {
                Some(groups) if groups.is_valid(row) => xxh3_64_with_seed(groups.value(row).as_bytes(), seed),
                _ => xxh3_64_with_seed(contents.value(row), seed),
            })
        };
        Ok(splits.into_iter().enumerate().map(|(row, split)| (hash(row), split)).collect())
    }
}

/// The groups of all parts.
pub struct Groups {
    files: Vec<PathBuf>,
    /// Groups with documents of several times, and the earliest split of each.
    earliest: HashMap<u64, u8>,
}

impl Groups {
    pub fn new(files: Vec<PathBuf>) -> Groups {
        Groups { files, earliest: HashMap::new() }
    }

    /// Finds the groups whose documents lie in several splits by time; holds at most `memory` bytes for it.
    pub fn settle(&mut self, ctx: &Context, memory: u64) -> Result<()> {
        let rows: u64 = self.files.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len() / 9)).sum();
        let bins = (8 * rows).div_ceil(memory.max(1 << 10)).max(1);
        for bin in 0..bins {
            // The split takes the place of the hash's last byte, so sorting brings the earliest of a group first.
            let mut found = Vec::new();
            for part in 0..self.files.len() {
                ctx.check_stop()?;
                for row in self.rows(part)? {
                    let (hash, split) = row?;
                    if split != NO_TIME && ((u128::from(hash) * u128::from(bins)) >> 64) as u64 == bin {
                        found.push(hash & !0xff | u64::from(split));
                    }
                }
            }
            found.sort_unstable();
            found.dedup();
            let several = found.chunk_by(|a, b| a >> 8 == b >> 8).filter(|group| group.len() > 1);
            self.earliest.extend(several.map(|group| (group[0] >> 8, group[0] as u8)));
        }
        Ok(())
    }

    fn rows(&self, part: usize) -> Result<impl Iterator<Item = Result<(u64, u8)>> + use<>> {
        let path = self.files[part].clone();
        let failed = move || format!("scratch file `{}`", path.display());
        let mut file = BufReader::with_capacity(1 << 16, File::open(&self.files[part]).with_context(&failed)?);
        Ok(std::iter::from_fn(move || {
            let mut bytes = [0; 9];
            match file.read_exact(&mut bytes) {
                Ok(()) => Some(Ok((u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")), bytes[8]))),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
                Err(error) => Some(Err(error).with_context(&failed)),
            }
        }))
    }

    /// Hash and split by time of the documents of a part, in order; no split where there is no time.
    pub fn read(&self, part: usize) -> Result<impl Iterator<Item = Result<(u64, Option<u8>)>>> {
        Ok(self.rows(part)?.map(|row| {
            let (hash, split) = row?;
            let split = match split {
                NO_TIME => None,
                split => Some(self.earliest.get(&(hash >> 8)).copied().unwrap_or(split)),
            };
            Ok((hash, split))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_numbers_or_times() {
        assert_eq!(Borders::parse(&["2020", "1999.5"]).unwrap(), Borders::Numbers(vec![2020.0, 1999.5]));
        assert_eq!(Borders::parse(&["1970-01-01", "1970-01-01T00:00:01Z"]).unwrap(), Borders::Times(vec![0, 1_000_000]));
        assert_eq!(Borders::parse(&["2020", "1999"]).unwrap().order().unwrap(), [1, 0]);
        assert!(Borders::parse(&["2020-01-01", "soon"]).unwrap_err().to_string().contains("`soon` is neither"));
        assert!(Borders::parse(&["2020", "2020.0"]).unwrap().order().is_err());
    }
}
