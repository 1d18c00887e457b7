//! Settings of `train` for how weights are changed: optimizer, schedule, groups of parameters, robustness, what ends and what is kept.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Train;

/// The rule by which gradients change weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam with decay apart from the gradient (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Kingma and Ba 2015; decay is an L2 penalty, part of the gradient.
    Adam,
    /// Gradient descent with momentum, Nesterov's when asked for; decay is an L2 penalty.
    Sgd,
    /// Duchi, Hazan and Singer 2011; decay is an L2 penalty.
    AdaGrad,
    /// Chen et al. 2023: the sign of an average, so learning rates are 3 to 10 times smaller and decays larger than AdamW's.
    Lion,
    /// Jordan et al. 2024: orthogonal updates of the matrices within blocks and recurrent layers, scaled so that AdamW's learning rates fit
    /// (Liu et al. 2025); AdamW for embeddings, heads and vectors.
    Muon,
}

/// The learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine down to min_learning_rate.
    Cosine,
    /// A straight line down to min_learning_rate.
    Linear,
    /// Stays at learning_rate.
    Constant,
    /// learning_rate × √(warmup_steps / step) (Vaswani et al. 2017), not below min_learning_rate where that is given.
    InverseSqrt,
    /// The same factor at every step, down to min_learning_rate.
    Exponential,
    /// Times decay_factor after every decay_steps steps.
    Step,
    /// Warm-up, stable, decay: stays, and falls in a straight line to min_learning_rate over the last decay_steps (Hu et al. 2024).
    Wsd,
    /// Half a cosine up from learning_rate / 25, over the warm-up or else 30 % of all steps, and another one down (Smith 2018).
    OneCycle,
}

/// Settings for the parameters whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Names of parameters as in the table `parameters`, `*` for any text: `transformer.h.0.*`.
    pub pattern: String,
    /// Times the learning rate of the others.
    #[serde(default = "one")]
    pub learning_rate_factor: f64,
    /// In place of weight_decay; also for vectors.
    #[serde(default)]
    pub weight_decay: Option<f64>,
    /// They stay as they are.
    #[serde(default)]
    pub freeze: bool,
}

fn one() -> f64 {
    1.0
}

/// How embeddings are disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attack {
    /// One step of length epsilon along the gradient (Miyato et al. 2017).
    Fgm,
    /// Several steps, never farther than epsilon (Madry et al. 2018).
    Pgd,
}

/// Training on disturbed embeddings too: every step also learns from its batch with the token embeddings moved to where the loss is higher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adversarial {
    /// `fgm`, which doubles the work of a step, or `pgd`, 1 + steps times.
    pub method: Attack,
    /// Farthest that the embedding matrix is moved, in its L2 norm.
    #[serde(default = "one")]
    pub epsilon: f64,
    /// Steps of pgd.
    #[serde(default = "default_attack_steps")]
    pub steps: u64,
    /// Length of a step of pgd.
    #[serde(default = "default_step_size")]
    pub step_size: f64,
}

fn default_attack_steps() -> u64 {
    3
}

fn default_step_size() -> f64 {
    0.3
}

/// What to do with a step whose loss or gradients are out of bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnSpike {
    /// The training ends with an error that names the documents.
    #[default]
    Stop,
    /// The weights stay as they were, the documents go to the table `spikes`; ten such steps in a row end the training.
    Skip,
}

/// A metric of the valid split, as the table `metrics` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BestMetric {
    /// Lowest loss.
    Loss,
    /// Lowest perplexity, of tokens.
    Perplexity,
    /// Lowest bits per byte, of the next token.
    BitsPerByte,
    /// Highest accuracy.
    Accuracy,
    /// Highest F1 of several classes or of entities.
    F1,
    /// Highest correlation of numbers.
    Pearson,
    /// Lowest loss of pairs of segments.
    PairLoss,
    /// Highest accuracy of pairs of segments.
    PairAccuracy,
}

impl BestMetric {
    pub fn name(self) -> &'static str {
        match self {
            BestMetric::Loss => "loss",
            BestMetric::Perplexity => "perplexity",
            BestMetric::BitsPerByte => "bits_per_byte",
            BestMetric::Accuracy => "accuracy",
            BestMetric::F1 => "f1",
            BestMetric::Pearson => "pearson",
            BestMetric::PairLoss => "pair_loss",
            BestMetric::PairAccuracy => "pair_accuracy",
        }
    }

    /// Whether more is better.
    pub fn rises(self) -> bool {
        matches!(self, BestMetric::Accuracy | BestMetric::F1 | BestMetric::Pearson | BestMetric::PairAccuracy)
    }
}

impl Train {
    /// Checks the settings of this file.
    pub(crate) fn check_optimizer(&self) -> Result<()> {
        let shares = [
            ("momentum", self.momentum.unwrap_or(0.0)),
            ("ema", self.ema),
            ("label_smoothing", self.label_smoothing),
            ("word_dropout", self.word_dropout),
            ("token_noise", self.token_noise),
            ("word_dropout + token_noise", self.word_dropout + self.token_noise),
        ];
        if let Some((name, value)) = shares.into_iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            bail!("{name} is {value}, it must be at least 0 and below 1");
        }
        for (name, value) in [("l1", self.l1), ("clip_value", self.clip_value), ("min_improvement", self.min_improvement)] {
            if !(value >= 0.0 && value.is_finite()) {
                bail!("{name} is {value}, it must not be negative");
            }
        }
        if self.nesterov == Some(true) && self.optimizer == Optimizer::Sgd && self.momentum() == 0.0 {
            bail!("nesterov needs a momentum above 0");
        }
        if self.spike_factor != 0.0 && !(self.spike_factor > 1.0 && self.spike_factor.is_finite()) {
            bail!("spike_factor is {}, it must be above 1, or 0 to leave finite losses alone", self.spike_factor);
        }
        if let Some(Adversarial { epsilon, steps, step_size, .. }) = &self.adversarial
            && !(*epsilon > 0.0 && *step_size > 0.0 && *steps > 0)
        {
            bail!("adversarial: epsilon, steps and step_size must be above 0");
        }
        self.check_schedule()?;
        self.check_kept()?;
        self.groups.iter().try_for_each(Group::check)
    }

    fn check_schedule(&self) -> Result<()> {
        if self.schedule == Schedule::Exponential && self.lowest_learning_rate() <= 0.0 {
            bail!("schedule = \"exponential\" never reaches 0; give a min_learning_rate above 0");
        }
        if self.decay_steps == Some(0) {
            bail!("decay_steps must be at least 1");
        }
        if let Some(factor) = self.decay_factor.filter(|factor| !(*factor > 0.0 && *factor <= 1.0)) {
            bail!("decay_factor is {factor}, it must be above 0 and at most 1");
        }
        Ok(())
    }

    fn check_kept(&self) -> Result<()> {
        if self.patience > 0 && self.best_metric.is_none() {
            bail!("patience needs a best_metric, such as `loss` or `accuracy`");
        }
        if self.patience > 0 && self.eval_interval_steps == 0 {
            bail!("patience counts tries on the valid split, of which there is one alone: give eval_interval_steps");
        }
        let (every, interval) = (self.keep_every_steps, self.checkpoint_interval_steps);
        if (every > 0 || self.keep_last > 0) && interval == 0 {
            bail!("keep_last and keep_every_steps need checkpoints: give checkpoint_interval_steps");
        }
        if every > 0 && !every.is_multiple_of(interval) {
            bail!("keep_every_steps = {every} must be a multiple of checkpoint_interval_steps = {interval}");
        }
        Ok(())
    }

    /// The learning rate at the last step.
    pub fn lowest_learning_rate(&self) -> f64 {
        self.min_learning_rate.unwrap_or(self.learning_rate / 10.0)
    }

    /// The decay of sgd's and muon's average of gradients.
    pub fn momentum(&self) -> f64 {
        self.momentum.unwrap_or(if self.optimizer == Optimizer::Muon { 0.95 } else { 0.9 })
    }

    /// The decay of the weights.
    pub fn weight_decay(&self) -> f64 {
        let penalty = matches!(self.optimizer, Optimizer::Adam | Optimizer::Sgd | Optimizer::AdaGrad);
        self.weight_decay.unwrap_or(if penalty { 0.0 } else { 0.1 })
    }

    /// Whether sgd and muon look ahead.
    pub fn nesterov(&self) -> bool {
        self.nesterov.unwrap_or(self.optimizer == Optimizer::Muon)
    }

    /// Batches of the first `steps` steps: with a ramp, a step has one batch at first, and one more after each (accumulate − 1)-th of the ramp.
    pub fn batches_before(&self, steps: u64) -> u64 {
        let (ramp, more) = (self.batch_ramp_steps, self.accumulate - 1);
        // Steps that have at least one batch, two batches, …
        steps + (1..=more).map(|batch| steps.saturating_sub((batch * ramp).div_ceil(more))).sum::<u64>()
    }

    /// Optimizer steps when the split has `rows` rows.
    pub fn total_steps(&self, rows: u64) -> u64 {
        let Some(epochs) = self.epochs.filter(|_| self.steps.is_none()) else { return self.steps.unwrap_or(1) };
        let batches = (rows as f64 * epochs / self.batch_size as f64).ceil() as u64;
        if batches >= self.batches_before(self.batch_ramp_steps) {
            let rest = batches - self.batches_before(self.batch_ramp_steps);
            return (self.batch_ramp_steps + rest.div_ceil(self.accumulate)).max(1);
        }
        (1..self.batch_ramp_steps).find(|steps| self.batches_before(*steps) >= batches).unwrap_or(self.batch_ramp_steps)
    }
}

impl Group {
    fn check(&self) -> Result<()> {
        let numbers = [Some(self.learning_rate_factor), self.weight_decay];
        if numbers.into_iter().flatten().any(|value| !(value >= 0.0 && value.is_finite())) {
            bail!("groups: learning_rate_factor and weight_decay of `{}` must not be negative", self.pattern);
        }
        if self.freeze && (self.learning_rate_factor != one() || self.weight_decay.is_some()) {
            bail!("groups: `{}` is frozen, so its learning_rate_factor and weight_decay do nothing; leave them out", self.pattern);
        }
        Ok(())
    }

    /// Whether a name fits the pattern.
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, rest)) = self.pattern.split_once('*') else { return self.pattern == name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<&str> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            let Some(place) = left.find(piece) else { return false };
            left = &left[place + piece.len()..];
        }
        left.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let fits = |pattern: &str, name: &str| {
            Group { pattern: pattern.into(), learning_rate_factor: 1.0, weight_decay: None, freeze: false }.fits(name)
        };
        let name = "transformer.h.0.attn.c_attn.weight";
        for pattern in ["*", name, "transformer.h.0.*", "*.weight", "*.h.*.c_attn.*", "transformer.*.weight", "**"] {
            assert!(fits(pattern, name), "{pattern}");
        }
        for pattern in ["", "h.0", "transformer.h.1.*", "*.bias", "*.c_attn.*.attn.*", "transformer.h.0", "*weight.weight"] {
            assert!(!fits(pattern, name), "{pattern}");
        }
    }

    #[test]
    fn the_ramp_grows_to_accumulate_and_epochs_count_it() {
        let settings: Train = serde_json::from_str(r#"{"epochs": 1, "batch_size": 2, "accumulate": 4, "batch_ramp_steps": 6}"#).unwrap();
        let of = |step| settings.batches_before(step) - settings.batches_before(step - 1);
        assert_eq!((1..=9).map(of).collect::<Vec<_>>(), [1, 1, 2, 2, 3, 3, 4, 4, 4]);
        for steps in 1..20 {
            // Rows for exactly so many steps, and one row more.
            let rows = 2 * settings.batches_before(steps);
            assert_eq!((settings.total_steps(rows), settings.total_steps(rows + 1)), (steps, steps + 1));
        }
    }

    fn check(json: &str, expected: &str) {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["steps"] = 10.into();
        let settings: Train = serde_json::from_value(value).unwrap();
        let found = settings.check(true).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{json}: {found}");
    }

    #[test]
    fn wrong_settings_are_refused_while_planning() {
        check(r#"{"optimizer": "sgd", "nesterov": true}"#, "");
        check(r#"{"optimizer": "sgd", "nesterov": true, "momentum": 0}"#, "nesterov needs");
        check(r#"{"ema": 1}"#, "ema is 1, it must be at least 0 and below 1");
        check(r#"{"word_dropout": 0.5, "token_noise": 0.5}"#, "word_dropout + token_noise is 1");
        check(r#"{"schedule": "exponential", "min_learning_rate": 0}"#, "schedule = \"exponential\" never reaches 0");
        check(r#"{"spike_factor": 1}"#, "spike_factor is 1, it must be above 1");
        check(r#"{"patience": 3}"#, "patience needs a best_metric");
        check(r#"{"patience": 3, "best_metric": "loss"}"#, "");
        check(r#"{"patience": 3, "best_metric": "loss", "eval_interval_steps": 0}"#, "patience counts tries on the valid split");
        check(r#"{"keep_last": 3, "checkpoint_interval_steps": 0}"#, "keep_last and keep_every_steps need checkpoints");
        check(r#"{"keep_every_steps": 150}"#, "keep_every_steps = 150 must be a multiple of checkpoint_interval_steps = 100");
        check(r#"{"groups": [{"pattern": "*", "freeze": true, "weight_decay": 0}]}"#, "groups: `*` is frozen, so its learning_rate_factor");
        check(r#"{"groups": [{"pattern": "*", "learning_rate_factor": -1}]}"#, "groups: learning_rate_factor and weight_decay of `*`");
        check(r#"{"adversarial": {"method": "fgm", "epsilon": 0}}"#, "adversarial: epsilon");
    }

    #[test]
    fn a_decay_within_the_gradient_is_0_unless_given() {
        let decay = |json: &str| serde_json::from_str::<Train>(json).unwrap().weight_decay();
        for (optimizer, expected) in [("adamw", 0.1), ("lion", 0.1), ("muon", 0.1), ("adam", 0.0), ("sgd", 0.0), ("adagrad", 0.0)] {
            assert_eq!(decay(&format!(r#"{{"optimizer": "{optimizer}"}}"#)), expected, "{optimizer}");
            assert_eq!(decay(&format!(r#"{{"optimizer": "{optimizer}", "weight_decay": 0.3}}"#)), 0.3, "{optimizer}");
        }
    }

    #[test]
    fn settings_of_today_stay_out_of_old_keys() {
        let settings: Train = serde_json::from_str(r#"{"steps": 1}"#).unwrap();
        let names: Vec<String> = serde_json::to_value(&settings).unwrap().as_object().unwrap().keys().cloned().collect();
        let old = [
            "model",
            "objective",
            "split",
            "valid_split",
            "steps",
            "epochs",
            "batch_size",
            "accumulate",
            "learning_rate",
            "warmup_steps",
            "schedule",
            "min_learning_rate",
            "weight_decay",
            "betas",
            "epsilon",
            "grad_clip",
            "dropout",
            "precision",
            "masked_probability",
            "eval_interval_steps",
            "eval_batches",
            "checkpoint_interval_steps",
            "network",
        ];
        assert_eq!(names, old);
    }
}
