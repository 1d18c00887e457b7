//! The method `fuzzy`: items of which a document has most n-grams near each other, the rare ones counting more, in the manner of decon.
//!
//! From decon (github.com/allenai/decon): sampled 5-grams, growth of a cluster around a hit with a limit of misses, overlap weighted by
//! inverse document frequency, weights of question, answer and passage, and the demand for all of a short item. Ours: words in place of
//! tokens; an n-gram's weight is ln(1 + items / items with it), so that it is never 0; questions too short to be sampled for sure are
//! found as a whole; one limit of misses for each item; weights do not shift with the length of a question.

use hashbrown::{HashMap, HashSet};

use super::index::{Index, ngrams};
use super::ngram::Finding;

/// Words without a shared n-gram after which an item's cluster ends.
const MISSES_MAX: usize = 11;
/// An answer or passage is looked for this many words around the question at least, and twice its own length.
const NEAR_WORDS: usize = 50;
/// Items of up to so many words must be there in full; up to `FREE_WORDS` the demand falls to the threshold.
const FULL_WORDS: f64 = 20.0;
const FREE_WORDS: f64 = 50.0;
/// Sums of the same weights in another order differ by less.
const ROUNDING: f64 = 1e-9;

/// What the method adds to the index.
pub struct Weights {
    /// Of each n-gram.
    grams: Vec<f64>,
    /// The sum over each piece's n-grams.
    pieces: Vec<f64>,
    /// The pieces of each item by field: question, answer, passage.
    fields: Vec<[Option<u32>; 3]>,
}

impl Weights {
    pub fn new(index: &Index) -> Weights {
        let mut weights =
            Weights { grams: Vec::new(), pieces: vec![0.0; index.items.pieces.len()], fields: vec![[None; 3]; index.items.items.len()] };
        let items = index.items.items.len() as f64;
        index.table.each(|_, postings| {
            let weight = (1.0 + items / postings.len() as f64).ln();
            weights.grams.push(weight);
            postings.iter().for_each(|posting| weights.pieces[posting.piece as usize] += weight);
        });
        for (number, piece) in index.items.pieces.iter().enumerate() {
            weights.fields[piece.item as usize][usize::from(piece.field)] = Some(number as u32);
        }
        weights
    }

    /// The piece that holds an item's question.
    pub fn question(&self, item: usize) -> Option<u32> {
        self.fields[item][0]
    }
}

/// What is known of a piece while its cluster grows.
struct Cluster {
    first: usize,
    last: usize,
    weight: f64,
    seen: HashSet<u32>,
}

/// The items that `words` hold with a score of at least `score_min`, each at its best place.
pub fn search(index: &Index, weights: &Weights, words: &[u64], sample: usize, score_min: f64) -> Vec<Finding> {
    let mut hits = Vec::new();
    ngrams(words, index.ngram, |at, hash| {
        if at % sample == 0 {
            hits.extend(index.table.find(hash).map(|gram| (at, gram)));
        }
    });
    let mut best: HashMap<u32, Finding> = HashMap::new();
    let mut keep = |finding: Finding| {
        let words = index.items.items[finding.item as usize].words as f64;
        let share = ((words - FULL_WORDS) / (FREE_WORDS - FULL_WORDS)).clamp(0.0, 1.0);
        let known = best.get(&finding.item).is_some_and(|known| known.score >= finding.score);
        if !known && finding.score + ROUNDING >= 1.0 - share * (1.0 - score_min) {
            best.insert(finding.item, finding);
        }
    };
    let mut grams: Vec<Option<u32>> = Vec::new();
    let lookup = |grams: &mut Vec<Option<u32>>| {
        if grams.is_empty() {
            ngrams(words, index.ngram, |_, hash| grams.push(index.table.find(hash)));
        }
    };
    index.whole(words, |at, piece| {
        if index.items.pieces[piece as usize].field == 0 {
            lookup(&mut grams);
            keep(weights.judge(index, words, &grams, piece, (at, at + index.items.pieces[piece as usize].words as usize), 1.0));
        }
    });
    let mut done: HashMap<u32, usize> = HashMap::new();
    for (at, gram) in hits {
        lookup(&mut grams);
        for (piece, cluster) in grow(index, weights, &grams, at, gram, &mut done) {
            let score = cluster.weight / weights.pieces[piece as usize];
            keep(weights.judge(index, words, &grams, piece, (cluster.first, cluster.last + index.ngram), score));
        }
    }
    best.into_values().collect()
}

/// Follows all questions with the n-gram at `at` to both sides; `done` holds how far each was followed before.
fn grow(
    index: &Index,
    weights: &Weights,
    grams: &[Option<u32>],
    at: usize,
    gram: u32,
    done: &mut HashMap<u32, usize>,
) -> Vec<(u32, Cluster)> {
    let starts = index.table.postings(gram).iter().map(|posting| posting.piece);
    let fresh = |piece: &u32| {
        index.items.pieces[*piece as usize].field == 0 && !index.is_short(*piece) && done.get(piece).is_none_or(|end| *end <= at)
    };
    let mut clusters: Vec<(u32, Cluster)> = starts
        .filter(fresh)
        .map(|piece| (piece, Cluster { first: at, last: at, weight: weights.grams[gram as usize], seen: HashSet::from([gram]) }))
        .collect();
    let visit = |clusters: &mut Vec<(u32, Cluster)>, place: usize, edge: fn(&mut Cluster) -> &mut usize| {
        let Some(gram) = grams[place] else { return };
        let postings = index.table.postings(gram);
        for (piece, cluster) in clusters {
            let edge = edge(cluster);
            if edge.abs_diff(place) <= MISSES_MAX + 1 && postings.binary_search_by_key(piece, |posting| posting.piece).is_ok() {
                *edge = place;
                if cluster.seen.insert(gram) {
                    cluster.weight += weights.grams[gram as usize];
                }
            }
        }
    };
    let mut place = at + 1;
    while place < grams.len() && clusters.iter().any(|(_, cluster)| place <= cluster.last + MISSES_MAX + 1) {
        visit(&mut clusters, place, |cluster| &mut cluster.last);
        place += 1;
    }
    let mut place = at;
    while place > 0 && clusters.iter().any(|(_, cluster)| place + MISSES_MAX + 1 > cluster.first) {
        place -= 1;
        visit(&mut clusters, place, |cluster| &mut cluster.first);
    }
    clusters.iter().for_each(|(piece, cluster)| {
        done.insert(*piece, cluster.last + 1);
    });
    clusters
}

impl Weights {
    /// The score of an item whose question stands at `place` (begin and end) with the score `question`.
    fn judge(&self, index: &Index, words: &[u64], grams: &[Option<u32>], piece: u32, place: (usize, usize), question: f64) -> Finding {
        let item = index.items.pieces[piece as usize].item;
        let [_, answer, passage] = self.fields[item as usize];
        let near = |piece: u32| self.near(index, words, grams, piece, place);
        let score = match (answer, passage) {
            (Some(answer), Some(passage)) => 0.7 * question + 0.2 * near(answer) + 0.1 * near(passage),
            (Some(answer), None) => 0.75 * question + 0.25 * near(answer),
            (None, Some(passage)) => 0.85 * question + 0.15 * near(passage),
            (None, None) => question,
        };
        Finding { item, field: 0, position: place.0, words: place.1 - place.0, score }
    }

    /// How much of an answer or passage stands near the question: all or nothing of one that is short.
    fn near(&self, index: &Index, words: &[u64], grams: &[Option<u32>], piece: u32, (start, end): (usize, usize)) -> f64 {
        let wanted = index.items.words_of(&index.items.pieces[piece as usize]);
        let reach = NEAR_WORDS.max(2 * wanted.len());
        let (from, to) = (start.saturating_sub(reach), (end + reach).min(words.len()));
        if wanted.is_empty() {
            return 1.0;
        }
        if wanted.len() < index.ngram || index.is_short(piece) {
            return f64::from(u8::from(words[from..to].windows(wanted.len()).any(|window| window == wanted)));
        }
        let has = |gram: &u32| index.table.postings(*gram).binary_search_by_key(&piece, |posting| posting.piece).is_ok();
        let found: HashSet<u32> = grams[from.min(grams.len())..to.min(grams.len())].iter().flatten().copied().filter(has).collect();
        let mut found: Vec<u32> = found.into_iter().collect();
        found.sort_unstable();
        found.iter().map(|gram| self.grams[*gram as usize]).sum::<f64>() / self.pieces[piece as usize]
    }
}
