//! Runs parts on threads. What they made is settled beside the work: the threads that compute never wait for the disk.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Result, anyhow};

use crate::{Context, Part};

/// Finished parts that may wait for the disk before the work waits too: what a kill can cost.
const WAITING_MAX: usize = 2;

/// Runs `work` for the parts `todo` of a plan; `settle` gets what each made, one after another.
pub(crate) fn each<T: Send>(
    ctx: &Context,
    plan: &[Part],
    todo: &[usize],
    work: impl Fn(usize) -> Result<T> + Sync,
    settle: impl Fn(usize, T) -> Result<()>,
) -> Result<()> {
    let total: u64 = plan.iter().map(|part| part.bytes).sum();
    let mut finished = total - todo.iter().map(|index| plan[*index].bytes).sum::<u64>();
    let next = AtomicUsize::new(0);
    let errors = Errors::default();
    let (done, waiting) = mpsc::sync_channel(WAITING_MAX);
    let worker = |done: mpsc::SyncSender<(usize, T)>| {
        while let Some(index) = todo.get(next.fetch_add(1, Ordering::Relaxed)).copied()
            && !errors.any()
        {
            match ctx.check_stop().and_then(|()| guarded(index, &work)) {
                Ok(written) => {
                    if done.send((index, written)).is_err() {
                        // A part could not be noted.
                        return;
                    }
                }
                Err(error) => errors.add(index, error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..ctx.threads.min(todo.len()) {
            let (worker, done) = (&worker, done.clone());
            scope.spawn(move || worker(done));
        }
        drop(done);
        for (index, written) in waiting {
            if let Err(error) = settle(index, written) {
                return errors.add(index, error);
            }
            finished += plan[index].bytes;
            ctx.progress(finished, total, "B");
        }
    });
    errors.first()
}

/// Errors of parts.
#[derive(Default)]
struct Errors {
    any: AtomicBool,
    by_part: Mutex<BTreeMap<usize, anyhow::Error>>,
}

impl Errors {
    fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn add(&self, part: usize, error: anyhow::Error) {
        self.any.store(true, Ordering::Relaxed);
        self.by_part.lock().unwrap_or_else(PoisonError::into_inner).insert(part, error);
    }

    /// The error of the first part, whichever failed first in time.
    fn first(self) -> Result<()> {
        self.by_part.into_inner().unwrap_or_else(PoisonError::into_inner).pop_first().map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// A panic within a part is a defect, but no reason to lose the parts that are finished or to end without a message.
fn guarded<T>(index: usize, work: &impl Fn(usize) -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| work(index))).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(anyhow!("part {index} panicked: {}; this is a defect, please report it", words.unwrap_or("no message")))
    })
}
