//! The settings of `baseline`, what they go together with, and which system a run is of.

use anyhow::{Context as _, Result, bail, ensure};
use engine::{Artifact, Context, Draft, Inputs, Kind, Port, Site, Stage};
use origins::Documents;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rows::Split;
use crate::{answers, labels, tags, texts};

/// A simple system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A linear model on TF-IDF weights of tokens and their n-grams.
    Linear,
    /// The tag that a word has most often.
    FrequentTag,
    /// The span of a context near most words of the question.
    SlidingWindow,
    /// The source as it is.
    Copy,
    /// The first sentences of the source.
    Lead,
}

impl Method {
    /// As the fact `system` and the column `system` of scores name it.
    fn system(self, label_type: &str) -> &'static str {
        match (self, label_type) {
            (Method::Linear, "number") => "tf-idf + ridge regression",
            (Method::Linear, _) => "tf-idf + logistic regression",
            (Method::FrequentTag, _) => "most frequent tag",
            (Method::SlidingWindow, _) => "sliding window",
            (Method::Copy, _) => "copy of the source",
            (Method::Lead, _) => "first sentences",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Linear => "linear",
            Method::FrequentTag => "frequent-tag",
            Method::SlidingWindow => "sliding-window",
            Method::Copy => "copy",
            Method::Lead => "lead",
        }
    }

    fn writes_text(self) -> bool {
        matches!(self, Method::Copy | Method::Lead)
    }
}

/// The systems for a layout of tokens, the usual one first.
fn methods(layout: &str) -> &'static [Method] {
    match layout {
        "classify" | "pairs" => &[Method::Linear],
        "tag" => &[Method::FrequentTag],
        "answer" => &[Method::SlidingWindow],
        "translate" | "complete" => &[Method::Copy, Method::Lead],
        _ => &[],
    }
}

/// Predicts a split of tokens with a simple system.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// `linear` (tokens of the layouts classify and pairs), `frequent-tag` (tag), `sliding-window` (answer), `copy` or `lead` (translate and complete, `copy` unless given).
    #[serde(default)]
    pub method: Option<Method>,
    /// The split to predict.
    #[serde(default = "default_split")]
    pub split: String,
    /// The split to learn from, for `linear` and `frequent-tag`.
    #[serde(default = "default_train_split")]
    pub train_split: String,
    /// Only the first so many rows of the split; all unless given.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Columns of the documents that stand beside predictions; their source and the user's columns unless given, without texts that tokens were
    /// made of.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// Sentences that `lead` takes.
    #[serde(default = "default_sentences")]
    pub sentences: usize,
    /// Tokens of the longest n-grams that are terms, for `linear`.
    #[serde(default = "default_ngram_max")]
    pub ngram_max: usize,
    /// Terms of fewer texts of the train split are left out, for `linear`.
    #[serde(default = "default_texts_min")]
    pub texts_min: u32,
    /// Most terms, those of most texts, for `linear`: memory grows with terms times classes.
    #[serde(default = "default_terms_max")]
    pub terms_max: usize,
    /// Weight of the squared weights beside the summed losses, for `linear`: `alpha` of scikit-learn's Ridge, 1 / `C` of its LogisticRegression.
    #[serde(default = "default_regularization")]
    pub regularization: f64,
}

fn default_split() -> String {
    "test".into()
}

fn default_train_split() -> String {
    "train".into()
}

fn default_sentences() -> usize {
    3
}

fn default_ngram_max() -> usize {
    2
}

fn default_texts_min() -> u32 {
    2
}

fn default_terms_max() -> usize {
    50_000
}

fn default_regularization() -> f64 {
    1.0
}

impl Stage for Baseline {
    const NAME: &'static str = "baseline";
    const ABOUT: &'static str = "Predicts a split with a simple system that every model should beat: TF-IDF with a linear model, the most frequent tag, a sliding window over contexts of questions, a copy of the source, its first sentences.";
    const VERSION: u32 = 4;
    const INPUTS: &'static [Port] = &[
        Port::one("tokens", Kind::Tokens),
        Port::optional("tokenizer", Kind::Tokenizer),
        Port::through("documents", Kind::Documents, "tokens"),
    ];
    const OUTPUT: Kind = Kind::Predictions;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        self.check()?;
        origins::check(site, self.columns.is_some())?;
        let Some(tokens) = site.upstream("tokens") else { return Ok(()) };
        let layout = match tokens.settings["layout"].as_str() {
            Some(layout) => layout,
            // What `fetch` brings shows when it is there.
            None if tokens.stage == "fetch" => return Ok(()),
            None => "packed",
        };
        let method = self.method_for(&tokens.name, layout)?;
        let used = tokens.inputs.iter().filter(|(port, _)| port == "tokenizer").flat_map(|(_, steps)| steps).next();
        let ours = site.connected("tokenizer").first();
        match (method.writes_text(), ours, used) {
            (true, ours, Some(used)) if ours.is_none_or(|ours| differ(site, ours, used)) => bail!(writes_texts(method, &tokens.name, used)),
            (false, Some(ours), _) => {
                bail!("method = \"{}\" needs no tokenizer; leave out tokenizer = \"{ours}\"", method.name())
            }
            _ => {}
        }
        self.check_for(method)?;
        origins::known_split(site, &self.split)?;
        if matches!(method, Method::Linear | Method::FrequentTag) {
            origins::known_split(site, &self.train_split).context("`train_split`")?;
        }
        self.method = Some(method);
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let tokens = inputs.artifact("tokens")?;
        let layout: String = tokens.fact("layout")?;
        let method = self.method_for(&tokens.manifest.step, &layout)?;
        self.check_for(method)?;
        let label_type: String = tokens.fact("label_type").unwrap_or_default();
        draft.fact("system", method.system(&label_type))?;
        draft.fact("split", &self.split)?;
        let rows = Split::open(tokens, &self.split, self.limit)?;
        let work = Work { settings: self, ctx, tokens, layout: &layout, documents: inputs.artifact_opt("documents"), rows, draft };
        let tokenizer = || {
            let step = &tokens.manifest.step;
            let tokenizer = inputs.artifact_opt("tokenizer").with_context(|| writes_texts(method, step, "STEP"))?;
            origins::check_tokenizer(std::slice::from_ref(tokens), tokenizer).map(|()| tokenizer)
        };
        match method {
            Method::Linear => labels::run(&work, &label_type),
            Method::FrequentTag => tags::run(&work),
            Method::SlidingWindow => answers::run(&work),
            Method::Copy => texts::run(&work, tokenizer()?, None),
            Method::Lead => texts::run(&work, tokenizer()?, Some(self.sentences)),
        }
    }
}

/// Whether two steps learn different tokenizers. Where one is imported, only its hash tells.
fn differ(site: &Site, one: &str, other: &str) -> bool {
    match (site.step(one), site.step(other)) {
        (Some(one), Some(other)) if one.stage == "learn-tokenizer" && other.stage == one.stage => {
            one.settings != other.settings || one.inputs != other.inputs
        }
        _ => false,
    }
}

/// What is said where the tokenizer of a step's tokens is not connected.
fn writes_texts(method: Method, step: &str, tokenizer: &str) -> String {
    let method = method.name();
    format!("method = \"{method}\" writes texts with the tokenizer of step `{step}`; add inputs = {{ tokenizer = \"{tokenizer}\" }}")
}

impl Baseline {
    fn check(&self) -> Result<()> {
        ensure!(self.limit != Some(0), "limit is 0: leave it out to predict all rows");
        ensure!(self.sentences > 0, "sentences is 0, it must be at least 1");
        ensure!((1..=5).contains(&self.ngram_max), "ngram_max is {}, it must be from 1 to 5", self.ngram_max);
        ensure!(self.terms_max > 0, "terms_max is 0, it must be at least 1");
        ensure!(
            self.regularization.is_finite() && self.regularization > 0.0,
            "regularization is {}, it must be a number above 0: with 0 there may be no best model",
            self.regularization
        );
        Ok(())
    }

    /// Refuses settings that a method has no use for, as far as they are not the defaults.
    fn check_for(&self, method: Method) -> Result<()> {
        let of_methods: [(&str, bool, &[Method]); 6] = [
            ("train_split", self.train_split != default_train_split(), &[Method::Linear, Method::FrequentTag]),
            ("sentences", self.sentences != default_sentences(), &[Method::Lead]),
            ("ngram_max", self.ngram_max != default_ngram_max(), &[Method::Linear]),
            ("texts_min", self.texts_min != default_texts_min(), &[Method::Linear]),
            ("terms_max", self.terms_max != default_terms_max(), &[Method::Linear]),
            ("regularization", self.regularization != default_regularization(), &[Method::Linear]),
        ];
        match of_methods.into_iter().find(|(_, given, methods)| *given && !methods.contains(&method)) {
            Some((setting, _, methods)) => {
                let names = engine::list(methods.iter().map(|method| method.name()));
                bail!("{setting} is only for the method {names}, this step has method = \"{}\"", method.name())
            }
            None => Ok(()),
        }
    }

    /// The system for tokens of a layout, or what there is instead.
    fn method_for(&self, step: &str, layout: &str) -> Result<Method> {
        let methods = methods(layout);
        let Some(usual) = methods.first() else {
            let instead = if layout == "packed" { "; beside likelihoods, `score` shows the unigram model" } else { "" };
            bail!(
                "step `{step}` makes tokens of the layout {layout}, for which there is no baseline{instead}; layouts with one: classify, pairs, tag, answer, translate, complete"
            )
        };
        match self.method {
            Some(method) if !methods.contains(&method) => {
                let names = engine::list(methods.iter().map(|method| method.name()));
                bail!(
                    "method = \"{}\" does not fit tokens of the layout {layout}, which step `{step}` makes; methods that do: {names}",
                    method.name()
                )
            }
            method => Ok(method.unwrap_or(*usual)),
        }
    }
}

/// What a run works with.
pub struct Work<'a> {
    pub settings: &'a Baseline,
    pub ctx: &'a Context,
    pub tokens: &'a Artifact,
    pub layout: &'a str,
    /// Those that the tokens are of.
    documents: Option<&'a Artifact>,
    /// Those to predict.
    pub rows: Split,
    pub draft: &'a Draft,
}

impl Work<'_> {
    /// The documents that rows are of, from about where those of a part stand.
    pub fn documents(&self, part: usize) -> Result<Option<Documents>> {
        let Some(documents) = self.documents else { return Ok(None) };
        let documents = Documents::open(documents, &self.settings.split, self.settings.columns.as_deref(), self.tokens)?;
        Ok(Some(documents.begin_at(self.rows.share(part))))
    }

    /// All rows to learn from.
    pub fn train(&self) -> Result<Split> {
        Split::open(self.tokens, &self.settings.train_split, None).context("`train_split`")
    }

    /// The names of the classes, which labels are indices of.
    pub fn classes(&self) -> Result<Vec<String>> {
        self.tokens.fact("classes")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn settings_of_other_methods_are_refused() {
        let check = |settings: Value, method: Method, expected: &str| {
            let settings: Baseline = serde_json::from_value(settings).unwrap();
            assert_eq!(settings.check_for(method).map_or_else(|error| error.to_string(), |()| String::new()), expected);
        };
        check(json!({"split": "valid", "limit": 3, "sentences": 3}), Method::Copy, "");
        check(json!({"sentences": 1}), Method::Lead, "");
        check(json!({"train_split": "dev"}), Method::FrequentTag, "");
        check(json!({"train_split": "dev", "ngram_max": 1, "texts_min": 1, "terms_max": 9, "regularization": 2}), Method::Linear, "");
        check(json!({"sentences": 1}), Method::Copy, "sentences is only for the method `lead`, this step has method = \"copy\"");
        let lead = "train_split is only for the method `linear`, `frequent-tag`, this step has method = \"lead\"";
        check(json!({"train_split": "dev"}), Method::Lead, lead);
        for setting in ["ngram_max", "texts_min", "terms_max", "regularization"] {
            let expected = format!("{setting} is only for the method `linear`, this step has method = \"frequent-tag\"");
            check(json!({setting: 5}), Method::FrequentTag, &expected);
        }
    }
}
