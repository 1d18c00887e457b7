//! The logs of a training run: metrics and timings as JSON lines in the draft's scratch folder, scalars for TensorBoard.
//!
//! A checkpoint notes how long each file was; a resumed run cuts them there. So the final tables are the same as undisturbed.

mod since;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, FixedSizeBinaryArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use model::{BestMetric, Job, OnSpike, Train};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::since::Since;
use crate::tables::{self, Column};
use crate::tensorboard;

/// Characters of a continuation that a line shows.
const SHOWN: usize = 80;

/// One row of the table `metrics`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metrics {
    /// Optimizer steps done.
    pub step: u64,
    /// `train` or `valid`.
    pub split: String,
    /// The step that made the tokens, of one of several tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Mean over the predicted tokens or the examples, in nats, all counting the same; null where not finite, or nothing was predicted.
    pub loss: Option<f64>,
    pub perplexity: Option<f64>,
    /// Of causal models with byte-level tokenizers, of the valid split.
    pub bits_per_byte: Option<f64>,
    /// Share of right predictions; of the valid split alone.
    pub accuracy: Option<f64>,
    pub learning_rate: Option<f64>,
    /// Global norm of the gradients before clipping.
    pub grad_norm: Option<f64>,
    /// Predicted tokens, or examples.
    pub tokens: u64,
    /// What single objectives measure besides, each a column; `weighted_loss` where documents have weights.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
}

impl Metrics {
    /// `None` where the metric is undefined.
    pub fn value(&self, metric: BestMetric) -> Option<f64> {
        match metric {
            BestMetric::Loss => self.loss,
            BestMetric::Perplexity => self.perplexity,
            BestMetric::BitsPerByte => self.bits_per_byte,
            BestMetric::Accuracy => self.accuracy,
            score => self.scores.get(score.name()).copied(),
        }
    }

    /// The metrics as a line to be read, with the speed at its end.
    fn line(&self, speed: Option<String>) -> String {
        let metrics =
            [("loss", self.loss), ("perplexity", self.perplexity), ("bits_per_byte", self.bits_per_byte), ("accuracy", self.accuracy)];
        let scores = self.scores.iter().map(|(name, value)| (name.as_str(), Some(*value)));
        let metrics = metrics.into_iter().chain(scores).filter_map(|(name, value)| Some(format!("{name} {:.4}", value?)));
        format!("step {}: {} {}", self.step, self.of(" "), metrics.chain(speed).collect::<Vec<_>>().join(", "))
    }

    /// The split, and the task behind it.
    fn of(&self, between: &str) -> String {
        self.task.as_ref().map_or_else(|| self.split.clone(), |task| format!("{}{between}{task}", self.split))
    }
}

/// One row of the volatile table `timings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    pub step: u64,
    pub seconds: f64,
    /// Tokens that went through the network, without padding.
    pub tokens_per_second: f64,
    /// Seconds that the network waited for its batch.
    pub data_wait_seconds: f64,
    /// Share of what a plain product of large matrices reaches, see `speed`.
    pub flops_utilization: f64,
    /// Seconds of clipping the gradients, taking the step and forgetting them.
    #[serde(default)]
    pub optimizer_seconds: f64,
    /// The most memory of the machine that the process has held so far, of ranks the first one; that of a GPU is not counted.
    pub memory_bytes: Option<u64>,
}

/// One row of the table `spikes`: a document of a step that was not learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spike {
    pub step: u64,
    pub reason: String,
    /// The step that made the tokens, and the row in its split.
    pub source: String,
    pub row: u64,
    /// In hexadecimal.
    pub document: String,
}

/// One row of the table `generations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    pub step: u64,
    pub prompt: String,
    pub text: String,
}

impl Generation {
    /// The beginning of the text as a line to be read.
    pub fn line(&self) -> String {
        let shown: String = self.text.chars().take(SHOWN).collect();
        let more = if shown.len() < self.text.len() { "…" } else { "" };
        format!("step {}: {:?} → {shown:?}{more}", self.step, self.prompt)
    }
}

/// How long the files were at a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    metrics: u64,
    timings: u64,
    spikes: u64,
    generations: u64,
    events: u64,
}

/// The open log files.
pub struct Log {
    draft: PathBuf,
    metrics: Growing,
    timings: Growing,
    spikes: Growing,
    generations: Growing,
    events: Growing,
    since: Since,
}

impl Log {
    /// Opens the logs of a draft, cut to where the checkpoint found them. Unless `kept`, what is logged goes nowhere: another rank has it too.
    pub fn open(job: &Job, lengths: Lengths, kept: bool) -> Result<Log> {
        let open = |path: PathBuf, length| if kept { Growing::open(path, length) } else { Ok(Growing { path, file: None, length }) };
        let mut log = Log {
            draft: job.draft.clone(),
            metrics: open(job.scratch("metrics.jsonl"), lengths.metrics)?,
            timings: open(job.scratch("timings.jsonl"), lengths.timings)?,
            spikes: open(job.scratch("spikes.jsonl"), lengths.spikes)?,
            generations: open(job.scratch("generations.jsonl"), lengths.generations)?,
            events: open(job.draft.join("tensorboard/events.out.tfevents.0.mill"), lengths.events)?,
            since: Since::default(),
        };
        if lengths.events == 0 {
            log.events.append(&tensorboard::header(now()))?;
        }
        Ok(log)
    }

    pub fn metrics(&mut self, row: &Metrics) -> Result<()> {
        let (seconds, split) = (now(), row.of("/"));
        if row.learning_rate.is_some() {
            self.since.learned(row);
        }
        let scalars = [
            ("loss", row.loss),
            ("perplexity", row.perplexity),
            ("bits_per_byte", row.bits_per_byte),
            ("accuracy", row.accuracy),
            ("learning_rate", row.learning_rate),
            ("grad_norm", row.grad_norm),
        ];
        let scores = row.scores.iter().map(|(name, value)| (name.as_str(), Some(*value)));
        for (name, value) in scalars.into_iter().chain(scores) {
            if let Some(value) = value {
                self.events.append(&tensorboard::scalar(seconds, row.step, &format!("{split}/{name}"), value))?;
            }
        }
        self.metrics.append_line(row)
    }

    /// A try after `step` steps as lines to be read, one for each task, with loss and speed of the steps since the last one; those alone where
    /// there was no try.
    pub fn lines(&mut self, step: u64, rows: &[Metrics]) -> Vec<String> {
        let since = std::mem::take(&mut self.since).line();
        match rows.split_last() {
            Some((last, rows)) => rows.iter().map(|row| row.line(None)).chain([last.line(since)]).collect(),
            None => since.iter().map(|since| format!("step {step}: {since}")).collect(),
        }
    }

    pub fn timing(&mut self, row: &Timing) -> Result<()> {
        self.since.add(row);
        let scalars = [
            ("tokens_per_second", Some(row.tokens_per_second)),
            ("flops_utilization", Some(row.flops_utilization)),
            ("data_wait_share", Some(row.data_wait_seconds / row.seconds)),
            ("memory_bytes", row.memory_bytes.map(|bytes| bytes as f64)),
        ];
        for (name, value) in scalars {
            if let Some(value) = value {
                self.events.append(&tensorboard::scalar(now(), row.step, &format!("speed/{name}"), value))?;
            }
        }
        self.timings.append_line(row)
    }

    pub fn spikes(&mut self, rows: &[Spike]) -> Result<()> {
        rows.iter().try_for_each(|row| self.spikes.append_line(row))
    }

    /// Where they are until the training is done.
    pub fn spikes_path(&self) -> String {
        format!("`{}`", self.spikes.path.display())
    }

    pub fn generation(&mut self, row: &Generation) -> Result<()> {
        let tag = format!("generations/{}", row.prompt.escape_debug());
        self.events.append(&tensorboard::text(now(), row.step, &tag, &row.text))?;
        self.generations.append_line(row)
    }

    /// Syncs the files and tells how long they are.
    pub fn sync(&mut self) -> Result<Lengths> {
        Ok(Lengths {
            metrics: self.metrics.sync()?,
            timings: self.timings.sync()?,
            spikes: self.spikes.sync()?,
            generations: self.generations.sync()?,
            events: self.events.sync()?,
        })
    }

    /// Writes the tables `metrics` and `timings`, `spikes` where they were skipped, `generations` where there are prompts.
    pub fn tables(&mut self, settings: &Train) -> Result<()> {
        self.sync()?;
        self.metrics_table()?;
        self.timings_table()?;
        if settings.on_spike == OnSpike::Skip {
            self.spikes_table()?;
        }
        if !settings.prompts.is_empty() {
            self.generations_table()?;
        }
        Ok(())
    }

    fn metrics_table(&self) -> Result<()> {
        let rows: Vec<Metrics> = self.metrics.rows()?;
        let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.scores.keys()).collect();
        let mut columns = vec![
            integers("step", rows.iter().map(|row| row.step)),
            texts("split", rows.iter().map(|row| &row.split)),
            floats("loss", rows.iter().map(|row| row.loss)),
            floats("perplexity", rows.iter().map(|row| row.perplexity)),
            floats("bits_per_byte", rows.iter().map(|row| row.bits_per_byte)),
            floats("accuracy", rows.iter().map(|row| row.accuracy)),
            floats("learning_rate", rows.iter().map(|row| row.learning_rate)),
            floats("grad_norm", rows.iter().map(|row| row.grad_norm)),
            integers("tokens", rows.iter().map(|row| row.tokens)),
        ];
        if rows.iter().any(|row| row.task.is_some()) {
            columns.insert(2, texts("task", rows.iter().filter_map(|row| row.task.as_ref())));
        }
        columns.extend(names.into_iter().map(|name| floats(name, rows.iter().map(|row| row.scores.get(name).copied()))));
        tables::write(&self.draft, "metrics", columns)
    }

    fn timings_table(&self) -> Result<()> {
        let rows: Vec<Timing> = self.timings.rows()?;
        let memory = rows.iter().map(|row| row.memory_bytes.map(|bytes| bytes as i64)).collect::<Int64Array>();
        let columns = vec![
            integers("step", rows.iter().map(|row| row.step)),
            floats("seconds", rows.iter().map(|row| Some(row.seconds))),
            floats("tokens_per_second", rows.iter().map(|row| Some(row.tokens_per_second))),
            floats("data_wait_seconds", rows.iter().map(|row| Some(row.data_wait_seconds))),
            floats("optimizer_seconds", rows.iter().map(|row| Some(row.optimizer_seconds))),
            floats("flops_utilization", rows.iter().map(|row| Some(row.flops_utilization))),
            Column(Field::new("memory_bytes", DataType::Int64, true), Arc::new(memory)),
        ];
        tables::write(&self.draft, "timings", columns)
    }

    fn spikes_table(&self) -> Result<()> {
        let rows: Vec<Spike> = self.spikes.rows()?;
        let ids = rows.iter().map(|row| u128::from_str_radix(&row.document, 16).ok().map(u128::to_be_bytes));
        let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16)?;
        let columns = vec![
            integers("step", rows.iter().map(|row| row.step)),
            texts("reason", rows.iter().map(|row| &row.reason)),
            texts("source", rows.iter().map(|row| &row.source)),
            integers("row", rows.iter().map(|row| row.row)),
            Column(Field::new("document", ids.data_type().clone(), true), Arc::new(ids)),
        ];
        tables::write(&self.draft, "spikes", columns)
    }

    fn generations_table(&self) -> Result<()> {
        let rows: Vec<Generation> = self.generations.rows()?;
        let columns = vec![
            integers("step", rows.iter().map(|row| row.step)),
            texts("prompt", rows.iter().map(|row| &row.prompt)),
            texts("text", rows.iter().map(|row| &row.text)),
        ];
        tables::write(&self.draft, "generations", columns)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs_f64()).unwrap_or(0.0)
}

fn integers(name: &str, values: impl Iterator<Item = u64>) -> Column {
    Column(Field::new(name, DataType::Int64, false), Arc::new(values.map(|value| value as i64).collect::<Int64Array>()))
}

fn texts<'a>(name: &str, values: impl Iterator<Item = &'a String>) -> Column {
    Column(Field::new(name, DataType::Utf8, false), Arc::new(values.map(Some).collect::<StringArray>()))
}

fn floats(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    Column(Field::new(name, DataType::Float64, true), Arc::new(values.collect::<Float64Array>()))
}

/// A file that only grows, and is cut back on resume.
struct Growing {
    path: PathBuf,
    /// `None` writes nothing.
    file: Option<File>,
    length: u64,
}

impl Growing {
    fn open(path: PathBuf, length: u64) -> Result<Growing> {
        let open = || -> std::io::Result<File> {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("opening `{}`", path.display()))?;
        Ok(Growing { path, file: Some(file), length })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).with_context(|| format!("writing `{}`", self.path.display()))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn append_line(&mut self, row: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.append(&line)
    }

    fn sync(&mut self) -> Result<u64> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        synced.with_context(|| format!("writing `{}`", self.path.display()))?;
        Ok(self.length)
    }

    fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let text = std::fs::read_to_string(&self.path).with_context(|| format!("reading `{}`", self.path.display()))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("`{}` holds `{line}`", self.path.display()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_the_metrics_that_there_are() {
        let row = json!({
            "step": 400, "split": "valid", "loss": 3.21, "perplexity": 24.77909, "accuracy": 0.5, "tokens": 7, "scores": {"f1": 0.25}
        });
        let row: Metrics = serde_json::from_value(row).unwrap();
        let expected = "step 400: valid loss 3.2100, perplexity 24.7791, accuracy 0.5000, f1 0.2500";
        assert_eq!(row.line(None), expected);
        assert_eq!(row.line(Some("5210 tokens/s".into())), format!("{expected}, 5210 tokens/s"));
    }

    #[test]
    fn a_continuation_is_a_line_without_line_ends() {
        let line = |text: String| Generation { step: 3, prompt: "中\n".into(), text }.line();
        assert_eq!(line("a\n".into()), r#"step 3: "中\n" → "a\n""#);
        assert_eq!(line("山".repeat(81)), format!(r#"step 3: "中\n" → "{}"…"#, "山".repeat(80)));
    }
}
