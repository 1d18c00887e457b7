//! What a training works on: its rows, its network and how they are read, as settings, facts of the tokens and the machine have it.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use model::recurrent::Cell;
use model::seeds::{Purpose, derive};
use model::{BestMetric, Course, Facts, Family, Head, Job, NetworkConfig, Objective, Precision, Rows, SpecialTokens, Style, Train};
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
    pub start: Option<Start>,
    pub facts: Facts,
    pub config: NetworkConfig,
    pub objective: Objective,
    pub course: Arc<Course>,
    pub valid: Option<Rows>,
    pub steps: u64,
    /// Bytes of text of each token (vocabulary), where predictions are of all text and the tokenizer tells.
    pub bytes: Option<Tensor>,
    pub prompts: Option<Prompts>,
    pub words: Option<Words>,
}

pub fn prepare(job: &Job, settings: &Train, device: Device, ranks: Ranks) -> Result<Run> {
    let tokens = job.artifacts("tokens")?;
    let facts = Facts::read(&tokens)?;
    origins::check_tokenizer(&tokens, &job.artifact("tokenizer")?)?;
    let rows = Arc::new(Rows::open(&tokens, &facts, &settings.split)?);
    let valid = if facts.has_split(&settings.valid_split) { Some(Rows::open(&tokens, &facts, &settings.valid_split)?) } else { None };
    let start = start::find(job, settings)?;
    let base = start.as_ref().map(Start::config).transpose()?;
    let family = match (&base, &settings.model) {
        (Some(base), _) => base.family,
        (None, Some(model)) => model.family,
        (None, None) => bail!("neither a model to build nor one to start from"),
    };
    let objective = model::objective_for(settings.objective, family, &facts.layout)?;
    let config = network(settings, base, family, objective, &facts)?;
    switch(device, settings.tf32, settings.deterministic)?;
    settings.check_best_metric(objective, facts.label_type)?;
    let judged = !settings.word_similarity.is_empty() || !settings.word_analogies.is_empty();
    for (setting, given) in [
        ("best_metric", settings.best_metric.is_some()),
        ("valid_split", settings.names_valid_split()),
        ("word_similarity or word_analogies", judged),
    ] {
        if given && valid.is_none() {
            bail!("{setting} needs rows in the split `{}`; splits with rows: {}", settings.valid_split, facts.splits.join(", "));
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
    let prompts = if ranks.is_first() { Prompts::new(job, settings, &config, &facts)? } else { None };
    let words = Words::new(job, settings)?;
    let steps = settings.total_steps(rows.count());
    let course = Arc::new(Course::new(settings, job.seed, facts.sequence_length, rows)?);
    Ok(Run { ranks, start, facts, config, objective, course, valid, steps, bytes, prompts, words })
}

fn network(settings: &Train, base: Option<NetworkConfig>, family: Family, objective: Objective, facts: &Facts) -> Result<NetworkConfig> {
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
                positions: model.longest(facts.sequence_length),
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
        let collate = self.collate(job, settings, derive(job.seed, Purpose::Masks, 0))?;
        let noise = Noise::new(job, settings, &self.facts)?;
        let course = self.course.clone();
        let ahead = (STEPS_AHEAD * settings.accumulate) as usize;
        let rank = self.ranks.rank;
        let (first, end) = (settings.batches_before(step), settings.batches_before(self.steps));
        Prefetch::start(1, ahead, first, end, move |batch, buffers: &mut Buffers| {
            let samples = rank.share(course.batch(batch)?);
            buffers.read(course.rows(), &samples, &collate)?;
            if let Some(noise) = &noise {
                noise.disturb(buffers, &samples);
            }
            Ok(())
        })
    }

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
        Ok(Collate { facts: self.facts.clone(), masking, denoising, documents: settings.document_mask })
    }

    pub fn metrics(&self, step: u64, split: &str, sums: Sums, training: Option<(f64, f64)>) -> Metrics {
        // Of nothing there is no mean.
        let mean = |sum: f64| (sums.count > 0).then(|| sum / sums.count as f64);
        let loss = mean(sums.nll);
        Metrics {
            step,
            split: split.into(),
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
