//! MediaWiki's XML dumps: a page is a document, its wikitext turned to plain text by [`text::wikitext`].
//!
//! Pages are found by their tags, which cannot stand in a page's text (there they are escaped), so a broken page never harms the next one.
//! Redirects, pages of other namespaces and pages that are no wikitext are no documents and are counted (`records_skipped`).

use anyhow::Result;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::fields::{self, Fields};
use super::rows::{Fault, Rows, excerpt};
use super::stream::{Stream, fault};
use super::window::Window;
use super::{Shape, charset, plain};

/// The fields of a page.
pub const FIELDS: &[&str] = &["title", "page_id", "namespace", "revision_id", "timestamp"];

const BEGIN: &[u8] = b"<page>";
const END: &[u8] = b"</page>";
/// Where a dump says that it is one.
const HEAD_BYTES: usize = 1024;
const DUMP_END: &[u8] = b"</mediawiki>";
/// White space after a dump's end.
const BLANK_BYTES: usize = 64;

/// Reads all pages of a dump.
pub fn read(stream: Stream, shape: &Shape, rows: &mut Rows) -> Result<()> {
    let start = stream.place();
    let mut window = Window::new(stream);
    window.fill(HEAD_BYTES);
    let head = &window.bytes()[..window.bytes().len().min(HEAD_BYTES)];
    let mut known = head.is_empty() || memchr::memmem::find(head, b"<mediawiki").is_some();
    let mut cut = false;
    let head_is_there = known && !head.is_empty();
    while window.skip_to(BEGIN, DUMP_END.len() + BLANK_BYTES) {
        known = true;
        let place = window.place();
        match page(&mut window, shape) {
            Ok(Some((text, fields))) => fields::document(&text, fields, place, shape, rows)?,
            Ok(None) => rows.skip(),
            // A page that is cut off by a break of the archive is told below.
            Err(found) if found.rule == "truncated_record" && window.bytes().is_empty() => match window.failure() {
                Some(error) => return rows.reject(place, fault(window.name(), error)?),
                None => {
                    cut = true;
                    rows.reject(place, found)?;
                }
            },
            Err(found) => rows.reject(place, found)?,
        }
    }
    let place = window.place();
    match window.failure() {
        Some(error) => rows.reject(place, fault(window.name(), error)?),
        None if !known => rows.reject(start, Fault::new("broken_xml", "no `<page>`: the file is no MediaWiki dump")),
        // Pages may be missing. A page that is cut off has said so itself.
        None if head_is_there && !cut && !window.bytes().trim_ascii_end().ends_with(DUMP_END) => {
            rows.reject(place, Fault::new("truncated_record", "the dump has no `</mediawiki>` at its end"))
        }
        None => Ok(()),
    }
}

/// Takes one page: its text and fields, or nothing when it is none of ours.
fn page(window: &mut Window, shape: &Shape) -> Result<Option<(String, Fields)>, Fault> {
    let limit = shape.record_bytes_max;
    let Some(end) = window.find(END, BEGIN.len(), limit) else {
        let more = window.fill(limit + 1);
        let next = window.find(BEGIN, BEGIN.len(), limit);
        let fault = match next {
            Some(_) => Fault::new("broken_xml", "the page has no end before the next one"),
            None if more => plain::too_long(window.bytes(), "the page", shape),
            None => Fault::new("truncated_record", "the file ends within the page"),
        };
        window.take(next.unwrap_or(if more { limit } else { window.bytes().len() }));
        return Err(fault);
    };
    if let Some(next) = window.find(BEGIN, BEGIN.len(), end) {
        window.take(next);
        return Err(Fault::new("broken_xml", "the page has no end before the next one"));
    }
    let length = end + END.len();
    let parsed = charset::record(&window.bytes()[..length], shape.encoding).and_then(|xml| Page::parse(&xml));
    window.take(length);
    let page = parsed?;
    let wikitext = page.model.is_empty() || page.model == "wikitext";
    if page.redirect || !wikitext || !shape.namespaces.contains(&page.namespace) {
        return Ok(None);
    }
    let fields = vec![
        ("title", page.title.into()),
        ("page_id", number(&page.page_id)),
        ("namespace", page.namespace.into()),
        ("revision_id", number(&page.revision_id)),
        ("timestamp", page.timestamp.into()),
    ];
    Ok(Some((text::wikitext(&page.text), fields)))
}

fn number(digits: &str) -> serde_json::Value {
    digits.trim().parse::<i64>().ok().into()
}

/// What a dump says of a page; of several revisions the last.
#[derive(Default)]
struct Page {
    title: String,
    page_id: String,
    namespace: i64,
    redirect: bool,
    revision_id: String,
    timestamp: String,
    model: String,
    text: String,
}

impl Page {
    fn parse(xml: &str) -> Result<Page, Fault> {
        let mut reader = Reader::from_str(xml);
        let mut page = Page::default();
        let mut namespace = String::new();
        let mut path: Vec<String> = Vec::new();
        loop {
            let broken = |what: &str, at: u64| {
                let stretch = xml.as_bytes().get(at as usize..).unwrap_or_default();
                Fault::new("broken_xml", format!("{what} at byte {at} of the page: {}", excerpt(stretch)))
            };
            let at = reader.buffer_position();
            let event = reader.read_event().map_err(|error| broken(&error.to_string(), at))?;
            match event {
                Event::Start(tag) => {
                    path.push(tag.name().as_ref().to_string());
                    if let Some(field) = page.field(&path, &mut namespace) {
                        field.clear();
                    }
                    if path.len() > 16 {
                        return Err(broken("elements nest too deep", at));
                    }
                }
                Event::Empty(tag) => page.redirect |= path.len() == 1 && tag.name().as_ref() == "redirect",
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => {
                    if let Some(field) = page.field(&path, &mut namespace) {
                        field.push_str(&text);
                    }
                }
                Event::CData(text) => {
                    if let Some(field) = page.field(&path, &mut namespace) {
                        field.push_str(&text);
                    }
                }
                Event::GeneralRef(reference) => {
                    let character = match &*reference {
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "amp" => Some('&'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference.resolve_char_ref().ok().flatten(),
                    };
                    let character = character.ok_or_else(|| broken("an unknown entity", at))?;
                    if let Some(field) = page.field(&path, &mut namespace) {
                        field.push(character);
                    }
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {}
                Event::Eof => break,
            }
        }
        page.namespace = namespace.trim().parse().map_err(|_| Fault::new("broken_xml", "the page names no namespace"))?;
        Ok(page)
    }

    /// The field that an element fills.
    fn field<'a>(&'a mut self, path: &[String], namespace: &'a mut String) -> Option<&'a mut String> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        Some(match names[..] {
            ["page", "title"] => &mut self.title,
            ["page", "ns"] => namespace,
            ["page", "id"] => &mut self.page_id,
            ["page", "revision", "id"] => &mut self.revision_id,
            ["page", "revision", "timestamp"] => &mut self.timestamp,
            ["page", "revision", "model"] => &mut self.model,
            ["page", "revision", "text"] => &mut self.text,
            _ => return None,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::super::fields::tests::check;
    use crate::testing::Lab;

    pub fn page(title: &str, namespace: i64, rest: &str, text: &str) -> String {
        format!(
            "  <page>\n    <title>{title}</title>\n    <ns>{namespace}</ns>\n    <id>7</id>\n{rest}    <revision>\n      <id>70</id>\n      \
             <timestamp>2026-01-02T03:04:05Z</timestamp>\n      <contributor><username>A</username><id>1</id></contributor>\n      \
             <model>wikitext</model>\n      <text bytes=\"9\" xml:space=\"preserve\">{text}</text>\n    </revision>\n  </page>\n"
        )
    }

    pub fn dump(pages: &[String]) -> String {
        format!("<mediawiki xml:lang=\"en\">\n  <siteinfo><sitename>Wiki</sitename></siteinfo>\n{}</mediawiki>\n", pages.concat())
    }

    #[test]
    fn articles_become_documents() {
        let file = dump(&[
            page("Bonn &amp; more", 0, "", "'''Bonn''' is a [[city]].{{x|&lt;b&gt;}}&lt;ref&gt;no&lt;/ref&gt; &amp;nbsp;&#x41;"),
            page("Talk:Bonn", 1, "", "a talk"),
            page("Old", 0, "    <redirect title=\"Bonn\" />\n", "#REDIRECT [[Bonn]]"),
            page("Empty", 0, "", ""),
        ]);
        let settings = "columns = { title = \"string\", page_id = \"integer\", timestamp = \"string\" }";
        let columns = ["position", "line", "text", "title", "page_id", "timestamp", "extra"];
        let bonn = "77|3|Bonn is a city. \u{a0}A|Bonn & more|7|2026-01-02T03:04:05Z|{\"namespace\":0,\"revision_id\":70}";
        let empty =
            format!("{}|{}|empty_text", file.rfind("<page>").unwrap(), file[..file.rfind("<page>").unwrap()].matches('\n').count() + 1);
        check("a.xml", file.as_bytes(), settings, &columns, &[bonn], &[&empty]);
        let lab = Lab::new(&[("a.xml", file.as_bytes())]);
        lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.xml\"]", 1).unwrap();
        assert_eq!(lab.artifact("import").manifest.count("records_skipped"), 2);
        check("a.xml", file.as_bytes(), "namespaces = [1]", &["text"], &["a talk"], &[]);
        check("b.xml.zst", &zstd::encode_all(file.as_bytes(), 1).unwrap(), settings, &columns, &[bonn], &[&empty]);
    }

    #[test]
    fn broken_pages_are_rejected_and_the_next_is_read() {
        let good = page("Good", 0, "", "good");
        let check = |broken: &str, settings: &str, rejects: &[&str]| {
            let file = format!("<mediawiki>\n{broken}{good}</mediawiki>");
            super::super::fields::tests::check("a.xml", file.as_bytes(), settings, &["text"], &["good"], rejects);
        };
        check("", "", &[]);
        check("<page><title>never closed\n", "", &["12|2|broken_xml"]);
        check("<page><title>a</ttle></page>\n", "", &["12|2|broken_xml"]);
        check("<page><title>a</title></page>\n", "", &["12|2|broken_xml"]);
        check("<page><ns>0</ns><title>&bogus;</title></page>\n", "", &["12|2|broken_xml"]);
        check(&page("Long", 0, "", &"x ".repeat(1000)), "record_bytes_max = 1024", &["14|2|record_too_long"]);
        super::super::fields::tests::check("a.xml", b"<rss></rss>", "", &["text"], &[], &["0|1|broken_xml"]);
        super::super::fields::tests::check("a.xml", b"", "", &["text"], &[], &[]);
        let cut = &dump(&[good.clone(), good.clone()])[..600];
        super::super::fields::tests::check("a.xml", cut.as_bytes(), "", &["text"], &["good"], &["400|15|truncated_record"]);
        let open = dump(std::slice::from_ref(&good)).replace("</mediawiki>", "<pag");
        let at = format!("{}|14|truncated_record", open.len() - 6);
        super::super::fields::tests::check("a.xml", open.as_bytes(), "", &["text"], &["good"], &[&at]);
        let latin = dump(&[page("a", 0, "", "b")]).replace("<title>a", "<title>\u{ff}").into_bytes();
        let latin: Vec<u8> = latin.iter().filter(|byte| **byte != 0xc3).copied().collect();
        super::super::fields::tests::check("a.xml", &latin, "", &["text"], &[], &["77|3|invalid_utf8"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_damage_leaves_a_balance(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            let mut file = dump(&[page("A", 0, "", "a"), page("B", 0, "", "{{b}} [[c|d]]"), page("C", 0, "", "e")]).into_bytes();
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let lab = Lab::new(&[("a.xml", &file)]);
            lab.run("[[step]]\nstage = \"import\"\npaths = [\"a.xml\"]", 1).unwrap();
            let count = lab.rows("import", "documents", &["text"]).len() + lab.rows("import", "rejects", &["rule"]).len();
            prop_assert_eq!(lab.artifact("import").manifest.count("records"), count as i64);
        }
    }
}
