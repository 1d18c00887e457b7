//! A page as blocks of text in the order of the page, and the elements around them.

use std::convert::Infallible;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use super::reader::PageReader;
use super::render::push_collapsed;
use super::start::{Start, furniture};
use super::tags::{TAGS, Tag, is_void};
use super::{DEPTH_MAX, Page, TooDeep};

/// Elements and blocks of a page.
#[derive(Default)]
pub struct Tree {
    /// Parents before their children; the first is the page itself.
    pub elements: Vec<Element>,
    pub blocks: Vec<Block>,
    /// The text of all blocks.
    pub text: String,
    /// What the head says; its text is empty.
    pub page: Page,
}

pub struct Element {
    pub tag: Tag,
    /// What `role` says it is, else its tag.
    pub role: Tag,
    pub parent: usize,
    /// Blocks `first..last` stand in it.
    pub first: usize,
    pub last: usize,
    /// Its tag, role, class or id names it furniture of the page.
    pub furniture: Furniture,
    /// Lists around it.
    pub lists: usize,
    /// The innermost row and cell around it, 0 for none.
    pub row: usize,
    pub cell: usize,
    /// The innermost list item around it, 0 for none.
    pub item: usize,
    /// Number of an item in an ordered list, 0 for others; level of a heading.
    pub number: u32,
    /// What the text in it is part of.
    pub kind: Kind,
}

/// How sure it is that an element is furniture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Furniture {
    No,
    /// A class or id says so.
    Named,
    /// The tag or role says so.
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Heading,
    Item,
    Term,
    Definition,
    Cell,
    Pre,
}

/// Text without a break.
pub struct Block {
    /// The innermost element around it.
    pub element: usize,
    /// Bytes of [`Tree::text`].
    pub start: usize,
    pub end: usize,
    /// Bytes of it that stand in links.
    pub linked: usize,
    pub links: usize,
}

impl Tree {
    pub fn of(html: &str) -> Result<Tree, TooDeep> {
        let mut builder = Builder::default();
        builder.tree.elements.push(Element::root());
        let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<Infallible> {
            builder.event(event);
            None
        });
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(PageReader::new(html), emitter).finish();
        builder.end_block();
        builder.close_to(0);
        builder.tree.elements[0].last = builder.tree.blocks.len();
        if builder.too_deep { Err(TooDeep) } else { Ok(builder.tree) }
    }

    pub fn block(&self, index: usize) -> &str {
        &self.text[self.blocks[index].start..self.blocks[index].end]
    }
}

impl Element {
    fn root() -> Element {
        Element {
            tag: Tag::Page,
            role: Tag::Page,
            parent: 0,
            first: 0,
            last: 0,
            furniture: Furniture::No,
            lists: 0,
            row: 0,
            cell: 0,
            item: 0,
            number: 0,
            kind: Kind::Plain,
        }
    }
}

#[derive(Default)]
struct Builder {
    tree: Tree,
    open: Vec<usize>,
    /// How many elements of each tag are open.
    counts: Vec<u32>,
    items: Vec<u32>,
    start: Option<Start>,
    /// Content of hidden elements is passed over: the tag's name, and how many of that name are open.
    hidden: Option<(Vec<u8>, usize)>,
    in_title: bool,
    in_head: bool,
    in_link: bool,
    block_start: usize,
    linked: usize,
    links: usize,
    too_deep: bool,
}

impl Builder {
    fn event(&mut self, event: CallbackEvent) {
        match event {
            CallbackEvent::OpenStartTag { name } => self.start = Some(Start { name: name.to_vec(), ..Start::default() }),
            CallbackEvent::AttributeName { name } => {
                if let Some(start) = &mut self.start {
                    start.attribute_name(name);
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some(start) = &mut self.start {
                    start.attribute_value(value);
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                if let Some(start) = self.start.take() {
                    self.start_tag(start);
                }
            }
            CallbackEvent::EndTag { name } => self.end_tag(name),
            CallbackEvent::String { value } => self.text(&String::from_utf8_lossy(value)),
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
    }

    fn start_tag(&mut self, start: Start) {
        let name = &start.name[..];
        if let Some((hidden, open)) = &mut self.hidden {
            *open += usize::from(hidden == name);
            return;
        }
        self.in_title = name == b"title" && self.tree.page.title.is_none();
        self.in_head = self.in_head || name == b"head";
        match name {
            b"html" => self.tree.page.language = start.language().or(self.tree.page.language.take()),
            b"link" | b"meta" => start.head(&mut self.tree.page),
            b"br" => return self.line_break(),
            b"hr" => return self.end_block(),
            b"a" => {
                self.in_link = start.href && !start.is_hidden(Tag::of(name));
                self.tree.page.links += u64::from(start.href);
                self.links += usize::from(self.in_link);
            }
            _ => {}
        }
        let tag = Tag::of(name);
        if tag.is_some_and(|tag| tag != Tag::Hidden) {
            self.in_head = false;
        }
        if start.is_hidden(tag) {
            if !is_void(name) {
                self.hidden = Some((start.name, 1));
            }
        } else if let Some(tag) = tag {
            self.open(tag, &start);
        }
    }

    fn end_tag(&mut self, name: &[u8]) {
        self.start = None;
        self.in_title = false;
        let tag = Tag::of(name);
        if let Some((hidden, open)) = &mut self.hidden {
            if hidden == name {
                *open -= 1;
                if *open == 0 {
                    self.hidden = None;
                }
                return;
            }
            // A hidden element that nothing ends would hide the rest of the page: it ends with the element around it.
            let around = Tag::of(hidden) != Some(Tag::Hidden) && tag.is_some_and(|tag| self.find(tag).is_some());
            if !around {
                return;
            }
            self.hidden = None;
        }
        match name {
            b"a" => self.in_link = false,
            b"head" => self.in_head = false,
            b"br" => self.line_break(),
            _ => {
                if let Some(tag) = tag.filter(|tag| *tag != Tag::Hidden) {
                    self.end_block();
                    if let Some(depth) = self.find(tag) {
                        self.close_to(depth);
                    }
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_title {
            let title = text.split_whitespace().collect::<Vec<_>>().join(" ");
            self.tree.page.title = Some(title).filter(|title| !title.is_empty());
            return;
        }
        if self.hidden.is_some() || self.in_head || self.too_deep {
            return;
        }
        let before = self.tree.text.len();
        if self.current().kind == Kind::Pre {
            self.tree.text.push_str(text);
        } else {
            push_collapsed(&mut self.tree.text, self.block_start, text);
        }
        if self.in_link {
            self.linked += self.tree.text[before..].trim_ascii().len();
        }
    }

    fn current(&self) -> &Element {
        &self.tree.elements[self.open.last().copied().unwrap_or(0)]
    }

    /// Where in the stack the element stands that an end tag of this kind ends.
    fn find(&self, tag: Tag) -> Option<usize> {
        if self.counts.get(tag as usize).is_none_or(|count| *count == 0) {
            return None;
        }
        for (depth, element) in self.open.iter().enumerate().rev() {
            let open = self.tree.elements[*element].tag;
            if open == tag {
                return Some(depth);
            }
            if tag.bounds(open) {
                return None;
            }
        }
        None
    }

    fn open(&mut self, tag: Tag, start: &Start) {
        self.end_block();
        self.close_before(tag);
        if self.open.len() >= DEPTH_MAX {
            self.too_deep = true;
            return;
        }
        let parent = self.open.last().copied().unwrap_or(0);
        let index = self.tree.elements.len();
        let element = self.element(tag, parent, index, start);
        self.tree.elements.push(element);
        self.open.push(index);
        self.counts.resize(TAGS, 0);
        self.counts[tag as usize] += 1;
        if tag == Tag::Ordered {
            self.items.push(start.number.unwrap_or(1));
        }
    }

    fn element(&mut self, tag: Tag, parent: usize, index: usize, start: &Start) -> Element {
        let around = &self.tree.elements[parent];
        let kind = match tag {
            Tag::Heading => Kind::Heading,
            Tag::Item => Kind::Item,
            Tag::Term => Kind::Term,
            Tag::Definition => Kind::Definition,
            Tag::Cell => Kind::Cell,
            Tag::Pre => Kind::Pre,
            _ => around.kind,
        };
        let number = match tag {
            Tag::Item if around.tag == Tag::Ordered => self.items.last_mut().map_or(0, |next| {
                let number = start.number.unwrap_or(*next);
                *next = number.saturating_add(1);
                number
            }),
            Tag::Heading => u32::from(start.name[1] - b'0'),
            _ => 0,
        };
        Element {
            tag,
            role: start.role.unwrap_or(tag),
            parent,
            first: self.tree.blocks.len(),
            last: 0,
            furniture: furniture(tag, start),
            lists: around.lists + usize::from(matches!(tag, Tag::Unordered | Tag::Ordered)),
            row: if tag == Tag::Row { index } else { around.row },
            cell: if tag == Tag::Cell { index } else { around.cell },
            item: if tag == Tag::Item { index } else { around.item },
            number,
            kind,
        }
    }

    /// Ends what a start tag of this kind ends: an open paragraph, or the list item or cell before it.
    fn close_before(&mut self, tag: Tag) {
        let mut close = None;
        for (depth, element) in self.open.iter().enumerate().rev() {
            let open = self.tree.elements[*element].tag;
            if tag.closes(open) {
                close = Some(depth);
            } else if tag.bounds(open) || !tag.is_list_or_table_part() {
                break;
            }
        }
        if let Some(depth) = close {
            self.close_to(depth);
        }
    }

    fn close_to(&mut self, depth: usize) {
        for index in self.open.drain(depth.min(self.open.len())..) {
            let element = &mut self.tree.elements[index];
            element.last = self.tree.blocks.len();
            self.counts[element.tag as usize] = self.counts[element.tag as usize].saturating_sub(1);
            if element.tag == Tag::Ordered {
                self.items.pop();
            }
        }
    }

    fn line_break(&mut self) {
        let text = &mut self.tree.text;
        if text.len() > self.block_start && text.ends_with('\n') && self.current().kind != Kind::Pre {
            // Two in a row stand for a new paragraph.
            return self.end_block();
        }
        let text = &mut self.tree.text;
        text.truncate(self.block_start + text[self.block_start..].trim_end_matches(' ').len());
        if text.len() > self.block_start {
            text.push('\n');
        }
    }

    /// What was collected becomes a block, unless it is white space.
    fn end_block(&mut self) {
        let pre = self.current().kind == Kind::Pre;
        let whole = &self.tree.text[self.block_start..];
        let kept = if pre { whole.trim_end().trim_start_matches(['\n', '\r']) } else { whole.trim() };
        if kept.trim().is_empty() {
            self.tree.text.truncate(self.block_start);
        } else {
            let start = kept.as_ptr() as usize - self.tree.text.as_ptr() as usize;
            self.tree.blocks.push(Block {
                element: self.open.last().copied().unwrap_or(0),
                start,
                end: start + kept.len(),
                linked: self.linked.min(kept.len()),
                links: self.links,
            });
        }
        self.block_start = self.tree.text.len();
        (self.linked, self.links) = (0, 0);
    }
}
