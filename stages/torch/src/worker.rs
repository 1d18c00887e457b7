//! The process `mill-model`: its job, its lock, its voice on standard output, and the wish to stop on standard input.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use model::ask::Said;
use model::{Event, Job, LESS_MEMORY, Report, STOPPED, Task};
use serde::Serialize;

use crate::failure::{of_panic, told};
use crate::libtorch;
use crate::ranks::Lost;

const USAGE: &str = "mill-model is started by `mill`; by hand: mill-model run JOB.json [RANK] | mill-model ask | mill-model logits|hidden MODEL-FOLDER IDS.json";
/// Progress is told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The main function of `mill-model`.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", job] => run(Path::new(job), 0),
        ["run", job, rank] => rank.parse().map_or_else(|_| usage(), |rank| run(Path::new(job), rank)),
        ["ask"] => ask(),
        ["logits", folder, ids] => print(crate::logits::print(Path::new(folder), Path::new(ids))),
        ["hidden", folder, ids] => print(crate::hidden::print(Path::new(folder), Path::new(ids))),
        _ => usage(),
    }
}

/// What went wrong is said on standard output, where it belongs to the next question.
fn ask() -> ExitCode {
    keep_memory();
    let answered = std::panic::catch_unwind(|| libtorch::check().and_then(|()| crate::ask::answer()));
    if let Err(error) = answered.unwrap_or_else(|panic| Err(of_panic(panic))) {
        tell(&Said::Error(told(&format!("{error:#}"), "free some")));
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn print(printed: Result<()>) -> ExitCode {
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tensors of some megabytes come and go at every step: keep their pages instead of giving them back to the system each time.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // Its lists of small pieces are merged whenever a large one comes back: without them a step takes 8 % less time.
    // SAFETY: sets numbers of the allocator before any other thread runs.
    unsafe {
        libc::mallopt(libc::M_MXFAST, 0);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

fn run(path: &Path, rank: usize) -> ExitCode {
    keep_memory();
    let worker = Worker { stop: watch_stdin(), told: Instant::now(), rank };
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| work(path, worker))).unwrap_or_else(|panic| Err(of_panic(panic)));
    match result {
        Ok(Some(report)) => {
            tell(&Event::Done(report));
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::from(STOPPED as u8),
        Err(error) => {
            let message = told(&format!("{error:#}"), LESS_MEMORY);
            tell(&if error.is::<Lost>() { Event::Lost(message) } else { Event::Error(message) });
            ExitCode::FAILURE
        }
    }
}

/// Does the job; `None` when it was stopped.
fn work(path: &Path, mut worker: Worker) -> Result<Option<Report>> {
    libtorch::check()?;
    let text = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    let job: Job = serde_json::from_slice(&text).with_context(|| format!("`{}` is not a job", path.display()))?;
    // The other ranks write nothing.
    let lock = if worker.rank == 0 { Some(lock(&job.draft, &worker)?) } else { None };
    if let Some(None) = lock {
        return Ok(None);
    }
    tch::set_num_threads(job.threads_of_rank() as i32);
    tch::set_num_interop_threads(1);
    match &job.task {
        Task::Train(settings) => crate::train::train(&job, settings, &mut worker),
        Task::Predict(settings) => crate::predict::predict(&job, settings, &mut worker),
        Task::Evaluate(settings) => crate::evaluate::evaluate(&job, settings, &mut worker),
    }
}

/// Holds the draft as long as this process lives. `None` when asked to stop while waiting.
fn lock(draft: &Path, worker: &Worker) -> Result<Option<File>> {
    let path = draft.join(engine::draft::LOCK);
    let failed = || format!("locking `{}`", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).with_context(failed)?;
    while !worker.stopped() {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
    }
    Ok(None)
}

/// True once standard input is at its end: `mill` wants us to stop, or is gone.
fn watch_stdin() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
        flag.store(true, Ordering::Relaxed);
    });
    stop
}

/// What a job may ask of its process.
pub struct Worker {
    stop: Arc<AtomicBool>,
    told: Instant,
    /// Which of the job's ranks this process is.
    pub rank: usize,
}

impl Worker {
    /// Stops when the flag is set.
    #[cfg(test)]
    pub fn new(stop: Arc<AtomicBool>) -> Worker {
        Worker { stop, told: Instant::now(), rank: 0 }
    }

    /// Whether the job should save what it has and end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells how far the job is, now and then; the first rank does, for all.
    pub fn progress(&mut self, done: u64, total: u64, unit: &str) {
        if self.rank > 0 {
            return;
        }
        if done == total || self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            tell(&Event::Progress { done, total, unit: unit.to_string() });
        }
    }

    /// Says a line to whoever watches; the first rank does, for all.
    pub fn note(&self, text: &str) {
        if self.rank == 0 {
            tell(&Event::Note(text.to_string()));
        }
    }
}

/// A reader that is gone is no reason to fail: the stop flag follows.
pub fn tell(event: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(event) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
