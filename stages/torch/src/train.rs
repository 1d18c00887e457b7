//! The training loop: one straight function. Everything it needs to go on after a kill is in the checkpoint.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use model::seeds::{Purpose, derive};
use model::{Course, Facts, Family, Head, Job, NetworkConfig, Objective, Precision, Report, Rows, Sample, SpecialTokens, Train};
use serde_json::json;
use shards::Prefetch;
use tch::Device;

use crate::batches::{Buffers, Collate, Masking};
use crate::checkpoint::{self, Environment, Position};
use crate::log::{Log, Metrics, Timing};
use crate::loss::Sums;
use crate::models::{self, Network};
use crate::objective;
use crate::optimizer::{AdamSettings, AdamW, adamw};
use crate::parameters::Parameters;
use crate::schedule::learning_rate;
use crate::worker::{Worker, device};
use crate::{folder, samples, shim, words};

/// Smaller networks are taken to gain nothing from bf16 on a CPU; at 5 million it halves the time of a step.
const BF16_PARAMETERS: u64 = 1_000_000;
/// Steps whose batches are read in advance.
const STEPS_AHEAD: u64 = 2;

/// Trains to the last step; `None` when stopped, with a checkpoint saved.
pub fn train(job: &Job, settings: &Train, worker: &mut Worker) -> Result<Option<Report>> {
    let device = device(&job.device)?;
    let run = prepare(job, settings, device)?;
    let parameters = Parameters::new(device, derive(job.seed, Purpose::Weights, 0));
    let network = models::build(&parameters.root(), &run.config);
    let bf16 = bf16(settings.precision, parameters.count(), device);
    let environment = environment(job, bf16, device);
    checkpoint::check_environment(job, &environment)?;
    let Train { betas, epsilon, weight_decay, grad_clip, dropout, .. } = *settings;
    let mut optimizer = adamw(&parameters, AdamSettings { betas, epsilon, weight_decay, grad_clip });
    let loaded = checkpoint::load(job, &parameters, &optimizer)?;
    if loaded.is_none() {
        start_from(job, &run.config, &parameters)?;
    }
    let start = loaded.unwrap_or_default();
    let mut log = Log::open(job, start.logs)?;
    let mut position = start;
    let mut reader = run.read_ahead(job, settings, position.step)?;

    loop {
        let step = position.step + 1;
        let lr = learning_rate(settings, step, run.steps);
        let last = position.step == run.steps;
        if !position.evaluated && (last || due(position.step, settings.eval_interval_steps)) {
            evaluate(&run, job, settings, network.as_ref(), bf16, position.step, &mut log)?;
        }
        position.evaluated = true;
        if position.step > start.step && (last || due(position.step, settings.checkpoint_interval_steps)) {
            save(job, &parameters, &optimizer, &mut log, &mut position)?;
        }
        if last {
            break;
        }

        let begun = Instant::now();
        let batches = (0..settings.accumulate).map(|_| reader.take()).collect::<Result<Vec<Buffers>>>()?;
        let waited = begun.elapsed();
        let predicted: u64 = batches.iter().map(Buffers::predicted).sum();
        let seen: u64 = batches.iter().map(Buffers::tokens).sum();
        tch::manual_seed(derive(job.seed, Purpose::Dropout, step) as i64);
        let mut sums = Sums::default();
        for batch in batches {
            sums += objective::learn(network.as_ref(), &batch.batch(device), 1.0 / predicted.max(1) as f64, dropout, bf16)?;
            reader.give_back(batch);
        }
        let grad_norm = optimizer.step(step, lr)?;
        position = Position { step, evaluated: false, tokens: position.tokens + seen, logs: position.logs };

        log.metrics(&run.metrics(step, "train", sums, Some((lr, grad_norm))))?;
        let seconds = begun.elapsed().as_secs_f64();
        log.timing(&Timing { step, seconds, tokens_per_second: seen as f64 / seconds, data_wait_seconds: waited.as_secs_f64() })?;
        worker.progress(step, run.steps, "steps");
        if worker.stopped() {
            save(job, &parameters, &optimizer, &mut log, &mut position)?;
            return Ok(None);
        }
    }
    finish(job, settings, &run, &parameters, &mut log, &position, &environment).map(Some)
}

fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step > 0 && step.is_multiple_of(interval)
}

fn save(job: &Job, parameters: &Parameters, optimizer: &AdamW, log: &mut Log, position: &mut Position) -> Result<()> {
    position.logs = log.sync()?;
    checkpoint::save(job, parameters, optimizer, position)
}

/// What a run works on.
struct Run {
    facts: Facts,
    config: NetworkConfig,
    objective: Objective,
    course: Arc<Course>,
    valid: Option<Rows>,
    steps: u64,
}

fn prepare(job: &Job, settings: &Train, device: Device) -> Result<Run> {
    let tokens = job.artifacts("tokens")?;
    let facts = Facts::read(&tokens)?;
    let rows = Arc::new(Rows::open(&tokens, &facts, &settings.split)?);
    let valid = if facts.has_split(&settings.valid_split) { Some(Rows::open(&tokens, &facts, &settings.valid_split)?) } else { None };
    let base = job.artifact_opt("model")?.map(|artifact| folder::config(&artifact.dir.join(folder::MODEL))).transpose()?;
    let family = match (&base, &settings.model) {
        (Some(base), _) => base.family,
        (None, Some(model)) => model.family,
        (None, None) => bail!("neither a model to build nor one to start from"),
    };
    let objective = objective_for(settings.objective, family, &facts)?;
    let config = network(settings, base, family, objective, &facts)?;
    if device.is_cuda() {
        tch::Cuda::cudnn_set_benchmark(false);
    }
    let steps = settings.total_steps(rows.count());
    let course = Arc::new(Course::new(settings, job.seed, facts.sequence_length, rows)?);
    Ok(Run { facts, config, objective, course, valid, steps })
}

/// The objective that fits the tokens and the family, or an error that says what does not.
fn objective_for(wanted: Option<Objective>, family: Family, facts: &Facts) -> Result<Objective> {
    let fitting = match (facts.layout.as_str(), family) {
        ("packed", Family::Gpt) => Objective::Causal,
        ("packed", Family::Bert) => Objective::Masked,
        ("classify", Family::Bert) => Objective::Classify,
        ("complete", Family::Gpt) => Objective::Complete,
        ("classify", _) => bail!("tokens of the layout classify need a model of the family bert, this is {}", family.name()),
        ("complete", _) => bail!("tokens of the layout complete need a model of the family gpt, this is {}", family.name()),
        (layout, _) => bail!("tokens have the unknown layout `{layout}`; known are packed, classify and complete"),
    };
    match wanted {
        Some(wanted) if wanted != fitting => bail!(
            "objective `{}` does not fit a model of the family {} on tokens of the layout {}; that is `{}`",
            wanted.name(),
            family.name(),
            facts.layout,
            fitting.name()
        ),
        _ => Ok(fitting),
    }
}

fn network(settings: &Train, base: Option<NetworkConfig>, family: Family, objective: Objective, facts: &Facts) -> Result<NetworkConfig> {
    let head = match objective {
        Objective::Causal | Objective::Complete => Head::Causal,
        Objective::Masked => Head::Masked,
        Objective::Classify => Head::Classify { classes: facts.classes.clone().context("tokens of the layout classify name no classes")? },
    };
    let special = SpecialTokens { pad: facts.pad_id, bos: facts.bos_id, eos: facts.eos_id };
    let config = match (base, &settings.model) {
        (Some(base), _) => NetworkConfig { head, special, dropout: settings.dropout, ..base },
        (None, Some(model)) => NetworkConfig {
            family,
            vocab_size: facts.vocab_size,
            positions: model.positions.unwrap_or(facts.sequence_length),
            layers: model.layers,
            width: model.width,
            heads: model.heads,
            feed_forward: model.feed_forward.unwrap_or(4 * model.width),
            dropout: settings.dropout,
            head,
            special,
        },
        (None, None) => bail!("neither a model to build nor one to start from"),
    };
    facts.check(&config)?;
    Ok(config)
}

/// Takes over the weights of the input `model`; only a new head keeps its random first values.
fn start_from(job: &Job, config: &NetworkConfig, parameters: &Parameters) -> Result<()> {
    let Some(artifact) = job.artifact_opt("model")? else { return Ok(()) };
    let tokenizer = job.artifact("tokenizer")?.dir.join("tokenizer.json");
    let folder = artifact.dir.join(folder::MODEL);
    let same = std::fs::read(&tokenizer).ok() == std::fs::read(folder.join("tokenizer.json")).ok();
    if !same {
        bail!(
            "step `{}` was trained with another tokenizer than `{}`; give the one it was trained with",
            artifact.manifest.step,
            tokenizer.display()
        );
    }
    let missing = folder::load_weights(&folder, parameters)?;
    let is_head = |name: &str| name.starts_with("bert.pooler.") || name.starts_with("classifier.") || name.starts_with("cls.");
    match missing.iter().find(|name| !is_head(name)) {
        Some(name) => bail!("the model of step `{}` has no {name}, which this {} needs", artifact.manifest.step, config.family.name()),
        None => Ok(()),
    }
}

/// The rule of `precision = "auto"`.
fn bf16(precision: Precision, parameters: u64, device: Device) -> bool {
    match precision {
        Precision::F32 => false,
        Precision::Bf16 => true,
        Precision::Auto => device.is_cuda() || (parameters >= BF16_PARAMETERS && shim::cpu().contains("bf16")),
    }
}

fn environment(job: &Job, bf16: bool, device: Device) -> Environment {
    Environment {
        precision: if bf16 { "bf16" } else { "f32" }.into(),
        threads: job.threads,
        device: if device.is_cuda() { "cuda" } else { "cpu" }.into(),
        cpu: shim::cpu(),
        libtorch: shim::version(),
    }
}

impl Run {
    /// Starts to read the batches of the steps after `step` steps.
    fn read_ahead(&self, job: &Job, settings: &Train, step: u64) -> Result<Prefetch<Buffers>> {
        let collate = self.collate(job, settings, derive(job.seed, Purpose::Masks, 0))?;
        let course = self.course.clone();
        let ahead = (STEPS_AHEAD * settings.accumulate) as usize;
        let (first, end) = (step * settings.accumulate, self.steps * settings.accumulate);
        Prefetch::start(1, ahead, first, end, move |batch, buffers: &mut Buffers| {
            buffers.read(course.rows(), &course.batch(batch)?, &collate)
        })
    }

    fn collate(&self, job: &Job, settings: &Train, seed: u64) -> Result<Collate> {
        let masking = if self.objective == Objective::Masked {
            let continues = match settings.masking {
                model::Masking::Tokens => Vec::new(),
                _ => words::continues(&job.artifact("tokenizer")?.dir)?,
            };
            Some(Masking { probability: settings.masked_probability, seed, choose: settings.masking, continues })
        } else {
            None
        };
        Ok(Collate { facts: self.facts.clone(), masking, documents: settings.document_mask })
    }

    fn metrics(&self, step: u64, split: &str, sums: Sums, training: Option<(f64, f64)>) -> Metrics {
        let count = sums.count.max(1) as f64;
        let loss = sums.nll / count;
        Metrics {
            step,
            split: split.into(),
            loss,
            perplexity: (self.objective != Objective::Classify).then(|| loss.exp()),
            accuracy: training.is_none().then(|| sums.correct as f64 / count),
            learning_rate: training.map(|(learning_rate, _)| learning_rate),
            grad_norm: training.map(|(_, grad_norm)| grad_norm),
            tokens: sums.count,
        }
    }
}

/// Tries the model on the first rows of the valid split in a fixed order, with fixed masks.
fn evaluate(run: &Run, job: &Job, settings: &Train, network: &dyn Network, bf16: bool, step: u64, log: &mut Log) -> Result<()> {
    let Some(valid) = &run.valid else { return Ok(()) };
    let seed = derive(job.seed, Purpose::ValidMasks, 0);
    let collate = run.collate(job, settings, seed)?;
    let rows = valid.count().min(settings.eval_batches * settings.batch_size);
    let sample = |sample| Sample { sample, row: shards::permute(seed, 0, valid.count(), sample) };
    let samples: Vec<Sample> = (0..rows).map(sample).collect();
    let (mut sums, mut buffers) = (Sums::default(), Buffers::default());
    for samples in samples.chunks(settings.batch_size as usize) {
        buffers.read(valid, samples, &collate)?;
        sums += objective::evaluate(network, &buffers.batch(device(&job.device)?), bf16)?;
    }
    log.metrics(&run.metrics(step, &settings.valid_split, sums, None))
}

fn finish(
    job: &Job,
    settings: &Train,
    run: &Run,
    parameters: &Parameters,
    log: &mut Log,
    position: &Position,
    environment: &Environment,
) -> Result<Report> {
    folder::save(&job.draft.join(folder::MODEL), &run.config, parameters, &job.artifact("tokenizer")?.dir)?;
    folder::describe(&job.draft, parameters)?;
    log.tables()?;
    samples::write(&job.draft, &run.course, run.steps)?;
    let facts = [
        ("family", json!(run.config.family.name())),
        ("objective", json!(run.objective.name())),
        ("parameters", json!(parameters.count())),
        ("steps", json!(position.step)),
        ("rows", json!(position.step * settings.accumulate * settings.batch_size)),
        ("tokens", json!(position.tokens)),
        ("document_mask", json!(settings.document_mask)),
        ("environment", json!(environment)),
    ];
    Ok(Report {
        volatile: vec!["timings/".into(), "tensorboard/".into()],
        facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        counts: Default::default(),
    })
}
