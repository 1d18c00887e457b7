//! The rows that `dedup` writes: rejects with what was measured, and members of clusters.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch};
use engine::schema;

use super::candidates::Measure;
use super::clusters::Verdict;
use super::index::Index;
use super::settings::{Dedup, Method, Short, Verify};
use crate::rejects::Reject;

/// Measures documents against their survivors, one part's documents in order.
pub struct Comparison<'a> {
    index: &'a Index,
    dedup: &'a Dedup,
    held: Option<u32>,
    of_survivor: Vec<u64>,
    of_document: Vec<u64>,
}

/// How a document compares with its survivor.
pub struct Found {
    rule: &'static str,
    /// Of the sets of n-grams, 1 for exact copies; `None` where there is nothing to compare.
    similarity: Option<f64>,
    /// It is in the cluster for others between it and the survivor.
    through: bool,
}

impl<'a> Comparison<'a> {
    pub fn new(index: &'a Index, dedup: &'a Dedup) -> Comparison<'a> {
        Comparison { index, dedup, held: None, of_survivor: Vec::new(), of_document: Vec::new() }
    }

    pub fn compare(&mut self, verdict: &Verdict) -> Result<Found> {
        let Verdict { document, survivor, .. } = *verdict;
        let by_exact = self.dedup.has(Method::Exact) || self.dedup.short() == Short::Exact && self.index.is_short(document)?;
        if document == survivor || by_exact && self.index.exact(document)? == self.index.exact(survivor)? {
            return Ok(Found { rule: "exact", similarity: Some(1.0), through: false });
        }
        let similarity = self.similarity(document, survivor)?;
        if self.dedup.has(Method::Url) {
            let url = self.index.url(document)?;
            let same = url != 0 && url == self.index.url(survivor)?;
            if same || !self.dedup.has(Method::Minhash) {
                return Ok(Found { rule: "url", similarity, through: !same });
            }
        }
        let alike = self.dedup.verify == Verify::None || similarity.is_some_and(|similarity| similarity >= self.dedup.similarity_min());
        Ok(Found { rule: "minhash", similarity, through: !alike })
    }

    fn similarity(&mut self, document: u32, survivor: u32) -> Result<Option<f64>> {
        if self.held != Some(survivor) {
            self.index.shingles(survivor, &mut self.of_survivor)?;
            self.held = Some(survivor);
        }
        self.index.shingles(document, &mut self.of_document)?;
        let compared = !self.of_survivor.is_empty() && !self.of_document.is_empty();
        Ok(compared.then(|| self.dedup.measure().similarity(&self.of_survivor, &self.of_document)))
    }
}

impl Dedup {
    pub(super) fn measure(&self) -> Measure {
        Measure { verify: self.verify, similarity_min: self.similarity_min() }
    }

    pub(super) fn reject<'a>(&self, found: &Found, survivor: [u8; 16], place: Reject<'a>) -> Reject<'a> {
        let Found { rule, similarity, through } = *found;
        let threshold = (rule == "minhash" && self.verify != Verify::None).then(|| self.similarity_min());
        let detail = through.then_some("alike through other documents of the cluster");
        Reject { rule, value: similarity, threshold, matched_id: Some(survivor), similarity, detail, ..place }
    }
}

/// Rows of the table `clusters`.
pub struct ClusterRows {
    ids: FixedSizeBinaryBuilder,
    clusters: FixedSizeBinaryBuilder,
    sizes: Int64Builder,
    similarities: Float64Builder,
    kept: BooleanBuilder,
}

impl ClusterRows {
    pub fn new() -> ClusterRows {
        ClusterRows {
            ids: FixedSizeBinaryBuilder::new(16),
            clusters: FixedSizeBinaryBuilder::new(16),
            sizes: Int64Builder::new(),
            similarities: Float64Builder::new(),
            kept: BooleanBuilder::new(),
        }
    }

    /// Where there was nothing to compare, documents of one address count as equal, others as different.
    pub fn push(&mut self, id: [u8; 16], cluster: [u8; 16], verdict: &Verdict, found: &Found) -> Result<()> {
        self.ids.append_value(id)?;
        self.clusters.append_value(cluster)?;
        self.sizes.append_value(i64::from(verdict.size));
        self.similarities.append_value(found.similarity.unwrap_or(if found.through { 0.0 } else { 1.0 }));
        self.kept.append_value(verdict.document == verdict.survivor);
        Ok(())
    }

    pub fn finish(mut self) -> Result<RecordBatch> {
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
