//! Words in place of others: synonyms, neighbours that change places (both after Wei and Zou 2019, "EDA"), and other case.

use super::Tally;
use super::draws::{Draws, Edits, is_han, words};
use super::lists::Groups;

/// Puts synonyms in the place of a share of the words that have any. A word of several Chinese characters is found where it stands, the longest
/// first.
pub fn synonyms(text: &str, rate: f64, synonyms: &Groups, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    for (start, word) in words(text) {
        if edits.has_passed(start) {
            continue;
        }
        let word = if is_han(word) { longest(&text[start..], synonyms) } else { word };
        let (others, mut draws) = (synonyms.others(word), draws.at(start));
        let count = others.clone().count();
        if count > 0 && draws.happens(rate) {
            let other = others.clone().nth(draws.below(count)).unwrap_or_default();
            edits.replace(start..start + word.len(), [in_case_of(word, other)]);
            tally.add("synonym");
        }
    }
    edits.finish()
}

/// The longest beginning of Chinese characters that has synonyms; the first character where there is none.
fn longest<'a>(text: &'a str, synonyms: &Groups) -> &'a str {
    let characters = text.char_indices().take(synonyms.longest());
    let ends = characters.take_while(|(at, _)| is_han(&text[*at..])).map(|(at, c)| at + c.len_utf8());
    let mut ends: Vec<usize> = ends.collect();
    let first = ends.first().copied().unwrap_or(0);
    ends.reverse();
    let end = ends.into_iter().find(|end| synonyms.others(&text[..*end]).next().is_some());
    &text[..end.unwrap_or(first)]
}

/// A word in the case of another, where that has capital letters.
fn in_case_of(like: &str, word: &str) -> String {
    let letters: Vec<char> = like.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.len() > 1 && letters.iter().all(|letter| letter.is_uppercase()) {
        word.to_uppercase()
    } else if letters.first().is_some_and(|letter| letter.is_uppercase()) {
        capitalized(word)
    } else {
        word.to_string()
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Swaps a share of the words with the next, where one space is between them.
pub fn word_swaps(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    let mut words = words(text).peekable();
    while let Some((start, word)) = words.next() {
        let Some((next_start, next)) = words.peek() else { break };
        let gap = &text[start + word.len()..*next_start];
        let may = gap == " " && word != *next && !is_han(word) && !is_han(next);
        if may && !edits.has_passed(start) && draws.at(start).happens(rate) {
            edits.replace(start..next_start + next.len(), [*next, gap, word]);
            tally.add("word_swap");
        }
    }
    edits.finish()
}

/// Writes a share of the words in small letters, in capital letters, or with a capital letter at the beginning, whichever they are not.
pub fn case(text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    for (start, word) in words(text) {
        let mut draws = draws.at(start);
        if !draws.happens(rate) {
            continue;
        }
        let lower = word.to_lowercase();
        let mut others = vec![capitalized(&lower), word.to_uppercase(), lower];
        others.retain(|other| other != word);
        others.dedup();
        if !others.is_empty() {
            edits.replace(start..start + word.len(), [&others[draws.below(others.len())]]);
            tally.add("case");
        }
    }
    edits.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(change: impl Fn(Draws, &mut Tally) -> Option<String>) -> Vec<String> {
        let changed = |key| change(Draws::new(key, "words"), &mut Tally::default());
        BTreeSet::from_iter((0..300).filter_map(changed)).into_iter().collect()
    }

    #[test]
    fn synonyms_keep_the_case_and_the_longest_chinese_word_counts() {
        let groups = Groups::parse("big,large,of size\n高兴,快乐\n高,大\n").unwrap();
        let check = |text: &str, expected: &[&str]| assert_eq!(all(|draws, tally| synonyms(text, 1.0, &groups, draws, tally)), expected);
        check("a big dog", &["a large dog", "a of size dog"]);
        check("BIG!", &["LARGE!", "OF SIZE!"]);
        check("Big.", &["Large.", "Of size."]);
        check("他很高兴。", &["他很快乐。"]);
        check("高兴高", &["快乐大"]);
        check("small, 矮", &[]);
    }

    #[test]
    fn neighbours_change_places_once() {
        let swap = |text: &str| all(|draws, tally| word_swaps(text, 1.0, draws, tally));
        assert_eq!(swap("one two three four, five"), ["two one four three, five"]);
        assert_eq!(swap("one  two\nthree, 中文 one one"), Vec::<String>::new());
    }

    #[test]
    fn words_change_their_case() {
        let change = |text: &str| all(|draws, tally| case(text, 1.0, draws, tally));
        assert_eq!(change("word"), ["WORD", "Word"]);
        assert_eq!(change("It's"), ["IT'S", "it's"]);
        assert_eq!(change("a 1"), ["A 1"]);
        assert_eq!(change("中文 42"), Vec::<String>::new());
    }
}
