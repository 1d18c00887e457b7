//! Templates of prompts, choices and targets: text with `{column}` places.
//!
//! A place goes into objects by dots and into lists by numbers: `{choices.text[0]}`. `{{` and `}}` are braces.

use anyhow::{Context as _, Result, bail, ensure};
use engine::{list, suggest};
use serde_json::Value;

/// A template that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// What stands between the braces.
    Place(String),
}

impl Template {
    /// Reads a template; an error says which brace is wrong.
    pub fn parse(source: &str) -> Result<Template> {
        let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), source);
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
            if let Some(after) = after.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            ensure!(brace == "{", "template `{source}`: a `}}` closes nothing; write `}}}}` for a brace");
            let end = after.find('}').with_context(|| format!("template `{source}`: a `{{` is not closed; write `{{{{` for a brace"))?;
            let place = after[..end].trim();
            ensure!(!place.is_empty() && !place.contains('{'), "template `{source}`: `{{{}}}` names no column", &after[..end]);
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Place(place.to_string()));
            rest = &after[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template { parts })
    }

    /// Refuses places of columns that are not among these, and columns that stand where a place was meant.
    pub fn check(&self, columns: &[&str]) -> Result<()> {
        let known = |name: &str| columns.contains(&name);
        for part in &self.parts {
            match part {
                Part::Place(place) if !known(place) && !known(column(place)) => bail!(
                    "there is no column `{}`{}; columns: {}",
                    column(place),
                    suggest(column(place), columns.iter().copied()),
                    list(columns.iter().copied())
                ),
                Part::Text(text) if self.parts.len() == 1 && known(text) => {
                    bail!("`{text}` is this very text in every row; write `{{{text}}}` for the column")
                }
                Part::Text(text) => {
                    if let Some(name) = columns.iter().find(|name| !name.is_empty() && text.contains(&format!("{{{name}}}"))) {
                        bail!("`{{{{{name}}}}}` is text in braces; write `{{{name}}}` for the column");
                    }
                }
                Part::Place(_) => {}
            }
        }
        Ok(())
    }

    /// The text for a record.
    pub fn render(&self, record: &Value) -> Result<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Place(place) => match value_at(record, place)? {
                    Value::String(value) => text.push_str(value),
                    value @ (Value::Number(_) | Value::Bool(_)) => text.push_str(&value.to_string()),
                    Value::Null => bail!("`{place}` is null"),
                    Value::Array(_) => bail!("`{place}` is a list; take one of it with `{{{place}[0]}}`"),
                    Value::Object(_) => bail!("`{place}` is an object; take one of its fields with a dot"),
                },
            }
        }
        Ok(text)
    }

    /// The texts for a record: those of the list that the only place names, or the one text.
    pub fn render_all(&self, record: &Value) -> Result<Vec<String>> {
        match self.value(record)? {
            Some(Value::Array(values)) => values.iter().map(text_of).collect(),
            _ => Ok(vec![self.render(record)?]),
        }
    }

    /// What a template that is one place alone stands for.
    pub fn value<'a>(&self, record: &'a Value) -> Result<Option<&'a Value>> {
        match &self.parts[..] {
            [Part::Place(place)] => value_at(record, place).map(Some),
            _ => Ok(None),
        }
    }
}

fn text_of(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => bail!("the list holds {value}, which is no text"),
    }
}

/// The column that a place begins with.
fn column(place: &str) -> &str {
    place.split(['.', '[']).next().unwrap_or(place)
}

/// The value at a place: of the column of that very name, or within one.
fn value_at<'a>(record: &'a Value, place: &str) -> Result<&'a Value> {
    if let Some(value) = record.get(place) {
        return Ok(value);
    }
    let mut value = record;
    for name in place.split(['.', '[']) {
        let found = match name.strip_suffix(']') {
            Some(number) => number.parse::<usize>().ok().and_then(|number| value.get(number)),
            None => value.get(name),
        };
        value = found.with_context(|| {
            let names = || record.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
            format!("there is no `{place}`{}; columns: {}", suggest(place, names()), list(names()))
        })?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> String {
        let record = json!({"q": "Who?", "n": 3, "x": 0.5, "a.b": "dots", "c": {"text": ["one", "two"], "none": null}});
        let rendered = Template::parse(template).and_then(|template| template.render(&record));
        rendered.unwrap_or_else(|error| format!("error: {error:#}"))
    }

    #[test]
    fn places_become_values() {
        assert_eq!(render("Q: {q}\nA:"), "Q: Who?\nA:");
        assert_eq!(render("{ n }/{x} {{q}} {a.b}"), "3/0.5 {q} dots");
        assert_eq!(render("{c.text[1]}{c.text[0]}"), "twoone");
        assert_eq!(render(""), "");
    }

    #[test]
    fn wrong_places_are_named() {
        assert_eq!(render("{q"), "error: template `{q`: a `{` is not closed; write `{{` for a brace");
        assert_eq!(render("q}"), "error: template `q}`: a `}` closes nothing; write `}}` for a brace");
        assert_eq!(render("{ }"), "error: template `{ }`: `{ }` names no column");
        assert_eq!(render("{c.text}"), "error: `c.text` is a list; take one of it with `{c.text[0]}`");
        assert_eq!(render("{c}"), "error: `c` is an object; take one of its fields with a dot");
        assert_eq!(render("{c.none}"), "error: `c.none` is null");
        assert_eq!(render("{c.text[2]}"), "error: there is no `c.text[2]`; columns: `q`, `n`, `x`, `a.b`, `c`");
    }

    #[test]
    fn a_list_is_many_texts() {
        let record = json!({"c": ["a", 2], "q": "x"});
        let all = |template: &str| Template::parse(template).unwrap().render_all(&record).unwrap();
        assert_eq!((all("{c}"), all("{q}"), all("{q}!")), (vec!["a".to_string(), "2".into()], vec!["x".into()], vec!["x!".into()]));
    }

    #[test]
    fn templates_are_checked_against_columns() {
        let check = |template: &str| Template::parse(template).unwrap().check(&["question", "gold"]).err().map(|error| error.to_string());
        assert_eq!(check("{question} {gold.a}"), None);
        assert_eq!(check("{queston}").unwrap(), "there is no column `queston`, did you mean `question`?; columns: `question`, `gold`");
        assert_eq!(check("gold").unwrap(), "`gold` is this very text in every row; write `{gold}` for the column");
        assert_eq!(check("Q: {{question}}").unwrap(), "`{{question}}` is text in braces; write `{question}` for the column");
    }
}
