//! The method `ngram`: items that share n-grams with a document, and the passages that both have.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::index::{Index, ngrams};

/// Occurrences of an n-gram in one document that are followed up; more tell nothing new of a document that repeats itself.
const OCCURRENCES_MAX: u8 = 16;

/// A passage of a document that an item has too.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub item: u32,
    pub field: u16,
    /// The first word of the passage in the document, and its number of words.
    pub position: usize,
    pub words: usize,
    pub score: f64,
}

/// The passages of `words` that items have too: of those items of whose n-grams the document has at least the share `overlap_min`, where a
/// short piece counts as one n-gram. Passages are as long as they can be; none lies within another with the same piece.
pub fn search(index: &Index, words: &[u64], overlap_min: f64) -> Vec<Finding> {
    let mut hits = Vec::new();
    ngrams(words, index.ngram, |at, hash| hits.extend(index.table.find(hash).map(|gram| (at, gram))));
    let mut wholes = BTreeMap::new();
    index.whole(words, |at, piece| {
        wholes.entry(piece).or_insert(at);
    });
    if hits.is_empty() && wholes.is_empty() {
        return Vec::new();
    }
    let mut found: HashMap<u32, u32> = HashMap::new();
    let mut findings = follow(index, words, &hits, &mut found);
    for (piece, position) in wholes {
        let piece = &index.items.pieces[piece as usize];
        *found.entry(piece.item).or_default() += 1;
        findings.push(Finding { item: piece.item, field: piece.field, position, words: piece.words as usize, score: 0.0 });
    }
    for finding in &mut findings {
        finding.score = f64::from(found[&finding.item]) / f64::from(index.item_grams[finding.item as usize]);
    }
    findings.retain(|finding| finding.score >= overlap_min);
    findings
}

/// Extends each hit to the whole passage, and counts the n-grams found of each item.
fn follow(index: &Index, words: &[u64], hits: &[(usize, u32)], found: &mut HashMap<u32, u32>) -> Vec<Finding> {
    let mut occurrences: HashMap<u32, u8> = HashMap::new();
    let mut ends: HashMap<u32, usize> = HashMap::new();
    let mut findings = Vec::new();
    for &(position, gram) in hits {
        let occurrence = occurrences.entry(gram).or_default();
        if *occurrence == OCCURRENCES_MAX {
            continue;
        }
        *occurrence += 1;
        for posting in index.table.postings(gram) {
            let piece = &index.items.pieces[posting.piece as usize];
            if *occurrence == 1 {
                *found.entry(piece.item).or_default() += 1;
            }
            let end = ends.entry(posting.piece).or_default();
            if position + index.ngram <= *end {
                continue;
            }
            let rest = &index.items.words_of(piece)[posting.position as usize..];
            let words = rest.iter().zip(&words[position..]).take_while(|(a, b)| a == b).count();
            *end = position + words;
            findings.push(Finding { item: piece.item, field: piece.field, position, words, score: 0.0 });
        }
    }
    findings
}
