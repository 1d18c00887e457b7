//! Reading documents: several artifacts as one corpus, and where each document comes from.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use engine::{Artifact, Part, Table};

use crate::rejects::Reject;

/// The documents of one or more artifacts, one part per file, in order of the artifacts.
pub struct Corpus {
    /// All columns of all artifacts; one that an artifact does not have is null there.
    pub schema: SchemaRef,
    parts: Vec<(Arc<Table>, usize)>,
    /// Which artifact each part is of.
    inputs: Vec<usize>,
}

impl Corpus {
    /// Fails when two artifacts have a column of the same name and different types.
    pub fn of(artifacts: &[&Artifact]) -> Result<Corpus> {
        let tables = artifacts.iter().map(|artifact| Ok(Arc::new(artifact.table("documents")?))).collect::<Result<Vec<_>>>()?;
        let mut fields: Vec<Field> = Vec::new();
        for (table, artifact) in tables.iter().zip(artifacts) {
            for field in table.schema.fields() {
                match fields.iter().find(|known| known.name() == field.name()) {
                    Some(known) if known.data_type() != field.data_type() => bail!(
                        "column `{}` is {} in step `{}` and {} in another input; name one of them otherwise",
                        field.name(),
                        field.data_type(),
                        artifact.manifest.step,
                        known.data_type()
                    ),
                    Some(_) => {}
                    None => fields.push(field.as_ref().clone()),
                }
            }
        }
        let everywhere =
            |field: &Field| tables.iter().all(|table| table.schema.field_with_name(field.name()).is_ok_and(|f| !f.is_nullable()));
        let fields: Vec<Field> =
            fields.into_iter().map(|field| Field::new(field.name(), field.data_type().clone(), !everywhere(&field))).collect();
        let parts = tables.iter().flat_map(|table| (0..table.files.len()).map(|file| (table.clone(), file))).collect();
        let inputs = tables.iter().enumerate().flat_map(|(input, table)| vec![input; table.files.len()]).collect();
        Ok(Corpus { schema: Arc::new(Schema::new(fields)), parts, inputs })
    }

    /// The artifact that a part is of, by its place among the inputs.
    pub fn input(&self, part: usize) -> usize {
        self.inputs[part]
    }

    pub fn plan(&self) -> Vec<Part> {
        self.parts.iter().map(|(table, file)| Part { bytes: table.files[*file].bytes }).collect()
    }

    /// The table and the file that hold a part.
    pub fn file(&self, part: usize) -> (&Table, usize) {
        let (table, file) = &self.parts[part];
        (table, *file)
    }

    /// The rows of a part with all columns of the corpus.
    pub fn read(&self, part: usize, batch_rows: usize) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let (table, file) = self.file(part);
        Ok(table.read(file, None, batch_rows)?.map(|batch| {
            let batch = batch?;
            let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
                Some(column) => column.clone(),
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            let columns: Vec<ArrayRef> = self.schema.fields().iter().map(column).collect();
            Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
        }))
    }
}

/// The columns of a batch that tell where its documents come from.
pub struct Provenance<'a> {
    pub ids: &'a FixedSizeBinaryArray,
    sources: &'a StringArray,
    paths: &'a StringArray,
    positions: &'a Int64Array,
    lines: &'a Int64Array,
}

impl<'a> Provenance<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Provenance<'a>> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"));
        Ok(Provenance {
            ids: column("id")?.as_fixed_size_binary(),
            sources: column("source")?.as_string(),
            paths: column("path")?.as_string(),
            positions: column("position")?.as_primitive::<Int64Type>(),
            lines: column("line")?.as_primitive::<Int64Type>(),
        })
    }

    pub fn id(&self, row: usize) -> [u8; 16] {
        id_at(self.ids, row)
    }

    /// A reject of the document in `row`, its rule still to be named.
    pub fn reject(&self, row: usize) -> Reject<'a> {
        Reject {
            id: Some(self.id(row)),
            source: self.sources.value(row),
            path: self.paths.value(row),
            position: self.positions.value(row),
            line: self.lines.is_valid(row).then(|| self.lines.value(row)),
            ..Reject::default()
        }
    }
}

/// The values of a column as text; ids in hexadecimal.
pub fn texts(column: &ArrayRef) -> Result<StringArray> {
    if let Some(ids) = column.as_fixed_size_binary_opt() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        return Ok(ids.iter().map(|id| id.map(hex)).collect());
    }
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

pub fn id_at(ids: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
    ids.value(row).try_into().expect("ids have 16 bytes")
}
