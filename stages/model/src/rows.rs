//! One split of tokens artifacts: its rows by number, one artifact after another. Shards are mapped into memory at first use.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::Artifact;
use shards::examples::Value;
use shards::{ShardFile, examples, packed};

use crate::{Facts, LabelType};

/// The rows of a split.
pub struct Rows {
    split: String,
    vocab_size: i64,
    /// Classes of the labels; 0 where there are none.
    classes: i64,
    reader: Reader,
    sources: Vec<Source>,
    equal_lengths: bool,
    weights: bool,
}

/// The rows of one artifact.
struct Source {
    step: String,
    first: u64,
    rows: u64,
}

enum Reader {
    Packed(packed::Reader),
    Examples { reader: examples::Reader, answer: Answer, segments: bool },
}

/// What examples are to be answered with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// `label`: classify and pairs.
    Class,
    /// `label`, a list.
    Classes,
    /// `label`, a number.
    Number,
    /// `labels`, one for each token: tokens of the layout complete, or classes of the layout tag.
    Labels,
    /// `labels`, the tokens of another text: translate.
    Target,
    /// `start_token` and `end_token`.
    Span,
}

/// A row taken out of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Without padding.
    pub tokens: Vec<i64>,
    /// 0 or 1, which text a token is of; empty of rows of one text.
    pub segments: Vec<i64>,
    /// What to predict at each place, or −100: examples of the layouts complete (tokens) and tag (classes). The target: those of the layout
    /// translate.
    pub labels: Vec<i64>,
    /// Index of the class: examples of the layouts classify and pairs.
    pub class: i64,
    /// Indices of the classes: examples with several.
    pub classes: Vec<i64>,
    /// Examples with a number.
    pub number: f64,
    /// First and last token of the answer, both 0 without one: examples of the layout answer.
    pub span: [i64; 2],
    /// Where documents begin, and the end, as [`shards::boundaries`] has it; of packed rows alone, and only when asked for.
    pub boundaries: Vec<usize>,
    /// What counts in the loss: one number for each token of a packed row, one for an example as a whole, none where all count the same.
    pub weights: Vec<f32>,
}

impl Row {
    /// What a token, or a label of an example, counts in the loss.
    pub fn weight(&self, token: usize) -> f32 {
        match self.weights[..] {
            [] => 1.0,
            [of_all] => of_all,
            _ => self.weights[token],
        }
    }
}

/// Where the tokens of a row of the layout answer stand in their context.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The first token of the context that the row holds; 0 begins another question.
    pub start: i64,
    /// The characters of the context that each token stands for, from the first to before the second; −1 of other tokens.
    pub starts: Vec<i32>,
    pub ends: Vec<i32>,
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
        let answer = match (facts.layout.as_str(), facts.label_type) {
            ("packed", _) => None,
            ("classify", LabelType::Class) | ("pairs", _) => Some(Answer::Class),
            ("classify", LabelType::MultiLabel) => Some(Answer::Classes),
            ("classify", LabelType::Number) => Some(Answer::Number),
            ("complete" | "tag", _) => Some(Answer::Labels),
            ("translate", _) => Some(Answer::Target),
            ("answer", _) => Some(Answer::Span),
            (layout, _) => {
                bail!("tokens have the unknown layout `{layout}`; known are packed, classify, complete, translate, tag, answer and pairs")
            }
        };
        let reader = match answer {
            None => Reader::Packed(packed::Reader::new(&files)),
            Some(answer) => Reader::Examples { reader: examples::Reader::new(&files), answer, segments: facts.segments },
        };
        let labels = match facts.layout.as_str() {
            "complete" | "translate" => Some(facts.vocab_size),
            _ => facts.classes.as_ref().map(|all| all.len() as i64),
        };
        // Of earlier versions there is no such fact, nor another packing.
        let padded = |tokens: &Artifact| tokens.fact::<String>("packing").is_ok_and(|packing| packing == "one-per-row");
        let equal_lengths = matches!(reader, Reader::Packed(_)) && !tokens.iter().any(padded);
        let classes = labels.unwrap_or(0);
        let (split, vocab_size, weights) = (split.to_string(), facts.vocab_size, facts.weights);
        Ok(Rows { split, vocab_size, classes, reader, sources, equal_lengths, weights })
    }

    pub fn count(&self) -> u64 {
        match &self.reader {
            Reader::Packed(reader) => reader.rows(),
            Reader::Examples { reader, .. } => reader.rows(),
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
            Reader::Examples { reader, .. } => reader.length(row),
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
                if self.weights {
                    out.weights = reader.weights(row).with_context(failed)?.unwrap_or_default();
                }
            }
            Reader::Examples { reader, answer, segments } => {
                reader.append_tokens(row, &mut out.tokens).with_context(failed)?;
                example(reader, row, *answer, *segments, &mut out).with_context(failed)?;
                if self.weights {
                    out.weights.extend(reader.weight(row).with_context(failed)?.map(|weight| weight as f32));
                }
            }
        }
        // All at once, so that the usual case is a few vector instructions.
        let wrong = |numbers: &[i64], end: i64| numbers.iter().fold(false, |wrong, number| wrong | (*number >= end));
        if wrong(&out.tokens, self.vocab_size) {
            let shard = self.place(row)?.shard.display().to_string();
            bail!("shard `{shard}` holds a token that is not below {}, the size of the vocabulary; run `tokenize` again", self.vocab_size);
        }
        if wrong(&out.labels, self.classes) || wrong(&out.classes, self.classes) || (out.class > 0 && out.class >= self.classes) {
            let shard = self.place(row)?.shard.display().to_string();
            bail!("shard `{shard}` holds a label that is not below {}; run `tokenize` again", self.classes);
        }
        if !out.weights.iter().all(|weight| (0.0..f32::INFINITY).contains(weight)) {
            let shard = self.place(row)?.shard.display().to_string();
            bail!("shard `{shard}` holds a weight that is no number from 0 on; run `tokenize` again");
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
            Reader::Examples { reader, .. } => {
                let length = reader.length(row).with_context(failed)? as i64;
                let id = reader.id(row).with_context(failed)?;
                let piece = |document, length| Piece { document, start: None, length };
                match reader.value(row, "other") {
                    // The second segment is of another document.
                    Ok(Value::Id(other)) if other != id => {
                        let second: i64 = self.row(row, false)?.segments.iter().sum();
                        Ok(vec![piece(id, length - second), piece(other, second)])
                    }
                    _ => Ok(vec![piece(id, length)]),
                }
            }
        }
    }

    /// Where a row lies.
    pub fn place(&self, row: u64) -> Result<Place<'_>> {
        let (shard, _) = match &self.reader {
            Reader::Packed(reader) => reader.file(row),
            Reader::Examples { reader, .. } => reader.file(row),
        }?;
        let source = &self.sources[self.sources.partition_point(|source| source.first + source.rows <= row)];
        Ok(Place { step: &source.step, row: row - source.first, shard })
    }

    /// The document ids of rows of examples.
    pub fn ids(&self, rows: Range<u64>) -> Result<Vec<[u8; 16]>> {
        let reader = self.examples()?;
        rows.map(|row| reader.id(row)).collect()
    }

    /// Of the layout tag: the number of each token's word, or −1.
    pub fn words(&self, row: u64) -> Result<Vec<i32>> {
        int32s(self.examples()?, row, "words").with_context(|| self.failed(row))
    }

    /// Of the layout answer: where the tokens of a row stand in their context.
    pub fn window(&self, row: u64) -> Result<Window> {
        let (reader, failed) = (self.examples()?, || self.failed(row));
        let start = match reader.value(row, "start").with_context(failed)? {
            Value::Int32(start) => i64::from(start),
            other => bail!("{}: `start` is {other:?}", failed()),
        };
        let [starts, ends] = ["starts", "ends"].map(|name| int32s(reader, row, name));
        Ok(Window { start, starts: starts.with_context(failed)?, ends: ends.with_context(failed)? })
    }

    fn examples(&self) -> Result<&examples::Reader> {
        match &self.reader {
            Reader::Examples { reader, .. } => Ok(reader),
            Reader::Packed(_) => bail!("packed rows are no examples"),
        }
    }

    fn failed(&self, row: u64) -> String {
        format!("row {row} of the split `{}`", self.split)
    }
}

/// A list of numbers with one of them for each token.
fn int32s(reader: &examples::Reader, row: u64, name: &str) -> Result<Vec<i32>> {
    match reader.value(row, name)? {
        Value::Int32s(numbers) if numbers.len() == reader.length(row)? => Ok(numbers),
        other => bail!("the column `{name}` holds {other:?}, which is no number for each token; run `tokenize` again"),
    }
}

/// What an example holds besides its tokens.
fn example(reader: &examples::Reader, row: u64, answer: Answer, segments: bool, out: &mut Row) -> Result<()> {
    if segments {
        match reader.value(row, "segments")? {
            Value::UInt8s(numbers) if numbers.len() == out.tokens.len() => out.segments = numbers.into_iter().map(i64::from).collect(),
            other => bail!("the column `segments` holds {other:?}, which is no number for each token; run `tokenize` again"),
        }
    }
    match answer {
        Answer::Class => out.class = reader.label(row)?,
        Answer::Labels => {
            reader.append_labels(row, &mut out.labels)?;
            if out.labels.len() != out.tokens.len() {
                bail!("the column `labels` holds {} labels for {} tokens; run `tokenize` again", out.labels.len(), out.tokens.len());
            }
        }
        Answer::Target => reader.append_labels(row, &mut out.labels)?,
        Answer::Classes => match reader.value(row, "label")? {
            Value::Int32s(classes) => out.classes = classes.into_iter().map(i64::from).collect(),
            other => bail!("the column `label` holds {other:?}, no list of classes"),
        },
        Answer::Number => match reader.value(row, "label")? {
            Value::Float64(number) => out.number = number,
            other => bail!("the column `label` holds {other:?}, no number"),
        },
        Answer::Span => {
            for (place, name) in out.span.iter_mut().zip(["start_token", "end_token"]) {
                *place = match reader.value(row, name)? {
                    Value::Int32(token) if (0..out.tokens.len() as i32).contains(&token) => i64::from(token),
                    other => bail!("the column `{name}` holds {other:?}, which is no token of the row; run `tokenize` again"),
                };
            }
        }
    }
    Ok(())
}
