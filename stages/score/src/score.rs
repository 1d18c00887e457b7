//! The stage `score`: metrics over predictions, for the model and for the baselines that need no model.
//!
//! Baselines: for `classify` the majority class (the most frequent gold label of the very rows that are scored, so no
//! constant guess can have a higher accuracy), for `complete` a copy of the source, for `language-modelling` the
//! unigram model of the train split.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, PartWriter, Port, Site, Stage, Table, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::bleu::{self, Smoothing, Tokenize};
use crate::metrics::confusion::Confusion;
use crate::metrics::{self, Accumulator, LabelRow, METRICS, Metric, Options, Start, TextAccumulator};
use crate::rows;

/// Settings of `score`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The metrics to compute; all that apply to the predictions unless given.
    #[serde(default)]
    pub metrics: Option<Vec<String>>,
    /// The class that `precision`, `recall` and `f1` speak of; without it they are macro averages.
    #[serde(default)]
    pub positive: Option<String>,
    /// How bleu cuts texts into tokens: `13a`, `zh` (for Chinese references), `intl`, `char` or `none`.
    #[serde(default)]
    pub tokenize: Tokenize,
    /// How bleu treats orders without a match: `exp`, `floor`, `add-k` or `none`.
    #[serde(default)]
    pub smoothing: SmoothingMethod,
    /// The value of `floor` (0.1 unless given) and `add-k` (1 unless given).
    #[serde(default)]
    pub smoothing_value: Option<f64>,
    /// Whether bleu compares in lower case.
    #[serde(default)]
    pub lowercase: bool,
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

impl Stage for Score {
    const NAME: &'static str = "score";
    const ABOUT: &'static str = "Computes metrics over predictions, beside baselines that need no model.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("predictions", Kind::Predictions)];
    const OUTPUT: Kind = Kind::Scores;

    fn prepare(&mut self, _site: &mut Site) -> Result<()> {
        self.check()
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let predictions = inputs.artifact("predictions")?;
        let task: String = predictions.fact("task")?;
        let metrics = self.metrics_for(&task)?;
        let table = predictions.table(predictions.main())?;
        draft.declare(Kind::Scores.main_table(), schema::scores())?;
        if task == "classify" {
            draft.declare("confusion", confusion_schema())?;
        }
        // One part: a score is one sum over all rows, in their order.
        let plan = [Part { bytes: table.files.iter().map(|file| file.bytes).sum() }];
        draft.parts(ctx, &plan, |_, part| {
            let options = self.options(&task, predictions)?;
            let scores = match task.as_str() {
                "language-modelling" => score_tokens(ctx, &table, &metrics, &options, &masks(predictions)?)?,
                "classify" => score_labels(ctx, &table, &metrics, &options, part)?,
                _ => score_texts(ctx, &table, &metrics, &options)?,
            };
            part.write(Kind::Scores.main_table(), &batch(&scores)?)
        })
    }
}

impl Score {
    /// Checks settings that need no predictions.
    fn check(&self) -> Result<()> {
        for name in self.metrics.iter().flatten() {
            let names = || METRICS.iter().map(|metric| metric.name);
            if !names().any(|valid| valid == name) {
                bail!("unknown metric `{name}`{}; metrics: {}", suggest(name, names()), list(names()));
            }
        }
        ensure!(self.metrics.as_ref().is_none_or(|names| !names.is_empty()), "metrics is empty: leave it out to compute all that apply");
        self.smoothing().map(|_| ())
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

    /// The metrics asked for, in the order of the list, or all that apply to the task.
    fn metrics_for(&self, task: &str) -> Result<Vec<&'static Metric>> {
        let applying: Vec<&Metric> = METRICS.iter().filter(|metric| metric.task() == task).collect();
        ensure!(!applying.is_empty(), "no metric is for predictions of the task `{task}`");
        let Some(names) = &self.metrics else { return Ok(applying) };
        for name in names {
            if !applying.iter().any(|metric| metric.name == name) {
                let names = list(applying.iter().map(|metric| metric.name));
                bail!("metric `{name}` does not apply to predictions of the task `{task}`; metrics that do: {names}");
            }
        }
        Ok(applying.into_iter().filter(|metric| names.iter().any(|name| name == metric.name)).collect())
    }

    fn options(&self, task: &str, predictions: &Artifact) -> Result<Options> {
        let smoothing = self.smoothing()?;
        let bleu = bleu::Settings { tokenize: self.tokenize, smoothing, lowercase: self.lowercase, effective_order: false };
        let mut options = Options { bleu, ..Options::default() };
        if task == "classify" {
            options.classes = predictions.fact("classes")?;
        }
        if let Some(positive) = &self.positive {
            ensure!(task == "classify", "positive is only for predictions of the task `classify`, these are of `{task}`");
            let index = options.classes.iter().position(|class| class == positive);
            options.positive = Some(index.with_context(|| {
                let names = || options.classes.iter().map(String::as_str);
                format!("positive: no class is `{positive}`{}; classes: {}", suggest(positive, names()), list(names()))
            })?);
        }
        Ok(options)
    }
}

/// A score and the system it is of.
type Scored = (&'static str, metrics::Score);

/// Begins signatures of masked models, whose scores are of the masked tokens alone and depend on which they are.
fn masks(predictions: &Artifact) -> Result<String> {
    #[derive(Deserialize)]
    struct Masks {
        probability: f64,
        seed: u64,
    }
    if !predictions.manifest.facts.contains_key("masks") {
        return Ok(String::new());
    }
    let Masks { probability, seed } = predictions.fact("masks")?;
    Ok(format!("masked:{probability}|mask_seed:{seed}|"))
}

fn score_tokens(ctx: &Context, table: &Table, metrics: &[&Metric], options: &Options, masks: &str) -> Result<Vec<Scored>> {
    let start = || -> Vec<_> {
        metrics
            .iter()
            .filter_map(|metric| if let Start::LanguageModelling(start) = metric.start { Some(start(options)) } else { None })
            .collect()
    };
    let (mut model, mut unigram) = (start(), start());
    rows::tokens(ctx, table, |model_rows, unigram_rows| {
        model.iter_mut().for_each(|accumulator| accumulator.push(model_rows));
        unigram.iter_mut().for_each(|accumulator| accumulator.push(unigram_rows));
    })?;
    let mut scores = finish("model", &model);
    scores.extend(finish("unigram", &unigram));
    for (_, score) in &mut scores {
        score.signature.insert_str(0, masks);
    }
    Ok(scores)
}

fn score_labels(ctx: &Context, table: &Table, metrics: &[&Metric], options: &Options, part: &mut PartWriter) -> Result<Vec<Scored>> {
    let start = || -> Vec<_> {
        metrics.iter().filter_map(|metric| if let Start::Classify(start) = metric.start { Some(start(options)) } else { None }).collect()
    };
    let (mut model, mut majority) = (start(), start());
    let mut confusion = Confusion::new(options);
    rows::labels(ctx, table, &options.classes, |rows| {
        model.iter_mut().for_each(|accumulator| accumulator.push(rows));
        confusion.push(rows);
    })?;
    part.write("confusion", &confusion_batch(&confusion, &options.classes)?)?;

    let mut scores = finish("model", &model);
    let Some(guess) = confusion.majority() else { return Ok(scores) };
    let guesses: Vec<LabelRow> =
        (0..options.classes.len()).map(|gold| LabelRow { gold, prediction: guess, count: confusion.gold(gold) }).collect();
    majority.iter_mut().for_each(|accumulator| accumulator.push(&guesses));
    let mut baseline = finish("majority class", &majority);
    for (_, score) in &mut baseline {
        score.signature.insert_str(0, &format!("guess:{}|guess_from:scored rows|", options.classes[guess]));
    }
    scores.extend(baseline);
    Ok(scores)
}

fn score_texts(ctx: &Context, table: &Table, metrics: &[&Metric], options: &Options) -> Result<Vec<Scored>> {
    let start = || -> Vec<_> {
        metrics.iter().filter_map(|metric| if let Start::Complete(start) = metric.start { Some(start(options)) } else { None }).collect()
    };
    let (mut model, mut copy) = (start(), start());
    rows::texts(ctx, table, |model_rows, copy_rows| {
        model.iter_mut().for_each(|accumulator| accumulator.push(model_rows));
        copy.iter_mut().for_each(|accumulator| accumulator.push(copy_rows));
    })?;
    // Not `finish`: these accumulators take rows of any lifetime, which is another type.
    let finish = |system, accumulators: Vec<Box<TextAccumulator>>| {
        accumulators.into_iter().flat_map(|accumulator| accumulator.finish()).map(move |score| (system, score))
    };
    Ok(finish("model", model).chain(finish("copy of the source", copy)).collect())
}

fn finish<Row>(system: &'static str, accumulators: &[Box<dyn Accumulator<Row>>]) -> Vec<Scored> {
    accumulators.iter().flat_map(|accumulator| accumulator.finish()).map(|score| (system, score)).collect()
}

fn batch(scores: &[Scored]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(scores.iter().map(|(system, _)| system))),
        Arc::new(StringArray::from_iter_values(scores.iter().map(|(_, score)| &score.metric))),
        Arc::new(StringArray::from_iter(scores.iter().map(|(_, score)| score.class.as_ref()))),
        Arc::new(Float64Array::from_iter(scores.iter().map(|(_, score)| score.value.as_ref().ok().copied()))),
        Arc::new(StringArray::from_iter(scores.iter().map(|(_, score)| score.value.as_ref().err()))),
        Arc::new(Int64Array::from_iter_values(scores.iter().map(|(_, score)| score.count as i64))),
        Arc::new(StringArray::from_iter_values(scores.iter().map(|(_, score)| &score.signature))),
    ];
    Ok(RecordBatch::try_new(schema::scores(), columns)?)
}

/// The table `confusion`: how often the model predicted each gold class as each class.
fn confusion_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("gold", DataType::Utf8, false),
        Field::new("prediction", DataType::Utf8, false),
        Field::new("count", DataType::Int64, false),
    ]))
}

fn confusion_batch(confusion: &Confusion, classes: &[String]) -> Result<RecordBatch> {
    let pairs: Vec<(usize, usize)> =
        (0..classes.len()).flat_map(|gold| (0..classes.len()).map(move |prediction| (gold, prediction))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(pairs.iter().map(|&(gold, _)| &classes[gold]))),
        Arc::new(StringArray::from_iter_values(pairs.iter().map(|&(_, prediction)| &classes[prediction]))),
        Arc::new(Int64Array::from_iter_values(pairs.iter().map(|&(gold, prediction)| confusion.count(gold, prediction) as i64))),
    ];
    Ok(RecordBatch::try_new(confusion_schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(settings: Value, expected: Expect) {
        let score: Score = serde_json::from_value(settings).unwrap();
        expected.assert_eq(&score.check().unwrap_err().to_string().replace("; metrics: ", "\n"));
    }

    #[test]
    fn wrong_settings_are_refused_before_any_step_runs() {
        check(
            json!({"metrics": ["acuracy"]}),
            expect![[r#"
                unknown metric `acuracy`, did you mean `accuracy`?
                `accuracy`, `precision`, `recall`, `f1`, `bleu`, `perplexity`, `bits-per-byte`, `token-accuracy`"#]],
        );
        check(json!({"metrics": []}), expect!["metrics is empty: leave it out to compute all that apply"]);
        check(json!({"smoothing": "floor", "smoothing_value": -1}), expect!["smoothing_value is -1, it must be above 0"]);
        check(json!({"smoothing_value": 1}), expect!["smoothing_value is only for the smoothing `floor` and `add-k`"]);
    }

    #[test]
    fn the_defaults_are_those_of_sacrebleu() {
        let score: Score = serde_json::from_value(json!({})).unwrap();
        score.check().unwrap();
        assert_eq!((score.tokenize, score.smoothing().unwrap(), score.lowercase), (Tokenize::V13a, Smoothing::Exp, false));
    }
}
