//! The keys of a task, in a file of its own or in the step: what they default to, and which go together.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use engine::{list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::records::Format;
use super::template::Template;
use crate::Decoding;

/// Settings of `evaluate`. Keys of a task have the names of lm-evaluation-harness where it has them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// A TOML file with keys of the task, those from `dataset` on; keys of the step itself win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// A folder in the layout of transformers whose model is evaluated; without it, that of the input `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Texts that go through the model at once; those of similar length go together.
    #[serde(default = "default_batch_size")]
    pub batch_size: u64,
    /// Only the first so many rows; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Files with a row for each example; without them the input `documents` is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dataset: Vec<String>,
    /// `jsonl`, `json`, `csv`, `tsv`, `parquet`, or the published files of `crows-pairs` and `stereoset`; as names of files end unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The split of the input `documents`, or `intrasentence` or `intersentence` of the file of StereoSet; all of them unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What the model is asked: `multiple-choice`, `generate`, `rolling` (log-likelihoods of texts) or `contrast` (of texts that differ in whom
    /// they speak of).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// Stands before everything else that the model reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The prompt, with `{column}` where a value of the row goes; `{a.b}` and `{a[0]}` go into objects and lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_to_text: Option<String>,
    /// The choices: templates, of which one that is a list's place alone, such as `{choices}`, stands for all its texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doc_to_choice: Vec<String>,
    /// What is right: the number of a choice, from 0, or its text; the text or list of texts to write; the text of `rolling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_to_target: Option<String>,
    /// What `doc_to_target` calls the choices, such as letters: templates as in doc_to_choice; their own texts unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choice_labels: Vec<String>,
    /// Stands between the prompt and what follows it; a space unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_delimiter: Option<String>,
    /// Stands behind each solved example; an empty line unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewshot_delimiter: Option<String>,
    /// Solved examples before the prompt; none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_fewshot: Option<u64>,
    /// Files that examples are taken from, the first 10 000 rows; the other rows of what is evaluated unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fewshot_dataset: Vec<String>,
    /// `random`, other ones for each row, or `first_n`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewshot_sampler: Option<Sampler>,
    /// What random examples follow from; 1234 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewshot_seed: Option<u64>,
    /// Whether choices are also scored without their prompt, for the metric acc-mutual-info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconditional: Option<bool>,
    /// The text of `contrast` that holds the stereotype.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stereotype: Option<String>,
    /// The text that speaks of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_stereotype: Option<String>,
    /// A text that makes no sense, for the metric stereoset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrelated: Option<String>,
    /// `stereo` or `antistereo`, for the metric crows-pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// The term that the texts are about, for the metric stereoset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The text with `BLANK` in place of the word by which the texts differ. Masked models are then asked of this word alone, as StereoSet asks
    /// them, and not of the tokens that two texts share, as CrowS-Pairs does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whether log-likelihoods of `contrast` are means over tokens, as StereoSet compares them, and no sums. Those of a word at `BLANK` are the
    /// logarithm of its tokens' mean probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_token: Option<bool>,
    /// Texts end before the first of these; before an empty line unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Longest text to write in tokens; 256 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<u64>,
    /// Beginnings that are kept while a text is searched; 1 unless given, which takes the likeliest token each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beams: Option<u64>,
    /// With several beams: log-likelihoods are divided by length^this before they are compared; 1 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_penalty: Option<f64>,
    /// Makes tokens less likely that the prompt or the text so far holds; 1 unless given, which changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Draws tokens in place of taking the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Draws tokens from so many of the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    /// Draws tokens from the fewest of the likeliest that have this probability together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The metrics of a step `score` below that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<String>>,
    /// Columns of the rows that stand beside predictions; all of a file, and those of documents that `predict` takes, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The files of `dataset` and `fewshot_dataset`, path below their patterns and content hash; noted while planning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub files: Vec<[String; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub fewshot_files: Vec<[String; 2]>,
}

/// What a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Log-likelihoods of choices after a prompt (lm-eval's `multiple_choice`).
    MultipleChoice,
    /// A text after a prompt (`generate_until`).
    Generate,
    /// The log-likelihood of a text of any length, in windows (`loglikelihood_rolling`).
    Rolling,
    /// Log-likelihoods of two or three texts.
    Contrast,
}

/// How solved examples are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sampler {
    #[default]
    #[serde(rename = "random")]
    Random,
    #[serde(rename = "first_n")]
    FirstN,
}

fn default_batch_size() -> u64 {
    32
}

/// Keys of the step alone.
const OF_STEP: [&str; 4] = ["task", "from", "batch_size", "limit"];

/// Keys that some outputs have alone.
const OF_OUTPUTS: [(&[Output], &[&str]); 5] = [
    (
        &[Output::MultipleChoice, Output::Generate],
        &[
            "description",
            "doc_to_text",
            "target_delimiter",
            "fewshot_delimiter",
            "num_fewshot",
            "fewshot_dataset",
            "fewshot_sampler",
            "fewshot_seed",
        ],
    ),
    (&[Output::MultipleChoice, Output::Generate, Output::Rolling], &["doc_to_target"]),
    (&[Output::MultipleChoice], &["doc_to_choice", "choice_labels", "unconditional"]),
    (&[Output::Generate], &["stop", "max_new_tokens", "beams", "length_penalty", "repetition_penalty", "temperature", "top_k", "top_p"]),
    (&[Output::Contrast], &["stereotype", "anti_stereotype", "unrelated", "direction", "target", "context", "per_token"]),
];

impl Output {
    pub fn name(self) -> &'static str {
        match self {
            Output::MultipleChoice => "multiple-choice",
            Output::Generate => "generate",
            Output::Rolling => "rolling",
            Output::Contrast => "contrast",
        }
    }

    /// Keys that it cannot do without.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Output::MultipleChoice => &["doc_to_text", "doc_to_choice", "doc_to_target"],
            Output::Generate => &["doc_to_text", "doc_to_target"],
            Output::Rolling => &["doc_to_target"],
            Output::Contrast => &["stereotype", "anti_stereotype"],
        }
    }
}

impl Evaluate {
    /// With the keys of a task file, `text`, that the step does not give itself.
    pub fn with_file(&self, path: &str, text: &str) -> Result<Evaluate> {
        let failed = || format!("task `{path}`");
        let mut merged: Map<String, Value> = toml::from_str(text).with_context(failed)?;
        let schema = schemars::schema_for!(Evaluate).to_value();
        let keys =
            || schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).filter(|key| !OF_STEP.contains(key));
        for key in merged.keys() {
            if OF_STEP.contains(&key.as_str()) {
                bail!("task `{path}`: `{key}` is a setting of the step and no key of a task");
            }
            if !keys().any(|known| known == key) {
                bail!("task `{path}`: unknown key `{key}`{}; keys: {}", suggest(key, keys()), list(keys()));
            }
        }
        if let Value::Object(own) = serde_json::to_value(self)? {
            merged.extend(own);
        }
        serde_path_to_error::deserialize(Value::Object(merged)).with_context(failed)
    }

    /// Fills in what is not given, and refuses what does not go together.
    pub fn complete(&mut self) -> Result<Output> {
        self.take_format();
        let Some(output) = self.output else {
            bail!("`output` is missing; outputs: `multiple-choice`, `generate`, `rolling`, `contrast`");
        };
        let given = serde_json::to_value(&*self)?;
        for (outputs, keys) in OF_OUTPUTS {
            if let Some(key) = keys.iter().find(|key| !outputs.contains(&output) && !given[**key].is_null()) {
                let names = outputs.iter().map(|output| format!("\"{}\"", output.name())).collect::<Vec<_>>().join(" or ");
                bail!("`{key}` is for output = {names}, this task has output = \"{}\"", output.name());
            }
        }
        if let Some(key) = output.needs().iter().find(|key| given[**key].is_null()) {
            bail!("`{key}` is missing, which output = \"{}\" needs", output.name());
        }
        if matches!(output, Output::MultipleChoice | Output::Generate) {
            self.target_delimiter.get_or_insert_with(|| " ".into());
            self.fewshot_delimiter.get_or_insert_with(|| "\n\n".into());
        }
        self.check_examples()?;
        if output == Output::Generate {
            self.stop.get_or_insert_with(|| vec!["\n\n".into()]);
            self.max_new_tokens.get_or_insert(256);
        }
        ensure!(self.batch_size > 0 && self.limit != Some(0), "batch_size and limit must be at least 1");
        self.decoding(0).check()?;
        self.templates().map(|_| output)
    }

    /// Keys that follow from a published format.
    fn take_format(&mut self) {
        let columns = match self.format {
            Some(Format::CrowsPairs) => ["{sent_more}", "{sent_less}", "", "{stereo_antistereo}", "", ""],
            Some(Format::Stereoset) => ["{stereotype}", "{anti_stereotype}", "{unrelated}", "", "{target}", "{context}"],
            _ => return,
        };
        self.output.get_or_insert(Output::Contrast);
        let metric = if self.format == Some(Format::CrowsPairs) { "crows-pairs" } else { "stereoset" };
        self.metrics.get_or_insert_with(|| vec![metric.into()]);
        let texts = [&mut self.stereotype, &mut self.anti_stereotype, &mut self.unrelated];
        let facts = [&mut self.direction, &mut self.target, &mut self.context];
        let keys = texts.into_iter().chain(facts);
        for (key, template) in keys.zip(columns).filter(|(_, template)| !template.is_empty()) {
            key.get_or_insert_with(|| template.into());
        }
        if self.format == Some(Format::Stereoset) {
            self.per_token.get_or_insert(true);
        }
    }

    fn check_examples(&mut self) -> Result<()> {
        if self.num_fewshot.unwrap_or(0) > 0 {
            if self.fewshot_sampler.get_or_insert_default() == &Sampler::Random {
                self.fewshot_seed.get_or_insert(1234);
            }
            return Ok(());
        }
        let set = !self.fewshot_dataset.is_empty() || self.fewshot_sampler.is_some() || self.fewshot_seed.is_some();
        ensure!(!set, "fewshot_dataset, fewshot_sampler and fewshot_seed choose examples, but num_fewshot is 0");
        Ok(())
    }

    /// How texts are written.
    pub fn decoding(&self, seed: u64) -> Decoding {
        let default = Decoding::default();
        Decoding {
            max_new_tokens: self.max_new_tokens.unwrap_or(default.max_new_tokens),
            beams: self.beams.unwrap_or(default.beams),
            length_penalty: self.length_penalty.unwrap_or(default.length_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            stop: self.stop.clone().unwrap_or_default(),
            seed,
        }
    }

    /// All templates that are given, with the key of each.
    pub fn templates(&self) -> Result<Vec<(&'static str, Template)>> {
        let one = [
            ("doc_to_text", &self.doc_to_text),
            ("doc_to_target", &self.doc_to_target),
            ("stereotype", &self.stereotype),
            ("anti_stereotype", &self.anti_stereotype),
            ("unrelated", &self.unrelated),
            ("direction", &self.direction),
            ("target", &self.target),
            ("context", &self.context),
        ];
        let one = one.into_iter().filter_map(|(key, template)| Some((key, template.as_ref()?)));
        let many = [("doc_to_choice", &self.doc_to_choice), ("choice_labels", &self.choice_labels)];
        let many = many.into_iter().flat_map(|(key, templates)| templates.iter().map(move |template| (key, template)));
        one.chain(many).map(|(key, template)| Ok((key, Template::parse(template).with_context(|| format!("`{key}`"))?))).collect()
    }

    /// The format of a file.
    pub fn format_of(&self, path: &Path) -> Result<Format> {
        self.format.map_or_else(|| Format::of(path), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn completed(own: &str, file: &str) -> Result<Evaluate> {
        let own: Evaluate = serde_json::from_str(own)?;
        let mut settings = own.with_file("mine.toml", file)?;
        settings.complete()?;
        Ok(settings)
    }

    fn refused(file: &str, expected: Expect) {
        expected.assert_eq(&format!("{:#}", completed("{}", file).unwrap_err()));
    }

    const CHOICES: &str = r#"
        output = "multiple-choice"
        doc_to_text = "{q}"
        doc_to_choice = ["{choices}"]
        doc_to_target = "{gold}"
    "#;

    #[test]
    fn keys_of_the_step_win() {
        let settings = completed(r#"{"doc_to_text": "Q: {q}", "num_fewshot": 2}"#, CHOICES).unwrap();
        assert_eq!(settings.doc_to_text.as_deref(), Some("Q: {q}"));
        assert_eq!(settings.doc_to_choice, ["{choices}"]);
        assert_eq!((settings.target_delimiter.as_deref(), settings.fewshot_delimiter.as_deref()), (Some(" "), Some("\n\n")));
        assert_eq!((settings.fewshot_sampler, settings.fewshot_seed), (Some(Sampler::Random), Some(1234)));
        assert_eq!((settings.stop.as_ref(), settings.max_new_tokens), (None, None));
    }

    #[test]
    fn published_formats_bring_their_templates() {
        let pairs = completed(r#"{"format": "crows-pairs"}"#, "").unwrap();
        assert_eq!(
            (pairs.stereotype.as_deref(), pairs.direction.as_deref(), pairs.unrelated),
            (Some("{sent_more}"), Some("{stereo_antistereo}"), None)
        );
        assert_eq!(pairs.metrics, Some(vec!["crows-pairs".to_owned()]));
        let clusters = completed(r#"{"format": "stereoset"}"#, "").unwrap();
        assert_eq!(
            (clusters.output, clusters.target.as_deref(), clusters.context.as_deref(), clusters.per_token),
            (Some(Output::Contrast), Some("{target}"), Some("{context}"), Some(true))
        );
        let named = completed(r#"{"format": "stereoset", "metrics": ["crows-pairs"]}"#, "").unwrap();
        assert_eq!((clusters.metrics, named.metrics), (Some(vec!["stereoset".to_owned()]), Some(vec!["crows-pairs".to_owned()])));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        refused("", expect!["`output` is missing; outputs: `multiple-choice`, `generate`, `rolling`, `contrast`"]);
        refused(
            "output = \"choose\"",
            expect![
                "task `mine.toml`: output: unknown variant `choose`, expected one of `multiple-choice`, `generate`, `rolling`, `contrast`"
            ],
        );
        refused("limit = 3", expect!["task `mine.toml`: `limit` is a setting of the step and no key of a task"]);
        refused(
            "output = \"generate\"\ndoc_to_text = \"{q}\"",
            expect![[r#"`doc_to_target` is missing, which output = "generate" needs"#]],
        );
        refused(
            &format!("{CHOICES}\nstop = [\".\"]"),
            expect![[r#"`stop` is for output = "generate", this task has output = "multiple-choice""#]],
        );
        refused(
            &format!("{CHOICES}\nfewshot_seed = 1"),
            expect!["fewshot_dataset, fewshot_sampler and fewshot_seed choose examples, but num_fewshot is 0"],
        );
        let generate = "output = \"generate\"\ndoc_to_text = \"{q}\"\ndoc_to_target = \"{gold}\"\n";
        refused(
            &format!("{generate}length_penalty = 2"),
            expect!["length_penalty is 2, but there is one beam, and so nothing to compare; set beams to 2 or more"],
        );
        refused(&format!("{generate}repetition_penalty = 0"), expect!["repetition_penalty is 0, it must be above 0"]);
        refused(
            &format!("{CHOICES}\nlength_penalty = 2"),
            expect![[r#"`length_penalty` is for output = "generate", this task has output = "multiple-choice""#]],
        );
        let settings = completed("{}", &format!("{generate}beams = 3\nlength_penalty = 2\nrepetition_penalty = 1.2")).unwrap();
        let decoding = settings.decoding(0);
        assert_eq!((decoding.beams, decoding.length_penalty, decoding.repetition_penalty), (3, 2.0, 1.2));
        refused(
            "output = \"rolling\"\ndoc_to_target = \"{text\"",
            expect!["`doc_to_target`: template `{text`: a `{` is not closed; write `{{` for a brace"],
        );
        let error = format!("{:#}", completed("{}", "doc_to_txt = 1").unwrap_err());
        assert!(error.starts_with("task `mine.toml`: unknown key `doc_to_txt`, did you mean `doc_to_text`?; keys: "), "{error}");
    }
}
