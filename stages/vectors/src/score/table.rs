//! The tables of `score-vectors`.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::schema;
use judgements::{Pair, Question};

/// A number, or why there is none.
pub(crate) struct Score {
    pub(crate) metric: &'static str,
    /// The file, if there are several, and the section.
    pub(crate) class: Option<String>,
    pub(crate) value: Result<f64, String>,
    pub(crate) count: u64,
}

fn strings<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn fields(names: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|(name, of, nullable)| Field::new(*name, of.clone(), *nullable)).collect::<Vec<_>>()))
}

pub(crate) fn scores(system: &str, scores: &[Score], signature: &str) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        strings(scores.iter().map(|_| system)),
        strings(scores.iter().map(|score| score.metric)),
        Arc::new(StringArray::from_iter(scores.iter().map(|score| score.class.as_deref()))),
        Arc::new(Float64Array::from_iter(scores.iter().map(|score| score.value.as_ref().ok().copied()))),
        Arc::new(StringArray::from_iter(scores.iter().map(|score| score.value.as_ref().err()))),
        Arc::new(Int64Array::from_iter_values(scores.iter().map(|score| score.count as i64))),
        strings(scores.iter().map(|_| signature)),
    ];
    Ok(RecordBatch::try_new(schema::scores(), columns)?)
}

/// One row per pair; `cosine` is null where a word has no vector.
pub(crate) fn similarity_schema() -> SchemaRef {
    let text = || DataType::Utf8;
    let cosine = ("cosine", DataType::Float64, true);
    fields(&[
        ("system", text(), false),
        ("file", text(), false),
        ("word1", text(), false),
        ("word2", text(), false),
        ("gold", DataType::Float64, false),
        cosine,
    ])
}

pub(crate) fn similarity(system: &str, file: &str, pairs: &[Pair], cosines: &[Option<f64>]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        strings(pairs.iter().map(|_| system)),
        strings(pairs.iter().map(|_| file)),
        strings(pairs.iter().map(|pair| pair.words[0].as_str())),
        strings(pairs.iter().map(|pair| pair.words[1].as_str())),
        Arc::new(Float64Array::from_iter_values(pairs.iter().map(|pair| pair.gold))),
        Arc::new(Float64Array::from_iter(cosines.iter().copied())),
    ];
    Ok(RecordBatch::try_new(similarity_schema(), columns)?)
}

/// One row per question; `predicted` and `correct` are null where a word has no vector.
pub(crate) fn analogies_schema() -> SchemaRef {
    let names = ["system", "file", "section", "a", "b", "c", "expected"].map(|name| (name, DataType::Utf8, false));
    fields(&[&names[..], &[("predicted", DataType::Utf8, true), ("correct", DataType::Boolean, true)]].concat())
}

/// `answers`: the predicted word and whether it is right.
pub(crate) fn analogies(system: &str, file: &str, questions: &[Question], answers: &[Option<(&str, bool)>]) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = vec![
        strings(questions.iter().map(|_| system)),
        strings(questions.iter().map(|_| file)),
        strings(questions.iter().map(|question| question.section.as_str())),
    ];
    columns.extend((0..3).map(|n| strings(questions.iter().map(|question| question.given[n].as_str()))));
    columns.push(strings(questions.iter().map(|question| question.expected.as_str())));
    columns.push(Arc::new(StringArray::from_iter(answers.iter().map(|answer| answer.map(|(word, _)| word)))));
    columns.push(Arc::new(BooleanArray::from_iter(answers.iter().map(|answer| answer.map(|(_, right)| right)))));
    Ok(RecordBatch::try_new(analogies_schema(), columns)?)
}
