//! How TER cuts a text into words: Tercom's tokenizer as sacrebleu rewrote it.
//!
//! sacrebleu's rules for runs of Japanese syllables are not here: they need the text to begin with one, and there is always a space.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::Settings;
use crate::metrics::bleu::separate;

/// A text with white space between its words.
pub fn prepare<'a>(settings: &Settings, text: &'a str) -> Cow<'a, str> {
    let mut text = if settings.case_sensitive { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) };
    if settings.normalized {
        text = normalize(&text).into();
        if settings.asian {
            text = ASIAN.iter().fold(text, |text, pattern| pattern.replace_all(&text, " ${1} ").into_owned().into());
        }
    }
    if settings.no_punctuation {
        let asian = |c: char| settings.asian && is_asian_punctuation(c);
        text = text
            .chars()
            .filter(|c| !matches!(c, '.' | ',' | '?' | ':' | ';' | '!' | '"' | '(' | ')') && !asian(*c))
            .collect::<String>()
            .into();
    }
    text
}

fn normalize(text: &str) -> String {
    let line = text.replace("\n-", "").replace('\n', " ");
    let line = line.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    separate(&format!(" {line} "), |line| line.replace("'s ", " 's "))
}

/// Characters that stand apart, in sacrebleu's order. The last but two was meant to end at U+32FF, and does not.
static ASIAN: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    [
        r"([\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}])",
        r"([\x{31c0}-\x{31ef}\x{2e80}-\x{2eff}])",
        r"([\x{3300}-\x{33ff}\x{f900}-\x{faff}\x{fe30}-\x{fe4f}])",
        r"([\x{3200}-\x{3f22}])",
        r"([\x{3001}\x{3002}\x{3008}-\x{3011}\x{3014}-\x{301f}\x{ff61}-\x{ff65}\x{30fb}])",
        r"([\x{ff0e}\x{ff0c}\x{ff1f}\x{ff1a}\x{ff1b}\x{ff01}\x{ff02}\x{ff08}\x{ff09}])",
    ]
    .map(|pattern| Regex::new(pattern).expect("the pattern is constant and tested"))
});

fn is_asian_punctuation(c: char) -> bool {
    matches!(c,
        '\u{3001}' | '\u{3002}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{ff61}'..='\u{ff65}' | '\u{30fb}'
        | '\u{ff0e}' | '\u{ff0c}' | '\u{ff1f}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff01}' | '\u{ff02}' | '\u{ff08}' | '\u{ff09}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bleu::split;

    fn check(settings: Settings, text: &str, expected: &str) {
        assert_eq!(split(&prepare(&settings, text)).collect::<Vec<_>>().join(" "), expected, "{settings:?} {text:?}");
    }

    #[test]
    fn cuts_as_tercom() {
        let normalized = Settings { normalized: true, ..Settings::default() };
        check(Settings::default(), " The  cat's \u{1c}mat. ", "the cat's mat.");
        check(normalized, "The cat's &amp;lt; 3.5-4, (it's", "the cat 's < 3.5 - 4 , ( it 's");
        check(Settings { no_punctuation: true, case_sensitive: true, ..Settings::default() }, "A, b. (c)", "A b c");
        check(Settings { asian: true, ..normalized }, "我有3.5元。カタ", "我 有 3.5 元 。 カタ");
        check(Settings { asian: true, no_punctuation: true, ..normalized }, "我，元。", "我 元");
    }
}
