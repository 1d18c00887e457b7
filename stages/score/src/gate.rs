//! Gates: bounds that scores must keep. A failed one fails the run with an exit code of its own, after the scores are stored.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use engine::{list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::Score;

/// The fact that names failed gates; the engine fails a run whose artifact has it.
pub const FAILED: &str = engine::run::FAILED_GATES;

/// The bounds of one score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// How far it may be below that of the predictions on the input `against`.
    pub drop_max: Option<f64>,
    /// How far it may be above that of the predictions on the input `against`: for losses.
    pub rise_max: Option<f64>,
    /// A file of scores that drop_max and rise_max compare with in place of the input `against`: Parquet of a step `score`, or its rows as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
}

impl Gate {
    fn bounds(&self) -> [Option<f64>; 4] {
        [self.min, self.max, self.drop_max, self.rise_max]
    }

    pub fn needs_against(&self) -> bool {
        self.compares() && self.baseline.is_none()
    }

    fn compares(&self) -> bool {
        self.drop_max.or(self.rise_max).is_some()
    }

    /// What is wrong, if anything is.
    fn fails(&self, value: &Result<f64, String>, against: Option<&Result<f64, String>>) -> Option<String> {
        let value = match value {
            Ok(value) => *value,
            Err(reason) => return Some(format!("undefined ({reason})")),
        };
        let against = match against {
            Some(Ok(against)) => *against,
            Some(Err(reason)) if self.compares() => return Some(format!("{value}, undefined for the other predictions ({reason})")),
            _ => f64::NAN,
        };
        // NaN fails no comparison that is written this way.
        let below = |bound: f64, what: String| (value < bound).then(|| format!("{value}, {what}"));
        let above = |bound: f64, what: String| (value > bound).then(|| format!("{value}, {what}"));
        self.min
            .and_then(|min| below(min, format!("must be at least {min}")))
            .or_else(|| self.max.and_then(|max| above(max, format!("must be at most {max}"))))
            .or_else(|| self.drop_max.and_then(|drop| below(against - drop, format!("must be at least {against} - {drop}"))))
            .or_else(|| self.rise_max.and_then(|rise| above(against + rise, format!("must be at most {against} + {rise}"))))
    }
}

/// Refuses gates that bound nothing.
pub fn check(gates: &BTreeMap<String, Gate>) -> Result<()> {
    for (name, gate) in gates {
        let bounds = gate.bounds();
        ensure!(bounds.iter().any(Option::is_some), "gate of `{name}`: set min, max, drop_max or rise_max");
        ensure!(bounds.iter().flatten().all(|bound| bound.is_finite()), "gate of `{name}`: bounds must be finite numbers");
        ensure!(
            [gate.drop_max, gate.rise_max].iter().flatten().all(|bound| *bound >= 0.0),
            "gate of `{name}`: drop_max and rise_max must be at least 0"
        );
        ensure!(gate.baseline.is_none() || gate.compares(), "gate of `{name}`: baseline is for drop_max and rise_max; set one of them");
    }
    Ok(())
}

/// Refuses gates of scores that no metric gives: scores begin with the names of their metrics.
pub fn check_names(gates: &BTreeMap<String, Gate>, metrics: &[&str]) -> Result<()> {
    for gate in gates.keys() {
        let score = gate.split_once('[').map_or(gate.as_str(), |(score, _)| score);
        let gives = |metric: &&str| score.strip_prefix(metric).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !metrics.iter().any(gives) {
            let names = || metrics.iter().copied();
            bail!("gate: no metric gives a score `{gate}`{}; metrics: {}", suggest(gate, names()), list(names()));
        }
    }
    Ok(())
}

/// How a gate names a score: as in the table, that of a class as `f1[spam]`.
pub fn name(metric: &str, class: Option<&str>) -> String {
    class.map_or_else(|| metric.to_owned(), |class| format!("{metric}[{class}]"))
}

/// The gates that scores fail, as sentences; `stored` is what their files say, by gate.
pub fn failed(
    gates: &BTreeMap<String, Gate>,
    stored: &BTreeMap<String, f64>,
    scores: &[&Score],
    against: Option<&[&Result<f64, String>]>,
) -> Result<Vec<String>> {
    let names: Vec<String> = scores.iter().map(|score| name(&score.metric, score.class.as_deref())).collect();
    let mut failed = Vec::new();
    for (gate, bounds) in gates {
        let Some(place) = names.iter().position(|name| name == gate) else {
            let names = || names.iter().map(String::as_str);
            bail!("gate: there is no score `{gate}`{}; scores: {}", suggest(gate, names()), list(names()));
        };
        let file = bounds.baseline.as_ref().map(|file| stored.get(gate).copied().ok_or_else(|| format!("`{file}` was not read")));
        let other = file.as_ref().or_else(|| against.map(|values| values[place]));
        failed.extend(bounds.fails(&scores[place].value, other).map(|what| match &bounds.baseline {
            Some(file) => format!("{gate} is {what} (`{file}`)"),
            None => format!("{gate} is {what}"),
        }));
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_gate(gate: Gate, value: Result<f64, &str>, against: Option<f64>, expected: &str) {
        let score = |value: Result<f64, &str>| Score {
            metric: "f1".into(),
            class: Some("spam".into()),
            value: value.map_err(str::to_owned),
            count: 1,
            signature: String::new(),
        };
        let (ours, theirs) = (score(value), against.map(Ok));
        let theirs = theirs.as_ref().map(|theirs| vec![theirs]);
        let stored = BTreeMap::from([("f1[spam]".to_owned(), 0.875)]);
        let failed = failed(&BTreeMap::from([("f1[spam]".to_owned(), gate)]), &stored, &[&ours], theirs.as_deref()).unwrap();
        assert_eq!(failed.join("; "), expected);
    }

    #[test]
    fn a_stored_score_stands_for_other_predictions() {
        let gate = Gate { drop_max: Some(0.125), baseline: Some("old.json".into()), ..Gate::default() };
        assert!(!gate.needs_against());
        check_gate(gate.clone(), Ok(0.75), Some(1.0), "");
        check_gate(gate, Ok(0.5), None, "f1[spam] is 0.5, must be at least 0.875 - 0.125 (`old.json`)");
        let alone = Gate { min: Some(0.5), baseline: Some("old.json".into()), ..Gate::default() };
        let error = check(&BTreeMap::from([("f1".to_owned(), alone)])).unwrap_err().to_string();
        assert_eq!(error, "gate of `f1`: baseline is for drop_max and rise_max; set one of them");
    }

    #[test]
    fn gates_are_of_scores_that_metrics_give() {
        let check = |gate: &str| check_names(&BTreeMap::from([(gate.to_owned(), Gate::default())]), &["f1", "chrf++", "roc-auc"]);
        for gate in ["f1", "f1[a [b]]", "f1-macro", "chrf++", "roc-auc-ovo-macro"] {
            check(gate).unwrap();
        }
        assert_eq!(check("f2[a]").unwrap_err().to_string(), "gate: no metric gives a score `f2[a]`; metrics: `f1`, `chrf++`, `roc-auc`");
        assert!(check("chrf").unwrap_err().to_string().contains("did you mean `chrf++`?"));
    }

    #[test]
    fn bounds_hold_or_say_what_is_wrong() {
        let gate = Gate { min: Some(0.9), max: Some(0.95), ..Gate::default() };
        check_gate(gate.clone(), Ok(0.9), None, "");
        check_gate(gate.clone(), Ok(0.5), None, "f1[spam] is 0.5, must be at least 0.9");
        check_gate(gate.clone(), Ok(1.0), None, "f1[spam] is 1, must be at most 0.95");
        check_gate(gate, Err("there are no rows"), None, "f1[spam] is undefined (there are no rows)");
        let gate = Gate { drop_max: Some(0.25), ..Gate::default() };
        check_gate(gate.clone(), Ok(0.5), Some(0.75), "");
        check_gate(gate.clone(), Ok(0.25), Some(0.75), "f1[spam] is 0.25, must be at least 0.75 - 0.25");
        check_gate(Gate { rise_max: Some(0.0), ..gate.clone() }, Ok(0.8), Some(0.75), "f1[spam] is 0.8, must be at most 0.75 + 0");
        assert_eq!(
            failed(&BTreeMap::from([("f2".to_owned(), gate)]), &BTreeMap::new(), &[], None).unwrap_err().to_string(),
            "gate: there is no score `f2`; scores: none"
        );
    }
}
