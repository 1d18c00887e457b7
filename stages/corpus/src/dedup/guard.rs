//! The guards: a step that would wipe a source out, or join what is not alike, fails and shows what it would have done.
//!
//! Known disasters: 859 092 documents became 2 through chains of unverified pairs; short documents collapsed into one. Exact copies do not
//! count, neither in a cluster nor as a loss: a mirror is a mirror.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray};
use engine::Context;

use super::clusters::{Bits, Cluster, Clusters};
use super::index::Index;
use super::settings::{Dedup, Verify};
use crate::documents::{Corpus, Provenance};

const BATCH_ROWS: usize = 8192;
/// The default of `cluster_size_max` is a share of all documents, but at least so many.
const CLUSTER_SHARE: u64 = 10;
const CLUSTER_SIZE_MIN: u64 = 1000;
/// Sources of fewer documents are not judged: two near copies of a page are no disaster.
const SOURCE_DOCUMENTS_MIN: u64 = 100;
/// Characters of a text in the report.
const EXAMPLE: usize = 100;

/// Losses of one source.
#[derive(Default)]
struct Loss {
    documents: u64,
    copies: u64,
    near: u64,
}

/// Fails when a limit is passed. `old` documents come before those of the corpus in the index.
pub fn check(ctx: &Context, dedup: &Dedup, corpus: &Corpus, index: &Index, old: u32, clusters: &Clusters, copies: &Bits) -> Result<()> {
    let Some(first) = clusters.largest.first() else { return Ok(()) };
    let limit = dedup.cluster_size_max.unwrap_or_else(|| (u64::from(index.documents()) / CLUSTER_SHARE).max(CLUSTER_SIZE_MIN));
    if first.distinct > limit {
        let what = format!("joined {} different documents into one cluster; `cluster_size_max` is {limit}", first.distinct);
        bail!("{what}\n{}\n{}", examples(corpus, index, old, clusters)?, advice(dedup, "cluster_size_max"));
    }
    for (source, loss) in losses(ctx, corpus, index, old, clusters, copies)? {
        let share = loss.near as f64 / loss.documents.max(1) as f64;
        if loss.documents >= SOURCE_DOCUMENTS_MIN && share > dedup.source_loss_max {
            let Loss { documents, copies, near } = loss;
            let what = format!(
                "would remove {:.2} % of source `{source}` as near duplicates: {near} of {documents} documents, besides {copies} exact copies; \
                 `source_loss_max` is {}",
                100.0 * share,
                dedup.source_loss_max
            );
            bail!("{what}\n{}\n{}", examples(corpus, index, old, clusters)?, advice(dedup, "source_loss_max"));
        }
    }
    Ok(())
}

/// What each source loses, in order of their names.
fn losses(ctx: &Context, corpus: &Corpus, index: &Index, old: u32, clusters: &Clusters, copies: &Bits) -> Result<BTreeMap<String, Loss>> {
    let mut losses: BTreeMap<String, Loss> = BTreeMap::new();
    let mut verdicts = clusters.verdicts[clusters.verdicts.partition_point(|verdict| verdict.document < old)..].iter().peekable();
    let mut document = old;
    for part in 0..corpus.plan().len() {
        let (table, file) = corpus.file(part);
        for batch in table.read(file, Some(&["source"]), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let sources = batch.column(0).as_string::<i32>();
            let mut from = 0;
            while from < sources.len() {
                // Documents of one source stand together, mostly.
                let source = sources.value(from);
                let to = (from + 1..sources.len()).find(|row| sources.value(*row) != source).unwrap_or(sources.len());
                if !losses.contains_key(source) {
                    losses.insert(source.to_string(), Loss::default());
                }
                let loss = losses.get_mut(source).expect("inserted above");
                loss.documents += (to - from) as u64;
                document += (to - from) as u32;
                while let Some(verdict) = verdicts.next_if(|verdict| verdict.document < document) {
                    if verdict.document != verdict.survivor {
                        let copy = copies.contains(verdict.document) || index.exact(verdict.document)? == index.exact(verdict.survivor)?;
                        *if copy { &mut loss.copies } else { &mut loss.near } += 1;
                    }
                }
                from = to;
            }
        }
    }
    Ok(losses)
}

/// The largest clusters with two of their documents each.
fn examples(corpus: &Corpus, index: &Index, old: u32, clusters: &Clusters) -> Result<String> {
    let mut lines = vec!["the largest clusters:".to_string()];
    for Cluster { survivor, other, distinct, documents } in &clusters.largest {
        lines.push(format!("  {documents} documents, {distinct} of them different:"));
        for (name, document) in [("survivor", *survivor), ("beside it", *other)] {
            lines.push(format!("    {name} {}", example(corpus, index, old, document)?));
        }
    }
    Ok(lines.join("\n"))
}

/// The id, place and first words of a document.
fn example(corpus: &Corpus, index: &Index, old: u32, document: u32) -> Result<String> {
    let id: String = index.id(document)?.iter().map(|byte| format!("{byte:02x}")).collect();
    if document < old {
        return Ok(format!("{id} of the documents against which these are deduplicated"));
    }
    let part = index.part_of(document);
    let before = index.part_of(old);
    let mut row = (document - index.part(part).start) as usize;
    for batch in corpus.read(part - before, BATCH_ROWS)? {
        let batch = batch?;
        if row >= batch.num_rows() {
            row -= batch.num_rows();
            continue;
        }
        let place = Provenance::of(&batch)?.reject(row);
        let text = batch.column_by_name("text").context("the documents have no text")?.as_string::<i32>().value(row);
        let start: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXAMPLE).collect();
        let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
        return Ok(format!("{id} ({}{line}): {start:?}", place.path));
    }
    Ok(id)
}

fn advice(dedup: &Dedup, setting: &str) -> String {
    let verify = if dedup.verify == Verify::None { "`verify = \"jaccard\"`, " } else { "" };
    let short = "higher `short_words` or `short_characters`";
    format!(
        "if they are not alike, set {verify}a higher `similarity_min` (it is {}), a longer `ngram` (it is {}) or {short}, \
         or `normal = \"none\"` if they differ in numbers, case or marks that are ignored; \
         if they are, raise `{setting}`",
        dedup.similarity_min(),
        dedup.ngram()
    )
}
