//! `split`: puts every document into one of several named splits, such as train, valid and test.
//!
//! A document's split follows from a hash of its content or of a key column, so that equal texts and documents of one key stay together and
//! adding documents moves none of the others. Run it after `dedup`: of each cluster one document is left, so none crosses a split.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use engine::{Context, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, Table, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::documents::Provenance;
use crate::rejects::{Reject, Rejects};

const BATCH_ROWS: usize = 2048;

/// Puts every document into a split.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Splits and their shares, which add up to 1; `{ train = 0.9, valid = 0.05, test = 0.05 }` when nothing is given.
    #[serde(default)]
    pub parts: BTreeMap<String, f64>,
    /// Column whose equal values stay in one split; where it is null, and by default, equal texts stay together.
    #[serde(default)]
    pub key: Option<String>,
    /// Column each of whose values is divided by the shares for itself, as near as whole documents allow. Holds 24 bytes a document in memory,
    /// and adding documents may move others of the same value.
    #[serde(default)]
    pub stratify: Option<String>,
    /// Column that names the split already; documents where it is null or empty are rejected.
    #[serde(default)]
    pub from: Option<String>,
}

impl Stage for Split {
    const NAME: &'static str = "split";
    const ABOUT: &'static str = "Puts every document into a split, such as train, valid and test, by a hash of its content or a key.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, _site: &mut Site) -> Result<()> {
        if self.from.is_some() {
            if !self.parts.is_empty() || self.key.is_some() || self.stratify.is_some() {
                bail!("`from` names the column that holds the split: `parts`, `key` and `stratify` have no meaning beside it");
            }
            return Ok(());
        }
        if self.parts.is_empty() {
            self.parts = [("train", 0.9), ("valid", 0.05), ("test", 0.05)].map(|(name, share)| (name.to_string(), share)).into();
        }
        if let Some(name) = self.parts.keys().find(|name| !is_name(name)) {
            bail!("`parts`: `{name}` is no name of a split: it has lower-case letters, digits and `_`");
        }
        if let Some((name, share)) = self.parts.iter().find(|(_, share)| !(0.0..=1.0).contains(*share)) {
            bail!("`parts`: the share of `{name}` is {share}: it must be between 0 and 1");
        }
        let sum: f64 = self.parts.values().sum();
        if (sum - 1.0).abs() > 1e-6 {
            bail!("`parts`: the shares add up to {sum}, not to 1");
        }
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        for column in [&self.key, &self.stratify, &self.from].into_iter().flatten() {
            table.column(column)?;
        }
        let keeps = self.from.as_deref() == Some("split");
        if table.has_column("split") && !keeps {
            bail!("the documents have a column `split` already; `from = \"split\"` keeps it");
        }
        let mut fields: Vec<Field> = table.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.retain(|field| field.name() != "split");
        fields.push(Field::new("split", DataType::Utf8, false));
        draft.declare("documents", Arc::new(Schema::new(fields)))?;
        draft.declare("rejects", schema::rejects())?;
        let strata = self.stratify.as_ref().map(|column| self.strata(ctx, &table, column)).transpose()?;
        draft.parts(ctx, &table.plan(), |index, part| {
            for batch in table.read(index, None, BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                match &self.from {
                    Some(column) => write_named(&batch, column, part)?,
                    None => self.write(ctx, &batch, strata.as_ref(), part)?,
                }
            }
            Ok(())
        })
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl Split {
    fn write(&self, ctx: &Context, batch: &RecordBatch, strata: Option<&Strata>, part: &mut PartWriter) -> Result<()> {
        let names: Vec<&str> = self.parts.keys().map(String::as_str).collect();
        let hashes = self.hashes(ctx, batch)?;
        let places = hashes.iter().map(|hash| match strata {
            Some(strata) => strata.place(*hash),
            None => (hash >> 11) as f64 / (1_u64 << 53) as f64,
        });
        let splits: StringArray = places.map(|place| Some(names[self.part_at(place)])).collect();
        part.write("documents", &with_split(batch, Arc::new(splits))?)
    }

    /// Which part holds the place between 0 and 1. Rounding errors of the sum belong to the last part with a share.
    fn part_at(&self, place: f64) -> usize {
        let mut end = 0.0;
        let mut last = 0;
        for (index, share) in self.parts.values().enumerate().filter(|(_, share)| **share > 0.0) {
            end += share;
            last = index;
            if place < end {
                break;
            }
        }
        last
    }

    /// The hash of every document's key, with the seed.
    fn hashes(&self, ctx: &Context, batch: &RecordBatch) -> Result<Vec<u64>> {
        let contents = batch.column(batch.schema().index_of("content_hash")?).as_fixed_size_binary();
        let keys = self.key.as_ref().map(|name| values(batch, name)).transpose()?;
        let hash = |row: usize| match &keys {
            Some(keys) if keys.is_valid(row) => xxh3_64_with_seed(keys.value(row).as_bytes(), ctx.seed),
            _ => xxh3_64_with_seed(contents.value(row), ctx.seed),
        };
        Ok((0..batch.num_rows()).map(hash).collect())
    }

    /// Ranks the keys of each value of the column; a key with several values has that of its first document.
    fn strata(&self, ctx: &Context, table: &Table, column: &str) -> Result<Strata> {
        let mut wanted = vec!["content_hash", column];
        wanted.extend(self.key.as_deref());
        let mut keys: Vec<(u64, u64, u64)> = Vec::new();
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&wanted), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let strata = values(&batch, column)?;
                for (row, hash) in self.hashes(ctx, &batch)?.into_iter().enumerate() {
                    let stratum = if strata.is_valid(row) { xxh3_64(strata.value(row).as_bytes()) } else { 0 };
                    keys.push((hash, keys.len() as u64, stratum));
                }
            }
        }
        keys.sort_unstable();
        keys.dedup_by_key(|(hash, _, _)| *hash);
        keys.sort_unstable_by_key(|(hash, _, stratum)| (*stratum, *hash));
        let mut places = Vec::with_capacity(keys.len());
        for stratum in keys.chunk_by(|a, b| a.2 == b.2) {
            // The middle of each key's stretch, so that a part's number of keys is its share rounded.
            places.extend(stratum.iter().enumerate().map(|(rank, key)| (key.0, (rank as f64 + 0.5) / stratum.len() as f64)));
        }
        places.sort_unstable_by_key(|(hash, _)| *hash);
        Ok(Strata { places })
    }
}

/// The place between 0 and 1 of every key within its stratum.
struct Strata {
    places: Vec<(u64, f64)>,
}

impl Strata {
    fn place(&self, hash: u64) -> f64 {
        let at = self.places.binary_search_by_key(&hash, |(hash, _)| *hash).expect("every document was ranked");
        self.places[at].1
    }
}

/// Takes the split from a column; documents without one are rejected.
fn write_named(batch: &RecordBatch, column: &str, part: &mut PartWriter) -> Result<()> {
    let names = values(batch, column)?;
    let provenance = Provenance::of(batch)?;
    let mut rejects = Rejects::new("split");
    let mut kept = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let name = if names.is_valid(row) { names.value(row) } else { "" };
        if !name.is_empty() && !is_name(name) {
            bail!("column `{column}` names the split `{name}`: a name has lower-case letters, digits and `_`");
        }
        kept.push(!name.is_empty());
        if name.is_empty() {
            rejects.push(&Reject {
                rule: "no_split",
                detail: Some("the column that names the split is empty"),
                ..provenance.reject(row)
            })?;
        }
    }
    rejects.write(part)?;
    part.write("documents", &filter_record_batch(&with_split(batch, Arc::new(names.clone()))?, &BooleanArray::from(kept))?)
}

/// The batch with the column `split` at its end, in place of one it has.
fn with_split(batch: &RecordBatch, splits: ArrayRef) -> Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != "split")
        .map(|(f, c)| (f.as_ref().clone(), c.clone()))
        .unzip();
    fields.push(Field::new("split", DataType::Utf8, true));
    columns.push(splits);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The values of a column as text.
fn values(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column(batch.schema().index_of(name)?);
    if let Some(ids) = column.as_fixed_size_binary_opt() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        return Ok(ids.iter().map(|id| id.map(hex)).collect());
    }
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    fn split(parts: &[(&str, f64)]) -> Split {
        Split { parts: parts.iter().map(|(name, share)| (name.to_string(), *share)).collect(), key: None, stratify: None, from: None }
    }

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { label = \"string\", given = \"string\" }\n";

    fn lab(documents: usize) -> Lab {
        let label = |n: usize| ["ham", "spam", "rare"][n % 10 / 6 + usize::from(n % 50 == 49)];
        let line = |n: usize| serde_json::json!({ "text": format!("text {n}"), "label": label(n) });
        let lines: String = (0..documents).map(|n| line(n).to_string() + "\n").collect();
        Lab::new(&[("a.jsonl", lines.as_bytes())])
    }

    fn counts(lab: &Lab, columns: &[&str]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for row in lab.rows("split", "documents", columns) {
            *counts.entry(row).or_default() += 1;
        }
        counts
    }

    #[test]
    fn documents_stay_where_they_are_when_others_come() {
        let lab = lab(2000);
        let config = format!("{IMPORT}[[step]]\nstage = \"split\"\n");
        lab.run(&config, 2).unwrap();
        let before = lab.rows("split", "documents", &["text", "split"]);
        let found = counts(&lab, &["split"]);
        assert!(
            (1740..1860).contains(&found["train"]) && (60..140).contains(&found["valid"]) && (60..140).contains(&found["test"]),
            "{found:?}"
        );
        lab.write("0.jsonl", b"{\"text\":\"first\"}\n{\"text\":\"text 7\"}\n");
        lab.run(&config, 2).unwrap();
        let after = lab.rows("split", "documents", &["text", "split"]);
        assert_eq!(after[2..], before);
        assert_eq!(after[1], before[7]);
        lab.run(&format!("seed = 7\n{config}"), 2).unwrap();
        assert_ne!(lab.rows("split", "documents", &["text", "split"]), after);
    }

    #[test]
    fn a_key_never_crosses_and_strata_are_divided_alike() {
        let lab = lab(1000);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"split\"\nkey = \"label\""), 1).unwrap();
        assert_eq!(counts(&lab, &["label", "split"]).len(), 3);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"split\"\nstratify = \"label\"\nparts = {{ a = 0.25, b = 0.75 }}"), 2).unwrap();
        let expected = [("ham|a", 150), ("ham|b", 450), ("rare|a", 5), ("rare|b", 15), ("spam|a", 95), ("spam|b", 285)];
        assert_eq!(counts(&lab, &["label", "split"]), expected.map(|(name, count)| (name.to_string(), count)).into());
    }

    #[test]
    fn given_splits_are_kept() {
        let lab = Lab::new(&[("a.jsonl", b"{\"text\":\"a\",\"given\":\"dev\"}\n{\"text\":\"b\"}\n")]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"split\"\nfrom = \"given\""), 1).unwrap();
        assert_eq!(lab.rows("split", "documents", &["text", "split"]), ["a|dev"]);
        assert_eq!(lab.rows("split", "rejects", &["line", "rule"]), ["2|no_split"]);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let check = |settings: &str, expected: &str| {
            let message = format!("{:#}", lab(3).run(&format!("{IMPORT}[[step]]\nstage = \"split\"\n{settings}"), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("parts = { a = 0.5, b = 0.4 }", "the shares add up to 0.9");
        check("parts = { A = 1.0 }", "`A` is no name of a split");
        check("key = \"lable\"", "has no column `lable`, did you mean `label`?");
        check("from = \"given\"\nkey = \"label\"", "have no meaning beside it");
    }

    #[test]
    fn places_follow_the_shares() {
        let split = split(&[("a", 0.25), ("b", 0.0), ("c", 0.75)]);
        let parts = [0.0, 0.2499, 0.25, 0.9999, 1.0].map(|place| split.part_at(place));
        assert_eq!(parts, [0, 0, 2, 2, 2]);
    }
}
