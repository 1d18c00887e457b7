//! The line rules of C4 (Raffel et al. 2020, section 2.2) as its paper and three programs have them.

use std::borrow::Cow;

use memchr::memchr;

use super::kept::Kept;

/// Whose definition of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum C4 {
    /// The paper: at least 3 words. Where it is silent, as its reference implementation (TensorFlow Datasets `c4_utils.py`): an ellipsis is no
    /// terminal punctuation, a word of more than 1000 characters drops its line. Lines are trimmed after citations went.
    Paper,
    /// datatrove's `C4QualityFilter`: `'` ends a line too; words are counted before citations go, and lines are trimmed before.
    Datatrove,
    /// The same as FineWeb uses it: without the rule of terminal punctuation.
    Fineweb,
    /// dclm's configuration `c4`: at least 5 words; empty lines and white space around lines stay.
    Dclm,
}

impl C4 {
    pub const NAMES: [(&'static str, C4); 4] =
        [("paper", C4::Paper), ("datatrove", C4::Datatrove), ("fineweb", C4::Fineweb), ("dclm", C4::Dclm)];

    fn min_words(self) -> usize {
        if self == C4::Dclm { 5 } else { 3 }
    }
}

const MAX_WORD_CHARACTERS: usize = 1000;
const POLICY: [&str; 6] = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

/// Keeps the lines that end in terminal punctuation and have enough words, without citation marks (`[1]`, `[edit]`, `[citation needed]`);
/// drops lines that speak of JavaScript, terms of use, privacy or cookies.
///
/// The originals drop a page at a line with `lorem ipsum` or `{` that came through the rules before; such a line stays here, so that a rule on
/// the result drops the document.
pub fn c4_lines(text: &str, by: C4) -> Cow<'_, str> {
    let mut kept = Kept::of(text);
    let ends: fn(char) -> bool = if by == C4::Dclm { |c| c == '\n' } else { is_line_end };
    for line in text.split(ends) {
        let line = if by == C4::Dclm { line } else { line.trim_matches(is_space) };
        match keep(line, by) {
            Some(Cow::Borrowed(line)) => kept.push(line, "\n"),
            Some(Cow::Owned(line)) => kept.push_changed(&line, "\n"),
            None => {}
        }
    }
    match (kept.finish(), by) {
        (Cow::Borrowed(text), C4::Datatrove | C4::Fineweb) => Cow::Borrowed(text.trim_matches(is_space)),
        (Cow::Owned(text), C4::Datatrove | C4::Fineweb) => Cow::Owned(text.trim_matches(is_space).to_string()),
        (text, _) => text,
    }
}

/// The line without citation marks, if it is kept.
fn keep(line: &str, by: C4) -> Option<Cow<'_, str>> {
    if line.is_empty() {
        return (by == C4::Dclm).then_some(Cow::Borrowed(line));
    }
    let words_before = count_words(line)?;
    let line = match (without_citations(line), by) {
        (Cow::Owned(line), C4::Paper) => Cow::Owned(line.trim_matches(is_space).to_string()),
        (line, _) => line,
    };
    if by == C4::Dclm && line.is_empty() {
        return Some(line);
    }
    if by != C4::Fineweb && !ends_in_punctuation(&line, by) {
        return None;
    }
    let words = match (&line, by) {
        (Cow::Owned(line), C4::Paper | C4::Dclm) => count_words(line)?,
        _ => words_before,
    };
    if words < by.min_words() {
        return None;
    }
    let spoils_page = line.contains('{') || contains_lower(&line, "lorem ipsum");
    let unwanted = contains_lower(&line, "javascript") && !contains_lower(&line, "lorem ipsum")
        || !spoils_page && POLICY.iter().any(|phrase| contains_lower(&line, phrase));
    (!unwanted).then_some(line)
}

/// How many words divided by white space; none if one is too long.
fn count_words(line: &str) -> Option<usize> {
    // A line of fewer bytes has no such word.
    if line.len() <= MAX_WORD_CHARACTERS {
        return Some(words(line).count());
    }
    words(line)
        .try_fold(0, |count, word| (word.len() <= MAX_WORD_CHARACTERS || word.chars().count() <= MAX_WORD_CHARACTERS).then_some(count + 1))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(is_space).filter(|word| !word.is_empty())
}

fn ends_in_punctuation(line: &str, by: C4) -> bool {
    let line = if by == C4::Dclm { line.trim_end_matches(is_space) } else { line };
    let ends = line.ends_with(['.', '!', '?', '"']) || by == C4::Datatrove && line.ends_with('\'');
    ends && !line.ends_with("...")
}

/// The line without `[1]`, `[]`, `[edit]` and `[citation needed]`.
fn without_citations(line: &str) -> Cow<'_, str> {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = memchr(b'[', &bytes[at..]) {
        let start = at + found;
        at = start + 1;
        let Some(end) = memchr(b']', &bytes[at..]).map(|length| at + length) else { break };
        let mark = &line[at..end];
        if mark == "edit" || mark == "citation needed" || mark.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(&line[done..start]);
            (done, at) = (end + 1, end + 1);
        }
    }
    if done == 0 {
        return Cow::Borrowed(line);
    }
    out.push_str(&line[done..]);
    Cow::Owned(out)
}

/// Whether a text has `needle` (lower-case ASCII) in any case.
pub(super) fn contains_lower(text: &str, needle: &str) -> bool {
    let (bytes, needle) = (text.as_bytes(), needle.as_bytes());
    let (first, rest) = (needle[0], &needle[1..]);
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes)
        .any(|at| bytes.len() - at > rest.len() && bytes[at + 1..=at + rest.len()].eq_ignore_ascii_case(rest))
}

/// What ends a line in Python's `splitlines`; the empty line within `\r\n` is dropped as all are.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// White space as Python's `split` and `strip` have it: also the separators 1C to 1F.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_by_each_definition() {
        // (text, paper, datatrove, fineweb, dclm)
        let long = format!("a {} b.", "x".repeat(1001));
        for (text, expected) in [
            ("", ["", "", "", ""]),
            ("One two three.", ["One two three."; 4].map(|line| line)),
            ("a b.", ["", "", "", ""]),
            ("No end here at all", ["", "", "No end here at all", ""]),
            ("He said it 'so'", ["", "He said it 'so'", "He said it 'so'", ""]),
            ("To be continued and more...", ["", "", "To be continued and more...", ""]),
            ("Is it so far? [12]", ["Is it so far?", "", "Is it so far? ", ""]),
            ("Wiki said so then.[1][edit]", ["Wiki said so then."; 4].map(|line| line)),
            ("We use cookies on this site.", ["", "", "", ""]),
            ("Please enable JavaScript in your browser.", ["", "", "", ""]),
            ("Code has {braces} and cookie policy text.", ["Code has {braces} and cookie policy text."; 4].map(|line| line)),
            (long.as_str(), ["", "", "", ""]),
            ("  Indented line with more words.  \r\n\nx\n", ["Indented line with more words."; 4].map(|line| line)),
        ] {
            for ((name, by), expected) in C4::NAMES.into_iter().zip(expected) {
                let found = c4_lines(text, by);
                if by == C4::Dclm {
                    let lines: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                    let expected = if expected == "One two three." || expected == "Wiki said so then." { "" } else { expected };
                    assert_eq!(lines.join("\n"), expected, "{name}: {text:?}");
                } else {
                    assert_eq!(found, expected.trim_end(), "{name}: {text:?}");
                }
            }
        }
    }

    #[test]
    fn dclm_keeps_empty_lines_and_spaces() {
        assert_eq!(c4_lines(" One two three four five. \n\nshort.\n \nx", C4::Dclm), " One two three four five. \n");
    }

    #[test]
    fn what_stays_is_borrowed() {
        let text = "One two three.\nFour five six!";
        assert!(matches!(c4_lines(text, C4::Paper), Cow::Borrowed(found) if found == text));
        assert!(matches!(c4_lines("x\nOne two three.\ny", C4::Paper), Cow::Borrowed("One two three.")));
    }

    proptest! {
        #[test]
        fn only_drops(text in "(a b c\\.|word|\\.|!|\"|\n|\r\n| |\\[1\\]|\\[|javascript|\\{|中){0,30}") {
            for (_, by) in C4::NAMES {
                let once = c4_lines(&text, by).into_owned();
                prop_assert!(once.len() <= text.len());
                prop_assert!(once.matches('\n').count() <= text.matches('\n').count());
            }
            let once = c4_lines(&text, C4::Paper).into_owned();
            // Nested marks (`[[1]]`) become new ones.
            if !once.contains('[') {
                prop_assert_eq!(c4_lines(&once, C4::Paper), &*once);
            }
        }
    }
}
