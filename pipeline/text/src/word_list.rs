//! Lists of words, phrases or hosts in a text file, one a line, as blocklists and lists of stop words come: what of a text is on one.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use hashbrown::{HashMap, HashSet};
use regex::{Regex, RegexBuilder};

use crate::redpajama::{normalize, raw_words};
use crate::scripts::{Script, script};
use crate::url::url_host;

/// Bytes that a compiled list of phrases may take.
const REGEX_BYTES_MAX: usize = 1 << 28;

/// The entries of a list, without white space around them.
pub struct WordList {
    entries: HashSet<Box<str>>,
    phrases: OnceLock<Phrases>,
    bounded: OnceLock<Result<Regex, String>>,
}

/// By the first word of a phrase, the words that follow it.
type Phrases = HashMap<Box<str>, Vec<Vec<Box<str>>>>;

impl WordList {
    /// Reads a list; empty lines say nothing, and a list without entries is refused.
    pub fn load(path: &Path) -> Result<WordList> {
        let failed = || format!("`{}` is no readable list of words", path.display());
        WordList::parse(&std::fs::read(path).with_context(failed)?).with_context(failed)
    }

    fn parse(bytes: &[u8]) -> Result<WordList> {
        let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim);
        let entries: HashSet<Box<str>> = lines.filter(|line| !line.is_empty()).map(Box::from).collect();
        if entries.is_empty() {
            bail!("it holds no entry: a list has one word, phrase or host a line");
        }
        Ok(WordList { entries, phrases: OnceLock::new(), bounded: OnceLock::new() })
    }

    /// Runs of words that are an entry, by RedPajama v2 (`rps_doc_ldnoobw_words`): words without ASCII punctuation, in lower case and decomposed;
    /// every entry counts wherever it begins. Beyond it, each Han character is a word, so that entries are found within Chinese text.
    pub fn phrases(&self, text: &str) -> u64 {
        let phrases = self.phrases.get_or_init(|| self.by_first_word());
        let normal = normalize(text);
        let words: Vec<&str> = han_apart(normal.split_whitespace()).collect();
        let begins = |at: usize, rest: &[Box<str>]| {
            words.get(at + 1..at + 1 + rest.len()).is_some_and(|words| words.iter().zip(rest).all(|(word, wanted)| **word == **wanted))
        };
        let at = |(at, word): (usize, &&str)| phrases.get(*word).map_or(0, |rests| rests.iter().filter(|rest| begins(at, rest)).count());
        words.iter().enumerate().map(at).sum::<usize>() as u64
    }

    fn by_first_word(&self) -> Phrases {
        let mut phrases = Phrases::new();
        for entry in &self.entries {
            let mut words = han_apart(entry.split_whitespace()).map(Box::from);
            if let Some(first) = words.next() {
                phrases.entry(first).or_default().push(words.collect());
            }
        }
        phrases
    }

    /// Entries in the lower-cased text that no letter, digit or `_` touches, by C4's program (`c4_utils.py`); as there, entries in Chinese,
    /// Japanese or Thai may stand anywhere.
    pub fn bounded(&self, text: &str) -> Result<u64, String> {
        let pattern = self.bounded.get_or_init(|| self.pattern().map_err(|error| format!("the list is too long for this: {error}")));
        Ok(pattern.as_ref().map_err(String::clone)?.find_iter(&text.to_lowercase()).count() as u64)
    }

    fn pattern(&self) -> Result<Regex, regex::Error> {
        let mut entries: Vec<&str> = self.entries.iter().map(|entry| &**entry).collect();
        // Of entries that begin at one place the longest is found.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.len()), *entry));
        let (anywhere, apart): (Vec<&str>, Vec<&str>) = entries.into_iter().partition(|entry| entry.chars().any(is_unspaced));
        let any = |entries: &[&str]| entries.iter().map(|entry| regex::escape(entry)).collect::<Vec<_>>().join("|");
        let mut patterns = Vec::new();
        patterns.extend((!apart.is_empty()).then(|| format!(r"\b{{start-half}}(?:{})\b{{end-half}}", any(&apart))));
        patterns.extend((!anywhere.is_empty()).then(|| any(&anywhere)));
        RegexBuilder::new(&patterns.join("|")).size_limit(REGEX_BYTES_MAX).build()
    }

    /// The share of words that are an entry, letter by letter, by RedPajama v2 (`rps_doc_stop_word_fraction`): words are runs of letters, digits
    /// and `_`, and runs of signs, as they stand. Beyond it, each Han character is a word. 0 without words.
    pub fn share(&self, text: &str) -> f64 {
        let (mut words, mut listed) = (0u64, 0u64);
        for word in han_apart(raw_words(text)) {
            words += 1;
            listed += u64::from(self.entries.contains(word));
        }
        if words == 0 { 0.0 } else { listed as f64 / words as f64 }
    }

    /// The entry that is the host of an address, or a domain above it; without regard to `www.`.
    pub fn host(&self, url: &str) -> Option<String> {
        let host = url_host(url);
        let above = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        std::iter::once(host.as_str()).chain(above).find(|domain| self.entries.contains(*domain)).map(str::to_string)
    }
}

/// Whether words of its writing have no space between them.
fn is_unspaced(c: char) -> bool {
    matches!(script(c), Some(Script::Han | Script::Hiragana | Script::Katakana | Script::Thai))
}

/// The words, with each Han character as one of its own.
fn han_apart<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let is_han = |c: char| script(c) == Some(Script::Han);
    words.flat_map(move |word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = if is_han(first) { first.len_utf8() } else { rest.find(is_han).unwrap_or(rest.len()) };
            let (piece, behind) = rest.split_at(end);
            rest = behind;
            Some(piece)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &str) -> WordList {
        WordList::parse(entries.as_bytes()).unwrap()
    }

    #[test]
    fn phrases_are_runs_of_normalized_words() {
        let list = list("bad\nvery bad thing\n very bad \n\nDon't\n坏话\ncafe\u{301}");
        for (text, expected) in [
            ("", 0),
            // `bad`, `very bad`, `very bad thing`; punctuation and case say nothing.
            ("A VERY, bad... thing!", 3),
            ("bad-bad badly", 0),
            ("bad bad", 2),
            // Entries are taken as they stand, so one with a capital or an apostrophe is never found.
            ("Don't", 0),
            ("他说了坏话。坏 话，坏消息", 2),
            ("Café", 1),
        ] {
            assert_eq!(list.phrases(text), expected, "{text}");
        }
    }

    #[test]
    fn bounded_entries_touch_no_word() {
        let list = list("bad\nbad word\na+\n坏话");
        for (text, expected) in [
            ("", 0),
            ("BAD, bad", 2),
            ("badly _bad bad1", 0),
            ("a bad word", 1),
            ("x-bad", 1),
            ("a+ b", 1),
            ("ba+", 0),
            ("说坏话的bad人", 1),
        ] {
            assert_eq!(list.bounded(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn shares_are_of_raw_words() {
        let list = list("the\na\n的");
        assert_eq!(list.share("the cat, a dog"), 2.0 / 5.0);
        assert_eq!(list.share("The"), 0.0);
        assert_eq!(list.share("我的书"), 1.0 / 3.0);
        assert_eq!(list.share(" "), 0.0);
    }

    #[test]
    fn hosts_are_found_by_themselves_or_a_domain_above() {
        let list = list("bad.example\nsub.fine.example\n10.0.0.1");
        let host = |url: &str| list.host(url).unwrap_or_default();
        assert_eq!(host("https://www.Bad.example:8080/x?y"), "bad.example");
        assert_eq!(host("http://user@a.b.bad.example"), "bad.example");
        assert_eq!(host("sub.fine.example/"), "sub.fine.example");
        assert_eq!(host("http://10.0.0.1:80/"), "10.0.0.1");
        for fine in ["http://fine.example", "http://notbad.example", "http://example/bad.example", ""] {
            assert_eq!(host(fine), "", "{fine}");
        }
    }

    #[test]
    fn lists_without_entries_or_in_other_encodings_are_refused() {
        let message = |bytes: &[u8]| format!("{:#}", WordList::parse(bytes).err().unwrap());
        assert!(message(b" \n\n").starts_with("it holds no entry"));
        assert!(message(b"caf\xe9").starts_with("it is not UTF-8"));
    }
}
