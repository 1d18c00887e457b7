//! The table `steps.examples`: which document each row of examples is of, and how long it is. Shards are mapped and their lengths read: what that
//! takes grows with the rows and not with their tokens.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use engine::{Artifact, Kind, schema};
use shards::ShardFile;
use shards::examples::Reader;

use crate::errors::explain;

/// The columns of the table.
const COLUMNS: [(&str, DataType); 4] =
    [("number", DataType::Int64), ("step", DataType::Utf8), ("document", schema::ID), ("length", DataType::Int64)];

/// One shard of a step.
struct Shard {
    number: i64,
    step: String,
    file: ShardFile,
    /// The columns that hold its tokens.
    lists: &'static [&'static str],
}

/// The rows of all examples. `artifacts` in the order of their numbers.
pub fn table(artifacts: &[(String, Artifact)]) -> Result<Arc<dyn TableProvider>> {
    let mut shards = Vec::new();
    for (number, (step, artifact)) in (1..).zip(artifacts) {
        if artifact.manifest.kind != Kind::Tokens || !artifact.manifest.tables.contains_key("tokens") {
            continue;
        }
        let table = artifact.table("tokens")?;
        if ["id", "tokens"].iter().any(|name| table.schema.index_of(name).is_err()) {
            continue;
        }
        // The labels of a translation are tokens of their own, all others are of the tokens there.
        let target = artifact.fact::<String>("layout").is_ok_and(|layout| layout == "translate");
        let lists: &[&str] = if target { &["tokens", "labels"] } else { &["tokens"] };
        for file in table.files.into_iter().filter(|file| file.rows > 0) {
            let file = ShardFile { path: file.path, rows: file.rows, bytes: Some(file.bytes) };
            shards.push(Shard { number, step: step.clone(), file, lists });
        }
    }
    let schema = SchemaRef::new(Schema::new(COLUMNS.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()));
    let rows = Rows { schema: Arc::clone(&schema), shards: shards.into() };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(rows)]).map_err(explain)?))
}

struct Rows {
    schema: SchemaRef,
    shards: Arc<[Shard]>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "lengths of {} shards", self.shards.len())
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (shards, schema) = (Arc::clone(&self.shards), Arc::clone(&self.schema));
        let batches = (0..shards.len()).flat_map(move |index| {
            let (batches, failed) = match read(&shards[index], &schema) {
                Ok(batches) => (batches, None),
                Err(error) => (Vec::new(), Some(Err(DataFusionError::External(error.into())))),
            };
            batches.into_iter().map(Ok).chain(failed)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

fn read(shard: &Shard, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let batch = |(documents, lengths): (ArrayRef, Vec<i64>)| {
        let rows = lengths.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_value(shard.number, rows)),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&shard.step, rows))),
            documents,
            Arc::new(Int64Array::from(lengths)),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    };
    Reader::new(std::slice::from_ref(&shard.file)).lengths(shard.lists)?.into_iter().map(batch).collect()
}
