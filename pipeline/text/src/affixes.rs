//! Words with their punctuation cut off as words of their own: the splitting that spaCy's English rules do and that datatrove counts by.
//!
//! A chunk between white space loses signs at its ends one by one (brackets, quotes, commas, ellipses, currency, units after digits,
//! `'s`, a full stop after a lower-case letter), contractions fall apart (`do` `n't`), abbreviations keep their stop (`Mr.`, `e.g.`), and what
//! is left is cut at signs between letters (`well` `-` `known`) unless it looks like a URL. Written from the documented behaviour; not done are
//! emoticons, lists of other languages and special cases that arise only across words.

use crate::contractions::{may_be_special, special};
use crate::lines::is_terminal_mark;

/// Calls `each` for every piece of `text`, in order. Pieces are never empty, hold no white space and together are the text without it.
pub fn for_each_affix_word<'a>(text: &'a str, mut each: impl FnMut(&'a str)) {
    let mut endings = Vec::new();
    for chunk in text.split_whitespace() {
        if chunk.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !may_be_special(chunk) && !chunk.as_bytes()[0].is_ascii_digit() {
            each(chunk);
            continue;
        }
        let middle = without_affixes(chunk, &mut each, &mut endings);
        emit_middle(middle, &mut each);
        endings.drain(..).rev().for_each(&mut each);
    }
}

/// Sentences by marks alone: a word that follows a full stop, question or exclamation mark standing as a piece of its own (and the punctuation
/// behind it) begins the next. What spaCy's rule-based `sentencizer` does.
pub fn affix_sentence_count(text: &str) -> u64 {
    let (mut sentences, mut ended) = (0, true);
    for_each_affix_word(text, |piece| {
        let mut characters = piece.chars();
        let alone = characters.next().filter(|_| characters.next().is_none());
        if alone.is_some_and(is_terminal_mark) {
            sentences += (sentences == 0) as u64;
            ended = true;
        } else if ended && (sentences == 0 || !piece.chars().all(is_punctuation)) {
            sentences += 1;
            ended = false;
        }
    });
    sentences
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~') } else { is_mark(c) }
}

/// Cuts signs off both ends until nothing more comes off: those in front go to `each`, those behind are pushed from the outside in.
fn without_affixes<'a>(chunk: &'a str, each: &mut impl FnMut(&'a str), endings: &mut Vec<&'a str>) -> &'a str {
    let mut rest = chunk;
    while !rest.is_empty() && special(rest).is_none() {
        let front = prefix_length(rest);
        if front > 0 && special(&rest[front..]).is_some() {
            each(&rest[..front]);
            return &rest[front..];
        }
        let behind = suffix_length(&rest[front..]);
        let end = rest.len() - behind;
        if behind > 0 && special(&rest[..end]).is_some() {
            endings.push(&rest[end..]);
            return &rest[..end];
        }
        if front == 0 && behind == 0 {
            break;
        }
        if front > 0 {
            each(&rest[..front]);
        }
        if behind > 0 {
            endings.push(&rest[end..]);
        }
        rest = &rest[front..end];
    }
    rest
}

/// What is left between the affixes: a special case, a URL, or pieces between signs.
fn emit_middle<'a>(middle: &'a str, each: &mut impl FnMut(&'a str)) {
    if middle.is_empty() {
        return;
    }
    if let Some(cuts) = special(middle) {
        let mut start = 0;
        for &cut in cuts.iter().take_while(|cut| **cut > 0) {
            each(&middle[start..cut as usize]);
            start = cut as usize;
        }
        return each(&middle[start..]);
    }
    if middle.bytes().all(|byte| byte.is_ascii_alphanumeric()) || is_url(middle) {
        return each(middle);
    }
    let mut start = 0;
    let mut position = middle.chars().next().map_or(0, char::len_utf8);
    while position < middle.len() {
        let length = infix_length(middle, position);
        if length > 0 && position > start {
            each(&middle[start..position]);
            each(&middle[position..position + length]);
            start = position + length;
            position = start;
        } else {
            position += middle[position..].chars().next().map_or(1, char::len_utf8);
        }
    }
    if start < middle.len() {
        each(&middle[start..]);
    }
}

/// Bytes of the sign at the beginning, 0 when there is none.
fn prefix_length(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    let rest = &text[first.len_utf8()..];
    match first {
        'a'..='z' | '0'..='9' => 0,
        '+' => !rest.starts_with(|c: char| c.is_ascii_digit()) as usize,
        '.' => dots(text),
        'U' if rest.starts_with("S$") => 3,
        'C' | 'A' if rest.starts_with('$') => 2,
        'A'..='Z' => 0,
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        _ if is_mark(first) || is_currency(first) || is_icon(first) => first.len_utf8(),
        _ => 0,
    }
}

/// Bytes of the sign at the end, 0 when there is none.
fn suffix_length(text: &str) -> usize {
    let Some(last) = text.chars().next_back() else { return 0 };
    let before = &text[..text.len() - last.len_utf8()];
    let after_digit = |length: usize| text[..text.len() - length].ends_with(|c: char| c.is_ascii_digit());
    if last == '.' {
        let dots = text.len() - text.trim_end_matches('.').len();
        return if dots > 1 { dots } else { ends_sentence(before) as usize };
    }
    if is_mark(last) || is_icon(last) || matches!(last, '—' | '–') {
        return last.len_utf8();
    }
    if matches!(last, 's' | 'S') && before.ends_with(['\'', '’']) {
        return last.len_utf8() + before.chars().next_back().map_or(0, char::len_utf8);
    }
    if last == '+' || is_currency(last) {
        let long = ["US$", "C$", "A$"].iter().find(|sign| text.ends_with(**sign)).map_or(last.len_utf8(), |sign| sign.len());
        return [long, last.len_utf8()].into_iter().find(|length| after_digit(*length)).unwrap_or(0);
    }
    if !last.is_ascii_alphabetic() && !matches!(last, '%' | '²' | '³') {
        return 0;
    }
    // A unit reaches back to the last digit.
    let unit = text.chars().rev().take(UNIT_CHARS_MAX + 1).take_while(|c| !c.is_ascii_digit()).map(char::len_utf8).sum::<usize>();
    let known = UNITS.contains(&&text[text.len() - unit..]);
    if known && after_digit(unit) { unit } else { 0 }
}

/// Whether a full stop after this text stands alone: after a lower-case letter, a digit, a sign or two capitals.
fn ends_sentence(before: &str) -> bool {
    let mut characters = before.chars().rev();
    let (last, second) = (characters.next(), characters.next());
    let capital = |c: Option<char>| c.is_some_and(|c| is_letter(c) && !c.is_lowercase());
    last.is_some_and(|c| c.is_ascii_digit() || is_lower(c) || matches!(c, '%' | '²' | '-' | '+') || is_mark(c))
        || capital(last) && capital(second)
        || matches!(last, Some('F' | 'C' | 'K')) && second == Some('°')
}

/// Bytes of a sign at `position` that cuts the text in two, 0 when there is none.
fn infix_length(text: &str, position: usize) -> usize {
    let Some(sign) = text[position..].chars().next() else { return 0 };
    if sign.is_ascii_alphanumeric() {
        return 0;
    }
    let before = text[..position].chars().next_back();
    let after = |length: usize| text[position + length..].chars().next();
    let letter_after = |length: usize| after(length).is_some_and(is_letter);
    let letter_before = before.is_some_and(is_letter);
    let digit_before = before.is_some_and(|c| c.is_ascii_digit());
    match sign {
        '.' if dots(&text[position..]) > 0 => dots(&text[position..]),
        '.' => {
            let joins = before.is_some_and(|c| is_lower(c) || is_quote(c)) && after(1).is_some_and(|c| is_upper(c) || is_quote(c));
            joins as usize
        }
        '…' => sign.len_utf8(),
        ',' => (letter_before && letter_after(1)) as usize,
        '+' | '*' | '^' => (digit_before && after(1).is_some_and(|c| c.is_ascii_digit() || c == '-')) as usize,
        '-' if digit_before && after(1).is_some_and(|c| c.is_ascii_digit() || c == '-') => 1,
        '-' | '–' | '—' | '~' if letter_before || digit_before => {
            let run = text[position..].len() - text[position..].trim_start_matches(sign).len();
            let longest = if sign == '-' {
                3
            } else if sign == '—' {
                2
            } else {
                1
            };
            if run <= longest * sign.len_utf8() && letter_after(run) { run } else { 0 }
        }
        ':' | '<' | '>' | '=' | '/' => ((letter_before || digit_before) && letter_after(1)) as usize,
        _ if is_icon(sign) => sign.len_utf8(),
        _ => 0,
    }
}

/// Bytes of two or more full stops at the beginning.
fn dots(text: &str) -> usize {
    let run = text.len() - text.trim_start_matches('.').len();
    if run > 1 { run } else { 0 }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || !c.is_ascii() && c.is_alphabetic()
}

/// A letter that is no capital; scripts without case count.
fn is_lower(c: char) -> bool {
    is_letter(c) && !c.is_uppercase()
}

fn is_upper(c: char) -> bool {
    is_letter(c) && !c.is_lowercase()
}

fn is_quote(c: char) -> bool {
    matches!(
        c,
        '\'' | '"' | '”' | '“' | '`' | '‘' | '´' | '’' | '‚' | ',' | '„' | '»' | '«' | '「'
            ..='』' | '（' | '）' | '〔' | '〕' | '【' | '】' | '《' | '》' | '〈' | '〉' | '⟦' | '⟧'
    )
}

/// Punctuation and quotes that come off a word at either end.
fn is_mark(c: char) -> bool {
    is_quote(c)
        || matches!(
            c,
            '…' | ','
                | ':'
                | ';'
                | '!'
                | '?'
                | '¿'
                | '؟'
                | '¡'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | '_'
                | '#'
                | '*'
                | '&'
                | '。'
                | '？'
                | '！'
                | '，'
                | '、'
                | '；'
                | '：'
                | '～'
                | '·'
                | '।'
                | '،'
                | '۔'
                | '؛'
                | '٪'
        )
}

fn is_currency(c: char) -> bool {
    matches!(c, '$' | '£' | '€' | '¥' | '฿' | '\u{fdfc}' | '\u{20a0}'..='\u{20bf}')
}

/// Symbols that are neither letters nor mathematics: dingbats, arrows, box drawing, emoji (about Unicode's category So).
fn is_icon(c: char) -> bool {
    matches!(
        c,
        '¦' | '©' | '®' | '°' | '\u{2100}' | '\u{2101}' | '\u{2103}'..='\u{2106}' | '\u{2117}' | '\u{211e}'..='\u{2123}' | '\u{2190}'..='\u{21ff}'
            | '\u{2300}'..='\u{2307}' | '\u{230c}'..='\u{2328}' | '\u{232b}'..='\u{2426}' | '\u{249c}'..='\u{24e9}' | '\u{2500}'..='\u{27bf}'
            | '\u{2800}'..='\u{28ff}' | '\u{2b00}'..='\u{2bff}' | '\u{fffc}' | '\u{fffd}' | '\u{1f000}'..='\u{1faff}'
    ) && !matches!(c, '→' | '↔' | '↑'..='↓' | '←' | '↚' | '↛' | '↠' | '↣' | '↦' | '↮' | '⇎' | '⇏' | '⇒' | '⇔' | '⇴'..='⇿' | '▷' | '◁' | '♯' | '❨'..='❵')
}

/// `[scheme://][user@]host.tld[:port][/…]` or four numbers with stops: kept whole.
fn is_url(text: &str) -> bool {
    if !text.contains('.') {
        return false;
    }
    let scheme = |c: char| c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    let text = match text.split_once("://") {
        Some((name, rest)) if name.chars().count() > 1 && name.chars().all(scheme) => rest,
        _ => text,
    };
    let is_address = |text: &str| {
        let (host, rest) = text.split_at(text.find([':', '/', '?', '#']).unwrap_or(text.len()));
        let path = rest.strip_prefix(':').map_or(rest, |port| {
            let digits = port.len() - port.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if (2..=5).contains(&digits) { &port[digits..] } else { rest }
        });
        (path.is_empty() || path.starts_with(['/', '?', '#'])) && (is_host(host) || is_ipv4(host))
    };
    // No host holds an `@`, so that of any but the last before a path need not be looked at.
    let may_be_host = |rest: &str| rest.find(['@', ':', '/', '?', '#']).is_none_or(|end| !rest[end..].starts_with('@'));
    is_address(text) || text.match_indices('@').any(|(at, _)| at > 0 && may_be_host(&text[at + 1..]) && is_address(&text[at + 1..]))
}

fn is_host(host: &str) -> bool {
    let Some((labels, tld)) = host.rsplit_once('.') else { return false };
    let edge = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let is_label = |label: &str| {
        label.starts_with(edge) && label.ends_with(edge) && label.len() <= 64 && label.chars().all(|c| edge(c) || matches!(c, '-' | '_'))
    };
    tld.chars().count() > 1 && tld.len() <= 63 && tld.chars().all(is_lower) && labels.split('.').all(is_label)
}

fn is_ipv4(host: &str) -> bool {
    let numbers: Vec<&str> = host.split('.').collect();
    let private = ["10.", "127.", "192.168.", "169.254."].iter().any(|net| host.starts_with(net));
    numbers.len() == 4 && !private && numbers.iter().all(|number| number.len() < 4 && number.parse::<u8>().is_ok())
}

/// No unit is longer.
const UNIT_CHARS_MAX: usize = 4;

const UNITS: &[&str] = &[
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²", "mm³", "ha", "µm", "nm", "yd", "in", "ft",
    "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb",
    "TB", "T", "G", "M", "K", "%",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<&str> {
        let mut pieces = Vec::new();
        for_each_affix_word(text, |piece| pieces.push(piece));
        pieces
    }

    /// `expected`: the pieces with spaces between them, as spaCy 3.8 gives them.
    fn check(text: &str, expected: &str) {
        assert_eq!(pieces(text).join(" "), expected, "{text}");
    }

    #[test]
    fn signs_come_off_at_the_ends() {
        check("", "");
        check("(Hello, \"world\"!)", "( Hello , \" world \" ! )");
        check("wait... what?! …so", "wait ... what ? ! … so");
        check("the dog's bone, dogs' bones", "the dog 's bone , dogs ' bones");
        check("costs $5.00 or 10€ or 20% of 5km", "costs $ 5.00 or 10 € or 20 % of 5 km");
        check("In the U.S. and the USA.", "In the U.S. and the USA .");
        check("# - * title _x_ +1 +x", "# - * title _ x _ +1 + x");
    }

    #[test]
    fn words_are_cut_at_signs_between_letters() {
        check("well-known state-of-the-art 1990-95 3-D", "well - known state - of - the - art 1990 - 95 3 - D");
        check("end.Start a,b either/or 2+2 x=y 10:30", "end . Start a , b either / or 2 + 2 x = y 10:30");
        check("word--word word—word wait...what", "word -- word word — word wait ... what");
        check("snake_case foo() a.b.c v1.2.3", "snake_case foo ( ) a.b.c v1.2.3");
    }

    #[test]
    fn contractions_abbreviations_and_times() {
        check("I don't can't cannot won't", "I do n't ca n't can not wo n't");
        check("they're it’s We'll've its id", "they 're it ’s We 'll 've its i d");
        check("Mr. Smith, e.g. Dr. No vs. St. Ives etc.", "Mr. Smith , e.g. Dr. No vs. St. Ives etc .");
        check("at 10am, 5p.m. and (Don't)", "at 10 am , 5 p.m. and ( Do n't )");
    }

    #[test]
    fn urls_stay_whole() {
        check("see http://example.com/a-b?c=d, or www.example.org.", "see http://example.com/a-b?c=d , or www.example.org .");
        check("mail me@example.com (example.net:8080)", "mail me@example.com ( example.net:8080 )");
    }

    /// What is quadratic does not come to an end here.
    #[test]
    fn long_runs_take_time_by_their_length() {
        let repeated = |text: &str| text.repeat(1 << 18);
        for (text, count) in [
            (repeated("a@b."), 2),
            (repeated("a@b.c/"), (1 << 19) - 1),
            (repeated("(") + "abc", (1 << 18) + 1),
            (repeated("."), 1),
            (repeated("…."), 1 << 19),
            (repeated("a-"), (1 << 19) - 1),
            (repeated("x") + "9km" + &repeated("."), 3),
        ] {
            assert_eq!(pieces(&text).len(), count, "{}", &text[..8]);
        }
    }

    #[test]
    fn units_are_as_long_as_is_said() {
        assert_eq!(UNITS.iter().map(|unit| unit.chars().count()).max(), Some(UNIT_CHARS_MAX));
    }

    #[test]
    fn sentences_begin_after_marks() {
        for (text, count) in [
            ("", 0),
            ("One", 1),
            ("One. Two! Three?", 3),
            ("He said: \"No.\" Then (e.g. now)... he left.", 2),
            (". . a", 2),
            ("!? Well.", 2),
            ("好。吗", 1),
        ] {
            assert_eq!(affix_sentence_count(text), count, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_character_is_lost(text in "[a-zA-Z0-9 .,:;'’\"()%$/@+*°…—-]{0,30}|\\PC{0,30}") {
            let expected: String = text.split_whitespace().collect();
            prop_assert_eq!(pieces(&text).concat(), expected);
            prop_assert!(pieces(&text).iter().all(|piece| !piece.is_empty()));
        }
    }
}
