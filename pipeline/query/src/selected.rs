//! Tables whose files select rows of other artifacts, as DataFusion sees them: the engine reads, and only the wanted columns.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use engine::Table;

/// A table with selections among its files.
#[derive(Debug)]
pub struct Selected {
    table: Arc<Table>,
    schema: SchemaRef,
}

impl Selected {
    /// `schema` has the columns of the table in the types that plans see.
    pub fn new(table: Table, schema: SchemaRef) -> Selected {
        Selected { table: Arc::new(table), schema }
    }
}

#[async_trait]
impl TableProvider for Selected {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let rows = Rows { table: Arc::clone(&self.table), schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, None, false, limit)?))
    }
}

/// All rows of the table with some of its columns, in their order.
struct Rows {
    table: Arc<Table>,
    schema: SchemaRef,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "rows of `{}`", self.table.name)
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, schema) = (Arc::clone(&self.table), Arc::clone(&self.schema));
        let batch_rows = context.session_config().batch_size();
        let batches =
            (0..table.files.len()).flat_map(move |file| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let (batches, failed) = match table.read(file, Some(&names), batch_rows) {
                    Ok(batches) => (Some(batches), None),
                    Err(error) => (None, Some(Err(error))),
                };
                let schema = Arc::clone(&schema);
                batches.into_iter().flatten().chain(failed).map(move |batch| {
                    batch.and_then(|batch| conform(&batch, &schema)).map_err(|error| DataFusionError::External(error.into()))
                })
            });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

/// The columns in the order and the types of the plan.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
    let column = |field: &Arc<arrow::datatypes::Field>| -> anyhow::Result<ArrayRef> {
        Ok(cast(batch.column(batch.schema().index_of(field.name())?), field.data_type())?)
    };
    let columns = schema.fields().iter().map(column).collect::<anyhow::Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
