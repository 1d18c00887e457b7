//! The template of a tokenizer.json: special tokens that stand before and after a text for users who ask for them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Post-processors that put tokens around a text.
const TEMPLATES: [&str; 3] = ["TemplateProcessing", "BertProcessing", "RobertaProcessing"];

/// The text of a tokenizer.json with a template that puts these tokens before and after a text, in place of its own. All else stays as it stands.
pub fn with_frame(file: &str, before: &[(u32, String)], after: &[(u32, String)]) -> Result<String> {
    let parts: BTreeMap<String, &RawValue> = serde_json::from_str(file).context("reading a tokenizer.json")?;
    let own: Option<&str> = parts.get("post_processor").map(|own| own.get());
    let mut all = match own.map(serde_json::from_str::<Value>).transpose()?.unwrap_or_default() {
        Value::Null => Vec::new(),
        mut several if several["type"] == "Sequence" => several["processors"].as_array_mut().map(std::mem::take).unwrap_or_default(),
        one => vec![one],
    };
    all.retain(|one| !one["type"].as_str().is_some_and(|kind| TEMPLATES.contains(&kind)));
    if !before.is_empty() || !after.is_empty() {
        all.push(template(before, after));
    }
    let new = match all.len() {
        0 => Value::Null,
        1 => all.remove(0),
        _ => json!({"type": "Sequence", "processors": all}),
    };
    match own {
        Some(own) => {
            let start = own.as_ptr() as usize - file.as_ptr() as usize;
            Ok(format!("{}{new}{}", &file[..start], &file[start + own.len()..]))
        }
        None => Ok(file.replacen('{', &format!("{{\"post_processor\": {new}, "), 1)),
    }
}

fn template(before: &[(u32, String)], after: &[(u32, String)]) -> Value {
    // As BERT has it: `[CLS] a [SEP] b [SEP]`, of which the second text is another segment.
    let second = u32::from(!before.is_empty() && !after.is_empty());
    let special = |tokens: &[(u32, String)], segment: u32| -> Vec<Value> {
        tokens.iter().map(|(_, name)| json!({"SpecialToken": {"id": name, "type_id": segment}})).collect()
    };
    let text = |name: &str, segment: u32| vec![json!({"Sequence": {"id": name, "type_id": segment}})];
    let single = [special(before, 0), text("A", 0), special(after, 0)].concat();
    let pair = [single.clone(), text("B", second), special(after, second)].concat();
    let named = before.iter().chain(after).map(|(id, name)| (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]})));
    let tokens: Map<String, Value> = named.collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use crate::learn::{Kind, Recipe, WordCounts};

    /// A learned tokenizer with another frame, after it was written and read.
    fn framed(kind: Kind, style: &str, before: &[u32], after: &[u32]) -> (Tokenizer, String) {
        let mut counts = WordCounts::new(Recipe::new(kind, Some(style), None).unwrap());
        (0..3).for_each(|_| counts.add(&["the quick brown fox", "a lazy dog"]));
        let (tokenizer, folder) = (counts.learn(300, 2).unwrap(), tempfile::tempdir().unwrap());
        tokenizer.save(folder.path(), None).unwrap();
        let path = folder.path().join("tokenizer.json");
        let named = |ids: &[u32]| ids.iter().map(|id| (*id, tokenizer.token(*id).unwrap())).collect::<Vec<_>>();
        let file = with_frame(&std::fs::read_to_string(&path).unwrap(), &named(before), &named(after)).unwrap();
        std::fs::write(&path, &file).unwrap();
        (Tokenizer::load(folder.path()).unwrap(), file)
    }

    #[test]
    fn a_template_gets_other_tokens_and_all_else_stays() {
        let (none, file) = framed(Kind::ByteLevelBpe, "llama3", &[], &[]);
        assert_eq!(none.frame().unwrap(), (vec![], vec![]));
        assert_eq!(none.special().bos, Some(0));
        // As it was learned.
        let (begins, again) = framed(Kind::ByteLevelBpe, "llama3", &[0], &[]);
        assert_eq!(begins.frame().unwrap(), (vec![0], vec![]));
        assert_eq!(begins.encode("a fox").unwrap(), none.encode("a fox").unwrap());
        let rest = |file: &str| {
            let mut json: Value = serde_json::from_str(file).unwrap();
            json["post_processor"].take();
            json
        };
        assert_eq!(rest(&file), rest(&again));
        let (ends, _) = framed(Kind::ByteLevelBpe, "gpt2", &[], &[0]);
        assert_eq!(ends.frame().unwrap(), (vec![], vec![0]));
        let (both, file) = framed(Kind::WordPiece, "bert-uncased", &[2], &[3]);
        assert_eq!(both.frame().unwrap(), (vec![2], vec![3]));
        let json: Value = serde_json::from_str(&file).unwrap();
        assert_eq!(json["post_processor"]["pair"][4]["SpecialToken"], json!({"id": "[SEP]", "type_id": 1}));
    }

    #[test]
    fn a_file_without_a_template_gets_one() {
        let file = with_frame(r#"{"version": "1.0", "model": {}}"#, &[(1, "<s>".into())], &[]).unwrap();
        let json: Value = serde_json::from_str(&file).unwrap();
        assert_eq!((&json["version"], &json["post_processor"]["single"][0]["SpecialToken"]["id"]), (&json!("1.0"), &json!("<s>")));
        let file = with_frame(r#"{"post_processor": null, "model": {}}"#, &[], &[]).unwrap();
        assert_eq!(file, r#"{"post_processor": null, "model": {}}"#);
    }
}
