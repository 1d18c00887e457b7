//! Remnants of HTML in plain text: tags and entities. Not a parser of pages; that is `import`'s.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

/// The text with entities that end in `;` decoded: named ones of HTML (`&eacute;`) and numeric ones (`&#233;`, `&#xe9;`), once each.
/// What is none stays: `AT&T`, `&notanentity;`, `this&not that`. Borrowed when nothing changes.
pub fn unescape_html(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = memchr(b'&', &bytes[at..]) {
        let start = at + found;
        at = start + 1;
        let Some((character, end)) = entity_at(text, start) else { continue };
        out.push_str(&text[done..start]);
        out.push_str(&character);
        (done, at) = (end, end);
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The longest name is `CounterClockwiseContourIntegral`.
const MAX_ENTITY_BYTES: usize = 34;

fn entity_at(text: &str, start: usize) -> Option<(Cow<'_, str>, usize)> {
    let bytes = &text.as_bytes()[start..text.len().min(start + MAX_ENTITY_BYTES)];
    let length = 1 + bytes[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#').count();
    if bytes.get(length) != Some(&b';') || length == 1 {
        return None;
    }
    let entity = &text[start..=start + length];
    let decoded = htmlize::unescape(entity);
    // An entity without its semicolon was found within: `&notit;`. Numbers that are no character stay too.
    let is_whole = !decoded.ends_with(';') || entity == "&semi;" || entity == "&#59;";
    (is_whole && decoded != entity && !decoded.contains(['\u{fffd}', '\0'])).then_some((decoded, start + length + 1))
}

/// The text without HTML tags, comments, scripts and styles, then with entities decoded; `br` and the ends of blocks become line feeds.
/// Borrowed when nothing changes.
///
/// A tag begins with the name of an HTML element (or of an XML name space, `o:p`) and has attributes in due form, so `a < b`, `Vec<String>`
/// and `if x <b and c> d` stay, as does code between back ticks. `vector<b>` stays too where no `</b>` follows.
pub fn strip_html(text: &str) -> Cow<'_, str> {
    match strip_tags(text) {
        Cow::Borrowed(same) => unescape_html(same),
        Cow::Owned(stripped) => match unescape_html(&stripped) {
            Cow::Owned(decoded) => Cow::Owned(decoded),
            Cow::Borrowed(_) => Cow::Owned(stripped),
        },
    }
}

fn strip_tags(text: &str) -> Cow<'_, str> {
    if memchr(b'<', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = memchr2(b'<', b'`', &bytes[at..]) {
        let start = at + found;
        at = start + 1;
        if bytes[start] == b'`' {
            at = end_of_code(text, start);
            continue;
        }
        let Some(markup) = markup_at(text, start) else { continue };
        out.push_str(&text[done..start]);
        if markup.breaks_line && !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        (done, at) = (markup.end, markup.end);
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The end of Markdown code that opens with back ticks at `start`, or of the ticks if nothing closes them.
fn end_of_code(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let ticks = bytes[start..].iter().take_while(|byte| **byte == b'`').count();
    let open = start + ticks;
    // A fence closes anywhere below, a code span within its paragraph.
    let paragraph = if ticks >= 3 { text.len() } else { memmem::find(&bytes[open..], b"\n\n").map_or(text.len(), |end| open + end) };
    let mut at = open;
    while let Some(found) = memchr(b'`', &bytes[at..paragraph]) {
        let close = at + found;
        let length = bytes[close..].iter().take_while(|byte| **byte == b'`').count();
        at = (close + length).min(paragraph);
        if length == ticks {
            return at;
        }
    }
    open
}

struct Markup {
    end: usize,
    breaks_line: bool,
}

fn markup_at(text: &str, start: usize) -> Option<Markup> {
    let rest = &text.as_bytes()[start..];
    if rest.starts_with(b"<!--") {
        let end = memmem::find(&rest[4..], b"-->")?;
        return Some(Markup { end: start + 4 + end + 3, breaks_line: false });
    }
    if rest.len() > 9 && rest[..9].eq_ignore_ascii_case(b"<!doctype") {
        return memchr(b'>', rest).map(|end| Markup { end: start + end + 1, breaks_line: false });
    }
    let closes = rest.get(1) == Some(&b'/');
    let name_start = 1 + usize::from(closes);
    let name_length = rest[name_start..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-')).count();
    let name = text.get(start + name_start..start + name_start + name_length)?.to_ascii_lowercase();
    let is_block = BLOCKS.contains(&name.as_str());
    if !(is_block || INLINE.contains(&name.as_str()) || is_xml_name(&name)) {
        return None;
    }
    let after_name = name_start + name_length;
    let end = start + after_name + end_of_attributes(&rest[after_name..])?;
    if !closes && name.len() == 1 && is_type_argument(text, start, end, &name) {
        return None;
    }
    if !closes && matches!(name.as_str(), "script" | "style") {
        let closing = format!("</{name}");
        let length = text[end..].to_ascii_lowercase().find(&closing)?;
        let end = end + length;
        return Some(Markup { end: end + memchr(b'>', &text.as_bytes()[end..])? + 1, breaks_line: true });
    }
    Some(Markup { end, breaks_line: is_block })
}

/// `vector<b>`: straight after a name, and nothing closes it.
fn is_type_argument(text: &str, start: usize, end: usize, name: &str) -> bool {
    let after_name = text[..start].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
    after_name && memmem::find(&text.as_bytes()[end..], format!("</{name}>").as_bytes()).is_none()
}

/// `o:p` and `st1:place` of word processors; not `std::string`.
fn is_xml_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.split_once(':').is_some_and(|(space, local)| space.len() <= 5 && is_part(space) && is_part(local))
}

/// A tag with more is none.
const MAX_TAG_BYTES: usize = 8192;

/// The number of bytes up to and with the `>` of a tag; none if what stands before it are no attributes.
fn end_of_attributes(rest: &[u8]) -> Option<usize> {
    let rest = &rest[..rest.len().min(MAX_TAG_BYTES)];
    let skip = |at: usize, is: fn(&u8) -> bool| at + rest[at..].iter().take_while(|byte| is(byte)).count();
    let mut at = 0;
    loop {
        let name = skip(at, u8::is_ascii_whitespace);
        match rest.get(name)? {
            b'>' => return Some(name + 1),
            b'/' if rest.get(name + 1) == Some(&b'>') => return Some(name + 2),
            _ if name == at => return None,
            _ => {}
        }
        let end = skip(name, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.' | b'@'));
        let equals = skip(end, u8::is_ascii_whitespace);
        if rest.get(equals) != Some(&b'=') {
            // Words are no attributes, but for those that HTML has without a value.
            if !BARE_ATTRIBUTES.iter().any(|known| rest[name..end].eq_ignore_ascii_case(known.as_bytes())) {
                return None;
            }
            at = end;
            continue;
        }
        let value = skip(equals + 1, u8::is_ascii_whitespace);
        at = match rest.get(value)? {
            quote @ (b'"' | b'\'') => value + 1 + memchr(*quote, &rest[value + 1..])? + 1,
            _ => skip(value, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'>' | b'<' | b'"' | b'\'')),
        };
        // A value may be followed by the next name without a space, as browsers take it.
        if rest.get(at).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
    }
}

const BARE_ATTRIBUTES: [&str; 24] = [
    "allowfullscreen",
    "async",
    "autofocus",
    "autoplay",
    "checked",
    "compact",
    "controls",
    "default",
    "defer",
    "disabled",
    "download",
    "hidden",
    "ismap",
    "itemscope",
    "loop",
    "multiple",
    "muted",
    "nomodule",
    "noshade",
    "novalidate",
    "nowrap",
    "open",
    "readonly",
    "required",
];

/// Elements that begin and end a line.
const BLOCKS: [&str; 54] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "pre",
    "section",
    "select",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "title",
    "tr",
    "ul",
    "script",
    "style",
];

const INLINE: [&str; 75] = [
    "a", "abbr", "acronym", "applet", "area", "audio", "b", "base", "basefont", "bdi", "bdo", "big", "blink", "button", "canvas", "cite",
    "code", "col", "colgroup", "data", "datalist", "del", "dfn", "em", "embed", "font", "frame", "i", "iframe", "img", "input", "ins",
    "kbd", "label", "link", "map", "mark", "marquee", "meta", "meter", "nobr", "noembed", "noframes", "noscript", "object", "output",
    "param", "picture", "progress", "q", "rp", "rt", "ruby", "s", "samp", "slot", "small", "source", "span", "strike", "strong", "sub",
    "sup", "svg", "td", "template", "textarea", "th", "time", "track", "tt", "u", "var", "video", "wbr",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rewrite: fn(&str) -> Cow<'_, str>, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let found = rewrite(text);
            assert_eq!(found, *expected, "{text:?}");
            assert_eq!(matches!(found, Cow::Borrowed(_)), text == expected, "{text:?}");
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        check(
            unescape_html,
            &[
                ("", ""),
                ("Tom &amp; Jerry &lt;b&gt; &eacute;t&eacute; &nbsp;", "Tom & Jerry <b> été \u{a0}"),
                ("&#20013;&#x6587; &#8217; &#146; &hellip;", "中文 ’ ’ …"),
                ("&amp;lt;", "&lt;"),
                ("AT&T, R&D; &; &#; &#xzz; &notit; this&not that &nosuch;", "AT&T, R&D; &; &#; &#xzz; &notit; this&not that &nosuch;"),
                ("&#0; &#xd800; &#x110000;", "&#0; &#xd800; &#x110000;"),
                ("&semi; &CounterClockwiseContourIntegral;", "; ∳"),
                ("a &", "a &"),
            ],
        );
    }

    #[test]
    fn tags_go_and_comparisons_stay() {
        check(
            strip_html,
            &[
                ("", ""),
                ("<p>One</p><p>Two <b class=\"x\">bold</b>.</p>", "One\nTwo bold.\n"),
                ("a<br/>b<BR>c", "a\nb\nc"),
                ("x <!-- a\nb --> y <!doctype html>z", "x  y z"),
                ("a<script type='text/javascript'>if (a < b) {}</SCRIPT >b<style>p {}</style>", "a\nb\n"),
                ("<a href=http://x.y/?a=1>link</a> &copy; 2024", "link © 2024"),
                ("<input type=\"text\" disabled>x<o:p></o:p>", "x"),
                ("a < b and c > d, x<y, 3 <4> 5, i <3 u", "a < b and c > d, x<y, 3 <4> 5, i <3 u"),
                ("Vec<String>, Map<K, V>, List<a> <std::string> <T>", "Vec<String>, Map<K, V>, List<a> <std::string> <T>"),
                ("if x <b and c> d", "if x <b and c> d"),
                ("word<b>bold</b>", "wordbold"),
                ("use `<div>` or ``<p>``\n```html\n<p>x</p>\n```\n<i>y</i>", "use `<div>` or ``<p>``\n```html\n<p>x</p>\n```\ny"),
                ("a ` tick and <i>b</i>", "a ` tick and b"),
                ("<user@example.com> <http://x.y> <kbd", "<user@example.com> <http://x.y> <kbd"),
                ("&lt;b&gt;", "<b>"),
            ],
        );
    }

    proptest! {
        #[test]
        fn never_fails_and_tags_go_at_once(text in "(<|>|</|b|p|br|i| |a=|\"|'|`|&amp;|&|;|é|中|\n|<!--|-->|script){0,30}") {
            let once = strip_tags(&text);
            prop_assert!(once.len() <= text.len() + once.matches('\n').count());
            let decoded = unescape_html(&text);
            prop_assert!(decoded.len() <= text.len());
        }
    }
}
