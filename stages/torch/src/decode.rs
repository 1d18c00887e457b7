//! Writing texts token by token: the likeliest, drawn ones, or by beam search.
//!
//! A beam search keeps the `beams` likeliest beginnings. A text that ends is worth its log-likelihood divided by length^length_penalty, its
//! end counted as a token; the search ends when no beginning could, at its present length, be worth more than the `beams` best that ended
//! (transformers' `early_stopping = False`). All else is one beam that ends at its first end.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::draw;
use crate::generate::{Completion, End, How};

/// A network that goes on with a batch of beginnings, and remembers what it read.
pub trait Writer {
    /// Logits (rows, vocabulary), f32, of what follows when `ids` (rows, new) are read after all before.
    fn next(&mut self, ids: &Tensor) -> Result<Tensor>;

    /// Goes on with these rows (i64) in place of all.
    fn select(&mut self, rows: &Tensor);
}

/// Where a text begins.
pub struct Start {
    /// Tokens that count as seen before.
    pub seen: Vec<i64>,
    /// What its tokens are drawn by.
    pub number: u64,
    /// Longest text.
    pub tokens_max: usize,
}

/// Writes the best text for each start, of which `first` (starts, new) has the tokens to read.
pub fn write(writer: &mut dyn Writer, first: &Tensor, starts: Vec<Start>, how: &How) -> Result<Vec<Completion>> {
    let _no_grad = tch::no_grad_guard();
    let (beams, device) = (how.decoding.beams as usize, first.device());
    let mut open: Vec<usize> = (0..starts.len()).collect();
    let mut sentences: Vec<Sentence> = starts.into_iter().map(|start| Sentence::new(start, beams)).collect();
    let mut logits = writer.next(first)?;
    if beams > 1 {
        let each = Tensor::arange(open.len() as i64, (Kind::Int64, device));
        let each = each.repeat_interleave_self_int(beams as i64, None::<i64>, None::<i64>);
        writer.select(&each);
        logits = logits.index_select(0, &each);
    }
    for length in 1.. {
        let found = candidates(&logits, &sentences, &open, how)?;
        let (mut still, mut rows, mut last): (Vec<usize>, Vec<i64>, Vec<i64>) = Default::default();
        for (place, (number, candidates)) in open.iter().zip(found).enumerate() {
            let sentence = &mut sentences[*number];
            let parents = sentence.advance(&candidates, length, how)?;
            if !sentence.is_done(length, how) {
                still.push(*number);
                rows.extend(parents.into_iter().map(|parent| (place * beams + parent) as i64));
                last.extend(sentence.live.iter().filter_map(|live| live.ids.last()));
            }
        }
        if let (Some(watch), [sentence], 1) = (how.watch, &sentences[..], beams) {
            watch(sentence.newest());
        }
        open = still;
        if open.is_empty() {
            break;
        }
        if !rows.iter().copied().eq(0..logits.size()[0]) {
            writer.select(&Tensor::from_slice(&rows).to_device(device));
        }
        logits = writer.next(&Tensor::from_slice(&last).to_device(device).unsqueeze(1))?;
    }
    Ok(sentences.into_iter().map(Sentence::best).collect())
}

/// A token that may follow a beginning.
struct Candidate {
    /// Which of the live beginnings.
    parent: usize,
    token: i64,
    /// What all is worth, and its log-likelihood: the same unless repetitions are punished.
    sum: f64,
    log_likelihood: f64,
}

/// What may follow each open sentence, the best first.
fn candidates(logits: &Tensor, sentences: &[Sentence], open: &[usize], how: &How) -> Result<Vec<Vec<Candidate>>> {
    let live: Vec<&Live> = open.iter().flat_map(|number| &sentences[*number].live).collect();
    let seen: Vec<Vec<i64>> = match how.decoding.repetition_penalty {
        1.0 => Vec::new(),
        _ => open.iter().flat_map(|number| sentences[*number].seen()).collect(),
    };
    let (found, beams) = match how.decoding.beams {
        1 => (one_each(&allowed(punished(logits, &seen, how), how), &live, sentences, open, how)?, 1),
        beams => {
            let likely = allowed(punished(&logits.log_softmax(-1, Kind::Float), &seen, how), how);
            (likeliest(&likely, &live, open.len(), beams as i64, how.ends.eos.len() as i64)?, beams as usize)
        }
    };
    let (rows, tokens): (Vec<i64>, Vec<i64>) = found.iter().flatten().map(|(row, token, _)| (*row as i64, *token)).unzip();
    let (rows, tokens) = (Tensor::from_slice(&rows).to_device(logits.device()), Tensor::from_slice(&tokens).to_device(logits.device()));
    let chosen = logits.index_select(0, &rows).gather(1, &tokens.unsqueeze(1), false).squeeze_dim(1);
    let likely: Vec<f64> = (chosen - logits.logsumexp(-1, false).index_select(0, &rows)).to_kind(Kind::Double).try_into()?;
    let mut likely = likely.into_iter();
    let mut candidate = |(row, token, sum): Found| {
        let log_likelihood = live[row].log_likelihood + likely.next().unwrap_or_default();
        Candidate { parent: row % beams, token, sum: if beams == 1 { log_likelihood } else { sum }, log_likelihood }
    };
    Ok(found.into_iter().map(|found| found.into_iter().map(&mut candidate).collect()).collect())
}

/// Row of the logits, token, and the sum of the text's log-likelihoods, punished where repetitions are.
type Found = (usize, i64, f64);

/// The likeliest 2 × beams continuations of each sentence, enough to go on even if one of each beginning is the end; more where there are several
/// `ends`.
fn likeliest(likely: &Tensor, live: &[&Live], open: usize, beams: i64, ends: i64) -> Result<Vec<Vec<Found>>> {
    let vocabulary = likely.size()[1];
    let sums: Vec<f32> = live.iter().map(|live| live.sum as f32).collect();
    let all = (likely + Tensor::from_slice(&sums).to_device(likely.device()).unsqueeze(1)).view([open as i64, -1]); // (open, beams × vocabulary)
    let (sums, places) = all.topk((beams * (1 + ends).max(2)).min(all.size()[1]), 1, true, true);
    let (sums, places) = (Vec::<Vec<f64>>::try_from(sums.to_kind(Kind::Double))?, Vec::<Vec<i64>>::try_from(places)?);
    let found = |(sentence, (sums, places)): (usize, (Vec<f64>, Vec<i64>))| {
        let row = |place: i64| sentence * beams as usize + (place / vocabulary) as usize;
        sums.into_iter().zip(places).map(|(sum, place)| (row(place), place % vocabulary, sum)).collect()
    };
    Ok(sums.into_iter().zip(places).enumerate().map(found).collect())
}

/// One token for each sentence: the likeliest, or one that is drawn.
fn one_each(scores: &Tensor, live: &[&Live], sentences: &[Sentence], open: &[usize], how: &How) -> Result<Vec<Vec<Found>>> {
    let tokens: Vec<i64> = if how.decoding.draws() {
        let mut values = Vec::<Vec<f32>>::try_from(scores)?;
        let draw = |((scores, number), live): ((&mut Vec<f32>, &usize), &&Live)| {
            draw::token(scores, how.decoding, draw::uniform(how.decoding.seed, sentences[*number].start.number, live.ids.len())) as i64
        };
        values.iter_mut().zip(open).zip(live).map(draw).collect()
    } else {
        scores.argmax(-1, false).try_into()?
    };
    Ok(tokens.into_iter().enumerate().map(|(row, token)| vec![(row, token, 0.0)]).collect())
}

/// Scores with those of tokens that each row has seen made worse; the scores themselves where nothing is punished.
fn punished(scores: &Tensor, seen: &[Vec<i64>], how: &How) -> Tensor {
    if seen.is_empty() {
        return scores.shallow_clone();
    }
    let (scores, penalty) = (scores.copy(), how.decoding.repetition_penalty);
    for (row, seen) in seen.iter().enumerate() {
        let (mut row, places) = (scores.get(row as i64), Tensor::from_slice(seen).to_device(scores.device()));
        let before = row.index_select(0, &places);
        let after = (&before / penalty).where_self(&before.gt(0.0), &(&before * penalty));
        let _ = row.index_copy_(0, &places, &after);
    }
    scores
}

/// Scores without those of tokens that are never written.
fn allowed(scores: Tensor, how: &How) -> Tensor {
    if how.ends.never.is_empty() {
        return scores;
    }
    let never = Tensor::from_slice(&how.ends.never).to_device(scores.device());
    scores.index_fill(1, &never, f64::NEG_INFINITY)
}

/// The texts that are tried for one start.
struct Sentence {
    start: Start,
    /// As many as beams; those without a likelihood are there to make up their number.
    live: Vec<Live>,
    /// The best that ended, with what they are worth, in descending order; at most as many as beams.
    ended: Vec<(f64, Completion)>,
}

/// The beginning of a text.
struct Live {
    ids: Vec<i64>,
    sum: f64,
    log_likelihood: f64,
}

impl Sentence {
    /// All beginnings are empty; only the first is gone on from.
    fn new(start: Start, beams: usize) -> Sentence {
        let sum = |beam| if beam == 0 { 0.0 } else { f64::NEG_INFINITY };
        let live = (0..beams).map(|beam| Live { ids: Vec::new(), sum: sum(beam), log_likelihood: 0.0 }).collect();
        Sentence { start, live, ended: Vec::new() }
    }

    /// The tokens that each beginning has seen, each once.
    fn seen(&self) -> impl Iterator<Item = Vec<i64>> {
        self.live.iter().map(|live| {
            let mut seen: Vec<i64> = self.start.seen.iter().chain(&live.ids).copied().collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        })
    }

    /// Goes on with the best candidates, whose texts then have `length` tokens; gives the beginning that each goes on from.
    fn advance(&mut self, candidates: &[Candidate], length: usize, how: &How) -> Result<Vec<usize>> {
        let (mut live, mut parents, beams) = (Vec::new(), Vec::new(), self.live.len());
        // What goes on from a beginning that only makes up the number is none.
        let possible = candidates.iter().filter(|candidate| candidate.sum > f64::NEG_INFINITY);
        for (rank, candidate) in possible.enumerate() {
            let (mut ids, log_likelihood) = (self.live[candidate.parent].ids.clone(), candidate.log_likelihood);
            let mut end = (length == self.start.tokens_max).then_some(End::Length);
            if how.ends.eos.contains(&candidate.token) {
                end = Some(End::Eos);
            } else {
                ids.push(candidate.token);
                end = if how.stops(&ids)? { Some(End::Stop) } else { end };
            }
            if let Some(end) = end.filter(|_| rank < beams) {
                let worth = candidate.sum / (length as f64).powf(how.decoding.length_penalty);
                self.ended.push((worth, Completion { ids: ids.clone(), end, log_likelihood }));
            }
            if !matches!(end, Some(End::Eos | End::Stop)) && live.len() < beams {
                live.push(Live { ids, sum: candidate.sum, log_likelihood });
                parents.push(candidate.parent);
            }
        }
        if let Some(candidate) = candidates.first() {
            let missing = beams - live.len();
            let dead = || Live { ids: vec![candidate.token; length], sum: f64::NEG_INFINITY, log_likelihood: 0.0 };
            live.extend(std::iter::repeat_with(dead).take(missing));
            parents.extend(std::iter::repeat_n(0, missing));
        }
        self.ended.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        self.ended.truncate(beams);
        self.live = live;
        Ok(parents)
    }

    /// Whether no beginning can be gone on with, or none could be worth more than what ended.
    fn is_done(&self, length: usize, how: &How) -> bool {
        let beams = how.decoding.beams as usize;
        let best = self.live.iter().map(|live| live.sum).fold(f64::NEG_INFINITY, f64::max);
        if length == self.start.tokens_max || best == f64::NEG_INFINITY {
            return true;
        }
        let best = best / (length as f64).powf(how.decoding.length_penalty);
        self.ended.len() == beams && (beams == 1 || self.ended.iter().all(|(worth, _)| *worth >= best))
    }

    /// The tokens of the one text so far.
    fn newest(&self) -> &[i64] {
        match (self.ended.first(), self.live.first()) {
            (Some((_, ended)), _) => &ended.ids,
            (None, live) => live.map_or(&[], |live| &live.ids),
        }
    }

    fn best(self) -> Completion {
        let longest = self.live.into_iter().next();
        let longest = longest.map(|live| Completion { ids: live.ids, end: End::Length, log_likelihood: live.log_likelihood });
        self.ended.into_iter().next().map(|(_, completion)| completion).or(longest).unwrap_or_default()
    }
}
