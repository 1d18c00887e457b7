//! Documents of texts that are given and texts that should follow, as `tokenize` reads them: tokens may have lost case, spaces or their ends.

use anyhow::{Context as _, Result};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde_json::Value;

/// Columns of documents with a text and another that should follow it, as the tokens were made from them.
pub struct TextColumns {
    pub(crate) source: String,
    pub(crate) target: String,
}

impl TextColumns {
    /// Of the settings of a step `tokenize`; `None` unless its layout is `complete` or `translate`.
    pub fn of(settings: &Value) -> Option<TextColumns> {
        let text = |name: &str| settings[name].as_str().map(str::to_string);
        let source = match settings["layout"].as_str()? {
            "complete" => "prompt",
            "translate" => "source",
            _ => return None,
        };
        Some(TextColumns { source: text(source)?, target: text("target")? })
    }

    /// The texts of documents that were found.
    pub fn read(&self, documents: &RecordBatch) -> Result<Texts> {
        let column = |name: &str| -> Result<StringArray> {
            let column = documents.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"))?;
            Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        Ok(Texts { sources: column(&self.source)?, targets: column(&self.target)? })
    }
}

/// The texts of some documents.
pub struct Texts {
    sources: StringArray,
    targets: StringArray,
}

impl Texts {
    /// What is given, without the separator that ends a prompt, and what should follow.
    pub fn of(&self, document: usize) -> (String, String) {
        (self.sources.value(document).to_string(), self.targets.value(document).to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Schema};
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_stand_as_the_documents_have_them() {
        let schema = Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)]);
        let (a, b) = (StringArray::from(vec!["Été  1"]), Int64Array::from(vec![7]));
        let documents = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(a), Arc::new(b)]).unwrap();
        let check = |settings: Value, expected: Option<(&str, &str)>| {
            let found = TextColumns::of(&settings).map(|columns| columns.read(&documents).unwrap().of(0));
            assert_eq!(found, expected.map(|(source, target)| (source.to_string(), target.to_string())));
        };
        check(json!({"layout": "complete", "prompt": "a", "target": "b", "separator": "\n"}), Some(("Été  1", "7")));
        check(json!({"layout": "translate", "source": "a", "target": "b", "separator": "\n"}), Some(("Été  1", "7")));
        check(json!({"layout": "classify", "source": "a", "target": "b"}), None);
        check(json!({"path": "elsewhere"}), None);
    }
}
