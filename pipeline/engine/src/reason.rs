//! Why a step must run: the difference between the parts of two keys, field by field.

use serde_json::Value;

/// One changed field, for people (`word_count.min: 50 → 60`) and for programs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    pub field: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {} → {}", self.field, short(before), short(after)),
            (None, Some(after)) => write!(f, "{}: new, {}", self.field, short(after)),
            (Some(before), None) => write!(f, "{}: gone, was {}", self.field, short(before)),
            (None, None) => write!(f, "{}", self.field),
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

/// The fields in which two keys differ; lists of named entries (`name`, `path`) are compared by name.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(field: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let name = |member: &str| if field.is_empty() { member.to_string() } else { format!("{field}.{member}") };
    if let (Some(old), Some(new)) = (members(before), members(after)) {
        for (member, value) in &new {
            match old.iter().find(|(other, _)| other == member) {
                Some((_, previous)) => compare(&name(member), previous, value, found),
                None => found.push(Change { field: name(member), before: None, after: Some((*value).clone()) }),
            }
        }
        for (member, value) in old.iter().filter(|(member, _)| !new.iter().any(|(other, _)| other == member)) {
            found.push(Change { field: name(member), before: Some((*value).clone()), after: None });
        }
        return;
    }
    found.push(Change { field: field.to_string(), before: Some(before.clone()), after: Some(after.clone()) });
}

/// The members of an object, or of a list whose items all bear a name.
fn members(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Object(members) => Some(members.iter().map(|(name, value)| (name.clone(), value)).collect()),
        Value::Array(items) if !items.is_empty() => {
            let named = |item: &Value| item.get("name").or_else(|| item.get("path")).and_then(Value::as_str).map(str::to_string);
            items.iter().map(|item| named(item).map(|name| (name, item))).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_changed_field() {
        let before = json!({"settings": {"rules": [{"name": "word_count", "min": 50}, {"name": "a", "max": 1}]}, "seed": 1});
        let after = json!({"settings": {"rules": [{"name": "word_count", "min": 60}]}, "seed": 1});
        let texts: Vec<String> = changes(&before, &after).iter().map(Change::to_string).collect();
        assert_eq!(texts, ["settings.rules.word_count.min: 50 → 60", r#"settings.rules.a: gone, was {"name":"a","max":1}"#]);
        assert!(changes(&before, &before).is_empty());
    }
}
