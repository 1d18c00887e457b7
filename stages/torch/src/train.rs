//! The training loop: one straight function. Everything it needs to go on after a kill is in the checkpoint.

use std::time::Instant;

use anyhow::Result;
use model::seeds::{Purpose, derive};
use model::{Job, NetworkConfig, Report, Sample, Train};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::batches::Buffers;
use crate::checkpoint::{self, Environment, Position};
use crate::device::device;
use crate::ema::Ema;
use crate::folder::Loaded;
use crate::log::{Log, Metrics};
use crate::loss::Sums;
use crate::models;
use crate::objective::{self, Batch, Mode, Scale, Targets};
use crate::optimizer::optimizer;
use crate::parameters::Parameters;
use crate::ranks::{Counts, Ranks};
use crate::run::{Run, bf16, environment, prepare};
use crate::schedule::learning_rate;
use crate::speed::{Speed, Work};
use crate::worker::Worker;
use crate::{adversarial, carry, folder, kept, samples};

/// Trains to the last step; `None` when stopped, with a checkpoint saved.
pub fn train(job: &Job, settings: &Train, worker: &mut Worker) -> Result<Option<Report>> {
    let device = device(&job.device, worker.rank, |text| worker.note(text))?;
    let Some(ranks) = Ranks::meet(job, worker, device)? else { return Ok(None) };
    let run = prepare(job, settings, device, ranks)?;
    let model = build(job, settings, &run.config, device)?;
    let bf16 = bf16(settings.precision, model.parameters.count(), &run.config, device)?;
    let environment = environment(job, bf16, device, &run.ranks)?;
    let optimizer = optimizer(settings, &model.parameters)?;
    let ema = Ema::new(settings.ema, &model.parameters);
    let carried = carry::kept(settings, &run.config, &model.parameters, &run.ranks);
    let tensors = checkpoint::tensors(&model.parameters, &optimizer, &ema);
    let loaded = checkpoint::load(job, &tensors)?;
    if loaded.is_none() {
        run.start.iter().try_for_each(|begin| begin.load(&run.config, &model.parameters, |new| worker.note(new)))?;
        ema.begin()?;
    }
    let start = loaded.unwrap_or_default();
    let mut log = Log::open(job, start.logs, run.ranks.is_first())?;
    let mut position = start;
    let mode = Mode { dropout: settings.dropout, bf16, recompute: settings.activation_checkpointing };
    // Measured before other threads begin to work.
    let speed = Speed::measure(&run.config, &model.parameters, objective::kind(bf16), job.ranks);
    let mut reader = run.read_ahead(job, settings, position.step)?;

    loop {
        let step = position.step + 1;
        let lr = learning_rate(settings, step, run.steps);
        let fresh = !position.evaluated;
        if fresh && (position.step == run.steps || due(position.step, settings.eval_interval_steps)) {
            ema.used(|| {
                let metrics = evaluate(&run, job, settings, &model, bf16, position.step, &mut log)?;
                log.line(position.step, metrics.as_ref()).iter().for_each(|line| worker.note(line));
                run.prompts.iter().try_for_each(|prompts| prompts.go_on(&model, position.step, &mut log, |line| worker.note(line)))?;
                position.best.note(job, settings, &model, metrics.as_ref(), run.ranks.is_first())
            })?;
        }
        position.evaluated = true;
        let last = position.step == run.steps || position.best.is_over(settings);
        let checkpoint = last || due(position.step, settings.checkpoint_interval_steps);
        if fresh && checkpoint && run.ranks.is_first() {
            ema.used(|| kept::keep(job, settings, &run.facts, &model, position.step))?;
        }
        if position.step > start.step && checkpoint {
            save(job, &run.ranks, &model.parameters, &tensors, &mut log, &mut position)?;
        }
        if last {
            break;
        }

        let begun = Instant::now();
        let batches = run.course.batches_of(step).map(|_| reader.take()).collect::<Result<Vec<Buffers>>>()?;
        let waited = begun.elapsed();
        let Counts { tokens, rows, predicted, scale } = run.ranks.counts(&batches)?;
        tch::manual_seed(run.ranks.dropout_seed(job, step));
        let learn = || -> Result<Sums> {
            let sums = learn(&model, &batches, scale, mode, settings.label_smoothing, &carried)?;
            run.ranks.sum_gradients(optimizer.learned()).map(|()| sums)
        };
        let (sums, stopped) = run.ranks.total(learn()?, f64::from(u8::from(worker.stopped())))?;
        adversarial::learn_disturbed(settings, &model.parameters, || learn().map(drop))?;
        batches.into_iter().for_each(|batch| reader.give_back(batch));
        let update = Instant::now();
        let grad_norm = optimizer.clip()?;
        let metrics = run.metrics(step, "train", sums, Some((lr, grad_norm)));
        log.metrics(&metrics)?;
        match position.spikes.judge(settings.spike_factor, metrics.loss, grad_norm) {
            Some(why) => position.spikes.note(settings, &metrics, &why, &run.course, &mut log, worker).map(|()| carry::mend(&carried))?,
            None if sums.count + sums.tally.pairs == 0 => {} // Nothing was hidden, so there is nothing to step by.
            None => optimizer.step(step, lr).and_then(|()| ema.update(step))?,
        }
        optimizer.forget();
        let updating = update.elapsed();
        position = Position { step, evaluated: false, tokens: position.tokens + tokens, ..position };

        log.timing(&speed.timing(step, Work { tokens, rows, predicted, took: begun.elapsed(), waited, updating }))?;
        worker.progress(step, run.steps, "steps");
        if stopped > 0.0 {
            save(job, &run.ranks, &model.parameters, &tensors, &mut log, &mut position)?;
            return Ok(None);
        }
    }
    if !run.ranks.is_first() {
        return Ok(Some(Report::default()));
    }
    ema.used(|| {
        position.best.restore(job, settings, &model, |line| worker.note(line))?;
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

/// The network with its first random weights.
fn build(job: &Job, settings: &Train, config: &NetworkConfig, device: Device) -> Result<Loaded> {
    let parameters = Parameters::adapted(device, derive(job.seed, Purpose::Weights, 0), settings.lora.clone());
    let model = Loaded { config: config.clone(), network: models::build(&parameters.root(), config), parameters };
    model.parameters.check_adapters()?;
    Ok(model)
}

fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step > 0 && step.is_multiple_of(interval)
}

/// Saves what all ranks hold.
fn save(
    job: &Job,
    ranks: &Ranks,
    parameters: &Parameters,
    tensors: &[(String, Tensor)],
    log: &mut Log,
    position: &mut Position,
) -> Result<()> {
    carry::gather(ranks, parameters)?;
    ranks.check_same(tensors)?;
    position.logs = log.sync()?;
    if ranks.is_first() { checkpoint::save(job, tensors, position) } else { Ok(()) }
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
        carry::in_lanes(0..valid.count(), valid.count().div_ceil(settings.batch_size)).take(settings.eval_batches as usize).collect()
    } else {
        samples.chunks(settings.batch_size as usize).map(<[Sample]>::to_vec).collect()
    };
    // A state is carried from batch to batch, so one rank reads all.
    let batches = match (settings.carry_state, run.ranks.is_first()) {
        (false, _) => run.ranks.rank.share(batches),
        (true, true) => batches,
        (true, false) => Vec::new(),
    };
    let device = model.parameters.device();
    let carried = carry::first(settings.carry_state, settings.batch_size, &run.config, device);
    let (mut sums, mut buffers, mut bytes) = (Sums::default(), Buffers::default(), 0i64);
    for samples in batches {
        buffers.read(valid, &samples, &collate)?;
        let batch = carry::with(buffers.batch(device), &carried);
        sums += objective::evaluate(model.network.as_ref(), &batch, bf16)?;
        if let (Some(of_token), Targets::Tokens { labels, .. }) = (&run.bytes, &batch.targets) {
            bytes += of_token.index_select(0, labels).sum(Kind::Int64).int64_value(&[]);
        }
    }
    let (sums, bytes) = run.ranks.total(sums, bytes as f64)?;
    let bits_per_byte = (bytes > 0.0).then(|| sums.nll / std::f64::consts::LN_2 / bytes);
    let mut metrics = Metrics { bits_per_byte, ..run.metrics(step, &settings.valid_split, sums, None) };
    if let Some(words) = &run.words {
        metrics.scores.extend(words.scores(&model.parameters)?);
    }
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
    let (folder, tokenizer) = (job.draft.join(folder::MODEL), job.artifact("tokenizer")?);
    folder::save(&folder, &run.config, parameters, &tokenizer.dir)?;
    run.facts.frame.iter().try_for_each(|frame| folder::frame(&folder, frame))?;
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
        // The folder's own file may have another template.
        ("tokenizer", json!(tokenizer.hash_of("tokenizer.json"))),
    ];
    Ok(Report {
        volatile: vec!["timings/".into(), "tensorboard/".into()],
        facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        counts: Default::default(),
    })
}
