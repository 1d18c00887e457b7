//! What `mill` and `mill-model` say to each other: a job in a file, events as JSON lines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use engine::Artifact;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Evaluate, Predict, Train};

/// Exit code of `mill-model` after it was asked to stop: what it had is saved in the draft.
pub const STOPPED: i32 = 3;

/// A step to run, fully resolved.
#[derive(Serialize, Deserialize)]
pub struct Job {
    pub task: Task,
    /// Folders of the input artifacts by port.
    pub inputs: BTreeMap<String, Vec<PathBuf>>,
    /// The folder that the results go to; its folder `scratch` is for what is needed only until the step is done.
    pub draft: PathBuf,
    pub seed: u64,
    /// Of all ranks together.
    pub threads: usize,
    /// Bytes of resident memory that `mill` and this process should stay below together.
    pub memory: u64,
    /// `auto`, `cpu`, `cuda` or `cuda:N`; with ranks the first one's.
    pub device: String,
    /// Processes that do the job together.
    pub ranks: usize,
    /// The file by which these find each other; the first one makes it.
    pub meeting: PathBuf,
}

#[allow(clippy::large_enum_variant, reason = "there is one of it in a process")]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Train(Box<Train>),
    Predict(Predict),
    Evaluate(Box<Evaluate>),
}

impl Task {
    /// Processes that it is to be done by.
    pub fn ranks(&self) -> usize {
        match self {
            Task::Train(settings) => settings.ranks as usize,
            Task::Predict(_) | Task::Evaluate(_) => 1,
        }
    }
}

impl Job {
    /// The folder of the draft for what is needed only until the step is done.
    pub const SCRATCH: &str = "scratch";

    /// Threads of each rank.
    pub fn threads_of_rank(&self) -> usize {
        (self.threads / self.ranks.max(1)).max(1)
    }

    /// A path inside the draft for what is needed only until the step is done.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.draft.join(Job::SCRATCH).join(name)
    }

    /// Opens the artifact on a port.
    pub fn artifact(&self, port: &str) -> Result<Artifact> {
        self.artifact_opt(port)?.with_context(|| format!("no artifact on the port `{port}`"))
    }

    pub fn artifact_opt(&self, port: &str) -> Result<Option<Artifact>> {
        Ok(self.artifacts(port)?.into_iter().next())
    }

    /// Opens all artifacts on a port, in the order of the config.
    pub fn artifacts(&self, port: &str) -> Result<Vec<Artifact>> {
        self.inputs.get(port).into_iter().flatten().map(|dir| Artifact::open(dir)).collect()
    }
}

/// A line on the standard output of `mill-model`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Progress {
        done: u64,
        total: u64,
        unit: String,
    },
    /// A line for whoever watches.
    Note(String),
    Error(String),
    /// Another rank is gone, which is the one that knows why.
    Lost(String),
    Done(Report),
}

/// What a finished job says about the artifact besides its files.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Path prefixes of files that may differ between two runs.
    pub volatile: Vec<String>,
    pub facts: BTreeMap<String, Value>,
    pub counts: BTreeMap<String, i64>,
}

impl Event {
    pub fn parse(line: &str) -> Result<Event> {
        match serde_json::from_str(line) {
            Ok(event) => Ok(event),
            Err(error) => bail!("mill-model said `{line}`: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_said() {
        for (event, line) in [
            (Event::Note("step 4: \"a\"\nb".into()), r#"{"note":"step 4: \"a\"\nb"}"#),
            (Event::Progress { done: 1, total: 2, unit: "steps".into() }, r#"{"progress":{"done":1,"total":2,"unit":"steps"}}"#),
            (Event::Lost("x".into()), r#"{"lost":"x"}"#),
        ] {
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!(Event::parse(line).unwrap(), event);
        }
        assert!(Event::parse("hello").unwrap_err().to_string().starts_with("mill-model said `hello`: "));
    }
}
