//! English words that are cut, or not cut, against the rules for signs: contractions, abbreviations and times of day.

use std::sync::LazyLock;

use hashbrown::HashMap;

/// Where a special case is cut (0: no further cut), `None` for every other text.
pub(crate) fn special(text: &str) -> Option<&'static [u8; 2]> {
    if may_be_special(text) { SPECIAL.get(text) } else { None }
}

/// No special case is longer.
pub(crate) fn may_be_special(text: &str) -> bool {
    text.len() <= 12
}

static SPECIAL: LazyLock<HashMap<String, [u8; 2]>> = LazyLock::new(|| {
    let mut table = Specials::default();
    table.pronouns();
    table.verbs();
    table.times();
    for (whole, first, second) in
        [("c'mon", 3, 0), ("let's", 3, 0), ("cannot", 3, 0), ("gonna", 3, 0), ("gotta", 3, 0), ("not've", 3, 0), ("notve", 3, 0)]
    {
        table.both_cases(whole, [first, second]);
    }
    table.add("y'all", [2, 0]);
    table.add("yall", [1, 0]);
    table.both_cases("how'd'y", [3, 5]);
    for whole in WHOLE.split_whitespace() {
        table.add(whole, [0, 0]);
    }
    for letter in 'a'..='z' {
        table.add(&format!("{letter}."), [0, 0]);
    }
    table.cuts
});

/// Written as one piece although their signs would come off.
const WHOLE: &str = "' '' C++ 'd 's 'S 're 'em 'll 'nuff em ll nuff and/or w/o 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock \
    doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin' \
    Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. \
    Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. \
    a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. \
    Prof. Rep. Rev. Sen. St. vs. v.s.";

/// English words that only look like contractions without their apostrophe.
const NO_CONTRACTIONS: &[&str] =
    &["Ill", "ill", "Its", "its", "Hell", "hell", "Shell", "shell", "Shed", "shed", "were", "Were", "Well", "well", "Whore", "whore"];

#[derive(Default)]
struct Specials {
    cuts: HashMap<String, [u8; 2]>,
}

impl Specials {
    /// Adds a case, also with the typographic apostrophe.
    fn add(&mut self, whole: &str, cuts: [u8; 2]) {
        if whole.contains('\'') {
            let shifted = cuts.map(|cut| cut + 2 * whole[..cut as usize].matches('\'').count() as u8);
            self.cuts.insert(whole.replace('\'', "’"), shifted);
        }
        if !NO_CONTRACTIONS.contains(&whole) {
            self.cuts.insert(whole.to_string(), cuts);
        }
    }

    /// Adds a case as it stands and with a capital.
    fn both_cases(&mut self, whole: &str, cuts: [u8; 2]) {
        self.add(whole, cuts);
        self.add(&(whole[..1].to_ascii_uppercase() + &whole[1..]), cuts);
    }

    /// `base` with endings `'a` or `'a've`, each with and without apostrophes.
    fn endings(&mut self, base: &str, endings: &[&str]) {
        for ending in endings {
            let first = base.len() as u8;
            let second = ending.rfind('\'').filter(|at| *at > 1).map_or(0, |at| first + at as u8);
            self.both_cases(&format!("{base}{ending}"), [first, second]);
            let bare = ending.replace('\'', "");
            self.both_cases(&format!("{base}{bare}"), [first, second.saturating_sub(1)]);
        }
    }

    fn pronouns(&mut self) {
        for pronoun in ["i", "you", "he", "she", "it", "we", "they"] {
            self.endings(pronoun, &["'ll", "'ll've", "'d", "'d've"]);
        }
        self.endings("i", &["'m"]);
        for (whole, cuts) in [("i'ma", [1, 3]), ("ima", [1, 2])] {
            self.both_cases(whole, cuts);
        }
        ["i", "you", "we", "they"].iter().for_each(|pronoun| self.endings(pronoun, &["'ve"]));
        ["you", "we", "they"].iter().for_each(|pronoun| self.endings(pronoun, &["'re"]));
        ["he", "she", "it"].iter().for_each(|pronoun| self.endings(pronoun, &["'s"]));
        for word in ["who", "what", "when", "where", "why", "how", "there", "that", "this", "these", "those"] {
            self.endings(word, &["'ll", "'ll've", "'d", "'d've"]);
            if !matches!(word, "these" | "those") {
                self.endings(word, &["'s"]);
            }
            if !matches!(word, "that" | "this") {
                self.endings(word, &["'re", "'ve"]);
            }
        }
    }

    fn verbs(&mut self) {
        for verb in ["ca", "could", "do", "does", "did", "had", "may", "might", "must", "need", "ought", "sha", "should", "wo", "would"] {
            self.negation(verb);
            let cut = verb.len() as u8;
            self.both_cases(&format!("{verb}n't've"), [cut, cut + 3]);
            self.both_cases(&format!("{verb}ntve"), [cut, cut + 2]);
        }
        ["ai", "are", "is", "was", "were", "have", "has", "dare"].iter().for_each(|verb| self.negation(verb));
        ["could", "might", "must", "should", "would"].iter().for_each(|verb| self.endings(verb, &["'ve"]));
    }

    fn negation(&mut self, verb: &str) {
        for ending in ["n't", "nt"] {
            self.both_cases(&format!("{verb}{ending}"), [verb.len() as u8, 0]);
        }
    }

    fn times(&mut self) {
        for hour in 1..=12 {
            for half in ["a.m.", "am", "p.m.", "pm"] {
                self.add(&format!("{hour}{half}"), [hour.to_string().len() as u8, 0]);
            }
        }
    }
}
