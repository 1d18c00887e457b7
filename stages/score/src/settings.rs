//! The settings of `score`, and what metrics are told of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use engine::{Artifact, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::Test;
use crate::gate::{self, Gate};
use crate::metrics::bleu::{self, Smoothing, Tokenize};
use crate::metrics::{METRICS, Metric, Options, Scheme, Squad, rouge, ter};
use crate::resample::Resampling;
use crate::{stored, tasks};

/// Settings of `score`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The metrics to compute; the usual ones for the predictions unless given, which of written texts leaves out rouge, distinct, repetition,
    /// perplexity and chrf++.
    #[serde(default)]
    pub metrics: Option<Vec<String>>,
    /// The class that `precision`, `recall` and `f1` speak of; without it they are macro averages.
    #[serde(default)]
    pub positive: Option<String>,
    /// How bleu, distinct and repetition cut texts into tokens: `13a`, `zh` (for Chinese references), `intl`, `char` or `none`.
    #[serde(default)]
    pub tokenize: Tokenize,
    /// How bleu treats orders without a match: `exp`, `floor`, `add-k` or `none`.
    #[serde(default)]
    pub smoothing: SmoothingMethod,
    /// The value of `floor` (0.1 unless given) and `add-k` (1 unless given).
    #[serde(default)]
    pub smoothing_value: Option<f64>,
    /// Whether bleu, chrf, distinct and repetition compare in lower case.
    #[serde(default)]
    pub lowercase: bool,
    /// Whether bleu leaves out orders for which all texts are too short.
    #[serde(default)]
    pub effective_order: bool,
    /// How ter cuts texts: `{ normalized, no_punctuation, asian, case_sensitive }`, each false unless given.
    #[serde(default)]
    pub ter: ter::Settings,
    /// How rouge cuts texts: `latin`, as the package rouge-score, or `unicode`, which knows all scripts and takes each Han character for a token.
    #[serde(default)]
    pub segmentation: rouge::Segmentation,
    /// Whether rouge compares English stems (Porter's), as many papers do.
    #[serde(default)]
    pub stem: bool,
    /// How tags are read as entities: `conlleval` takes whatever begins where another type ends, `strict` takes the scheme at its word.
    #[serde(default)]
    pub entities: Entities,
    /// The scheme of the tags, for `entities = "strict"`: `iob1`, `iob2`, `ioe1`, `ioe2`, `iobes` or `bilou`; that of the tokens unless given.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// Whose script compares answers: that of SQuAD `2.0`, which knows questions without answer, or `1.1`.
    #[serde(default)]
    pub squad: Squad,
    /// Bins of `ece` (of equal width) and `ece-mass` (of equally many rows), and of the table `reliability`.
    #[serde(default = "default_bins")]
    pub bins: u64,
    /// How often rows are drawn again: for 95 % intervals of all scores (1000 is usual; none unless given), and for the test of other predictions.
    #[serde(default)]
    pub resamples: Option<u64>,
    /// The seed of draws, sacrebleu's unless given.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How differences from the input `against` are tested: `bootstrap` (unless given), `randomization` or `mcnemar`.
    #[serde(default)]
    pub test: Option<Test>,
    /// Columns or SQL expressions, of the predictions or of the input `documents`: every metric is computed for each value of each, too.
    #[serde(default)]
    pub slices: Vec<String>,
    /// Bounds of scores, such as `{ f1 = { min = 0.9 }, "f1[spam]" = { drop_max = 0.01 } }`: the run fails where one is not kept.
    #[serde(default)]
    pub gate: BTreeMap<String, Gate>,
    /// What the files of gates say, by gate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(skip)]
    pub stored: BTreeMap<String, f64>,
}

fn default_bins() -> u64 {
    10
}

pub fn default_seed() -> u64 {
    12345
}

/// Smoothing of BLEU, as sacrebleu names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmoothingMethod {
    /// 1 / (2^k total) for the k-th order without a match.
    #[default]
    Exp,
    /// A small count for an order without a match.
    Floor,
    /// A count added to matches and totals of all orders above 1.
    AddK,
    /// Nothing: the score is 0.
    None,
}

/// How tags are read as entities, seqeval's two modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Entities {
    /// As the script conlleval: the default of seqeval.
    #[default]
    Conlleval,
    /// Only what the scheme allows.
    Strict,
}

impl Score {
    /// Checks settings that need no predictions.
    pub fn check(&self) -> Result<()> {
        for name in self.metrics.iter().flatten() {
            if !METRICS.iter().any(|metric| metric.name == name) {
                let names = metric_names();
                bail!("unknown metric `{name}`{}; metrics: {}", suggest(name, names.iter().copied()), list(names.iter().copied()));
            }
        }
        ensure!(self.metrics.as_ref().is_none_or(|names| !names.is_empty()), "metrics is empty: leave it out to compute the usual ones");
        if self.scheme.is_some() && self.entities == Entities::Conlleval {
            bail!("scheme is for entities = \"strict\": conlleval's reading knows no scheme");
        }
        ensure!((1..=1000).contains(&self.bins), "bins is {}, it must be from 1 to 1000", self.bins);
        ensure!(self.resamples.is_none_or(|resamples| resamples > 0), "resamples is 0: leave it out for no intervals");
        gate::check(&self.gate)?;
        let names: Vec<&str> = match &self.metrics {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => metric_names(),
        };
        gate::check_names(&self.gate, &names)?;
        self.smoothing().map(|_| ())
    }

    /// Checks settings that only the task of the predictions can say of whether they fit.
    pub fn check_for(&self, task: &str) -> Result<Vec<&'static Metric>> {
        let metrics = self.metrics_for(task)?;
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
        tasks::check(self, task, &names)?;
        gate::check_names(&self.gate, &names)?;
        Ok(metrics)
    }

    /// What the files say that gates compare with.
    pub fn read_stored(&self, root: &Path) -> Result<BTreeMap<String, f64>> {
        let files = self.gate.iter().filter_map(|(name, gate)| Some((name, gate.baseline.as_ref()?)));
        let value = |(name, file): (&String, &String)| {
            let value = stored::value(&root.join(file), name).with_context(|| format!("gate of `{name}`"))?;
            Ok((name.clone(), value))
        };
        files.map(value).collect()
    }

    /// Whether rows are drawn again.
    pub fn draws(&self, against: bool) -> bool {
        self.resamples.is_some() || against && self.test != Some(Test::Mcnemar)
    }

    /// How rows are drawn for intervals, if they are.
    pub fn resampling(&self) -> Option<Resampling> {
        self.resamples.map(|resamples| Resampling { resamples: resamples as usize, seed: self.seed })
    }

    /// How rows are drawn for a test.
    pub fn resampling_of(&self, test: Test) -> Resampling {
        Resampling { resamples: self.resamples.unwrap_or(test.resamples()) as usize, seed: self.seed }
    }

    fn smoothing(&self) -> Result<Smoothing> {
        if let Some(value) = self.smoothing_value {
            ensure!(value.is_finite() && value > 0.0, "smoothing_value is {value}, it must be above 0");
        }
        Ok(match (self.smoothing, self.smoothing_value) {
            (SmoothingMethod::Floor, value) => Smoothing::Floor(value.unwrap_or(0.1)),
            (SmoothingMethod::AddK, value) => Smoothing::AddK(value.unwrap_or(1.0)),
            (SmoothingMethod::Exp, None) => Smoothing::Exp,
            (SmoothingMethod::None, None) => Smoothing::None,
            (_, Some(_)) => bail!("smoothing_value is only for the smoothing `floor` and `add-k`"),
        })
    }

    /// The metrics asked for, in the order of the list, or the usual ones for the task.
    pub fn metrics_for(&self, task: &str) -> Result<Vec<&'static Metric>> {
        let applying: Vec<&Metric> = METRICS.iter().filter(|metric| metric.start.task() == task).collect();
        ensure!(!applying.is_empty(), "no metric is for predictions of the task `{task}`");
        let Some(names) = &self.metrics else { return Ok(applying.into_iter().filter(|metric| metric.default).collect()) };
        for name in names {
            if !applying.iter().any(|metric| metric.name == name) {
                let names = list(applying.iter().map(|metric| metric.name));
                bail!("metric `{name}` does not apply to predictions of the task `{task}`; metrics that do: {names}");
            }
        }
        Ok(applying.into_iter().filter(|metric| names.iter().any(|name| name == metric.name)).collect())
    }

    /// What metrics must know of the settings and the predictions.
    pub fn options(&self, task: &str, predictions: &Artifact) -> Result<Options> {
        let mut options = Options {
            bleu: bleu::Settings {
                tokenize: self.tokenize,
                smoothing: self.smoothing()?,
                lowercase: self.lowercase,
                effective_order: self.effective_order,
            },
            squad: self.squad,
            bins: self.bins as usize,
            ter: self.ter,
            rouge: rouge::Settings { segmentation: self.segmentation, stem: self.stem },
            ..Options::default()
        };
        if matches!(task, "classify" | "multi-label" | "tag") {
            options.classes = predictions.fact("classes")?;
        }
        if let Some(positive) = &self.positive {
            let index = options.classes.iter().position(|class| class == positive);
            options.positive = Some(index.with_context(|| {
                let names = || options.classes.iter().map(String::as_str);
                format!("positive: no class is `{positive}`{}; classes: {}", suggest(positive, names()), list(names()))
            })?);
        }
        if task == "tag" && self.entities == Entities::Strict {
            let unknown = || "the tokens name no scheme of their tags; set scheme";
            options.strict = Some(self.scheme.map_or_else(|| predictions.fact("scheme").with_context(unknown), Ok)?);
        }
        Ok(options)
    }
}

/// All metrics, each name once.
fn metric_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for metric in METRICS {
        if !names.contains(&metric.name) {
            names.push(metric.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(settings: Value, expected: Expect) {
        let score: Score = serde_json::from_value(settings).unwrap();
        expected.assert_eq(&score.check().unwrap_err().to_string().replace("; metrics: `acc", "\n`acc"));
    }

    #[test]
    fn wrong_settings_are_refused_before_any_step_runs() {
        check(
            json!({"metrics": ["acuracy"]}),
            expect![[r#"
                unknown metric `acuracy`, did you mean `accuracy`?
                `accuracy`, `balanced-accuracy`, `precision`, `recall`, `f1`, `subset-accuracy`, `hamming-loss`, `mcc`, `kappa`, `roc-auc`, `average-precision`, `log-loss`, `brier`, `ece`, `ece-mass`, `selection-rate`, `selective-accuracy`, `pearson`, `spearman`, `mse`, `mae`, `exact-match`, `bleu`, `chrf`, `chrf++`, `ter`, `rouge-1`, `rouge-2`, `rouge-l`, `rouge-lsum`, `distinct-1`, `distinct-2`, `distinct-3`, `distinct-4`, `repetition-1`, `repetition-2`, `repetition-3`, `repetition-4`, `perplexity`, `bits-per-byte`, `byte-perplexity`, `word-perplexity`, `bits-per-word`, `token-accuracy`, `acc`, `acc-norm`, `acc-bytes`, `acc-mutual-info`, `crows-pairs`, `stereoset`"#]],
        );
        check(json!({"metrics": []}), expect!["metrics is empty: leave it out to compute the usual ones"]);
        check(json!({"smoothing": "floor", "smoothing_value": -1}), expect!["smoothing_value is -1, it must be above 0"]);
        check(json!({"smoothing_value": 1}), expect!["smoothing_value is only for the smoothing `floor` and `add-k`"]);
        check(
            json!({"metrics": ["f1"], "gate": {"acuracy": {"min": 0.5}}}),
            expect!["gate: no metric gives a score `acuracy`; metrics: `f1`"],
        );
        check(json!({"scheme": "iob2"}), expect![[r#"scheme is for entities = "strict": conlleval's reading knows no scheme"#]]);
    }

    #[test]
    fn the_defaults_are_those_of_sacrebleu() {
        let score: Score = serde_json::from_value(json!({})).unwrap();
        score.check().unwrap();
        assert_eq!((score.tokenize, score.smoothing().unwrap(), score.lowercase), (Tokenize::V13a, Smoothing::Exp, false));
    }
}
