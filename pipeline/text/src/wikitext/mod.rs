//! Wikitext (MediaWiki's markup) as plain text.
//!
//! Templates, tables, references, files and categories go; links leave their label, headings and items of lists their line. One pass with a
//! stack of what is open, so that nothing nests too deep; what is never closed stays as it is written, as on a wiki page. Templates are
//! never expanded: what they would print is lost.

mod names;

use std::collections::HashSet;

use names::{DROPPED, VERBATIM, character, is_no_text};

/// Marks that must end on the same line are looked for so far.
const NEAR_BYTES: usize = 4096;

/// Deeper nesting is taken as it is written.
const OPEN_MAX: usize = 200;

/// The text of a page.
pub fn plain(source: &str) -> String {
    let mut parser = Parser {
        source,
        lower: source.to_ascii_lowercase(),
        at: 0,
        out: String::with_capacity(source.len() / 2),
        open: Vec::new(),
        heading: false,
        unclosed: HashSet::new(),
    };
    parser.line_start();
    while parser.at < source.len() {
        parser.step();
    }
    parser.end_line();
    tidy(&parser.out)
}

/// What is open, and where its text begins in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Template(usize),
    Parameter(usize),
    Table(usize),
    Link(usize),
}

struct Parser<'a> {
    source: &'a str,
    /// The same, with ASCII letters in lower case.
    lower: String,
    at: usize,
    out: String,
    open: Vec<Open>,
    heading: bool,
    /// End marks that do not come again: so that each is looked for once.
    unclosed: HashSet<String>,
}

impl Parser<'_> {
    fn step(&mut self) {
        let rest = &self.source[self.at..];
        let plain = rest.bytes().position(|byte| matches!(byte, b'{' | b'}' | b'[' | b']' | b'<' | b'\'' | b'&' | b'\n' | b'_' | b'-'));
        let plain = plain.unwrap_or(rest.len());
        if plain > 0 {
            self.out.push_str(&rest[..plain]);
            self.at += plain;
            return;
        }
        match rest.as_bytes()[0] {
            b'{' => self.open_brace(),
            b'}' => self.close_brace(),
            b'[' => self.open_bracket(),
            b']' => self.close_bracket(),
            b'<' => self.tag(),
            b'\'' => self.quotes(),
            b'&' => self.entity(),
            b'\n' => {
                self.end_line();
                self.push(1);
                self.line_start();
            }
            b'_' if rest.starts_with("__") => self.magic_word(),
            b'-' if rest.starts_with("-{") => self.variant(),
            _ => self.push(1),
        }
    }

    /// Takes bytes as they are written.
    fn push(&mut self, length: usize) {
        self.out.push_str(&self.source[self.at..self.at + length]);
        self.at += length;
    }

    /// How often a byte stands here in a row, counted up to a bound: a mark may be looked at many times.
    fn run(&self, byte: u8) -> usize {
        self.source[self.at..].bytes().take(1000).take_while(|found| *found == byte).count()
    }

    /// What follows on the same line, up to a bound.
    fn near(&self, from: usize) -> &str {
        let rest = &self.source[from..];
        let rest = &rest[..rest.floor_char_boundary(NEAR_BYTES)];
        rest.split('\n').next().unwrap_or_default()
    }

    /// Marks that have their meaning at the start of a line only.
    fn line_start(&mut self) {
        let rest = &self.source[self.at..];
        let line = rest.split('\n').next().unwrap_or_default().trim_end();
        let equals = line.bytes().take_while(|byte| *byte == b'=').count();
        if equals > 0 && line.len() > 2 * equals && line.ends_with('=') {
            self.heading = true;
            self.at += equals;
            self.at += self.run(b' ');
        } else if line.starts_with("----") {
            self.at += self.run(b'-');
        } else if line.starts_with("{|") {
            self.push_open(Open::Table(self.out.len()), 2);
        } else if line.starts_with("|}") && !line.starts_with("|}}") && matches!(self.open.last(), Some(Open::Table(_))) {
            self.at += 2;
            self.drop_open();
        } else {
            let marks = line.bytes().take_while(|byte| matches!(byte, b'*' | b'#' | b':' | b';')).count();
            let listed = line.as_bytes()[..marks].iter().rposition(|byte| matches!(byte, b'*' | b'#'));
            if let Some(depth) = listed {
                self.out.extend(std::iter::repeat_n("  ", depth.min(20)));
                self.out.push_str("- ");
            }
            self.at += marks;
            if marks > 0 {
                self.at += self.run(b' ');
            }
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.heading) {
            let kept = self.out.trim_end_matches([' ', '\t', '\r']).trim_end_matches('=').trim_end_matches([' ', '\t']).len();
            self.out.truncate(kept);
        }
    }

    fn push_open(&mut self, open: Open, length: usize) {
        if self.open.len() < OPEN_MAX {
            self.open.push(open);
        }
        self.push(length);
    }

    /// Drops the text of what was opened last.
    fn drop_open(&mut self) {
        if let Some(Open::Template(start) | Open::Parameter(start) | Open::Table(start) | Open::Link(start)) = self.open.pop() {
            self.out.truncate(start);
        }
    }

    fn open_brace(&mut self) {
        match self.run(b'{') {
            1 => self.push(1),
            3 => self.push_open(Open::Parameter(self.out.len()), 3),
            _ => self.push_open(Open::Template(self.out.len()), 2),
        }
    }

    fn close_brace(&mut self) {
        let run = self.run(b'}');
        let found = self.open.iter().rposition(|open| match open {
            Open::Template(_) => run >= 2,
            Open::Parameter(_) => run >= 3,
            Open::Table(_) | Open::Link(_) => false,
        });
        // A table is a border: a stray `}}` in it closes nothing outside.
        let border = self.open.iter().rposition(|open| matches!(open, Open::Table(_)));
        match found.filter(|found| border.is_none_or(|border| border < *found)) {
            Some(depth) => {
                self.at += if matches!(self.open[depth], Open::Parameter(_)) { 3 } else { 2 };
                self.open.truncate(depth + 1);
                self.drop_open();
            }
            None => self.push(run),
        }
    }

    fn open_bracket(&mut self) {
        let rest = &self.source[self.at..];
        if rest.starts_with("[[") {
            return self.push_open(Open::Link(self.out.len()), 2);
        }
        let outside = ["http://", "https://", "//", "ftp://", "mailto:"].iter().any(|scheme| self.lower[self.at + 1..].starts_with(scheme));
        if !outside {
            return self.push(1);
        }
        // `[address label]`: the label follows, up to a bracket that is passed over when it comes.
        let line = self.near(self.at);
        match (line.find(']'), line.find(' ')) {
            (Some(end), Some(space)) if space < end => {
                self.at += space + 1;
                let label = end - space - 1;
                let nested = self.source[self.at..self.at + label].contains(['[', '{', '<']);
                if !nested {
                    self.push(label);
                    self.at += 1;
                }
            }
            (Some(end), _) => self.at += end + 1,
            (None, _) => self.push(1),
        }
    }

    fn close_bracket(&mut self) {
        let Some(Open::Link(start)) = self.open.last().copied().filter(|_| self.source[self.at..].starts_with("]]")) else {
            return self.push(1);
        };
        self.open.pop();
        self.at += 2;
        let link = self.out.split_off(start);
        let link = link.strip_prefix("[[").unwrap_or(&link);
        let target = link.split('|').next().unwrap_or_default().trim();
        if is_no_text(target) {
            return;
        }
        match link.split_once('|') {
            Some((_, label)) => self.out.push_str(label.trim()),
            None => self.out.push_str(target.trim_start_matches(':')),
        }
    }

    fn tag(&mut self) {
        let rest = &self.lower[self.at..];
        if rest.starts_with("<!--") {
            match self.find_end("-->") {
                Some(end) => self.at = end,
                None => self.push(4),
            }
            return;
        }
        let closing = rest.starts_with("</");
        let name_start = if closing { 2 } else { 1 };
        let name_length = rest[name_start..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        let name = rest[name_start..name_start + name_length].to_string();
        let tag_end = rest.bytes().take(NEAR_BYTES).position(|byte| byte == b'>');
        let (Some(tag_end), true) = (tag_end, name.starts_with(|c: char| c.is_ascii_alphabetic())) else {
            return self.push(1);
        };
        let empty = rest[..tag_end].ends_with('/');
        self.at += tag_end + 1;
        if closing || empty || !DROPPED.contains(&&name[..]) && !VERBATIM.contains(&&name[..]) {
            if matches!(&name[..], "br" | "p" | "div" | "li" | "tr" | "blockquote" | "poem") && !self.out.ends_with('\n') {
                self.out.push('\n');
            }
            return;
        }
        let content = self.at;
        let Some(end) = self.find_end(&format!("</{name}")) else { return };
        let text_end = end - name.len() - 2;
        if VERBATIM.contains(&&name[..]) {
            self.out.push_str(&self.source[content..text_end]);
        }
        self.at = self.source[end..].find('>').map_or(end, |at| end + at + 1);
    }

    /// The place after the next `mark`.
    fn find_end(&mut self, mark: &str) -> Option<usize> {
        if self.unclosed.contains(mark) {
            return None;
        }
        let found = self.lower[self.at..].find(mark).map(|at| self.at + at + mark.len());
        if found.is_none() {
            self.unclosed.insert(mark.to_string());
        }
        found
    }

    /// Two, three or five apostrophes are italics and bold; of others the surplus is text.
    fn quotes(&mut self) {
        let run = self.run(b'\'');
        let text = match run {
            1 => 1,
            4 => 1,
            2..=5 => 0,
            more => more - 5,
        };
        self.out.extend(std::iter::repeat_n('\'', text));
        self.at += run;
    }

    fn entity(&mut self) {
        let rest = &self.source[self.at..];
        let name = rest[1..].bytes().take(10).position(|byte| byte == b';').map(|end| &rest[1..=end]);
        match name.and_then(character) {
            Some(character) => {
                self.out.push(character);
                self.at += name.map_or(1, |name| name.len() + 2);
            }
            None => self.push(1),
        }
    }

    /// `__NOTOC__` and the like.
    fn magic_word(&mut self) {
        let rest = &self.source[self.at + 2..];
        let length =
            rest.chars().take_while(|c| c.is_uppercase() || c.is_alphabetic() && !c.is_lowercase()).map(char::len_utf8).sum::<usize>();
        if length >= 3 && rest[length..].starts_with("__") { self.at += length + 4 } else { self.push(2) }
    }

    /// `-{zh-hans:…; zh-hant:…}-`: the wording for mainland China, else the first; `-{…}-` is text.
    fn variant(&mut self) {
        let Some(end) = self.near(self.at + 2).find("}-") else { return self.push(2) };
        let content = &self.source[self.at + 2..self.at + 2 + end];
        let (flags, text) = content.split_once('|').unwrap_or(("", content));
        let choices: Vec<(&str, &str)> = text.split(';').filter_map(|choice| choice.split_once(':')).collect();
        let wording = ["zh-cn", "zh-hans", "zh"].iter().find_map(|wanted| choices.iter().find(|(name, _)| name.trim() == *wanted));
        if !flags.contains(['H', 'T']) {
            self.out.push_str(wording.or(choices.first()).map_or(text, |(_, wording)| wording.trim()));
        }
        self.at += 2 + end + 2;
    }
}

/// Lines without blanks at their end, at most one empty line in a row, and no brackets around nothing that a template left.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line = line.trim_end();
        let bare = line.trim_start();
        if bare.is_empty() || bare == "-" {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        let start = out.len();
        out.push_str(line);
        for nothing in [" ()", " ( )", "()", "（）"] {
            if out[start..].contains(nothing) {
                let cleaned = out[start..].replace(nothing, "");
                out.truncate(start);
                out.push_str(&cleaned);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_becomes_text() {
        let check = |source: &str, expected: &str| assert_eq!(plain(source), expected, "{source}");
        check("", "");
        check("{{Infobox|a={{b|c}}\n|d=[[e]]}}\n'''Bonn''' is a ''city'' in [[Germany]].", "Bonn is a city in Germany.");
        check("a [[Rhine|river]], [[:Category:X]] [[File:a.jpg|thumb|a [[b]] c]][[Category:Y]][[de:Bonn]]", "a river, Category:X");
        check("== History ==\nText<ref name=\"a\">B {{c}}</ref>.<ref name=b /> More<!-- no -->.", "History\nText. More.");
        check("* one\n** two\n# three\n: four\n; five", "- one\n  - two\n- three\nfour\nfive");
        check("a\n{| class=x\n! b\n|-\n| {{c|}} ||\n{|\n| d\n|}\n|}\nend", "a\n\nend");
        check("[https://x.org the label] [http://y.org] [not a link]", "the label  [not a link]");
        check("''''a'''' it's '''''b'''''", "'a' it's b");
        check("a&nbsp;b &amp;lt; &#8212; &bogus; &", "a\u{a0}b &lt; — &bogus; &");
        check("<nowiki>[[a]] {{b}}</nowiki> <math>x^2</math>y<br />z<span style=\"c\">w</span>", "[[a]] {{b}} y\nzw");
        check("<pre>\n# no list\n* item\n</pre>", "# no list\n* item");
        check("__NOTOC__\n----\nx __y__", "x __y__");
        check("-{zh-hans:计算机; zh-hant:電腦}-和-{台}-，-{H|zh:a}-好", "计算机和台，好");
        check("Paris ({{lang|fr}}) is", "Paris is");
        check("a {{{1|b}}} c", "a  c");
        check("{{never closed\n[[nor this\nx", "{{never closed\n[[nor this\nx");
        check("1 < 2 <ref>never closed", "1 < 2 never closed");
        check("[[文件:a.png|缩略图|说明]]正文[[分类:甲]]", "正文");
    }

    #[test]
    fn nesting_and_open_marks_take_linear_time() {
        for unit in ["{{", "[[", "<ref>", "<!--", "{|\n", "[http://", "'''''", "-{", "&", "{{{", "<pre"] {
            plain(&unit.repeat(200_000));
        }
        plain(&("{{".repeat(100_000) + &"}}".repeat(100_000)));
    }

    proptest! {
        #[test]
        fn anything_is_text(source in proptest::collection::vec(prop_oneof![
            Just("{{"), Just("}}"), Just("[["), Just("]]"), Just("{|"), Just("|}"), Just("\n"), Just("|"), Just("<ref>"), Just("</ref>"), Just("<"),
            Just("="), Just("''"), Just("é"), Just("文"), Just("-{"), Just("}-"), Just("&#x"), Just(";"), Just("__"), Just("[http://a "), Just("]"),
        ], 0..40)) {
            plain(&source.concat());
        }
    }
}
