//! What every artifact of kind vectors holds: a table of words with their counts and vectors, and files for other programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Float32Builder, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, Kind, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Vocabulary;

/// Rows written at once.
const BATCH_ROWS: usize = 4096;

/// A format that other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `vectors.txt` as word2vec writes it: a line with both sizes, then word and numbers.
    Text,
    /// `vectors.bin` as word2vec writes it: four bytes a number.
    Binary,
    /// `glove.txt`: as the text of word2vec without its first line.
    Glove,
}

impl Format {
    fn file(self) -> &'static str {
        match self {
            Format::Text => "vectors.txt",
            Format::Binary => "vectors.bin",
            Format::Glove => "glove.txt",
        }
    }
}

/// Vectors in the order of the words.
pub(crate) struct Output<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) size: usize,
    /// The vector of a word by its number.
    pub(crate) vector: &'a (dyn Fn(usize) -> Vec<f32> + Sync),
    /// Mean loss of each pass.
    pub(crate) losses: &'a [f64],
    pub(crate) formats: &'a [Format],
    /// Whether another run gives other bytes.
    pub(crate) volatile: bool,
}

impl Output<'_> {
    pub(crate) fn write(&self, ctx: &Context, draft: &Draft) -> Result<()> {
        let table = Kind::Vectors.main_table();
        draft.declare(table, schema())?;
        draft.declare("metrics", metrics_schema())?;
        draft.foreign("files/");
        if self.volatile {
            [table, "files/", "metrics"].iter().for_each(|prefix| draft.volatile(prefix));
        }
        draft.count("words_in", self.vocabulary.all as i64);
        draft.count("words_learned", self.vocabulary.known() as i64);
        draft.count("different_words", self.vocabulary.distinct as i64);
        draft.fact("vector_size", self.size)?;
        self.formats.iter().try_for_each(|format| self.file(*format, draft))?;
        let words: Vec<&str> = self.vocabulary.words().collect();
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| {
            part.write("metrics", &metrics(self.losses)?)?;
            for start in (0..words.len()).step_by(BATCH_ROWS) {
                ctx.check_stop()?;
                let rows = start..(start + BATCH_ROWS).min(words.len());
                let mut vectors = ListBuilder::new(Float32Builder::new()).with_field(item());
                for row in rows.clone() {
                    vectors.values().append_slice(&(self.vector)(row));
                    vectors.append(true);
                }
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64))),
                    Arc::new(StringArray::from_iter_values(&words[rows.clone()])),
                    Arc::new(Int64Array::from_iter_values(self.vocabulary.counts[rows].iter().map(|count| *count as i64))),
                    Arc::new(vectors.finish()),
                ];
                part.write(table, &RecordBatch::try_new(schema(), columns)?)?;
            }
            Ok(())
        })
    }

    fn file(&self, format: Format, draft: &Draft) -> Result<()> {
        let path = draft.file(&format!("files/{}", format.file()))?;
        let write = || -> Result<()> {
            let mut out = BufWriter::with_capacity(1 << 18, File::create(&path)?);
            if format != Format::Glove {
                writeln!(out, "{} {}", self.vocabulary.len(), self.size)?;
            }
            for (row, word) in self.vocabulary.words().enumerate() {
                write!(out, "{word}")?;
                match format {
                    Format::Binary => {
                        out.write_all(b" ")?;
                        (self.vector)(row).iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))?;
                    }
                    Format::Text | Format::Glove => (self.vector)(row).iter().try_for_each(|x| write!(out, " {x}"))?,
                }
                out.write_all(b"\n")?;
            }
            Ok(out.flush()?)
        };
        write().with_context(|| format!("writing `{}`", path.display()))
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

/// `id` is the rank by frequency, from 0.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("word", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
        Field::new("vector", DataType::List(item()), false),
    ]))
}

fn metrics_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("epoch", DataType::Int64, false), Field::new("loss", DataType::Float64, false)]))
}

fn metrics(losses: &[f64]) -> Result<RecordBatch> {
    let epochs = Int64Array::from_iter_values((1..).take(losses.len()));
    let losses = Float64Array::from_iter_values(losses.iter().copied());
    Ok(RecordBatch::try_new(metrics_schema(), vec![Arc::new(epochs), Arc::new(losses)])?)
}
