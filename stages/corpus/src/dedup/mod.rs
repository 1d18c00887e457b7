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
use arrow::compute::{SortOptions, cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use engine::{Context, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, Table, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::documents::{Provenance, id_at};
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
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
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

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        draft.declare("documents", table.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("clusters", schema::clusters())?;
        let plan = table.plan();
        draft
            .task(ctx, "index", &plan, |part, path| self.write_index(ctx, &table, part, IndexWriter::create(path, self.index_bands())?))?;
        let index = Index::open(&scratch_paths(draft, "index", plan.len()))?;
        let mut sets = UnionFind::new(index.documents());
        self.join(ctx, draft, &index, &mut sets)?;
        let verdicts = judge(&index, &mut sets, self.method.contains(&Method::Exact))?;
        drop(sets);
        draft.parts(ctx, &plan, |part, writer| {
            let documents = index.part(part);
            let verdicts = &verdicts[verdicts.partition_point(|verdict| verdict.document < documents.start)..];
            self.write_part(ctx, &table, part, documents.start, verdicts, &index, writer)
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
    fn write_index(&self, ctx: &Context, table: &Table, part: usize, mut writer: IndexWriter) -> Result<()> {
        let mut expressions: Vec<(String, String)> = ["id", "text"].map(|name| (name.to_string(), format!("\"{name}\""))).into();
        let orders: Vec<(&str, bool)> = self.survivor.iter().map(|item| split_order(item)).collect();
        expressions.extend(orders.iter().enumerate().map(|(at, (expression, _))| (format!("order_{at}"), expression.to_string())));
        let minhash = MinHash::new(self.bands, self.rows);
        let bands = self.index_bands();
        let mut scratch = Scratch { bands: vec![0; bands], ..Scratch::default() };
        ctx.sql().select(table, part, &expressions, None, &mut |batch| {
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
        table: &Table,
        part: usize,
        mut document: u32,
        verdicts: &[Verdict],
        index: &Index,
        writer: &mut PartWriter,
    ) -> Result<()> {
        let mut verdicts = verdicts.iter().peekable();
        for batch in table.read(part, None, BATCH_ROWS)? {
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
            writer.write("documents", &filter_record_batch(&batch, &BooleanArray::from(kept))?)?;
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
