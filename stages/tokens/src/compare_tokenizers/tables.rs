//! The tables of a comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::schema;

use super::{Counts, Group, Score, ratio};

/// Rows of `texts` for one tokenizer, by language and source.
pub(super) fn texts(name: &str, index: usize, groups: &BTreeMap<Group, Counts>) -> Result<RecordBatch> {
    let count = |value: &dyn Fn(&Counts) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(groups.values().map(value))) };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name; groups.len()])),
        Arc::new(StringArray::from_iter(groups.keys().map(|(language, _)| language.as_deref()))),
        Arc::new(StringArray::from_iter_values(groups.keys().map(|(_, source)| source))),
        count(&|counts| counts.documents),
        count(&|counts| counts.words),
        count(&|counts| counts.characters),
        count(&|counts| counts.bytes),
        count(&|counts| counts.tokens[index]),
        count(&|counts| counts.unknown[index]),
        count(&|counts| counts.continued[index]),
    ];
    for metric in 0..Counts::new(1).ratios(0).len() {
        let values = groups.values().map(|counts| {
            let (_, over, under, _) = counts.ratios(index)[metric];
            ratio(over, under)
        });
        columns.push(Arc::new(Float64Array::from_iter(values)));
    }
    Ok(RecordBatch::try_new(texts_schema(), columns)?)
}

pub(super) fn texts_schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("tokenizer", DataType::Utf8, false),
        Field::new("language", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, false),
    ];
    fields.extend(
        ["documents", "words", "characters", "bytes", "tokens", "unknown", "continued"]
            .map(|name| Field::new(name, DataType::Int64, false)),
    );
    fields.extend(Counts::new(1).ratios(0).map(|(metric, ..)| Field::new(metric, DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

pub(super) fn vocabularies_schema() -> SchemaRef {
    let mut fields = vec![Field::new("tokenizer", DataType::Utf8, false)];
    fields.extend(["tokens", "special", "used", "unused"].map(|name| Field::new(name, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

pub(super) fn unused_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("tokenizer", DataType::Utf8, false),
        Field::new("id", DataType::Int64, false),
        Field::new("token", DataType::Utf8, false),
    ]))
}

pub(super) fn unused_batch(name: &str, unused: &[&(u32, String, bool)]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name; unused.len()])),
        Arc::new(Int64Array::from_iter_values(unused.iter().map(|(id, _, _)| i64::from(*id)))),
        Arc::new(StringArray::from_iter_values(unused.iter().map(|(_, token, _)| token))),
    ];
    Ok(RecordBatch::try_new(unused_schema(), columns)?)
}

pub(super) fn scores_batch(scores: &[Score], signature: &str) -> Result<RecordBatch> {
    let value = |score: &Score| ratio(score.over, score.under);
    let reason = |score: &Score| (score.under == 0).then(|| format!("there are no {}", score.what));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(scores.iter().map(|score| score.system))),
        Arc::new(StringArray::from_iter_values(scores.iter().map(|score| score.metric))),
        arrow::array::new_null_array(&DataType::Utf8, scores.len()),
        Arc::new(Float64Array::from_iter(scores.iter().map(value))),
        Arc::new(StringArray::from_iter(scores.iter().map(reason))),
        Arc::new(Int64Array::from_iter_values(scores.iter().map(|score| score.under))),
        Arc::new(StringArray::from(vec![signature; scores.len()])),
    ];
    Ok(RecordBatch::try_new(schema::scores(), columns)?)
}
