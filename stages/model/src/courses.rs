//! The courses of a training: one, or of several tasks one for each, where every step is the turn of one task.
//!
//! Whose turn a step is follows from the seed and the step alone, as all of a [`Course`] does.

use std::sync::Arc;

use anyhow::{Result, bail};
use engine::Artifact;
use shards::Order;

use crate::course::phases_of_steps;
use crate::seeds::{Purpose, derive};
use crate::{Course, Facts, Rows, Sample, Train};

/// What every step learns from.
pub struct Courses {
    courses: Vec<Course>,
    /// Whose turn each step is, where there are several tasks.
    turns: Option<Order>,
    settings: Train,
    steps: u64,
}

/// A step as one of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub task: usize,
    /// Which of the task's steps it is, from 1.
    pub number: u64,
}

impl Courses {
    /// Courses through a split of these tokens, with what the tokens of each task are. `seed` is that of the run.
    pub fn open(settings: &Train, seed: u64, tokens: &[Artifact]) -> Result<(Vec<Facts>, Courses)> {
        origins::check_tokens(tokens)?;
        let (mut facts, mut rows) = (Vec::new(), Vec::new());
        for task in settings.tasks(tokens) {
            let of_task = Facts::read(task)?;
            rows.push(Arc::new(Rows::open(task, &of_task, &settings.split)?));
            facts.push(of_task);
        }
        let steps = settings.total_steps(rows.iter().map(|rows| rows.count()).sum());
        let course = |settings: &Train, seed, task: usize| Course::new(settings, seed, facts[task].sequence_length, rows[task].clone());
        let mut courses = Courses { courses: Vec::new(), turns: None, settings: settings.clone(), steps };
        if !settings.multi_task {
            courses.courses.push(course(settings, seed, 0)?);
            return Ok((facts, courses));
        }
        let counts: Vec<u64> = rows.iter().map(|rows| rows.count()).collect();
        let mut phases = phases_of_steps(settings, counts.iter().sum())?;
        if phases.is_empty() {
            phases.push((0, counts.iter().map(|rows| *rows as f64).collect()));
        }
        let turns = Order::mixed(derive(seed, Purpose::Turns, 0), &counts, &phases, shards::Shuffle::Rows)?;
        let mut steps_of = vec![0; counts.len()];
        (0..steps).for_each(|step| steps_of[turns.turn(step).0] += 1);
        for (task, own) in steps_of.into_iter().enumerate() {
            if own == 0 {
                let name = &tokens[task].manifest.step;
                bail!("the task `{name}` has no turn in {steps} steps; give more steps, or `weights` with more for it");
            }
            // `weights` and phases speak of turns.
            let (weights, curriculum, sources) = Default::default();
            let of_task = Train { steps: Some(own), epochs: None, weights, curriculum, sources, ..settings.clone() };
            courses.courses.push(course(&of_task, derive(seed, Purpose::Turns, 1 + task as u64), task)?);
        }
        Ok((facts, Courses { turns: Some(turns), ..courses }))
    }

    /// Optimizer steps of the training.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whose turn a step is; the first step is 1.
    pub fn turn(&self, step: u64) -> Turn {
        match &self.turns {
            None => Turn { task: 0, number: step },
            Some(turns) => {
                let (task, before) = turns.turn(step - 1);
                Turn { task, number: before + 1 }
            }
        }
    }

    /// The numbers of the batches of a step.
    pub fn batches_of(&self, step: u64) -> std::ops::Range<u64> {
        self.settings.batches_before(step - 1)..self.settings.batches_before(step)
    }

    /// The rows of batch number `batch`, by their numbers in [`Courses::rows`].
    pub fn batch(&self, batch: u64) -> Result<Vec<Sample>> {
        let (task, batch) = self.place(batch);
        self.courses[task].batch(batch)
    }

    /// The rows that a batch is of.
    pub fn rows(&self, batch: u64) -> &Rows {
        self.courses[self.task(batch)].rows()
    }

    /// The task that a batch is of.
    pub fn task(&self, batch: u64) -> usize {
        self.place(batch).0
    }

    /// The task of a batch, and the batch's number among those of the task.
    fn place(&self, batch: u64) -> (usize, u64) {
        if self.turns.is_none() {
            return (0, batch);
        }
        // Steps of several tasks have all as many batches.
        let accumulate = self.settings.accumulate;
        let Turn { task, number } = self.turn(batch / accumulate + 1);
        (task, (number - 1) * accumulate + batch % accumulate)
    }
}
