//! Pages in, text out.

use proptest::prelude::*;

use super::*;

fn check(html: &str, extent: Extent, expected: &str) {
    assert_eq!(read(html, extent).unwrap().text, expected, "{html}");
}

const LONG: &str = "A paragraph of running text, long enough to count as what a page is about, with commas, clauses and a full stop at its end. \
    It goes on for another sentence, so that no rule takes it for a label, a caption or an entry of a menu.";

#[test]
fn text_keeps_its_structure() {
    let all = |html: &str, expected: &str| check(html, Extent::All, expected);
    all("", "");
    all("plain <b>words</b>,\n <i>no</i>&nbsp;&lt;tags&#62;", "plain words, no\u{a0}<tags>");
    all("<p>one\n  two<p>three<br>four<br><br>five", "one two\n\nthree\nfour\n\nfive");
    all("<h1>Head</h1>text<div>box<div>inner</div>after</div>", "Head\n\ntext\n\nbox\n\ninner\n\nafter");
    all("<ul><li>a<li>b<ul><li>c</ul><li><p>d<p>e</ul>x", "- a\n- b\n  - c\n- d\n  e\n\nx");
    all("<ol start=3><li>a<li>b</ol>", "3. a\n4. b");
    all("<table><tr><th>a<th>b<tr><td>1<td><p>2</p><p>3</p></table>x", "a | b\n1 | 2 3\n\nx");
    all("<dl><dt>term<dd>meaning<dt>other<dd>more</dl>", "term\nmeaning\n\nother\nmore");
    all("x<pre>\n  fn a() {\n\n      b <span>c</span>\n  }\n</pre>y", "x\n\n  fn a() {\n\n      b c\n  }\n\ny");
    all("a<script>if (a < b) { '</p>' }</script>b<style>x</style><!-- c --><svg><text>d</text></svg>e", "abe");
    all("a<span hidden>b<span>c</span></span>d<p style='display: none'>e</p><i aria-hidden=true>f</i>g", "adg");
    all("<div hidden><span>never closed</div>after", "after");
    all("<p>a <span hidden>never closed</p>after", "a\n\nafter");
    all("<?xml version='1.0'?><html><head><title/><script src='a>b' /></head><body><p>x<br/>y</p></body></html>", "x\ny");
    all("<textarea>no</textarea><title>no</title>yes", "yes");
}

#[test]
fn main_text_stays_and_furniture_goes() {
    let main = |html: &str, expected: &str| check(html, Extent::Main, expected);
    let page = |body: &str| format!("<html><head><title>t</title></head><body>{body}</body></html>");
    main(&page(&format!("<nav><a href=/>Home</a></nav><main><h1>T</h1><p>{LONG}</p></main><footer>©</footer>")), &format!("T\n\n{LONG}"));
    main(&page(&format!("<div class=sidebar>{LONG}</div><div>{LONG}<p>{LONG}</div>")), &format!("{LONG}\n\n{LONG}"));
    main(&page(&format!("<div class=no-sidebar><p>{LONG}</div>")), LONG);
    main(&page(&format!("<ul><li><a href=a>One</a><li><a href=b>Two</a></ul><div><p>{LONG}</div><p><a href=c>Imprint</a>")), LONG);
    let related = "<h2>See also</h2><ul><li><a href=a>First link</a><li><a href=b>Second link</a><li><a href=c>Third link</a></ul>";
    main(&page(&format!("<article><p>{LONG}</p><h2>More</h2><p>{LONG}</p>{related}</article>")), &format!("{LONG}\n\nMore\n\n{LONG}"));
    main(&page("<p>Short."), "Short.");
    main(&page("<nav>Only navigation</nav>"), "");
}

#[test]
fn the_head_is_read() {
    let page = read(
        "<!doctype html><html lang='de-AT'><head><title> A\n &amp; B </title><link rel=canonical href='https://a.b/c'>\
         <meta property=og:url content='https://other/'></head><body><a href=x>1</a><a name=y>2</a><a href=z>3</a><svg><title>no</title></svg>",
        Extent::All,
    );
    let expected = Page {
        text: "123".into(),
        title: Some("A & B".into()),
        language: Some("de-AT".into()),
        canonical_url: Some("https://a.b/c".into()),
        links: 2,
    };
    assert_eq!(page, Ok(expected));
    assert_eq!(read("<meta property=og:url content=u>", Extent::All).unwrap().canonical_url.as_deref(), Some("u"));
    assert_eq!(read("x", Extent::All), Ok(Page { text: "x".into(), ..Page::default() }));
}

#[test]
fn deep_nesting_is_refused_and_open_tags_take_linear_time() {
    for tag in ["<div>", "<ul><li>", "<table><tr><td>", "<blockquote>"] {
        assert_eq!(read(&tag.repeat(1_000_000), Extent::Main), Err(TooDeep), "{tag}");
    }
    for tag in ["<b>", "<p>", "<li>", "<a href=x>", "<font><p>", "</div>", "<br>", "<td>", "<h1>", "<", "&", "<!--", "<p hidden>", "<a b="]
    {
        read(&tag.repeat(200_000), Extent::Main).unwrap();
    }
}

proptest! {
    #[test]
    fn anything_is_a_page(parts in proptest::collection::vec(prop_oneof![
        Just("<div>"), Just("</div>"), Just("<p>"), Just("<li>"), Just("<ul>"), Just("</ul>"), Just("<table>"), Just("</table>"), Just("<td>"),
        Just("<tr>"), Just("<pre>"), Just("</pre>"), Just("<a href=x>"), Just("</a>"), Just("<nav>"), Just("<h2>"), Just("<script>"), Just("</script>"),
        Just("<title>"), Just("<b hidden>"), Just("</b>"), Just("<"), Just("&"), Just("文"), Just("word "), Just("\n"), Just("<br>"), Just("<ol start=9>"),
        Just("<main>"), Just("<article class=nav>"), Just("é"), Just("<td hidden"), Just("'>"), Just("<dt>"), Just("<body>"), Just("</p>"),
    ], 0..60)) {
        let html = parts.concat();
        let all = read(&html, Extent::All).unwrap().text;
        let main = read(&html, Extent::Main).unwrap().text;
        prop_assert!(main.len() <= all.len() + parts.len() * 4);
    }
}
