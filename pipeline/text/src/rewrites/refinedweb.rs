//! The line rules of RefinedWeb (Penedo et al. 2023, appendix G.2) as dclm has them in `dclm_baseline_refinedweb.yaml`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::c4::{contains_lower, is_space};

/// Drops lines of more than half capitals, of digits alone, that are counters (`3 likes`), or of one word; takes `items in cart`, a closing
/// `Read more...` and an opening `Sign-in` out of lines of at most 10 words, and drops a line of which nothing is left. Empty lines stay, the ends
/// of the text are trimmed. Borrowed when nothing changes.
pub fn refinedweb_lines(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut lines: Vec<Cow<str>> = text.split('\n').map(Cow::Borrowed).collect();
    // The original trims the text after every rule but that of words, which changes what the next rule sees of its first and last line.
    for rule in [is_shouted, is_number, is_counter] {
        lines.retain(|line| !rule(line));
        trim(&mut lines);
    }
    lines.retain(|line| line.is_empty() || has_two_words(line));
    for phrase in PHRASES.iter() {
        lines = lines.into_iter().filter_map(|line| without_phrase(line, phrase)).collect();
        trim(&mut lines);
    }
    Cow::Owned(lines.join("\n"))
}

/// Whether no rule applies to any line and the ends are trimmed.
fn is_clean(text: &str) -> bool {
    let keeps = |line: &str| line.is_empty() || has_two_words(line) && !is_shouted(line) && !is_counter(line) && !has_phrase(line);
    text.trim_matches(is_space).len() == text.len() && text.split('\n').all(keeps)
}

/// As Python's `strip` of the joined lines.
fn trim(lines: &mut Vec<Cow<str>>) {
    let is_blank = |line: &Cow<str>| line.trim_matches(is_space).is_empty();
    while lines.last().is_some_and(is_blank) {
        lines.pop();
    }
    let blank = lines.iter().take_while(|line| is_blank(line)).count();
    lines.drain(..blank);
    if let Some(first) = lines.first_mut() {
        shorten(first, |line| line.trim_start_matches(is_space));
    }
    if let Some(last) = lines.last_mut() {
        shorten(last, |line| line.trim_end_matches(is_space));
    }
}

fn shorten(line: &mut Cow<str>, part: fn(&str) -> &str) {
    *line = match std::mem::take(line) {
        Cow::Borrowed(line) => Cow::Borrowed(part(line)),
        Cow::Owned(line) => Cow::Owned(part(&line).to_string()),
    };
}

/// More than half of the characters are capitals.
fn is_shouted(line: &str) -> bool {
    let (mut capitals, mut characters) = (0, 0);
    for c in line.chars() {
        characters += 1;
        capitals += usize::from(c.is_uppercase());
    }
    2 * capitals > characters
}

fn is_number(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c.is_ascii_digit() || !c.is_ascii() && DIGITS.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Digits as Python's `isdigit` has them: decimal ones and those of super- and subscripts.
static DIGITS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{Nd}²³¹⁰⁴-⁹₀-₉]$").expect("a constant pattern"));

/// `3 likes`, `1.2K views`.
fn is_counter(line: &str) -> bool {
    // Nearly all lines end otherwise.
    let is_word_end = |c: char| matches!(c, 's' | 'S');
    line.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_').ends_with(is_word_end)
        && line.contains(|c: char| c.is_numeric())
        && COUNTER.is_match(&line.to_lowercase())
}

static COUNTER: LazyLock<Regex> = LazyLock::new(|| {
    let counted = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers";
    Regex::new(&format!(r"^\W*\d[,.\d]*[kmb]?\s+(?:{counted})\W*$")).expect("a constant pattern")
});

fn has_two_words(line: &str) -> bool {
    line.split(is_space).filter(|word| !word.is_empty()).nth(1).is_some()
}

/// Longer lines keep the phrases.
const MAX_WORDS: usize = 10;

/// The points of `Read more...` stand for any character in the original too.
static PHRASES: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [r"(?i)\s?items in cart", r"(?i)\s?read more...$", r"(?i)^sign-in\s?"].map(|phrase| Regex::new(phrase).expect("a constant pattern"))
});

fn has_phrase(line: &str) -> bool {
    ["items in cart", "read more", "sign-in"].into_iter().any(|phrase| contains_lower(line, phrase))
        && line.split(is_space).filter(|word| !word.is_empty()).nth(MAX_WORDS).is_none()
        && PHRASES.iter().any(|phrase| phrase.is_match(line))
}

/// The line without the phrase; none if nothing else was in it.
fn without_phrase<'a>(line: Cow<'a, str>, phrase: &Regex) -> Option<Cow<'a, str>> {
    if !has_phrase(&line) || !phrase.is_match(&line) {
        return Some(line);
    }
    let rest = phrase.replace_all(&line, "").into_owned();
    (!rest.trim_matches(is_space).is_empty()).then_some(Cow::Owned(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_as_dclm_has_them() {
        for (text, expected) in [
            ("", ""),
            ("two words\n\nand more", "two words\n\nand more"),
            ("SHOUTED TEXT here\nHALF of it", "HALF of it"),
            ("12345\n１２ ３\n²\n1 2\nnext line", "１２ ３\n1 2\nnext line"),
            ("3 likes\n1.2K Views!\n* 10,000 followers *\n3 people like this\nlikes 3", "3 people like this\nlikes 3"),
            ("single\n \nreal text\n", "real text"),
            ("  indented words  \nx y ", "indented words  \nx y"),
            ("You have 3 Items in Cart now\nitems in cart\na b", "You have 3 now\na b"),
            ("An article. Read more...\nRead more>>>\nRead more now\nlast line", "An article.\nRead more now\nlast line"),
            ("Sign-in to read\nplease sign-in here", "to read\nplease sign-in here"),
            (
                "one two three four five six seven eight items in cart eleven\nlast one",
                "one two three four five six seven eight items in cart eleven\nlast one",
            ),
            ("LIKES", ""),
        ] {
            let found = refinedweb_lines(text);
            assert_eq!(found, expected, "{text:?}");
            assert_eq!(matches!(found, Cow::Borrowed(_)), text == expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn only_drops(text in "(a b|WORD|word| |\n|\n\n|12|3 likes|Sign-in |Read more...| items in cart|é|中){0,20}") {
            let once = refinedweb_lines(&text).into_owned();
            prop_assert!(once.len() <= text.len());
            prop_assert!(once.matches('\n').count() <= text.matches('\n').count());
            prop_assert!(is_clean(&text) <= (once == text));
        }
    }
}
