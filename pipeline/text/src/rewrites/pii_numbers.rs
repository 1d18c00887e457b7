//! Numbers of telephones, cards and identity papers. Each function looks at the number whose first digit is at `at` and gives (start, end).

use super::pii_addresses::is_name;

/// Whether a number of its own begins at `at`: not within a name, a decimal number, a path or a parameter.
fn begins(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    let after_digit = at >= 2 && text[at - 2].is_ascii_digit();
    !(is_name(before)
        || matches!(before, b'/' | b'=' | b'#' | b'@' | b'&' | b'%')
        || matches!(before, b'.' | b',' | b'-' | b':') && after_digit)
}

/// Whether a number ends at `end`.
fn ends(text: &[u8], end: usize) -> bool {
    let Some(next) = text.get(end) else { return true };
    let before_digit = text.get(end + 1).is_some_and(u8::is_ascii_digit);
    !(is_name(*next) || matches!(next, b'@' | b'/' | b'%') || matches!(next, b'.' | b',' | b'-' | b':') && before_digit)
}

/// Digits in groups of `groups` digits with one separator between all; the digits and the end.
fn grouped(text: &[u8], at: usize, groups: &[usize], separator: u8) -> Option<(Vec<u8>, usize)> {
    let (mut digits, mut end) = (Vec::new(), at);
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            (text.get(end) == Some(&separator)).then_some(())?;
            end += 1;
        }
        let found = text.get(end..end + group).filter(|found| found.iter().all(u8::is_ascii_digit))?;
        digits.extend(found.iter().map(|digit| digit - b'0'));
        end += group;
    }
    (!text.get(end).is_some_and(u8::is_ascii_digit)).then_some((digits, end))
}

pub(super) fn card_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if !begins(text, at) {
        return None;
    }
    let length = text[at..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let layouts: [&[usize]; 5] = [&[length], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3]];
    let found = layouts.iter().flat_map(|groups| [b' ', b'-'].map(|separator| grouped(text, at, groups, separator)));
    let (digits, end) = found.flatten().find(|(digits, _)| has_issuer(digits) && passes_luhn(digits))?;
    // A further group of digits makes it something else.
    let goes_on = end - at > digits.len() && text.get(end) == Some(&b' ') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
    (ends(text, end) && !goes_on).then_some((at, end))
}

/// Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay, by their first digits and length (ISO/IEC 7812).
fn has_issuer(digits: &[u8]) -> bool {
    let first = |count: usize| digits.iter().take(count).fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    match (first(1), first(2), digits.len()) {
        (4, _, 13 | 16 | 19) => true,
        (_, 51..=55, 16) => true,
        (2, _, 16) => (2221..=2720).contains(&first(4)),
        (_, 34 | 37, 15) => true,
        (_, 36 | 38 | 39, 14) => true,
        (_, 30, 14) => first(3) <= 305,
        (_, 62, 16..=19) => true,
        (_, 65, 16) => true,
        (6, _, 16) => first(4) == 6011 || (644..=649).contains(&first(3)),
        (_, 35, 16) => (3528..=3589).contains(&first(4)),
        _ => false,
    }
}

fn passes_luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(index, digit)| u32::from(if index % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}

pub(super) fn cn_id_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let id = text.get(at..at + 18)?;
    let (digits, check) = id.split_at(17);
    if !begins(text, at) || !ends(text, at + 18) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    let (province, year, month, day) = (number(0..2), number(6..10), number(10..12), number(12..14));
    let is_province = matches!(province, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83);
    let is_date = (1900..2100).contains(&year) && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // ISO 7064, MOD 11-2: weight 2^(17 - index) of each digit.
    let sum: u32 = digits.iter().enumerate().map(|(index, digit)| u32::from(digit - b'0') * (1 << (17 - index)) % 11).sum();
    let expected = b"10X98765432"[sum as usize % 11];
    (is_province && is_date && check[0].to_ascii_uppercase() == expected).then_some((at, at + 18))
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn cn_mobile_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if !begins(text, at) {
        return None;
    }
    let rest = &text[at..];
    let country = [&b"0086"[..], b"86"].into_iter().find(|code| rest.starts_with(code)).map_or(0, <[u8]>::len);
    let country = country + usize::from(country > 0 && matches!(rest.get(country), Some(b' ' | b'-')));
    let number = at + country;
    let layouts: [(&[usize], u8); 3] = [(&[11], b' '), (&[3, 4, 4], b'-'), (&[3, 4, 4], b' ')];
    let (digits, end) = layouts.into_iter().find_map(|(groups, separator)| grouped(text, number, groups, separator))?;
    let start = if country > 0 && at > 0 && text[at - 1] == b'+' { at - 1 } else { at };
    (digits[0] == 1 && digits[1] >= 3 && ends(text, end)).then_some((start, end))
}

pub(super) fn us_ssn_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let (digits, end) = grouped(text, at, &[3, 2, 4], b'-')?;
    let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    let issued = !matches!(number(0..3), 0 | 666 | 900..) && number(3..5) != 0 && number(5..9) != 0;
    (issued && begins(text, at) && ends(text, end)).then_some((at, end))
}

pub(super) fn phone_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = at.checked_sub(1).map(|before| text[before]);
    match before {
        Some(b'+') if begins(text, at - 1) => international(text, at),
        Some(b'(') if at < 2 || !is_name(text[at - 2]) => in_brackets(text, at),
        _ if begins(text, at) => north_american(text, at).or_else(|| chinese(text, at)),
        _ => None,
    }
}

/// `+`, a country and 8 to 15 digits in all, in groups set off by one space, hyphen or point, one of them perhaps in brackets.
fn international(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut digits, mut end, mut groups, mut position) = (0, at, Vec::new(), at);
    loop {
        let group = text[position..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if group == 0 {
            break;
        }
        digits += group;
        groups.push(&text[position..position + group]);
        end = position + group;
        position = end + text[end..].iter().take(2).take_while(|byte| matches!(byte, b' ' | b'-' | b'.' | b'(' | b')')).count();
    }
    // `+250 000 000` is an amount.
    let is_amount = groups.len() > 1 && groups[1..].iter().all(|group| group.len() == 3) && groups.ends_with(&[b"000"]);
    (text[at] != b'0' && (8..=15).contains(&digits) && !is_amount && ends(text, end)).then_some((at - 1, end))
}

/// `(ddd) ddd-dddd` and `(0dd) dddddddd`.
fn in_brackets(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let area = text[at..].iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    (text.get(at + area) == Some(&b')')).then_some(())?;
    let number = at + area + 1 + usize::from(text.get(at + area + 1) == Some(&b' '));
    let chinese = || [8, 7].into_iter().find_map(|length| grouped(text, number, &[length], b' '));
    let found = match (text[at], area) {
        (b'2'..=b'9', 3) => [b'-', b'.', b' '].into_iter().find_map(|separator| grouped(text, number, &[3, 4], separator)),
        (b'0', 3 | 4) => chinese(),
        _ => None,
    };
    let (digits, end) = found?;
    (digits[0] >= 2 && ends(text, end)).then_some((at - 1, end))
}

/// `ddd-ddd-dddd` and `ddd.ddd.dddd`; neither area nor exchange begins with 0 or 1.
fn north_american(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let (digits, end) = [b'-', b'.'].into_iter().find_map(|separator| grouped(text, at, &[3, 3, 4], separator))?;
    (digits[0] >= 2 && digits[3] >= 2 && ends(text, end)).then_some((at, end))
}

/// `0dd-dddddddd`, `0ddd-ddddddd` and the like.
fn chinese(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let layouts = [[3, 8], [3, 7], [4, 8], [4, 7]];
    let (digits, end) = layouts.iter().find_map(|groups| grouped(text, at, groups, b'-'))?;
    let area = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits[0] == 0 && digits[area] >= 2 && ends(text, end)).then_some((at, end))
}
