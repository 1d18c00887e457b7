//! The examples layouts: one row for each document, with a label (`classify`) or a target (`complete`). Each file of documents is a part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use engine::{Context, Draft, PartWriter, Table, schema};
use shards::examples::{Answer, Example, Task, Writer};

use super::summary::{self, Shard};
use super::{Encoder, Tokenize};
use crate::documents::{self, Documents, id};

/// More classes than this are no classes but a mistaken column.
const CLASSES_MAX: usize = 10_000;

/// A document's fate, and its numbers of tokens.
enum Outcome {
    /// `cut` tokens of the text did not fit.
    Stored { example: Example, cut: usize },
    /// `tokens` is 0 where it was not encoded.
    Rejected { rule: &'static str, tokens: usize },
}

pub(super) fn classify(settings: &Tokenize, ctx: &Context, table: &Table, encoder: &Encoder, draft: &Draft) -> Result<()> {
    let Some(label) = settings.label.as_deref() else { bail!("`label` is missing") };
    for column in [settings.text.as_str(), label] {
        table.column(column)?;
    }
    let classes = classes(ctx, table, label)?;
    draft.fact("classes", &classes)?;
    let room = settings.sequence_length - 1 - usize::from(encoder.begin.is_some());
    run(settings, ctx, table, encoder, draft, Task::Classify, &[&settings.text, label], |batch| {
        let (ids, texts, labels) = (batch.ids("id")?, batch.strings(&settings.text)?, batch.strings(label)?);
        let all: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        let encoded = encoder.tokenizer.encode_batch(&all)?;
        let example = |(row, mut tokens): (usize, Vec<u32>)| {
            if labels.is_null(row) {
                return Outcome::Rejected { rule: "no_label", tokens: framed(encoder, tokens).len() };
            }
            let class = classes.binary_search_by(|class| class.as_str().cmp(labels.value(row))).expect("all labels were collected");
            let cut = tokens.len().saturating_sub(room);
            tokens.truncate(room);
            Outcome::Stored {
                example: Example { id: id(&ids, row), tokens: framed(encoder, tokens), answer: Answer::Label(class as i32) },
                cut,
            }
        };
        Ok(encoded.into_iter().enumerate().map(example).collect())
    })
}

pub(super) fn complete(settings: &Tokenize, ctx: &Context, table: &Table, encoder: &Encoder, draft: &Draft) -> Result<()> {
    let Some(target) = settings.target.as_deref() else { bail!("`target` is missing") };
    for column in [settings.prompt.as_str(), target] {
        table.column(column)?;
    }
    run(settings, ctx, table, encoder, draft, Task::Complete, &[&settings.prompt, target], |batch| {
        let (ids, prompts, targets) = (batch.ids("id")?, batch.strings(&settings.prompt)?, batch.strings(target)?);
        // Encoded apart, so that the prompt has the same tokens whether a target follows or not.
        let openings: Vec<String> = prompts.iter().map(|prompt| format!("{}{}", prompt.unwrap_or_default(), settings.separator)).collect();
        let openings = encoder.tokenizer.encode_batch(&openings.iter().map(String::as_str).collect::<Vec<_>>())?;
        let answers = encoder.tokenizer.encode_batch(&targets.iter().map(Option::unwrap_or_default).collect::<Vec<_>>())?;
        let example = |(row, (mut tokens, answer)): (usize, (Vec<u32>, Vec<u32>))| {
            let prompt = tokens.len();
            tokens.extend(answer);
            tokens.push(encoder.end);
            let empty = |column: &StringArray| column.is_null(row) || column.value(row).is_empty();
            let rule = match () {
                () if empty(&prompts) => Some("no_prompt"),
                () if empty(&targets) => Some("no_target"),
                () if tokens.len() > settings.sequence_length => Some("too_long"),
                () => None,
            };
            match rule {
                Some(rule) => Outcome::Rejected { rule, tokens: tokens.len() },
                None => Outcome::Stored { example: Example { id: id(&ids, row), tokens, answer: Answer::PromptLength(prompt) }, cut: 0 },
            }
        };
        Ok(openings.into_iter().zip(answers).enumerate().map(example).collect())
    })
}

/// The tokens with what stands before and after them.
fn framed(encoder: &Encoder, tokens: Vec<u32>) -> Vec<u32> {
    encoder.begin.into_iter().chain(tokens).chain([encoder.end]).collect()
}

/// All labels, sorted; their places are the classes' numbers.
fn classes(ctx: &Context, table: &Table, label: &str) -> Result<Vec<String>> {
    let mut classes = BTreeSet::new();
    for file in 0..table.files.len() {
        for batch in documents::read(table, file, &[label])? {
            ctx.check_stop()?;
            for class in batch?.strings(label)?.iter().flatten() {
                if !classes.contains(class) {
                    classes.insert(class.to_string());
                }
            }
            if classes.len() > CLASSES_MAX {
                bail!("column `{label}` has more than {CLASSES_MAX} different values; is it the label?");
            }
        }
    }
    Ok(classes.into_iter().collect())
}

#[expect(clippy::too_many_arguments, reason = "the two layouts differ in the last three alone")]
fn run(
    settings: &Tokenize,
    ctx: &Context,
    table: &Table,
    encoder: &Encoder,
    draft: &Draft,
    task: Task,
    columns: &[&str],
    make: impl Fn(&Documents) -> Result<Vec<Outcome>> + Sync,
) -> Result<()> {
    draft.declare("rejects", schema::rejects())?;
    draft.declare(summary::STATISTICS, summary::statistics_schema())?;
    let mut wanted = vec!["id", "source", "path", "position", "line"];
    wanted.extend(columns.iter().filter(|column| !["id", "source", "path", "position", "line"].contains(*column)));
    wanted.dedup();
    draft.parts(ctx, &table.plan(), |file, part| {
        let mut splits: BTreeMap<String, (Writer, Shard)> = BTreeMap::new();
        for batch in documents::read(table, file, &wanted)? {
            ctx.check_stop()?;
            let batch = batch?;
            let mut rejected = Vec::new();
            for (row, outcome) in make(&batch)?.into_iter().enumerate() {
                part.count("documents_in", 1);
                match outcome {
                    Outcome::Stored { example, cut } => {
                        part.count("documents_stored", 1);
                        part.count("tokens_in", (example.tokens.len() + cut) as i64);
                        part.count("tokens_cut", cut as i64);
                        part.count("tokens_stored", example.tokens.len() as i64);
                        store(draft, encoder, task, file, batch.split(row), &mut splits, example)?;
                    }
                    Outcome::Rejected { rule, tokens } => {
                        part.count("documents_rejected", 1);
                        part.count("tokens_in", tokens as i64);
                        part.count("tokens_rejected", tokens as i64);
                        let value = (rule == "too_long").then_some((tokens as f64, settings.sequence_length as f64));
                        rejected.push((row, rule, value));
                    }
                }
            }
            write_rejects(&batch, &rejected, part)?;
        }
        let mut shards = Vec::new();
        for (writer, shard) in splits.into_values() {
            writer.finish()?;
            shards.push(shard);
        }
        summary::note(draft, file, part, &shards)
    })?;
    summary::finish(draft, table.files.len(), |path| {
        Writer::create(&path, task, encoder.width)?.finish()?;
        Ok(())
    })
}

fn store(
    draft: &Draft,
    encoder: &Encoder,
    task: Task,
    file: usize,
    split: &str,
    splits: &mut BTreeMap<String, (Writer, Shard)>,
    example: Example,
) -> Result<()> {
    if !splits.contains_key(split) {
        let shard = Shard::new(split, file);
        let writer = Writer::create(&draft.file(&shard.relative())?, task, encoder.width)?;
        splits.insert(split.to_string(), (writer, shard));
    }
    let (writer, shard) = splits.get_mut(split).expect("inserted above");
    shard.rows += 1;
    shard.documents += 1;
    shard.tokens += example.tokens.len() as u64;
    writer.push(example)
}

/// Row of a batch, rule, and value with threshold where the rule has them.
type Rejected<'a> = (usize, &'a str, Option<(f64, f64)>);

fn write_rejects(batch: &Documents, rejected: &[Rejected], part: &mut PartWriter) -> Result<()> {
    let rows = rejected.len();
    let take = |column: ArrayRef| -> Result<ArrayRef> {
        let indices = Int64Array::from_iter_values(rejected.iter().map(|(row, _, _)| *row as i64));
        Ok(arrow::compute::take(&column, &indices, None)?)
    };
    let ids: FixedSizeBinaryArray = batch.ids("id")?;
    let line = batch.cast("line", &DataType::Int64)?;
    debug_assert!(line.as_primitive_opt::<Int64Type>().is_some());
    let columns: Vec<ArrayRef> = vec![
        take(Arc::new(ids))?,
        take(Arc::new(batch.strings("source")?))?,
        take(Arc::new(batch.strings("path")?))?,
        take(batch.cast("position", &DataType::Int64)?)?,
        take(line)?,
        Arc::new(StringArray::from(vec!["tokenize"; rows])),
        Arc::new(StringArray::from_iter_values(rejected.iter().map(|(_, rule, _)| rule))),
        Arc::new(Float64Array::from_iter(rejected.iter().map(|(_, _, value)| value.map(|(value, _)| value)))),
        Arc::new(Float64Array::from_iter(rejected.iter().map(|(_, _, value)| value.map(|(_, threshold)| threshold)))),
        new_null_array(&schema::ID, rows),
        new_null_array(&DataType::Float64, rows),
        new_null_array(&DataType::Utf8, rows),
    ];
    part.write("rejects", &RecordBatch::try_new(schema::rejects(), columns)?)
}
