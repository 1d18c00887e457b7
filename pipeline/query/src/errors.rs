//! DataFusion's errors in our words: what is wrong, what would be right.

use anyhow::{Error, anyhow};
use datafusion::common::{DataFusionError, SchemaError};
use engine::{list, suggest};

/// An error that names the unknown column and lists the valid ones, or says how to get more memory. Others keep DataFusion's message.
pub fn explain(error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => explain_schema(schema_error),
        DataFusionError::ResourcesExhausted(message) => {
            let first_line = message.lines().next().unwrap_or_default();
            anyhow!("not enough memory for this query; give more with `--memory` ({first_line})")
        }
        // A stage's own error that passed through DataFusion.
        DataFusionError::External(external) => anyhow!("{external}"),
        root => anyhow!("{}", plain(root)),
    }
}

fn explain_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            names.dedup();
            let wrong = field.name.as_str();
            if let Some(other) = valid_fields.iter().find(|column| column.name == wrong) {
                return anyhow!("unknown column `{}`, did you mean `{}`?", field.flat_name(), other.flat_name());
            }
            anyhow!("unknown column `{wrong}`{}; columns: {}", suggest(wrong, names.iter().copied()), list(names.iter().copied()))
        }
        other => anyhow!("{other}"),
    }
}

/// The message without DataFusion's prefixes, with a lower-case beginning and without a full stop.
fn plain(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    if let Some(message) = no_such_function(&text) {
        return message;
    }
    let prefixes = ["Error during planning: ", "Execution error: ", "SQL error: ", "Arrow error: ", "This feature is not implemented: "];
    let text = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text);
    let text = text.strip_prefix("ParserError(\"").and_then(|text| text.strip_suffix("\")")).unwrap_or(text);
    let text = text.trim_end_matches('.').replace('\n', "; ").replace(".; Did you mean", ", did you mean").replace("\\\"", "\"");
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        // Not for abbreviations such as `SQL`.
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(text.chars().skip(1)).collect(),
        _ => text,
    }
}

/// Of a function that was called with other arguments than it takes: what was written, and its forms.
fn no_such_function(text: &str) -> Option<String> {
    let (_, text) = text.split_once("No function matches the given name and argument types '")?;
    let (called, text) = text.split_once('\'')?;
    let (_, forms) = text.split_once("Candidate functions:")?;
    let forms = list(forms.lines().map(str::trim).filter(|form| !form.is_empty()));
    Some(format!("no function takes the arguments of `{called}`; there are {forms}"))
}
