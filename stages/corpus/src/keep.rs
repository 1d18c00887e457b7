//! Storing the documents that a stage keeps: copied, or as a selection of its input's rows.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema};
use engine::{Disk, PartWriter, Table};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::documents::Corpus;

/// Documents of more bytes on disk are selected and not copied, unless the config says otherwise.
const COPIED_BYTES_MAX: u64 = 10_000_000_000;
/// How much smaller a selection is than what it selects, about.
const SELECTION: u64 = 200;
/// The columns that a reject needs.
pub const PROVENANCE: [&str; 5] = ["id", "source", "path", "position", "line"];

/// Reads the setting `materialize`: `true`, `false` or `auto`.
pub fn materialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(copies) => Ok(Some(copies)),
        Value::String(text) if text == "auto" => Ok(None),
        other => Err(D::Error::custom(format!("{other} is none of true, false and \"auto\""))),
    }
}

/// Whether documents of so many bytes are selected.
pub fn selects(materialize: Option<bool>, bytes: u64) -> bool {
    !materialize.unwrap_or(bytes <= COPIED_BYTES_MAX)
}

/// The disk of a stage that keeps documents.
pub fn disk(materialize: Option<bool>, bytes: u64) -> Disk {
    match selects(materialize, bytes) {
        true => Disk { kept: bytes / SELECTION, selected: bytes, ..Disk::default() },
        false => Disk { kept: bytes, ..Disk::default() },
    }
}

/// How the kept documents of one or more inputs are stored.
pub struct Keep<'a> {
    /// The table and the file of each part.
    parts: Vec<(&'a Table, usize)>,
    /// Several inputs, read with the columns of all.
    corpus: Option<&'a Corpus>,
    selects: bool,
}

/// The same for one part.
pub struct Keeper<'a> {
    keep: &'a Keep<'a>,
    part: usize,
    row: u32,
}

impl<'a> Keep<'a> {
    pub fn new(table: &'a Table, materialize: Option<bool>) -> Keep<'a> {
        let bytes = table.files.iter().map(|file| file.bytes).sum();
        Keep { parts: (0..table.files.len()).map(|file| (table, file)).collect(), corpus: None, selects: selects(materialize, bytes) }
    }

    /// Only inputs of the same columns can be selected; others are copied unless the config forbids it.
    pub fn of(corpus: &'a Corpus, materialize: Option<bool>) -> Result<Keep<'a>> {
        let parts: Vec<(&Table, usize)> = (0..corpus.plan().len()).map(|part| corpus.file(part)).collect();
        let bytes = corpus.plan().iter().map(|part| part.bytes).sum();
        let other = parts.iter().find(|(table, _)| table.schema != corpus.schema);
        if materialize == Some(false) && other.is_some() {
            bail!("`materialize = false` needs inputs with the same columns, and these differ; `materialize = true` copies them");
        }
        Ok(Keep { selects: other.is_none() && selects(materialize, bytes), parts, corpus: Some(corpus) })
    }

    pub fn part(&'a self, part: usize) -> Keeper<'a> {
        Keeper { keep: self, part, row: 0 }
    }

    /// The rows of a part: with all columns if they are copied, else with those that rejects need and `further` ones.
    pub fn read(&self, part: usize, further: &[&str], batch_rows: usize) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + '_>> {
        let columns = [&PROVENANCE, further].concat();
        let (table, file) = self.parts[part];
        Ok(match self.corpus {
            Some(corpus) if !self.selects => Box::new(corpus.read(part, batch_rows)?),
            _ => Box::new(table.read(file, self.selects.then_some(columns.as_slice()), batch_rows)?),
        })
    }
}

impl Keeper<'_> {
    /// Stores the documents of the next batch for which `kept` is true. `added` are further columns of them; one of a name that they have
    /// already takes its place, at the end.
    pub fn write(&mut self, part: &mut PartWriter, batch: &RecordBatch, kept: &BooleanArray, added: &[(&str, ArrayRef)]) -> Result<()> {
        let start = self.row;
        self.row = start.checked_add(batch.num_rows() as u32).context("a file of documents has more than 4 294 967 295 rows")?;
        if !self.keep.selects {
            let batch = if added.is_empty() { batch.clone() } else { with_columns(batch, added)? };
            let all = kept.true_count() == kept.len();
            return part.write("documents", &if all { batch } else { filter_record_batch(&batch, kept)? });
        }
        let rows: Vec<u32> = (0..kept.len()).filter(|row| kept.value(*row)).map(|row| start + row as u32).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let added = filter_record_batch(&with_columns(&none, added)?, kept)?;
        let (table, file) = self.keep.parts[self.part];
        part.select("documents", table, file, &rows, &added)
    }
}

/// The batch with further columns at its end, in place of those of their names.
fn with_columns(batch: &RecordBatch, added: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let schema = batch.schema();
    let is_new = |name: &str| !added.iter().any(|(added, _)| *added == name);
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| is_new(field.name()))
        .map(|(field, column)| (field.as_ref().clone(), column.clone()))
        .unzip();
    fields.extend(added.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)));
    columns.extend(added.iter().map(|(_, column)| column.clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    #[test]
    fn large_inputs_are_selected_unless_the_config_says_otherwise() {
        let cases = [(None, 10), (None, COPIED_BYTES_MAX + 1), (Some(false), 10), (Some(true), u64::MAX)];
        assert_eq!(cases.map(|(materialize, bytes)| selects(materialize, bytes)), [false, true, true, false]);
        assert_eq!(disk(Some(false), 1000), Disk { kept: 5, scratch: 0, selected: 1000 });
    }

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { n = \"integer\" }\n";

    /// Filter, sample and split of 300 documents, all copied or all selected, and tables of what was made.
    fn chain(lab: &Lab, materialize: &str) -> Vec<Vec<String>> {
        let step = |stage: &str, settings: &str| format!("[[step]]\nstage = \"{stage}\"\n{settings}\nmaterialize = {materialize}\n");
        let config = [
            IMPORT.to_string(),
            step("dedup", "method = [\"exact\"]"),
            step("filter", "rules = { n = { max = 8 } }"),
            step("sample", "fraction = 0.5"),
            step("split", "group = \"char_count(text)\"\nparts = { a = 0.5, b = 0.5 }"),
            "[[step]]\nstage = \"clean\"\nsignals = [{ name = \"chars\", sql = \"char_count(text)\" }]\n".to_string(),
        ];
        lab.run(&config.concat(), 2).unwrap();
        let columns: Vec<&str> = ["id", "content_hash", "source", "line", "text", "n", "extra"].to_vec();
        let all = ["dedup", "filter", "sample", "split", "clean"].map(|step| lab.rows(step, "documents", &columns));
        let rejects = ["dedup", "filter", "sample"].map(|step| lab.rows(step, "rejects", &["id", "rule", "value", "line"]));
        let beside = [lab.rows("split", "documents", &["split", "text"]), lab.rows("clean", "documents", &["split", "chars"])];
        let asked = [
            lab.sql("select split, count(*), sum(char_count(text)), max(n) from split where n > 1 group by split order by split"),
            lab.sql("select count(*) from sample"),
            lab.sql("select id, n from steps.documents join filter using (id) where step = 'split' order by id limit 5"),
        ];
        [all.to_vec(), rejects.to_vec(), beside.to_vec(), asked.to_vec()].concat()
    }

    #[test]
    fn selections_read_like_copies_and_take_no_text() {
        let line = |n: usize| serde_json::json!({ "text": "word ".repeat(1 + n * 31 % 190), "n": n % 10 }).to_string() + "\n";
        let lines = |numbers: std::ops::Range<usize>| numbers.map(line).collect::<String>();
        let lab = Lab::new(&[
            ("a.jsonl", lines(0..200).as_bytes()),
            ("b.jsonl", lines(200..201).as_bytes()),
            ("c.jsonl", lines(209..310).as_bytes()),
        ]);
        let copied = chain(&lab, "true");
        let schema = |step: &str| lab.artifact(step).table("documents").unwrap().schema;
        let schemas = ["dedup", "filter", "sample", "split"].map(schema);
        lab.forget();
        assert_eq!(chain(&lab, "false"), copied);
        assert_eq!(["dedup", "filter", "sample", "split"].map(schema), schemas);
        let split = lab.artifact("split");
        assert!(split.manifest.files.iter().filter(|file| file.of.is_some()).all(|file| file.of.as_ref().unwrap().starts_with("import-")));
        assert_eq!(split.manifest.tables["documents"].columns.last().unwrap(), "split: Utf8");
        let import = lab.artifact("import");
        std::fs::remove_dir_all(&import.dir).unwrap();
        let message = format!("{:#}", split.table("documents").unwrap_err());
        assert!(message.contains("which is gone; run the step that makes it again"), "{message}");
        assert_eq!(chain(&lab, "false"), copied);
    }

    #[test]
    fn inputs_of_other_columns_are_copied() {
        let lab = Lab::new(&[("a.jsonl", b"{\"text\":\"a\",\"n\":1}\n"), ("b.jsonl", b"{\"text\":\"b\"}\n")]);
        let import = "[[step]]\nname = \"other\"\nstage = \"import\"\npaths = [\"b.jsonl\"]\n";
        let dedup = "[[step]]\nstage = \"dedup\"\ninputs = { documents = [\"import\", \"other\"] }\n";
        lab.run(&format!("{IMPORT}{import}{dedup}"), 1).unwrap();
        assert_eq!(lab.rows("dedup", "documents", &["text", "n"]).len(), 2);
        let message = format!("{:#}", lab.run(&format!("{IMPORT}{import}{dedup}materialize = false\n"), 1).unwrap_err());
        assert!(message.contains("needs inputs with the same columns"), "{message}");
    }

    #[test]
    fn nothing_selected_is_an_empty_table() {
        let lab = Lab::new(&[("a.jsonl", b"{\"text\":\"a\",\"n\":1}\n")]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"filter\"\nmaterialize = false\nrules = {{ n = {{ max = 0 }} }}\n"), 1).unwrap();
        assert!(lab.rows("filter", "documents", &["text"]).is_empty());
        let message =
            format!("{:#}", lab.run(&format!("{IMPORT}[[step]]\nstage = \"sample\"\ncount = 1\nmaterialize = 3"), 1).unwrap_err());
        assert!(message.contains("3 is none of true, false and \"auto\""), "{message}");
    }
}
