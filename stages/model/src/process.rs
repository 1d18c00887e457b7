//! One process `mill-model`: a job's only one, or one of its ranks. Starts it, hears what it says, and tells how it ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

use crate::{Event, Job, Report, STOPPED};

/// How many of its last lines on standard error an error message shows.
const LAST_LINES: usize = 12;
/// Settings of the numeric libraries that would change speed or results behind the back of `--threads`.
const CLEARED_VARIABLES: [&str; 10] = ["OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "TORCH_", "PYTORCH_", "ATEN_", "GLOO_"];

/// What helps when memory runs out.
pub const LESS_MEMORY: &str = "free some, with which the same command goes on where it stopped, or take a lower batch_size (for `train` with \
                               a higher accumulate, or activation_checkpointing)";

/// A running process.
pub struct Process {
    rank: usize,
    child: Child,
    /// Dropping our end of its standard input, by error, panic or death, tells it to save and end.
    stdin: Option<ChildStdin>,
    last_lines: JoinHandle<Vec<String>>,
    outcome: Option<Outcome>,
    /// By us, because another rank failed.
    killed: bool,
}

/// What a process said last.
enum Outcome {
    Done(Report),
    Error(String),
    Lost(String),
}

/// How a process ended.
pub enum End {
    Done(Report),
    Stopped,
    /// With what went wrong.
    Failed(String),
    /// Because another rank had ended.
    Lost(String),
}

impl Process {
    /// Starts rank `rank` of a job; what it says goes to `heard`.
    pub fn start(executable: &Path, job: &Job, path: &Path, rank: usize, heard: Sender<(usize, String)>) -> Result<Process> {
        let mut child = spawn(executable, path, rank, job.threads_of_rank())?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("mill-model has no standard output")?;
        let stderr = child.stderr.take().context("mill-model has no standard error")?;
        read_lines(stdout, move |line| heard.send((rank, line)).is_ok());
        let (sender, errors) = channel();
        read_lines(stderr, move |line| sender.send(line).is_ok());
        let last_lines = thread::spawn(move || keep_last(errors));
        Ok(Process { rank, child, stdin, last_lines, outcome: None, killed: false })
    }

    /// Takes note of a line; gives what whoever watches should see of it.
    pub fn hear(&mut self, line: &str) -> Result<Option<Event>> {
        self.outcome = Some(match Event::parse(line)? {
            event @ (Event::Progress { .. } | Event::Note(_)) => return Ok(Some(event)),
            Event::Error(message) => Outcome::Error(message),
            Event::Lost(message) => Outcome::Lost(message),
            Event::Done(report) => Outcome::Done(report),
        });
        Ok(None)
    }

    /// Asks it to save what it has and to end.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// Whether it said or showed that it failed.
    pub fn failed(&mut self) -> bool {
        let status = self.status();
        matches!(self.outcome, Some(Outcome::Error(_) | Outcome::Lost(_)))
            || status.is_some_and(|status| !status.success() && status.code() != Some(STOPPED))
    }

    /// Ends it at once, if it goes on.
    pub fn kill(&mut self) {
        self.killed |= self.status().is_none() && self.child.kill().is_ok();
    }

    /// How it ended; `None` while it goes on.
    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end. `ranks` is how many there are.
    pub fn end(mut self, ranks: usize) -> Result<End> {
        let status = self.child.wait().context("waiting for mill-model")?;
        drop(self.stdin);
        let last_lines = self.last_lines.join().unwrap_or_default();
        Ok(match self.outcome {
            Some(Outcome::Error(message)) => End::Failed(message),
            Some(Outcome::Lost(message)) => End::Lost(message),
            Some(Outcome::Done(report)) if status.success() => End::Done(report),
            _ if status.code() == Some(STOPPED) => End::Stopped,
            _ if self.killed => End::Lost("another rank failed".into()),
            _ => {
                let who = if ranks == 1 { String::new() } else { format!(", rank {} of {ranks},", self.rank) };
                End::Failed(format!("mill-model{who} {}", last_words(&ending(status), &last_lines)))
            }
        })
    }
}

/// How it ended, with what it said on standard error.
fn last_words(ending: &str, lines: &[String]) -> String {
    // Rust aborts where it has no memory.
    if let Some(line) = lines.iter().find(|line| line.starts_with("memory allocation of ")) {
        return format!("ran out of memory ({line}): {LESS_MEMORY}");
    }
    let words = if lines.is_empty() { String::new() } else { format!("; its last words:\n{}", lines.join("\n")) };
    format!("{ending}{words}")
}

#[cfg(unix)]
pub(crate) fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => format!("was killed (signal 9); perhaps memory ran out: {LESS_MEMORY}"),
        (Some(signal), _) => format!("crashed with signal {signal}"),
        // What the loader of programs gives.
        (None, Some(127)) => {
            "could not be loaded: put LibTorch back where it was when this program was built, or build it again with LIBTORCH \
                              naming its folder"
                .into()
        }
        (None, Some(code)) => format!("ended with exit code {code} and no result"),
        (None, None) => "ended with no result".into(),
    }
}

#[cfg(not(unix))]
pub(crate) fn ending(status: ExitStatus) -> String {
    format!("ended with {status} and no result")
}

/// `mill-model` with so many threads, and nothing in its surroundings that would change them.
pub(crate) fn command(executable: &Path, threads: usize) -> Command {
    let mut command = Command::new(executable);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| CLEARED_VARIABLES.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    let threads = threads.to_string();
    command.env("OMP_NUM_THREADS", &threads).env("MKL_NUM_THREADS", &threads).env("OMP_DYNAMIC", "FALSE");
    // A thread that waits for others spins for about half a millisecond only: longer than between two kernels, and the processor is free
    // for whoever else needs it.
    command.env("GOMP_SPINCOUNT", "10000");
    // What deterministic products of cuBLAS ask for.
    command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    // An interrupt of the terminal goes to the whole foreground group; only `mill` decides what it means.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

fn spawn(executable: &Path, job: &Path, rank: usize, threads: usize) -> Result<Child> {
    command(executable, threads)
        .arg("run")
        .arg(job)
        .arg(rank.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{}`", executable.display()))
}

/// Hands on the lines of a stream as long as somebody takes them.
fn read_lines(stream: impl Read + Send + 'static, take: impl Fn(String) -> bool + Send + 'static) {
    thread::spawn(move || {
        let lines = BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).all(take)
    });
}

fn keep_last(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES + 1);
    for line in lines {
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    last.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_with_what_helps() {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect::<Vec<_>>();
        assert_eq!(last_words("crashed with signal 6", &[]), "crashed with signal 6");
        assert_eq!(last_words("crashed with signal 6", &lines(&["a", "b"])), "crashed with signal 6; its last words:\na\nb");
        let found = last_words("crashed with signal 6", &lines(&["memory allocation of 1600 bytes failed", "stack backtrace:"]));
        assert_eq!(found, format!("ran out of memory (memory allocation of 1600 bytes failed): {LESS_MEMORY}"));
    }
}
