//! The stage `score`: metrics over predictions, for the model, for the baselines that need no model, and for other predictions.
//!
//! Other predictions may be a model's or those of the stage `baseline`. Baselines here: for `classify` the majority class (the most frequent gold label of the very rows that are scored, so no
//! constant guess can have a higher accuracy), for `complete` a copy of the source, for `language-modelling` the
//! unigram model of the train split.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use engine::{Artifact, Context, Draft, Inputs, Kind as ArtifactKind, Part, Port, Site, Stage, Table, list};
use serde::Deserialize;

use crate::classify::{Bins, classify};
use crate::compare::{self, Comparison};
use crate::counts::{self, Tally};
use crate::gaps;
use crate::gate::{self, FAILED};
use crate::metrics::{Answers, Choices, Contrasts, Kind, Labels, Measure, Metric, Numbers, Options, Sets, Tags, Texts, Tokens};
use crate::resample;
use crate::robust::{self, Drop};
use crate::rows::{self, Reads};
use crate::settings::{Score, default_seed};
use crate::slices::Slices;
use crate::tables::{self, Scored};
use crate::tasks;
use crate::written::written;

impl Stage for Score {
    const NAME: &'static str = "score";
    const ABOUT: &'static str = "Computes metrics over predictions, beside baselines that need no model or another model's predictions.";
    const VERSION: u32 = 6;
    const INPUTS: &'static [Port] = &[
        Port::one("predictions", ArtifactKind::Predictions),
        Port::optional("against", ArtifactKind::Predictions),
        Port { many: true, ..Port::optional("perturbed", ArtifactKind::Predictions) },
        Port::optional("documents", ArtifactKind::Documents),
        Port::optional("contamination", ArtifactKind::Documents),
    ];
    const OUTPUT: ArtifactKind = ArtifactKind::Scores;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if let (None, Some(step)) = (&self.metrics, site.upstream("predictions")) {
            // A task may name its own.
            self.metrics = serde_json::from_value(step.settings["metrics"].clone())?;
        }
        self.check()?;
        self.stored = self.read_stored(site.root())?;
        let against = !site.connected("against").is_empty();
        if let Some(task) = tasks::planned(site) {
            self.check_for(task)?;
        }
        if self.seed != default_seed() && !self.draws(against) {
            bail!("seed = {} is for draws, and there are none; set resamples, or leave out seed", self.seed);
        }
        for slice in &mut self.slices {
            // A column's name may be one that SQL would read otherwise.
            if !slice.chars().all(|c| c.is_alphanumeric() || c == '_') {
                *slice = site.sql().canonical(slice).context("`slices`")?;
            }
        }
        if let Some((name, _)) = self.gate.iter().find(|(_, gate)| gate.needs_against() && !against) {
            bail!(
                "gate of `{name}`: drop_max and rise_max compare with other predictions; add inputs = {{ against = \"…\" }} or a baseline"
            );
        }
        ensure!(against || self.test.is_none(), "test compares with other predictions; add inputs = {{ against = \"…\" }}");
        if let Some(documents) = site.connected("documents").first().filter(|_| self.slices.is_empty()) {
            bail!("the input `documents` is for slices alone; set slices or leave out documents = \"{documents}\"");
        }
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let work = Work::new(self, ctx, inputs)?;
        let outcome = match work.task.as_str() {
            Tokens::TASK => work.plain::<Tokens>()?,
            Labels::TASK => classify(&work)?,
            Sets::TASK => work.plain::<Sets>()?,
            Numbers::TASK => work.plain::<Numbers>()?,
            Tags::TASK => work.plain::<Tags>()?,
            Answers::TASK => work.plain::<Answers>()?,
            Texts::TASK => written(&work)?,
            Choices::TASK => work.plain::<Choices>()?,
            Contrasts::TASK => work.plain::<Contrasts>()?,
            task => bail!("no metric is for predictions of the task `{task}`"),
        };
        let failed = outcome.failed_gates(&work)?;
        if !failed.is_empty() {
            draft.fact(FAILED, &failed)?;
        }
        let tables = outcome.tables(&work)?;
        for (name, rows) in &tables {
            draft.declare(name, rows.schema())?;
        }
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| tables.iter().try_for_each(|(name, rows)| part.write(name, rows)))
    }
}

/// What the scores' column `system` calls predictions that name no system of their own.
pub const MODEL: &str = "model";

/// What a run works with.
pub struct Work<'a> {
    pub settings: &'a Score,
    ctx: &'a Context,
    task: String,
    table: Table,
    /// What the scores' column `system` calls the predictions, and the other ones.
    system: String,
    against: Option<(String, Table)>,
    /// By the names of their steps.
    perturbed: Vec<(String, Table)>,
    pub metrics: Vec<&'static Metric>,
    pub options: Options,
    pub slices: Slices,
    /// Begins every signature.
    prefix: String,
}

/// What was counted of the systems.
pub struct Counted<K: Kind> {
    pub model: Tally<K>,
    pub baseline: Tally<K>,
    against: Option<Tally<K>>,
    perturbed: Vec<(String, Tally<K>)>,
}

/// What a run writes.
#[derive(Default)]
pub struct Outcome {
    scores: Vec<Scored>,
    /// With the number of the slice.
    slices: Vec<(usize, Scored)>,
    comparisons: Option<Vec<Comparison>>,
    drops: Option<Vec<Drop>>,
    pub bins: Option<Bins>,
}

impl Outcome {
    fn failed_gates(&self, work: &Work) -> Result<Vec<String>> {
        let ours: Vec<_> = self.scores.iter().filter(|scored| scored.system == work.system).map(|scored| &scored.score).collect();
        let theirs = self.comparisons.as_ref().map(|all| all.iter().map(|comparison| &comparison.against).collect::<Vec<_>>());
        gate::failed(&work.settings.gate, &work.settings.stored, &ours, theirs.as_deref())
    }

    /// All tables with their names.
    fn tables(&self, work: &Work) -> Result<Vec<(&'static str, arrow::array::RecordBatch)>> {
        let mut tables = vec![(ArtifactKind::Scores.main_table(), tables::scores(&self.scores)?)];
        if work.slices.len() > 0 || !work.settings.slices.is_empty() {
            tables.push(("slices", tables::slices(&self.slices, &work.slices)?));
            tables.push(("gaps", tables::gaps(&gaps::gaps(&self.slices, &work.slices))?));
        }
        if let Some(drops) = &self.drops {
            tables.push(("robustness", tables::robustness(drops)?));
        }
        if let Some(comparisons) = &self.comparisons {
            tables.push(("comparisons", tables::comparisons(comparisons)?));
        }
        if let Some(Bins { confusion, reliability }) = &self.bins {
            tables.push(("confusion", tables::confusion(confusion, &work.options.classes)?));
            if let Some(bins) = reliability {
                tables.push(("reliability", tables::reliability(bins)?));
            }
        }
        Ok(tables)
    }
}

impl<'a> Work<'a> {
    fn new(settings: &'a Score, ctx: &'a Context, inputs: &Inputs) -> Result<Work<'a>> {
        let predictions = inputs.artifact("predictions")?;
        let task: String = predictions.fact("task")?;
        let metrics = settings.check_for(&task)?;
        let options = settings.options(&task, predictions)?;
        let table = predictions.table(predictions.main())?;
        if task == Tags::TASK {
            rows::check_tags(ctx, &table, &options)?;
        }
        let same = |other: &Artifact| same_rows(ctx, predictions, &table, &task, other);
        let of_step = |other: &Artifact| Ok((other.manifest.step.clone(), same(other)?));
        let [system, other_system] = systems(predictions, inputs.artifact_opt("against"));
        let against = match inputs.artifact_opt("against") {
            Some(other) => Some((other_system, same(other)?)),
            None => None,
        };
        let perturbed = inputs.artifacts("perturbed").into_iter().map(of_step).collect::<Result<_>>()?;
        let mut slices = Slices::read(ctx, &settings.slices, &table, inputs.artifact_opt("documents"))?;
        if let Some(found) = inputs.artifact_opt("contamination") {
            slices.add_contaminated(ctx, &table, found)?;
        }
        Ok(Work { settings, ctx, task, table, system, against, perturbed, metrics, options, slices, prefix: masks(predictions)? })
    }

    pub fn measures<K: Kind>(&self) -> Vec<Box<dyn Measure<K>>> {
        counts::together(self.metrics.iter().filter_map(|metric| K::measure(&metric.start, &self.options)))
    }

    /// Counts all rows; `more` measures are the model's alone, after the metrics'.
    pub fn count<K: Reads>(&self, more: Vec<Box<dyn Measure<K>>>) -> Result<Counted<K>> {
        let groups = self.slices.len();
        let keep_rows = self.against.is_some() || !self.perturbed.is_empty() || self.settings.resampling().is_some();
        let mut model = Tally::new(self.measures().into_iter().chain(more).collect(), groups, keep_rows);
        let mut baseline = Tally::new(self.measures(), groups, false);
        let mut first = 0;
        rows::read::<K>(self.ctx, &self.table, &self.options, |rows| {
            model.push(&rows.model, |row| self.slices.of_row(first + row));
            baseline.push(&rows.baseline, |row| self.slices.of_row(first + row));
            first += rows.model.len();
        })?;
        let against = self.against.as_ref().map(|(_, table)| self.tally(table, groups)).transpose()?;
        let perturbed = self.perturbed.iter().map(|(step, table)| Ok((step.clone(), self.tally(table, 0)?))).collect::<Result<_>>()?;
        Ok(Counted { model, baseline, against, perturbed })
    }

    /// Counts the rows of other predictions, in all `groups` of slices or none.
    fn tally<K: Reads>(&self, table: &Table, groups: usize) -> Result<Tally<K>> {
        let mut tally = Tally::new(self.measures(), groups, true);
        let mut first = 0;
        rows::read::<K>(self.ctx, table, &self.options, |rows| {
            tally.push(&rows.model, |row| if groups > 0 { self.slices.of_row(first + row) } else { &[] });
            first += rows.model.len();
        })?;
        Ok(tally)
    }

    /// What follows from the counts; `baseline` names that system, `pairs` begin its signatures.
    pub fn outcome<K: Kind>(&self, counted: &Counted<K>, baseline: Option<&'static str>, pairs: &str) -> Outcome {
        // Predictions of the same system need it not a second time.
        let systems = || std::iter::once(&self.system).chain(self.against.iter().map(|(system, _)| system));
        let baseline = baseline.filter(|name| systems().all(|system| system != name));
        let mut outcome = Outcome { scores: self.scores(counted, 0, baseline, pairs), ..Outcome::default() };
        if !counted.perturbed.is_empty() {
            let mut drops = robust::drops(&counted.model, &counted.perturbed);
            drops.iter_mut().for_each(|drop| drop.score.signature.insert_str(0, &self.prefix));
            outcome.drops = Some(drops);
        }
        for group in self.slices.sorted() {
            let scores = self.scores(counted, 1 + group, baseline, pairs);
            outcome.slices.extend(scores.into_iter().map(|scored| (group, scored)));
        }
        let test = self.settings.test.unwrap_or_default();
        outcome.comparisons =
            counted.against.as_ref().map(|against| compare::compare(test, self.settings.resampling_of(test), &counted.model, against));
        for comparison in outcome.comparisons.iter_mut().flatten() {
            comparison.score.signature.insert_str(0, &self.prefix);
        }
        outcome
    }

    /// The scores of all rows, group 0, or of a slice: the model's, the baseline's, those of other predictions.
    fn scores<K: Kind>(&self, counted: &Counted<K>, group: usize, baseline: Option<&'static str>, pairs: &str) -> Vec<Scored> {
        let resampling = self.settings.resampling();
        let intervals = match (resampling, &counted.model.rows) {
            (Some(resampling), Some(counts)) => {
                let rows = if group == 0 {
                    (0..counts.first().map_or(0, |counts| counts.rows() as u32)).collect()
                } else {
                    self.slices.rows(group - 1)
                };
                resample::intervals(resampling, &counted.model.measures, counts, &rows)
            }
            _ => Vec::new(),
        };
        let drawn =
            resampling.map(|resampling| format!("bs:{}|seed:{}|rng:pcg64|", resampling.resamples, resampling.seed)).unwrap_or_default();
        let mut scores: Vec<Scored> =
            counted.model.scores(group).into_iter().flatten().map(|score| Scored::new(&self.system, score)).collect();
        for (place, scored) in scores.iter_mut().enumerate() {
            if let Some(Some(interval)) = intervals.get(place) {
                scored.interval = Some(*interval);
                scored.score.signature.insert_str(0, &drawn);
            }
        }
        if let Some(system) = baseline {
            scores.extend(counted.baseline.scores(group).into_iter().flatten().map(|mut score| {
                score.signature.insert_str(0, pairs);
                Scored::new(system, score)
            }));
        }
        if let (Some(tally), Some((system, _))) = (&counted.against, &self.against) {
            scores.extend(tally.scores(group).into_iter().flatten().map(|score| Scored::new(system, score)));
        }
        scores.iter_mut().for_each(|scored| scored.score.signature.insert_str(0, &self.prefix));
        scores
    }

    /// The system that is read with the model, where predictions tell of it.
    pub fn baseline<K: Reads>(&self) -> Option<&'static str> {
        K::BASELINE.filter(|_| K::has_baseline(&self.table))
    }

    pub fn warn(&self, message: &str) {
        self.ctx.warn(message);
    }

    fn plain<K: Reads>(&self) -> Result<Outcome> {
        let baseline = self.baseline::<K>();
        Ok(self.outcome(&self.count::<K>(vec![])?, baseline, ""))
    }
}

/// What the scores' column `system` calls the predictions and those on `against`: their systems, or their steps where these share a name.
fn systems(predictions: &Artifact, against: Option<&Artifact>) -> [String; 2] {
    let ours = predictions.fact("system").unwrap_or_else(|_| MODEL.to_owned());
    let Some(other) = against else { return [ours, String::new()] };
    let theirs = other.fact("system").unwrap_or_else(|_| other.manifest.step.clone());
    if ours == theirs { [predictions, other].map(|artifact| artifact.manifest.step.clone()) } else { [ours, theirs] }
}

/// The table of other predictions, which must be of the same task, classes and rows.
fn same_rows(ctx: &Context, predictions: &Artifact, table: &Table, task: &str, other: &Artifact) -> Result<Table> {
    let steps = [&predictions.manifest.step, &other.manifest.step].map(String::as_str);
    let [ours, theirs] = steps;
    let other_task: String = other.fact("task")?;
    ensure!(task == other_task, "steps `{ours}` and `{theirs}` cannot be compared: one predicts `{task}`, the other `{other_task}`");
    let same_fact = |name: &str| predictions.manifest.facts.get(name) == other.manifest.facts.get(name);
    if !same_fact("classes") {
        let classes = |of: &Artifact| of.fact::<Vec<String>>("classes").map(|names| list(names.iter().map(String::as_str)));
        bail!(
            "steps `{ours}` and `{theirs}` cannot be compared: the classes of one are {}, of the other {}",
            classes(predictions)?,
            classes(other)?
        );
    }
    ensure!(same_fact("masks"), "steps `{ours}` and `{theirs}` cannot be compared: other tokens are masked");
    let other = other.table(other.main())?;
    let (rows, other_rows) = (table.rows, other.rows);
    ensure!(rows == other_rows, "steps `{ours}` and `{theirs}` cannot be compared: {rows} rows and {other_rows}");
    let differs = |row: usize, how: &str| anyhow!("steps `{ours}` and `{theirs}` cannot be compared: row {row} {how}");
    if let (Some(ids), Some(other_ids)) = (rows::ids(ctx, table)?, rows::ids(ctx, &other)?) {
        let row = ids.iter().zip(&other_ids).position(|(a, b)| a != b);
        return row.map_or(Ok(other), |row| Err(differs(row, "is of another document")));
    }
    // Files of other programs may be in another order.
    for name in ["gold", "reference"].into_iter().filter(|name| table.has_column(name) && other.has_column(name)) {
        if let Some(row) = rows::first_difference(ctx, [table, &other], name)? {
            return Err(differs(row, &format!("has another `{name}`")));
        }
    }
    Ok(other)
}

/// Begins signatures of masked models, whose scores are of the masked tokens alone and depend on which they are.
fn masks(predictions: &Artifact) -> Result<String> {
    #[derive(Deserialize)]
    struct Masks {
        probability: f64,
        seed: u64,
    }
    if !predictions.manifest.facts.contains_key("masks") {
        return Ok(String::new());
    }
    let Masks { probability, seed } = predictions.fact("masks")?;
    Ok(format!("masked:{probability}|mask_seed:{seed}|"))
}
