//! The examples layouts: a row is a text, a pair of texts, a window of a text or a prompt, with what it is to be answered with.
//!
//! Columns: `id`, `tokens` List, then those of the layout, none of them null. The layouts of `tokenize` have
//! - `classify`: `label` Int32 (index into the sorted classes), List<Int32> (several of them) or Float64 (a number);
//! - `complete`: `labels` List<Int32>: at each position of the target and its end the token itself, -100 on the prompt. They are not shifted: the
//!   label of a position is what the model must say one position earlier;
//! - `tag`: `labels` List<Int32> (class of each token or -100) and `words` List<Int32> (number of the word of each token or -1);
//! - `answer`: `has_answer`, `start_token`, `end_token` (its last; both 0 without an answer), `start` (of the window, in tokens of the context),
//!   `starts` and `ends` List<Int32> (characters of the context that each token stands for, -1 elsewhere);
//! - `translate`: `labels` List<Int32>, the tokens of the target;
//! - `pairs`: `label` Int32 (0: the second segment follows the first) and `other`, the document of the second segment.
//!
//! `segments` List<UInt8> stands wherever a row holds two texts: 0 for the tokens of the first, 1 for those of the second. `weight` Float64 is what
//! the row counts in the loss, where documents have weights.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, ListArray, RecordBatch, UInt8Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema, SchemaRef, UInt8Type};

use crate::shard::{ShardFile, ShardSet, ShardWriter};
use crate::tokens::{Width, append, tokens_type};

const BATCH_ROWS: usize = 1024;
/// The column of weights, of the kind [`Kind::Float64`].
pub const WEIGHT: &str = "weight";

/// The type of a column beside `id` and `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Id,
    Int32,
    Float64,
    Boolean,
    Int32s,
    UInt8s,
}

/// A column beside `id` and `tokens`.
pub type Column = (&'static str, Kind);

/// What a row holds in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Id([u8; 16]),
    Int32(i32),
    Float64(f64),
    Boolean(bool),
    Int32s(Vec<i32>),
    UInt8s(Vec<u8>),
}

/// One row; values in the order of the shard's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub id: [u8; 16],
    pub tokens: Vec<u32>,
    pub values: Vec<Value>,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Id, Kind::Int32, Kind::Float64, Kind::Boolean, Kind::Int32s, Kind::UInt8s];

    fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, false)));
        match self {
            Kind::Id => DataType::FixedSizeBinary(16),
            Kind::Int32 => DataType::Int32,
            Kind::Float64 => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
            Kind::Int32s => list(DataType::Int32),
            Kind::UInt8s => list(DataType::UInt8),
        }
    }

    /// The values of one column as an array; `None` if one is of another kind.
    fn array<'a>(self, values: impl Iterator<Item = &'a Value> + Clone) -> Result<Option<ArrayRef>> {
        macro_rules! all {
            ($kind:ident) => {
                values.map(|value| if let Value::$kind(value) = value { Some(value) } else { None }).collect::<Option<Vec<_>>>()
            };
        }
        fn list<T: Copy>(kind: Kind, rows: Vec<&Vec<T>>, array: impl Fn(Vec<T>) -> ArrayRef) -> Result<ArrayRef> {
            let DataType::List(item) = kind.data_type() else { bail!("{kind:?} holds no lists") };
            let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.len()));
            Ok(Arc::new(ListArray::try_new(item, lengths, array(rows.into_iter().flatten().copied().collect()), None)?))
        }
        let array: Option<ArrayRef> = match self {
            Kind::Id => all!(Id).map(|ids| FixedSizeBinaryArray::try_from_iter(ids.into_iter())).transpose()?.map(|ids| Arc::new(ids) as _),
            Kind::Int32 => all!(Int32).map(|all| Arc::new(Int32Array::from_iter_values(all.into_iter().copied())) as _),
            Kind::Float64 => all!(Float64).map(|all| Arc::new(Float64Array::from_iter_values(all.into_iter().copied())) as _),
            Kind::Boolean => all!(Boolean).map(|all| Arc::new(BooleanArray::from_iter(all.into_iter().map(|value| Some(*value)))) as _),
            Kind::Int32s => all!(Int32s).map(|rows| list(self, rows, |all| Arc::new(Int32Array::from(all)))).transpose()?,
            Kind::UInt8s => all!(UInt8s).map(|rows| list(self, rows, |all| Arc::new(UInt8Array::from(all)))).transpose()?,
        };
        Ok(array)
    }
}

/// The schema of example shards.
pub fn schema(columns: &[Column], width: Width) -> SchemaRef {
    let first = [Field::new("id", DataType::FixedSizeBinary(16), false), Field::new("tokens", DataType::List(tokens_type(width)), false)];
    let more = columns.iter().map(|(name, kind)| Field::new(*name, kind.data_type(), false));
    Arc::new(Schema::new(first.into_iter().chain(more).collect::<Vec<_>>()))
}

/// Writes one shard of examples.
pub struct Writer {
    columns: Vec<Column>,
    width: Width,
    schema: SchemaRef,
    shard: ShardWriter,
    pending: Vec<Example>,
    rows: u64,
}

impl Writer {
    pub fn create(path: &Path, columns: &[Column], width: Width) -> Result<Writer> {
        let schema = schema(columns, width);
        let shard = ShardWriter::create(path, &schema)?;
        Ok(Writer { columns: columns.to_vec(), width, schema, shard, pending: Vec::new(), rows: 0 })
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

    /// Writes the rest; returns the number of rows.
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
        if let Some(row) = rows.iter().find(|row| row.values.len() != self.columns.len()) {
            bail!("an example has {} values, its shard {} columns", row.values.len(), self.columns.len());
        }
        let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(rows.iter().map(|row| row.id))?);
        let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.tokens.len()));
        let mut more = Vec::new();
        for (place, (name, kind)) in self.columns.iter().enumerate() {
            let values = kind.array(rows.iter().map(|row| &row.values[place]))?;
            more.push(values.with_context(|| format!("an example has another type than {kind:?} in the column `{name}`"))?);
        }
        let all: Vec<u32> = rows.into_iter().flat_map(|row| row.tokens).collect();
        let tokens: ArrayRef = Arc::new(ListArray::try_new(tokens_type(self.width), lengths, self.width.array(all), None)?);
        let columns = [ids, tokens].into_iter().chain(more).collect();
        self.shard.write(&RecordBatch::try_new(self.schema.clone(), columns)?)
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

    /// The documents of each batch of rows, and how many values every row has in these columns of lists. The values themselves are not read.
    pub fn lengths(&self, lists: &[&str]) -> Result<Vec<(ArrayRef, Vec<i64>)>> {
        let batch = |batch: &RecordBatch| {
            let mut lengths = vec![0; batch.num_rows()];
            for name in lists {
                let list = batch.column_by_name(name).and_then(|column| column.as_list_opt::<i32>());
                let offsets = list.with_context(|| format!("these shards have no lists in a column `{name}`"))?.value_offsets();
                lengths.iter_mut().zip(offsets.windows(2)).for_each(|(length, ends)| *length += i64::from(ends[1] - ends[0]));
            }
            Ok((Arc::clone(batch.column(0)), lengths))
        };
        self.set.batches()?.into_iter().map(batch).collect()
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

    /// What a row holds in a column beside `id` and `tokens`.
    pub fn value(&self, row: u64, name: &str) -> Result<Value> {
        let (array, index) = self.column(row, name)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.data_type() == *array.data_type());
        let inner = |array: &ArrayRef| array.as_list::<i32>().value(index);
        Ok(match kind.with_context(|| format!("the column `{name}` is of the type {}", array.data_type()))? {
            Kind::Id => Value::Id(array.as_fixed_size_binary().value(index).try_into().expect("the column is 16 bytes wide")),
            Kind::Int32 => Value::Int32(array.as_primitive::<Int32Type>().value(index)),
            Kind::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(index)),
            Kind::Boolean => Value::Boolean(array.as_boolean().value(index)),
            Kind::Int32s => Value::Int32s(inner(array).as_primitive::<Int32Type>().values().to_vec()),
            Kind::UInt8s => Value::UInt8s(inner(array).as_primitive::<UInt8Type>().values().to_vec()),
        })
    }

    /// What a row counts in the loss; `None` where the shard has no weights.
    pub fn weight(&self, row: u64) -> Result<Option<f64>> {
        let (batch, index) = self.set.locate(row)?;
        Ok(batch.column_by_name(WEIGHT).and_then(|weights| weights.as_primitive_opt::<Float64Type>()).map(|weights| weights.value(index)))
    }

    /// The class of a row.
    pub fn label(&self, row: u64) -> Result<i64> {
        let (array, index) = self.column(row, "label")?;
        match array.as_primitive_opt::<Int32Type>() {
            Some(labels) => Ok(i64::from(labels.value(index))),
            None => bail!("these shards have no class for each row: their labels are of the type {}", array.data_type()),
        }
    }

    /// Appends the labels of a row's tokens to `out`.
    pub fn append_labels(&self, row: u64, out: &mut Vec<i64>) -> Result<()> {
        let (array, index) = self.column(row, "labels")?;
        let Some(list) = array.as_list_opt::<i32>() else { bail!("the column `labels` is of the type {}", array.data_type()) };
        let range = list.value_offsets()[index] as usize..list.value_offsets()[index + 1] as usize;
        out.extend(list.values().as_primitive::<Int32Type>().values()[range].iter().map(|label| i64::from(*label)));
        Ok(())
    }

    fn column(&self, row: u64, name: &str) -> Result<(&ArrayRef, usize)> {
        let (batch, index) = self.set.locate(row)?;
        let array = batch.column_by_name(name).with_context(|| {
            let names: Vec<String> = batch.schema().fields().iter().map(|field| format!("`{}`", field.name())).collect();
            format!("these shards have no column `{name}`; columns: {}", names.join(", "))
        })?;
        Ok((array, index))
    }
}

/// Whether the columns are `id`, `tokens` and any others that examples may have.
fn is_example(found: &Schema) -> bool {
    let Some((first, more)) = found.fields().split_at_checked(2) else { return false };
    let known = |kind: &DataType| Kind::ALL.iter().any(|ours| ours.data_type() == *kind);
    Width::ALL.iter().any(|width| *first == schema(&[], *width).fields()[..])
        && more.iter().all(|field| !field.is_nullable() && known(field.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: &[Column], values: impl Fn(u32) -> Vec<Value>) -> Reader {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let mut writer = Writer::create(&path, columns, Width::U32).unwrap();
        for n in 0..2500u32 {
            let tokens = (0..=n % 5).map(|i| 70_000 + n + i).collect();
            writer.push(Example { id: u128::from(n).to_le_bytes(), tokens, values: values(n) }).unwrap();
        }
        let reader = Reader::new(&[ShardFile { path, rows: writer.finish().unwrap(), bytes: None }]);
        for n in [2499, 0, 1024, 7] {
            assert_eq!(reader.id(n).unwrap(), u128::from(n).to_le_bytes());
            let mut tokens = Vec::new();
            reader.append_tokens(n, &mut tokens).unwrap();
            assert_eq!(tokens, (0..=n % 5).map(|i| (70_000 + n + i) as i64).collect::<Vec<_>>());
            for ((name, _), value) in columns.iter().zip(values(n as u32)) {
                assert_eq!(reader.value(n, name).unwrap(), value);
            }
        }
        reader
    }

    #[test]
    fn values_of_every_kind_come_back() {
        let columns = [
            ("other", Kind::Id),
            ("label", Kind::Int32),
            ("score", Kind::Float64),
            ("has_answer", Kind::Boolean),
            ("labels", Kind::Int32s),
            ("segments", Kind::UInt8s),
        ];
        let reader = check(&columns, |n| {
            vec![
                Value::Id([n as u8; 16]),
                Value::Int32(n as i32 % 3),
                Value::Float64(f64::from(n) / 4.0),
                Value::Boolean(n % 3 == 0),
                Value::Int32s((0..n as i32 % 4).map(|i| i - 100).collect()),
                Value::UInt8s(vec![1; n as usize % 2]),
            ]
        });
        assert_eq!(reader.label(2000).unwrap(), 2);
        let mut labels = Vec::new();
        reader.append_labels(7, &mut labels).unwrap();
        assert_eq!(labels, [-100, -99, -98]);
        let lengths = reader.lengths(&["tokens", "labels"]).unwrap();
        assert_eq!(
            lengths.iter().map(|(ids, lengths)| (ids.len(), lengths.len())).collect::<Vec<_>>(),
            [(1024, 1024), (1024, 1024), (452, 452)]
        );
        let (ids, lengths) = &lengths[1];
        assert_eq!(ids.as_fixed_size_binary().value(3), u128::from(1027u32).to_le_bytes());
        assert_eq!(lengths[..4], [5, 1 + 1, 2 + 2, 3 + 3]);
        assert_eq!(reader.lengths(&["tokens", "words"]).unwrap_err().to_string(), "these shards have no lists in a column `words`");
        let error = reader.value(0, "words").unwrap_err().to_string();
        assert!(error.starts_with("these shards have no column `words`; columns: `id`, `tokens`, `other`"), "{error}");
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let finish = |values: Vec<Value>| {
            let mut writer = Writer::create(&path, &[("label", Kind::Int32)], Width::U16).unwrap();
            writer.push(Example { id: [0; 16], tokens: vec![1], values }).unwrap();
            writer.finish().unwrap_err().to_string()
        };
        assert_eq!(finish(vec![Value::Float64(1.0)]), "an example has another type than Int32 in the column `label`");
        assert_eq!(finish(vec![]), "an example has 0 values, its shard 1 columns");
    }
}
