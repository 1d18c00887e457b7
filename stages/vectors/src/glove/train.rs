//! The factorization: cells go to threads that share the weights.

use anyhow::{Result, bail};
use engine::Context;

use crate::chunks::Chunks;
use crate::epochs::workers;
use crate::glove::Glove;
use crate::glove::cooccur::{CELL, Cells};
use crate::kernel::{self, Row, Work, groups, vectorized};
use crate::matrix::Matrix;
use crate::random::Random;

/// Bytes of cells that a thread takes at once.
const PIECE: usize = 1 << 18;

/// Groups of a row: numbers, their sums of squares, then the bias and its sum of squares.
fn stride(size: usize) -> usize {
    2 * groups(size) + 1
}

/// Bytes of all weights.
pub(crate) fn bytes(words: usize, size: usize) -> u64 {
    2 * Matrix::bytes(words, stride(size))
}

/// The weights of words and of contexts at the start. Sums of squares begin at 1, so that the first steps have the learning rate.
pub(crate) fn start(words: usize, size: usize, seed: u64) -> Vec<Matrix> {
    let mut random = Random::new(&[seed]);
    let mut matrix = || {
        let mut matrix = Matrix::uniform(words, size, stride(size), &mut random);
        for word in 0..words {
            let bias = (random.unit() - 0.5) / size as f32;
            let (_, rest) = matrix.numbers_mut(word).split_at_mut(groups(size) * kernel::WIDTH);
            rest.fill(1.0);
            rest[groups(size) * kernel::WIDTH] = bias;
        }
        matrix
    };
    vec![matrix(), matrix()]
}

/// Trains one pass; its mean weighted squared error, halved.
pub(crate) fn pass(settings: &Glove, ctx: &Context, cells: &Cells, weights: &[Matrix], epoch: usize) -> Result<f64> {
    let [words, contexts] = weights else { bail!("there are not two matrices of weights") };
    let chunks = Chunks::new(&cells.files);
    let threads = if settings.deterministic { 1 } else { ctx.threads };
    workers(threads, || {
        let mut piece = Vec::new();
        let (mut loss, mut count) = (0.0, 0);
        while let Some(place) = chunks.records::<CELL>(PIECE, &mut piece)? {
            ctx.check_stop()?;
            let (more, steps) = vectorized(Piece { settings, words, contexts, cells: &piece });
            loss += more;
            count += steps;
            ctx.progress(epoch as u64 * cells.count + place.before / CELL as u64, settings.epochs as u64 * cells.count, "cells");
        }
        Ok((loss, count))
    })
}

/// Cells to train.
struct Piece<'a> {
    settings: &'a Glove,
    words: &'a Matrix,
    contexts: &'a Matrix,
    cells: &'a [[u8; CELL]],
}

/// Cells ahead whose memory is asked for.
const AHEAD: usize = 4;

impl Work for Piece<'_> {
    type Result = (f64, u64);

    #[inline(always)]
    fn run(self) -> (f64, u64) {
        let groups = groups(self.settings.vector_size);
        let rate = self.settings.learning_rate as f32;
        let number = |cell: &[u8; CELL], n: usize| u32::from_le_bytes([cell[4 * n], cell[4 * n + 1], cell[4 * n + 2], cell[4 * n + 3]]);
        let (mut loss, mut steps) = (0.0, 0);
        for (n, cell) in self.cells.iter().enumerate() {
            if let Some(next) = self.cells.get(n + AHEAD) {
                for word in [number(next, 0), number(next, 1)] {
                    kernel::prefetch(self.words.row(word as usize), 2 * groups + 1);
                    kernel::prefetch(self.contexts.row(word as usize), 2 * groups + 1);
                }
            }
            let (a, b) = (number(cell, 0) as usize, number(cell, 1) as usize);
            let (log, weight) = (f32::from_bits(number(cell, 2)), f32::from_bits(number(cell, 3)));
            loss += f64::from(step(self.words.row(a), self.contexts.row(b), log, weight, rate, groups));
            steps += 1;
            if a != b {
                loss += f64::from(step(self.words.row(b), self.contexts.row(a), log, weight, rate, groups));
                steps += 1;
            }
        }
        (loss, steps)
    }
}

/// One step of AdaGrad for a word and a context.
#[inline(always)]
fn step(word: Row, context: Row, log: f32, weight: f32, rate: f32, groups: usize) -> f32 {
    // SAFETY: the rows have 2 × `groups` + 1 groups, the last of which begins with the bias and its sum of squares.
    unsafe {
        let (bias, other) = (word.add(2 * groups).cast::<f32>(), context.add(2 * groups).cast::<f32>());
        let error = kernel::dot(word, context, groups) + bias.read() + other.read() - log;
        let loss = 0.5 * weight * error * error;
        let step = weight * error * rate;
        kernel::adagrad(word, context, step, groups);
        for bias in [bias, other] {
            let squares = bias.add(1);
            bias.write(bias.read() - step / squares.read().sqrt());
            squares.write(squares.read() + step * step);
        }
        loss
    }
}
