//! The closed set of artifact kinds and the Arrow schema of every table that the engine promises.
//!
//! Documents may carry further columns (the user's after `text`, signals after `extra`); what stands here is the part all share.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an artifact holds. Ports are typed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Documents,
    Tokenizer,
    Tokens,
    Model,
    Vectors,
    Predictions,
    Scores,
}

impl Kind {
    /// The name in messages and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Documents => "documents",
            Kind::Tokenizer => "tokenizer",
            Kind::Tokens => "tokens",
            Kind::Model => "model",
            Kind::Vectors => "vectors",
            Kind::Predictions => "predictions",
            Kind::Scores => "scores",
        }
    }

    /// What a row of the main table is, in messages.
    pub fn rows_name(self) -> &'static str {
        match self {
            Kind::Tokenizer => "tokens",
            Kind::Tokens => "rows",
            Kind::Model => "tensors",
            kind => kind.name(),
        }
    }

    /// The table that bears the step's name in SQL.
    pub fn main_table(self) -> &'static str {
        match self {
            Kind::Documents => "documents",
            Kind::Tokenizer => "vocabulary",
            Kind::Tokens => "tokens",
            Kind::Model => "parameters",
            Kind::Vectors => "vectors",
            Kind::Predictions => "predictions",
            Kind::Scores => "scores",
        }
    }
}

/// Ids and content hashes: the first 16 bytes of a BLAKE3 hash.
pub const ID: DataType = DataType::FixedSizeBinary(16);

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// `documents` as `import` writes it: the fixed columns, the user's columns after `text`, then `extra`.
pub fn documents(user_columns: &[Field]) -> SchemaRef {
    let mut fields = vec![
        Field::new("id", ID, false),
        Field::new("content_hash", ID, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("position", DataType::Int64, false),
        Field::new("line", DataType::Int64, true),
        Field::new("text", DataType::Utf8, false),
    ];
    fields.extend_from_slice(user_columns);
    fields.push(Field::new("extra", DataType::Utf8, true));
    schema(fields)
}

/// One row per rejected record: where it came from, which rule rejected it and by how much.
pub fn rejects() -> SchemaRef {
    schema(vec![
        Field::new("id", ID, true),
        Field::new("source", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("position", DataType::Int64, false),
        Field::new("line", DataType::Int64, true),
        Field::new("stage", DataType::Utf8, false),
        Field::new("rule", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("threshold", DataType::Float64, true),
        Field::new("matched_id", ID, true),
        Field::new("similarity", DataType::Float64, true),
        Field::new("detail", DataType::Utf8, true),
    ])
}

/// What each rewrite took from each document. `bytes_removed` is negative where a rewrite added bytes.
pub fn edits() -> SchemaRef {
    schema(vec![
        Field::new("id", ID, false),
        Field::new("rewrite", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
        Field::new("bytes_removed", DataType::Int64, false),
    ])
}

/// Members of duplicate clusters of two or more documents; `cluster_id` is the survivor's id.
pub fn clusters() -> SchemaRef {
    schema(vec![
        Field::new("id", ID, false),
        Field::new("cluster_id", ID, false),
        Field::new("size", DataType::Int64, false),
        Field::new("similarity", DataType::Float64, false),
        Field::new("kept", DataType::Boolean, false),
    ])
}

/// The vocabulary of a tokenizer.
pub fn vocabulary() -> SchemaRef {
    schema(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("token", DataType::Utf8, false),
        Field::new("special", DataType::Boolean, false),
    ])
}

/// What a stage took of each source: documents and bytes of text there were, and those it took.
pub fn sample() -> SchemaRef {
    schema(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("documents", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("taken_documents", DataType::Int64, false),
        Field::new("taken_bytes", DataType::Int64, false),
    ])
}

/// One row per metric, system and class. `value` is null with a `reason` where the metric is undefined.
pub fn scores() -> SchemaRef {
    schema(vec![
        Field::new("system", DataType::Utf8, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("class", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
        Field::new("reason", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
        Field::new("signature", DataType::Utf8, false),
    ])
}
