//! HTML as text: the main text of a page, or all of it, and what its head says.
//!
//! The crate html5gum splits the page into tags and text by the WHATWG's rules; the little that is needed of a tree is built here
//! ([`tree`]), without recursion, so that no nesting can overflow a stack, nor a tag of many attributes ([`reader`]).
//! [`main`] finds the main text, [`render`] writes it down. Decoding bytes is the caller's work.

mod main;
mod reader;
mod render;
mod start;
mod tags;
mod tree;

use std::borrow::Cow;

use tree::Tree;

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Paragraphs stand apart by a blank line; items of lists have a mark, cells of a table row stand between bars.
    pub text: String,
    /// `<title>`.
    pub title: Option<String>,
    /// `lang` of `<html>`, or the `Content-Language` that the page gives itself.
    pub language: Option<String>,
    /// `<link rel="canonical">`, else `og:url`.
    pub canonical_url: Option<String>,
    /// Links of the whole page.
    pub links: u64,
}

/// Which text of a page is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Without navigation, side bars, footers and the like.
    Main,
    /// All that a browser shows.
    All,
}

/// The page nests its elements deeper than [`DEPTH_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooDeep;

/// Deeper pages are machine-made or hostile; browsers stop at 512.
pub const DEPTH_MAX: usize = 2000;

/// Reads a page.
pub fn read(html: &str, extent: Extent) -> Result<Page, TooDeep> {
    let tree = Tree::of(&without_empty_elements(html))?;
    let kept = match extent {
        Extent::Main => main::blocks(&tree),
        Extent::All => vec![true; tree.blocks.len()],
    };
    let text = render::text(&tree, &kept);
    Ok(Page { text, ..tree.page })
}

/// XHTML may write `<script src="x"/>`, which in HTML opens a script that hides all that follows. Such elements go.
fn without_empty_elements(html: &str) -> Cow<'_, str> {
    if !html.trim_start().starts_with("<?xml") {
        return Cow::Borrowed(html);
    }
    let mut kept = String::with_capacity(html.len());
    for stretch in html.split_inclusive("/>") {
        let open = stretch.rfind('<').filter(|at| {
            let name = stretch[at + 1..].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            stretch.ends_with("/>") && ["script", "style", "title", "textarea", "iframe", "noscript"].contains(&name)
        });
        kept.push_str(&stretch[..open.unwrap_or(stretch.len())]);
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests;
