//! The published JSON file of StereoSet as rows of three texts each (Nadeem et al. 2021).

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// What the file calls a text, and what our columns do.
const LABELS: [(&str, &str); 3] = [("stereotype", "stereotype"), ("anti-stereotype", "anti_stereotype"), ("unrelated", "unrelated")];

/// A row for each cluster: its texts by what they are, `target`, `bias_type`, `kind` (`intrasentence` or `intersentence`) and `context`. The
/// texts of an `intersentence` cluster follow its context.
pub fn rows(file: &Value) -> Result<Vec<Value>> {
    let data = file["data"].as_object().context("there is no object `data`")?;
    let mut rows = Vec::new();
    for (kind, clusters) in data {
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
        let rows = rows(&file).unwrap();
        assert_eq!(rows[0]["stereotype"], "I met one. He was clever.");
        assert_eq!([&rows[1]["stereotype"], &rows[1]["anti_stereotype"], &rows[1]["unrelated"]], ["s", "a", "u"]);
        assert_eq!([&rows[1]["target"], &rows[1]["kind"]], ["chess player", "intrasentence"]);
        let mut broken = file.clone();
        broken["data"]["intrasentence"][0]["sentences"][0]["gold_label"] = json!("related");
        let error = format!("{:#}", super::rows(&broken).unwrap_err());
        assert_eq!(error, "`data.intrasentence`, cluster \"1\": not one sentence is labelled `unrelated`");
    }
}
