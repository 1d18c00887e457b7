//! `augment`: adds changed copies of documents to the split that a model learns from.
//!
//! A copy in which nothing came to be changed is left out, so no document is there twice. Each copy has an id of its own, which follows from that
//! of its document, the settings and the seed.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, FixedSizeBinaryBuilder, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::changes::{Changer, Changes, Scope, Version, Wanted, changes_schema, rebuild, write_changes};
use crate::documents::Provenance;
use crate::weigh::seed_of;

const BATCH_ROWS: usize = 512;
/// Columns that tell of copies.
const COLUMNS: [&str; 3] = ["augmented", "original", "changes"];

/// Adds changed copies of documents to the split `train`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// What is changed in a copy and how often, `{ typos = 0.02, synonyms = 0.1, synonyms_file = "synonyms.tsv" }`.
    pub changes: Changes,
    /// Changed copies of each document; one that came out as it was is left out.
    #[serde(default = "default_copies")]
    pub copies: u32,
    /// Whether copies take the place of their document instead of standing behind it. One without copies stays.
    #[serde(default)]
    pub replace: bool,
    /// Splits whose documents are copied. Documents that were not split are all in `train`.
    #[serde(default = "default_splits")]
    pub splits: Vec<String>,
    /// Columns of text that are changed in copies; labels and all others stay.
    #[serde(default = "default_columns")]
    pub columns: Vec<String>,
}

fn default_copies() -> u32 {
    1
}

fn default_splits() -> Vec<String> {
    vec!["train".to_string()]
}

fn default_columns() -> Vec<String> {
    vec!["text".to_string()]
}

impl Stage for Augment {
    const NAME: &'static str = "augment";
    const ABOUT: &'static str = "Adds copies of documents to the train split in which words are mistyped, swapped or replaced.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if self.copies == 0 {
            bail!("`copies` is 0: it must be at least 1");
        }
        self.scope().check(site)?;
        self.changes.prepare(site)
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        Disk { kept: input_bytes * (1 + u64::from(self.copies)), ..Disk::default() }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        if let Some(name) = COLUMNS.iter().find(|name| table.has_column(name)) {
            bail!("the documents have a column `{name}` already; augment them once, with all changes");
        }
        let (scope, changer) = (self.scope(), self.changes.load(inputs)?);
        scope.check_table(&table)?;
        let columns = columns(&table.schema);
        draft.declare("documents", columns.clone())?;
        draft.declare("changes", changes_schema())?;
        for name in ["copies", "documents_changed"] {
            draft.count(name, 0);
        }
        let (seed, maker) = (seed_of(ctx, Self::NAME), self.maker(ctx)?);
        draft.parts(ctx, &table.plan(), |index, part| {
            for batch in table.read(index, None, BATCH_ROWS)? {
                ctx.check_stop()?;
                self.write(&batch?, &columns, &changer, seed, &maker, part)?;
            }
            Ok(())
        })
    }
}

impl Augment {
    fn scope(&self) -> Scope<'_> {
        Scope { splits: &self.splits, columns: &self.columns }
    }

    /// What ids of copies are hashed with: other changes or another seed make other copies.
    fn maker(&self, ctx: &Context) -> Result<blake3::Hasher> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(Self::NAME.as_bytes()).update(&ctx.seed.to_le_bytes());
        hasher.update(&serde_json::to_vec(&(&self.changes, &self.columns))?);
        Ok(hasher)
    }

    fn write(
        &self,
        batch: &RecordBatch,
        columns: &SchemaRef,
        changer: &Changer,
        seed: u64,
        maker: &blake3::Hasher,
        part: &mut PartWriter,
    ) -> Result<()> {
        let (scope, provenance, taken) = (self.scope(), Provenance::of(batch)?, Scope::taken(batch)?);
        let chosen = scope.chosen(batch)?;
        let wanted = (0..batch.num_rows()).filter(|row| chosen[*row]).flat_map(|row| {
            let (id, taken) = (provenance.id(row), taken[row]);
            (1..=i64::from(self.copies)).map(move |copy| {
                let hash = maker.clone().update(&id).update(&taken.to_le_bytes()).update(&copy.to_le_bytes()).finalize();
                Wanted { row, key: Scope::key(seed, &id, taken, copy), id: crate::first_16(hash), copy }
            })
        });
        let mut copies = scope.change(changer, batch, wanted)?.into_iter().filter(Version::is_changed).peekable();
        let mut versions: Vec<Version> = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let first = versions.len();
            if !self.replace || copies.peek().is_none_or(|copy| copy.row != row) {
                versions.push(Version::unchanged(row, provenance.id(row)));
            }
            while let Some(copy) = copies.next_if(|copy| copy.row == row) {
                versions.push(copy);
            }
            part.count("copies", (versions.len() - first) as i64 - 1);
        }
        write_changes(part, versions.iter())?;
        let mut written = rebuild(batch, &self.columns, &versions)?.columns().to_vec();
        written.push(Arc::new(Int64Array::from_iter_values(versions.iter().map(|version| version.copy))));
        written.push(originals(&versions, &provenance)?);
        let told = |version: &Version| {
            let changes: Vec<String> = version.tally.iter().map(|(change, count)| format!("{change} {count}")).collect();
            version.is_changed().then(|| changes.join(", "))
        };
        written.push(Arc::new(StringArray::from_iter(versions.iter().map(told))));
        part.write("documents", &RecordBatch::try_new(columns.clone(), written)?)
    }
}

fn originals(versions: &[Version], provenance: &Provenance) -> Result<ArrayRef> {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(versions.len(), 16);
    versions.iter().try_for_each(|version| ids.append_value(provenance.id(version.row)))?;
    Ok(Arc::new(ids.finish()))
}

/// The input's columns, the number of the copy (0: the document as it was), the id of the document that it is a copy of, and what was changed.
fn columns(input: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = input.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(COLUMNS[0], DataType::Int64, false));
    fields.push(Field::new(COLUMNS[1], schema::ID, false));
    fields.push(Field::new(COLUMNS[2], DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::{Lab, jsonl};

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";

    fn augment(changes: &str, more: &str) -> String {
        format!("[[step]]\nstage = \"augment\"\nchanges = {{ {changes} }}\n{more}\n")
    }

    #[test]
    fn copies_stand_behind_their_documents() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["two words", "12 34", "words two, more"]))]);
        lab.run(&format!("{IMPORT}{}", augment("word_swaps = 1", "")), 2).unwrap();
        let rows = lab.rows("augment", "documents", &["text", "augmented", "changes"]);
        assert_eq!(
            rows,
            [
                "two words|0|",
                "words two|1|word_swap 1",
                "12 34|0|",
                "34 12|1|word_swap 1",
                "words two, more|0|",
                "two words, more|1|word_swap 1"
            ]
        );
        assert_eq!(lab.artifact("augment").manifest.count("copies"), 3);
        assert_eq!(lab.sql("select count(distinct id), count(distinct original), count(distinct content_hash) from augment"), ["6|3|6"]);
        assert_eq!(lab.sql("select count(*) from augment where (id = original) = (augmented = 0)"), ["6"]);
        let told =
            "select o.text, a.text, c.change, c.count from augment.changes c join augment a using (id) join import o on o.id = a.original";
        assert_eq!(lab.sql(&format!("{told} order by o.line limit 1")), ["two words|words two|word_swap|1"]);
    }

    #[test]
    fn copies_take_the_place_of_documents_and_unchanged_ones_are_left_out() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["two words", "alone"]))]);
        lab.run(&format!("{IMPORT}{}", augment("word_swaps = 1", "replace = true")), 1).unwrap();
        assert_eq!(lab.rows("augment", "documents", &["text", "augmented"]), ["words two|1", "alone|0"]);
        assert_eq!(lab.artifact("augment").manifest.count("copies"), 0);
        lab.run(&format!("{IMPORT}{}", augment("case = 1", "replace = true\ncopies = 3")), 1).unwrap();
        let rows = lab.rows("augment", "documents", &["augmented"]);
        assert_eq!(
            (rows, lab.artifact("augment").manifest.count("copies")),
            (["1", "2", "3"].repeat(2).iter().map(|n| n.to_string()).collect(), 4)
        );
    }

    #[test]
    fn only_the_train_split_grows_and_ids_never_meet() {
        let texts: Vec<String> = (0..300).map(|n| format!("document number {n} has several words")).collect();
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts.iter().map(String::as_str).collect::<Vec<_>>()))]);
        let split = "[[step]]\nstage = \"split\"\nparts = { train = 0.5, test = 0.5 }\n";
        let twice = "[[step]]\nname = \"twice\"\nstage = \"augment\"\nchanges = { typos = 1 }\ninputs = { documents = \"split\" }\n";
        let mixed = "[[step]]\nstage = \"mix\"\nby = \"'all'\"\nepochs = { all = 2 }\ninputs = { documents = [\"split\"] }\n";
        let mixed = format!(
            "{mixed}[[step]]\nname = \"third\"\nstage = \"augment\"\nchanges = {{ typos = 1 }}\ninputs = {{ documents = \"mix\" }}\n"
        );
        let config = format!("{IMPORT}{split}{}{twice}{mixed}", augment("typos = 0.5", "copies = 2\ninputs = { documents = \"split\" }"));
        lab.run(&config, 2).unwrap();
        assert_eq!(lab.sql("select count(*) from augment where split = 'test' and augmented > 0"), ["0"]);
        assert_eq!(
            lab.sql("select count(*) from (select id, text from augment where augmented = 0 except select id, text from split)"),
            ["0"]
        );
        let copies = lab.artifact("augment").manifest.count("copies");
        assert!((200..=400).contains(&copies), "{copies}");
        let distinct =
            "select count(*) - count(distinct id) from (select id from augment union all select id from twice where augmented > 0)";
        assert_eq!(lab.sql(distinct), ["0"]);
        // Documents that `mix` took twice have copies of their own.
        assert_eq!(lab.sql("select count(*) - count(distinct id), count(*) > 0 from third where augmented > 0"), ["0|true"]);
    }

    #[test]
    fn what_is_augmented_already_or_copied_never_is_refused() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["two words"]))]);
        let once = augment("case = 1", "");
        let again = once.replace("stage =", "name = \"again\"\nstage =");
        let message = format!("{:#}", lab.run(&format!("{IMPORT}{once}{again}"), 1).unwrap_err());
        assert!(message.contains("have a column `augmented` already"), "{message}");
        let message = format!("{:#}", lab.run(&format!("{IMPORT}{}", augment("case = 1", "copies = 0")), 1).unwrap_err());
        assert!(message.contains("`copies` is 0"), "{message}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn any_text_keeps_the_balance_at_any_number_of_threads(texts in prop::collection::vec("[a-cA-Z .,中文发\u{301}é\n0-3]{1,30}", 1..8), copies in 1u32..3) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
            prop_assume!(!texts.is_empty());
            let lab = Lab::new(&[("a.jsonl", &jsonl(&texts)), ("b.jsonl", &jsonl(&texts[..1]))]);
            let changes = "typos = 0.5, case = 0.3, punctuation = 0.5, white_space = 0.3, script = 0.5, width = 0.3, word_swaps = 0.3";
            let config = format!("{IMPORT}{}", augment(changes, &format!("copies = {copies}")));
            lab.run(&config, 1).unwrap();
            let one = lab.fingerprint("augment");
            lab.forget();
            lab.run(&config, 3).unwrap();
            prop_assert_eq!(lab.fingerprint("augment"), one);
        }
    }
}
