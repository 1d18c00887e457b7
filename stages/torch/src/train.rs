//! The training loop: one straight function. Everything it needs to go on after a kill is in the checkpoint.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use model::recurrent::Cell;
use model::seeds::{Purpose, derive};
use model::{Course, Facts, Family, Head, Job, NetworkConfig, Objective, Precision, Report, Rows, Sample, SpecialTokens, Style, Train};
use serde_json::json;
use shards::Prefetch;
use tch::{Device, Kind, Tensor};
use text::Tokenizer;

use crate::batches::{Buffers, Collate, Denoising, Masking};
use crate::checkpoint::{self, Environment, Position};
use crate::device::{device, switch};
use crate::ema::Ema;
use crate::folder::Loaded;
use crate::log::{Log, Metrics};
use crate::loss::Sums;
use crate::models;
use crate::noise::Noise;
use crate::objective::{self, Batch, Mode, Scale, Targets};
use crate::optimizer::optimizer;
use crate::parameters::Parameters;
use crate::prompts::Prompts;
use crate::schedule::learning_rate;
use crate::speed::{Speed, Work};
use crate::start::{self, Start};
use crate::worker::Worker;
use crate::{adversarial, batches, carry, folder, kept, samples, shim, words};

/// Smaller networks are taken to gain nothing from bf16 on a CPU; at 5 million it halves the time of a step.
const BF16_PARAMETERS: u64 = 1_000_000;
/// Steps whose batches are read in advance.
const STEPS_AHEAD: u64 = 2;

/// Trains to the last step; `None` when stopped, with a checkpoint saved.
pub fn train(job: &Job, settings: &Train, worker: &mut Worker) -> Result<Option<Report>> {
    let device = device(&job.device)?;
    let run = prepare(job, settings, device)?;
    let parameters = Parameters::adapted(device, derive(job.seed, Purpose::Weights, 0), settings.lora.clone());
    let model = Loaded { config: run.config.clone(), network: models::build(&parameters.root(), &run.config), parameters };
    model.parameters.check_adapters()?;
    let bf16 = bf16(settings.precision, model.parameters.count(), &run.config, device)?;
    let environment = environment(job, bf16, device);
    checkpoint::check_environment(job, &environment)?;
    let optimizer = optimizer(settings, &model.parameters)?;
    let ema = Ema::new(settings.ema, &model.parameters);
    let carried = carry::kept(settings, &run.config, &model.parameters);
    let tensors = checkpoint::tensors(&model.parameters, &optimizer, &ema);
    let loaded = checkpoint::load(job, &tensors)?;
    if loaded.is_none() {
        if let Some(begin) = &run.start {
            begin.load(&run.config, &model.parameters)?;
        }
        ema.begin()?;
    }
    let start = loaded.unwrap_or_default();
    let mut log = Log::open(job, start.logs)?;
    let mut position = start;
    let mode = Mode { dropout: settings.dropout, bf16, recompute: settings.activation_checkpointing };
    // Measured before other threads begin to work.
    let speed = Speed::measure(&run.config, &model.parameters, objective::kind(bf16));
    let mut reader = run.read_ahead(job, settings, position.step)?;

    loop {
        let step = position.step + 1;
        let lr = learning_rate(settings, step, run.steps);
        let fresh = !position.evaluated;
        if fresh && (position.step == run.steps || due(position.step, settings.eval_interval_steps)) {
            ema.used(|| {
                let metrics = evaluate(&run, job, settings, &model, bf16, position.step, &mut log)?;
                run.prompts.iter().try_for_each(|prompts| prompts.go_on(&model, position.step, &mut log))?;
                position.best.note(job, settings, &model, metrics.as_ref())
            })?;
        }
        position.evaluated = true;
        let last = position.step == run.steps || position.best.is_over(settings);
        let checkpoint = last || due(position.step, settings.checkpoint_interval_steps);
        if fresh && checkpoint {
            ema.used(|| kept::keep(job, settings, &model, position.step))?;
        }
        if position.step > start.step && checkpoint {
            save(job, &tensors, &mut log, &mut position)?;
        }
        if last {
            break;
        }

        let begun = Instant::now();
        let batches = run.course.batches_of(step).map(|_| reader.take()).collect::<Result<Vec<Buffers>>>()?;
        let waited = begun.elapsed();
        let (scale, predicted) = (batches::scale(&batches), batches.iter().map(Buffers::predicted).sum());
        let seen: u64 = batches.iter().map(Buffers::tokens).sum();
        tch::manual_seed(derive(job.seed, Purpose::Dropout, step) as i64);
        let learn = || learn(&model, &batches, scale, mode, settings.label_smoothing, &carried);
        let sums = learn()?;
        adversarial::learn_disturbed(settings, &model.parameters, || learn().map(drop))?;
        let rows = batches.len() as u64 * settings.batch_size;
        batches.into_iter().for_each(|batch| reader.give_back(batch));
        let update = Instant::now();
        let grad_norm = optimizer.clip()?;
        let metrics = run.metrics(step, "train", sums, Some((lr, grad_norm)));
        log.metrics(&metrics)?;
        match position.spikes.judge(settings.spike_factor, metrics.loss.unwrap_or(f64::NAN), grad_norm) {
            Some(reason) => position.spikes.note(settings, &metrics, &reason, &run.course, &mut log)?,
            None => optimizer.step(step, lr).and_then(|()| ema.update(step))?,
        }
        optimizer.forget();
        let updating = update.elapsed();
        position = Position { step, evaluated: false, tokens: position.tokens + seen, ..position };

        log.timing(&speed.timing(step, Work { tokens: seen, rows, predicted, took: begun.elapsed(), waited, updating }))?;
        worker.progress(step, run.steps, "steps");
        if worker.stopped() {
            save(job, &tensors, &mut log, &mut position)?;
            return Ok(None);
        }
    }
    ema.used(|| {
        position.best.restore(job, &model)?;
        finish(job, settings, &run, &model.parameters, &mut log, &position, &environment).map(Some)
    })
}

/// Adds the gradients of a step's batches.
fn learn(model: &Loaded, batches: &[Buffers], scale: Scale, mode: Mode, smoothing: f64, carried: &[Tensor]) -> Result<Sums> {
    let mut sums = Sums::default();
    for batch in batches {
        let batch = Batch { smoothing, ..batch.batch(model.parameters.device()) };
        sums += objective::learn(model.network.as_ref(), &carry::with(batch, carried), scale, mode)?;
    }
    Ok(sums)
}

fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step > 0 && step.is_multiple_of(interval)
}

fn save(job: &Job, tensors: &[(String, Tensor)], log: &mut Log, position: &mut Position) -> Result<()> {
    position.logs = log.sync()?;
    checkpoint::save(job, tensors, position)
}

/// What a run works on.
struct Run {
    start: Option<Start>,
    facts: Facts,
    config: NetworkConfig,
    objective: Objective,
    course: Arc<Course>,
    valid: Option<Rows>,
    steps: u64,
    /// Bytes of text of each token (vocabulary), where predictions are of all text and the tokenizer tells.
    bytes: Option<Tensor>,
    prompts: Option<Prompts>,
}

fn prepare(job: &Job, settings: &Train, device: Device) -> Result<Run> {
    let tokens = job.artifacts("tokens")?;
    let facts = Facts::read(&tokens)?;
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
    if settings.best_metric.is_some() && valid.is_none() {
        bail!("best_metric needs rows in the split `{}`; splits with rows: {}", settings.valid_split, facts.splits.join(", "));
    }
    let bytes = match objective {
        Objective::Causal => Tokenizer::load(&job.artifact("tokenizer")?.dir)?.bytes_of_tokens(),
        _ => None,
    };
    let bytes = bytes.map(|bytes| Tensor::from_slice(&bytes.into_iter().map(i64::from).collect::<Vec<i64>>()).to_device(device));
    let prompts = Prompts::new(job, settings, &config)?;
    let steps = settings.total_steps(rows.count());
    let course = Arc::new(Course::new(settings, job.seed, facts.sequence_length, rows)?);
    Ok(Run { start, facts, config, objective, course, valid, steps, bytes, prompts })
}

fn network(settings: &Train, base: Option<NetworkConfig>, family: Family, objective: Objective, facts: &Facts) -> Result<NetworkConfig> {
    let head = facts.head(objective)?;
    // A decoder begins with the padding token.
    let pad = if family == Family::Seq2seq { Some(facts.filler()) } else { facts.pad_id };
    let special = SpecialTokens { pad, bos: facts.bos_id, eos: facts.eos_id };
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
    Ok(config)
}

/// The rule of `precision = "auto"`. On a processor an LSTM is always f32: oneDNN has one in bf16 for some processors alone, and it was never tried.
fn bf16(precision: Precision, parameters: u64, config: &NetworkConfig, device: Device) -> Result<bool> {
    let cuda = device.is_cuda();
    let lstm = !cuda && config.family == Family::Rnn && config.recurrent.cell == Cell::Lstm;
    Ok(match precision {
        Precision::Bf16 if lstm => bail!("precision = \"bf16\": an LSTM is trained in f32 on a processor; take \"auto\" or \"f32\""),
        Precision::F32 => false,
        Precision::Bf16 => true,
        Precision::Auto => cuda || (!lstm && parameters >= BF16_PARAMETERS && shim::cpu().contains("bf16")),
    })
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
        let noise = Noise::new(job, settings, &self.facts)?;
        let course = self.course.clone();
        let ahead = (STEPS_AHEAD * settings.accumulate) as usize;
        let (first, end) = (settings.batches_before(step), settings.batches_before(self.steps));
        Prefetch::start(1, ahead, first, end, move |batch, buffers: &mut Buffers| {
            let samples = course.batch(batch)?;
            buffers.read(course.rows(), &samples, &collate)?;
            if let Some(noise) = &noise {
                noise.disturb(buffers, &samples);
            }
            Ok(())
        })
    }

    fn collate(&self, job: &Job, settings: &Train, seed: u64) -> Result<Collate> {
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

    fn metrics(&self, step: u64, split: &str, sums: Sums, training: Option<(f64, f64)>) -> Metrics {
        let count = sums.count.max(1) as f64;
        let loss = sums.nll / count;
        Metrics {
            step,
            split: split.into(),
            loss: Some(loss),
            bits_per_byte: None,
            perplexity: self.objective.predicts_tokens().then(|| loss.exp()),
            accuracy: (training.is_none() && self.config.head != Head::Number).then(|| sums.correct as f64 / count),
            learning_rate: training.map(|(learning_rate, _)| learning_rate),
            grad_norm: training.map(|(_, grad_norm)| grad_norm),
            tokens: sums.count,
            scores: sums.tally.scores(training.is_some()),
        }
    }
}

/// Tries the model on the first rows of the valid split in a fixed order, with fixed masks.
fn evaluate(run: &Run, job: &Job, settings: &Train, model: &Loaded, bf16: bool, step: u64, log: &mut Log) -> Result<Option<Metrics>> {
    let Some(valid) = &run.valid else { return Ok(None) };
    let seed = derive(job.seed, Purpose::ValidMasks, 0);
    let collate = run.collate(job, settings, seed)?;
    let rows = valid.count().min(settings.eval_batches * settings.batch_size);
    let sample = |sample| Sample { sample, row: shards::permute(seed, 0, valid.count(), sample) };
    let samples: Vec<Sample> = (0..rows).map(sample).collect();
    let batches: Vec<Vec<Sample>> = if settings.carry_state {
        carry::in_lanes(valid.count(), settings.batch_size).take(settings.eval_batches as usize).collect()
    } else {
        samples.chunks(settings.batch_size as usize).map(<[Sample]>::to_vec).collect()
    };
    let device = model.parameters.device();
    let carried = carry::first(settings.carry_state, settings.batch_size, &run.config, device);
    let (mut sums, mut buffers, mut bytes) = (Sums::default(), Buffers::default(), 0);
    for samples in batches {
        buffers.read(valid, &samples, &collate)?;
        let batch = carry::with(buffers.batch(device), &carried);
        sums += objective::evaluate(model.network.as_ref(), &batch, bf16)?;
        if let (Some(of_token), Targets::Tokens { labels, .. }) = (&run.bytes, &batch.targets) {
            bytes += of_token.index_select(0, labels).sum(Kind::Int64).int64_value(&[]);
        }
    }
    let bits_per_byte = (bytes > 0).then(|| sums.nll / std::f64::consts::LN_2 / bytes as f64);
    let metrics = Metrics { bits_per_byte, ..run.metrics(step, &settings.valid_split, sums, None) };
    log.metrics(&metrics)?;
    Ok(Some(metrics))
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
    log.tables(settings)?;
    samples::write(&job.draft, &run.course, position.step)?;
    let facts = [
        ("family", json!(run.config.family.name())),
        ("objective", json!(run.objective.name())),
        ("parameters", json!(parameters.count())),
        ("steps", json!(position.step)),
        ("rows", json!(settings.batches_before(position.step) * settings.batch_size)),
        ("best_step", json!(position.best.value.map(|_| position.best.step))),
        ("tokens", json!(position.tokens)),
        ("document_mask", json!(settings.document_mask)),
        ("carry_state", json!(settings.carry_state)),
        ("environment", json!(environment)),
    ];
    Ok(Report {
        volatile: vec!["timings/".into(), "tensorboard/".into()],
        facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        counts: Default::default(),
    })
}
