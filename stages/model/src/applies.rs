//! Which settings of `train` do something beside certain others alone, so that none is given where it would do nothing.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{Attack, Family, LabelType, Objective, Optimizer, Schedule, Train};

/// A setting, whether it does something, and what it goes with.
type Place = (&'static str, bool, &'static str);

/// Refuses settings that do nothing beside the others.
pub(crate) fn check(train: &Train) -> Result<()> {
    refuse(train, &beside_settings(train))
}

/// Refuses settings that do nothing for the network and all that it learns, which is known where the layout of the tokens is.
pub(crate) fn check_learned(train: &Train, family: Family, learned: &[(Objective, LabelType)]) -> Result<()> {
    refuse(train, &beside_learned(family, learned))
}

fn beside_settings(train: &Train) -> [Place; 12] {
    use Optimizer::{AdaGrad, Lion, Muon, Sgd};
    let optimizer = train.optimizer;
    let averages = matches!(optimizer, Sgd | Muon);
    let ends = !matches!(train.schedule, Schedule::Constant | Schedule::Step);
    let several = train.adversarial.as_ref().is_none_or(|adversarial| adversarial.method == Attack::Pgd);
    [
        ("batch_ramp_steps", train.accumulate > 1, "accumulate above 1"),
        ("decay_steps", matches!(train.schedule, Schedule::Step | Schedule::Wsd), "schedule = \"step\" or \"wsd\""),
        ("decay_factor", train.schedule == Schedule::Step, "schedule = \"step\""),
        ("min_learning_rate", ends, "a schedule other than `constant` and `step`"),
        ("betas", !matches!(optimizer, Sgd | AdaGrad), "optimizer = \"adamw\", \"adam\", \"lion\" or \"muon\""),
        ("epsilon", !matches!(optimizer, Sgd | Lion), "optimizer = \"adamw\", \"adam\", \"adagrad\" or \"muon\""),
        ("momentum", averages, "optimizer = \"sgd\" or \"muon\""),
        ("nesterov", averages, "optimizer = \"sgd\" or \"muon\""),
        ("adversarial.steps", several, "method = \"pgd\""),
        ("adversarial.step_size", several, "method = \"pgd\""),
        ("min_improvement", train.best_metric.is_some(), "a best_metric"),
        ("prompt_tokens", !train.prompts.is_empty(), "`prompts`"),
    ]
}

fn beside_learned(family: Family, learned: &[(Objective, LabelType)]) -> [Place; 6] {
    let unknown = learned.is_empty();
    let any = |fits: fn(Objective) -> bool| learned.iter().any(|(objective, _)| fits(*objective));
    let masks = any(Objective::masks) || (unknown && family == Family::Bert);
    let denoises = any(|objective| objective == Objective::Denoise) || (unknown && family == Family::Seq2seq);
    let packed = unknown || any(|objective| matches!(objective, Objective::Causal | Objective::Masked | Objective::Denoise));
    let chooses = unknown || learned.iter().any(|(objective, labels)| *objective != Objective::Answer && *labels == LabelType::Class);
    [
        ("masking", masks, "objectives that hide tokens, `masked` and `pairs`,"),
        ("masked_probability", masks, "objectives that hide tokens, `masked` and `pairs`,"),
        ("denoise", denoises, "the objective `denoise`"),
        ("document_mask", packed, "tokens of the layout packed"),
        ("label_smoothing", chooses, "objectives that choose one of several tokens, classes or tags"),
        ("activation_checkpointing", family != Family::Rnn, "networks of blocks, which a recurrent one has none of,"),
    ]
}

/// Refuses the first setting that is not as by default and does nothing.
fn refuse(train: &Train, places: &[Place]) -> Result<()> {
    let given = serde_json::to_value(train).context("settings as JSON")?;
    // Settings of `adversarial` have defaults where it is given; where it is not, they count as doing something.
    let default: Train = serde_json::from_value(json!({"adversarial": {"method": "fgm"}})).context("default settings")?;
    let default = serde_json::to_value(default).context("settings as JSON")?;
    match places.iter().find(|(name, applies, _)| !applies && value(&given, name) != value(&default, name)) {
        Some((name, _, place)) => bail!("`{name}` does something with {place} alone; leave it out"),
        None => Ok(()),
    }
}

/// The value of a setting such as `adversarial.steps`; null where it is left out.
fn value(settings: &Value, name: &str) -> Value {
    settings.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(found: Result<()>) -> String {
        found.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn settings_that_would_do_nothing_beside_others_are_refused() {
        let error = |settings: Value| error(check(&serde_json::from_value(settings).unwrap()));
        for used in [
            json!({}),
            json!({"accumulate": 2, "batch_ramp_steps": 9, "schedule": "wsd", "decay_steps": 9, "min_learning_rate": 0}),
            json!({"schedule": "step", "decay_steps": 9, "decay_factor": 0.5, "optimizer": "sgd", "momentum": 0.5, "nesterov": true}),
            json!({"optimizer": "muon", "momentum": 0.5, "nesterov": false, "betas": [0.9, 0.9], "epsilon": 1e-6}),
            json!({"optimizer": "adagrad", "epsilon": 1e-10, "schedule": "exponential", "min_learning_rate": 1e-5}),
            json!({"optimizer": "lion", "betas": [0.9, 0.99], "best_metric": "loss", "min_improvement": 0.1}),
            json!({"adversarial": {"method": "pgd", "steps": 5, "step_size": 0.1}, "prompts": ["a"], "prompt_tokens": 9}),
            json!({"adversarial": {"method": "fgm", "epsilon": 0.5}}),
        ] {
            assert_eq!(error(used.clone()), "", "{used}");
        }
        for (idle, name) in [
            (json!({"batch_ramp_steps": 9}), "batch_ramp_steps"),
            (json!({"decay_steps": 9}), "decay_steps"),
            (json!({"schedule": "wsd", "decay_factor": 0.5}), "decay_factor"),
            (json!({"schedule": "constant", "min_learning_rate": 0}), "min_learning_rate"),
            (json!({"schedule": "step", "min_learning_rate": 0}), "min_learning_rate"),
            (json!({"optimizer": "sgd", "betas": [0.9, 0.99]}), "betas"),
            (json!({"optimizer": "adagrad", "betas": [0.9, 0.99]}), "betas"),
            (json!({"optimizer": "lion", "epsilon": 1e-6}), "epsilon"),
            (json!({"momentum": 0.5}), "momentum"),
            (json!({"optimizer": "adagrad", "nesterov": false}), "nesterov"),
            (json!({"adversarial": {"method": "fgm", "steps": 5}}), "adversarial.steps"),
            (json!({"adversarial": {"method": "fgm", "step_size": 0.1}}), "adversarial.step_size"),
            (json!({"min_improvement": 0.1}), "min_improvement"),
            (json!({"prompt_tokens": 9}), "prompt_tokens"),
        ] {
            let found = error(idle.clone());
            assert!(found.starts_with(&format!("`{name}` does something with ")), "{idle}: {found}");
        }
        let expected = "`momentum` does something with optimizer = \"sgd\" or \"muon\" alone; leave it out";
        assert_eq!(error(json!({"momentum": 0.5})), expected);
    }

    #[test]
    fn settings_that_would_do_nothing_for_what_is_learned_are_refused() {
        let error = |settings: Value, family, learned: Option<(Objective, LabelType)>| {
            error(check_learned(&serde_json::from_value(settings).unwrap(), family, learned.as_slice()))
        };
        let class = |objective| Some((objective, LabelType::Class));
        let words = || json!({"masking": "words", "masked_probability": 0.3});
        let spans = || json!({"denoise": {"mean_length": 4}});
        for (settings, family, learned) in [
            (words(), Family::Bert, class(Objective::Masked)),
            (words(), Family::Bert, class(Objective::Pairs)),
            (words(), Family::Bert, None),
            (spans(), Family::Seq2seq, class(Objective::Denoise)),
            (spans(), Family::Seq2seq, None),
            (json!({"document_mask": true, "activation_checkpointing": true}), Family::Gpt, class(Objective::Causal)),
            (json!({"label_smoothing": 0.1}), Family::Bert, class(Objective::Tag)),
            (json!({"label_smoothing": 0.1}), Family::Gpt, class(Objective::Classify)),
            (json!({"label_smoothing": 0.1}), Family::Seq2seq, class(Objective::Translate)),
        ] {
            assert_eq!(error(settings.clone(), family, learned), "", "{settings}");
        }
        for (settings, family, learned, name) in [
            (words(), Family::Gpt, class(Objective::Causal), "masking"),
            (words(), Family::Bert, class(Objective::Classify), "masking"),
            (json!({"masked_probability": 0.3}), Family::Rnn, None, "masked_probability"),
            (spans(), Family::Seq2seq, class(Objective::Translate), "denoise"),
            (spans(), Family::Gpt, None, "denoise"),
            (json!({"document_mask": true}), Family::Gpt, class(Objective::Complete), "document_mask"),
            (json!({"label_smoothing": 0.1}), Family::Bert, class(Objective::Answer), "label_smoothing"),
            (json!({"label_smoothing": 0.1}), Family::Bert, Some((Objective::Classify, LabelType::MultiLabel)), "label_smoothing"),
            (json!({"label_smoothing": 0.1}), Family::Gpt, Some((Objective::Classify, LabelType::Number)), "label_smoothing"),
            (json!({"activation_checkpointing": true}), Family::Rnn, class(Objective::Causal), "activation_checkpointing"),
            (json!({"activation_checkpointing": true}), Family::Rnn, None, "activation_checkpointing"),
        ] {
            let found = error(settings.clone(), family, learned);
            assert!(found.starts_with(&format!("`{name}` does something with ")), "{settings}: {found}");
        }
        assert_eq!(
            error(words(), Family::Gpt, class(Objective::Causal)),
            "`masking` does something with objectives that hide tokens, `masked` and `pairs`, alone; leave it out"
        );
    }
}
