//! `dedup`: keeps one document of every cluster of equal or nearly equal ones.
//!
//! Four passes: an index of hashes and shingles per part; pairs of documents that share a band; the check of each pair by its true Jaccard;
//! clusters, survivors and the rows. Joining everything that shares a band, without the check, is not offered: it can wipe a source out.
//! What is one cluster can hold two documents that are not alike themselves, but through others between them.

mod candidates;
mod clusters;
mod index;
mod minhash;
mod union;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch,
};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::documents::{Corpus, Provenance, id_at};
use crate::keep::{self, Keep, materialize};
use crate::rejects::{Reject, Rejects};
use candidates::{check_plan, join_checked, join_equal, pair_plan, write_checked, write_pairs};
use clusters::{Verdict, judge};
use index::{Column, Entry, Index, IndexWriter};
use minhash::{MinHash, PERMUTATIONS_MAX, set_hash, shingles};
use union::UnionFind;

const BATCH_ROWS: usize = 2048;

/// Keeps one document of every cluster of equal or nearly equal ones.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// `exact`: texts that are equal when case and white space are ignored. `minhash`: texts whose sets of word n-grams are nearly equal.
    #[serde(default = "default_method")]
    pub method: Vec<Method>,
    /// Words of an n-gram. Words are compared as FineWeb does: lower case, numbers as 0, no punctuation, no accents; each Han character is a
    /// word. A text of fewer words is one n-gram.
    #[serde(default = "default_ngram")]
    pub ngram: usize,
    /// Bands of MinHash: documents that agree in one of them are compared. 14 bands of 8 rows find 92 % of the pairs with Jaccard 0.8.
    #[serde(default = "default_bands")]
    pub bands: usize,
    /// Rows of a band: more rows find fewer pairs.
    #[serde(default = "default_rows")]
    pub rows: usize,
    /// Least Jaccard of two sets of n-grams that makes the documents duplicates; every pair is checked.
    #[serde(default = "default_similarity_min")]
    pub similarity_min: f64,
    /// Who survives of a cluster: SQL expressions over the documents, the first that differs decides, each with `asc` (default) or `desc`;
    /// nulls come last, and the smallest id decides in the end.
    #[serde(default = "default_survivor")]
    pub survivor: Vec<String>,
    /// `true` copies the kept documents, `false` keeps row numbers of the inputs, which must stay and have the same columns; `auto`, the
    /// default, copies inputs of up to 10 GB on disk.
    #[serde(default, deserialize_with = "materialize", skip_serializing_if = "Option::is_none")]
    pub materialize: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Exact,
    Minhash,
}

fn default_method() -> Vec<Method> {
    vec![Method::Exact, Method::Minhash]
}

fn default_ngram() -> usize {
    5
}

fn default_bands() -> usize {
    14
}

fn default_rows() -> usize {
    8
}

fn default_similarity_min() -> f64 {
    0.8
}

fn default_survivor() -> Vec<String> {
    vec!["char_count(text) desc".to_string()]
}

impl Stage for Dedup {
    const NAME: &'static str = "dedup";
    const ABOUT: &'static str = "Keeps one document of every cluster of equal or nearly equal ones.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.method.sort_by_key(|method| *method != Method::Exact);
        self.method.dedup();
        if self.method.is_empty() {
            bail!("`method` is empty: give `exact`, `minhash` or both");
        }
        if !(0.0..=1.0).contains(&self.similarity_min) || self.similarity_min == 0.0 {
            bail!("`similarity_min` is {}: it must be above 0 and at most 1", self.similarity_min);
        }
        for (name, value) in [("ngram", self.ngram), ("bands", self.bands), ("rows", self.rows)] {
            if value == 0 {
                bail!("`{name}` is 0: it must be at least 1");
            }
        }
        if self.bands.saturating_mul(self.rows) > PERMUTATIONS_MAX {
            bail!("{} bands × {} rows are more than {PERMUTATIONS_MAX} permutations", self.bands, self.rows);
        }
        for item in &mut self.survivor {
            let (expression, descending) = split_order(item);
            let expression = site.sql().canonical(expression).context("`survivor`")?;
            *item = format!("{expression} {}", if descending { "desc" } else { "asc" });
        }
        Ok(())
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        keep::disk(self.materialize, input_bytes)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let corpus = Corpus::of(&inputs.artifacts("documents"))?;
        draft.declare("documents", corpus.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("clusters", schema::clusters())?;
        let plan = corpus.plan();
        draft
            .task(ctx, "index", &plan, |part, path| self.write_index(ctx, &corpus, part, IndexWriter::create(path, self.index_bands())?))?;
        let index = Index::open(&scratch_paths(draft, "index", plan.len()))?;
        let mut sets = UnionFind::new(index.documents());
        self.join(ctx, draft, &index, &mut sets)?;
        let verdicts = judge(&index, &mut sets, self.method.contains(&Method::Exact))?;
        drop(sets);
        let keep = Keep::of(&corpus, self.materialize)?;
        draft.parts(ctx, &plan, |part, writer| {
            let documents = index.part(part);
            let verdicts = &verdicts[verdicts.partition_point(|verdict| verdict.document < documents.start)..];
            self.write_part(ctx, &keep, part, documents.start, verdicts, &index, writer)
        })
    }
}

fn scratch_paths(draft: &Draft, phase: &str, parts: usize) -> Vec<PathBuf> {
    (0..parts).map(|part| draft.scratch_path(phase, part)).collect()
}

/// An expression and whether it is followed by `desc`.
fn split_order(item: &str) -> (&str, bool) {
    let item = item.trim();
    match item.rsplit_once(char::is_whitespace) {
        Some((expression, word)) if word.eq_ignore_ascii_case("desc") => (expression, true),
        Some((expression, word)) if word.eq_ignore_ascii_case("asc") => (expression, false),
        _ => (item, false),
    }
}

impl Dedup {
    fn index_bands(&self) -> usize {
        if self.method.contains(&Method::Minhash) { self.bands } else { 0 }
    }

    /// The hashes, shingles and order keys of all documents of a part.
    fn write_index(&self, ctx: &Context, corpus: &Corpus, part: usize, mut writer: IndexWriter) -> Result<()> {
        let mut expressions: Vec<(String, String)> = ["id", "text"].map(|name| (name.to_string(), format!("\"{name}\""))).into();
        let orders: Vec<(&str, bool)> = self.survivor.iter().map(|item| split_order(item)).collect();
        expressions.extend(orders.iter().enumerate().map(|(at, (expression, _))| (format!("order_{at}"), expression.to_string())));
        let minhash = MinHash::new(self.bands, self.rows);
        let bands = self.index_bands();
        let mut scratch = Scratch { bands: vec![0; bands], ..Scratch::default() };
        let (table, file) = corpus.file(part);
        ctx.sql().select(table, file, &expressions, None, &mut |batch| {
            ctx.check_stop()?;
            let keys = order_keys(&batch.columns()[2..], &orders)?;
            let ids = batch.column(0).as_fixed_size_binary();
            let texts = cast(batch.column(1), &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            for row in 0..batch.num_rows() {
                let text = texts.value(row);
                let exact = scratch.exact_hash(text);
                if bands > 0 {
                    shingles(&text::dedup_normal(text), self.ngram, &mut scratch.words, &mut scratch.shingles);
                    minhash.bands(&scratch.shingles, &mut scratch.bands);
                }
                let order = keys.as_ref().map(|keys| keys.row(row));
                let order = order.as_ref().map_or(&[][..], |row| row.as_ref());
                let Scratch { shingles, bands, .. } = &scratch;
                writer.push(&Entry { id: id_at(ids, row), exact, set: set_hash(shingles), bands, shingles, order })?;
            }
            Ok(())
        })?;
        writer.finish()
    }

    /// Joins equal documents, then those whose shared band stood the check.
    fn join(&self, ctx: &Context, draft: &Draft, index: &Index, sets: &mut UnionFind) -> Result<()> {
        if self.method.contains(&Method::Exact) {
            join_equal(ctx, index, Column::Exact, sets)?;
        }
        if !self.method.contains(&Method::Minhash) {
            return Ok(());
        }
        // Sets that are equal need no bands, and without them no bucket is filled with copies of one document.
        join_equal(ctx, index, Column::Set, sets)?;
        let pairs = pair_plan(index.documents(), self.bands);
        draft.task(ctx, "pairs", &pairs, |part, path| write_pairs(index, sets, part, path))?;
        let files = scratch_paths(draft, "pairs", pairs.len());
        let checks = check_plan(index.documents());
        draft.task(ctx, "checked", &checks, |part, path| write_checked(ctx, index, &files, self.similarity_min, part, path))?;
        join_checked(&scratch_paths(draft, "checked", checks.len()), sets)
    }

    /// Writes the rows of one part; `verdicts` begins with the first of the part.
    #[expect(clippy::too_many_arguments, reason = "a part is its number, its first document and its verdicts")]
    fn write_part(
        &self,
        ctx: &Context,
        keep: &Keep,
        part: usize,
        mut document: u32,
        verdicts: &[Verdict],
        index: &Index,
        writer: &mut PartWriter,
    ) -> Result<()> {
        let mut verdicts = verdicts.iter().peekable();
        let mut keeper = keep.part(part);
        for batch in keep.read(part, &[], BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let provenance = Provenance::of(&batch)?;
            let (mut rejects, mut clusters) = (Rejects::new("dedup"), Clusters::new());
            let mut kept = vec![true; batch.num_rows()];
            for (row, kept) in kept.iter_mut().enumerate() {
                if let Some(verdict) = verdicts.next_if(|verdict| verdict.document == document) {
                    let survivor = index.id(verdict.survivor)?;
                    *kept = verdict.document == verdict.survivor;
                    clusters.push(provenance.id(row), survivor, verdict, *kept)?;
                    if !*kept {
                        rejects.push(&self.reject(verdict, survivor, provenance.reject(row)))?;
                    }
                }
                document += 1;
            }
            rejects.write(writer)?;
            writer.write("clusters", &clusters.finish()?)?;
            keeper.write(writer, &batch, &BooleanArray::from(kept), &[])?;
        }
        Ok(())
    }

    fn reject<'a>(&self, verdict: &Verdict, survivor: [u8; 16], place: Reject<'a>) -> Reject<'a> {
        let similarity = Some(verdict.similarity);
        let through = "alike through other documents of the cluster";
        let detail = (!verdict.exact && verdict.similarity < self.similarity_min).then_some(through);
        let (rule, threshold) = if verdict.exact { ("exact", None) } else { ("minhash", Some(self.similarity_min)) };
        Reject { rule, value: similarity, threshold, matched_id: Some(survivor), similarity, detail, ..place }
    }
}

/// Comparable bytes of the order expressions, `None` without any.
fn order_keys(columns: &[ArrayRef], orders: &[(&str, bool)]) -> Result<Option<arrow::row::Rows>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let fields = columns.iter().zip(orders).map(|(column, (_, descending))| {
        SortField::new_with_options(column.data_type().clone(), SortOptions { descending: *descending, nulls_first: false })
    });
    let converter = RowConverter::new(fields.collect()).context("`survivor` gives values without an order")?;
    Ok(Some(converter.convert_columns(columns)?))
}

/// Buffers that live longer than a document.
#[derive(Default)]
struct Scratch {
    normal: String,
    words: Vec<u64>,
    shingles: Vec<u64>,
    bands: Vec<u64>,
}

impl Scratch {
    /// A hash of the text without regard to case and white space.
    fn exact_hash(&mut self, text: &str) -> u128 {
        self.normal.clear();
        for word in text.split_whitespace() {
            if word.is_ascii() {
                let start = self.normal.len();
                self.normal.push_str(word);
                self.normal[start..].make_ascii_lowercase();
            } else {
                self.normal.extend(word.chars().flat_map(char::to_lowercase));
            }
            self.normal.push(' ');
        }
        xxh3_128(self.normal.as_bytes())
    }
}

/// Rows of the table `clusters`.
struct Clusters {
    ids: FixedSizeBinaryBuilder,
    clusters: FixedSizeBinaryBuilder,
    sizes: Int64Builder,
    similarities: Float64Builder,
    kept: BooleanBuilder,
}

impl Clusters {
    fn new() -> Clusters {
        Clusters {
            ids: FixedSizeBinaryBuilder::new(16),
            clusters: FixedSizeBinaryBuilder::new(16),
            sizes: Int64Builder::new(),
            similarities: Float64Builder::new(),
            kept: BooleanBuilder::new(),
        }
    }

    fn push(&mut self, id: [u8; 16], cluster: [u8; 16], verdict: &Verdict, kept: bool) -> Result<()> {
        self.ids.append_value(id)?;
        self.clusters.append_value(cluster)?;
        self.sizes.append_value(i64::from(verdict.size));
        self.similarities.append_value(verdict.similarity);
        self.kept.append_value(kept);
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.clusters.finish()),
            Arc::new(self.sizes.finish()),
            Arc::new(self.similarities.finish()),
            Arc::new(self.kept.finish()),
        ];
        Ok(RecordBatch::try_new(schema::clusters(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::testing::{Lab, jsonl};

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\ncolumns = { score = \"float\" }\n";

    /// Words that differ for every number.
    fn prose(seed: usize, words: usize) -> String {
        (0..words)
            .map(|n| format!("w{}x ", char::from(b'a' + ((seed * 31 + n * 7 + seed * n) % 26) as u8)) + &letters(seed * 1009 + n))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn letters(mut n: usize) -> String {
        let mut word = String::new();
        while n > 0 {
            word.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        word
    }

    #[test]
    fn one_of_each_cluster_survives_with_reasons() {
        let base = prose(1, 60);
        let near = format!("{base} and a few more words");
        let texts =
            [&base, &prose(2, 60), &base.to_uppercase().replace(' ', "\n"), &near, "short", "Short ", "!!!", "???", "中文也有重复的文本"];
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts.map(|text| text as &str)))]);
        let config = format!("{IMPORT}[[step]]\nstage = \"dedup\"\n[[step]]\nname = \"again\"\nstage = \"dedup\"\n");
        lab.run(&config, 2).unwrap();
        assert_eq!(lab.rows("dedup", "documents", &["line"]), ["2", "4", "6", "7", "8", "9"]);
        let lines = lines_by_id(&lab);
        let matched = |row: &String| row.rsplit_once('|').map(|(start, id)| format!("{start}|{}", lines[id])).unwrap();
        let rejects: Vec<String> = lab.rows("dedup", "rejects", &["line", "rule", "matched_id"]).iter().map(matched).collect();
        assert_eq!(rejects, ["1|minhash|4", "3|minhash|4", "5|exact|6"]);
        let clusters: Vec<String> = lab.rows("dedup", "clusters", &["size", "kept", "cluster_id"]).iter().map(matched).collect();
        assert_eq!(clusters, ["3|false|4", "3|false|4", "3|true|4", "2|false|6", "2|true|6"]);
        assert_eq!(lab.rows("again", "rejects", &["line"]).len(), 0);
    }

    fn lines_by_id(lab: &Lab) -> BTreeMap<String, u32> {
        let rows = lab.rows("import", "documents", &["id", "line"]);
        rows.iter().map(|row| row.split_once('|').unwrap()).map(|(id, line)| (id.to_string(), line.parse().unwrap())).collect()
    }

    #[test]
    fn the_survivor_follows_the_order() {
        let line = |score: &str| format!("{{\"text\":\"the same text\",\"score\":{score}}}\n");
        let lab = Lab::new(&[("a.jsonl", [line("1"), line("null"), line("3"), line("2")].concat().as_bytes())]);
        for (survivor, expected) in [("score desc", "3"), ("score", "1"), ("char_count(text) desc\", \"score DESC", "3")] {
            lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\nmethod = [\"exact\"]\nsurvivor = [\"{survivor}\"]"), 1).unwrap();
            assert_eq!(lab.rows("dedup", "documents", &["line"]), [expected], "{survivor}");
            assert_eq!(lab.rows("dedup", "rejects", &["rule", "similarity"]), ["exact|1.0"; 3]);
        }
    }

    /// Real-like documents: families of texts that differ in some words.
    fn families() -> Vec<String> {
        let mut texts = Vec::new();
        for family in 0..120 {
            let words: Vec<String> = prose(family, 80).split(' ').map(str::to_string).collect();
            for member in 0..6 {
                let mut words = words.clone();
                for change in 0..member * 2 {
                    let at = (family * 17 + member * 29 + change * 41) % words.len();
                    words[at] = letters(1 + family * 7919 + member * 31 + change);
                }
                texts.push(words.join(" "));
            }
        }
        texts
    }

    #[test]
    fn agrees_with_all_pairs() {
        let texts = families();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let sets: Vec<Vec<u64>> = texts
            .iter()
            .map(|text| {
                let (mut words, mut set) = (Vec::new(), Vec::new());
                shingles(&text::dedup_normal(text), 5, &mut words, &mut set);
                set
            })
            .collect();
        let mut exact = UnionFind::new(texts.len() as u32);
        for a in 0..texts.len() {
            for b in a + 1..texts.len() {
                if minhash::jaccard(&sets[a], &sets[b]) >= 0.8 {
                    exact.join(a as u32, b as u32);
                }
            }
        }
        let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n[[step]]\nname = \"again\"\nstage = \"dedup\"\n"), 2).unwrap();
        let lines = lines_by_id(&lab);
        let clusters = lab.rows("dedup", "clusters", &["id", "cluster_id"]);
        // Precision 1: what is in one cluster is connected by pairs that are truly alike.
        for row in &clusters {
            let (id, cluster) = row.split_once('|').unwrap();
            assert_eq!(exact.find(lines[id] - 1), exact.find(lines[cluster] - 1));
        }
        let found = clusters.len() - clusters.iter().map(|row| row.split_once('|').unwrap().1).collect::<BTreeSet<_>>().len();
        let members = exact.sets();
        let expected = members.iter().filter(|(root, member)| root != member).count();
        assert!(expected > 100 && found as f64 >= 0.9 * expected as f64, "{found} of {expected}");
        assert_eq!(lab.rows("again", "rejects", &["line"]).len(), 0);
        let two = lab.fingerprint("dedup");
        lab.forget();
        lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n"), 1).unwrap();
        assert_eq!(lab.fingerprint("dedup"), two);
    }

    #[test]
    fn nothing_and_one_document() {
        for texts in [&[][..], &["one"]] {
            let lab = Lab::new(&[("a.jsonl", &jsonl(texts))]);
            lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n"), 2).unwrap();
            assert_eq!(lab.rows("dedup", "documents", &["text"]), texts);
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        let check = |settings: &str, expected: &str| {
            let lab = Lab::new(&[("a.jsonl", b"")]);
            let message = format!("{:#}", lab.run(&format!("{IMPORT}[[step]]\nstage = \"dedup\"\n{settings}"), 1).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("method = []", "`method` is empty");
        check("similarity_min = 1.5", "it must be above 0 and at most 1");
        check("rows = 0", "`rows` is 0");
        check("bands = 500", "more than 1024 permutations");
    }

    #[test]
    fn orders_are_split_from_their_expressions() {
        assert_eq!(split_order(" char_count(text)  DESC "), ("char_count(text) ", true));
        assert_eq!(split_order("score asc"), ("score", false));
        assert_eq!(split_order("score"), ("score", false));
    }
}
