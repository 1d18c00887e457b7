//! Runs `mill-model` for a step: writes the job, starts its ranks, forwards progress, stops them with us, and turns their end into a result.
//!
//! `mill-model` lives as long as its standard input stays open, so it also ends when this process is killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use engine::{Context, Draft, Inputs, Stopped};

use crate::process::{End, Process};
use crate::{Event, Job, Report, Task};

const EXECUTABLE: &str = "mill-model";
/// How often the processes and the stop flag are looked at while nothing is heard.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long the other ranks have to end by themselves when one has failed.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the task to its end and notes in the draft what it reports.
pub fn launch(task: Task, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<Report> {
    let executable = find()?;
    let (job, path) = write_job(task, ctx, inputs, draft)?;
    let (heard, events) = channel();
    let start = |rank| Process::start(&executable, &job, &path, rank, heard.clone());
    let mut processes = (0..job.ranks).map(start).collect::<Result<Vec<Process>>>()?;
    drop(heard);
    let mut failed: Option<Instant> = None;
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok((rank, line)) => {
                if let Some(event) = processes[rank].hear(&line)? {
                    show(event, ctx);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if ctx.check_stop().is_err() {
            processes.iter_mut().for_each(Process::stop);
        }
        // None can go on alone.
        if processes.iter_mut().any(Process::failed) && failed.get_or_insert_with(Instant::now).elapsed() > GRACE {
            processes.iter_mut().for_each(Process::kill);
        }
    }
    let ranks = processes.len();
    let ends = processes.into_iter().map(|process| process.end(ranks)).collect::<Result<Vec<End>>>()?;
    let report = verdict(ends)?;
    note(draft, &report)?;
    Ok(report)
}

/// Hands on what a process says on its way.
fn show(event: Event, ctx: &Context) {
    match event {
        Event::Progress { done, total, unit } => ctx.progress(done, total, &unit),
        Event::Note(message) => ctx.note(&message),
        Event::Error(_) | Event::Lost(_) | Event::Done(_) => {}
    }
}

/// What the ends of all ranks mean for the job. The first rank reports for all; of failures, those count that others did not cause.
fn verdict(ends: Vec<End>) -> Result<Report> {
    let mut lost = None;
    let mut reports = Vec::new();
    let mut stopped = false;
    for end in ends {
        match end {
            End::Failed(message) => bail!(message),
            End::Lost(message) => lost = Some(message),
            End::Stopped => stopped = true,
            End::Done(report) => reports.push(report),
        }
    }
    match (stopped, lost) {
        (true, _) => Err(Stopped.into()),
        (false, Some(message)) => bail!(message),
        (false, None) => reports.into_iter().next().context("a job has at least one process"),
    }
}

fn note(draft: &Draft, report: &Report) -> Result<()> {
    for prefix in &report.volatile {
        draft.volatile(prefix);
    }
    for (name, value) in &report.facts {
        draft.fact(name, value)?;
    }
    for (name, n) in &report.counts {
        draft.count(name, *n);
    }
    Ok(())
}

/// `mill-model` beside this executable; test executables lie one folder deeper.
pub(crate) fn find() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding the path of this program")?;
    let folders = own.ancestors().skip(1).take(2);
    let name = format!("{EXECUTABLE}{}", std::env::consts::EXE_SUFFIX);
    let found = folders.map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "`{name}` is not beside `{}`: this program was built without models; build it with the feature `model`, which is on by default and needs LibTorch",
            own.display()
        )
    })
}

fn write_job(task: Task, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<(Job, PathBuf)> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("resolving `{}`", path.display()));
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (port, artifact) in inputs.all() {
        folders.entry(port.clone()).or_default().push(absolute(&artifact.dir)?);
    }
    let folder = absolute(draft.dir())?;
    let mut job = Job {
        ranks: task.ranks(),
        meeting: PathBuf::new(),
        task,
        inputs: folders,
        draft: folder,
        seed: ctx.seed,
        threads: ctx.threads,
        memory: ctx.memory,
        device: ctx.device.clone(),
    };
    // Ranks of an earlier run that are about to end must not meet ours; a dead run of the same process number may have left its file.
    job.meeting = job.scratch(&format!("ranks-{}", std::process::id()));
    let path = job.scratch("job.json");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(job.scratch(""))?;
        if job.meeting.exists() {
            std::fs::remove_file(&job.meeting)?;
        }
        std::fs::write(&path, serde_json::to_vec_pretty(&job)?)
    };
    write().with_context(|| format!("writing `{}`", path.display()))?;
    Ok((job, path))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl engine::Progress for Told {
        fn update(&self, done: u64, total: u64, unit: &str) {
            self.0.lock().unwrap().push(format!("{done} of {total} {unit}"));
        }

        fn note(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_string());
        }
    }

    #[test]
    fn notes_and_progress_reach_whoever_watches() {
        let told = Arc::new(Told::default());
        let ctx = Context { progress: told.clone(), ..engine::testing::context(1) };
        for line in [r#"{"progress":{"done":1,"total":9,"unit":"steps"}}"#, r#"{"note":"step 1: valid loss 2"}"#, r#"{"error":"no"}"#] {
            show(Event::parse(line).unwrap(), &ctx);
        }
        assert_eq!(*told.0.lock().unwrap(), ["1 of 9 steps", "step 1: valid loss 2"]);
    }

    #[test]
    fn the_rank_that_failed_by_itself_is_named() {
        let (lost, failed) = (|| End::Lost("lost".into()), || End::Failed("disk full".into()));
        let done = |n: u64| End::Done(Report { volatile: vec![n.to_string()], ..Report::default() });
        let check = |ends: Vec<End>, expected: &str| {
            let found = verdict(ends).map_or_else(|error| error.to_string(), |report| report.volatile.concat());
            assert_eq!(found, expected);
        };
        check(vec![done(0)], "0");
        check(vec![done(0), done(1)], "0");
        check(vec![lost(), failed()], "disk full");
        check(vec![failed(), lost()], "disk full");
        check(vec![done(0), failed()], "disk full");
        check(vec![lost(), lost()], "lost");
        check(vec![End::Stopped, lost()], &Stopped.to_string());
        check(vec![End::Stopped, failed()], "disk full");
        check(vec![End::Stopped, End::Stopped], &Stopped.to_string());
    }
}
