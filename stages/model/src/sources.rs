//! What `train` reads: sources and their weights, how rows are shuffled, what is masked, and whether the tokens fit the network.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use engine::{Site, StepView, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::check_layout;
use crate::fitting::Kind;
use crate::objective_for;
use crate::train::NetworkLimits;
use crate::{Family, Objective, Style, Train, applies};

/// Weights from a step on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// Optimizer steps before the weights hold; give either this or from_share.
    #[serde(default)]
    pub from_step: Option<u64>,
    /// Share of all steps before the weights hold, 0 to 1.
    #[serde(default)]
    pub from_share: Option<f64>,
    /// Weights of the sources; those that are not named are left out.
    pub weights: BTreeMap<String, f64>,
}

/// How far rows are shuffled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shuffle {
    /// Over all rows.
    #[default]
    Rows,
    /// Blocks of about 1 MiB over all of them, rows within 64 such blocks.
    Blocks,
}

/// What is hidden together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Masking {
    /// Each token by itself (BERT).
    #[default]
    Tokens,
    /// All tokens of a word (BERT's whole word masking).
    Words,
    /// Spans of words of a geometric length, at most 10 (SpanBERT).
    Spans,
}

impl Train {
    /// Notes the sources when weights speak of them, and refuses weights of others.
    pub(crate) fn name_sources(&mut self, connected: &[String]) -> Result<()> {
        self.sources.clear();
        let all = || std::iter::once(("weights", &self.weights)).chain(self.curriculum.iter().map(|phase| ("curriculum", &phase.weights)));
        if all().all(|(_, weights)| weights.is_empty()) && self.curriculum.is_empty() {
            return Ok(());
        }
        for (setting, weights) in all() {
            if let Some(unknown) = weights.keys().find(|name| !connected.contains(name)) {
                let names = || connected.iter().map(String::as_str);
                bail!(
                    "`{setting}`: step `{unknown}` is not on the input `tokens`{}; steps there: {}",
                    suggest(unknown, names()),
                    list(names())
                );
            }
            let wrong = weights.iter().find(|(_, weight)| !weight.is_finite() || **weight < 0.0);
            if let Some((name, weight)) = wrong {
                bail!("`{setting}`: `{name}` is {weight}: weights are numbers from 0 on");
            }
            if (setting == "curriculum" || !weights.is_empty()) && weights.values().all(|weight| *weight == 0.0) {
                bail!("`{setting}`: all weights are 0: nothing would be left");
            }
        }
        for phase in &self.curriculum {
            match (phase.from_step, phase.from_share) {
                (Some(_), None) => {}
                (None, Some(share)) if (0.0..1.0).contains(&share) => {}
                _ => bail!("`curriculum`: give either `from_step` or `from_share` (from 0 on and below 1) for each phase"),
            }
        }
        self.check_phases(self.steps)?;
        let first = self.curriculum.first().map(|phase| phase.from_step == Some(0) || phase.from_share == Some(0.0));
        if self.weights.is_empty() && first != Some(true) {
            bail!("`curriculum` does not say what comes first: give `weights`, or `from_step = 0` for the first phase");
        }
        if let Some(idle) = connected.iter().find(|name| !all().any(|(_, weights)| weights.contains_key(*name))) {
            bail!("`weights`: step `{idle}` is on the input `tokens` and has no weight: give it one, 0 to leave it out");
        }
        self.sources = connected.to_vec();
        Ok(())
    }

    /// Refuses phases that do not follow one another or begin after the end, as far as it is known; `steps` where their number is.
    pub(crate) fn check_phases(&self, steps: Option<u64>) -> Result<()> {
        let mut before = (!self.weights.is_empty()).then_some((Some(0), Some(0.0)));
        for phase in &self.curriculum {
            let begin = (phase.begin(steps), phase.from_share);
            let name = match (phase.from_step, phase.from_share) {
                (None, Some(share)) => format!("from_share = {share}"),
                (step, _) => format!("from_step = {}", step.unwrap_or_default()),
            };
            let follows = match (before, begin) {
                (Some((Some(before), _)), (Some(step), _)) => before < step,
                (Some((_, Some(before))), (_, Some(share))) => before < share,
                _ => true,
            };
            if !follows {
                let of = steps.map(|steps| format!(", of {steps} steps in all")).unwrap_or_default();
                bail!("`curriculum`: the phase with {name} does not begin after the one before it{of}; give phases in their order");
            }
            if let (Some(step), Some(steps)) = (phase.from_step, steps)
                && step >= steps
            {
                bail!("`curriculum`: the phase with {name} never begins, the training has {steps} steps; give a smaller from_step");
            }
            before = Some(begin);
        }
        Ok(())
    }

    /// Refuses what a family cannot learn from tokens of these kinds, by the steps that make them, and settings that do nothing for any of them.
    fn check_learned(&self, family: Family, kinds: &[(&str, Kind)]) -> Result<()> {
        let mut learned = Vec::new();
        for (step, kind) in kinds {
            let objective = objective_for(self.objective, family, kind.layout).map_err(|error| anyhow!("step `{step}`: {error}"))?;
            if objective == Objective::Pairs && self.network.as_ref().and_then(|network| network.style) == Some(Style::Modernbert) {
                bail!("ModernBERT has no head for pairs of segments, as step `{step}` makes them; take style = \"bert\"");
            }
            self.check_best_metric(objective, kind.labels())?;
            learned.push((objective, kind.labels()));
        }
        self.check_prompts(family, learned.iter().all(|(objective, _)| matches!(objective, Objective::Causal | Objective::Complete)))?;
        applies::check_learned(self, family, &learned)
    }

    /// Refuses splits that no tokens are of, as far as that is known; `splits` are those of all tokens.
    fn check_splits(&self, splits: &BTreeSet<String>) -> Result<()> {
        let judged = !self.word_similarity.is_empty() || !self.word_analogies.is_empty();
        for (what, given, setting, split) in [
            ("the training", true, "split", &self.split),
            ("best_metric", self.best_metric.is_some(), "valid_split", &self.valid_split),
            ("valid_split", self.names_valid_split(), "valid_split", &self.valid_split),
            ("word_similarity or word_analogies", judged, "valid_split", &self.valid_split),
        ] {
            if given && !splits.contains(split) {
                let known = list(splits.iter().map(String::as_str));
                bail!("{what} needs rows in the split `{split}`, and the tokens have {known}; set `{setting}`, or `split` the documents");
            }
        }
        Ok(())
    }
}

impl Curriculum {
    /// Steps before the phase; `None` where it is a share of an unknown number.
    pub(crate) fn begin(&self, steps: Option<u64>) -> Option<u64> {
        self.from_step.or_else(|| Some((self.from_share.unwrap_or(0.0) * steps? as f64).round() as u64))
    }
}

/// Refuses tokens that the network cannot take, a best_metric that they do not have, and a tokenizer that is not the one they were made with.
pub(crate) fn fitting_tokens(site: &Site, train: &Train) -> Result<()> {
    readable_tokens(site)?;
    let network = train.network.as_ref();
    let tokens = site.upstreams("tokens");
    let kinds: Vec<(&str, Kind)> = tokens.iter().filter_map(|step| Some((step.name.as_str(), Kind::of(&step.settings)?))).collect();
    if let Some((first, kind)) = kinds.first().filter(|_| !train.multi_task)
        && let Some((other, found)) = kinds.iter().find(|(_, other)| other != kind)
    {
        bail!(
            "step `{first}` makes tokens with {kind}, step `{other}` with {found}; one model learns from one kind, or with multi_task = true each by a head of its own"
        );
    }
    if let Some(family) = train.family() {
        train.check_learned(family, &kinds)?;
    }
    let splits: Option<Vec<BTreeSet<String>>> = tokens.iter().map(|step| origins::splits(site, step)).collect();
    splits.map_or(Ok(()), |splits| train.check_splits(&splits.into_iter().flatten().collect()))?;
    let Some(tokenizer) = site.upstream("tokenizer") else { return Ok(()) };
    let mut used = Vec::new();
    for step in tokens.iter().copied().chain(site.upstream("model")) {
        let tokenizers = step.inputs.iter().filter(|(port, _)| port == "tokenizer").flat_map(|(_, steps)| steps);
        used.extend(tokenizers.map(|tokenizer| (step.name.as_str(), tokenizer.as_str())));
    }
    one_tokenizer(&used, &tokenizer.name)?;
    let Some(network) = network else { return Ok(()) };
    tokens.into_iter().try_for_each(|tokens| fitting_rows(tokens, network))
}

/// Refuses other tokenizers than this step's; `used` are steps with the tokenizers that they used.
fn one_tokenizer(used: &[(&str, &str)], own: &str) -> Result<()> {
    let Some((step, tokenizer)) = used.first() else { return Ok(()) };
    if let Some((other, another)) = used.iter().find(|(_, another)| another != tokenizer) {
        bail!(
            "step `{step}` used the tokenizer of step `{tokenizer}`, step `{other}` that of `{another}`; one model learns the ids of one tokenizer: give both the same"
        );
    }
    if *tokenizer != own {
        bail!(
            "step `{step}` used the tokenizer of step `{tokenizer}`, this step has that of `{own}`; add inputs = {{ tokenizer = \"{tokenizer}\" }}"
        );
    }
    Ok(())
}

/// Refuses tokens of a layout that is only written so far, and shards that cannot be mapped into memory.
pub(crate) fn readable_tokens(site: &Site) -> Result<()> {
    site.upstreams("tokens").into_iter().try_for_each(|step| {
        if step.settings["format"] == "parquet" {
            bail!(
                "step `{}` writes Parquet shards, which only SQL and other tools read; tokenize with format = \"arrow\" for this step",
                step.name
            );
        }
        Kind::of(&step.settings).map_or(Ok(()), |kind| check_layout(&step.name, kind.layout))
    })
}

/// Refuses tokens of another kind than those that the model was trained on.
pub(crate) fn trained_tokens(site: &Site) -> Result<()> {
    let (Some(model), Some(tokens)) = (site.upstream("model"), site.upstream("tokens")) else { return Ok(()) };
    let learned = model.inputs.iter().filter(|(port, _)| port == "tokens").flat_map(|(_, steps)| steps);
    let learned: Option<Vec<Kind>> = learned.filter_map(|name| site.step(name)).map(|step| Kind::of(&step.settings)).collect();
    let (Some(kind), Some(learned)) = (Kind::of(&tokens.settings), learned) else { return Ok(()) };
    if kind.layout == "packed" && model.settings["network"]["family"] == "seq2seq" {
        bail!(
            "the model of step `{}` is of the family seq2seq and gives no likelihood of packed rows; predict tokens of the layout translate",
            model.name
        );
    }
    if let Some(trained) = learned.first().filter(|_| !learned.iter().any(|trained| kind.suits(trained))) {
        bail!("step `{}` learned from tokens with {trained} and cannot predict those of step `{}` with {kind}", model.name, tokens.name);
    }
    Ok(())
}

/// Tokens of the longest row that a step makes, of either side.
pub(crate) fn longest(tokens: &StepView) -> Option<i64> {
    ["sequence_length", "target_length"].iter().filter_map(|setting| tokens.settings[*setting].as_i64()).max()
}

fn fitting_rows(tokens: &StepView, NetworkLimits { family, positions, .. }: &NetworkLimits) -> Result<()> {
    let rows = longest(tokens);
    if rows.is_some_and(|rows| rows > *positions) {
        bail!(
            "the rows of step `{}` have {} tokens, the model takes at most {positions}; tokenize with a shorter sequence_length or build the model with more `positions`",
            tokens.name,
            rows.unwrap_or_default()
        );
    }
    let wanted = family.reads();
    if tokens.settings["model"].as_str().is_some_and(|made_for| !wanted.contains(&made_for)) {
        bail!(
            "step `{}` made tokens with model = {}, a model of the family {} needs model = \"{}\"",
            tokens.name,
            tokens.settings["model"],
            family.name(),
            wanted.join("\" or \"")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let mut settings: Train = serde_json::from_str(json).unwrap();
        let found = settings.name_sources(&["web".into(), "books".into()]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{json}: {found}");
        assert_eq!(settings.sources.is_empty(), !expected.is_empty() || json == "{}");
    }

    #[test]
    fn wrong_weights_are_refused_while_planning() {
        check("{}", "");
        check(r#"{"weights": {"web": 0.7, "books": 0.3}}"#, "");
        check(r#"{"weights": {"web": 1}, "curriculum": [{"from_share": 0.9, "weights": {"books": 1}}]}"#, "");
        check(r#"{"curriculum": [{"from_step": 0, "weights": {"web": 1}}, {"from_step": 9, "weights": {"books": 1}}]}"#, "");
        check(r#"{"weights": {"web": 1, "books": 0}}"#, "");
        check(r#"{"weights": {"web": 1}}"#, "`weights`: step `books` is on the input `tokens` and has no weight");
        check(r#"{"weights": {"wob": 1}}"#, "`weights`: step `wob` is not on the input `tokens`, did you mean `web`?; steps there: ");
        check(r#"{"weights": {"web": -1}}"#, "`weights`: `web` is -1: weights are numbers from 0 on");
        check(r#"{"weights": {"web": 0}}"#, "`weights`: all weights are 0");
        check(r#"{"curriculum": [{"from_share": 0.5, "weights": {"web": 1}}]}"#, "`curriculum` does not say what comes first");
        check(r#"{"weights": {"web": 1}, "curriculum": [{"weights": {"web": 1}}]}"#, "`curriculum`: give either `from_step` or");
        check(r#"{"weights": {"web": 1}, "curriculum": [{"from_step": 5, "weights": {}}]}"#, "`curriculum`: all weights are 0");
    }

    #[test]
    fn phases_follow_one_another_and_begin_before_the_end() {
        let phases = |steps: &str, weights: &str, phases: [&str; 2]| {
            let phases = phases.map(|phase| format!(r#"{{{phase}, "weights": {{"books": 1, "web": 0}}}}"#)).join(", ");
            format!(r#"{{{steps}, "weights": {weights}, "curriculum": [{phases}]}}"#)
        };
        let web = r#"{"web": 1}"#;
        check(&phases(r#""epochs": 1"#, web, [r#""from_share": 0.2"#, r#""from_share": 0.5"#]), "");
        check(&phases(r#""epochs": 1"#, web, [r#""from_share": 0.2"#, r#""from_step": 5"#]), "");
        let late = "`curriculum`: the phase with from_share = 0.2 does not begin after the one before it";
        check(&phases(r#""epochs": 1"#, web, [r#""from_share": 0.5"#, r#""from_share": 0.2"#]), late);
        check(&phases(r#""steps": 10"#, web, [r#""from_step": 5"#, r#""from_share": 0.2"#]), late);
        let late = "`curriculum`: the phase with from_step = 4 does not begin after the one before it";
        check(&phases(r#""epochs": 1"#, web, [r#""from_step": 5"#, r#""from_step": 4"#]), late);
        let first = "`curriculum`: the phase with from_step = 0 does not begin after the one before it";
        check(&phases(r#""epochs": 1"#, web, [r#""from_step": 0"#, r#""from_step": 4"#]), first);
        check(&phases(r#""epochs": 1"#, "{}", [r#""from_step": 0"#, r#""from_step": 4"#]), "");
        let never = "`curriculum`: the phase with from_step = 10 never begins, the training has 10 steps";
        check(&phases(r#""steps": 10"#, web, [r#""from_step": 5"#, r#""from_step": 10"#]), never);
    }

    #[test]
    fn what_cannot_be_learned_from_tokens_is_refused() {
        let check = |json: &str, style: Option<Style>, family: Family, layout: &str| {
            let mut train: Train = serde_json::from_str(json).unwrap();
            train.network = Some(NetworkLimits { family, positions: 8, style });
            train.check_learned(family, &[("x", Kind { layout, label_type: "" })]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check("{}", Some(Style::Bert), Family::Bert, "pairs"), "");
        assert_eq!(check("{}", Some(Style::Modernbert), Family::Bert, "tag"), "");
        let pairs = check("{}", Some(Style::Modernbert), Family::Bert, "pairs");
        assert_eq!(pairs, "ModernBERT has no head for pairs of segments, as step `x` makes them; take style = \"bert\"");
        let prompts = r#"{"prompts": ["a"]}"#;
        assert_eq!(check(prompts, None, Family::Gpt, "complete"), "");
        assert!(check(prompts, None, Family::Gpt, "classify").starts_with("prompts need a model that predicts the next token"));
        assert!(check(r#"{"best_metric": "f1"}"#, None, Family::Gpt, "packed").starts_with("best_metric = \"f1\""));
        assert!(check(r#"{"masking": "words"}"#, None, Family::Gpt, "packed").starts_with("`masking` does something with"));
        assert!(check("{}", None, Family::Gpt, "pairs").starts_with("step `x`: tokens of the layout pairs need"));
    }

    #[test]
    fn splits_that_the_tokens_lack_are_refused() {
        let check = |json: &str| {
            let train: Train = serde_json::from_str(json).unwrap();
            let splits = BTreeSet::from(["dev".to_string(), "train".to_string()]);
            train.check_splits(&splits).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check("{}"), "");
        assert_eq!(check(r#"{"best_metric": "loss", "valid_split": "dev"}"#), "");
        assert_eq!(
            check(r#"{"best_metric": "loss"}"#),
            "best_metric needs rows in the split `valid`, and the tokens have `dev`, `train`; set `valid_split`, or `split` the documents"
        );
        assert_eq!(check(r#"{"valid_split": "dev"}"#), "");
        assert_eq!(
            check(r#"{"valid_split": "vald"}"#),
            "valid_split needs rows in the split `vald`, and the tokens have `dev`, `train`; set `valid_split`, or `split` the documents"
        );
        assert!(check(r#"{"split": "trian"}"#).starts_with("the training needs rows in the split `trian`"));
        assert!(check(r#"{"word_analogies": ["x"]}"#).starts_with("word_similarity or word_analogies needs rows in the split `valid`"));
    }

    #[test]
    fn tokens_of_two_tokenizers_are_said_to_differ() {
        let error = |used: &[(&str, &str)]| one_tokenizer(used, "a").err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error(&[("x", "a"), ("y", "a")]), "");
        assert_eq!(
            error(&[("x", "b")]),
            "step `x` used the tokenizer of step `b`, this step has that of `a`; add inputs = { tokenizer = \"b\" }"
        );
        let expected =
            "step `x` used the tokenizer of step `a`, step `y` that of `b`; one model learns the ids of one tokenizer: give both the same";
        assert_eq!(error(&[("x", "a"), ("y", "b")]), expected);
    }
}
