//! Asking a model folder directly: what `mill generate`, `fill`, `classify` and `answer` and the process `mill-model` say to each other, line by
//! line as JSON. The process gets an [`Ask`], then [`Question`]s until its standard input ends, and says what it has to each in their order.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Decoding, Head, NetworkConfig, launch, process};

/// A model, and what it is to do with each text.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    /// In the layout of transformers.
    pub folder: PathBuf,
    pub task: Asked,
    pub threads: usize,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// Goes on with a text, or translates it.
    Generate {
        decoding: Decoding,
        /// Whether texts are told while they are written.
        stream: bool,
    },
    /// Finds tokens for the masks of a text.
    Fill { candidates: usize },
    /// Tells the class, the classes or the number of a text or pair of texts.
    Classify,
    /// Finds the answer to a question in a context.
    Answer { max_answer_tokens: usize, candidates: usize, null_threshold: Option<f64> },
}

/// A line to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The text, or the question.
    pub text: String,
    /// The second text, or the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
}

/// A line from the model.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// How the answer goes on that is being written.
    Part(String),
    /// An answer, and all that is known of it.
    Answer { text: String, details: Value },
    /// Why there is no answer to the next question, nor to those after it.
    Error(String),
}

impl Asked {
    /// The command that asks this.
    pub fn command(&self) -> &'static str {
        match self {
            Asked::Generate { .. } => "generate",
            Asked::Fill { .. } => "fill",
            Asked::Classify => "classify",
            Asked::Answer { .. } => "answer",
        }
    }
}

/// The commands that a head has answers for.
fn commands(head: &Head) -> &'static [&'static str] {
    match head {
        Head::Causal => &["generate"],
        Head::Masked | Head::Pairs { .. } => &["fill"],
        Head::Classify { .. } | Head::MultiLabel { .. } | Head::Number => &["classify"],
        Head::Answer => &["answer"],
        Head::Tag { .. } => &[],
    }
}

/// The folder of a model: this one, or the folder `model` within it, as artifacts of `train` have it.
pub fn model_folder(folder: &Path) -> Result<PathBuf> {
    let found = [folder.to_path_buf(), folder.join("model")].into_iter().find(|folder| folder.join("config.json").is_file());
    found.with_context(|| {
        let what = if folder.is_dir() { "has no config.json" } else { "is neither a folder nor a file" };
        format!(
            "`{}` {what}; give a model folder in the layout of transformers, the folder of a step that trained, or a config file and the name of such a step",
            folder.display()
        )
    })
}

/// The head of the model in a folder, and its config.
fn head(folder: &Path) -> Result<(Head, Value)> {
    let path = folder.join("config.json");
    let text = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let json: Value = serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))?;
    Ok((NetworkConfig::from_json(&json).with_context(|| format!("`{}`", path.display()))?.head, json))
}

/// Of the models of several tasks that stand beside a model, the only one that answers this; the model itself where there are none.
pub fn of_task(folder: PathBuf, asked: &Asked) -> Result<PathBuf> {
    let Some(tasks) = folder.parent().map(|dir| dir.join("models")).filter(|dir| dir.is_dir()) else { return Ok(folder) };
    let mut fitting = Vec::new();
    for entry in std::fs::read_dir(&tasks).with_context(|| format!("reading `{}`", tasks.display()))? {
        let task = entry.with_context(|| format!("reading `{}`", tasks.display()))?.path();
        if task.join("config.json").is_file() && commands(&head(&task)?.0).contains(&asked.command()) {
            fitting.push(task);
        }
    }
    fitting.sort();
    match fitting.len() {
        0 => Ok(folder),
        1 => Ok(fitting.remove(0)),
        _ => {
            let names: Vec<String> = fitting.iter().map(|task| task.display().to_string()).collect();
            bail!(
                "`mill {}` has several tasks to ask; name the folder of one: {}",
                asked.command(),
                engine::list(names.iter().map(String::as_str))
            )
        }
    }
}

/// Refuses a model without the head that answers this.
pub fn check(ask: &Ask) -> Result<()> {
    let (head, json) = head(&ask.folder)?;
    let (command, folder) = (ask.task.command(), ask.folder.display());
    if let Some(bare @ ("BertModel" | "ModernBertModel")) = json["architectures"][0].as_str() {
        bail!("the model in `{folder}` is a {bare}, which has no head and so predicts nothing; `train` gives it one (`from`)");
    }
    match commands(&head) {
        valid if valid.contains(&command) => Ok(()),
        [] => bail!("`mill {command}` has no use for the model in `{folder}`, which predicts {}; a step `predict` does", head.name()),
        valid => bail!(
            "`mill {command}` has no use for the model in `{folder}`, which predicts {}; use `mill {}`",
            head.name(),
            valid.join("`, `mill ")
        ),
    }
}

/// Asks all questions; `hear` gets what is said, in order. An error of a question, and of the program, ends it.
pub fn ask(
    ask: &Ask,
    questions: impl Iterator<Item = Result<Question>> + Send + 'static,
    mut hear: impl FnMut(Said) -> Result<()>,
) -> Result<()> {
    let executable = launch::find()?;
    let mut command = process::command(&executable, ask.threads);
    let child = command.arg("ask").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("starting `{}`", executable.display()))?;
    let mut stdin = child.stdin.take().context("mill-model has no standard input")?;
    let stdout = child.stdout.take().context("mill-model has no standard output")?;
    let mut first = serde_json::to_string(ask)?;
    first.push('\n');
    let asking = std::thread::spawn(move || -> Result<()> {
        // A process that ended says why by itself.
        let mut tell = |line: &str| stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_ok();
        let mut alive = tell(&first);
        for question in questions {
            alive = alive && tell(&format!("{}\n", serde_json::to_string(&question?)?));
            if !alive {
                break;
            }
        }
        Ok(())
    });
    let heard = BufReader::new(stdout).lines().try_for_each(|line| {
        let line = line.context("listening to mill-model")?;
        hear(serde_json::from_str(&line).with_context(|| format!("mill-model said `{line}`"))?)
    });
    if heard.is_err() {
        // It may still wait for questions, as the thread that asks may for the terminal: both end with this program.
        let _ = child.kill();
    }
    let status = child.wait().context("waiting for mill-model")?;
    heard?;
    if !status.success() {
        bail!("mill-model {}", process::ending(status));
    }
    asking.join().unwrap_or_else(|_| bail!("the questions could not be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_without_the_head_names_what_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let error = model_folder(dir.path()).unwrap_err().to_string();
        assert!(error.contains("has no config.json; give a model folder in the layout of transformers"), "{error}");
        let folder = dir.path().join("model");
        std::fs::create_dir(&folder).unwrap();
        let bert = |architecture: &str| {
            json!({
                "model_type": "bert", "architectures": [architecture], "vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1,
                "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 8, "hidden_act": "gelu",
            })
        };
        let asked =
            || Ask { folder: model_folder(dir.path()).unwrap(), task: Asked::Fill { candidates: 1 }, threads: 1, device: "cpu".into() };
        let check = |architecture: &str, expected: &str| {
            std::fs::write(folder.join("config.json"), bert(architecture).to_string()).unwrap();
            let found = check(&asked()).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(found.ends_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check("BertForMaskedLM", "");
        check("BertForPreTraining", "");
        check("BertModel", "is a BertModel, which has no head and so predicts nothing; `train` gives it one (`from`)");
        check("BertForSequenceClassification", "which predicts one class; use `mill classify`");
        check("BertForTokenClassification", "which predicts tags; a step `predict` does");
        assert_eq!(asked().folder, folder);
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let ask = Ask {
            folder: "x".into(),
            task: Asked::Generate { decoding: Decoding::default(), stream: true },
            threads: 2,
            device: "cpu".into(),
        };
        let read: Ask = serde_json::from_str(&serde_json::to_string(&ask).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{ask:?}"));
        for said in [Said::Part("a\n".into()), Said::Answer { text: "b".into(), details: json!({"c": 0.1}) }, Said::Error("d".into())] {
            assert_eq!(serde_json::from_str::<Said>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
        }
        assert_eq!(serde_json::from_str::<Question>(r#"{"text": "a"}"#).unwrap(), Question { text: "a".into(), pair: None });
    }
}
