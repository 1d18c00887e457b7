//! The examples layout: one row for each document with a label (`classify`), or for each prompt with its target (`complete`).
//!
//! `classify`: `id`, `tokens` List, `label` Int32 (index into the sorted classes).
//! `complete`: `id`, `tokens` List (prompt, target, end), `labels` List<Int32>: at each position of the target and its end the token itself, -100
//! on the prompt. They are not shifted: the label of a position is what the model must say one position earlier.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};

use crate::shard::{ShardFile, ShardSet, ShardWriter};
use crate::tokens::{Width, append, tokens_type};

const BATCH_ROWS: usize = 1024;

/// What a row is to be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Index of the class.
    Label(i32),
    /// How many tokens at the beginning are the prompt; the rest is the target.
    PromptLength(usize),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub id: [u8; 16],
    pub tokens: Vec<u32>,
    pub answer: Answer,
}

/// Which of the two layouts a shard has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Classify,
    Complete,
}

fn labels_type() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Int32, false))
}

/// The schema of example shards.
pub fn schema(task: Task, width: Width) -> SchemaRef {
    let answer = match task {
        Task::Classify => Field::new("label", DataType::Int32, false),
        Task::Complete => Field::new("labels", DataType::List(labels_type()), false),
    };
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::FixedSizeBinary(16), false),
        Field::new("tokens", DataType::List(tokens_type(width)), false),
        answer,
    ]))
}

/// Writes one shard of examples.
pub struct Writer {
    task: Task,
    width: Width,
    schema: SchemaRef,
    shard: ShardWriter,
    pending: Vec<Example>,
    rows: u64,
}

impl Writer {
    pub fn create(path: &Path, task: Task, width: Width) -> Result<Writer> {
        let schema = schema(task, width);
        let shard = ShardWriter::create(path, &schema)?;
        Ok(Writer { task, width, schema, shard, pending: Vec::new(), rows: 0 })
    }

    pub fn push(&mut self, example: Example) -> Result<()> {
        self.pending.push(example);
        self.rows += 1;
        if self.pending.len() == BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the rest and syncs the file; returns the number of rows.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.shard.finish()?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.pending);
        let ids = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|row| row.id))?;
        let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.tokens.len()));
        let answers: ArrayRef = match self.task {
            Task::Classify => Arc::new(Int32Array::from(rows.iter().map(label).collect::<Result<Vec<_>>>()?)),
            Task::Complete => {
                let mut labels = Vec::new();
                for row in &rows {
                    let Answer::PromptLength(prompt) = row.answer else { bail!("an example of a shard for `complete` has a label") };
                    labels.extend((0..).zip(&row.tokens).map(|(i, token)| if i < prompt { crate::IGNORE as i32 } else { *token as i32 }));
                }
                Arc::new(ListArray::try_new(labels_type(), lengths.clone(), Arc::new(Int32Array::from(labels)), None)?)
            }
        };
        let ids: ArrayRef = Arc::new(ids);
        let all: Vec<u32> = rows.into_iter().flat_map(|row| row.tokens).collect();
        let tokens = ListArray::try_new(tokens_type(self.width), lengths, self.width.array(all), None)?;
        self.shard.write(&RecordBatch::try_new(self.schema.clone(), vec![ids, Arc::new(tokens), answers])?)
    }
}

fn label(example: &Example) -> Result<i32> {
    match example.answer {
        Answer::Label(label) => Ok(label),
        Answer::PromptLength(_) => bail!("an example of a shard for `classify` has no label"),
    }
}

/// The example shards of one split, mapped into memory at first use. Rows are numbered over all shards.
pub struct Reader {
    set: ShardSet,
}

impl Reader {
    /// Opens nothing yet; the row counts come from the manifest.
    pub fn new(files: &[ShardFile]) -> Reader {
        Reader { set: ShardSet::new(files, is_example) }
    }

    pub fn rows(&self) -> u64 {
        self.set.rows()
    }

    /// The file that holds a row, and the row's place in it.
    pub fn file(&self, row: u64) -> Result<(&Path, u64)> {
        self.set.file(row)
    }

    /// How many tokens a row has.
    pub fn length(&self, row: u64) -> Result<usize> {
        let (batch, index) = self.set.locate(row)?;
        Ok(batch.column(1).as_list::<i32>().value_length(index) as usize)
    }

    /// The document of a row.
    pub fn id(&self, row: u64) -> Result<[u8; 16]> {
        let (batch, index) = self.set.locate(row)?;
        Ok(batch.column(0).as_fixed_size_binary().value(index).try_into().expect("the column is 16 bytes wide"))
    }

    /// Appends the tokens of a row to `out`.
    pub fn append_tokens(&self, row: u64, out: &mut Vec<i64>) -> Result<()> {
        let (batch, index) = self.set.locate(row)?;
        let list = batch.column(1).as_list::<i32>();
        append(list.values(), list.value_offsets()[index] as usize, list.value_length(index) as usize, out);
        Ok(())
    }

    /// The class of a row of `classify`.
    pub fn label(&self, row: u64) -> Result<i64> {
        let (batch, index) = self.set.locate(row)?;
        match batch.column(2).as_primitive_opt::<Int32Type>() {
            Some(labels) => Ok(i64::from(labels.value(index))),
            None => bail!("these shards have no label: they were made with layout = \"complete\""),
        }
    }

    /// Appends the labels of a row of `complete` to `out`: as many as tokens, -100 on the prompt.
    pub fn append_labels(&self, row: u64, out: &mut Vec<i64>) -> Result<()> {
        let (batch, index) = self.set.locate(row)?;
        let Some(list) = batch.column(2).as_list_opt::<i32>() else {
            bail!("these shards have no labels of tokens: they were made with layout = \"classify\"")
        };
        let range = list.value_offsets()[index] as usize..list.value_offsets()[index + 1] as usize;
        out.extend(list.values().as_primitive::<Int32Type>().values()[range].iter().map(|label| i64::from(*label)));
        Ok(())
    }
}

/// Whether these are the columns of one of the two layouts.
fn is_example(found: &Schema) -> bool {
    let tasks = [Task::Classify, Task::Complete];
    tasks.iter().any(|task| Width::ALL.iter().any(|width| found.fields() == schema(*task, *width).fields()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(task: Task, answer: impl Fn(u32) -> Answer) -> Reader {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let mut writer = Writer::create(&path, task, Width::U32).unwrap();
        for n in 0..2500u32 {
            let tokens = (0..=n % 5).map(|i| 70_000 + n + i).collect();
            writer.push(Example { id: u128::from(n).to_le_bytes(), tokens, answer: answer(n) }).unwrap();
        }
        let reader = Reader::new(&[ShardFile { path, rows: writer.finish().unwrap(), bytes: None }]);
        for n in [2499, 0, 1024, 7] {
            assert_eq!(reader.id(n).unwrap(), u128::from(n).to_le_bytes());
            let mut tokens = Vec::new();
            reader.append_tokens(n, &mut tokens).unwrap();
            assert_eq!(tokens, (0..=n % 5).map(|i| (70_000 + n + i) as i64).collect::<Vec<_>>());
        }
        reader
    }

    #[test]
    fn labels_come_back() {
        let reader = check(Task::Classify, |n| Answer::Label(n as i32 % 3));
        assert_eq!(reader.label(2000).unwrap(), 2);
        let error = reader.append_labels(0, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "these shards have no labels of tokens: they were made with layout = \"classify\"");
    }

    #[test]
    fn the_prompt_has_no_labels() {
        let reader = check(Task::Complete, |n| Answer::PromptLength(n as usize % 2));
        let mut labels = Vec::new();
        reader.append_labels(3, &mut labels).unwrap();
        assert_eq!(labels, [-100, 70_004, 70_005, 70_006]);
    }
}
