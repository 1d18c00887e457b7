//! Who survives of each cluster, and how large the clusters are.

use std::ops::Range;

use anyhow::Result;
use rayon::prelude::*;

use super::index::Index;
use super::union::UnionFind;

/// What is decided about a document that has duplicates. Held for every one of them: 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    pub document: u32,
    pub survivor: u32,
    /// Documents of the cluster.
    pub size: u32,
}

/// A set of documents, a bit each.
pub struct Bits(Vec<u64>);

impl Bits {
    pub fn new(documents: u32) -> Bits {
        Bits(vec![0; (documents as usize).div_ceil(64)])
    }

    pub fn insert(&mut self, document: u32) {
        self.0[document as usize / 64] |= 1 << (document % 64);
    }

    pub fn contains(&self, document: u32) -> bool {
        self.0[document as usize / 64] >> (document % 64) & 1 == 1
    }
}

/// The clusters of two or more documents.
pub struct Clusters {
    /// One per document of every cluster, in order of the documents.
    pub verdicts: Vec<Verdict>,
    /// The largest, exact copies counted once.
    pub largest: Vec<Cluster>,
}

/// A cluster as the guard reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub survivor: u32,
    /// The last of its documents that is not the survivor.
    pub other: u32,
    /// Documents, exact copies counted once.
    pub distinct: u64,
    pub documents: u64,
}

const LARGEST: usize = 5;

/// Chooses survivors: in a cluster with documents before `old` the first of these, else the smallest order key and of equal keys the smallest id.
/// `copies` are documents that equal an earlier one.
pub fn judge(index: &Index, sets: &mut UnionFind, old: u32, copies: &Bits) -> Result<Clusters> {
    let members = sets.sets();
    let mut clusters: Vec<Range<usize>> = ranges(&members);
    // What earlier steps kept is theirs to judge.
    clusters.retain(|range| members[range.end - 1].1 >= old);
    let judged: Result<Vec<Cluster>> =
        clusters.par_iter().map(|range| judge_cluster(index, &members[range.clone()], old, copies)).collect();
    let mut largest = judged?;
    let mut verdicts = Vec::with_capacity(members.len());
    for (range, cluster) in clusters.iter().zip(&largest) {
        let verdict = |(_, document): &(u32, u32)| Verdict { document: *document, survivor: cluster.survivor, size: range.len() as u32 };
        verdicts.extend(members[range.clone()].iter().map(verdict));
    }
    verdicts.sort_unstable_by_key(|verdict| verdict.document);
    largest.sort_unstable_by_key(|cluster| (std::cmp::Reverse(cluster.distinct), cluster.survivor));
    largest.truncate(LARGEST);
    Ok(Clusters { verdicts, largest })
}

fn ranges(members: &[(u32, u32)]) -> Vec<Range<usize>> {
    let mut start = 0;
    members
        .chunk_by(|a, b| a.0 == b.0)
        .map(|cluster| {
            start += cluster.len();
            start - cluster.len()..start
        })
        .collect()
}

fn judge_cluster(index: &Index, cluster: &[(u32, u32)], old: u32, copies: &Bits) -> Result<Cluster> {
    let mut survivor = cluster[0].1;
    if survivor >= old {
        let mut best = None;
        for (_, document) in cluster {
            let candidate = (index.order(*document)?, index.id(*document)?, *document);
            if best.as_ref().is_none_or(|best| candidate < *best) {
                best = Some(candidate);
            }
        }
        survivor = best.map_or(survivor, |(_, _, document)| document);
    }
    let distinct = cluster.iter().filter(|(_, document)| !copies.contains(*document)).count();
    let other = cluster.iter().rev().map(|(_, document)| *document).find(|document| *document != survivor);
    Ok(Cluster { survivor, other: other.unwrap_or(survivor), distinct: distinct as u64, documents: cluster.len() as u64 })
}
