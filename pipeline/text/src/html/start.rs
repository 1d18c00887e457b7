//! A start tag: what its attributes say of the element, and of the page.

use super::Page;
use super::tags::{Tag, is_furniture, is_inline_furniture};
use super::tree::Furniture;

/// A start tag whose attributes are being read.
#[derive(Default)]
pub struct Start {
    pub name: Vec<u8>,
    pub attribute: Vec<u8>,
    pub hidden: bool,
    pub furniture: bool,
    pub inline_furniture: bool,
    pub role: Option<Tag>,
    pub href: bool,
    pub rel: Vec<u8>,
    pub property: Vec<u8>,
    pub value: String,
    pub number: Option<u32>,
}

impl Start {
    pub fn attribute_name(&mut self, name: &[u8]) {
        self.attribute.clear();
        self.attribute.extend_from_slice(name);
        self.hidden |= name == b"hidden";
    }

    pub fn attribute_value(&mut self, value: &[u8]) {
        let text = || String::from_utf8_lossy(value);
        match &self.attribute[..] {
            b"class" | b"id" => {
                let text = text();
                self.furniture |= is_furniture(&text);
                self.inline_furniture |= is_inline_furniture(&text);
            }
            b"role" => {
                self.role = match value {
                    b"main" => Some(Tag::Main),
                    b"navigation" | b"banner" | b"contentinfo" | b"search" | b"complementary" | b"menu" | b"menubar" | b"dialog" => {
                        Some(Tag::Nav)
                    }
                    _ => None,
                }
            }
            b"itemprop" if value == b"articleBody" => self.role = Some(Tag::Main),
            b"aria-hidden" => self.hidden |= value == b"true",
            b"hidden" => self.hidden = value != b"until-found",
            b"style" => {
                let text: String = text().split_whitespace().collect();
                self.hidden |= text.contains("display:none") || text.contains("visibility:hidden");
            }
            b"href" => {
                self.href = true;
                self.value = text().trim().to_string();
            }
            b"content" | b"lang" => self.value = text().trim().to_string(),
            b"xml:lang" if self.value.is_empty() => self.value = text().trim().to_string(),
            b"rel" => self.rel = value.to_ascii_lowercase(),
            b"property" | b"http-equiv" => self.property = value.to_ascii_lowercase(),
            b"start" | b"value" => self.number = text().trim().parse().ok(),
            _ => {}
        }
    }

    pub fn is_hidden(&self, tag: Option<Tag>) -> bool {
        tag == Some(Tag::Hidden) || self.hidden || self.inline_furniture && tag.is_none()
    }

    pub fn language(&self) -> Option<String> {
        Some(self.value.clone()).filter(|value| !value.is_empty())
    }

    /// What a `<link>` or `<meta>` says of the page.
    pub fn head(&self, page: &mut Page) {
        if self.value.is_empty() {
            return;
        }
        match (&self.name[..], &self.rel[..], &self.property[..]) {
            (b"link", b"canonical", _) => page.canonical_url = Some(self.value.clone()),
            (b"meta", _, b"og:url") if page.canonical_url.is_none() => page.canonical_url = Some(self.value.clone()),
            (b"meta", _, b"content-language") if page.language.is_none() => page.language = Some(self.value.clone()),
            _ => {}
        }
    }
}

/// Whether an element is furniture of the page.
pub fn furniture(tag: Tag, start: &Start) -> Furniture {
    match tag {
        Tag::Nav | Tag::Aside | Tag::Footer => Furniture::Yes,
        _ if matches!(start.role, Some(Tag::Nav)) => Furniture::Yes,
        Tag::Body | Tag::Main | Tag::Article => Furniture::No,
        _ if start.furniture => Furniture::Named,
        _ => Furniture::No,
    }
}
