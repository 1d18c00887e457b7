//! One split of a tokens artifact: its rows by number, the order they are learned in, and what they answer.

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, FixedSizeBinaryArray};
use engine::Artifact;
use shards::{ShardFile, examples, packed};

use crate::batches::{Facts, Masking, Row, collate};
use crate::objective::Batch;

/// The rows of a split, mapped into memory at first use.
pub struct Data {
    split: String,
    reader: Reader,
}

enum Reader {
    Packed(packed::Reader),
    Classify(examples::Reader),
    Complete(examples::Reader),
}

impl Data {
    /// A split that must have rows.
    pub fn open(tokens: &Artifact, facts: &Facts, split: &str) -> Result<Data> {
        if !facts.has_split(split) {
            let splits = facts.splits.join(", ");
            bail!("step `{}` has no rows in the split `{split}`; splits with rows: {splits}", tokens.manifest.step);
        }
        let table = tokens.table("tokens")?;
        let files = table.files.into_iter().filter(|file| file.split.as_deref() == Some(split));
        let files: Vec<ShardFile> = files.map(|file| ShardFile { path: file.path, rows: file.rows }).collect();
        let reader = match facts.layout.as_str() {
            "packed" => Reader::Packed(packed::Reader::new(&files)),
            "classify" => Reader::Classify(examples::Reader::new(&files)),
            "complete" => Reader::Complete(examples::Reader::new(&files)),
            layout => bail!("step `{}` has the unknown layout `{layout}`; known are packed, classify and complete", tokens.manifest.step),
        };
        Ok(Data { split: split.to_string(), reader })
    }

    pub fn rows(&self) -> u64 {
        match &self.reader {
            Reader::Packed(reader) => reader.rows(),
            Reader::Classify(reader) | Reader::Complete(reader) => reader.rows(),
        }
    }

    /// The row of a sample when rows are gone through again and again, each time in another order.
    pub fn row_of_sample(&self, seed: u64, sample: u64) -> u64 {
        let rows = self.rows();
        shards::permute(seed, sample / rows, rows, sample % rows)
    }

    /// Whether all rows are of one length, but for the end of the last one.
    pub fn equal_lengths(&self) -> bool {
        matches!(self.reader, Reader::Packed(_))
    }

    /// Tokens of a row.
    pub fn length(&self, row: u64) -> Result<usize> {
        Ok(self.row(row)?.tokens.len())
    }

    pub fn row(&self, row: u64) -> Result<Row> {
        let mut out = Row::default();
        let failed = || format!("row {row} of the split `{}`", self.split);
        match &self.reader {
            Reader::Packed(reader) => {
                reader.append_tokens(row, &mut out.tokens).with_context(failed)?;
                out.tokens.truncate(reader.used(row).with_context(failed)?);
            }
            Reader::Classify(reader) => {
                reader.append_tokens(row, &mut out.tokens).with_context(failed)?;
                out.class = reader.label(row).with_context(failed)?;
            }
            Reader::Complete(reader) => {
                reader.append_tokens(row, &mut out.tokens).with_context(failed)?;
                reader.append_labels(row, &mut out.labels).with_context(failed)?;
            }
        }
        Ok(out)
    }

    /// A batch of (sample, row) pairs.
    pub fn batch(&self, facts: &Facts, samples: &[(u64, u64)], masking: Option<&Masking>) -> Result<Batch> {
        let rows = samples.iter().map(|(_, row)| self.row(*row)).collect::<Result<Vec<Row>>>()?;
        let samples: Vec<u64> = samples.iter().map(|(sample, _)| *sample).collect();
        collate(facts, &rows, &samples, masking)
    }

    /// The document ids of the first `rows` rows of examples.
    pub fn ids(&self, rows: u64) -> Result<ArrayRef> {
        let (Reader::Classify(reader) | Reader::Complete(reader)) = &self.reader else { bail!("packed rows have no id") };
        let ids = (0..rows).map(|row| reader.id(row)).collect::<Result<Vec<[u8; 16]>>>()?;
        Ok(std::sync::Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter().map(Some), 16)?))
    }
}
