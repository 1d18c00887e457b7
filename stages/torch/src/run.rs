//! What a training works on: its rows, its network and how they are read, as settings, facts of the tokens and the machine have it.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use engine::Artifact;
use model::recurrent::Cell;
use model::seeds::{Purpose, derive};
use model::{BestMetric, Courses, Facts, Family, Head, Job, NetworkConfig, Objective, Precision, Rows, SpecialTokens, Style, Train};
use shards::Prefetch;
use tch::{Device, Tensor};
use text::Tokenizer;

use crate::batches::{self, Buffers, Collate, Denoising, Masking};
use crate::checkpoint::{self, Environment};
use crate::device::switch;
use crate::embeddings::Words;
use crate::log::Metrics;
use crate::loss::Sums;
use crate::noise::Noise;
use crate::prompts::Prompts;
use crate::ranks::Ranks;
use crate::start::{self, Start};
use crate::{shim, words};

/// Smaller networks are taken to gain nothing from bf16 on a CPU; at 5 million it halves the time of a step.
const BF16_PARAMETERS: u64 = 1_000_000;
/// Steps whose batches are read in advance.
const STEPS_AHEAD: u64 = 2;

/// What a run works on.
pub struct Run {
    pub ranks: Ranks,
    pub lessons: Vec<Lesson>,
    pub courses: Arc<Courses>,
    pub prompts: Option<Prompts>,
    pub words: Option<Words>,
}

/// What one head learns: all of a run, or one of its tasks.
pub struct Lesson {
    /// The step that made the tokens, of one of several tasks.
    pub task: Option<String>,
    pub start: Option<Start>,
    pub facts: Facts,
    pub config: NetworkConfig,
    pub objective: Objective,
    pub valid: Option<Rows>,
    /// Bytes of text of each token (vocabulary), where predictions are of all text and the tokenizer tells.
    pub bytes: Option<Tensor>,
}

pub fn prepare(job: &Job, settings: &Train, device: Device, ranks: Ranks) -> Result<Run> {
    let tokens = job.artifacts("tokens")?;
    let (facts, courses) = Courses::open(settings, job.seed, &tokens)?;
    origins::check_tokenizer(&tokens, &job.artifact("tokenizer")?)?;
    let longest = facts.iter().map(|facts| facts.sequence_length).max().unwrap_or(0);
    let tasks = settings.tasks(&tokens).into_iter().zip(facts);
    let lessons = tasks.map(|(tokens, facts)| lesson(job, settings, device, tokens, facts, longest)).collect::<Result<Vec<Lesson>>>()?;
    switch(device, settings.tf32, settings.deterministic)?;
    let prompts = if ranks.is_first() { Prompts::new(job, settings, &lessons[0].config, &lessons[0].facts)? } else { None };
    let words = Words::new(job, settings)?;
    Ok(Run { ranks, lessons, courses: Arc::new(courses), prompts, words })
}

/// What is learned from the tokens of a task; `longest` are the tokens of the longest row of all tasks.
fn lesson(job: &Job, settings: &Train, device: Device, tokens: &[Artifact], facts: Facts, longest: i64) -> Result<Lesson> {
    let valid = if facts.has_split(&settings.valid_split) { Some(Rows::open(tokens, &facts, &settings.valid_split)?) } else { None };
    let step = &tokens[0].manifest.step;
    let start = start::find(job, settings, step)?;
    let base = start.as_ref().map(Start::config).transpose()?;
    let family = match (&base, &settings.model) {
        (Some(base), _) => base.family,
        (None, Some(model)) => model.family,
        (None, None) => bail!("neither a model to build nor one to start from"),
    };
    let objective = model::objective_for(settings.objective, family, &facts.layout)?;
    let config = network(settings, base, family, objective, &facts, longest)?;
    settings.check_best_metric(objective, facts.label_type)?;
    let judged = !settings.word_similarity.is_empty() || !settings.word_analogies.is_empty();
    for (setting, given) in [
        ("best_metric", settings.best_metric.is_some()),
        ("valid_split", settings.names_valid_split()),
        ("word_similarity or word_analogies", judged),
    ] {
        if given && valid.is_none() {
            let of = if settings.multi_task { format!(" of step `{step}`") } else { String::new() };
            bail!("{setting} needs rows in the split `{}`{of}; splits with rows: {}", settings.valid_split, facts.splits.join(", "));
        }
    }
    let bytes = match objective {
        Objective::Causal => Tokenizer::load(&job.artifact("tokenizer")?.dir)?.bytes_of_tokens(),
        _ => None,
    };
    if settings.best_metric == Some(BestMetric::BitsPerByte) && bytes.is_none() {
        bail!("best_metric = \"bits_per_byte\" needs a byte-level tokenizer, which alone tells the bytes of its tokens; take \"loss\"");
    }
    let bytes = bytes.map(|bytes| Tensor::from_slice(&bytes.into_iter().map(i64::from).collect::<Vec<i64>>()).to_device(device));
    let task = settings.multi_task.then(|| step.clone());
    Ok(Lesson { task, start, facts, config, objective, valid, bytes })
}

fn network(
    settings: &Train,
    base: Option<NetworkConfig>,
    family: Family,
    objective: Objective,
    facts: &Facts,
    longest: i64,
) -> Result<NetworkConfig> {
    let head = facts.head(objective)?;
    // A decoder begins with the padding token, and a causal head for texts reads what stands before it.
    let fills = family == Family::Seq2seq || (family == Family::Gpt && head.reads_text());
    let pad = if fills { Some(facts.filler()) } else { facts.pad_id };
    // A token that no text begins with is not its beginning.
    let never = facts.frame.as_ref().is_some_and(|[before, _]| before.is_empty()) && facts.bos_id != facts.eos_id;
    let special = SpecialTokens { pad, bos: facts.bos_id.filter(|_| !never), eos: facts.eos_id };
    let config = match (base, &settings.model) {
        (Some(base), _) => NetworkConfig { head, special, dropout: settings.dropout, ..base },
        (None, Some(model)) => {
            let design = model.design()?;
            NetworkConfig {
                family,
                vocab_size: facts.vocab_size,
                positions: model.longest(longest),
                layers: model.layers,
                width: model.width,
                heads: model.heads,
                feed_forward: model.inner_width(&design),
                dropout: settings.dropout,
                head,
                special,
                design,
                recurrent: model.rnn,
                seq2seq: model.seq2seq.resolved(model),
            }
        }
        (None, None) => bail!("neither a model to build nor one to start from"),
    };
    facts.check(&config)?;
    if let (Head::Pairs { .. }, Some(Style::Modernbert)) = (&config.head, config.style()) {
        bail!("ModernBERT has no head for pairs of segments; take style = \"bert\"");
    }
    if family == Family::Seq2seq && config.seq2seq.style == model::seq2seq::Style::Marian && config.head != Head::Causal {
        bail!("{}", model::no_head(&facts.layout));
    }
    Ok(config)
}

/// The rule of `precision = "auto"`. On a processor an LSTM is always f32: oneDNN has one in bf16 for some processors alone, and it was
/// never tried. So is every recurrent network on a GPU: autocast to bf16 casts cuDNN's layers to fp16 all the same, whose gradients would
/// have to be scaled.
pub fn bf16(precision: Precision, parameters: u64, config: &NetworkConfig, device: Device) -> Result<bool> {
    let cuda = device.is_cuda();
    let (what, place) = if cuda { ("a recurrent network", "GPU") } else { ("an LSTM", "processor") };
    let f32_alone = config.family == Family::Rnn && (cuda || config.recurrent.cell == Cell::Lstm);
    Ok(match precision {
        Precision::Bf16 if f32_alone => bail!("precision = \"bf16\": {what} is trained in f32 on a {place}; take \"auto\" or \"f32\""),
        Precision::F32 => false,
        Precision::Bf16 => true,
        Precision::Auto => !f32_alone && (cuda || (parameters >= BF16_PARAMETERS && shim::cpu().contains("bf16"))),
    })
}

/// What this run depends on besides its settings; what a draft's earlier runs depended on must be the same.
pub fn environment(job: &Job, bf16: bool, device: Device, ranks: &Ranks) -> Result<Environment> {
    let environment = Environment {
        precision: if bf16 { "bf16" } else { "f32" }.into(),
        threads: job.threads,
        ranks: job.ranks,
        device: if device.is_cuda() { "cuda" } else { "cpu" }.into(),
        cpu: shim::cpu(),
        libtorch: shim::version(),
    };
    if ranks.is_first() {
        checkpoint::check_environment(job, &environment)?;
    }
    Ok(environment)
}

impl Run {
    /// Starts to read the batches of the steps after `step` steps.
    pub fn read_ahead(&self, job: &Job, settings: &Train, step: u64) -> Result<Prefetch<Buffers>> {
        let seed = derive(job.seed, Purpose::Masks, 0);
        let collates = self.lessons.iter().map(|lesson| lesson.collate(job, settings, seed)).collect::<Result<Vec<Collate>>>()?;
        let noise = Noise::new(job, settings, &self.lessons[0].facts)?;
        let courses = self.courses.clone();
        let ahead = (STEPS_AHEAD * settings.accumulate) as usize;
        let rank = self.ranks.rank;
        let (first, end) = (settings.batches_before(step), settings.batches_before(self.courses.steps()));
        Prefetch::start(1, ahead, first, end, move |batch, buffers: &mut Buffers| {
            let samples = rank.share(courses.batch(batch)?);
            buffers.read(courses.rows(batch), &samples, &collates[courses.task(batch)])?;
            if let Some(noise) = &noise {
                noise.disturb(buffers, &samples);
            }
            Ok(())
        })
    }
}

impl Lesson {
    pub fn collate(&self, job: &Job, settings: &Train, seed: u64) -> Result<Collate> {
        let masking = if self.objective.masks() {
            let continues = match settings.masking {
                model::Masking::Tokens => Vec::new(),
                _ => words::continues(&job.artifact("tokenizer")?.dir)?,
            };
            Some(Masking { probability: settings.masked_probability, seed, choose: settings.masking, continues })
        } else {
            None
        };
        let denoising = match self.objective {
            Objective::Denoise => Some(Denoising {
                settings: settings.denoise,
                seed,
                sentinels: batches::sentinels(&job.artifact("tokenizer")?.dir)?,
                end: self.facts.eos_id.context("the tokenizer has no end-of-text token, which ends what a decoder writes")?,
                causal: self.facts.model == "causal",
            }),
            _ => None,
        };
        // Rows of other layouts are of one document each.
        let documents = settings.document_mask && self.facts.layout == "packed";
        Ok(Collate { facts: self.facts.clone(), masking, denoising, documents })
    }

    pub fn metrics(&self, step: u64, split: &str, sums: Sums, training: Option<(f64, f64)>) -> Metrics {
        // Of nothing there is no mean.
        let mean = |sum: f64| (sums.count > 0).then(|| sum / sums.count as f64);
        let loss = mean(sums.nll);
        Metrics {
            step,
            split: split.into(),
            task: self.task.clone(),
            loss,
            bits_per_byte: None,
            perplexity: loss.filter(|_| self.objective.predicts_tokens()).map(f64::exp),
            accuracy: mean(sums.correct as f64).filter(|_| training.is_none() && self.config.head != Head::Number),
            learning_rate: training.map(|(learning_rate, _)| learning_rate),
            grad_norm: training.map(|(_, grad_norm)| grad_norm),
            tokens: sums.count,
            scores: sums.tally.scores(training.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::config;

    #[test]
    fn recurrent_networks_are_f32_where_their_kernels_are() {
        let gpu = Device::Cuda(0);
        let rnn = |cell| NetworkConfig { recurrent: model::Recurrent { cell, ..Default::default() }, ..config(Family::Rnn, Head::Causal) };
        let of = |precision, config: &NetworkConfig, device| {
            bf16(precision, 10 * BF16_PARAMETERS, config, device).map_err(|error| error.to_string())
        };
        assert_eq!(of(Precision::Auto, &config(Family::Gpt, Head::Causal), gpu), Ok(true));
        for cell in [Cell::Lstm, Cell::Gru, Cell::Rnn] {
            assert_eq!(of(Precision::Auto, &rnn(cell), gpu), Ok(false));
            let error = of(Precision::Bf16, &rnn(cell), gpu).unwrap_err();
            assert_eq!(error, "precision = \"bf16\": a recurrent network is trained in f32 on a GPU; take \"auto\" or \"f32\"");
            assert_eq!(of(Precision::Bf16, &rnn(cell), Device::Cpu).is_err(), cell == Cell::Lstm);
        }
        assert_eq!(of(Precision::Auto, &rnn(Cell::Lstm), Device::Cpu), Ok(false));
    }
}
