//! One split of tokens artifacts: its rows by number, one artifact after another. Shards are mapped into memory at first use.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::Artifact;
use shards::{ShardFile, examples, packed};

use crate::Facts;

/// The rows of a split.
pub struct Rows {
    split: String,
    vocab_size: i64,
    reader: Reader,
    sources: Vec<Source>,
    equal_lengths: bool,
}

/// The rows of one artifact.
struct Source {
    step: String,
    first: u64,
    rows: u64,
}

enum Reader {
    Packed(packed::Reader),
    Classify(examples::Reader),
    Complete(examples::Reader),
}

/// A row taken out of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Without padding.
    pub tokens: Vec<i64>,
    /// What to predict at each place, or −100: examples of the layout complete.
    pub labels: Vec<i64>,
    /// Index of the class: examples of the layout classify.
    pub class: i64,
    /// Where documents begin, and the end, as [`shards::boundaries`] has it; of packed rows alone, and only when asked for.
    pub boundaries: Vec<usize>,
}

/// A piece of a document in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub document: [u8; 16],
    /// Index of the first token within the document; null of examples, whose tokens may be cut on either side.
    pub start: Option<i64>,
    pub length: i64,
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<'a> {
    /// The step that made the tokens.
    pub step: &'a str,
    /// The row's number in the split of that step, as in its table `spans`.
    pub row: u64,
    pub shard: &'a Path,
}

impl Rows {
    /// A split that must have rows.
    pub fn open(tokens: &[Artifact], facts: &Facts, split: &str) -> Result<Rows> {
        if !facts.has_split(split) {
            let steps: Vec<&str> = tokens.iter().map(|artifact| artifact.manifest.step.as_str()).collect();
            let splits = facts.splits.join(", ");
            bail!("step `{}` has no rows in the split `{split}`; splits with rows: {splits}", steps.join("`, `"));
        }
        let (mut files, mut sources) = (Vec::new(), Vec::new());
        for artifact in tokens {
            let table = artifact.table("tokens")?;
            let shards = table.files.into_iter().filter(|file| file.split.as_deref() == Some(split));
            let shards: Vec<ShardFile> =
                shards.map(|file| ShardFile { path: file.path, rows: file.rows, bytes: Some(file.bytes) }).collect();
            let first = sources.last().map_or(0, |source: &Source| source.first + source.rows);
            let rows = shards.iter().map(|file| file.rows).sum();
            sources.push(Source { step: artifact.manifest.step.clone(), first, rows });
            files.extend(shards);
        }
        let reader = match facts.layout.as_str() {
            "packed" => Reader::Packed(packed::Reader::new(&files)),
            "classify" => Reader::Classify(examples::Reader::new(&files)),
            "complete" => Reader::Complete(examples::Reader::new(&files)),
            layout => bail!("tokens have the unknown layout `{layout}`; known are packed, classify and complete"),
        };
        // Of earlier versions there is no such fact, nor another packing.
        let padded = |tokens: &Artifact| tokens.fact::<String>("packing").is_ok_and(|packing| packing == "one-per-row");
        let equal_lengths = matches!(reader, Reader::Packed(_)) && !tokens.iter().any(padded);
        Ok(Rows { split: split.to_string(), vocab_size: facts.vocab_size, reader, sources, equal_lengths })
    }

    pub fn count(&self) -> u64 {
        match &self.reader {
            Reader::Packed(reader) => reader.rows(),
            Reader::Classify(reader) | Reader::Complete(reader) => reader.rows(),
        }
    }

    /// Rows of each artifact, in their order.
    pub fn counts(&self) -> Vec<u64> {
        self.sources.iter().map(|source| source.rows).collect()
    }

    /// The number of a row of an artifact.
    pub fn of_source(&self, source: usize, row: u64) -> u64 {
        self.sources[source].first + row
    }

    /// Whether all rows are of about one length: not examples, nor packed rows of one document each.
    pub fn equal_lengths(&self) -> bool {
        self.equal_lengths
    }

    /// Tokens of a row.
    pub fn length(&self, row: u64) -> Result<usize> {
        match &self.reader {
            Reader::Packed(reader) => reader.used(row),
            Reader::Classify(reader) | Reader::Complete(reader) => reader.length(row),
        }
        .with_context(|| self.failed(row))
    }

    /// A row; with the places where documents begin when asked for.
    pub fn row(&self, row: u64, boundaries: bool) -> Result<Row> {
        let mut out = Row::default();
        let failed = || self.failed(row);
        match &self.reader {
            Reader::Packed(reader) => {
                reader.append_used(row, &mut out.tokens).with_context(failed)?;
                if boundaries {
                    out.boundaries = reader.boundaries(row).with_context(failed)?;
                }
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
        // All at once, so that the usual case is a few vector instructions.
        if out.tokens.iter().chain(&out.labels).fold(false, |wrong, token| wrong | (*token >= self.vocab_size)) {
            let shard = self.place(row)?.shard.display().to_string();
            bail!("shard `{shard}` holds a token that is not below {}, the size of the vocabulary; run `tokenize` again", self.vocab_size);
        }
        Ok(out)
    }

    /// The documents of a row, in order.
    pub fn pieces(&self, row: u64) -> Result<Vec<Piece>> {
        let failed = || self.failed(row);
        match &self.reader {
            Reader::Packed(reader) => {
                let spans = reader.spans(row).with_context(failed)?;
                let piece = |span: shards::Span| Piece { document: span.document, start: Some(span.start), length: span.length.into() };
                Ok(spans.into_iter().map(piece).collect())
            }
            Reader::Classify(reader) | Reader::Complete(reader) => {
                let length = reader.length(row).with_context(failed)? as i64;
                Ok(vec![Piece { document: reader.id(row).with_context(failed)?, start: None, length }])
            }
        }
    }

    /// Where a row lies.
    pub fn place(&self, row: u64) -> Result<Place<'_>> {
        let (shard, _) = match &self.reader {
            Reader::Packed(reader) => reader.file(row),
            Reader::Classify(reader) | Reader::Complete(reader) => reader.file(row),
        }?;
        let source = &self.sources[self.sources.partition_point(|source| source.first + source.rows <= row)];
        Ok(Place { step: &source.step, row: row - source.first, shard })
    }

    /// The document ids of the first `rows` rows of examples.
    pub fn ids(&self, rows: u64) -> Result<Vec<[u8; 16]>> {
        let (Reader::Classify(reader) | Reader::Complete(reader)) = &self.reader else { bail!("packed rows have no id") };
        (0..rows).map(|row| reader.id(row)).collect()
    }

    fn failed(&self, row: u64) -> String {
        format!("row {row} of the split `{}`", self.split)
    }
}
