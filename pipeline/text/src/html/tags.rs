//! What is known of HTML's tags: which open a block, which hide their content, and which names of classes tell a page's furniture.

/// Elements that break the flow of text. All others are inline and leave no trace in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// The root of the tree.
    Page,
    Body,
    Div,
    Section,
    Article,
    Main,
    Aside,
    Nav,
    Header,
    Footer,
    Form,
    Figure,
    Caption,
    Quote,
    Paragraph,
    Heading,
    Pre,
    Unordered,
    Ordered,
    Item,
    Definitions,
    Term,
    Definition,
    Table,
    Row,
    Cell,
    /// Content that is no text for readers: scripts, drawings, controls.
    Hidden,
}

pub const TAGS: usize = Tag::Hidden as usize + 1;

impl Tag {
    pub fn of(name: &[u8]) -> Option<Tag> {
        Some(match name {
            b"body" => Tag::Body,
            b"div" | b"center" | b"details" | b"summary" | b"fieldset" | b"address" | b"hgroup" | b"search" => Tag::Div,
            b"section" => Tag::Section,
            b"article" => Tag::Article,
            b"main" => Tag::Main,
            b"aside" => Tag::Aside,
            b"nav" => Tag::Nav,
            b"header" => Tag::Header,
            b"footer" => Tag::Footer,
            b"form" => Tag::Form,
            b"figure" => Tag::Figure,
            b"caption" | b"figcaption" | b"legend" => Tag::Caption,
            b"blockquote" => Tag::Quote,
            b"p" => Tag::Paragraph,
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => Tag::Heading,
            b"pre" | b"listing" | b"xmp" => Tag::Pre,
            b"ul" | b"menu" | b"dir" => Tag::Unordered,
            b"ol" => Tag::Ordered,
            b"li" => Tag::Item,
            b"dl" => Tag::Definitions,
            b"dt" => Tag::Term,
            b"dd" => Tag::Definition,
            b"table" => Tag::Table,
            b"tr" => Tag::Row,
            b"td" | b"th" => Tag::Cell,
            b"script" | b"style" | b"noscript" | b"template" | b"svg" | b"iframe" | b"object" | b"canvas" | b"audio" | b"video"
            | b"map" | b"select" | b"button" | b"textarea" | b"datalist" | b"dialog" | b"noembed" | b"noframes" | b"applet" => Tag::Hidden,
            _ => return None,
        })
    }

    /// Elements that a start tag of this kind ends when they are open, up to the boundary given by [`Tag::bounds`].
    pub fn closes(self, open: Tag) -> bool {
        match self {
            Tag::Item => matches!(open, Tag::Item | Tag::Paragraph),
            Tag::Term | Tag::Definition => matches!(open, Tag::Term | Tag::Definition | Tag::Paragraph),
            Tag::Row => matches!(open, Tag::Row | Tag::Cell | Tag::Paragraph | Tag::Caption),
            Tag::Cell => matches!(open, Tag::Cell | Tag::Paragraph),
            Tag::Heading => matches!(open, Tag::Heading | Tag::Paragraph),
            Tag::Hidden => false,
            _ => open == Tag::Paragraph,
        }
    }

    /// Whether an open element ends the search for what a start or end tag of this kind closes.
    pub fn bounds(self, open: Tag) -> bool {
        match self {
            Tag::Item => matches!(open, Tag::Unordered | Tag::Ordered | Tag::Cell | Tag::Table),
            Tag::Term | Tag::Definition => matches!(open, Tag::Definitions | Tag::Cell | Tag::Table),
            Tag::Row | Tag::Cell => open == Tag::Table,
            Tag::Table | Tag::Body => false,
            _ => matches!(open, Tag::Cell | Tag::Table),
        }
    }

    /// Whether a start tag of this kind inside a paragraph or its like has to look for something to close.
    pub fn is_list_or_table_part(self) -> bool {
        matches!(self, Tag::Item | Tag::Term | Tag::Definition | Tag::Row | Tag::Cell)
    }
}

/// Elements without content or end tag.
pub fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"param"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

/// Words in a class or id that name the furniture of a page.
const FURNITURE: &[&str] = &[
    "ad",
    "ads",
    "adsbygoogle",
    "advert",
    "advertisement",
    "banner",
    "breadcrumb",
    "breadcrumbs",
    "byline",
    "comment",
    "commentlist",
    "comments",
    "consent",
    "cookie",
    "cookies",
    "disqus",
    "footer",
    "masthead",
    "menu",
    "menubar",
    "modal",
    "nav",
    "navbar",
    "navbox",
    "navigation",
    "navlinks",
    "newsletter",
    "outbrain",
    "pager",
    "pagination",
    "paginator",
    "popup",
    "promo",
    "promos",
    "recommended",
    "related",
    "replies",
    "respond",
    "share",
    "sharedaddy",
    "sharing",
    "sidebar",
    "sidenav",
    "signup",
    "skyscraper",
    "social",
    "sphinxsidebar",
    "sponsor",
    "sponsored",
    "subscribe",
    "taboola",
    "tags",
    "teaser",
    "toolbar",
    "topbar",
    "trending",
    "widget",
    "widgets",
];

/// Words that say the opposite of the one that follows: `no-sidebar`, `has-comments`.
const NEGATIONS: &[&str] = &["no", "has", "with", "without", "hide", "show", "is"];

/// Whether a class or id names furniture.
pub fn is_furniture(names: &str) -> bool {
    let mut before = "";
    for word in Words(names) {
        let known = word.len() <= 14 && {
            let mut lower = [0; 14];
            let lower = &mut lower[..word.len()];
            lower.copy_from_slice(word.as_bytes());
            lower.make_ascii_lowercase();
            std::str::from_utf8(lower).is_ok_and(|word| FURNITURE.binary_search(&word).is_ok())
        };
        if known && !NEGATIONS.contains(&before) {
            return true;
        }
        before = word;
    }
    false
}

/// Whether a class marks inline text that is no content: links to the heading itself, `[edit]`, text for screen readers only.
pub fn is_inline_furniture(names: &str) -> bool {
    names.split_ascii_whitespace().any(|name| {
        matches!(name, "headerlink" | "anchorjs-link" | "mw-editsection" | "sr-only" | "visually-hidden" | "screen-reader-text" | "noprint")
    })
}

/// The words of `relatedPosts side-bar`: cut at everything that is no letter, and before a capital.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let bytes = text.as_bytes();
        let inside = |at: usize| bytes[at].is_ascii_alphabetic() && !(bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase());
        let end = (1..bytes.len()).find(|at| !inside(*at)).unwrap_or(bytes.len());
        let (word, rest) = text.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_name_furniture() {
        assert!(FURNITURE.is_sorted());
        for names in ["sidebar", "main-nav x", "relatedPosts", "post_share", "Footer", "x2 widget-3"] {
            assert!(is_furniture(names), "{names}");
        }
        for names in ["", "content", "no-sidebar", "has-comments", "shareholders", "é-x", "navy", "body entry"] {
            assert!(!is_furniture(names), "{names}");
        }
        assert_eq!(Words("aB-cd2EF é").collect::<Vec<_>>(), ["a", "B", "cd", "EF"]);
    }
}
