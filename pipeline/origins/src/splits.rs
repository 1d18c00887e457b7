//! The splits of tokens, as far as settings tell them: what would else show when a step reads them.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use engine::{Site, StepView, list};

/// Refuses a split that the tokens have no rows of, as far as that is known.
pub fn known_split(site: &Site, split: &str) -> Result<()> {
    let Some(tokens) = site.upstream("tokens") else { return Ok(()) };
    match splits(site, tokens) {
        Some(known) if !known.contains(split) => {
            bail!("step `{}` has no rows in the split `{split}`, but in {}", tokens.name, list(known.iter().map(String::as_str)))
        }
        _ => Ok(()),
    }
}

/// The splits that a step's rows can be of: those of the nearest `split` above, or `train` of documents that were only imported.
/// `None` where their files alone tell.
pub fn splits(site: &Site, step: &StepView) -> Option<BTreeSet<String>> {
    if step.stage == "import" || step.stage == "split" {
        return named_splits(step);
    }
    let (_, documents) = step.inputs.iter().find(|(port, _)| port == "documents")?;
    let splits: Option<Vec<BTreeSet<String>>> = documents.iter().map(|name| splits(site, site.step(name)?)).collect();
    Some(splits?.into_iter().flatten().collect())
}

/// The splits that an `import` or a `split` gives its documents; `None` where they stand in a column.
fn named_splits(step: &StepView) -> Option<BTreeSet<String>> {
    let train = || BTreeSet::from(["train".to_string()]);
    if step.stage == "import" {
        return Some(train());
    }
    if let Some(since) = step.settings["since"].as_object() {
        return Some(since.keys().cloned().chain(train()).collect());
    }
    let parts = step.settings["parts"].as_object().filter(|_| step.settings["from"].is_null())?;
    Some(parts.iter().filter(|(_, share)| share.as_f64() > Some(0.0)).map(|(name, _)| name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn splits_are_known_from_the_documents() {
        let named = |stage: &str, settings: Value| {
            let splits = named_splits(&StepView { name: "x".into(), stage: stage.into(), settings, inputs: Vec::new() })?;
            Some(splits.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(named("import", json!({})).as_deref(), Some("train"));
        assert_eq!(named("split", json!({"parts": {"train": 0.9, "dev": 0.1, "test": 0.0}})).as_deref(), Some("dev train"));
        assert_eq!(named("split", json!({"parts": {}, "since": {"dev": "2024"}})).as_deref(), Some("dev train"));
        assert_eq!(named("split", json!({"parts": {}, "from": "column"})), None);
    }
}
