//! Removal of web addresses.

use std::borrow::Cow;

use memchr::memmem;

/// The text without web addresses: what begins with `http://`, `https://`, `ftp://` (in any case) or `www.`, up to white space, a quote,
/// an angle bracket, a Han character or CJK punctuation, without the punctuation of the sentence behind it.
///
/// Brackets around nothing but an address go with it, a Markdown link leaves its label, and of two spaces around an address one stays.
/// Bare domains (`example.com`) stay. Borrowed when nothing changes; applying it twice equals once.
pub fn remove_urls(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    // Removing one may join what stood around it to another: hardly ever.
    while let Some(next) = remove_once(&clean) {
        clean = Cow::Owned(next);
    }
    clean
}

fn remove_once(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    for start in starts(text) {
        if start < done {
            continue;
        }
        let end = end_of_url(text, start);
        if !is_url(&text[start..end]) {
            continue;
        }
        out.push_str(&text[done..start]);
        done = close(&mut out, text, end);
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// Where addresses may begin, in order.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    let schemes = memmem::find_iter(bytes, b"://").filter_map(|colon| {
        let scheme = ["https", "http", "ftp"].into_iter().find(|scheme| {
            let from = colon.checked_sub(scheme.len());
            from.is_some_and(|from| bytes[from..colon].eq_ignore_ascii_case(scheme.as_bytes()))
        })?;
        let start = colon - scheme.len();
        (start == 0 || !bytes[start - 1].is_ascii_alphanumeric()).then_some(start)
    });
    let ends = memmem::find_iter(bytes, b"ww.").chain(memmem::find_iter(bytes, b"WW."));
    let hosts = ends.filter_map(|at| at.checked_sub(1)).filter(|start| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@');
        bytes[*start].eq_ignore_ascii_case(&b'w') && (*start == 0 || !is_name(bytes[start - 1]))
    });
    let mut starts: Vec<usize> = schemes.chain(hosts).collect();
    starts.sort_unstable();
    starts.into_iter()
}

fn end_of_url(text: &str, start: usize) -> usize {
    let stops =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`' | '{' | '}' | '|' | '\\' | '^') || is_cjk(c);
    let found = text[start..].find(|c: char| stops(c) || matches!(c, '“' | '”' | '‘' | '’' | '«' | '»' | '…' | '—'));
    let mut url = &text[start..found.map_or(text.len(), |length| start + length)];
    loop {
        let unpaired = |open: char, close: char| url.ends_with(close) && url.matches(close).count() > url.matches(open).count();
        let ends_sentence = url.ends_with(['.', ',', ';', ':', '!', '?', '\'', '*', '_', '~', '(', '[']);
        if !ends_sentence && !unpaired('(', ')') && !unpaired('[', ']') {
            return start + url.len();
        }
        url = &url[..url.len() - 1];
    }
}

/// Han, kana, Hangul and the punctuation and full-width forms around them.
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..)
}

/// Something follows the scheme, and `www.` is followed by a name with a dot.
fn is_url(url: &str) -> bool {
    let host = match url.split_once("://") {
        Some((_, rest)) => return rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '[' | '%' | '_' | '-' | '.' | '/' | '~')),
        None => url.get(4..).unwrap_or(""),
    };
    host.starts_with(char::is_alphanumeric) && host.trim_end_matches('.').contains('.')
}

/// Takes away what stood around an address only for its sake. Gives where the text goes on.
fn close(out: &mut String, text: &str, end: usize) -> usize {
    let next = text[end..].chars().next();
    let pairs = [('(', ')'), ('<', '>'), ('[', ']'), ('（', '）')];
    let pair = pairs.into_iter().find(|(open, close)| out.ends_with(*open) && next == Some(*close));
    let mut end = end;
    if let Some((open, close)) = pair {
        out.truncate(out.len() - open.len_utf8());
        end += close.len_utf8();
        if open == '(' && out.ends_with(']') {
            unwrap_label(out);
        }
    }
    let next = text[end..].chars().next();
    let before = out.chars().next_back();
    let at_edge = before.is_none_or(|c| c == '\n');
    if before == Some(' ') && next.is_none_or(|c| c.is_whitespace() || matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | ')' | ']')) {
        out.truncate(out.trim_end_matches(' ').len());
    } else if at_edge && next == Some(' ') {
        end += text[end..].len() - text[end..].trim_start_matches(' ').len();
    }
    end
}

/// `[label]` and `![label]` at the end of `out` become `label`.
fn unwrap_label(out: &mut String) {
    let Some(open) = out.rfind('[').filter(|open| !out[*open..].contains('\n')) else { return };
    let label = out[open + 1..out.len() - 1].to_string();
    let start = if out[..open].ends_with('!') { open - 1 } else { open };
    out.truncate(start);
    out.push_str(&label);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_go_and_sentences_stay() {
        for (text, expected) in [
            ("", ""),
            ("See https://example.com/a?b=c&d=(e) now.", "See now."),
            ("See http://example.com/x.", "See."),
            ("(http://example.com) a", "a"),
            ("a (see http://example.com/b_(c)) d", "a (see) d"),
            ("<https://x.org>\nnext", "\nnext"),
            ("[the label](https://x.org/y) and ![alt](http://i.org/p.png)", "the label and alt"),
            ("WWW.Example.org is up, www. is not, nor wwww.x.y", "is up, www. is not, nor wwww.x.y"),
            ("请看http://example.com/路径。谢谢", "请看路径。谢谢"),
            ("https://de.wikipedia.org/wiki/Köln, HTTP://A.B", ","),
            ("\"http://a.b/c\" x", "\"\" x"),
            ("http:// https://! example.com a://b", "http:// https://! example.com a://b"),
            ("http://a.b", ""),
        ] {
            let found = remove_urls(text);
            assert_eq!(found, expected, "{text:?}");
            assert_eq!(matches!(found, Cow::Borrowed(_)), text == expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn twice_equals_once(text in "(http|s|://|www|\\.|a|\\(|\\)|\\[|\\]|<|>|!| |\n|中|é|,){0,24}") {
            let once = remove_urls(&text).into_owned();
            prop_assert_eq!(remove_urls(&once), &*once);
            prop_assert!(once.matches('\n').count() <= text.matches('\n').count());
        }
    }
}
