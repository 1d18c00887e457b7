//! Tells the class, the classes or the number of a text or pair of texts.

use anyhow::{Result, ensure};
use model::ask::Question;
use model::{Family, Head, LabelType};
use serde_json::{Map, json};

use super::{Answer, Model};
use crate::heads;
use crate::objective::Mode;
use crate::predict::{THRESHOLD, argmax, probabilities};
use crate::tape::Tape;

impl Model {
    pub(super) fn classify(&self, question: &Question) -> Result<Answer> {
        let head = &self.loaded.config.head;
        let pair = question.pair.as_ref().map(|pair| self.encode(pair)).transpose()?;
        let reads_pairs = matches!(self.loaded.config.family, Family::Bert | Family::Seq2seq);
        ensure!(pair.is_none() || reads_pairs, "this model reads one text at a time; leave out the second one");
        let text = self.encode(&question.text)?;
        let given = text.len() + pair.as_ref().map_or(0, Vec::len);
        let frame = self.framed(Vec::new(), pair.as_ref().map(|_| Vec::new()))?.tokens.len();
        let row = self.framed(text, pair)?;
        let truncated = row.tokens.len() < given + frame;
        ensure!(!row.tokens.is_empty(), "an empty text has no token that the model could read");
        let label_type = match head {
            Head::Number => LabelType::Number,
            Head::MultiLabel { .. } => LabelType::MultiLabel,
            _ => LabelType::Class,
        };
        let batch = self.batch("classify", label_type, vec![row])?;
        let logits = tch::no_grad(|| heads::logits(self.loaded.network.as_ref(), &batch, Mode::default(), &Tape::off()))?;
        let said = Vec::<f32>::try_from(probabilities(head, logits).reshape([-1]))?;
        let mut details = json!({"text": question.text, "truncated": truncated});
        if let Some(pair) = &question.pair {
            details["pair"] = json!(pair);
        }
        let classes = head.classes().unwrap_or_default();
        if classes.is_empty() {
            details["number"] = json!(said[0]);
            return Ok((said[0].to_string(), details));
        }
        let by_class: Map<String, _> = classes.iter().cloned().zip(said.iter().map(|p| json!(p))).collect();
        details["probabilities"] = json!(by_class);
        if label_type == LabelType::MultiLabel {
            let found: Vec<&str> = classes.iter().zip(&said).filter(|(_, p)| **p > THRESHOLD).map(|(class, _)| class.as_str()).collect();
            details["labels"] = json!(found);
            return Ok((found.join(","), details));
        }
        let best = &classes[argmax(&said)];
        details["label"] = json!(best);
        Ok((best.clone(), details))
    }
}
