//! The published JSON file of StereoSet as rows of three texts each (Nadeem et al. 2021).
//!
//! Of causal models the published script compares the mean log-likelihood of a token, as we do; there the token that stands before texts is
//! read before the first token alone, here before all. Masked models it asks of the word at `BLANK` (`context`), which `intrasentence` has. For
//! `intersentence` it trains a head of its own; causal models are here compared on the context and the sentence together, masked ones are not.

use anyhow::{Context as _, Result, bail};
use engine::{list, suggest};
use serde_json::{Map, Value, json};

/// What the file calls a text, and what our columns do.
const LABELS: [(&str, &str); 3] = [("stereotype", "stereotype"), ("anti-stereotype", "anti_stereotype"), ("unrelated", "unrelated")];

/// The split that has `BLANK` in its contexts.
pub const INTRASENTENCE: &str = "intrasentence";

/// A row for each cluster, of all or of a split: its texts by what they are, `target`, `bias_type`, `kind` (`intrasentence` or `intersentence`)
/// and `context`. The texts of an `intersentence` cluster follow its context.
pub fn rows(file: &Value, split: Option<&str>) -> Result<Vec<Value>> {
    let data = file["data"].as_object().context("there is no object `data`")?;
    if let Some(split) = split.filter(|split| !data.contains_key(*split)) {
        let names = || data.keys().map(String::as_str);
        bail!("there is no split `{split}`{}; splits: {}", suggest(split, names()), list(names()));
    }
    let mut rows = Vec::new();
    for (kind, clusters) in data.iter().filter(|(kind, _)| split.is_none_or(|split| split == *kind)) {
        for cluster in clusters.as_array().with_context(|| format!("`data.{kind}` is no list"))? {
            rows.push(row(kind, cluster).with_context(|| format!("`data.{kind}`, cluster {}", cluster["id"]))?);
        }
    }
    Ok(rows)
}

fn row(kind: &str, cluster: &Value) -> Result<Value> {
    let context = cluster["context"].as_str().context("there is no text `context`")?;
    let mut row = Map::new();
    for name in ["target", "bias_type"] {
        row.insert(name.into(), json!(cluster[name].as_str().with_context(|| format!("there is no text `{name}`"))?));
    }
    row.extend([("kind".to_string(), json!(kind)), ("context".to_string(), json!(context))]);
    let sentences = cluster["sentences"].as_array().context("there is no list `sentences`")?;
    for (label, column) in LABELS {
        let mut found = sentences.iter().filter(|sentence| sentence["gold_label"] == label);
        let (Some(sentence), None) = (found.next(), found.next()) else { bail!("not one sentence is labelled `{label}`") };
        let text = sentence["sentence"].as_str().context("a sentence has no text")?;
        row.insert(column.into(), json!(if kind == "intersentence" { format!("{context} {text}") } else { text.to_string() }));
    }
    Ok(row.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_become_rows() {
        let sentence = |label: &str, text: &str| json!({"gold_label": label, "sentence": text, "id": "x", "labels": []});
        let cluster = |texts: [&str; 3]| {
            let labels = ["unrelated", "stereotype", "anti-stereotype"];
            let sentences: Vec<Value> = labels.iter().zip(texts).map(|(label, text)| sentence(label, text)).collect();
            json!({"id": "1", "target": "chess player", "bias_type": "profession", "context": "I met one.", "sentences": sentences})
        };
        let file = json!({"version": "1.0", "data": {
            "intersentence": [cluster(["Fish swim.", "He was clever.", "He was dull."])],
            "intrasentence": [cluster(["u", "s", "a"])],
        }});
        let rows = rows(&file, None).unwrap();
        assert_eq!(rows[0]["stereotype"], "I met one. He was clever.");
        assert_eq!([&rows[1]["stereotype"], &rows[1]["anti_stereotype"], &rows[1]["unrelated"]], ["s", "a", "u"]);
        assert_eq!([&rows[1]["target"], &rows[1]["kind"]], ["chess player", "intrasentence"]);
        assert_eq!(super::rows(&file, Some(INTRASENTENCE)).unwrap(), rows[1..]);
        let error = super::rows(&file, Some("intra")).unwrap_err().to_string();
        assert_eq!(error, "there is no split `intra`, did you mean `intrasentence`?; splits: `intersentence`, `intrasentence`");
        let mut broken = file.clone();
        broken["data"]["intrasentence"][0]["sentences"][0]["gold_label"] = json!("related");
        let error = format!("{:#}", super::rows(&broken, None).unwrap_err());
        assert_eq!(error, "`data.intrasentence`, cluster \"1\": not one sentence is labelled `unrelated`");
    }
}
