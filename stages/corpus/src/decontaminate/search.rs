//! Searches one document after the other for all items, and keeps account of what was found.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use engine::PartWriter;
use text::plain_words;

use super::evaluation::Items;
use super::fuzzy::{self, Weights};
use super::index::Index;
use super::ngram::{self, Finding};
use super::rows::{self, Matches};
use super::{Decontaminate, Method};

/// Rows of `matches` for one document at most, those of the greatest overlap.
const MATCHES_MAX: usize = 100;
/// Characters of a passage in `matches`, and in the detail of a reject.
const PASSAGE_CHARS: usize = 300;
const DETAIL_CHARS: usize = 80;

/// The items, ready to be searched for.
pub struct Search {
    pub index: Index,
    /// For the method `fuzzy`.
    weights: Option<Weights>,
    sample: usize,
    overlap_min: f64,
}

impl Search {
    pub fn new(settings: &Decontaminate, items: Items) -> Search {
        let fuzzy = settings.method == Method::Fuzzy;
        let ngram = settings.ngram.unwrap_or(1);
        // A whole question of so many words has an n-gram among the sampled ones wherever it stands.
        let whole_below = if fuzzy { ngram + settings.sample - 1 } else { ngram };
        let index = Index::new(items, ngram, whole_below, settings.field_words_min);
        let weights = fuzzy.then(|| Weights::new(&index));
        Search { index, weights, sample: settings.sample, overlap_min: settings.overlap() }
    }

    /// The passages that a document shares with items other than itself, those of the greatest overlap first.
    pub fn find(&self, text: &str, id: [u8; 16], words: &mut Vec<u64>) -> Vec<Finding> {
        words.clear();
        plain_words(text, |hash, _, _| words.push(hash));
        let mut findings = match &self.weights {
            None => ngram::search(&self.index, words, self.overlap_min),
            Some(weights) => fuzzy::search(&self.index, weights, words, self.sample, self.overlap_min),
        };
        findings.retain(|finding| self.index.items.items[finding.item as usize].id != id);
        let order = |finding: &Finding| (finding.item, finding.position, finding.field);
        findings.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| order(a).cmp(&order(b))));
        findings
    }

    /// Counts the items of a document and notes its passages; returns the first in words.
    pub fn note(&self, text: &str, id: [u8; 16], findings: &[Finding], counts: &mut [u32], matches: &mut Matches) -> String {
        let mut items: Vec<u32> = findings.iter().map(|finding| finding.item).collect();
        items.sort_unstable();
        items.dedup();
        items.iter().for_each(|item| counts[*item as usize] += 1);
        let mut spans = Vec::new();
        plain_words(text, |_, start, end| spans.push((start, end)));
        let passage = |finding: &Finding, limit| {
            let passage = &text[spans[finding.position].0..spans[finding.position + finding.words - 1].1];
            passage.char_indices().nth(limit).map_or(passage, |(end, _)| &passage[..end])
        };
        for finding in &findings[..findings.len().min(MATCHES_MAX)] {
            matches.push(id, &self.index.items, finding, passage(finding, PASSAGE_CHARS));
        }
        let first = &findings[0];
        let (item, set) = (&self.index.items.items[first.item as usize], &self.index.items.sets);
        let place = item.line.map_or(item.path.clone(), |line| format!("{}:{line}", item.path));
        let others = if items.len() == 1 { String::new() } else { format!(" and {} others", items.len() - 1) };
        let name = &set[usize::from(item.set)];
        format!("item {} of `{name}` ({place}){others}, {} words: {}", item.number, first.words, passage(first, DETAIL_CHARS))
    }

    /// Writes the items with the sums of what the parts found.
    pub fn write_items(&self, found: impl Iterator<Item = PathBuf>, writer: &mut PartWriter) -> Result<()> {
        let mut documents = vec![0_u64; self.index.items.items.len()];
        for path in found {
            let bytes = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
            let counts = bytes.chunks_exact(4).map(|bytes| u64::from(u32::from_le_bytes(bytes.try_into().expect("chunks of 4"))));
            documents.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let searched: Vec<bool> = (0..documents.len()).map(|item| self.is_searched(item)).collect();
        writer.count("items", documents.len() as i64);
        writer.count("items_searched", searched.iter().filter(|searched| **searched).count() as i64);
        writer.count("items_contaminated", documents.iter().filter(|documents| **documents > 0).count() as i64);
        writer.write("items", &rows::items(&self.index.items, &documents, &searched)?)
    }

    /// Whether any field of an item is long enough; `fuzzy` needs the first.
    fn is_searched(&self, item: usize) -> bool {
        match &self.weights {
            None => self.index.item_grams[item] > 0,
            Some(weights) => weights.question(item).is_some_and(|piece| self.index.grams[piece as usize] > 0),
        }
    }
}
