//! `split`: puts every document into one of several named splits, such as train, valid and test.
//!
//! A document's split follows from a hash of its content, of a key column or of a group, so that equal texts and documents of one group stay
//! together and adding documents moves none of the others. Run it after `dedup`: of each cluster one document is left, so none crosses a
//! split; or connect the `dedup` to the input `clusters`, and all of a cluster go into one split. A split by time keeps groups together too.

mod groups;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, Table, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::documents::{Provenance, texts};
use crate::keep::{self, Keep, materialize};
use crate::rejects::{Reject, Rejects};
use groups::{BORDERS_MAX, Borders, Clusters, Grouping, Groups};

const BATCH_ROWS: usize = 2048;

/// Puts every document into a split.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Splits and their shares, which add up to 1; `{ train = 0.9, valid = 0.05, test = 0.05 }` when nothing is given.
    #[serde(default)]
    pub parts: BTreeMap<String, f64>,
    /// Column whose equal values stay in one split; where it is null, and by default, equal texts stay together.
    #[serde(default)]
    pub key: Option<String>,
    /// SQL expression over the documents whose equal values stay in one split, such as the host of their address; for a plain column, `key`
    /// does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// SQL expression for the time of a document (or any number, such as a year): in place of shares, `since` says where the splits begin.
    /// Equal texts, and documents of one `key`, `group` or cluster, go where the earliest of them goes; documents without a time are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Where splits by time begin, `{ valid = "2024-01-01", test = "2024-07-01" }`; what comes before all of them is `train`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub since: BTreeMap<String, String>,
    /// Column each of whose values is divided by the shares for itself, as near as whole documents allow. Holds 24 bytes a document in memory,
    /// and adding documents may move others of the same value.
    #[serde(default)]
    pub stratify: Option<String>,
    /// Column that names the split already; documents where it is null or empty are rejected.
    #[serde(default)]
    pub from: Option<String>,
    /// `true` copies the kept documents, `false` keeps row numbers of the input, which must stay; `auto`, the default, copies inputs of up to
    /// 10 GB on disk.
    #[serde(default, deserialize_with = "materialize", skip_serializing_if = "Option::is_none")]
    pub materialize: Option<bool>,
}

impl Stage for Split {
    const NAME: &'static str = "split";
    const ABOUT: &'static str =
        "Puts every document into a split, such as train, valid and test, by a hash of its content, a group or its time.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents), Port::optional("clusters", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        for (name, expression) in [("group", &mut self.group), ("time", &mut self.time)] {
            if let Some(expression) = expression {
                *expression = site.sql().canonical(expression).with_context(|| format!("`{name}`"))?;
            }
        }
        let groups = [self.key.is_some(), self.group.is_some(), site.upstream("clusters").is_some()];
        if groups.into_iter().filter(|given| *given).count() > 1 {
            bail!("`key`, `group` and the input `clusters` each say what stays together: give one of them");
        }
        if self.from.is_some() {
            if !self.parts.is_empty() || self.stratify.is_some() || self.time.is_some() || groups.contains(&true) {
                bail!(
                    "`from` names the column that holds the split: `parts`, `key`, `group`, `stratify`, `time` and `clusters` have no meaning beside it"
                );
            }
            return Ok(());
        }
        if self.time.is_some() || !self.since.is_empty() {
            return self.check_time();
        }
        if self.parts.is_empty() {
            self.parts = [("train", 0.9), ("valid", 0.05), ("test", 0.05)].map(|(name, share)| (name.to_string(), share)).into();
        }
        self.check_parts()
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        keep::disk(self.materialize, input_bytes)
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
        if inputs.artifact_opt("clusters").is_some() {
            // The balance is that of the documents alone, not of those that were deduplicated.
            draft.count("records", table.rows as i64);
        }
        let groups = self.groups(ctx, inputs, &table, draft)?;
        let strata = self.stratify.as_ref().map(|column| self.strata(ctx, &table, groups.as_ref(), column)).transpose()?;
        let names = self.names()?;
        let keep = Keep::new(&table, self.materialize);
        let wanted: Vec<&str> = [&self.key, &self.from].into_iter().flatten().map(String::as_str).chain(["content_hash"]).collect();
        draft.parts(ctx, &table.plan(), |index, part| {
            let mut keeper = keep.part(index);
            let mut rows = groups.as_ref().map(|groups| groups.read(index)).transpose()?;
            for batch in keep.read(index, &wanted, BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let group: Option<Vec<(u64, Option<u8>)>> = rows.as_mut().map(|rows| rows.take(batch.num_rows()).collect()).transpose()?;
                let splits = match (&self.from, group) {
                    (Some(column), _) => named(&batch, column, part)?,
                    (None, Some(group)) if self.time.is_some() => timed(&batch, &group, &names, part)?,
                    (None, Some(group)) => self.placed(group.into_iter().map(|(hash, _)| hash), strata.as_ref(), &names),
                    (None, None) => self.placed(self.hashes(ctx, &batch)?.into_iter(), strata.as_ref(), &names),
                };
                let kept: BooleanArray = splits.iter().map(|split| Some(split.is_some())).collect();
                keeper.write(part, &batch, &kept, &[("split", Arc::new(splits))])?;
            }
            Ok(())
        })
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl Split {
    fn check_parts(&self) -> Result<()> {
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

    fn check_time(&self) -> Result<()> {
        if self.time.is_none() || self.since.is_empty() {
            bail!("a split by time needs both `time` and `since`, such as {{ valid = \"2024-01-01\", test = \"2024-07-01\" }}");
        }
        if !self.parts.is_empty() || self.stratify.is_some() {
            bail!("`since` says where the splits begin: `parts` and `stratify` have no meaning beside it");
        }
        if let Some(name) = self.since.keys().find(|name| !is_name(name) || *name == "train") {
            bail!(
                "`since`: `{name}` cannot be the name of a split; it has lower-case letters, digits and `_`, and `train` comes before all"
            );
        }
        if self.since.len() > BORDERS_MAX {
            bail!("`since` has more than {BORDERS_MAX} splits");
        }
        self.names().map(|_| ())
    }

    /// The names of the splits: those of the shares, or in order of time.
    fn names(&self) -> Result<Vec<&str>> {
        if self.time.is_none() {
            return Ok(self.parts.keys().map(String::as_str).collect());
        }
        let order = Borders::parse(&self.since.values().map(String::as_str).collect::<Vec<_>>())?.order()?;
        let names: Vec<&str> = self.since.keys().map(String::as_str).collect();
        Ok(std::iter::once("train").chain(order.into_iter().map(|index| names[index])).collect())
    }

    /// Groups and times that the rows do not tell by themselves.
    fn groups(&self, ctx: &Context, inputs: &Inputs, table: &Table, draft: &Draft) -> Result<Option<Groups>> {
        let clusters = inputs.artifact_opt("clusters").map(|artifact| artifact.table("clusters")).transpose()?;
        let clusters = clusters.map(|clusters| Clusters::read(ctx, &clusters)).transpose()?;
        if self.group.is_none() && self.time.is_none() && clusters.is_none() {
            return Ok(None);
        }
        let mut begins: Vec<&str> = self.since.values().map(String::as_str).collect();
        let order = Borders::parse(&begins)?.order()?;
        begins = order.into_iter().map(|index| begins[index]).collect();
        let borders = Borders::parse(&begins)?;
        let key = self.key.as_ref().map(|key| format!("\"{}\"", key.replace('"', "\"\"")));
        let group = self.group.as_deref().or(key.as_deref());
        let grouping = Grouping { group, clusters, time: self.time.as_deref().map(|time| (time, &borders)) };
        let plan = table.plan();
        draft.task(ctx, "groups", &plan, |part, path| grouping.write(ctx, table, part, path))?;
        let mut groups = Groups::new((0..plan.len()).map(|part| draft.scratch_path("groups", part)).collect());
        if self.time.is_some() {
            groups.settle(ctx, ctx.memory / 8)?;
        }
        Ok(Some(groups))
    }

    /// The splits of documents by the places of their hashes.
    fn placed(&self, hashes: impl Iterator<Item = u64>, strata: Option<&Strata>, names: &[&str]) -> StringArray {
        let place = |hash: u64| match strata {
            Some(strata) => strata.place(hash),
            None => (hash >> 11) as f64 / (1_u64 << 53) as f64,
        };
        hashes.map(|hash| Some(names[self.part_at(place(hash))])).collect()
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
    fn strata(&self, ctx: &Context, table: &Table, groups: Option<&Groups>, column: &str) -> Result<Strata> {
        let mut wanted = vec!["content_hash", column];
        wanted.extend(self.key.as_deref());
        let mut keys: Vec<(u64, u64, u64)> = Vec::new();
        for file in 0..table.files.len() {
            let mut rows = groups.map(|groups| groups.read(file)).transpose()?;
            for batch in table.read(file, Some(&wanted), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let strata = values(&batch, column)?;
                let hashes = match &mut rows {
                    Some(rows) => rows.take(batch.num_rows()).map(|row| Ok(row?.0)).collect::<Result<_>>()?,
                    None => self.hashes(ctx, &batch)?,
                };
                for (row, hash) in hashes.into_iter().enumerate() {
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

/// The splits that a column names; documents without one are rejected.
fn named(batch: &RecordBatch, column: &str, part: &mut PartWriter) -> Result<StringArray> {
    let names = values(batch, column)?;
    let provenance = Provenance::of(batch)?;
    let mut rejects = Rejects::new("split");
    let mut splits = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let name = if names.is_valid(row) { names.value(row) } else { "" };
        if !name.is_empty() && !is_name(name) {
            bail!("column `{column}` names the split `{name}`: a name has lower-case letters, digits and `_`");
        }
        splits.push((!name.is_empty()).then_some(name));
        if name.is_empty() {
            rejects.push(&Reject {
                rule: "no_split",
                detail: Some("the column that names the split is empty"),
                ..provenance.reject(row)
            })?;
        }
    }
    rejects.write(part)?;
    Ok(StringArray::from(splits))
}

/// The splits by time; documents without one are rejected.
fn timed(batch: &RecordBatch, rows: &[(u64, Option<u8>)], names: &[&str], part: &mut PartWriter) -> Result<StringArray> {
    let provenance = Provenance::of(batch)?;
    let mut rejects = Rejects::new("split");
    for (row, _) in rows.iter().enumerate().filter(|(_, (_, split))| split.is_none()) {
        rejects.push(&Reject { rule: "no_time", detail: Some("its time is null or cannot be read"), ..provenance.reject(row) })?;
    }
    rejects.write(part)?;
    Ok(rows.iter().map(|(_, split)| split.map(|split| names[usize::from(split)])).collect())
}

fn values(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    texts(batch.column(batch.schema().index_of(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    fn split(parts: &[(&str, f64)]) -> Split {
        Split { parts: parts.iter().map(|(name, share)| (name.to_string(), *share)).collect(), ..Split::default() }
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
    fn groups_are_any_expression_and_clusters_never_cross() {
        let lab = lab(1000);
        let config = format!("{IMPORT}[[step]]\nstage = \"split\"\ngroup = \"substr(text, 1, 7)\"\nparts = {{ a = 0.5, b = 0.5 }}\n");
        lab.run(&config, 2).unwrap();
        // `text 12` to `text 129`: a group each two digits, and those of one digit.
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in lab.rows("split", "documents", &["text", "split"]) {
            let (text, split) = row.split_once('|').unwrap();
            groups.entry(text.chars().take(7).collect()).or_default().push(split.to_string());
        }
        assert!(groups.len() == 100 && groups.values().all(|splits| splits.iter().all(|split| *split == splits[0])));
        lab.run(&format!("{config}stratify = \"label\""), 1).unwrap();
        assert_eq!(lab.rows("split", "documents", &["id"]).len(), 1000);
        // Pairs that differ in one of forty words stay together, although both are kept.
        let text = |n: usize, last: &str| {
            (0..40).map(|word| format!("{} ", "abcdefghij".repeat(1 + (n * 7 + word * 3) % 11))).collect::<String>()
                + &format!("n{n} ")
                + last
        };
        let lines: String =
            (0..200).map(|n| serde_json::json!({ "text": text(n / 2, ["x", "y"][n % 2]), "label": n / 2 }).to_string() + "\n").collect();
        lab.write("a.jsonl", lines.replace("\"label\":", "\"given\":").as_bytes());
        let dedup = "[[step]]\nstage = \"dedup\"\nsimilarity_min = 0.5\n";
        let inputs = "inputs = { documents = \"import\", clusters = \"dedup\" }\n";
        lab.run(&format!("{IMPORT}{dedup}[[step]]\nstage = \"split\"\nparts = {{ a = 0.5, b = 0.5 }}\n{inputs}"), 2).unwrap();
        assert!(lab.rows("dedup", "clusters", &["id"]).len() >= 150);
        let cluster: BTreeMap<String, String> = lab
            .rows("dedup", "clusters", &["id", "cluster_id"])
            .iter()
            .map(|row| row.split_once('|').unwrap())
            .map(|(a, b)| (a.into(), b.into()))
            .collect();
        let mut splits: BTreeMap<&str, String> = BTreeMap::new();
        let rows = lab.rows("split", "documents", &["id", "split"]);
        assert_eq!(rows.len(), 200);
        for (id, split) in rows.iter().map(|row| row.split_once('|').unwrap()) {
            if let Some(cluster) = cluster.get(id) {
                assert_eq!(splits.entry(cluster).or_insert(split.to_string()), split);
            }
        }
    }

    #[test]
    fn times_split_where_they_begin_and_equal_texts_go_to_the_earliest() {
        let line = |text: &str, given: &str| {
            format!("{{\"text\":\"{text}\",\"given\":\"{given}\",\"label\":\"{}\"}}\n", &given[..given.len().min(4)])
        };
        let lines = [
            line("a", "2019-12-31T23:59:59Z"),
            line("b", "2020-01-01"),
            line("c", "2020-07-01 08:00:00"),
            line("d", "no day"),
            line("b", "2021-01-01"),
            line("e", "2020-06-30"),
        ];
        let lab = Lab::new(&[("a.jsonl", lines.concat().as_bytes())]);
        let split = |settings: &str| {
            lab.run(&format!("{IMPORT}[[step]]\nstage = \"split\"\n{settings}"), 2).unwrap();
            (lab.rows("split", "documents", &["text", "split"]), lab.rows("split", "rejects", &["line", "rule"]))
        };
        let since = "since = { valid = \"2020-01-01\", test = \"2020-07-01\" }";
        let expected = ["a|train", "b|valid", "c|test", "b|valid", "e|valid"];
        assert_eq!(split(&format!("time = \"given\"\n{since}")), (expected.map(String::from).to_vec(), vec!["4|no_time".to_string()]));
        assert_eq!(split(&format!("time = \"given\"\nkey = \"label\"\n{since}")).0[2], "c|valid");
        let years = split("time = \"label\"\nsince = { late = \"2021\", early = \"2020\" }");
        assert_eq!(years.0, ["a|train", "b|early", "c|early", "b|early", "e|early"]);
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
        check("key = \"label\"\ngroup = \"label\"", "each say what stays together");
        check("time = \"given\"", "needs both `time` and `since`");
        check("time = \"given\"\nsince = { valid = \"soon\" }", "`soon` is neither a time");
        check("time = \"given\"\nsince = { train = \"2020\" }", "`train` comes before all");
        check("time = \"given\"\nsince = { valid = \"2020\" }\nstratify = \"label\"", "no meaning beside it");
        check("time = \"line\"\nsince = { valid = \"2020-01-01\" }", "`time` gives Int64");
    }

    #[test]
    fn places_follow_the_shares() {
        let split = split(&[("a", 0.25), ("b", 0.0), ("c", 0.75)]);
        let parts = [0.0, 0.2499, 0.25, 0.9999, 1.0].map(|place| split.part_at(place));
        assert_eq!(parts, [0, 0, 2, 2, 2]);
    }
}
