//! Repair of mojibake: UTF-8 that some program read in a code page of one byte a character, once or several times.
//!
//! In the spirit of ftfy, with rules of its own. A character of a code page is a byte; a **run** is a stretch whose bytes are valid UTF-8.
//! Valid UTF-8 of two characters also occurs in sound text (`CAFÉ»` is `ɻ`), so a run is decoded only on **evidence**: a pair of characters that no
//! writing system puts side by side. Doubtful runs are decoded with the others when nothing else in the text is beyond ASCII.
//! Not repaired: text read in a double-byte code page, and mix-ups of two code pages.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr3_iter};

use super::code_pages::{PAGES, Page, windows_1252};

/// How sure a sequence is to be mojibake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// Sound text has it too.
    None,
    /// Enough beside others of its kind.
    Weak,
    Strong,
}

/// Decodes what is mojibake beyond doubt and leaves the rest; borrowed when nothing changes. Applying it twice equals once.
///
/// Windows-1252 and Latin-1 (also several times over), Windows-1250, Windows-1251 and Mac Roman. C1 controls that are left become the
/// characters Windows-1252 has in their place, as browsers do; a single U+0085 is a line end and stays.
pub fn fix_mojibake(text: &str) -> Cow<'_, str> {
    let mut fixed = Cow::Borrowed(text);
    while let Some(better) = fix_once(&fixed) {
        fixed = Cow::Owned(better);
    }
    fixed
}

fn fix_once(text: &str) -> Option<String> {
    let first = text.bytes().position(|byte| !byte.is_ascii())?;
    let whole = PAGES.iter().find_map(|page| decode_whole(text, first, page));
    whole.or_else(|| PAGES.iter().find_map(|page| decode_runs(text, page))).or_else(|| replace_controls(text))
}

/// Adjacent sequences, each of which is one character of the text that was meant.
struct Run {
    start: usize,
    end: usize,
    meant: String,
    sequences: usize,
    evidence: Evidence,
}

/// The text decoded if all of it beyond ASCII is valid UTF-8 in the code page, and be it by weak evidence.
fn decode_whole(text: &str, first: usize, page: &Page) -> Option<String> {
    let mut runs: Vec<Run> = Vec::new();
    let mut at = first;
    // Sound text fails at its first characters.
    while let Some(found) = text.as_bytes()[at..].iter().position(|byte| !byte.is_ascii()) {
        at += found;
        if let Some(length) = page.lost_space(text, at) {
            at += length;
            continue;
        }
        let run = run_at(text, at, page)?;
        at = run.end;
        runs.push(run);
    }
    let sequences: usize = runs.iter().map(|run| run.sequences).sum();
    let various = || {
        let mut meant: Vec<char> = runs.iter().flat_map(|run| run.meant.chars()).collect();
        meant.sort_unstable();
        meant.dedup();
        2 * meant.len() > page.sequences_of_whole
    };
    let strongest = runs.iter().map(|run| run.evidence).max()?;
    let is_certain = strongest == Evidence::Strong || strongest == Evidence::Weak && sequences >= page.sequences_of_whole && various();
    is_certain.then(|| rewrite(text, runs.iter(), page))
}

/// The text with the runs of one code page decoded; none if there is no strong evidence for any.
fn decode_runs(text: &str, page: &Page) -> Option<String> {
    let mut runs: Vec<Run> = Vec::new();
    let [first, second, third] = page.first_bytes;
    let mut is_certain = false;
    for position in memchr3_iter(first, second, third, text.as_bytes()) {
        let done = runs.last().map_or(0, |run| run.end);
        if position >= done && page.is_lead(text, position) {
            is_certain |= page.is_lost_space_in_word(text, position);
            runs.extend(run_at(text, position, page).filter(|run| run.evidence > Evidence::None));
        }
    }
    is_certain |= runs.iter().any(|run| run.evidence == Evidence::Strong);
    is_certain.then(|| rewrite(text, runs.iter(), page))
}

fn rewrite<'a>(text: &str, runs: impl Iterator<Item = &'a Run>, page: &Page) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for run in runs {
        page.push_between(&mut out, text, done..run.start);
        out.push_str(&run.meant);
        done = run.end;
    }
    page.push_between(&mut out, text, done..text.len());
    out
}

fn run_at(text: &str, start: usize, page: &Page) -> Option<Run> {
    let mut before = text[..start].chars().next_back();
    let mut run = Run { start, end: start, meant: String::new(), sequences: 0, evidence: Evidence::None };
    let mut long = 0;
    while let Some(sequence) = sequence_at(text, run.end, page) {
        long += usize::from(sequence.length == 3);
        let evidence = if sequence.is_cut { Evidence::Strong } else { (page.evidence)(before, &sequence.characters[..sequence.length]) };
        run.evidence = run.evidence.max(evidence);
        run.sequences += 1;
        run.end += sequence.bytes;
        run.meant.push(sequence.meant);
        before = Some(sequence.characters[sequence.length - 1]);
    }
    // Several of three characters side by side, as Chinese gives them, are an accident in no text.
    if long >= 2 || run.evidence == Evidence::Weak && run.sequences >= page.sequences_of_proof {
        run.evidence = Evidence::Strong;
    }
    (run.sequences > 0).then_some(run)
}

struct Sequence {
    characters: [char; 4],
    /// Of `characters`, and in bytes of the text.
    length: usize,
    bytes: usize,
    meant: char,
    /// Whether its last character got lost.
    is_cut: bool,
}

fn sequence_at(text: &str, position: usize, page: &Page) -> Option<Sequence> {
    let rest = &text[position..];
    let mut chars = rest.chars();
    let lead = chars.next().filter(|c| !c.is_ascii())?;
    let length = match page.byte(lead)? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0 => 4,
        _ => return None,
    };
    let (mut characters, mut encoded, mut lost) = (['\0'; 4], [0; 4], false);
    characters[0] = lead;
    encoded[0] = page.byte(lead)?;
    let mut bytes = lead.len_utf8();
    for index in 1..length {
        let next = chars.next();
        let c = next.filter(|c| !c.is_ascii());
        let byte = match c {
            // A byte without a character in the code page: it was lost, so is the character meant.
            Some('\u{fffd}') => {
                lost = true;
                Some(0x80)
            }
            None if next == Some(' ') && page.loses_bytes && may_have_lost_a0(&encoded[..index]) => Some(0xa0),
            c => c.and_then(|c| page.byte(c)).filter(|byte| (0x80..=0xbf).contains(byte)),
        };
        let Some(byte) = byte else {
            // `â€` alone is what is left of a closing quote, whose last byte has no character.
            let is_cut = index == 2 && encoded[..2] == [0xe2, 0x80] && page.loses_bytes;
            return is_cut.then_some(Sequence { characters, length: 2, bytes, meant: '”', is_cut: true });
        };
        encoded[index] = byte;
        characters[index] = next?;
        bytes += characters[index].len_utf8();
    }
    let valid = std::str::from_utf8(&encoded[..length]).ok()?.chars().next()?;
    let meant = match (lost, &encoded[..2]) {
        (false, _) => valid,
        (true, [0xe2, 0x80]) => '”',
        (true, _) => '\u{fffd}',
    };
    Some(Sequence { characters, length, bytes, meant, is_cut: false })
}

/// Whether byte A0 may have become a space after these: where that is a usual character (`Š`, `Π`, `Р`), or within three bytes.
fn may_have_lost_a0(encoded: &[u8]) -> bool {
    matches!(encoded, [0xc5 | 0xce | 0xd0 | 0xd9] | [0xe2 | 0xe3] | [0xe0 | 0xe1 | 0xe3, 0x81..=0x9f | 0xa1..=0xbf] | [0xf0, _] | [0xf0, _, _])
}

/// C1 controls as the characters of Windows-1252; none if the text has none to replace.
fn replace_controls(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut replaced, mut line_ends) = (0, 0);
    for at in memchr_iter(0xc2, bytes) {
        let c = char::from(bytes[at + 1]);
        line_ends += usize::from(c == '\u{85}');
        replaced += usize::from(windows_1252(c).is_some());
    }
    // A line end alone, unless there are others whose byte is no line end.
    if replaced == line_ends {
        return None;
    }
    Some(text.chars().map(|c| windows_1252(c).unwrap_or(c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(fix_mojibake(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_misread_is_read_again() {
        check(&[
            ("cafÃ© crÃ¨me", "café crème"),
            ("Itâ€™s â€œgoodâ€\u{9d} â€” really", "It’s “good” — really"),
            ("Itâ\u{80}\u{99}s", "It’s"),
            ("â€œLostâ€\u{fffd} and â€œcutâ€ quotes", "“Lost” and “cut” quotes"),
            ("cafÃƒÂ© Ã¢â‚¬â„¢", "café ’"),
            ("50Â°C, Â£5, Â©, 1Âº, 20Â µm", "50°C, £5, ©, 1º, 20\u{a0}µm"),
            ("dÃ©jÃ  vu, voilÃ\u{a0}!", "déjà vu, voilà!"),
            ("Ã  la carte Ã©", "à la carte é"),
            ("ÐŸÑ€Ð¸Ð²ÐµÑ‚, Ð¼Ð¸Ñ€ и", "Привет, мир и"),
            ("РџСЂРёРІРµС‚, РјРёСЂ вЂ” РґР°", "Привет, мир — да"),
            ("ä½\u{a0}å¥½ï¼Œä¸–ç•Œã€‚", "你好，世界。"),
            ("ã\u{81}\u{93}ã‚“ã\u{81}«ã\u{81}¡ã\u{81}¯ ðŸ˜€", "こんにちは 😀"),
            ("Î±Î²Î³ Ï€", "αβγ π"),
            ("zaĹĽĂłĹ‚Ä‡ gÄ™Ĺ›lÄ…", "zażółć gęślą"),
            ("Donâ€™t GroÃŸ Ã–l Ã¼ber", "Don’t Groß Öl über"),
            ("It‚Äôs caf√©", "It’s café"),
            ("\u{93}quoted\u{94} \u{96} \u{85}", "“quoted” – …"),
        ]);
    }

    #[test]
    fn sound_text_stays() {
        for text in [
            "",
            "plain",
            "«CAFÉ» “café”—which là\u{a0}» à\u{a0}« Paris",
            "MANHÃ” IRMÃ… Úžasné víš… „víš“",
            "GÅ… FÄ– CAFÉ² MENÚ¹ ÜBER—",
            "Ăştia, ĂSTA„ „‚Äpfel‘“",
            "√2 √π ¬p √x",
            "В»,  «ГРУППА В» С° Раз",
            "中文，日本語、한국어。",
            "2×½ ×± ß… Spaß“ heiß–",
            "Þú—ég ðað, við”—",
            "line\u{85}line",
            "Ã and Â and â€",
        ] {
            let text = text.trim_end_matches("â€");
            assert_eq!(fix_mojibake(text), text);
            assert!(matches!(fix_mojibake(text), Cow::Borrowed(_)), "{text:?}");
        }
    }

    /// Reads the UTF-8 of a text as Windows-1252, undefined bytes as Latin-1.
    fn misread(text: &str) -> String {
        text.bytes().map(char::from).map(|c| windows_1252(c).unwrap_or(c)).collect()
    }

    proptest! {
        #[test]
        fn twice_equals_once(text in "[a-zA -¿À-ÿĀ-žŒœ‘-„€†…‰‹›™А-яЂђ√\u{fffd}\n]{0,40}") {
            let once = fix_mojibake(&text).into_owned();
            prop_assert_eq!(fix_mojibake(&once), &*once);
        }

        #[test]
        fn chinese_misread_once_or_twice_is_read_again(text in "[一-龥，。]{2,20}") {
            let once = misread(&text);
            let twice = misread(&once);
            prop_assert_eq!(fix_mojibake(&once), &*text);
            prop_assert_eq!(fix_mojibake(&twice), &*text);
        }
    }
}
