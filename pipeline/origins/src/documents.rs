//! The documents that predictions are of: their columns stand beside predictions, so that any slice is a query, and answers are cut out of them.
//!
//! Tokens are mostly in the order of documents, so the search for the next ones goes on where the last ones were found.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Schema};
use engine::{Artifact, Table, TableFile};

use crate::{AnswerColumns, TagColumn, TextColumns};

/// Documents that are read at once.
const BATCH_ROWS: usize = 1024;
/// Settings of `tokenize` that name columns of texts: predictions say what is to be said of those.
const TEXTS: [&str; 11] =
    ["text", "text_pair", "prompt", "target", "source", "words", "tags", "question", "context", "answer", "answer_start"];

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A reader of documents that never ends: after the last one comes the first.
pub struct Documents {
    step: String,
    table: Table,
    /// Files that may hold documents of the split.
    files: Vec<usize>,
    /// Columns that stand beside predictions.
    kept: Vec<String>,
    /// All columns that are read.
    read: Vec<String>,
    /// The batch at hand, those that follow it in its file, and which of the files comes next.
    batch: Option<RecordBatch>,
    rest: Batches,
    next: usize,
}

impl Documents {
    /// Those of a split. `columns` stand beside predictions: their source and the user's columns unless given, without texts that the step
    /// `tokens` was made of.
    pub fn open(documents: &Artifact, split: &str, columns: Option<&[String]>, tokens: &Artifact) -> Result<Documents> {
        let table = documents.table(documents.main())?;
        let of_split = |file: &TableFile| file.split.as_ref().is_none_or(|other| other == split);
        let files = (0..table.files.len()).filter(|file| of_split(&table.files[*file])).collect();
        let settings = &tokens.manifest.key_parts["settings"];
        let names: Vec<&str> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let made_of = |name: &String| TEXTS.iter().any(|setting| settings[*setting] == name.as_str());
        let users = || users_columns(&names).into_iter().filter(|name| !made_of(name)).collect();
        let kept = columns.map_or_else(users, <[String]>::to_vec);
        let (answers, tags, texts) = (AnswerColumns::of(settings), TagColumn::of(tokens), TextColumns::of(settings));
        let needed = answers.iter().flat_map(AnswerColumns::names).chain(tags.iter().map(|tags| &tags.name));
        let needed = needed.chain(texts.iter().flat_map(|texts| [&texts.source, &texts.target]));
        let mut read = vec!["id".to_string()];
        for name in kept.iter().chain(needed) {
            table.column(name)?;
            if !read.contains(name) {
                read.push(name.clone());
            }
        }
        let (step, rest) = (documents.manifest.step.clone(), std::iter::empty());
        Ok(Documents { step, table, files, kept, read, batch: None, rest: Box::new(rest), next: 0 })
    }

    /// Begins the search where documents are likely that stand at this share of all.
    pub fn begin_at(mut self, share: f64) -> Documents {
        self.next = (self.files.len() as f64 * share) as usize % self.files.len().max(1);
        self
    }

    /// The documents of these ids, a row for each.
    pub fn find(&mut self, ids: &[[u8; 16]]) -> Result<RecordBatch> {
        if ids.is_empty() {
            return self.none();
        }
        let mut places: HashMap<[u8; 16], Vec<usize>> = HashMap::new();
        ids.iter().enumerate().for_each(|(place, id)| places.entry(*id).or_default().push(place));
        let (mut order, mut found, mut rows) = (vec![0; ids.len()], Vec::new(), 0);
        let mut opened = 0;
        loop {
            if let Some(batch) = &self.batch {
                let of_batch =
                    batch.column_by_name("id").and_then(|ids| ids.as_fixed_size_binary_opt()).context("documents have no ids")?;
                let mut taken: Vec<u64> = Vec::new();
                for row in 0..batch.num_rows() {
                    for place in places.remove(of_batch.value(row)).unwrap_or_default() {
                        order[place] = rows + taken.len() as u64;
                        taken.push(row as u64);
                    }
                }
                rows += taken.len() as u64;
                if !taken.is_empty() || found.is_empty() {
                    found.push(take_record_batch(batch, &UInt64Array::from(taken))?);
                }
            }
            // The first file may have been begun, so it is read once more.
            if (places.is_empty() && self.batch.is_some()) || opened > self.files.len() {
                break;
            }
            opened += self.advance()?;
        }
        match (places.len(), found.first()) {
            (0, Some(first)) => Ok(take_record_batch(&concat_batches(&first.schema(), &found)?, &UInt64Array::from(order))?),
            (missing, _) => bail!("{missing} documents of the tokens are not among those of step `{}`", self.step),
        }
    }

    fn none(&self) -> Result<RecordBatch> {
        let field = |name: &String| Ok(self.table.schema.field(self.table.column(name)?).clone());
        Ok(RecordBatch::new_empty(Arc::new(Schema::new(self.read.iter().map(field).collect::<Result<Vec<_>>>()?))))
    }

    /// Goes on to the next batch; gives how many files were opened for it.
    fn advance(&mut self) -> Result<usize> {
        let mut opened = 0;
        loop {
            if let Some(batch) = self.rest.next() {
                self.batch = Some(batch?);
                return Ok(opened);
            }
            if opened > self.files.len() {
                return Ok(opened);
            }
            let file = *self.files.get(self.next).with_context(|| format!("step `{}` has no documents of the split", self.step))?;
            let names: Vec<&str> = self.read.iter().map(String::as_str).collect();
            self.rest = Box::new(self.table.read(file, Some(&names), BATCH_ROWS)?);
            self.next = (self.next + 1) % self.files.len();
            opened += 1;
        }
    }

    /// The columns of found documents that stand behind those of predictions, whose names are `taken`: an equal name gets another one.
    pub fn beside(&self, found: &RecordBatch, taken: &[&str]) -> Result<Vec<(Field, ArrayRef)>> {
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for name in &self.kept {
            let place = found.schema().index_of(name)?;
            let mut field = found.schema().field(place).clone();
            while taken.contains(&field.name().as_str()) || columns.iter().any(|(other, _)| other.name() == field.name()) {
                field = field.clone().with_name(format!("document_{}", field.name()));
            }
            columns.push((field, found.column(place).clone()));
        }
        Ok(columns)
    }
}

/// Of the columns of documents the source and the user's, which stand between `text` and `extra`.
pub fn users_columns<T: AsRef<str>>(names: &[T]) -> Vec<String> {
    let names = || names.iter().map(AsRef::as_ref);
    let between = names().skip_while(|name| *name != "text").skip(1).take_while(|name| *name != "extra");
    names().filter(|name| *name == "source").chain(between).map(str::to_string).collect()
}
