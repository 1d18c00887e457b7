//! Slices: groups of rows by the value of an expression, over the predictions' columns or those of the documents they are of.
//!
//! A column's name is read as it stands; anything else is SQL, which the context evaluates.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use engine::{Artifact, Context, Table};

use crate::rows;

/// Values that one expression may have.
const VALUES_MAX: usize = 1000;
const BATCH_ROWS: usize = 8192;

/// The groups of all rows.
#[derive(Debug, Default)]
pub struct Slices {
    /// Expressions as the user wrote them.
    expressions: Vec<String>,
    /// Expression and value of each group.
    groups: Vec<(usize, Option<String>)>,
    index: HashMap<(usize, Option<String>), u32>,
    /// One group a row and expression.
    of_rows: Vec<u32>,
}

impl Slices {
    /// Evaluates expressions for all rows of predictions: over `documents`, joined by id, if there are any.
    pub fn read(ctx: &Context, expressions: &[String], predictions: &Table, documents: Option<&Artifact>) -> Result<Slices> {
        let mut slices = Slices { expressions: expressions.to_vec(), ..Slices::default() };
        if expressions.is_empty() {
            return Ok(slices);
        }
        let Some(documents) = documents else {
            evaluate(ctx, predictions, expressions, |values, _| {
                for row in 0..values.first().map_or(0, Array::len) {
                    let groups = slices.groups_of(&values, row)?;
                    slices.of_rows.extend(groups);
                }
                Ok(())
            })?;
            return Ok(slices);
        };
        let ids = rows::ids(ctx, predictions)?
            .context("predictions have no column `id` by which their documents are found; leave out documents")?;
        let mut wanted: HashMap<&[u8], Option<Vec<u32>>> = ids.iter().map(|id| (id.as_slice(), None)).collect();
        let table = documents.table(documents.main())?;
        evaluate(ctx, &table, expressions, |values, batch| {
            for (row, id) in rows::id_values(batch)?.iter().enumerate() {
                if let Some(found) = wanted.get_mut(id.as_slice()) {
                    *found = Some(slices.groups_of(&values, row)?);
                }
            }
            Ok(())
        })?;
        for (row, id) in ids.iter().enumerate() {
            let groups = wanted.get(id.as_slice()).and_then(Option::as_ref);
            let step = &documents.manifest.step;
            slices
                .of_rows
                .extend(groups.with_context(|| format!("predictions, row {row}: its document is not among those of step `{step}`"))?);
        }
        Ok(slices)
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The groups of a row, counted over all files.
    pub fn of_row(&self, row: usize) -> &[u32] {
        let width = self.expressions.len();
        self.of_rows.get(row * width..(row + 1) * width).unwrap_or_default()
    }

    /// Expression and value of a group.
    pub fn name(&self, group: usize) -> (&str, Option<&str>) {
        let (expression, value) = &self.groups[group];
        (&self.expressions[*expression], value.as_deref())
    }

    /// Groups by expression, then by value.
    pub fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.sort_by_key(|group| &self.groups[*group]);
        order
    }

    /// The rows of a group.
    pub fn rows(&self, group: usize) -> Vec<u32> {
        let width = self.expressions.len().max(1);
        self.of_rows.chunks_exact(width).zip(0..).filter(|(groups, _)| groups.contains(&(group as u32))).map(|(_, row)| row).collect()
    }

    /// The group of a row for each expression, of whose values one is a column.
    fn groups_of(&mut self, values: &[StringArray], row: usize) -> Result<Vec<u32>> {
        let key = |(expression, values): (usize, &StringArray)| (expression, values.is_valid(row).then(|| values.value(row).to_owned()));
        values.iter().enumerate().map(key).map(|key| self.group(key)).collect()
    }

    fn group(&mut self, key: (usize, Option<String>)) -> Result<u32> {
        if let Some(group) = self.index.get(&key) {
            return Ok(*group);
        }
        let (group, name) = (self.groups.len() as u32, &self.expressions[key.0]);
        let values = self.groups.iter().filter(|(expression, _)| *expression == key.0).count();
        ensure!(values < VALUES_MAX, "slices: `{name}` has over {VALUES_MAX} values; cut it into ranges, as in `{name} / 100`");
        self.groups.push(key.clone());
        self.index.insert(key, group);
        Ok(group)
    }
}

/// Gives the values of expressions as texts, batch by batch, with a batch that has the column `id` where the table has it.
fn evaluate(
    ctx: &Context,
    table: &Table,
    expressions: &[String],
    mut sink: impl FnMut(Vec<StringArray>, &RecordBatch) -> Result<()>,
) -> Result<()> {
    let id = table.has_column("id").then_some("id");
    let plain = expressions.iter().all(|expression| table.has_column(expression));
    for file in 0..table.files.len() {
        if plain {
            let columns: Vec<&str> = id.into_iter().chain(expressions.iter().map(String::as_str)).collect();
            for batch in table.read(file, Some(&columns), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let values = expressions.iter().map(|name| texts(name, batch.column_by_name(name))).collect::<Result<_>>()?;
                sink(values, &batch)?;
            }
            continue;
        }
        let name = |index: usize| format!("slice_{index}");
        let named = expressions.iter().enumerate().map(|(index, expression)| (name(index), expression.clone()));
        let select: Vec<(String, String)> = id.map(|id| (id.to_owned(), id.to_owned())).into_iter().chain(named).collect();
        let done = ctx.sql().select(table, file, &select, None, &mut |batch| {
            ctx.check_stop()?;
            let values =
                expressions.iter().enumerate().map(|(index, sql)| texts(sql, batch.column_by_name(&name(index)))).collect::<Result<_>>()?;
            sink(values, &batch)
        });
        done.with_context(|| format!("slices over the table `{}`", table.name))?;
    }
    Ok(())
}

fn texts(expression: &str, column: Option<&ArrayRef>) -> Result<StringArray> {
    let column = column.with_context(|| format!("slices: `{expression}` gives no column"))?;
    let Ok(column) = arrow::compute::cast(column, &DataType::Utf8) else {
        bail!("slices: `{expression}` is {}, which cannot be written as text", column.data_type());
    };
    Ok(column.as_any().downcast_ref::<StringArray>().context("a column of texts")?.clone())
}
