//! What is known of the predictions while planning, and which settings are for which of them, so that none is given where it would do nothing.

use anyhow::{Context as _, Result, bail};
use engine::{Site, list};
use serde_json::{Value, json};

use crate::metrics::METRICS;
use crate::settings::Score;

/// Settings with the tasks that use them and, where only some metrics of a task do, what these begin with. The others are for all.
const OF_TASKS: [(&str, &[&str], &[&str]); 12] = [
    ("positive", &["classify", "multi-label"], &[]),
    ("tokenize", &["complete"], &["bleu", "distinct", "repetition"]),
    ("smoothing", &["complete"], &["bleu"]),
    ("smoothing_value", &["complete"], &["bleu"]),
    ("lowercase", &["complete"], &["bleu", "chrf", "distinct", "repetition"]),
    ("effective_order", &["complete"], &["bleu"]),
    ("ter", &["complete"], &["ter"]),
    ("segmentation", &["complete"], &["rouge"]),
    ("stem", &["complete"], &["rouge"]),
    ("entities", &["tag"], &[]),
    ("squad", &["answer"], &[]),
    ("bins", &["classify"], &[]),
];

/// Refuses settings that no metric of the task has a use for, as far as they are not the defaults.
pub fn check(settings: &Score, task: &str, metrics: &[&str]) -> Result<()> {
    let given = serde_json::to_value(settings).context("settings as JSON")?;
    let default: Score = serde_json::from_value(json!({})).context("default settings")?;
    let default = serde_json::to_value(default).context("settings as JSON")?;
    for (name, tasks, uses) in OF_TASKS.iter().filter(|(name, ..)| given[name] != default[name]) {
        if !tasks.contains(&task) {
            bail!("{name} is only for predictions of the task {}, these are of `{task}`", list(tasks.iter().copied()));
        }
        if !uses.is_empty() && !metrics.iter().any(|metric| uses.iter().any(|start| metric.starts_with(start))) {
            bail!("{name} is only for metrics that begin with {}, and none is computed; name one in metrics", list(uses.iter().copied()));
        }
    }
    Ok(())
}

/// The task of the predictions, as far as the steps above tell it.
pub fn planned(site: &Site) -> Option<&'static str> {
    let step = site.upstream("predictions")?;
    match step.stage.as_str() {
        "evaluate" => return of_output(&step.settings),
        "import-predictions" => return METRICS.iter().map(|metric| metric.start.task()).find(|task| step.settings["task"] == *task),
        _ => {}
    }
    let (_, steps) = step.inputs.iter().find(|(port, _)| port == "tokens")?;
    // What `fetch` and `import-tokens` bring shows when it is there.
    site.step(steps.first()?).filter(|tokens| tokens.stage == "tokenize").and_then(|tokens| of_tokens(&tokens.settings))
}

/// Of what `evaluate` asks.
fn of_output(settings: &Value) -> Option<&'static str> {
    Some(match settings["output"].as_str()? {
        "multiple-choice" => "choose",
        "generate" => "complete",
        "rolling" => "language-modelling",
        "contrast" => "contrast",
        _ => return None,
    })
}

/// Of what `predict` and `baseline` say of tokens.
fn of_tokens(settings: &Value) -> Option<&'static str> {
    Some(match (settings["layout"].as_str()?, settings["label_type"].as_str()) {
        ("packed", _) => "language-modelling",
        ("classify", Some("number")) => "number",
        ("classify", Some("multi-label")) => "multi-label",
        ("classify" | "pairs", _) => "classify",
        ("tag", _) => "tag",
        ("answer", _) => "answer",
        ("complete" | "translate", _) => "complete",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_other_tasks_and_metrics_are_refused() {
        let check = |settings: Value, task: &str, metrics: &[&str], expected: &str| {
            let settings: Score = serde_json::from_value(settings).unwrap();
            let found = check(&settings, task, metrics).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(found, expected);
        };
        check(json!({"tokenize": "zh", "lowercase": true, "resamples": 10}), "complete", &["bleu"], "");
        check(json!({"tokenize": "13a", "bins": 10}), "tag", &["f1"], "");
        check(json!({"positive": "a", "bins": 20}), "classify", &["f1"], "");
        let tag = "bins is only for predictions of the task `classify`, these are of `tag`";
        check(json!({"bins": 20}), "tag", &["f1"], tag);
        let number = "positive is only for predictions of the task `classify`, `multi-label`, these are of `number`";
        check(json!({"positive": "a"}), "number", &["mse"], number);
        let stem = "stem is only for metrics that begin with `rouge`, and none is computed; name one in metrics";
        check(json!({"stem": true}), "complete", &["bleu", "chrf"], stem);
    }

    /// A new setting must be put into the table, or here; metrics are those there are.
    #[test]
    fn every_setting_has_its_tasks() {
        let schema = serde_json::to_value(schemars::schema_for!(Score)).unwrap();
        let names = schema["properties"].as_object().unwrap().keys();
        let mut other: Vec<&String> = names.filter(|name| !OF_TASKS.iter().any(|(known, ..)| known == name)).collect();
        other.sort();
        // `scheme` is checked beside `entities`, `seed` beside what draws.
        assert_eq!(other, ["gate", "metrics", "resamples", "scheme", "seed", "slices", "test"]);
        for (name, tasks, uses) in OF_TASKS {
            let any = |task: &str, start: &str| METRICS.iter().any(|metric| metric.start.task() == task && metric.name.starts_with(start));
            assert!(tasks.iter().copied().all(|task| any(task, "")), "{name}");
            assert!(uses.iter().copied().all(|start| any(tasks[0], start)), "{name}");
        }
    }

    #[test]
    fn steps_above_tell_the_task() {
        let outputs = ["multiple-choice", "generate", "rolling", "contrast"];
        assert_eq!(
            outputs.map(|output| of_output(&json!({"output": output})).unwrap()),
            ["choose", "complete", "language-modelling", "contrast"]
        );
        let of = |layout: &str, label_type: &str| of_tokens(&json!({"layout": layout, "label_type": label_type})).unwrap();
        assert_eq!([of("packed", "class"), of("pairs", "class"), of("translate", "class")], ["language-modelling", "classify", "complete"]);
        assert_eq!(["class", "multi-label", "number"].map(|kind| of("classify", kind)), ["classify", "multi-label", "number"]);
        assert_eq!((of_tokens(&json!({})), of_output(&json!({"output": null}))), (None, None));
        for layout in ["packed", "classify", "pairs", "tag", "answer", "complete", "translate"] {
            assert!(METRICS.iter().any(|metric| metric.start.task() == of(layout, "class")), "{layout}");
        }
    }
}
