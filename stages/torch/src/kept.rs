//! Which models are kept: the best by a metric, and those of some checkpoints.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use model::{BestMetric, Job, Train};
use serde::{Deserialize, Serialize};

use crate::log::Metrics;
use crate::parameters::Parameters;
use crate::run::Lesson;
use crate::tasks::Models;
use crate::weights::{self, Weights};

/// The weights of the best try, in the scratch folder.
const BEST: &str = "best.safetensors";
/// The folder of kept models below the artifact.
const CHECKPOINTS: &str = "checkpoints";

/// The best try so far. In f32, which its decimals in a checkpoint give back exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub value: Option<f32>,
    pub step: u64,
    /// Tries since then.
    without: u64,
}

impl Best {
    /// Looks at a try on the valid split; when it is the best one, its weights are kept by the rank that `writes`.
    pub fn note(&mut self, job: &Job, settings: &Train, parameters: &Parameters, metrics: &[Metrics], writes: bool) -> Result<()> {
        let Some(metric) = settings.best_metric else { return Ok(()) };
        // There is no correlation of equal numbers and no F1 without entities, so such a try is no better than any other.
        let sum: f64 = metrics.iter().map(|metrics| metrics.value(metric).unwrap_or(f64::NAN)).sum();
        // Of several tasks the mean; of none it is no number.
        let found = sum / metrics.len() as f64;
        let step = metrics.first().map_or(0, |metrics| metrics.step);
        if self.improved_by(found as f32, step, metric, settings.min_improvement as f32) && writes {
            weights::save(&job.scratch(BEST), &parameters.named(), HashMap::from([("format".into(), "pt".into())]))?;
        }
        Ok(())
    }

    fn improved_by(&mut self, found: f32, step: u64, metric: BestMetric, least: f32) -> bool {
        let sign = if metric.rises() { 1.0 } else { -1.0 };
        let better = self.value.is_none_or(|best| sign * (found - best) > least) && !found.is_nan();
        *self = if better { Best { value: Some(found), step, without: 0 } } else { Best { without: self.without + 1, ..*self } };
        better
    }

    /// Whether too many tries brought nothing.
    pub fn is_over(&self, settings: &Train) -> bool {
        settings.patience > 0 && self.without >= settings.patience
    }

    /// Puts the best weights in place of the last ones; `say` hears which they are.
    pub fn restore(&self, job: &Job, settings: &Train, parameters: &Parameters, say: impl Fn(&str)) -> Result<()> {
        if self.value.is_some() {
            Weights::open(&job.scratch(BEST))?.load(&parameters.named())?;
        }
        self.line(settings).iter().for_each(|line| say(line));
        Ok(())
    }

    /// Which try is saved, as a line to be read.
    fn line(&self, settings: &Train) -> Option<String> {
        let (name, value) = (settings.best_metric?.name(), self.value?);
        let over = self.is_over(settings).then(|| format!("; the end came after {} tries without a better one", settings.patience));
        Some(format!("saved is the model of step {}, with the best {name}, {value:.4}{}", self.step, over.unwrap_or_default()))
    }
}

/// Saves the model of a checkpoint as a folder, and removes those that are neither among the last nor at a step to keep.
pub fn keep(job: &Job, settings: &Train, lessons: &[Lesson], models: &Models, step: u64) -> Result<()> {
    let (last, every) = (settings.keep_last, settings.keep_every_steps);
    if last == 0 && !(every > 0 && step.is_multiple_of(every)) {
        return Ok(());
    }
    let folder = job.draft.join(CHECKPOINTS);
    let name = |step: u64| folder.join(format!("step-{step:08}"));
    models.save_each(lessons, &name(step), &job.artifact("tokenizer")?.dir)?;
    let mut steps = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading `{}`", folder.display()))? {
        let entry = entry.with_context(|| format!("reading `{}`", folder.display()))?;
        steps.extend(entry.file_name().to_str().and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok()));
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    for old in steps.into_iter().skip(last as usize).filter(|step| every == 0 || !step.is_multiple_of(every)) {
        std::fs::remove_dir_all(name(old)).with_context(|| format!("removing `{}`", name(old).display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_after_tries_without_an_improvement() {
        let settings: Train = serde_json::from_str(r#"{"steps": 9, "best_metric": "loss", "patience": 2}"#).unwrap();
        let mut best = Best::default();
        let tries = [(3.0, true, false), (2.0, true, false), (1.95, false, false), (2.5, false, true)];
        for (step, (loss, better, over)) in tries.into_iter().enumerate() {
            assert_eq!(best.improved_by(loss, step as u64, BestMetric::Loss, 0.1), better, "{loss}");
            assert_eq!(best.is_over(&settings), over, "{loss}");
        }
        assert_eq!((best.value, best.step), (Some(2.0), 1));
        let expected = "saved is the model of step 1, with the best loss, 2.0000";
        assert_eq!(best.line(&settings).unwrap(), format!("{expected}; the end came after 2 tries without a better one"));
        assert_eq!(Best { without: 1, ..best }.line(&settings).unwrap(), expected);
        assert_eq!(Best::default().line(&settings), None);
        let mut best = Best::default();
        assert!(!best.improved_by(f32::NAN, 1, BestMetric::Accuracy, 0.0));
        assert!(best.improved_by(0.5, 2, BestMetric::Accuracy, 0.0) && best.improved_by(0.6, 3, BestMetric::Accuracy, 0.0));
    }
}
