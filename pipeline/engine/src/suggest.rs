//! The nearest valid choice, for messages about names that do not exist.

/// `", did you mean `x`?"` for the valid name nearest to `wrong`, or nothing when none is near.
pub fn suggest<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = valid
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, name)| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// The valid names that are nearest to `wrong`, the nearest first.
pub fn nearest<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let mut names: Vec<(f64, &str)> = valid.into_iter().map(|name| (strsim::jaro_winkler(wrong, name), name)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    names.into_iter().take(most).map(|(_, name)| name).collect()
}

/// The valid choices as a sentence part: `` `a`, `b`, `c` ``; `none` when there are none.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}

/// A message of serde with the words of configs in place of Rust's types.
pub fn of_configs(message: &str) -> String {
    let (start, found) = message.split_once("expected ").unwrap_or((message, ""));
    let (word, rest) = found.split_at(found.find([' ', ',', ';']).unwrap_or(found.len()));
    let (word, rest) = match word {
        "struct" => ("a table", rest.trim_start().find(' ').map_or("", |at| &rest.trim_start()[at..])),
        "f32" | "f64" => ("a number", rest),
        "u8" | "u16" | "u32" | "u64" | "usize" | "nonzero" => ("a whole number from 0 on", rest),
        "i8" | "i16" | "i32" | "i64" => ("a whole number", rest),
        other => (other, rest),
    };
    let kinds = [("sequence", "list"), ("map", "table"), ("floating point", "number"), ("integer", "whole number")];
    let invalid =
        |start: &str, kind: (&str, &str)| start.replacen(&format!("invalid type: {}", kind.0), &format!("invalid type: {}", kind.1), 1);
    let start = kinds.into_iter().fold(start.to_string(), |start, kind| invalid(&start, kind));
    let text = if found.is_empty() { start } else { format!("{start}expected {word}{rest}") };
    text.replace("expected a sequence", "expected a list")
        .replace("expected a map", "expected a table")
        .replace("expected a string", "expected a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_configs() {
        for (message, expected) in [
            ("invalid type: string \"x\", expected a sequence", "invalid type: string \"x\", expected a list"),
            ("invalid type: sequence, expected struct Rule", "invalid type: list, expected a table"),
            ("invalid type: floating point `1.5`, expected usize", "invalid type: number `1.5`, expected a whole number from 0 on"),
            ("invalid value: integer `-1`, expected u32", "invalid value: integer `-1`, expected a whole number from 0 on"),
            ("invalid type: string \"a\", expected f64", "invalid type: string \"a\", expected a number"),
            ("unknown variant `a`, expected one of `b`, `c`", "unknown variant `a`, expected one of `b`, `c`"),
            ("missing field `paths`", "missing field `paths`"),
        ] {
            assert_eq!(of_configs(message), expected);
        }
    }

    #[test]
    fn suggests_the_nearest_and_nothing_far() {
        assert_eq!(suggest("word_cuont", ["word_count", "line_count"]), ", did you mean `word_count`?");
        assert_eq!(suggest("zebra", ["word_count", "line_count"]), "");
        assert_eq!(nearest("b", ["x", "ba", "b"], 2), ["b", "ba"]);
        assert_eq!(list(["a", "b"]), "`a`, `b`");
        assert_eq!(list([]), "none");
    }
}
