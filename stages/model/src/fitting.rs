//! Which tokens go with which network: what is learned from a layout, and what a trained model can predict.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optimizer::BestMetric;
use crate::{Family, Train};

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The next token of packed rows (gpt, rnn).
    Causal,
    /// Masked tokens of packed rows: 80 % shown as the mask, 10 % as a random token, 10 % unchanged (bert).
    Masked,
    /// The class, the classes or the number of a text or pair of texts.
    Classify,
    /// The target after a prompt; the loss is on the target alone (gpt, rnn).
    Complete,
    /// The tag of each word (gpt, bert, seq2seq of the style t5).
    Tag,
    /// First and last token of an answer within its context (gpt, bert, seq2seq of the style t5).
    Answer,
    /// Masked tokens, and how two segments belong together (bert); both losses are summed.
    Pairs,
    /// The target of a source (seq2seq).
    Translate,
    /// Spans that were cut out of packed rows (seq2seq): T5's pre-training.
    Denoise,
}

impl Objective {
    pub fn name(self) -> &'static str {
        match self {
            Objective::Causal => "causal",
            Objective::Masked => "masked",
            Objective::Classify => "classify",
            Objective::Complete => "complete",
            Objective::Tag => "tag",
            Objective::Answer => "answer",
            Objective::Pairs => "pairs",
            Objective::Translate => "translate",
            Objective::Denoise => "denoise",
        }
    }

    /// Whether tokens of the vocabulary are predicted, so that there is a perplexity.
    pub fn predicts_tokens(self) -> bool {
        !matches!(self, Objective::Classify | Objective::Tag | Objective::Answer)
    }

    /// Whether tokens are hidden to be predicted.
    pub fn masks(self) -> bool {
        matches!(self, Objective::Masked | Objective::Pairs)
    }
}

/// What the labels of the layout classify are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelType {
    #[default]
    Class,
    MultiLabel,
    Number,
}

/// The layout of tokens, and what its labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind<'a> {
    pub layout: &'a str,
    pub label_type: &'a str,
}

impl Kind<'_> {
    /// Of the settings of a step that makes tokens; `None` of steps that do not say.
    pub(crate) fn of(settings: &Value) -> Option<Kind<'_>> {
        let layout = settings["layout"].as_str()?;
        let label_type = if layout == "classify" { settings["label_type"].as_str().unwrap_or("class") } else { "" };
        Some(Kind { layout, label_type })
    }

    pub(crate) fn labels(&self) -> LabelType {
        match self.label_type {
            "multi-label" => LabelType::MultiLabel,
            "number" => LabelType::Number,
            _ => LabelType::Class,
        }
    }

    /// Whether a model that was trained on `trained` has the head for these tokens.
    pub(crate) fn suits(&self, trained: &Kind) -> bool {
        match self.layout {
            "packed" => matches!(trained.layout, "packed" | "complete" | "pairs"),
            "complete" => matches!(trained.layout, "packed" | "complete"),
            _ => self == trained,
        }
    }
}

impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "layout = \"{}\"", self.layout)?;
        if self.label_type.is_empty() { Ok(()) } else { write!(f, " and label_type = \"{}\"", self.label_type) }
    }
}

/// Metrics of the valid split that an objective has.
fn metrics(objective: Objective, labels: LabelType) -> &'static [BestMetric] {
    use BestMetric::{Accuracy, BitsPerByte, F1, Loss, PairAccuracy, PairLoss, Pearson, Perplexity};
    match (objective, labels) {
        (Objective::Causal, _) => &[Loss, Perplexity, Accuracy, BitsPerByte],
        (Objective::Masked | Objective::Complete | Objective::Translate | Objective::Denoise, _) => &[Loss, Perplexity, Accuracy],
        (Objective::Pairs, _) => &[Loss, Perplexity, Accuracy, PairLoss, PairAccuracy],
        (Objective::Classify, LabelType::Number) => &[Loss, Pearson],
        (Objective::Classify, LabelType::MultiLabel) | (Objective::Tag, _) => &[Loss, Accuracy, F1],
        (Objective::Classify, LabelType::Class) | (Objective::Answer, _) => &[Loss, Accuracy],
    }
}

impl Train {
    /// Refuses prompts of networks that do not go on with a text; `next`: whether the next token is what is learned.
    pub fn check_prompts(&self, family: Family, next: bool) -> Result<()> {
        if self.prompts.is_empty() {
            return Ok(());
        }
        if !matches!(family, Family::Gpt | Family::Rnn) {
            bail!("prompts need a model of the family gpt or rnn, this is {}; leave them out", family.name());
        }
        if !next {
            bail!("prompts need a model that predicts the next token, this one learns something else; leave them out");
        }
        Ok(())
    }

    /// Refuses a best_metric that the objective does not have.
    pub fn check_best_metric(&self, objective: Objective, labels: LabelType) -> Result<()> {
        let known = metrics(objective, labels);
        match self.best_metric {
            Some(metric) if !known.contains(&metric) => {
                let objective = match (objective, labels) {
                    (Objective::Classify, LabelType::MultiLabel) => "classify with several classes",
                    (Objective::Classify, LabelType::Number) => "classify with numbers",
                    _ => objective.name(),
                };
                let known = engine::list(known.iter().map(|metric| metric.name()));
                bail!("best_metric = \"{}\": the objective {objective} has {known}", metric.name())
            }
            _ => Ok(()),
        }
    }
}

/// The objective that fits the layout of tokens and the family of the network, or an error that says what does not.
pub fn objective_for(wanted: Option<Objective>, family: Family, layout: &str) -> Result<Objective> {
    let (fitting, families): (Objective, &[Family]) = match layout {
        "packed" => match family {
            Family::Gpt | Family::Rnn => (Objective::Causal, &[Family::Gpt, Family::Rnn]),
            Family::Bert => (Objective::Masked, &[Family::Bert]),
            Family::Seq2seq => (Objective::Denoise, &[Family::Seq2seq]),
        },
        "complete" => (Objective::Complete, &[Family::Gpt, Family::Rnn]),
        "translate" => (Objective::Translate, &[Family::Seq2seq]),
        "classify" => (Objective::Classify, &[Family::Gpt, Family::Bert, Family::Seq2seq]),
        "tag" => (Objective::Tag, &[Family::Gpt, Family::Bert, Family::Seq2seq]),
        "answer" => (Objective::Answer, &[Family::Gpt, Family::Bert, Family::Seq2seq]),
        "pairs" => (Objective::Pairs, &[Family::Bert]),
        _ => bail!("tokens have the unknown layout `{layout}`; known are packed, complete, translate, classify, tag, answer and pairs"),
    };
    if !families.contains(&family) {
        let names = families.iter().map(|family| family.name()).collect::<Vec<_>>().join(" or ");
        bail!("tokens of the layout {layout} need a model of the family {names}, this is {}", family.name());
    }
    match wanted {
        Some(wanted) if wanted != fitting => bail!(
            "objective `{}` does not fit a model of the family {} on tokens of the layout {layout}; that is `{}`",
            wanted.name(),
            family.name(),
            fitting.name()
        ),
        _ => Ok(fitting),
    }
}

/// Why the style marian learns nothing from a layout.
pub fn no_head(layout: &str) -> String {
    format!(
        "the style marian has no head for tokens of the layout {layout}, in transformers neither; gpt, bert and seq2seq = {{ style = \"t5\" }} have one"
    )
}

/// Refuses texts that do not end as a source does: what is said of a text is read where it ends.
pub(crate) fn check_ends(layout: &str, model: &str) -> Result<()> {
    if layout != "packed" && model != "encoder-decoder" {
        bail!("tokens of the layout {layout} for {model} models; a model of the family seq2seq needs model = \"encoder-decoder\" there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_and_families_that_do_not_fit_are_refused() {
        let check = |wanted, family, layout| objective_for(wanted, family, layout).map_err(|error| error.to_string());
        assert_eq!(check(None, Family::Bert, "pairs"), Ok(Objective::Pairs));
        assert_eq!(check(Some(Objective::Classify), Family::Gpt, "classify"), Ok(Objective::Classify));
        for (family, layout, objective) in [
            (Family::Rnn, "packed", Objective::Causal),
            (Family::Rnn, "complete", Objective::Complete),
            (Family::Seq2seq, "packed", Objective::Denoise),
            (Family::Seq2seq, "translate", Objective::Translate),
            (Family::Seq2seq, "answer", Objective::Answer),
        ] {
            assert_eq!(check(None, family, layout), Ok(objective));
        }
        let refused = |error: &str| Err(error.to_string());
        assert_eq!(
            check(None, Family::Gpt, "translate"),
            refused("tokens of the layout translate need a model of the family seq2seq, this is gpt")
        );
        assert_eq!(
            check(None, Family::Bert, "complete"),
            refused("tokens of the layout complete need a model of the family gpt or rnn, this is bert")
        );
        assert_eq!(check(None, Family::Gpt, "pairs"), refused("tokens of the layout pairs need a model of the family bert, this is gpt"));
        assert_eq!(
            check(Some(Objective::Masked), Family::Bert, "tag"),
            refused("objective `masked` does not fit a model of the family bert on tokens of the layout tag; that is `tag`")
        );
    }

    #[test]
    fn prompts_are_for_those_who_predict_the_next_token() {
        let check = |json: &str, family, next| {
            let train: Train = serde_json::from_str(json).unwrap();
            train.check_prompts(family, next).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let prompts = r#"{"prompts": ["a"]}"#;
        assert_eq!(check(prompts, Family::Gpt, true), "");
        assert_eq!(check("{}", Family::Bert, false), "");
        assert!(check(prompts, Family::Gpt, false).starts_with("prompts need a model that predicts the next token"));
        assert!(check(prompts, Family::Bert, true).starts_with("prompts need a model of the family gpt or rnn, this is bert"));
    }

    #[test]
    fn every_objective_has_its_metrics() {
        let check = |objective, labels, metric: &str| {
            let train: Train = serde_json::from_value(serde_json::json!({"steps": 1, "best_metric": metric})).unwrap();
            train.check_best_metric(objective, labels).err().map(|error| error.to_string()).unwrap_or_default()
        };
        for (objective, labels, metric) in [
            (Objective::Causal, LabelType::Class, "bits_per_byte"),
            (Objective::Translate, LabelType::Class, "perplexity"),
            (Objective::Classify, LabelType::Class, "accuracy"),
            (Objective::Classify, LabelType::MultiLabel, "f1"),
            (Objective::Classify, LabelType::Number, "pearson"),
            (Objective::Tag, LabelType::Class, "f1"),
            (Objective::Pairs, LabelType::Class, "pair_accuracy"),
        ] {
            assert_eq!(check(objective, labels, metric), "");
        }
        assert_eq!(
            check(Objective::Classify, LabelType::Number, "accuracy"),
            "best_metric = \"accuracy\": the objective classify with numbers has `loss`, `pearson`"
        );
        assert_eq!(check(Objective::Answer, LabelType::Class, "f1"), "best_metric = \"f1\": the objective answer has `loss`, `accuracy`");
    }

    #[test]
    fn a_model_predicts_what_it_was_trained_on() {
        let kind = |layout, label_type| Kind { layout, label_type };
        assert!(kind("packed", "").suits(&kind("pairs", "")));
        assert!(kind("complete", "").suits(&kind("packed", "")));
        assert!(!kind("pairs", "").suits(&kind("packed", "")));
        assert!(!kind("classify", "number").suits(&kind("classify", "class")));
        assert_eq!(kind("classify", "number").to_string(), "layout = \"classify\" and label_type = \"number\"");
    }
}
