//! Training: pieces of the corpus go to threads that share the weights.

use anyhow::Result;
use engine::Context;

use crate::chunks::{Chunks, Place};
use crate::epochs::workers;
use crate::huffman::Huffman;
use crate::kernel::{self, Lanes, Row, Work, groups, vectorized};
use crate::matrix::Matrix;
use crate::random::{Alias, Random};
use crate::word2vec::{Architecture, Objective, Word2vec};
use crate::words::{Corpus, END};

/// The sigmoid is tabled from minus to plus this; beyond, it counts as the value at the end.
const BOUND: f32 = 6.0;
const CELLS: usize = 2048;

/// Everything about a training but the weights.
pub(crate) struct Task<'a> {
    settings: &'a Word2vec,
    ctx: &'a Context,
    corpus: &'a Corpus,
    /// Words of one pass.
    words: u64,
    /// Of each word, the share of 2^32 in which it is kept.
    keep: Vec<u32>,
    targets: Targets,
    /// Sigmoid, and its negative logarithm, over [-BOUND, BOUND].
    sigmoid: Vec<(f32, f32)>,
}

/// What a word is told apart by.
enum Targets {
    Negative(Alias),
    Tree(Huffman),
}

/// A row of the output weights and what it should say: 1 or 0, or NaN where it is skipped.
type Target = (u32, f32);

impl<'a> Task<'a> {
    pub(crate) fn new(settings: &'a Word2vec, ctx: &'a Context, corpus: &'a Corpus) -> Task<'a> {
        let counts = &corpus.vocabulary.counts;
        let words = corpus.vocabulary.known();
        let targets = match settings.objective {
            Objective::NegativeSampling => Targets::Negative(Alias::new(
                &counts.iter().map(|count| (*count as f64).powf(settings.negative_exponent)).collect::<Vec<_>>(),
            )),
            Objective::HierarchicalSoftmax => Targets::Tree(Huffman::new(counts)),
        };
        let keep = counts.iter().map(|count| share(keep_probability(*count as f64, settings.subsample * words as f64))).collect();
        let sigmoid = (0..CELLS)
            .map(|cell| {
                let x = f64::from(BOUND) * (2.0 * (cell as f64 + 0.5) / CELLS as f64 - 1.0);
                ((1.0 / (1.0 + (-x).exp())) as f32, (-x).exp().ln_1p() as f32)
            })
            .collect();
        Task { settings, ctx, corpus, words, keep, targets, sigmoid }
    }

    /// Trains one pass; its mean loss per predicted word.
    pub(crate) fn pass(&self, input: &Matrix, output: &Matrix, epoch: usize) -> Result<f64> {
        let chunks = Chunks::new(&self.corpus.files);
        let threads = if self.settings.deterministic { 1 } else { self.ctx.threads };
        workers(threads, || {
            let mut worker = Worker::new(self, input, output);
            let mut words = Vec::new();
            while let Some(place) = chunks.sentences(&mut words)? {
                self.ctx.check_stop()?;
                vectorized(Piece { worker: &mut worker, words: &words, place, epoch });
                let done = epoch as u64 * self.words + place.before;
                self.ctx.progress(done, self.settings.epochs as u64 * self.words, "words");
            }
            Ok((worker.loss, worker.predicted))
        })
    }

    /// The learning rate where a piece begins.
    fn learning_rate(&self, place: Place, epoch: usize) -> f32 {
        let done = (epoch as f64 + place.before as f64 / self.words as f64) / self.settings.epochs as f64;
        let (first, last) = (self.settings.learning_rate, self.settings.learning_rate_min);
        (first - (first - last) * done) as f32
    }
}

/// How likely an occurrence is kept: word2vec.c's formula, not the paper's. `threshold` is in occurrences.
fn keep_probability(count: f64, threshold: f64) -> f64 {
    if threshold == 0.0 { 1.0 } else { ((count / threshold).sqrt() + 1.0) * threshold / count }
}

fn share(probability: f64) -> u32 {
    // Casts saturate, so that a share of all keeps all but one in 2^32.
    (probability * 4_294_967_296.0) as u32
}

/// The weights and the space of one thread.
struct Worker<'a> {
    task: &'a Task<'a>,
    input: &'a Matrix,
    output: &'a Matrix,
    groups: usize,
    /// Mean of a window, and what its words will be changed by.
    hidden: Vec<Lanes>,
    work: Vec<Lanes>,
    sentence: Vec<u32>,
    /// For each window of the word at hand and the next, so that memory is asked for in time.
    targets: [Vec<Target>; 2],
    reach: [usize; 2],
    loss: f64,
    predicted: u64,
}

/// Sentences to train.
struct Piece<'w, 'a> {
    worker: &'w mut Worker<'a>,
    words: &'w [u32],
    place: Place,
    epoch: usize,
}

impl Work for Piece<'_, '_> {
    type Result = ();

    #[inline(always)]
    fn run(self) {
        let task = self.worker.task;
        let rate = task.learning_rate(self.place, self.epoch);
        let mut random = Random::new(&[task.ctx.seed, self.epoch as u64 + 1, self.place.number]);
        for sentence in self.words.split(|word| *word == END) {
            self.worker.sentence.clear();
            self.worker.sentence.extend(sentence.iter().filter(|word| (random.next() as u32) <= task.keep[**word as usize]));
            self.worker.sentence(rate, &mut random);
        }
    }
}

impl<'a> Worker<'a> {
    fn new(task: &'a Task<'a>, input: &'a Matrix, output: &'a Matrix) -> Worker<'a> {
        let groups = groups(task.settings.vector_size);
        let zeros = || vec![Lanes::ZERO; groups];
        let (sentence, targets, reach) = Default::default();
        Worker { task, input, output, groups, hidden: zeros(), work: zeros(), sentence, targets, reach, loss: 0.0, predicted: 0 }
    }

    #[inline(always)]
    fn sentence(&mut self, rate: f32, random: &mut Random) {
        let sentence = std::mem::take(&mut self.sentence);
        for at in 0..=sentence.len() {
            if at < sentence.len() {
                self.draw(&sentence, at, random);
            }
            if at > 0 {
                self.train(&sentence, at - 1, rate);
            }
        }
        self.sentence = sentence;
    }

    /// The words around a place, as a range that holds the place itself.
    #[inline(always)]
    fn window(&self, sentence: &[u32], at: usize) -> (usize, usize) {
        let reach = self.reach[at % 2];
        (at.saturating_sub(reach), (at + reach + 1).min(sentence.len()))
    }

    /// Draws the window and the targets of a word, and asks for their memory.
    #[inline(always)]
    fn draw(&mut self, sentence: &[u32], at: usize, random: &mut Random) {
        let settings = self.task.settings;
        self.reach[at % 2] = 1 + random.below(settings.window);
        let (start, end) = self.window(sentence, at);
        let word = sentence[at];
        let targets = &mut self.targets[at % 2];
        targets.clear();
        match &self.task.targets {
            Targets::Tree(tree) => {
                targets.extend(tree.path(word as usize).iter().map(|(node, right)| (*node, if *right { 0.0 } else { 1.0 })))
            }
            Targets::Negative(alias) => {
                // Skip-gram draws anew for each word of the window.
                let times = if settings.architecture == Architecture::Cbow { 1 } else { end - start - 1 };
                for _ in 0..times {
                    targets.push((word, 1.0));
                    for _ in 0..settings.negative {
                        let other = alias.draw(random) as u32;
                        // Drawing the word itself is skipped, as in word2vec.c.
                        targets.push((other, if other == word { f32::NAN } else { 0.0 }));
                    }
                }
            }
        }
        for (row, _) in targets.iter() {
            kernel::prefetch(self.output.row(*row as usize), self.groups);
        }
        if at + 1 + settings.window < sentence.len() {
            kernel::prefetch(self.input.row(sentence[at + 1 + settings.window] as usize), self.groups);
        }
    }

    /// Trains the word at a place.
    #[inline(always)]
    fn train(&mut self, sentence: &[u32], at: usize, rate: f32) {
        let (start, end) = self.window(sentence, at);
        let around = end - start - 1;
        if around == 0 {
            return;
        }
        let targets = std::mem::take(&mut self.targets[at % 2]);
        let (hidden, work, groups): (Row, Row, usize) = (self.hidden.as_mut_ptr(), self.work.as_mut_ptr(), self.groups);
        // SAFETY: rows of both matrices, `hidden` and `work` have `groups` groups.
        unsafe {
            if self.task.settings.architecture == Architecture::Cbow {
                kernel::clear(hidden, groups);
                kernel::clear(work, groups);
                let input = self.input;
                let inputs = (start..end).filter(|place| *place != at).map(|place| input.row(sentence[place] as usize));
                inputs.clone().for_each(|row| kernel::add(hidden, 1.0, row, groups));
                kernel::scale(hidden, 1.0 / around as f32, groups);
                let loss = self.predict(hidden, &targets, rate);
                inputs.for_each(|row| kernel::add(row, 1.0, work, groups));
                self.count(loss);
            } else {
                let per_word = if matches!(self.task.targets, Targets::Tree(_)) { 0 } else { 1 + self.task.settings.negative };
                for (n, place) in (start..end).filter(|place| *place != at).enumerate() {
                    let row = self.input.row(sentence[place] as usize);
                    kernel::clear(work, groups);
                    let targets = if per_word == 0 { &targets[..] } else { &targets[n * per_word..][..per_word] };
                    let loss = self.predict(row, targets, rate);
                    kernel::add(row, 1.0, work, groups);
                    self.count(loss);
                }
            }
        }
        self.targets[at % 2] = targets;
    }

    fn count(&mut self, loss: f32) {
        self.loss += f64::from(loss);
        self.predicted += 1;
    }

    /// Moves the targets' rows, and sums up in `work` what is to be added to the input; the loss.
    #[inline(always)]
    fn predict(&mut self, hidden: Row, targets: &[Target], rate: f32) -> f32 {
        let work = self.work.as_mut_ptr();
        let mut loss = 0.0;
        for (row, label) in targets {
            if label.is_nan() {
                continue;
            }
            let row = self.output.row(*row as usize);
            // SAFETY: all rows have `groups` groups.
            unsafe {
                let x = kernel::dot(hidden, row, self.groups);
                let cell = ((x + BOUND) * (CELLS as f32 / (2.0 * BOUND))) as usize;
                let (sigmoid, minus_log) = self.task.sigmoid[cell.min(CELLS - 1)];
                // -log σ(-x) is x - log σ(x).
                loss += if *label == 1.0 { minus_log } else { minus_log + x.clamp(-BOUND, BOUND) };
                kernel::exchange(work, row, hidden, (label - sigmoid) * rate, self.groups);
            }
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_are_kept_less() {
        // With a threshold of 1 in 1000 of a million words: 1000 occurrences.
        for (count, expected) in [(100.0, 13.16), (1000.0, 2.0), (4000.0, 0.75), (100_000.0, 0.11)] {
            assert!((keep_probability(count, 1000.0) - expected).abs() < 0.03, "{count}");
        }
        assert_eq!((share(keep_probability(5.0, 0.0)), share(41.6), share(0.5)), (u32::MAX, u32::MAX, 1 << 31));
    }
}
