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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_and_nothing_far() {
        assert_eq!(suggest("word_cuont", ["word_count", "line_count"]), ", did you mean `word_count`?");
        assert_eq!(suggest("zebra", ["word_count", "line_count"]), "");
        assert_eq!(nearest("b", ["x", "ba", "b"], 2), ["b", "ba"]);
        assert_eq!(list(["a", "b"]), "`a`, `b`");
        assert_eq!(list([]), "none");
    }
}
