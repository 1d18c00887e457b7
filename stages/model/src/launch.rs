//! Runs `mill-model` for a step: writes the job, forwards progress, stops it with us, and turns its end into a result.
//!
//! `mill-model` lives as long as its standard input stays open, so it also ends when this process is killed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use engine::{Context, Draft, Inputs, Stopped};

use crate::{Event, Job, Report, STOPPED, Task};

const EXECUTABLE: &str = "mill-model";
/// How many of its last lines on standard error an error message shows.
const LAST_LINES: usize = 12;
/// How often the stop flag is looked at while nothing is heard.
const PATIENCE: Duration = Duration::from_millis(50);
/// Settings of the numeric libraries that would change speed or results behind the back of `--threads`.
const CLEARED_VARIABLES: [&str; 9] = ["OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "TORCH_", "PYTORCH_", "ATEN_"];

/// Runs the task to its end and notes what it reports in the draft.
pub fn launch(task: Task, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
    let executable = find()?;
    let job = write_job(task, ctx, inputs, draft)?;
    let mut child = spawn(&executable, &job, ctx.threads)?;
    // Dropping our end of its standard input, by error, panic or death, tells the child to save and end.
    let mut stdin = child.stdin.take();
    let events = read_lines(child.stdout.take().context("mill-model has no standard output")?);
    let errors = read_lines(child.stderr.take().context("mill-model has no standard error")?);
    let last_lines = thread::spawn(move || keep_last(errors));
    let mut outcome = None;
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(line) => match Event::parse(&line)? {
                Event::Progress { done, total, unit } => ctx.progress(done, total, &unit),
                Event::Error(message) => outcome = Some(Err(anyhow!(message))),
                Event::Done(report) => outcome = Some(Ok(report)),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if ctx.check_stop().is_err() {
            stdin = None;
        }
    }
    let status = child.wait().context("waiting for mill-model")?;
    drop(stdin);
    let last_lines = last_lines.join().unwrap_or_default();
    finish(draft, outcome, status, &last_lines)
}

fn finish(draft: &Draft, outcome: Option<Result<Report>>, status: ExitStatus, last_lines: &[String]) -> Result<()> {
    match outcome {
        Some(Ok(report)) if status.success() => note(draft, report),
        Some(Err(error)) => Err(error),
        _ if status.code() == Some(STOPPED) => Err(Stopped.into()),
        _ => bail!(
            "mill-model {}{}",
            ending(status),
            if last_lines.is_empty() { String::new() } else { format!("; its last words:\n{}", last_lines.join("\n")) }
        ),
    }
}

fn note(draft: &Draft, report: Report) -> Result<()> {
    for prefix in &report.volatile {
        draft.volatile(prefix);
    }
    for (name, value) in report.facts {
        draft.fact(&name, value)?;
    }
    for (name, n) in report.counts {
        draft.count(&name, n);
    }
    Ok(())
}

#[cfg(unix)]
fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => "was killed (signal 9); perhaps memory ran out: lower batch_size and raise accumulate".into(),
        (Some(signal), _) => format!("crashed with signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code} and no result"),
        (None, None) => "ended with no result".into(),
    }
}

#[cfg(not(unix))]
fn ending(status: ExitStatus) -> String {
    format!("ended with {status} and no result")
}

/// `mill-model` beside this executable; test executables lie one folder deeper.
fn find() -> Result<PathBuf> {
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

fn write_job(task: Task, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("resolving `{}`", path.display()));
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (port, artifact) in inputs.all() {
        folders.entry(port.clone()).or_default().push(absolute(&artifact.dir)?);
    }
    let job = Job {
        task,
        inputs: folders,
        draft: absolute(draft.dir())?,
        seed: ctx.seed,
        threads: ctx.threads,
        memory: ctx.memory,
        device: ctx.device.clone(),
    };
    let path = job.scratch("job.json");
    let written = std::fs::create_dir_all(job.scratch("")).and_then(|()| std::fs::write(&path, serde_json::to_vec_pretty(&job)?));
    written.with_context(|| format!("writing `{}`", path.display()))?;
    Ok(path)
}

fn spawn(executable: &Path, job: &Path, threads: usize) -> Result<Child> {
    let mut command = Command::new(executable);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| CLEARED_VARIABLES.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    let threads = threads.to_string();
    command.arg("run").arg(job).env("OMP_NUM_THREADS", &threads).env("MKL_NUM_THREADS", &threads).env("OMP_DYNAMIC", "FALSE");
    // A thread that waits for others spins for about half a millisecond only: longer than between two kernels, and the processor is free
    // for whoever else needs it.
    command.env("GOMP_SPINCOUNT", "10000");
    // What deterministic products of cuBLAS ask for.
    command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    // An interrupt of the terminal goes to the whole foreground group; only `mill` decides what it means.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{}`", executable.display()))
}

fn read_lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn keep_last(lines: Receiver<String>) -> Vec<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES + 1);
    for line in lines {
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    last.into()
}
