//! Ranks: processes of this machine that train one model together.
//!
//! Rank r of n learns from the rows r, r + n, … of every batch. Sums over all ranks come before every decision: counts before the backward
//! pass, so that a loss is the mean over what all of them predict; gradients before anything is made of them; losses before they are judged.
//! So all ranks hold the same weights and decide the same, and only the first one writes. Masks and noise follow from the sample and do not
//! change; dropout draws from a generator, so each rank seeds its own.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use model::Job;
use model::seeds::{Purpose, derive};
use tch::{Device, Tensor};

use crate::batches::Buffers;
use crate::loss::Sums;
use crate::objective::Scale;
use crate::shim::{self, Group};
use crate::tally::Tally;
use crate::weights;
use crate::worker::Worker;

/// How long ranks that were started together may take until they meet.
const MEETING: Duration = Duration::from_secs(120);
/// How long a rank waits for another that is alive: one may save or write samples while the others wait. Those that are gone show at once.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How often a later rank looks for the first one, which may wait for the draft.
const LOOK: Duration = Duration::from_millis(20);

/// Which of the processes this is.
#[derive(Clone, Copy, Debug)]
pub struct Rank {
    pub number: usize,
    pub count: usize,
}

impl Rank {
    /// What of a list that all ranks have is this one's.
    pub fn share<T>(self, all: Vec<T>) -> Vec<T> {
        if self.count == 1 { all } else { all.into_iter().skip(self.number).step_by(self.count).collect() }
    }
}

/// All ranks, seen from one of them.
pub struct Ranks {
    pub rank: Rank,
    /// `None` of a single one.
    group: Option<Group>,
}

/// Sums over the batches of a step, of all ranks.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Without padding.
    pub tokens: u64,
    pub rows: u64,
    /// What the loss is a mean over.
    pub predicted: u64,
    /// What makes summed losses that mean.
    pub scale: Scale,
}

/// Another rank is gone, or hangs.
#[derive(Debug)]
pub struct Lost(String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

impl Ranks {
    /// Meets the other ranks of the job; `None` when asked to stop while waiting for the first one.
    pub fn meet(job: &Job, worker: &Worker, device: Device) -> Result<Option<Ranks>> {
        let rank = Rank { number: worker.rank, count: job.ranks };
        if rank.count == 1 {
            return Ok(Some(Ranks { rank, group: None }));
        }
        while rank.number > 0 && !job.meeting.exists() {
            if worker.stopped() {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
        let path = job.meeting.to_str().with_context(|| format!("path `{}` is not UTF-8", job.meeting.display()))?;
        let group = Group::meet(path, rank.number, rank.count, MEETING, PATIENCE, device);
        let group = group.with_context(|| format!("rank {} of {} did not meet the others", rank.number, rank.count))?;
        Ok(Some(Ranks { rank, group: Some(group) }))
    }

    /// A single one.
    #[cfg(test)]
    pub fn single() -> Ranks {
        Ranks { rank: Rank { number: 0, count: 1 }, group: None }
    }

    /// Whether this rank writes for all.
    pub fn is_first(&self) -> bool {
        self.rank.number == 0
    }

    /// The seed of what dropout draws in a step.
    pub fn dropout_seed(&self, job: &Job, step: u64) -> i64 {
        let seed = derive(job.seed, Purpose::Dropout, step);
        (if self.is_first() { seed } else { derive(seed, Purpose::Dropout, self.rank.number as u64) }) as i64
    }

    /// What all ranks together go through in a step.
    pub fn counts(&self, batches: &[Buffers]) -> Result<Counts> {
        let mut sums = [0.0; 5];
        for batch in batches {
            let [tokens, rows, predicted] = [batch.tokens(), batch.rows(), batch.predicted()].map(|count| count as f64);
            let parts = [tokens, rows, predicted, batch.weight(), batch.weight_of_rows()];
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        self.sum(&mut sums)?;
        let [tokens, rows, predicted] = [sums[0] as u64, sums[1] as u64, sums[2] as u64];
        Ok(Counts { tokens, rows, predicted, scale: Scale::of(predicted, rows).weighted(sums[3], sums[4]) })
    }

    /// The sums of all ranks, and of one number more.
    pub fn total(&self, sums: Sums, more: f64) -> Result<(Sums, f64)> {
        if self.group.is_none() {
            return Ok((sums, more));
        }
        let Tally { hits, predicted, gold, moments, pairs, pairs_nll, pairs_correct, weighted } = sums.tally;
        let [loss, weight] = weighted.unwrap_or_default();
        let counts = [sums.count, sums.correct, hits, predicted, gold, pairs, pairs_correct].map(|count| count as f64);
        let mut all = [0.0; 18];
        let parts = counts.into_iter().chain(moments).chain([sums.nll, pairs_nll, loss, weight, more]);
        all.iter_mut().zip(parts).for_each(|(all, part)| *all = part);
        self.sum(&mut all)?;
        let [count, correct, hits, predicted, gold, pairs, pairs_correct, moments @ .., nll, pairs_nll, loss, weight, more] = all;
        let tally = Tally {
            hits: hits as u64,
            predicted: predicted as u64,
            gold: gold as u64,
            moments,
            pairs: pairs as u64,
            pairs_nll,
            pairs_correct: pairs_correct as u64,
            weighted: weighted.map(|_| [loss, weight]),
        };
        Ok((Sums { nll, count: count as u64, correct: correct as u64, tally }, more))
    }

    /// Sums the gradients of these variables over all ranks. One that has a gradient on any rank then has it on all.
    pub fn sum_gradients(&self, variables: &[Tensor]) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let mut have: Vec<f64> = variables.iter().map(|variable| f64::from(u8::from(variable.grad().defined()))).collect();
        self.sum(&mut have)?;
        let learned = variables.iter().zip(have).filter(|(_, have)| *have > 0.0);
        let gradients = learned.map(|(variable, _)| shim::gradient(variable)).collect::<Result<Vec<Tensor>>>()?;
        group.sum_tensors(&gradients).map_err(lost)
    }

    /// Puts together a tensor of which each rank holds its share of dimension `dim`.
    pub fn gather(&self, tensor: &Tensor, dim: i64) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let own = self.of(tensor, dim).copy();
        let _ = tensor.shallow_clone().zero_();
        self.of(tensor, dim).copy_(&own);
        let whole = tensor.contiguous();
        group.sum_tensors(std::slice::from_ref(&whole)).map_err(lost)?;
        tensor.shallow_clone().copy_(&whole);
        Ok(())
    }

    /// This rank's share of a tensor's dimension `dim`; what is written there is written in the tensor.
    pub fn of(&self, tensor: &Tensor, dim: i64) -> Tensor {
        tensor.slice(dim, self.rank.number as i64, None::<i64>, self.rank.count as i64)
    }

    /// Refuses to go on when a rank holds other values than the rest.
    pub fn check_same(&self, named: &[(String, Tensor)]) -> Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        let own = f64::from(weights::checksum(named));
        let mut sum = [own];
        self.sum(&mut sum)?;
        if sum[0] != own * self.rank.count as f64 {
            bail!("rank {} holds other weights than the others, so this training is worth nothing; do it with ranks = 1", self.rank.number);
        }
        Ok(())
    }

    /// Sums numbers over all ranks.
    fn sum(&self, values: &mut [f64]) -> Result<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.sum(values).map_err(lost))
    }
}

fn lost(error: anyhow::Error) -> anyhow::Error {
    Lost(format!("another rank of this training is gone: {error:#}")).into()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// Ranks in threads.
    fn together<T: Send>(count: usize, body: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meeting");
        std::thread::scope(|scope| {
            let start = |number| {
                let (path, body) = (path.to_str().unwrap(), &body);
                scope.spawn(move || {
                    let group = Group::meet(path, number, count, MEETING, PATIENCE, Device::Cpu).unwrap();
                    body(Ranks { rank: Rank { number, count }, group: Some(group) })
                })
            };
            let threads: Vec<_> = (0..count).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_are_over_all_ranks() {
        let sums = together(3, |ranks| {
            let n = ranks.rank.number as u64;
            let tally = Tally { hits: 1, moments: [n as f64; 6], pairs_nll: 0.5, ..Tally::default() };
            ranks.total(Sums { nll: 1.5 * n as f64, count: n + 1, correct: n, tally }, 0.25).unwrap()
        });
        let tally = Tally { hits: 3, moments: [3.0; 6], pairs_nll: 1.5, ..Tally::default() };
        assert_eq!(sums, vec![(Sums { nll: 4.5, count: 6, correct: 3, tally }, 0.75); 3]);
    }

    #[test]
    fn gradients_of_all_kinds_are_summed_where_any_rank_has_one() {
        let _alone = crate::tests::alone();
        // One that is summed where it lies, small ones, one whose memory is in another order, one of a single rank, one of none.
        let shapes: [&[i64]; 5] = [&[300, 300], &[3], &[2, 5], &[4], &[4]];
        let found = together(2, |ranks| {
            let number = ranks.rank.number as f64;
            let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
            let mut variables = shapes.map(|shape| zeros(shape).set_requires_grad(true));
            variables[2] = zeros(&[5, 2]).tr().set_requires_grad(true);
            for (i, variable) in variables.iter().enumerate().take(if ranks.is_first() { 4 } else { 3 }) {
                let _ = shim::gradient(variable).unwrap().fill_(1.0 + i as f64 + number);
            }
            ranks.sum_gradients(&variables).unwrap();
            variables.each_ref().map(|variable| {
                let gradient = variable.grad();
                gradient.defined().then(|| (gradient.size(), gradient.min().double_value(&[]), gradient.max().double_value(&[])))
            })
        });
        let sum = |i: usize, value: f64| Some((shapes[i].to_vec(), value, value));
        let expected = [sum(0, 3.0), sum(1, 5.0), sum(2, 7.0), sum(3, 4.0), None];
        assert_eq!(found, [expected.clone(), expected]);
    }

    #[test]
    fn shares_are_gathered_and_other_values_found() {
        let _alone = crate::tests::alone();
        let found = together(2, |ranks| {
            let whole = Tensor::from_slice2(&[[9f32, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]]);
            let _ = ranks.of(&whole, 1).fill_(ranks.rank.number as f64);
            ranks.gather(&whole, 1).unwrap();
            let same = ranks.check_same(&[("w".into(), whole.shallow_clone())]).is_ok();
            let other = Tensor::from(ranks.rank.number as f32);
            let other = ranks.check_same(&[("w".into(), other)]).unwrap_err().to_string();
            (Vec::<f32>::try_from(whole.reshape([-1])).unwrap(), same, other.contains("holds other weights"))
        });
        assert_eq!(found, vec![(vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], true, true); 2]);
    }

    #[test]
    fn a_rank_that_is_gone_is_an_error_and_no_wait() {
        let found = together(2, |ranks| {
            let sums = if ranks.is_first() { 2 } else { 1 };
            (0..sums).try_for_each(|_| ranks.sum(&mut [1.0]))
        });
        assert!(found[1].is_ok());
        let error = found[0].as_ref().unwrap_err();
        assert!(error.downcast_ref::<Lost>().is_some(), "{error}");
        assert!(error.to_string().starts_with("another rank of this training is gone: "), "{error}");
    }

    #[test]
    fn a_share_is_every_nth() {
        let share = |number, count| Rank { number, count }.share((0..6).collect());
        assert_eq!((share(0, 1), share(0, 3), share(2, 3)), (vec![0, 1, 2, 3, 4, 5], vec![0, 3], vec![2, 5]));
    }
}
