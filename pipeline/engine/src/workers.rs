//! Runs the parts of a phase on threads. Finished parts reach the disk beside the work: the threads that compute never wait for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Context as _, Result, anyhow};

use crate::draft::{Draft, Line, PARTS};
use crate::manifest::FileManifest;
use crate::{Context, Part};

/// What a part wrote into tables, and its counts.
type Written = (Vec<FileManifest>, BTreeMap<String, i64>);

/// Finished parts that may wait for the disk before the work waits too: what a kill can cost.
const WAITING_MAX: usize = 2;

/// Runs `work` for every part that the draft's journal does not hold, and notes it there. Files of tables are synced before; scratch files are
/// not where the journal can tell that the system was started anew since.
pub(crate) fn each(draft: &Draft, ctx: &Context, phase: &str, plan: &[Part], work: impl Fn(usize) -> Result<Written> + Sync) -> Result<()> {
    let total: u64 = plan.iter().map(|part| part.bytes).sum();
    let todo: Vec<usize> = {
        let state = draft.state();
        (0..plan.len()).filter(|index| !state.done.contains_key(&(phase.to_string(), *index))).collect()
    };
    let mut finished = total - todo.iter().map(|index| plan[*index].bytes).sum::<u64>();
    let next = AtomicUsize::new(0);
    let errors = Errors::default();
    let (done, waiting) = mpsc::sync_channel(WAITING_MAX);
    let worker = |done: mpsc::SyncSender<(usize, Written)>| {
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
            if let Err(error) = settle(draft, phase, index, written) {
                return errors.add(index, error);
            }
            finished += plan[index].bytes;
            ctx.progress(finished, total, "B");
        }
    });
    errors.first()
}

/// Brings a finished part to the disk and notes it.
fn settle(draft: &Draft, phase: &str, part: usize, (files, counts): Written) -> Result<()> {
    let scratch = (phase != PARTS).then(|| draft.scratch_path(phase, part));
    let boot = scratch.as_ref().and_then(|_| boot());
    for path in files.iter().map(|file| draft.dir().join(&file.path)).chain(scratch) {
        let file = File::open(&path).with_context(|| format!("phase `{phase}` wrote no `{}`", path.display()))?;
        if boot.is_none() {
            file.sync_all().with_context(|| format!("syncing `{}`", path.display()))?;
        }
    }
    let synced = boot.is_none();
    draft.note(Line { phase: phase.to_string(), part, files, counts, boot }, synced)
}

/// What is the same as long as the system runs, where it tells.
pub(crate) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_string())
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
