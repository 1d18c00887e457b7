//! `dedup`: keeps one document of every cluster of equal or nearly equal ones.
//!
//! Passes: an index of hashes and shingles per part; documents with equal hashes are joined; pairs of documents that share a band, and the
//! check of each pair by its true similarity; clusters, survivors and the guards; the rows. What is one cluster can hold two documents that are
//! not alike themselves, but through others between them. Memory holds 4 bytes a document and 12 more for each that has duplicates, besides
//! bins of bounded size; all else is in scratch files.
//!
//! Changes no text: lines and paragraphs that occurred before are the work of `dedup-lines`.

mod against;
mod candidates;
mod clusters;
mod features;
mod guard;
mod index;
mod index_writer;
mod minhash;
mod rows;
mod settings;
mod union;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use engine::{Context, Disk, Draft, Inputs, Kind, PartWriter, Port, Site, Stage, schema};

use crate::documents::{Corpus, Provenance, id_at};
use crate::keep::{self, Keep};
use crate::rejects::{Reject, Rejects};
use against::{Against, Fetched, IndexRows, Urls, identity};
use candidates::{check_plan, each_equal, first_documents, join_checked, pair_plan, write_checked, write_pairs};
use clusters::{Bits, Verdict, judge};
use features::Features;
use index::{Column, Index};
use index_writer::{Entry, IndexWriter};
use rows::{ClusterRows, Comparison};
pub use settings::Dedup;
use settings::{Method, Short};
use union::UnionFind;

const BATCH_ROWS: usize = 2048;

impl Stage for Dedup {
    const NAME: &'static str = "dedup";
    const ABOUT: &'static str = "Keeps one document of every cluster of equal or nearly equal ones.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[
        Port::many("documents", Kind::Documents),
        // Earlier steps whose documents stay what they are: what is like one of them is rejected. Of the new documents those are kept that
        // `documents = [old, new]` would keep with the old ones first among survivors; matched ids are the same too if that joins no two
        // old ones, as it does not when they were deduplicated with the same settings.
        Port { optional: true, ..Port::many("against", Kind::Documents) },
    ];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.resolve(site)
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        // Seen on 100 MB of English text: 0.15 of the input's files, 2.7 with signatures and shingles.
        let scratch = if self.has(Method::Minhash) { 3 * input_bytes } else { input_bytes / 5 };
        Disk { scratch, ..keep::disk(self.materialize, input_bytes) }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let documents = inputs.artifacts("documents");
        let corpus = Corpus::of(&documents)?;
        if self.has(Method::Url) {
            documents.iter().try_for_each(|artifact| artifact.table("documents")?.column(&self.url).map(drop))?;
        }
        let against = Against::of(&inputs.artifacts("against"), self)?;
        draft.declare("documents", corpus.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("clusters", schema::clusters())?;
        if self.index {
            draft.declare(against::TABLE, against::schema(self.index_bands()))?;
            draft.fact(against::TABLE, identity(self))?;
        }
        // The balance is that of the new documents alone.
        draft.count("records", documents.iter().map(|artifact| artifact.manifest.rows("documents") as i64).sum());
        let (plan, old_plan) = (corpus.plan(), against.plan());
        let bands = self.index_bands();
        draft.task(ctx, "against", &old_plan, |part, path| against.write_index(ctx, self, part, IndexWriter::create(path, bands)?))?;
        draft.task(ctx, "index", &plan, |part, path| self.write_index(ctx, &corpus, part, IndexWriter::create(path, bands)?))?;
        let paths = [scratch_paths(draft, "against", old_plan.len()), scratch_paths(draft, "index", plan.len())].concat();
        let mut index = Index::open(&paths)?;
        let old = index.part(old_plan.len()).start;
        let (mut sets, copies) = self.join(ctx, draft, &mut index, &against)?;
        let clusters = judge(&index, &mut sets, old, &copies)?;
        drop(sets);
        guard::check(ctx, self, &corpus, &index, old, &clusters, &copies)?;
        let keep = Keep::of(&corpus, self.materialize)?;
        let decided = Decided { dedup: self, keep: &keep, index: &index, verdicts: &clusters.verdicts };
        draft.parts(ctx, &plan, |part, writer| decided.write(ctx, part, index.part(old_plan.len() + part).start, writer))
    }
}

fn scratch_paths(draft: &Draft, phase: &str, parts: usize) -> Vec<PathBuf> {
    (0..parts).map(|part| draft.scratch_path(phase, part)).collect()
}

impl Dedup {
    fn index_bands(&self) -> usize {
        if self.has(Method::Minhash) { self.bands() } else { 0 }
    }

    /// The hashes, shingles and order keys of all documents of a part.
    fn write_index(&self, ctx: &Context, corpus: &Corpus, part: usize, mut writer: IndexWriter) -> Result<()> {
        let url = self.has(Method::Url).then_some(self.url.as_str());
        let names = ["id", "text"].into_iter().chain(url);
        let mut expressions: Vec<(String, String)> =
            names.map(|name| (name.to_string(), format!("\"{}\"", name.replace('"', "\"\"")))).collect();
        let first_order = expressions.len();
        let orders = self.orders();
        expressions.extend(orders.iter().enumerate().map(|(at, (expression, _))| (format!("order_{at}"), expression.to_string())));
        let mut features = Features::new(self);
        let (table, file) = corpus.file(part);
        ctx.sql().select(table, file, &expressions, None, &mut |batch| {
            ctx.check_stop()?;
            let keys = order_keys(&batch.columns()[first_order..], &orders)?;
            let ids = batch.column(0).as_fixed_size_binary();
            let urls = url.map(|_| Urls::of(batch.column(2))).transpose()?;
            for row in 0..batch.num_rows() {
                features.read(text_at(batch.column(1), row));
                let order = keys.as_ref().map(|keys| keys.row(row));
                writer.push(&Entry {
                    id: id_at(ids, row),
                    exact: features.exact,
                    url: urls.as_ref().and_then(|urls| urls.hash(row)),
                    short: features.short,
                    dropped: features.short && self.drops_short(),
                    set: features.set,
                    bands: &features.bands,
                    shingles: &features.shingles,
                    order: order.as_ref().map_or(&[][..], |row| row.as_ref()),
                })?;
            }
            Ok(())
        })?;
        writer.finish()
    }

    /// Joins documents with equal hashes, then those whose shared band stood the check. Besides the sets, returns which documents equal an
    /// earlier one.
    fn join(&self, ctx: &Context, draft: &Draft, index: &mut Index, against: &Against) -> Result<(UnionFind, Bits)> {
        let mut sets = UnionFind::new(index.documents());
        let mut copies = Bits::new(index.documents());
        let short = self.short() == Short::Exact;
        each_equal(ctx, index, Column::Exact, |first, second| {
            copies.insert(second);
            if self.has(Method::Exact) || short && index.is_short(second)? {
                sets.join(first, second);
            }
            Ok(())
        })?;
        let mut join = |column| {
            each_equal(ctx, index, column, |first, second| {
                sets.join(first, second);
                Ok(())
            })
        };
        if self.has(Method::Url) {
            join(Column::Url)?;
        }
        if !self.has(Method::Minhash) {
            return Ok((sets, copies));
        }
        // Sets that are equal need no bands, and without them no bucket is filled with copies of one document.
        join(Column::Set)?;
        let old = index.part(against.plan().len()).start;
        let pairs = pair_plan(index);
        draft.task(ctx, "pairs", &pairs, |part, path| write_pairs(index, &sets, old, part, path))?;
        let files = scratch_paths(draft, "pairs", pairs.len());
        self.fetch(ctx, draft, index, against, &mut sets, &files)?;
        let checks = check_plan(index.documents());
        draft.task(ctx, "checked", &checks, |part, path| write_checked(ctx, index, &files, self.measure(), part, path))?;
        join_checked(&scratch_paths(draft, "checked", checks.len()), &mut sets)?;
        Ok((sets, copies))
    }

    /// Fetches the shingles of those old documents that are in a pair or are the first of a new document's set.
    fn fetch(
        &self,
        ctx: &Context,
        draft: &Draft,
        index: &mut Index,
        against: &Against,
        sets: &mut UnionFind,
        pairs: &[PathBuf],
    ) -> Result<()> {
        let plan = against.plan();
        let old = index.part(plan.len()).start;
        let mut firsts = Bits::new(old);
        for first in (old..index.documents()).map(|document| sets.find(document)).filter(|first| *first < old) {
            firsts.insert(first);
        }
        draft.task(ctx, "fetched", &plan, |part, path| {
            let documents = index.part(part);
            let mut wanted = first_documents(pairs, documents.clone())?;
            wanted.extend(documents.clone().filter(|document| firsts.contains(*document)));
            wanted.sort();
            wanted.dedup();
            wanted.iter_mut().for_each(|document| *document -= documents.start);
            against.fetch(ctx, self, part, &wanted, path)
        })?;
        let fetched = scratch_paths(draft, "fetched", plan.len());
        let opened: Result<Vec<Fetched>> =
            fetched.iter().enumerate().map(|(part, path)| Fetched::open(path, index.part(part).start)).collect();
        index.attach(opened?);
        Ok(())
    }
}

fn text_at(texts: &ArrayRef, row: usize) -> &str {
    match texts.data_type() {
        DataType::Utf8View => texts.as_string_view().value(row),
        _ => texts.as_string::<i32>().value(row),
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

/// All that the rows follow from.
struct Decided<'a> {
    dedup: &'a Dedup,
    keep: &'a Keep<'a>,
    index: &'a Index,
    verdicts: &'a [Verdict],
}

impl Decided<'_> {
    /// Writes the rows of one part, whose first document has the given number.
    fn write(&self, ctx: &Context, part: usize, mut document: u32, writer: &mut PartWriter) -> Result<()> {
        let start = self.verdicts.partition_point(|verdict| verdict.document < document);
        let mut verdicts = self.verdicts[start..].iter().peekable();
        let mut comparison = Comparison::new(self.index, self.dedup);
        let mut keeper = self.keep.part(part);
        let judged: &[&str] = if self.dedup.drops_short() { &["text"] } else { &[] };
        for batch in self.keep.read(part, judged, BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let provenance = Provenance::of(&batch)?;
            let (mut rejects, mut clusters) = (Rejects::new("dedup"), ClusterRows::new());
            let mut kept = vec![true; batch.num_rows()];
            for (row, kept) in kept.iter_mut().enumerate() {
                let number = document + row as u32;
                if self.dedup.drops_short() && self.index.is_short(number)? {
                    *kept = false;
                    let texts = batch.column_by_name("text").context("the documents have no text")?;
                    rejects.push(&self.short(text_at(texts, row), provenance.reject(row)))?;
                }
                let Some(verdict) = verdicts.next_if(|verdict| verdict.document == number) else { continue };
                let (survivor, found) = (self.index.id(verdict.survivor)?, comparison.compare(verdict)?);
                *kept = number == verdict.survivor;
                clusters.push(provenance.id(row), survivor, verdict, &found)?;
                if !*kept {
                    rejects.push(&self.dedup.reject(&found, survivor, provenance.reject(row)))?;
                }
            }
            rejects.write(writer)?;
            writer.write("clusters", &clusters.finish()?)?;
            if self.dedup.index {
                writer.write(against::TABLE, &self.index_rows(document, &kept)?)?;
            }
            document += batch.num_rows() as u32;
            keeper.write(writer, &batch, &BooleanArray::from(kept), &[])?;
        }
        Ok(())
    }

    fn short<'a>(&self, text: &str, place: Reject<'a>) -> Reject<'a> {
        let (words, characters) = Features::new(self.dedup).lengths(text);
        let words_min = self.dedup.short_words.unwrap_or(0);
        let (value, threshold, detail) = match words < words_min {
            true => (words, words_min, "words in normal form"),
            false => (characters, self.dedup.short_characters.unwrap_or(0), "characters in normal form, without white space"),
        };
        Reject { rule: "short", value: Some(value as f64), threshold: Some(threshold as f64), detail: Some(detail), ..place }
    }

    /// What the table `index` holds of the kept documents from `first` on.
    fn index_rows(&self, first: u32, kept: &[bool]) -> Result<RecordBatch> {
        let mut rows = IndexRows::new(self.dedup.index_bands());
        let mut hashes = None;
        for (document, _) in (first..).zip(kept).filter(|(_, kept)| **kept) {
            let hashes = match hashes.take_if(|hashes: &mut index::SegmentHashes| hashes.holds(document)) {
                Some(held) => hashes.insert(held),
                None => hashes.insert(self.index.hashes(document)?),
            };
            rows.push(document, self.index, hashes)?;
        }
        rows.finish()
    }
}

#[cfg(test)]
mod tests;
