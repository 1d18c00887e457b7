//! Cuts repeated stretches out of a text, on word boundaries, so that what is left can be read.

use text::{Script, script};

use super::repeats::Mark;

/// A stretch of a text that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub first_id: [u8; 16],
    pub first_start: usize,
}

/// The spans that a document's marks cover together, each drawn in to the nearest word boundaries; those of which nothing is left are none.
pub fn spans(text: &str, marks: &[Mark]) -> Vec<Span> {
    let mut covered: Vec<Span> = Vec::new();
    for mark in marks {
        let (start, end, first_start) = (mark.start as usize, mark.end as usize, mark.first_start as usize);
        match covered.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => covered.push(Span { start, end, first_id: mark.first_id, first_start }),
        }
    }
    let drawn_in = |span: Span| {
        let start = (span.start..span.end).find(|at| is_boundary(text, *at))?;
        let end = (start + 1..=span.end).rev().find(|at| is_boundary(text, *at))?;
        Some(Span { start, end, first_start: span.first_start + (start - span.start), ..span })
    };
    covered.into_iter().filter_map(drawn_in).collect()
}

/// Whether a word may end or begin at a byte of `text`.
fn is_boundary(text: &str, at: usize) -> bool {
    let Some((before, after)) = text.split_at_checked(at) else { return false };
    let in_word = |c: Option<char>| c.is_some_and(|c| (c.is_alphanumeric() || c == '_') && !stands_alone(c));
    !(in_word(before.chars().next_back()) && in_word(after.chars().next()))
}

/// Characters of scripts that put no spaces between words.
fn stands_alone(c: char) -> bool {
    !c.is_ascii() && matches!(script(c), Some(Script::Han | Script::Hiragana | Script::Katakana | Script::Thai))
}

/// The text without the spans, or with `mask` in place of each.
///
/// Without a mask, a line break or a space of the span stays where words would run together, and an empty line behind the span goes where a
/// line ends before it.
pub fn cut(text: &str, spans: &[Span], mask: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        out.push_str(&text[from.min(span.start)..span.start]);
        from = span.end;
        if let Some(mask) = mask {
            out.push_str(mask);
            continue;
        }
        let (gone, rest) = (&text[span.start..span.end], &text[span.end..]);
        if out.is_empty() || out.ends_with('\n') {
            let blank = rest.len() - rest.trim_start().len();
            from += rest[..blank].rfind('\n').map_or(0, |at| at + 1);
        } else if !out.ends_with(char::is_whitespace)
            && rest.starts_with(|c: char| !c.is_whitespace())
            && gone.contains(char::is_whitespace)
        {
            out.push(if gone.contains('\n') { '\n' } else { ' ' });
        }
    }
    out.push_str(&text[from..]);
    out
}

/// Whether nothing but white space stands outside the spans.
pub fn is_covered(text: &str, spans: &[Span]) -> bool {
    let mut from = 0;
    let is_blank = |from: usize, to: usize| text[from..to].trim().is_empty();
    spans.iter().all(|span| is_blank(std::mem::replace(&mut from, span.end), span.start)) && is_blank(from, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts the stretches between `[` and `]`.
    fn check(marked: &str, expected: &str) {
        let (mut text, mut marks) = (String::new(), Vec::new());
        for c in marked.chars() {
            let at = text.len() as u32;
            match c {
                '[' => marks.push(Mark { row: 0, start: at, end: at, first_id: [0; 16], first_start: 0 }),
                ']' => marks.last_mut().unwrap().end = at,
                c => text.push(c),
            }
        }
        assert_eq!(cut(&text, &spans(&text, &marks), None), expected, "{marked:?}");
    }

    #[test]
    fn words_stay_whole_and_apart() {
        check("a run[ning over the hill jum]ping", "a running jumping");
        check("keep [all of this] and that", "keep  and that");
        check("one[, two, three]four five", "one, two threefour five".replace(", two ", " ").as_str());
        check("end.[\nA line.\n]Next", "end.\nNext");
        check("head\n\n[A paragraph.]\n\nfoot", "head\n\nfoot");
        check("[whole first line\n]\n    indented", "    indented");
        check("我们[今天去公园。]明天", "我们明天");
        check("x[yz]", "xyz");
        check("ab [cd ][ef] gh", "ab  gh");
        check("[all of it]", "");
    }

    #[test]
    fn a_mask_takes_the_place_and_covered_texts_are_told() {
        let mark = Mark { row: 0, start: 3, end: 9, first_id: [1; 16], first_start: 40 };
        let found = spans("ab cdef gh", &[mark]);
        assert_eq!(found, [Span { start: 3, end: 8, first_id: [1; 16], first_start: 40 }]);
        assert_eq!(cut("ab cdef gh", &found, Some("[…]")), "ab […]gh");
        assert!(!is_covered("ab cdef gh", &found) && is_covered(" \n cdef  ", &found));
    }

    proptest! {
        #[test]
        fn any_marks_leave_a_text(text in any::<String>(), places in proptest::collection::vec((0_u32..60, 1_u32..30), 0..5)) {
            let mut marks: Vec<Mark> = places
                .iter()
                .map(|(start, length)| (*start.min(&(text.len() as u32)), length))
                .map(|(start, length)| Mark { row: 0, start, end: (start + length).min(text.len() as u32), first_id: [0; 16], first_start: 0 })
                .collect();
            marks.sort_unstable();
            let spans = spans(&text, &marks);
            prop_assert!(cut(&text, &spans, None).len() <= text.len() && (!is_covered(&text, &spans) || cut(&text, &spans, None).trim().is_empty()));
        }
    }
}
