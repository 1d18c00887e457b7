//! Slices: groups of rows by the value of an expression, over the predictions' columns or those of the documents they are of.
//!
//! A column's name is read as it stands; anything else is SQL, which the context evaluates. The slice `contaminated` comes of what
//! `decontaminate` found: its group `false` is the test split without contaminated items.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use engine::{Artifact, Context, Kind, Table};

use crate::rows;

/// The slice of what is contaminated.
const CONTAMINATED: &str = "contaminated";
/// Values that one expression may have.
const VALUES_MAX: usize = 1000;
const BATCH_ROWS: usize = 8192;
/// Of fewer rows each may well be a group.
const ROWS_MIN: usize = 20;

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
            slices.advice().iter().for_each(|advice| ctx.warn(advice));
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
        slices.advice().iter().for_each(|advice| ctx.warn(advice));
        Ok(slices)
    }

    /// What to say of expressions that give each row a group of its own: texts rather than groups.
    fn advice(&self) -> Vec<String> {
        let rows = self.of_rows.len() / self.expressions.len().max(1);
        let alone = |expression: usize| self.groups.iter().filter(|(of, _)| *of == expression).count() == rows;
        let of = |(number, name): (usize, &String)| {
            (rows >= ROWS_MIN && alone(number))
                .then(|| format!("slices: each of the {rows} rows has a `{name}` of its own; {}", instead(name)))
        };
        self.expressions.iter().enumerate().filter_map(of).collect()
    }

    /// Adds the slice `contaminated`, from what a step `decontaminate` found; both its groups are there, even without rows.
    pub fn add_contaminated(&mut self, ctx: &Context, predictions: &Table, found: &Artifact) -> Result<()> {
        let ids = rows::ids(ctx, predictions)?
            .context("predictions have no column `id` by which contaminated items are found; leave out contamination")?;
        let marked = contaminated_ids(ctx, found)?;
        let (width, place) = (self.expressions.len(), self.expressions.len());
        self.expressions.push(CONTAMINATED.to_owned());
        let groups = [self.group((place, Some("false".to_owned())))?, self.group((place, Some("true".to_owned())))?];
        let before = std::mem::take(&mut self.of_rows);
        for (row, id) in ids.iter().enumerate() {
            self.of_rows.extend_from_slice(&before[row * width..(row + 1) * width]);
            self.of_rows.push(groups[usize::from(marked.contains(id))]);
        }
        Ok(())
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
        ensure!(values < VALUES_MAX, "slices: `{name}` has over {VALUES_MAX} values; {}", instead(name));
        self.groups.push(key.clone());
        self.index.insert(key, group);
        Ok(group)
    }
}

/// What to slice by in place of an expression with too many values.
fn instead(name: &str) -> String {
    match name {
        "source" => "of texts, `source` is what the model read: the documents' source is `document_source`".to_owned(),
        _ => format!("cut numbers into ranges, as in `{name} / 100`, and texts, as in `length_bucket({name})`"),
    }
}

/// The ids that `decontaminate` marked: of items that documents hold, and of documents that hold items.
fn contaminated_ids(ctx: &Context, found: &Artifact) -> Result<HashSet<Vec<u8>>> {
    let step = &found.manifest.step;
    let documents = found.table(found.main())?;
    let sources = [(found.table("items").ok(), "item_id"), (Some(documents).filter(|table| table.has_column(CONTAMINATED)), "id")];
    let mut marked = HashSet::new();
    let (mut tables, mut without_id) = (0, 0);
    for (table, id) in sources.into_iter().filter_map(|(table, id)| Some((table?, id))) {
        tables += 1;
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&[id, CONTAMINATED]), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let column = |name: &str| batch.column_by_name(name).with_context(|| format!("step `{step}` has no column `{name}`"));
                let ids = arrow::compute::cast(column(id)?, &DataType::Binary)?;
                let flags = column(CONTAMINATED)?
                    .as_boolean_opt()
                    .with_context(|| format!("step `{step}`: column `{CONTAMINATED}` is no truth value"))?;
                for (id, flag) in ids.as_binary::<i32>().iter().zip(flags) {
                    match id.filter(|_| flag == Some(true)) {
                        Some(id) => drop(marked.insert(id.to_vec())),
                        None => without_id += u64::from(flag == Some(true)),
                    }
                }
            }
        }
    }
    ensure!(
        tables > 0,
        "contamination: step `{step}` has neither the table `items` nor a column `{CONTAMINATED}`; name a step `decontaminate`"
    );
    ensure!(without_id == 0, "contamination: {without_id} contaminated items of step `{step}` have no id; let `mill run` make them again");
    Ok(marked)
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
        let missing = " (columns of the documents, such as `text`, are there with inputs = { documents = \"STEP\" })";
        let hint = if table.name == Kind::Predictions.main_table() { missing } else { "" };
        done.with_context(|| format!("slices over the table `{}`{hint}", table.name))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_groups() {
        let slices = |rows: u32| {
            let mut slices = Slices { expressions: vec!["language".into(), "source".into()], ..Slices::default() };
            for row in 0..rows {
                let keys = [(0, (row % 2).to_string()), (1, format!("text {row}"))];
                let groups = keys.map(|(expression, value)| slices.group((expression, Some(value))).unwrap());
                slices.of_rows.extend(groups);
            }
            slices
        };
        assert_eq!(slices(19).advice(), Vec::<String>::new());
        let advice = "of texts, `source` is what the model read: the documents' source is `document_source`";
        assert_eq!(slices(20).advice(), [format!("slices: each of the 20 rows has a `source` of its own; {advice}")]);
        let mut many = slices(1000);
        let error = many.group((1, Some("one more".into()))).unwrap_err().to_string();
        assert_eq!(error, format!("slices: `source` has over 1000 values; {advice}"));
        assert!(instead("title").ends_with("as in `length_bucket(title)`"));
    }
}
