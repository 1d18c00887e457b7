//! Generalized linear models with L2 regularization, fitted to the minimum by L-BFGS (Nocedal, 1980; Liu and Nocedal, 1989).
//!
//! What is minimized is Σ loss + regularization / 2 · Σ weight², as in scikit-learn; intercepts are not regularized. Each row's loss and
//! each weight's gradient are added up by one thread in a fixed order, so that all numbers are the same for any number of threads.

use anyhow::{Result, ensure};
use rayon::prelude::*;

/// Pairs of steps and changed gradients that are remembered.
const HISTORY: usize = 8;
const ITERATIONS_MAX: usize = 500;
/// The minimum is found where no gradient is above this times the rows.
const GRADIENT_MAX: f64 = 1e-7;
/// Halvings of one step.
const HALVINGS_MAX: usize = 30;

/// What rows are to be answered with.
pub enum Targets {
    /// One of the outputs each: multinomial logistic regression.
    Class(Vec<u32>),
    /// Any of the outputs: a logistic regression for each.
    Classes(Vec<Vec<u32>>),
    /// A number: ridge regression, with one output.
    Number(Vec<f64>),
}

impl Targets {
    /// Turns the scores of a row into predictions.
    pub fn predict(&self, scores: &mut [f64]) {
        match self {
            Targets::Class(_) => {
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                scores.iter_mut().for_each(|score| *score = (*score - highest).exp());
                let sum: f64 = scores.iter().sum();
                scores.iter_mut().for_each(|score| *score /= sum);
            }
            Targets::Classes(_) => scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
            Targets::Number(_) => {}
        }
    }

    /// The loss of a row; its scores become their gradients.
    fn loss(&self, row: usize, scores: &mut [f64]) -> f64 {
        match self {
            Targets::Class(classes) => {
                let class = classes[row] as usize;
                let (highest, wanted) = (scores.iter().copied().fold(f64::NEG_INFINITY, f64::max), scores[class]);
                let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
                self.predict(scores);
                scores[class] -= 1.0;
                highest + sum.ln() - wanted
            }
            Targets::Classes(classes) => {
                let wanted = |output: usize| classes[row].contains(&(output as u32));
                // ln(1 + e^-margin), which does not overflow.
                let loss = |margin: f64| (-margin.abs()).exp().ln_1p() + (-margin).max(0.0);
                let losses = scores.iter().enumerate().map(|(output, score)| loss(if wanted(output) { *score } else { -score }));
                let sum = losses.sum();
                self.predict(scores);
                classes[row].iter().for_each(|class| scores[*class as usize] -= 1.0);
                sum
            }
            Targets::Number(numbers) => {
                scores[0] -= numbers[row];
                scores[0] * scores[0] / 2.0
            }
        }
    }
}

/// Rows of few features, by row and, once they are all there, by feature.
#[derive(Default)]
pub struct Rows {
    by_row: Sparse,
    by_feature: Sparse,
}

/// Lists of indices with values.
#[derive(Default)]
struct Sparse {
    indices: Vec<u32>,
    values: Vec<f32>,
    ends: Vec<usize>,
}

impl Sparse {
    fn push(&mut self, list: impl IntoIterator<Item = (u32, f32)>) {
        for (index, value) in list {
            self.indices.push(index);
            self.values.push(value);
        }
        self.ends.push(self.indices.len());
    }

    fn list(&self, number: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let from = if number == 0 { 0 } else { self.ends[number - 1] };
        let range = from..self.ends[number];
        self.indices[range.clone()].iter().map(|index| *index as usize).zip(self.values[range].iter().map(|value| f64::from(*value)))
    }

    /// Lists by index, of which there are `width`.
    fn transposed(&self, width: usize) -> Sparse {
        let mut next = vec![0; width + 1];
        self.indices.iter().for_each(|index| next[*index as usize + 1] += 1);
        (0..width).for_each(|index| next[index + 1] += next[index]);
        let ends = next[1..].to_vec();
        let (mut indices, mut values) = (vec![0; self.indices.len()], vec![0.0; self.values.len()]);
        let mut first = 0;
        for (number, end) in self.ends.iter().enumerate() {
            for place in first..*end {
                let slot = &mut next[self.indices[place] as usize];
                (indices[*slot], values[*slot]) = (number as u32, self.values[place]);
                *slot += 1;
            }
            first = *end;
        }
        Sparse { indices, values, ends }
    }
}

impl Rows {
    pub fn push(&mut self, features: Vec<(u32, f32)>) {
        self.by_row.push(features);
    }

    /// After the last row, none of which has a feature that is not below `width`.
    pub fn finish(self, width: usize) -> Rows {
        Rows { by_feature: self.by_row.transposed(width), ..self }
    }

    pub fn count(&self) -> usize {
        self.by_row.ends.len()
    }

    fn width(&self) -> usize {
        self.by_feature.ends.len()
    }

    /// Bytes that a fit of so many outputs takes beside the rows themselves, about.
    pub fn bytes_of_fit(&self, outputs: usize) -> u64 {
        let weights = (self.width() + 1) * (2 * HISTORY + 5);
        8 * (outputs * (self.count() + weights)) as u64
    }
}

/// A fitted model.
pub struct Linear {
    outputs: usize,
    /// By feature, then by output; the intercepts are last.
    weights: Vec<f64>,
    pub iterations: usize,
    /// Whether the gradient says that this is the minimum.
    pub converged: bool,
}

impl Linear {
    /// The scores of a row, of which predictions are made.
    pub fn scores(&self, features: &[(u32, f32)]) -> Vec<f64> {
        let mut scores = self.weights[self.weights.len() - self.outputs..].to_vec();
        add_scores(&self.weights, features.iter().map(|(feature, value)| (*feature as usize, f64::from(*value))), &mut scores);
        scores
    }
}

fn add_scores(weights: &[f64], features: impl Iterator<Item = (usize, f64)>, scores: &mut [f64]) {
    let outputs = scores.len();
    for (feature, value) in features {
        let of_feature = &weights[feature * outputs..(feature + 1) * outputs];
        scores.iter_mut().zip(of_feature).for_each(|(score, weight)| *score += value * weight);
    }
}

/// Finds the weights of the least sum.
pub fn fit(rows: &Rows, targets: &Targets, outputs: usize, regularization: f64, check_stop: impl Fn() -> Result<()>) -> Result<Linear> {
    let mut problem =
        Problem { rows, targets, outputs, regularization, losses: vec![0.0; rows.count()], slopes: vec![0.0; rows.count() * outputs] };
    let size = (rows.width() + 1) * outputs;
    let (mut weights, mut gradient) = (vec![0.0; size], vec![0.0; size]);
    let mut value = problem.evaluate(&weights, &mut gradient);
    let enough = GRADIENT_MAX * rows.count() as f64;
    let mut history: Vec<Pair> = Vec::new();
    let mut iterations = 0;
    while largest(&gradient) > enough && iterations < ITERATIONS_MAX {
        check_stop()?;
        let direction = direction(&history, &gradient);
        let slope = dot(&direction, &gradient);
        let before = gradient.clone();
        // The first step goes no further than 1.
        let mut step = if history.is_empty() { 1.0 / largest(&gradient).max(1.0) } else { 1.0 };
        let mut moved = Vec::new();
        let found = (0..HALVINGS_MAX).any(|_| {
            moved = weights.iter().zip(&direction).map(|(weight, direction)| weight + step * direction).collect();
            let tried = problem.evaluate(&moved, &mut gradient);
            let falls = tried <= value + 1e-4 * step * slope;
            if falls {
                value = tried;
            } else {
                step /= 2.0;
            }
            falls
        });
        if !found {
            gradient = before;
            break;
        }
        let pair = Pair::new(step, &direction, &before, &gradient);
        // What is not curved upwards, by rounding, would spoil the next direction.
        if pair.product > 1e-12 {
            history.truncate(HISTORY - 1);
            history.insert(0, pair);
        }
        weights = moved;
        iterations += 1;
    }
    ensure!(value.is_finite(), "the linear model has no finite loss; are the labels numbers beyond all bounds?");
    Ok(Linear { outputs, converged: largest(&gradient) <= enough, weights, iterations })
}

struct Problem<'a> {
    rows: &'a Rows,
    targets: &'a Targets,
    outputs: usize,
    regularization: f64,
    losses: Vec<f64>,
    /// Gradients of the scores, row by row.
    slopes: Vec<f64>,
}

impl Problem<'_> {
    /// The sum that is minimized, and its gradient.
    fn evaluate(&mut self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let Problem { rows, targets, outputs, regularization, losses, slopes } = self;
        let outputs = *outputs;
        let (of_features, intercepts) = weights.split_at(weights.len() - outputs);
        slopes.par_chunks_mut(outputs).zip(losses.par_iter_mut()).enumerate().for_each(|(row, (scores, loss))| {
            scores.copy_from_slice(intercepts);
            add_scores(weights, rows.by_row.list(row), scores);
            *loss = targets.loss(row, scores);
        });
        let slopes = &*slopes;
        let features = rows.width();
        gradient.par_chunks_mut(outputs).enumerate().for_each(|(feature, gradient)| {
            gradient.fill(0.0);
            let mut add = |row: usize, value: f64| {
                let slopes = &slopes[row * outputs..(row + 1) * outputs];
                gradient.iter_mut().zip(slopes).for_each(|(gradient, slope)| *gradient += value * slope);
            };
            if feature == features {
                (0..rows.count()).for_each(|row| add(row, 1.0));
                return;
            }
            rows.by_feature.list(feature).for_each(|(row, value)| add(row, value));
            let weights = &weights[feature * outputs..(feature + 1) * outputs];
            gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += *regularization * weight);
        });
        losses.iter().sum::<f64>() + *regularization / 2.0 * dot(of_features, of_features)
    }
}

/// A step, and what it changed of the gradient.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    product: f64,
}

impl Pair {
    fn new(step: f64, direction: &[f64], before: &[f64], after: &[f64]) -> Pair {
        let step: Vec<f64> = direction.iter().map(|direction| step * direction).collect();
        let change: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        Pair { product: dot(&step, &change), step, change }
    }
}

/// The direction of descent that the remembered pairs make of a gradient, the latest pair first: the two loops of Nocedal (1980).
fn direction(history: &[Pair], gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|gradient| -gradient).collect();
    let mut shares = Vec::new();
    for pair in history {
        let share = dot(&pair.step, &direction) / pair.product;
        add(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    if let Some(Pair { change, product, .. }) = history.first() {
        let scale = product / dot(change, change);
        direction.iter_mut().for_each(|direction| *direction *= scale);
    }
    for (pair, share) in history.iter().zip(shares).rev() {
        let back = dot(&pair.change, &direction) / pair.product;
        add(&mut direction, share - back, &pair.step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}
