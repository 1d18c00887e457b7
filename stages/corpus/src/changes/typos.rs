//! Typing errors. In words of letters: the four edits of Pruthi et al. 2019 ("Combating Adversarial Misspellings with Robust Word Recognition"),
//! two neighbouring letters swapped, a letter dropped, a letter put in, a letter of a neighbouring key; never at the first or the last letter, nor in
//! words of less than four. What is put in is the same letter once more, as a finger does. Damerau 1964 found four of five misspellings to be one of
//! the four. In Chinese: characters that sound alike, and neighbouring characters swapped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tally;
use super::draws::{Draws, Edits, is_han, words};
use super::lists::Groups;

/// Letters of the shortest word that is mistyped.
const LETTERS_MIN: usize = 4;
/// Of 4100 wrongly written Chinese words, 76 % had a character of a similar sound (Liu et al. 2011, "Visually and Phonologically Similar Characters
/// in Incorrect Chinese Words").
const HOMOPHONE_RATE: f64 = 0.76;

/// A typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Typo {
    /// Two neighbouring letters, or Chinese characters, change places.
    Swap,
    /// A letter is missing.
    Drop,
    /// A letter stands twice.
    Double,
    /// A letter is one of a neighbouring key.
    Key,
}

impl Typo {
    pub const ALL: [Typo; 4] = [Typo::Swap, Typo::Drop, Typo::Double, Typo::Key];

    fn name(self) -> &'static str {
        match self {
            Typo::Swap => "typo_swap",
            Typo::Drop => "typo_drop",
            Typo::Double => "typo_double",
            Typo::Key => "typo_key",
        }
    }

    /// Whether it can happen to the letter at `at`, which is neither the first nor the last. What a combining mark follows is left alone.
    fn fits(self, letters: &[char], at: usize) -> bool {
        let whole = letters[at].is_alphabetic() && letters[at + 1].is_alphabetic();
        whole
            && match self {
                Typo::Swap => at + 2 < letters.len() && letters[at] != letters[at + 1] && letters[at + 2].is_alphabetic(),
                Typo::Drop | Typo::Double => true,
                Typo::Key => !neighbours(letters[at]).is_empty(),
            }
    }

    fn happen(self, letters: &mut Vec<char>, at: usize, draws: &mut Draws) {
        match self {
            Typo::Swap => letters.swap(at, at + 1),
            Typo::Drop => drop(letters.remove(at)),
            Typo::Double => letters.insert(at, letters[at]),
            Typo::Key => {
                let keys = neighbours(letters[at]).as_bytes();
                let key = char::from(keys[draws.below(keys.len())]);
                letters[at] = if letters[at].is_uppercase() { key.to_ascii_uppercase() } else { key };
            }
        }
    }
}

/// The letters beside a key of the American keyboard (QWERTY); none of other letters.
fn neighbours(letter: char) -> &'static str {
    match letter.to_ascii_lowercase() {
        'q' => "wa",
        'w' => "qeas",
        'e' => "wrsd",
        'r' => "etdf",
        't' => "ryfg",
        'y' => "tugh",
        'u' => "yihj",
        'i' => "uojk",
        'o' => "ipkl",
        'p' => "ol",
        'a' => "qwsz",
        's' => "weadzx",
        'd' => "ersfxc",
        'f' => "rtdgcv",
        'g' => "tyfhvb",
        'h' => "yugjbn",
        'j' => "uihknm",
        'k' => "iojlm",
        'l' => "opk",
        'z' => "asx",
        'x' => "sdzc",
        'c' => "dfxv",
        'v' => "fgcb",
        'b' => "ghvn",
        'n' => "hjbm",
        'm' => "jkn",
        _ => "",
    }
}

/// Mistypes a share of the words. A Chinese character is taken for one that sounds like it, or swapped with the next.
pub fn mistype(text: &str, rate: f64, kinds: &[Typo], homophones: Option<&Groups>, draws: Draws, tally: &mut Tally) -> Option<String> {
    let mut edits = Edits::of(text);
    let mut words = words(text).peekable();
    while let Some((start, word)) = words.next() {
        let (mut draws, end) = (draws.at(start), start + word.len());
        if edits.has_passed(start) || !draws.happens(rate) {
            continue;
        }
        if !is_han(word) {
            if let Some((wrong, typo)) = misspell(word, kinds, &mut draws) {
                edits.replace(start..end, [wrong]);
                tally.add(typo.name());
            }
            continue;
        }
        let next = words.peek().filter(|(at, next)| *at == end && is_han(next) && *next != word && kinds.contains(&Typo::Swap));
        let alike = homophones.map_or(0, |homophones| homophones.others(word).count());
        if alike > 0 && (next.is_none() || draws.happens(HOMOPHONE_RATE)) {
            edits.replace(start..end, homophones.and_then(|homophones| homophones.others(word).nth(draws.below(alike))));
            tally.add("typo_homophone");
        } else if let Some((_, next)) = next {
            edits.replace(start..end + next.len(), [*next, word]);
            tally.add(Typo::Swap.name());
        }
    }
    edits.finish()
}

/// A word with one typing error, all kinds alike often; `None` where there is no place for any.
fn misspell(word: &str, kinds: &[Typo], draws: &mut Draws) -> Option<(String, Typo)> {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() < LETTERS_MIN {
        return None;
    }
    let first = draws.below(kinds.len());
    // Where a kind has no place, the next one is tried.
    kinds.iter().cycle().skip(first).take(kinds.len()).find_map(|kind| {
        let places: Vec<usize> = (1..letters.len() - 1).filter(|at| kind.fits(&letters, *at)).collect();
        (!places.is_empty()).then(|| {
            kind.happen(&mut letters, places[draws.below(places.len())], draws);
            (letters.iter().collect(), *kind)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All that can become of a word.
    fn all(text: &str, kinds: &[Typo], homophones: Option<&Groups>) -> Vec<String> {
        let mistype = |key| mistype(text, 1.0, kinds, homophones, Draws::new(key, "typos"), &mut Tally::default());
        BTreeSet::from_iter((0..500).filter_map(mistype)).into_iter().collect()
    }

    #[test]
    fn letters_are_swapped_dropped_doubled_and_mistaken_inside_of_words() {
        assert_eq!(all("word", &[Typo::Swap], None), ["wrod"]);
        assert_eq!(all("words", &[Typo::Swap], None), ["wodrs", "wrods"]);
        assert_eq!(all("word", &[Typo::Drop], None), ["wod", "wrd"]);
        assert_eq!(all("word", &[Typo::Double], None), ["woord", "worrd"]);
        assert_eq!(all("wOnd", &[Typo::Key], None), ["wInd", "wKnd", "wLnd", "wObd", "wOhd", "wOjd", "wOmd", "wPnd"]);
        assert_eq!(all("word", &Typo::ALL, None).len(), 1 + 2 + 2 + 8);
        // Nothing to swap within a double letter: the next kind is taken.
        assert_eq!(all("noon", &[Typo::Swap, Typo::Drop], None), ["non"]);
    }

    #[test]
    fn short_words_numbers_and_letters_with_marks_stay() {
        for text in ["the cat", "2024 3.14", "a\u{301}e\u{301}i\u{301}o\u{301}", "", "...", "中"] {
            assert!(all(text, &Typo::ALL, None).is_empty(), "{text}");
        }
        // No keyboard is known of other scripts.
        assert_eq!(all("слово", &[Typo::Key, Typo::Swap], None), ["слвоо", "солво"]);
    }

    #[test]
    fn chinese_characters_are_swapped_or_sound_alike() {
        assert_eq!(all("中文字", &[Typo::Swap], None), ["文中字"]);
        assert!(all("中文字", &[Typo::Drop], None).is_empty());
        let homophones = Groups::parse("做,作,坐").unwrap();
        assert_eq!(all("做。", &[Typo::Drop], Some(&homophones)), ["作。", "坐。"]);
        assert_eq!(all("做人", &[Typo::Swap], Some(&homophones)), ["人做", "作人", "坐人"]);
    }

    #[test]
    fn about_the_share_that_was_asked_for_is_mistyped() {
        let text = "letters of many different words ".repeat(2000);
        let mut tally = Tally::default();
        let wrong = mistype(&text, 0.1, &Typo::ALL, None, Draws::new(1, "typos"), &mut tally).unwrap();
        let changed = text.split(' ').zip(wrong.split(' ')).filter(|(a, b)| a != b).count();
        // Of five words four are long enough; four standard deviations of 8000 draws.
        assert!((692..=908).contains(&changed), "{changed}");
        let counts: Vec<i64> = tally.iter().map(|(_, count)| count).collect();
        assert!(counts.len() == 4 && counts.iter().sum::<i64>() == changed as i64 && counts.iter().all(|count| *count > 120), "{counts:?}");
    }
}
