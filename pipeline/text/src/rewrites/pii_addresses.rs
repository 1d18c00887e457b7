//! Addresses of mail and of the Internet protocol.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The mail address around the `@` at `at` that begins at `from` or later, as (start, end).
pub(super) fn email_at(text: &[u8], at: usize, from: usize) -> Option<(usize, usize)> {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'');
    let length = text[from..at].iter().rev().take(MAX_LOCAL_BYTES + 1).take_while(|byte| is_local(byte)).count();
    let mut start = at - length;
    // An address begins and ends with a letter or a digit; what is before is the sentence's.
    start += text[start..at].iter().take_while(|byte| !byte.is_ascii_alphanumeric() && **byte != b'_').count();
    if start == at || length > MAX_LOCAL_BYTES || text[at - 1] == b'.' {
        return None;
    }
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let length = text[at + 1..].iter().take(MAX_DOMAIN_BYTES).take_while(|byte| is_domain(byte)).count();
    let mut domain = std::str::from_utf8(&text[at + 1..at + 1 + length]).ok()?;
    // Its last label is letters alone; what follows is not the address's.
    let top = loop {
        let (rest, top) = domain.rsplit_once('.')?;
        if top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            break top;
        }
        domain = rest;
    };
    let well_formed = |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    if !domain.split('.').all(well_formed) || is_listed(&FILES, top) || is_reserved(domain) {
        return None;
    }
    let end = at + 1 + domain.len();
    (text.get(end) != Some(&b'@')).then_some((start, end))
}

const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 255;

/// `image@2x.png` is a file.
const FILES: [&str; 14] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "html", "pdf", "bmp", "ico"];

fn is_listed(list: &[&str], word: &str) -> bool {
    list.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Names that RFC 2606 keeps for examples.
fn is_reserved(domain: &str) -> bool {
    let mut labels = domain.rsplit('.');
    let (top, second) = (labels.next().unwrap_or(""), labels.next().unwrap_or(""));
    is_listed(&["example", "invalid", "localhost", "test"], top)
        || second.eq_ignore_ascii_case("example") && is_listed(&["com", "net", "org"], top)
}

/// The public IPv4 address whose first digit is at `at`.
pub(super) fn ip_v4_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if at > 0 && (is_name(text[at - 1]) || matches!(text[at - 1], b'.' | b'-')) {
        return None;
    }
    let mut octets = [0; 4];
    let mut end = at;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            (text.get(end) == Some(&b'.')).then_some(())?;
            end += 1;
        }
        let digits = text[end..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&text[end..end + digits]).ok()?;
        // `01` is no octet.
        *octet = number.parse().ok().filter(|_| digits == 1 || !number.starts_with('0'))?;
        end += digits;
    }
    let goes_on = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_alphabetic();
    let is_longer = text.get(end).is_some_and(|byte| is_name(*byte))
        || matches!(text.get(end), Some(b'.' | b'-')) && text.get(end + 1).is_some_and(goes_on);
    let is_version = octets.iter().all(|octet| *octet < 10) && !RESOLVERS.contains(&octets);
    (!is_longer && !is_version && is_public_v4(Ipv4Addr::from(octets))).then_some((at, end))
}

/// Public name servers, whose four numbers below 10 are no version: of Cloudflare, Level 3, Google and Quad9.
const RESOLVERS: [[u8; 4]; 7] = [[1, 0, 0, 1], [1, 1, 1, 1], [4, 2, 2, 1], [4, 2, 2, 2], [8, 8, 4, 4], [8, 8, 8, 8], [9, 9, 9, 9]];

/// Not in one of IANA's special ranges.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_documentation();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = a == 192 && b == 0 && c == 0;
    let benchmarks = a == 198 && (b == 18 || b == 19);
    // 0.0.0.0/8; 224.0.0.0/4 is for groups, 240.0.0.0/4 for the future.
    !(special || shared || protocols || benchmarks || a == 0 || a >= 224)
}

/// The public IPv6 address that begins at `at`: as all that are assigned, with `2` or `3` and three more hexadecimal digits.
pub(super) fn ip_v6_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_first = matches!(text[at], b'2' | b'3') && text.get(at + 4) == Some(&b':');
    if !is_first || at > 0 && (is_name(text[at - 1]) || matches!(text[at - 1], b':' | b'.')) {
        return None;
    }
    let length = text[at..].iter().take(40).take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':').count();
    let mut written = std::str::from_utf8(&text[at..at + length]).ok()?;
    // The colon of the sentence.
    if written.ends_with(':') && !written.ends_with("::") {
        written = &written[..written.len() - 1];
    }
    let end = at + written.len();
    if text.get(end).is_some_and(|byte| is_name(*byte)) {
        return None;
    }
    let address: Ipv6Addr = written.parse().ok()?;
    let [a, b, ..] = address.segments();
    // `2024::5` may be anything.
    let groups = written.split(':').filter(|group| !group.is_empty()).count();
    // 2001:db8::/32 and 3fff::/20 are for documents, 2001::/23 for protocols.
    let special = a == 0x2001 && (b == 0xdb8 || b < 0x200) || a == 0x3fff && b < 0x1000;
    (groups >= 3 && (0x2000..0x4000).contains(&a) && !special).then_some((at, end))
}

/// A letter, a digit or `_`: what stands within a name or a number.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
