//! The stage `predict`: what a model says about a split of tokens. Which task it is follows from the layout of the tokens.
//!
//! Tokens hold neither the contexts that answers are cut out of nor the user's columns: the documents that they were made of are an input too.

use anyhow::{Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage, StepView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Decoding, Task, launch};

/// Settings of `predict`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// The split to predict.
    #[serde(default = "default_split")]
    pub split: String,
    /// Only the first so many rows; all unless given.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Rows at once; rows of similar length go together.
    #[serde(default = "default_batch_size")]
    pub batch_size: u64,
    /// Share of the tokens that is masked and predicted, for masked models.
    #[serde(default = "default_masked_probability")]
    pub masked_probability: f64,
    /// Longest completion or target in tokens, for prompts and sources.
    #[serde(default = "default_max_new_tokens")]
    pub max_new_tokens: u64,
    /// Longest answer in tokens, for questions.
    #[serde(default = "default_max_answer_tokens")]
    pub max_answer_tokens: u64,
    /// How many answers the column `candidates` holds, for questions.
    #[serde(default = "default_candidates")]
    pub candidates: u64,
    /// For questions that may have no answer: says so where the score of having none is higher than the best answer's by more than this. Unless
    /// given, every question is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_threshold: Option<f64>,
    /// Beginnings that are kept while a completion or target is searched; 1 takes the likeliest token each time.
    #[serde(default = "default_beams")]
    pub beams: u64,
    /// With several beams: log-likelihoods are divided by length^this before they are compared; above 1 longer texts win more often.
    #[serde(default = "one")]
    pub length_penalty: f64,
    /// Makes tokens less likely that the prompt or the text so far holds; 1 changes nothing.
    #[serde(default = "one")]
    pub repetition_penalty: f64,
    /// Draws tokens in place of taking the likeliest; below 1 likely ones are drawn more often. 1 where top_k or top_p is given.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Draws tokens from so many of the likeliest.
    #[serde(default)]
    pub top_k: Option<u64>,
    /// Draws tokens from the fewest of the likeliest that have this probability together.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// Completions and targets end before the first of these texts.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Columns of the documents that stand beside predictions; their source and the user's columns unless given, without texts that tokens were
    /// made of.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
}

fn default_beams() -> u64 {
    1
}

fn one() -> f64 {
    1.0
}

fn default_split() -> String {
    "test".into()
}

fn default_batch_size() -> u64 {
    32
}

fn default_masked_probability() -> f64 {
    0.15
}

fn default_max_new_tokens() -> u64 {
    64
}

fn default_max_answer_tokens() -> u64 {
    30
}

fn default_candidates() -> u64 {
    20
}

impl Predict {
    /// How completions and targets are written.
    pub fn decoding(&self, seed: u64) -> Decoding {
        Decoding {
            max_new_tokens: self.max_new_tokens,
            beams: self.beams,
            length_penalty: self.length_penalty,
            repetition_penalty: self.repetition_penalty,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            stop: self.stop.clone(),
            seed,
        }
    }

    /// Refuses settings that do nothing for the tokens, as far as they are not the defaults.
    fn check_layout(&self, tokens: Option<&StepView>) -> Result<()> {
        // The layout of what `fetch` brings shows when it is there.
        let Some((step, layout)) = tokens.and_then(|step| Some((step, step.settings["layout"].as_str()?))) else { return Ok(()) };
        let settings: [(&str, bool, &[&str]); 5] = [
            ("masked_probability", self.masked_probability != default_masked_probability(), &["packed"]),
            ("max_new_tokens", self.max_new_tokens != default_max_new_tokens(), &["complete", "translate"]),
            ("max_answer_tokens", self.max_answer_tokens != default_max_answer_tokens(), &["answer"]),
            ("candidates", self.candidates != default_candidates(), &["answer"]),
            ("null_threshold", self.null_threshold.is_some(), &["answer"]),
        ];
        if let Some((name, _, layouts)) = settings.iter().find(|(_, given, layouts)| *given && !layouts.contains(&layout)) {
            let layouts = layouts.join(" and ");
            bail!("`{name}` is for tokens of the layout {layouts}, those of step `{}` are of the layout {layout}; remove it", step.name);
        }
        if settings[0].1 && step.settings["model"] == "causal" {
            bail!("`masked_probability` is for masked models, the tokens of step `{}` are for causal ones; remove it", step.name);
        }
        Ok(())
    }

    /// Refuses settings of decoding where nothing is written.
    fn check_decoding(&self, tokens: Option<&StepView>) -> Result<()> {
        let decoding = self.decoding(0);
        decoding.check()?;
        let writes = |step: &&StepView| matches!(step.settings["layout"].as_str(), None | Some("complete" | "translate"));
        match tokens.filter(|step| !writes(step)) {
            Some(step) if decoding.describe() != "greedy" => bail!(
                "beams, repetition_penalty, temperature, top_k, top_p and stop are for tokens of the layouts complete and translate, those of step `{}` are of the layout {}",
                step.name,
                step.settings["layout"].as_str().unwrap_or_default()
            ),
            _ => Ok(()),
        }
    }
}

impl Stage for Predict {
    const NAME: &'static str = "predict";
    const ABOUT: &'static str = "Lets a model predict a split of tokens: likelihoods of packed text, classes or numbers of texts, tags of words, answers to questions, completions of prompts.";
    const VERSION: u32 = 4;
    const INPUTS: &'static [Port] =
        &[Port::one("model", Kind::Model), Port::one("tokens", Kind::Tokens), Port::through("documents", Kind::Documents, "tokens")];
    const OUTPUT: Kind = Kind::Predictions;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        if [self.batch_size, self.max_answer_tokens, self.candidates, self.limit.unwrap_or(1)].contains(&0) {
            bail!("batch_size, max_answer_tokens, candidates and limit must be at least 1");
        }
        if !(self.masked_probability > 0.0 && self.masked_probability <= 1.0) {
            bail!("masked_probability is {}, it must be above 0 and at most 1", self.masked_probability);
        }
        self.check_decoding(site.upstream("tokens"))?;
        self.check_layout(site.upstream("tokens"))?;
        crate::sources::readable_tokens(site)?;
        crate::sources::trained_tokens(site)?;
        origins::check(site, self.columns.is_some())?;
        origins::known_split(site, &self.split)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        launch::launch(Task::Predict(self.clone()), ctx, inputs, draft).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn settings_that_do_nothing_are_refused() {
        let check = |settings: Value, tokens: Value, expected: &str| {
            let settings: Predict = serde_json::from_value(settings).unwrap();
            let step = StepView { name: "x".into(), stage: "tokenize".into(), settings: tokens, inputs: Vec::new() };
            let checked = settings.check_decoding(Some(&step)).and_then(|()| settings.check_layout(Some(&step)));
            let found = checked.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        let tokens = |layout: &str, model: &str| json!({"layout": layout, "model": model});
        check(json!({"masked_probability": 0.3}), tokens("packed", "masked"), "");
        check(json!({"max_new_tokens": 9, "beams": 2, "length_penalty": 2.0}), tokens("complete", "causal"), "");
        check(json!({"max_answer_tokens": 9, "candidates": 2, "null_threshold": 0.0}), tokens("answer", "masked"), "");
        check(json!({"candidates": 3, "null_threshold": 0.0}), json!({"path": "elsewhere"}), "");
        check(json!({"candidates": 20}), tokens("tag", "masked"), "");
        check(
            json!({"max_new_tokens": 9}),
            tokens("tag", "masked"),
            "`max_new_tokens` is for tokens of the layout complete and translate, those of step `x` are of the layout tag; remove it",
        );
        check(json!({"null_threshold": 0.0}), tokens("classify", "masked"), "`null_threshold` is for tokens of the layout answer, those");
        check(json!({"candidates": 3}), tokens("packed", "causal"), "`candidates` is for tokens of the layout answer");
        check(json!({"max_answer_tokens": 3}), tokens("complete", "causal"), "`max_answer_tokens` is for tokens of the layout answer");
        check(json!({"masked_probability": 0.3}), tokens("answer", "masked"), "`masked_probability` is for tokens of the layout packed");
        check(json!({"masked_probability": 0.3}), tokens("packed", "causal"), "`masked_probability` is for masked models");
        check(json!({"length_penalty": 2.0}), tokens("complete", "causal"), "length_penalty is 2, but there is one beam");
    }
}
