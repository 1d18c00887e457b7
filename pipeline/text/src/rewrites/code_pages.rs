//! The code pages in which UTF-8 is misread, and what tells misread text from sound text in each.

use std::ops::Range;
use std::sync::LazyLock;

use super::mojibake::Evidence;

/// A code page of one byte a character.
pub(super) struct Page {
    /// The characters of the bytes 80 to FF.
    high: &'static LazyLock<Vec<(char, u8)>>,
    /// First bytes of the characters at which a run can begin.
    pub first_bytes: [u8; 3],
    /// The characters at which a run can begin.
    leads: fn(char) -> bool,
    /// How sure a sequence is to be mojibake, given the character before it.
    pub evidence: fn(Option<char>, &[char]) -> Evidence,
    /// How many sequences of weak evidence make a strong run.
    pub sequences_of_proof: usize,
    /// Whether a U+00A0 that became a space and a closing quote that lost its last byte are made good.
    pub loses_bytes: bool,
    /// A text that is UTF-8 as a whole needs no strong evidence with so many sequences.
    pub sequences_of_whole: usize,
}

pub(super) static PAGES: [Page; 4] = [
    Page {
        high: &WINDOWS_1252,
        first_bytes: [0xc3; 3],
        leads: |c| ('Â'..='ð').contains(&c),
        evidence: windows_1252_evidence,
        sequences_of_proof: 2,
        loses_bytes: true,
        sequences_of_whole: 4,
    },
    Page {
        high: &WINDOWS_1251,
        first_bytes: [0xd0; 3],
        leads: |c| matches!(c, 'Р' | 'С' | 'В' | 'Г' | 'в'),
        evidence: windows_1251_evidence,
        sequences_of_proof: 3,
        loses_bytes: false,
        sequences_of_whole: 4,
    },
    Page {
        high: &WINDOWS_1250,
        first_bytes: [0xc3, 0xc4, 0xc4],
        leads: |c| matches!(c, 'Â' | 'Ă' | 'Ä' | 'Ĺ' | 'â'),
        evidence: windows_1250_evidence,
        sequences_of_proof: 2,
        loses_bytes: false,
        sequences_of_whole: 4,
    },
    Page {
        high: &MAC_ROMAN,
        first_bytes: [0xe2, 0xc2, 0xc2],
        leads: |c| matches!(c, '√' | '‚' | '¬'),
        evidence: mac_roman_evidence,
        sequences_of_proof: usize::MAX,
        loses_bytes: false,
        sequences_of_whole: 6,
    },
];

static WINDOWS_1252: LazyLock<Vec<(char, u8)>> = LazyLock::new(|| {
    // Bytes 80 to 9F also as Latin-1 reads them: C1 controls.
    let controls = (0x80..=0x9f).map(|byte| (char::from(byte), byte));
    table(WINDOWS_1252_SPECIAL, controls.chain((0xa0..=0xff).map(|byte| (char::from(byte), byte))))
});
/// Bytes 80 to 9F; a byte without a character is itself, a C1 control.
const WINDOWS_1252_SPECIAL: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
static WINDOWS_1251: LazyLock<Vec<(char, u8)>> = LazyLock::new(|| {
    let letters = ('А'..='я').zip(0xc0..=0xff);
    table("ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕї", letters)
});
static WINDOWS_1250: LazyLock<Vec<(char, u8)>> = LazyLock::new(|| {
    let special = "€\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż\
        ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
    table(special, std::iter::empty())
});
static MAC_ROMAN: LazyLock<Vec<(char, u8)>> = LazyLock::new(|| {
    let special = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\u{a0}\
        ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
    table(special, std::iter::empty())
});

/// The characters of the bytes from 80 on and further ones, sorted.
fn table(from_80: &str, further: impl Iterator<Item = (char, u8)>) -> Vec<(char, u8)> {
    let mut table: Vec<(char, u8)> = from_80.chars().zip(0x80..=0xff).chain(further).collect();
    table.sort_unstable();
    table.dedup();
    table
}

/// The character that Windows-1252 has in the place of a C1 control.
pub(super) fn windows_1252(control: char) -> Option<char> {
    let index = (control as usize).checked_sub(0x80)?;
    WINDOWS_1252_SPECIAL.chars().nth(index).filter(|c| *c != control)
}

impl Page {
    pub fn byte(&self, c: char) -> Option<u8> {
        let index = self.high.binary_search_by_key(&c, |(known, _)| *known).ok()?;
        Some(self.high[index].1)
    }

    pub fn is_lead(&self, text: &str, position: usize) -> bool {
        text[position..].chars().next().is_some_and(self.leads)
    }

    /// `Ã ` was `à`, whose second byte A0 some program made a space; `Â ` was a no-break space. The length of the letter if it is one of these.
    pub fn lost_space(&self, text: &str, position: usize) -> Option<usize> {
        let rest = &text[position..];
        let is_lost = self.loses_bytes && (rest.starts_with("Ã ") || rest.starts_with("Â "));
        (is_lost && !text[..position].ends_with(char::is_uppercase)).then_some('Ã'.len_utf8())
    }

    /// As [`Page::lost_space`], straight after a small letter: no word of any language has that.
    pub fn is_lost_space_in_word(&self, text: &str, position: usize) -> bool {
        self.lost_space(text, position).is_some() && text[..position].ends_with(char::is_lowercase)
    }

    /// Copies text between runs, in a text that certainly has mojibake, and makes good lost spaces.
    pub fn push_between(&self, out: &mut String, text: &str, range: Range<usize>) {
        let mut done = range.start;
        if self.loses_bytes {
            for (found, letter) in text[range.clone()].match_indices(['Ã', 'Â']) {
                let at = range.start + found;
                let Some(length) = self.lost_space(text, at) else { continue };
                out.push_str(&text[done..at]);
                out.push(if letter == "Ã" { 'à' } else { '\u{a0}' });
                // After `Ã` the space was the lost byte alone if another stands beside it, or if Portuguese `às` came apart.
                let mut ahead = text[at + length + 1..range.end].chars();
                let (next, after) = (ahead.next(), ahead.next());
                let is_lost_byte = next == Some(' ') || next == Some('s') && after.is_none_or(|c| !c.is_alphanumeric());
                done = at + length + usize::from(letter == "Â" || is_lost_byte);
            }
        }
        out.push_str(&text[done..range.end]);
    }
}

/// Whether a character may stand straight after a letter in sound text: closing marks of all typographies, footnote signs, no-break spaces.
fn follows_letters(c: char) -> bool {
    matches!(
        c,
        '…' | '’'
            | '‘'
            | '“'
            | '”'
            | '–'
            | '—'
            | '›'
            | '»'
            | '\u{a0}'
            | '\u{ad}'
            | '™'
            | '©'
            | '®'
            | '·'
            | 'ª'
            | 'º'
            | '°'
            | '´'
            | '¹'
            | '²'
            | '³'
    )
}

/// A letter of a language; Unicode also counts these signs.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, 'ª' | 'º' | 'µ' | 'ƒ' | 'ˆ')
}

fn is_control(c: char) -> bool {
    ('\u{80}'..='\u{9f}').contains(&c)
}

/// A sign that stands after a letter in no sound text.
fn is_odd(c: char) -> bool {
    !is_letter(c) && !follows_letters(c)
}

fn windows_1252_evidence(before: Option<char>, sequence: &[char]) -> Evidence {
    let (lead, next) = (sequence[0], sequence[1]);
    let in_capitals = before.is_some_and(char::is_uppercase);
    // A capital within a word.
    let in_word = before.is_some_and(char::is_lowercase) && lead.is_uppercase();
    if sequence.iter().any(|c| is_control(*c)) {
        return Evidence::Strong;
    }
    let strong = match lead {
        'Â' => is_odd(next) || !is_letter(next) && (!in_capitals || matches!(next, '\u{a0}' | '©' | '®' | '·' | '°')),
        'Ã' => is_odd(next) || !in_capitals || next.is_lowercase(),
        'Ä' | 'Å' => is_odd(next) || in_word || is_letter(next) && !in_capitals,
        'Î' | 'Ï' => (is_odd(next) || in_word) && !in_capitals,
        'à'..='ï' => is_odd(next) || next.is_uppercase() || is_stray(sequence[2]) || sequence == ['ï', '»', '¿'],
        'ð' => is_odd(next) || next.is_uppercase(),
        // Greek, Cyrillic, Arabic and others: within a word, several in a row, or among others.
        _ => in_word,
    };
    match strong {
        true => Evidence::Strong,
        // A product with a fraction is sound: `2×½`.
        false if lead == '×' && matches!(next, '¼' | '½' | '¾' | '±') => Evidence::None,
        false if lead < 'à' && (is_odd(next) || in_word) => Evidence::Weak,
        false => Evidence::None,
    }
}

/// Signs that hardly occur, least of all after a closing mark.
fn is_stray(c: char) -> bool {
    matches!(c, '¤' | '¦' | '¨' | '¬' | '¯' | '¸' | 'ƒ' | 'ˆ' | '˜' | '‰' | 'µ')
}

/// Russian writes no capital `Р` or `С` before every sign, nor Serbian `Ђ` after a small letter.
fn windows_1251_evidence(before: Option<char>, sequence: &[char]) -> Evidence {
    match sequence {
        ['в', 'Ђ', ..] => Evidence::Strong,
        ['в', ..] => Evidence::None,
        [lead, ..] if lead.is_uppercase() && before.is_some_and(|c| c.is_ascii_lowercase()) => Evidence::Strong,
        _ => Evidence::Weak,
    }
}

/// `Ă` and `Ĺ` as Romanian and Slovak have them stand at the beginning of a word or in capitals.
fn windows_1250_evidence(before: Option<char>, sequence: &[char]) -> Evidence {
    let (lead, next) = (sequence[0], sequence[1]);
    let in_capitals = before.is_some_and(char::is_uppercase);
    let in_word = before.is_some_and(char::is_lowercase);
    match lead {
        'Ă' | 'Ĺ' | 'Ä' if is_odd(next) || in_word => Evidence::Strong,
        'â' if is_odd(next) => Evidence::Strong,
        _ if !in_capitals => Evidence::Weak,
        _ => Evidence::None,
    }
}

/// `‚Ä™` for a quote and `√©` for `é`; not the sound `√π`, `√2` or `¬p`.
fn mac_roman_evidence(before: Option<char>, sequence: &[char]) -> Evidence {
    match sequence {
        ['‚', 'Ä', ..] => Evidence::Strong,
        ['√', next] if !matches!(next, 'π' | 'µ' | '∞' | '±' | '∑' | '∂' | '∫') && before.is_some_and(char::is_alphabetic) => {
            Evidence::Strong
        }
        ['¬', '†'] if before.is_some_and(char::is_alphabetic) => Evidence::Strong,
        ['π' | '≈', ..] => Evidence::None,
        _ => Evidence::Weak,
    }
}
