//! Who survives of each cluster, and how near the others are to it.

use anyhow::Result;
use rayon::prelude::*;

use super::index::Index;
use super::minhash::jaccard;
use super::union::UnionFind;

/// What is decided about a document that has duplicates.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub document: u32,
    pub survivor: u32,
    /// Documents of the cluster.
    pub size: u32,
    /// Jaccard of the n-grams with the survivor; 1 for the survivor itself and where the texts are equal.
    pub similarity: f64,
    /// Whether its text equals the survivor's, case and white space ignored.
    pub exact: bool,
}

/// One verdict per document of every cluster, in order of the documents. The smallest order key survives, of equal keys the smallest id.
pub fn judge(index: &Index, sets: &mut UnionFind, by_exact: bool) -> Result<Vec<Verdict>> {
    let members = sets.sets();
    let clusters: Vec<&[(u32, u32)]> = members.chunk_by(|a, b| a.0 == b.0).collect();
    let judged: Result<Vec<Vec<Verdict>>> = clusters.par_iter().map(|cluster| judge_cluster(index, cluster, by_exact)).collect();
    let mut verdicts: Vec<Verdict> = judged?.into_iter().flatten().collect();
    verdicts.sort_unstable_by_key(|verdict| verdict.document);
    Ok(verdicts)
}

fn judge_cluster(index: &Index, cluster: &[(u32, u32)], by_exact: bool) -> Result<Vec<Verdict>> {
    let mut best = None;
    for (_, document) in cluster {
        let candidate = (index.order(*document)?, index.id(*document)?, *document);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    let (_, _, survivor) = best.expect("a cluster has members");
    let exact = index.exact(survivor)?;
    let (mut of_survivor, mut of_member) = (Vec::new(), Vec::new());
    index.shingles(survivor, &mut of_survivor)?;
    let size = cluster.len() as u32;
    let verdict = |(_, document): &(u32, u32)| {
        let document = *document;
        if document == survivor || (by_exact && index.exact(document)? == exact) {
            return Ok(Verdict { document, survivor, size, similarity: 1.0, exact: true });
        }
        index.shingles(document, &mut of_member)?;
        Ok(Verdict { document, survivor, size, similarity: jaccard(&of_survivor, &of_member), exact: false })
    };
    cluster.iter().map(verdict).collect()
}
