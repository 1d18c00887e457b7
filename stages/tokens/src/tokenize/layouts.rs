//! Which settings belong to which layout, so that none is given where it would do nothing.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::Layout::{Answer, Classify, Complete, Packed, Pairs, Tag, Translate};
use super::{Layout, Tokenize};

/// Settings with the layouts that use them; the others are for all.
const OF_LAYOUTS: [(&str, &[Layout]); 31] = [
    ("text", &[Packed, Classify, Pairs]),
    ("label", &[Classify]),
    ("label_type", &[Classify]),
    ("text_pair", &[Classify]),
    ("prompt", &[Complete]),
    ("separator", &[Complete]),
    ("target", &[Complete, Translate]),
    ("packing", &[Packed]),
    ("bos", &[Packed]),
    ("eos", &[Packed]),
    ("format", &[Packed]),
    ("shard_tokens", &[Packed]),
    ("document_bytes_max", &[Packed]),
    ("words", &[Tag]),
    ("tags", &[Tag]),
    ("tag_scheme", &[Tag]),
    ("scheme", &[Tag]),
    ("label_all", &[Tag]),
    ("question", &[Answer]),
    ("context", &[Answer]),
    ("answer", &[Answer]),
    ("answer_start", &[Answer]),
    ("stride", &[Answer]),
    ("question_length", &[Answer]),
    ("source", &[Translate]),
    ("target_length", &[Translate]),
    ("too_long", &[Translate]),
    ("objective", &[Pairs]),
    ("short_probability", &[Pairs]),
    // Filled in where it is used.
    ("seed", &[Pairs]),
    ("layout", &[Packed, Classify, Complete, Tag, Answer, Translate, Pairs]),
];

/// Refuses settings that the layout has no use for, as far as they are not the defaults.
pub(super) fn check(settings: &Tokenize) -> Result<()> {
    let given = serde_json::to_value(settings).context("settings as JSON")?;
    let default: Tokenize = serde_json::from_value(json!({})).context("default settings")?;
    let default = serde_json::to_value(default).context("settings as JSON")?;
    let differs = |name: &str| given.get(name).unwrap_or(&Value::Null) != default.get(name).unwrap_or(&Value::Null);
    match OF_LAYOUTS.iter().find(|(name, layouts)| !layouts.contains(&settings.layout) && differs(name)) {
        Some((name, layouts)) => {
            let layouts: Vec<String> = layouts.iter().map(|layout| format!("layout = \"{}\"", layout.name())).collect();
            let own = settings.layout.name();
            bail!(
                "`{name}` is a setting of {} alone, and this step has layout = \"{own}\"; remove it or set `layout`",
                layouts.join(" and ")
            )
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_other_layouts_are_refused() {
        let check = |settings: Value, expected: &str| {
            let found = check(&serde_json::from_value(settings).unwrap()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check(json!({"text": "body", "packing": "best-fit", "weight": "w"}), "");
        check(json!({"layout": "complete", "target": "t", "prompt": "p"}), "");
        check(
            json!({"label": "l"}),
            "`label` is a setting of layout = \"classify\" alone, and this step has layout = \"packed\"; remove it or set `layout`",
        );
        check(json!({"stride": 3}), "`stride` is a setting of layout = \"answer\" alone");
        check(json!({"target": "t"}), "`target` is a setting of layout = \"complete\" and layout = \"translate\" alone");
        check(json!({"layout": "classify", "label": "a", "packing": "best-fit"}), "`packing` is a setting of layout = \"packed\" alone");
        check(json!({"layout": "classify", "label": "a", "format": "parquet"}), "`format` is a setting of layout = \"packed\" alone");
        check(json!({"layout": "pairs", "model": "masked", "shard_tokens": 2048}), "`shard_tokens` is a setting");
    }

    /// A new setting must be put into the table, or here.
    #[test]
    fn every_setting_has_its_layouts() {
        let schema = serde_json::to_value(schemars::schema_for!(Tokenize)).unwrap();
        let names = schema["properties"].as_object().unwrap().keys();
        let mut other: Vec<&String> = names.filter(|name| !OF_LAYOUTS.iter().any(|(known, _)| known == name)).collect();
        other.sort();
        assert_eq!(other, ["dtype", "group_weights", "model", "sequence_length", "weight"]);
    }
}
