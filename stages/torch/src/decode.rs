//! Writing the target of a source: greedy or beam search over an encoder–decoder network, with keys and values of earlier tokens kept.
//!
//! A beam search keeps the `beams` likeliest beginnings. A target that ends is worth its log-likelihood divided by length^length_penalty, its
//! end counted as a token; the search ends when no beginning could, at its present length, be worth more than the `beams` best that ended
//! (transformers' `early_stopping = False`). Greedy search is one beam that ends at its first end.

use anyhow::{Context as _, Result};
use tch::{Kind, Tensor};

use crate::folder::Loaded;
use crate::generate::Completion;
use crate::models::{Cache, Seen};
use crate::tape::Tape;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// What the decoder begins with.
    pub start: i64,
    pub end: i64,
    /// Longest target.
    pub tokens_max: usize,
    pub beams: usize,
    pub length_penalty: f64,
}

/// The best target of each source (batch, source time).
pub fn search(loaded: &Loaded, ids: &Tensor, seen: &Seen, search: &Search) -> Result<Vec<Completion>> {
    tch::no_grad(|| {
        let network =
            loaded.network.encoder_decoder().context("this network has no encoder and decoder; give one of the family seq2seq")?;
        let (batch, beams, device) = (ids.size()[0] as usize, search.beams, ids.device());
        let mut sentences: Vec<Sentence> = (0..batch).map(|_| Sentence::new(beams)).collect();
        let mut open: Vec<usize> = (0..batch).collect();
        let each = Tensor::arange(batch as i64, (Kind::Int64, device)).repeat_interleave_self_int(beams as i64, None::<i64>, None::<i64>);
        let mut memory = network.encode(ids, seen, 0.0, &Tape::off())?.select(&each);
        let (mut cache, mut last) = (Cache::new(), vec![search.start; batch * beams]);
        for length in 1..=search.tokens_max {
            let next = Tensor::from_slice(&last).to_device(device).unsqueeze(1);
            let hidden = network.decode(&next, &memory, &mut cache).select(1, 0); // (open × beams, width)
            let output = loaded.network.output();
            let likely = loaded.network.features(&hidden).linear(output.weight, output.bias).log_softmax(-1, Kind::Float);
            let found = candidates(&likely, &sentences, &open, beams)?;
            let (mut still, mut rows) = (Vec::new(), Vec::new());
            last.clear();
            for (place, (number, candidates)) in open.iter().zip(found).enumerate() {
                let sentence = &mut sentences[*number];
                let parents = sentence.advance(&candidates, length, search);
                if !sentence.is_done(length, search) {
                    still.push(*number);
                    rows.extend(parents.into_iter().map(|parent| (place * beams + parent) as i64));
                    last.extend(sentence.live.iter().filter_map(|live| live.ids.last()));
                }
            }
            open = still;
            if open.is_empty() {
                break;
            }
            let rows = Tensor::from_slice(&rows).to_device(device);
            for (keys, values) in cache.iter_mut().flatten() {
                (*keys, *values) = (keys.index_select(0, &rows), values.index_select(0, &rows));
            }
            if rows.size()[0] < memory.layers[0].0.size()[0] {
                memory = memory.select(&rows);
            }
        }
        Ok(sentences.into_iter().map(Sentence::best).collect())
    })
}

/// A token that may follow a beginning.
struct Candidate {
    /// Which of the live beginnings.
    parent: usize,
    token: i64,
    /// Log-likelihood of all.
    sum: f64,
}

/// The likeliest 2 × beams continuations of each open sentence, the best first: enough to go on even if one of each beginning is the end.
fn candidates(likely: &Tensor, sentences: &[Sentence], open: &[usize], beams: usize) -> Result<Vec<Vec<Candidate>>> {
    let vocabulary = likely.size()[1];
    let sums: Vec<f32> = open.iter().flat_map(|number| sentences[*number].live.iter().map(|live| live.sum as f32)).collect();
    let sums = Tensor::from_slice(&sums).to_device(likely.device()).unsqueeze(1);
    let all = (likely + sums).view([open.len() as i64, -1]); // (open, beams × vocabulary)
    let (sums, places) = all.topk((2 * beams as i64).min(all.size()[1]), 1, true, true);
    let (sums, places) = (Vec::<Vec<f64>>::try_from(sums.to_kind(Kind::Double))?, Vec::<Vec<i64>>::try_from(places)?);
    let candidate = |(sum, place): (f64, i64)| Candidate { parent: (place / vocabulary) as usize, token: place % vocabulary, sum };
    Ok(sums.into_iter().zip(places).map(|(sums, places)| sums.into_iter().zip(places).map(candidate).collect()).collect())
}

/// The targets that are tried for one source.
struct Sentence {
    /// As many as beams.
    live: Vec<Live>,
    /// The best that ended, with what they are worth, in descending order; at most as many as beams.
    ended: Vec<(f64, Completion)>,
}

/// The beginning of a target.
struct Live {
    ids: Vec<i64>,
    sum: f64,
}

impl Sentence {
    /// All beginnings are empty; only the first is gone on from.
    fn new(beams: usize) -> Sentence {
        let sum = |beam| if beam == 0 { 0.0 } else { f64::NEG_INFINITY };
        Sentence { live: (0..beams).map(|beam| Live { ids: Vec::new(), sum: sum(beam) }).collect(), ended: Vec::new() }
    }

    /// Goes on with the best candidates, whose targets then have `length` tokens; gives the beginning that each goes on from.
    fn advance(&mut self, candidates: &[Candidate], length: usize, search: &Search) -> Vec<usize> {
        let (mut live, mut parents) = (Vec::new(), Vec::new());
        for (rank, candidate) in candidates.iter().enumerate() {
            let (mut ids, ended) = (self.live[candidate.parent].ids.clone(), candidate.token == search.end);
            if !ended {
                ids.push(candidate.token);
            }
            if rank < search.beams && (ended || length == search.tokens_max) {
                let worth = candidate.sum / (length as f64).powf(search.length_penalty);
                self.ended.push((worth, Completion { ids: ids.clone(), ended }));
            }
            if !ended && live.len() < search.beams {
                live.push(Live { ids, sum: candidate.sum });
                parents.push(candidate.parent);
            }
        }
        self.ended.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        self.ended.truncate(search.beams);
        self.live = live;
        parents
    }

    fn is_done(&self, length: usize, search: &Search) -> bool {
        if search.beams == 1 {
            return !self.ended.is_empty();
        }
        let best = self.live.iter().map(|live| live.sum).fold(f64::NEG_INFINITY, f64::max) / (length as f64).powf(search.length_penalty);
        self.live.len() < search.beams || (self.ended.len() == search.beams && self.ended.iter().all(|(worth, _)| *worth >= best))
    }

    fn best(self) -> Completion {
        let longest = self.live.into_iter().next().map(|live| Completion { ids: live.ids, ended: false });
        self.ended.into_iter().next().map(|(_, completion)| completion).or(longest).unwrap_or_default()
    }
}
