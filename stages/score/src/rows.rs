//! Reads predictions as rows of metrics, streaming, and refuses bad ones: a score over half of the rows is a wrong score.
//! Every error names the file and the row, counted from 0. Only the columns that metrics need are read.

mod classes;
mod likelihoods;
mod texts;

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, new_empty_array};
use arrow::compute::concat;
use engine::{Context, Table, list, suggest};
use rayon::prelude::*;

use crate::metrics::{self, Kind, Options};
use crate::words::Numbers;

/// Rows read at once.
const BATCH_ROWS: usize = 8192;

/// Predictions that can be read.
pub trait Reads: Kind {
    /// The system beside the model whose rows are read with the model's.
    const BASELINE: Option<&'static str> = None;

    /// Whether predictions tell of that system.
    fn has_baseline(_: &Table) -> bool {
        true
    }

    /// The columns to read.
    fn columns(table: &Table) -> Vec<&'static str>;

    /// The rows of a batch.
    fn read<'a>(batch: &'a Batch, known: &Known) -> Result<Rows<Self::Row<'a>>>;
}

/// Rows of the model and, where there is a baseline, its rows for the same inputs.
pub struct Rows<R> {
    pub model: Vec<R>,
    pub baseline: Vec<R>,
}

impl<R> Rows<R> {
    fn of_model(model: Vec<R>) -> Rows<R> {
        Rows { model, baseline: Vec::new() }
    }
}

/// Reads all rows of a table.
pub fn read<K: Reads>(ctx: &Context, table: &Table, options: &Options, mut sink: impl FnMut(Rows<K::Row<'_>>) + Send) -> Result<()> {
    let (known, columns) = (Known::new(options), K::columns(table));
    each_batch(ctx, table, &columns, |batch| {
        sink(K::read(batch, &known)?);
        Ok(())
    })
}

/// Refuses tags that are of no scheme, or not of the one that is asked for, by the first row that has such a tag.
pub fn check_tags(ctx: &Context, table: &Table, options: &Options) -> Result<()> {
    let Err(error) = metrics::check_tags(options) else { return Ok(()) };
    let alone = |class: &String| Options { classes: vec![class.clone()], ..options.clone() };
    let wrong = options.classes.iter().find(|class| metrics::check_tags(&alone(class)).is_err());
    let mut place = None;
    each_batch(ctx, table, &["gold", "prediction"], |batch| {
        for row in 0..if place.is_none() { batch.len() } else { 0 } {
            let has =
                |name: &'static str| Ok::<_, anyhow::Error>(batch.list(name)?(row)?.any(|tag| wrong.is_some_and(|wrong| wrong == tag)));
            if has("gold")? || has("prediction")? {
                place = Some(batch.place(row));
                break;
            }
        }
        Ok(())
    })?;
    Err(place.map_or_else(|| anyhow!("{error}"), |place| anyhow!("{place}: {error}")))
}

/// The ids of all rows; none where predictions have no ids.
pub fn ids(ctx: &Context, table: &Table) -> Result<Option<Vec<Vec<u8>>>> {
    if !table.has_column("id") {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(table.rows as usize);
    each_batch(ctx, table, &["id"], |batch| {
        ids.extend(id_values(&batch.rows)?);
        Ok(())
    })?;
    Ok(Some(ids))
}

/// The first row in which a column of two tables differs.
pub fn first_difference(ctx: &Context, tables: [&Table; 2], name: &str) -> Result<Option<usize>> {
    let column = |table: &Table| -> Result<ArrayRef> {
        let mut columns = vec![new_empty_array(table.schema.field(table.column(name)?).data_type())];
        each_batch(ctx, table, &[name], |batch| {
            columns.push(batch.rows.column(0).clone());
            Ok(())
        })?;
        Ok(concat(&columns.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
    };
    let [ours, theirs] = [column(tables[0])?, column(tables[1])?];
    if ours.as_ref() == theirs.as_ref() {
        return Ok(None);
    }
    Ok((0..ours.len().min(theirs.len())).find(|row| ours.slice(*row, 1).as_ref() != theirs.slice(*row, 1).as_ref()))
}

/// The column `id` of a batch.
pub fn id_values(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let column = rows.column_by_name("id").context("there is no column `id`")?;
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Binary).context("column `id`")?;
    let column = column.as_any().downcast_ref::<arrow::array::BinaryArray>().context("column `id` is no id")?;
    Ok(column.iter().map(|id| id.unwrap_or_default().to_vec()).collect())
}

/// What is known of predictions before they are read: the metrics' options, and the classes by name.
pub struct Known<'a> {
    options: &'a Options,
    index: Numbers<'a>,
}

impl Known<'_> {
    fn new(options: &Options) -> Known<'_> {
        Known { options, index: options.classes.iter().enumerate().map(|(index, name)| (name.as_str(), index as u32)).collect() }
    }

    /// The index of a label; an error that lists the classes.
    fn class(&self, batch: &Batch, row: usize, column: &str, label: &str) -> Result<u32> {
        self.index.get(label).copied().with_context(|| {
            let names = || self.options.classes.iter().map(String::as_str);
            format!("{}: `{column}` is `{label}`{}; classes: {}", batch.place(row), suggest(label, names()), list(names()))
        })
    }
}

/// A batch and where it comes from.
pub struct Batch {
    rows: RecordBatch,
    file: String,
    /// Row of the file with which the batch begins.
    first: usize,
}

impl Batch {
    fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn has(&self, name: &str) -> bool {
        self.rows.column_by_name(name).is_some()
    }

    fn place(&self, row: usize) -> String {
        format!("`{}`, row {}", self.file, self.first + row)
    }

    fn column<A: Array + 'static>(&self, name: &str) -> Result<&A> {
        let column = self.rows.column_by_name(name).with_context(|| format!("`{}` has no column `{name}`", self.file))?;
        let expected = || match std::any::type_name::<A>() {
            name if name.contains("ListArray") => "a list",
            name if name.contains("StringType") => "text",
            name if name.contains("Int64") => "Int64",
            _ => "Float64",
        };
        let typed = column.as_any().downcast_ref::<A>();
        typed.with_context(|| format!("`{}`: column `{name}` is {}, not {}", self.file, column.data_type(), expected()))
    }

    /// All values of a column without nulls.
    fn strings(&self, name: &str) -> Result<Vec<&str>> {
        let column: &StringArray = self.column(name)?;
        (0..column.len()).map(|row| self.known(name, column, row).map(|()| column.value(row))).collect()
    }

    /// All lists of texts of a column; neither lists nor texts are null.
    fn lists(&self, name: &'static str) -> Result<Vec<Vec<&str>>> {
        let lists = self.list(name)?;
        (0..self.len()).map(|row| Ok(lists(row)?.collect())).collect()
    }

    /// The list of texts of any row of a column; neither lists nor texts are null.
    fn list<'a>(&'a self, name: &'static str) -> Result<impl Fn(usize) -> Result<List<'a>> + Sync> {
        let column: &ListArray = self.column(name)?;
        let (values, offsets) = (self.values::<StringArray>(name, column)?, column.value_offsets());
        Ok(move |row: usize| {
            self.known(name, column, row)?;
            let places = offsets[row] as usize..offsets[row + 1] as usize;
            let whole = values.null_count() == 0 || places.clone().all(|place| values.is_valid(place));
            ensure!(whole, "{}: `{name}` has a null in it", self.place(row));
            Ok(List { values, places })
        })
    }

    /// What `of` says of each row; the error is that of the first row that has one.
    fn rows<R: Send>(&self, of: impl Fn(usize) -> Result<R> + Sync) -> Result<Vec<R>> {
        (0..self.len()).into_par_iter().map(&of).collect::<Vec<_>>().into_iter().collect()
    }

    /// The values of all lists of a column, one after another.
    fn values<'a, A: Array + 'static>(&self, name: &str, column: &'a ListArray) -> Result<&'a A> {
        let typed = column.values().as_any().downcast_ref::<A>();
        typed.with_context(|| format!("`{}`: column `{name}` is {}", self.file, column.data_type()))
    }

    /// All numbers of a column, finite ones.
    fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let column: &Float64Array = self.column(name)?;
        let number = |row: usize| {
            self.known(name, column, row)?;
            let value = column.value(row);
            ensure!(value.is_finite(), "{}: `{name}` is {value}", self.place(row));
            Ok(value)
        };
        (0..column.len()).map(number).collect()
    }

    fn known(&self, name: &str, array: &dyn Array, row: usize) -> Result<()> {
        if array.is_null(row) {
            bail!("{}: `{name}` is null", self.place(row));
        }
        Ok(())
    }

    /// A count of a column; `None` where it is null.
    fn count(&self, name: &str, row: usize) -> Result<Option<u64>> {
        let column: &Int64Array = self.column(name)?;
        if column.is_null(row) {
            return Ok(None);
        }
        let value = column.value(row);
        ensure!(value >= 0, "{}: `{name}` is {value}, a count is at least 0", self.place(row));
        Ok(Some(value as u64))
    }
}

/// Texts of one row.
#[derive(Clone)]
struct List<'a> {
    values: &'a StringArray,
    places: Range<usize>,
}

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.places.next().map(|place| self.values.value(place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for List<'_> {}

/// Reads the next batch while `work` has one.
fn each_batch(ctx: &Context, table: &Table, columns: &[&str], mut work: impl FnMut(&Batch) -> Result<()> + Send) -> Result<()> {
    for (index, file) in table.files.iter().enumerate() {
        let mut first = 0;
        let mut batches = table.read(index, Some(columns), BATCH_ROWS)?;
        let mut next = batches.next();
        while let Some(rows) = next {
            ctx.check_stop()?;
            let batch = Batch { rows: rows?, file: file.path.display().to_string(), first };
            let (done, following) = rayon::join(|| work(&batch), || batches.next());
            done?;
            first += batch.len();
            next = following;
        }
    }
    Ok(())
}
