//! Passes over the corpus, with a checkpoint after each: a killed step goes on at the pass that it was in.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use engine::{Context, Draft, Part};

use crate::matrix::Matrix;

/// Weights, and the mean loss of every pass so far.
pub(crate) struct State {
    pub(crate) weights: Vec<Matrix>,
    pub(crate) losses: Vec<f64>,
}

/// Trains `epochs` passes. `start` makes weights of the right shapes, whose contents an earlier run's take the place of; `pass` trains one
/// pass and gives its mean loss.
pub(crate) fn epochs(
    ctx: &Context,
    draft: &Draft,
    epochs: usize,
    start: impl Fn() -> Vec<Matrix> + Sync,
    pass: impl Fn(&[Matrix], usize) -> Result<f64> + Sync,
) -> Result<State> {
    let state: Mutex<Option<State>> = Mutex::new(None);
    let phase = |epoch: usize| format!("epoch-{epoch:04}");
    let after = |epoch: usize| draft.scratch_path(&phase(epoch), 0);
    // The weights after some passes: those at hand, or from the checkpoint.
    let resumed = |done: usize| match done {
        0 => Ok(State { weights: start(), losses: Vec::new() }),
        done => State::read(&after(done - 1), start()),
    };
    for epoch in 0..epochs {
        draft.task(ctx, &phase(epoch), &[Part { bytes: 1 }], |_, path| {
            let mut held = state.lock().map_err(|_| anyhow!("a thread panicked"))?;
            let mut current = held.take().map_or_else(|| resumed(epoch), Ok)?;
            let loss = pass(&current.weights, epoch)?;
            if !loss.is_finite() {
                bail!("the loss of pass {} is {loss}: a smaller `learning_rate` keeps it finite", epoch + 1);
            }
            current.losses.push(loss);
            current.write(path)?;
            *held = Some(current);
            Ok(())
        })?;
        // Its successor stands.
        if let Some(before) = epoch.checked_sub(1) {
            let _ = std::fs::remove_file(after(before));
        }
    }
    state.into_inner().map_err(|_| anyhow!("a thread panicked"))?.map_or_else(|| resumed(epochs), Ok)
}

impl State {
    fn write(&self, path: &Path) -> Result<()> {
        let write = || -> Result<()> {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
            out.write_all(&(self.losses.len() as u64).to_le_bytes())?;
            self.losses.iter().try_for_each(|loss| out.write_all(&loss.to_le_bytes()))?;
            self.weights.iter().try_for_each(|matrix| matrix.write(&mut out))?;
            Ok(out.flush()?)
        };
        write().with_context(|| format!("writing `{}`", path.display()))
    }

    fn read(path: &Path, mut weights: Vec<Matrix>) -> Result<State> {
        let mut read = || -> Result<Vec<f64>> {
            let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
            let passes = u64::from_le_bytes(crate::words::bytes(&mut file)?);
            let losses = (0..passes).map(|_| Ok(f64::from_le_bytes(crate::words::bytes(&mut file)?))).collect::<Result<_>>()?;
            weights.iter_mut().try_for_each(|matrix| matrix.read(&mut file))?;
            Ok(losses)
        };
        let losses = read().with_context(|| format!("reading the checkpoint `{}`", path.display()))?;
        Ok(State { weights, losses })
    }
}

/// What threads found together: the sum of their losses and how many they count.
pub(crate) fn workers(threads: usize, work: impl Fn() -> Result<(f64, u64)> + Sync) -> Result<f64> {
    let found: Vec<Result<(f64, u64)>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err(anyhow!("a training thread panicked; please report it"))))
            .collect()
    });
    let (mut loss, mut count) = (0.0, 0);
    for found in found {
        let (more, n) = found?;
        loss += more;
        count += n;
    }
    Ok(loss / count.max(1) as f64)
}
