//! Heads as `config.json` names them: the end of the architecture, the kind of problem, the names of the classes.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::Head;

/// How names of architectures end for a head that is not of the vocabulary alone.
pub(crate) fn ending(head: &Head) -> Option<&'static str> {
    match head {
        Head::Causal | Head::Masked => None,
        Head::Pairs { .. } => Some("ForPreTraining"),
        Head::Classify { .. } | Head::MultiLabel { .. } | Head::Number => Some("ForSequenceClassification"),
        Head::Tag { .. } => Some("ForTokenClassification"),
        Head::Answer => Some("ForQuestionAnswering"),
    }
}

/// The keys of `config.json` that a head adds.
pub(crate) fn to_json(head: &Head) -> Value {
    let problem = match head {
        Head::Classify { .. } => Some("single_label_classification"),
        Head::MultiLabel { .. } => Some("multi_label_classification"),
        Head::Number => Some("regression"),
        _ => None,
    };
    let mut keys = Map::new();
    if let Some(problem) = problem {
        keys.insert("problem_type".into(), json!(problem));
    }
    let number = ["LABEL_0".to_string()];
    let classes = if *head == Head::Number { Some(&number[..]) } else { head.classes() };
    if let Some(classes) = classes {
        let by_id: Map<String, Value> = classes.iter().enumerate().map(|(id, class)| (id.to_string(), json!(class))).collect();
        let by_label: Map<String, Value> = classes.iter().enumerate().map(|(id, class)| (class.clone(), json!(id))).collect();
        keys.extend([("id2label".to_string(), json!(by_id)), ("label2id".to_string(), json!(by_label))]);
    }
    Value::Object(keys)
}

/// The head of a `config.json`; `language` where the architecture names none of ours.
pub(crate) fn from_json(config: &Value, language: Head) -> Result<Head> {
    let architecture = config["architectures"][0].as_str().unwrap_or_default();
    if architecture.ends_with("ForPreTraining") {
        return Ok(Head::Pairs { classes: classes(config)? });
    }
    if architecture.ends_with("ForTokenClassification") {
        return Ok(Head::Tag { classes: classes(config)? });
    }
    if architecture.ends_with("ForQuestionAnswering") {
        return Ok(Head::Answer);
    }
    if !architecture.ends_with("ForSequenceClassification") {
        return Ok(language);
    }
    let classes = classes(config)?;
    match config["problem_type"].as_str() {
        Some("regression") | None if classes.len() == 1 => Ok(Head::Number),
        Some("single_label_classification") | None => Ok(Head::Classify { classes }),
        Some("multi_label_classification") => Ok(Head::MultiLabel { classes }),
        Some(other) => {
            bail!("config.json has problem_type = \"{other}\" for {} labels, which this program does not support", classes.len())
        }
    }
}

/// The names by number; where there are none, transformers' names, as many as `num_labels` or its default of two.
fn classes(config: &Value) -> Result<Vec<String>> {
    let Some(labels) = config["id2label"].as_object() else {
        return Ok((0..config["num_labels"].as_u64().unwrap_or(2)).map(|id| format!("LABEL_{id}")).collect());
    };
    let class = |id: usize| labels.get(&id.to_string()).and_then(Value::as_str).map(str::to_string);
    (0..labels.len()).map(|id| class(id).with_context(|| format!("id2label has no class {id}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_transformers_means_them() {
        let check = |config: Value| from_json(&config, Head::Causal).map_err(|error| error.to_string());
        assert_eq!(check(json!({"architectures": ["GPT2LMHeadModel"]})), Ok(Head::Causal));
        let classify = |labels: Value, problem: Value| {
            check(json!({"architectures": ["BertForSequenceClassification"], "id2label": labels, "problem_type": problem}))
        };
        assert_eq!(classify(json!({"0": "LABEL_0"}), Value::Null), Ok(Head::Number));
        assert_eq!(classify(Value::Null, Value::Null), Ok(Head::Classify { classes: vec!["LABEL_0".into(), "LABEL_1".into()] }));
        let numbered = json!({"architectures": ["BertForTokenClassification"], "num_labels": 3});
        assert_eq!(check(numbered), Ok(Head::Tag { classes: ["LABEL_0", "LABEL_1", "LABEL_2"].map(String::from).to_vec() }));
        let error = classify(json!({"0": "a", "1": "b"}), json!("regression")).unwrap_err();
        assert!(error.starts_with("config.json has problem_type = \"regression\" for 2 labels"), "{error}");
        assert_eq!(classify(json!({"0": "a", "2": "b"}), Value::Null), Err("id2label has no class 1".into()));
    }
}
