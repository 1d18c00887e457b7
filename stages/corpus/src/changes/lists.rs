//! Files of words that may stand for one another: synonyms, or characters that sound alike.

use std::collections::HashMap;

use anyhow::{Result, bail};

/// Groups of words, looked up without regard to case.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Vec<String>>,
    /// Numbers of the groups that a word is in, by the word in lower case.
    of_word: HashMap<String, Vec<u32>>,
    /// Characters of the longest word.
    longest: usize,
}

impl Groups {
    /// One group a line, its words between tabs, or between commas where the line has no tab. Empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &str) -> Result<Groups> {
        let mut found = Groups::default();
        for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let separator = if line.contains('\t') { '\t' } else { ',' };
            let words: Vec<&str> = line.split(separator).map(str::trim).collect();
            if words.len() < 2 {
                bail!("line {number}: `{line}` is one word: a line holds words that may stand for one another, between tabs or commas");
            }
            if let Some(place) = words.iter().position(|word| word.is_empty()) {
                bail!("line {number}: word {} of `{line}` is empty", place + 1);
            }
            found.add(&words);
        }
        if found.groups.is_empty() {
            bail!("it holds no words: a line holds words that may stand for one another, between tabs or commas");
        }
        Ok(found)
    }

    fn add(&mut self, words: &[&str]) {
        let number = self.groups.len() as u32;
        let mut group: Vec<String> = Vec::with_capacity(words.len());
        for word in words {
            let groups = self.of_word.entry(word.to_lowercase()).or_default();
            if groups.last() == Some(&number) {
                continue;
            }
            groups.push(number);
            group.push(word.to_string());
            self.longest = self.longest.max(word.chars().count());
        }
        self.groups.push(group);
    }

    /// Characters of the longest word.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// All words that may stand for this one, those of several groups as often as they come.
    pub fn others(&self, word: &str) -> impl Iterator<Item = &str> + Clone {
        let lower = word.to_lowercase();
        let groups = self.of_word.get(&lower).map(Vec::as_slice).unwrap_or_default();
        let words = groups.iter().flat_map(|group| &self.groups[*group as usize]);
        words.map(String::as_str).filter(move |other| other.to_lowercase() != lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_line_stand_for_one_another() {
        let groups = Groups::parse("# sizes\nbig,large , Huge\r\n\nbig\tin a big way\n高兴,快乐\nlarge,large,big\n").unwrap();
        let others = |word: &str| groups.others(word).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(others("Big"), ["large", "Huge", "in a big way", "large"]);
        assert_eq!(others("huge"), ["big", "large"]);
        assert_eq!(others("快乐"), ["高兴"]);
        assert!(others("small").is_empty());
        assert_eq!(groups.longest(), 12);
    }

    #[test]
    fn wrong_lines_are_named() {
        let check = |text: &str, expected: &str| {
            let message = Groups::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        };
        check("a,b\n\nalone\n", "line 3: `alone` is one word: a line holds words");
        check("a,b\nc,,d", "line 2: word 2 of `c,,d` is empty");
        check("a\tb\t\n", "line 1: word 3 of `a\tb\t` is empty");
        check("# nothing\n", "it holds no words");
    }
}
