//! Punctuation and white space that are left out, doubled or mistaken.

use super::Tally;
use super::draws::{Draws, Edits, is_han};

/// Marks that may be taken for one another.
const SETS: [&str; 2] = [",.;:!?", "，。、；：！？"];

/// Leaves out a share of the punctuation marks, or puts another in their place. Marks within numbers and words stay.
pub fn punctuation(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    let mut before = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, mark)) = characters.next() {
        let last = before.replace(mark);
        let Some(set) = SETS.iter().find(|set| set.contains(mark)) else { continue };
        let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let within = mark.is_ascii() && joins(last) && joins(characters.peek().map(|(_, next)| *next));
        let mut draws = draws.at(at);
        if within || !draws.happens(rate) {
            continue;
        }
        let others: Vec<char> = set.chars().filter(|other| *other != mark).collect();
        let other = (draws.below(2) == 0).then(|| others[draws.below(others.len())].to_string());
        edits.replace(at..at + mark.len_utf8(), other);
        tally.add("punctuation");
    }
    edits.finish()
}

/// Leaves out or doubles a share of the spaces that stand alone, and puts spaces between a share of the Chinese characters. Line ends stay.
pub fn white_space(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    let mut before: Option<char> = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let last = before.replace(c);
        let next = characters.peek().map(|(_, next)| *next);
        let mut draws = draws.at(at);
        let is_between = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
        if c == ' ' && is_between(last) && is_between(next) && draws.happens(rate) {
            edits.replace(at..at + 1, (draws.below(2) == 0).then_some("  "));
            tally.add("white_space");
        } else if is_han(&text[at..]) && last.is_some_and(|last| is_han(last.encode_utf8(&mut [0; 4]))) && draws.happens(rate) {
            edits.replace(at..at, [" "]);
            tally.add("white_space");
        }
    }
    edits.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(change: impl Fn(Draws, &mut Tally) -> Option<String>) -> Vec<String> {
        let changed = |key| change(Draws::new(key, "marks"), &mut Tally::default());
        BTreeSet::from_iter((0..300).filter_map(changed)).into_iter().collect()
    }

    #[test]
    fn marks_are_left_out_or_mistaken() {
        let change = |text: &str| all(|draws, tally| punctuation(text, 1.0, draws, tally));
        assert_eq!(change("3.14 a.b, c"), ["3.14 a.b c", "3.14 a.b! c", "3.14 a.b. c", "3.14 a.b: c", "3.14 a.b; c", "3.14 a.b? c"]);
        assert_eq!(change("好。").len(), 7);
        assert!(change("好。").iter().all(|text| text.starts_with('好') && !text.contains('。')));
        assert!(change("(a) - \"b\"").is_empty());
    }

    #[test]
    fn spaces_go_double_and_come() {
        let change = |text: &str| all(|draws, tally| white_space(text, 1.0, draws, tally));
        assert_eq!(change("a b"), ["a  b", "ab"]);
        assert_eq!(change("中文a字"), ["中 文a字"]);
        assert!(change(" a\n b  c ").is_empty());
    }
}
