//! The training loop: one straight function. Everything it needs to go on after a kill is in the checkpoint.

use std::time::Instant;

use anyhow::Result;
use model::seeds::{Purpose, derive};
use model::{Job, Report, Sample, Train};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::batches::Buffers;
use crate::checkpoint::{self, Environment, Position};
use crate::device::device;
use crate::ema::Ema;
use crate::folder::Loaded;
use crate::log::{Log, Metrics};
use crate::loss::Sums;
use crate::objective::{self, Batch, Mode, Scale, Targets};
use crate::optimizer::optimizer;
use crate::parameters::Parameters;
use crate::prompts::Prompts;
use crate::ranks::{Counts, Ranks};
use crate::run::{Lesson, Run, bf16, environment, prepare};
use crate::schedule::learning_rate;
use crate::speed::{Speed, Work};
use crate::tasks::Models;
use crate::worker::Worker;
use crate::{adversarial, carry, folder, kept, samples};

/// Trains to the last step; `None` when stopped, with a checkpoint saved.
pub fn train(job: &Job, settings: &Train, worker: &mut Worker) -> Result<Option<Report>> {
    let device = device(&job.device, worker.rank, |text| worker.note(text))?;
    let Some(ranks) = Ranks::meet(job, worker, device)? else { return Ok(None) };
    let run = prepare(job, settings, device, ranks)?;
    let models = Models::build(job, settings, &run.lessons, device)?;
    let config = &run.lessons[0].config;
    let bf16 = bf16(settings.precision, models.all.count(), config, device)?;
    let environment = environment(job, bf16, device, &run.ranks)?;
    let optimizer = optimizer(settings, &models.all)?;
    let ema = Ema::new(settings.ema, &models.all);
    let carried = carry::kept(settings, config, &models.all, &run.ranks);
    let tensors = checkpoint::tensors(&models.all, &optimizer, &ema);
    let loaded = checkpoint::load(job, &tensors)?;
    if loaded.is_none() {
        models.begin(&run.lessons, |new| worker.note(new))?;
        ema.begin()?;
    }
    let start = loaded.unwrap_or_default();
    let (mut log, mut position) = (Log::open(job, start.logs, run.ranks.is_first())?, start);
    let mode = Mode { dropout: settings.dropout, bf16, recompute: settings.activation_checkpointing };
    // Measured before other threads begin to work.
    let speeds = Speed::measure(&models.tasks, objective::kind(bf16), job.ranks);
    let (mut reader, steps) = (run.read_ahead(job, settings, position.step)?, run.courses.steps());

    loop {
        let step = position.step + 1;
        let lr = learning_rate(settings, step, steps);
        let fresh = !position.evaluated;
        if fresh && (position.step == steps || due(position.step, settings.eval_interval_steps)) {
            ema.used(|| {
                let metrics = evaluate(&run, job, settings, &models.tasks, bf16, position.step, &mut log)?;
                log.lines(position.step, &metrics).iter().for_each(|line| worker.note(line));
                let go_on = |prompts: &Prompts| prompts.go_on(&models.tasks[0], position.step, &mut log, |line| worker.note(line));
                run.prompts.iter().try_for_each(go_on)?;
                position.best.note(job, settings, &models.all, &metrics, run.ranks.is_first())
            })?;
        }
        position.evaluated = true;
        let last = position.step == steps || position.best.is_over(settings);
        let checkpoint = last || due(position.step, settings.checkpoint_interval_steps);
        if fresh && checkpoint && run.ranks.is_first() {
            ema.used(|| kept::keep(job, settings, &run.lessons, &models, position.step))?;
        }
        if position.step > start.step && checkpoint {
            save(job, &run.ranks, &models.all, &tensors, &mut log, &mut position)?;
        }
        if last {
            break;
        }

        let (begun, turn) = (Instant::now(), run.courses.turn(step));
        let batches = run.courses.batches_of(step).map(|_| reader.take()).collect::<Result<Vec<Buffers>>>()?;
        let waited = begun.elapsed();
        let Counts { tokens, rows, predicted, scale } = run.ranks.counts(&batches)?;
        tch::manual_seed(run.ranks.dropout_seed(job, step));
        let learn = || -> Result<Sums> {
            let sums = learn(&models.tasks[turn.task], &batches, scale, mode, settings.label_smoothing, &carried)?;
            run.ranks.sum_gradients(optimizer.learned()).map(|()| sums)
        };
        let (sums, stopped) = run.ranks.total(learn()?, f64::from(u8::from(worker.stopped())))?;
        adversarial::learn_disturbed(settings, &models.all, || learn().map(drop))?;
        batches.into_iter().for_each(|batch| reader.give_back(batch));
        let update = Instant::now();
        let grad_norm = optimizer.clip()?;
        let metrics = run.lessons[turn.task].metrics(step, "train", sums, Some((lr, grad_norm)));
        log.metrics(&metrics)?;
        match position.spikes.judge(settings.spike_factor, metrics.loss, grad_norm) {
            Some(why) => position.spikes.note(settings, &metrics, &why, &run.courses, &mut log, worker).map(|()| carry::mend(&carried))?,
            None if sums.count + sums.tally.pairs == 0 => {} // Nothing was hidden, so there is nothing to step by.
            None => optimizer.step(step, turn.number, lr).and_then(|()| ema.update(step))?,
        }
        optimizer.forget();
        let updating = update.elapsed();
        position = Position { step, evaluated: false, tokens: position.tokens + tokens, ..position };

        log.timing(&speeds[turn.task].timing(step, Work { tokens, rows, predicted, took: begun.elapsed(), waited, updating }))?;
        worker.progress(step, steps, "steps");
        if stopped > 0.0 {
            save(job, &run.ranks, &models.all, &tensors, &mut log, &mut position)?;
            return Ok(None);
        }
    }
    if !run.ranks.is_first() {
        return Ok(Some(Report::default()));
    }
    ema.used(|| {
        position.best.restore(job, settings, &models.all, |line| worker.note(line))?;
        finish(job, settings, &run, &models, &mut log, &position, &environment).map(Some)
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

/// Tries the tasks that have a valid split, and logs that.
fn evaluate(run: &Run, job: &Job, settings: &Train, models: &[Loaded], bf16: bool, step: u64, log: &mut Log) -> Result<Vec<Metrics>> {
    let mut all = Vec::new();
    for (lesson, model) in run.lessons.iter().zip(models) {
        let Some((sums, bytes)) = try_valid(run, job, settings, lesson, model, bf16)? else { continue };
        let bits_per_byte = (bytes > 0.0).then(|| sums.nll / std::f64::consts::LN_2 / bytes);
        let mut metrics = Metrics { bits_per_byte, ..lesson.metrics(step, &settings.valid_split, sums, None) };
        if let Some(words) = &run.words {
            metrics.scores.extend(words.scores(&model.parameters)?);
        }
        log.metrics(&metrics)?;
        all.push(metrics);
    }
    Ok(all)
}

/// Tries a model on the first rows of the valid split in a fixed order, with fixed masks: sums, and the bytes of what was predicted.
fn try_valid(run: &Run, job: &Job, settings: &Train, lesson: &Lesson, model: &Loaded, bf16: bool) -> Result<Option<(Sums, f64)>> {
    let Some(valid) = &lesson.valid else { return Ok(None) };
    let seed = derive(job.seed, Purpose::ValidMasks, 0);
    let collate = lesson.collate(job, settings, seed)?;
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
    let carried = carry::first(settings.carry_state, settings.batch_size, &lesson.config, device);
    let (mut sums, mut buffers, mut bytes) = (Sums::default(), Buffers::default(), 0i64);
    for samples in batches {
        buffers.read(valid, &samples, &collate)?;
        let batch = carry::with(buffers.batch(device), &carried);
        sums += objective::evaluate(model.network.as_ref(), &batch, bf16)?;
        if let (Some(of_token), Targets::Tokens { labels, .. }) = (&lesson.bytes, &batch.targets) {
            bytes += of_token.index_select(0, labels).sum(Kind::Int64).int64_value(&[]);
        }
    }
    run.ranks.total(sums, bytes as f64).map(Some)
}

fn finish(
    job: &Job,
    settings: &Train,
    run: &Run,
    models: &Models,
    log: &mut Log,
    position: &Position,
    environment: &Environment,
) -> Result<Report> {
    let tokenizer = job.artifact("tokenizer")?;
    models.save(&run.lessons, &job.draft, &tokenizer.dir)?;
    folder::describe(&job.draft, &models.all)?;
    log.tables(settings)?;
    samples::write(&job.draft, &run.courses, position.step)?;
    let tasks: Vec<(&str, &str)> =
        run.lessons.iter().filter_map(|lesson| Some((lesson.task.as_deref()?, lesson.objective.name()))).collect();
    let mut facts = vec![
        ("family", json!(run.lessons[0].config.family.name())),
        ("objective", json!(run.lessons[0].objective.name())),
        ("parameters", json!(models.all.count())),
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
    if settings.multi_task {
        let (names, objectives): (Vec<&str>, Vec<&str>) = tasks.into_iter().unzip();
        facts.extend([("tasks", json!(names)), ("objectives", json!(objectives))]);
    }
    Ok(Report {
        volatile: vec!["timings/".into(), "tensorboard/".into()],
        facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        counts: Default::default(),
    })
}
