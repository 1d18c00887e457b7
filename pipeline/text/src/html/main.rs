//! Finds the main text of a page.
//!
//! First the furniture goes that the page itself names (`<nav>`, `<footer>`, roles, classes). Of the rest, running text speaks for an element
//! and links and short blocks speak against it; the element with the greatest sum over its blocks holds the main text (the maximum
//! subsequence of Pasternack and Roth, "Extracting article text from the web with maximum subsequence segmentation", 2009, over elements
//! instead of any stretch). `<main>` and `<article>` are believed when they hold a good part of the text. Within the chosen element, lists
//! and boxes that are links for the most part go.

use super::tags::Tag;
use super::tree::{Furniture, Kind, Tree};

/// What a block costs: bytes of running text that outweigh its being there. Short blocks (labels, captions, menu entries) count against.
const BLOCK_COST: i64 = 60;
/// A `<main>` is believed with this share (in percent) of the text outside of furniture and links.
const MAIN_PERCENT: i64 = 30;
/// A named element with more than this share of the page's text is no furniture.
const FURNITURE_PERCENT: i64 = 50;
/// A list or box whose text is linked for more than this share is navigation.
const LINKED_PERCENT: i64 = 75;
/// … and it has at least so many links.
const LINKS_MIN: i64 = 3;
/// With less text than this, all text outside of furniture is better than what was found; in bytes.
const TEXT_MIN: i64 = 200;

/// Which blocks are main text.
pub fn blocks(tree: &Tree) -> Vec<bool> {
    let sums = Sums::of(tree);
    let mut kept = vec![true; tree.blocks.len()];
    drop_furniture(tree, &sums, &mut kept);
    let rest = Sums::kept(tree, &kept);
    let chosen = choose(tree, &rest);
    let element = &tree.elements[chosen];
    let mut main = vec![false; kept.len()];
    main[element.first..element.last].copy_from_slice(&kept[element.first..element.last]);
    drop_linked(tree, chosen, &rest, &mut main);
    drop_lone_headings(tree, &kept, &mut main);
    let found: i64 = (0..main.len()).filter(|block| main[*block]).map(|block| tree.block(block).len() as i64).sum();
    if found < TEXT_MIN && rest.text(0, kept.len()) > found {
        return kept;
    }
    main
}

/// Sums over the blocks before each.
struct Sums {
    text: Vec<i64>,
    linked: Vec<i64>,
    links: Vec<i64>,
    score: Vec<i64>,
}

impl Sums {
    fn of(tree: &Tree) -> Sums {
        Sums::kept(tree, &vec![true; tree.blocks.len()])
    }

    fn kept(tree: &Tree, kept: &[bool]) -> Sums {
        let mut sums = Sums { text: vec![0], linked: vec![0], links: vec![0], score: vec![0] };
        let (mut text, mut linked, mut count, mut score) = (0, 0, 0, 0);
        for (block, kept) in tree.blocks.iter().zip(kept) {
            if *kept {
                let (bytes, links) = ((block.end - block.start) as i64, block.linked as i64);
                text += bytes;
                linked += links;
                count += block.links as i64;
                score += bytes - 2 * links - BLOCK_COST;
            }
            sums.text.push(text);
            sums.linked.push(linked);
            sums.links.push(count);
            sums.score.push(score);
        }
        sums
    }

    fn text(&self, first: usize, last: usize) -> i64 {
        self.text[last] - self.text[first]
    }

    fn linked(&self, first: usize, last: usize) -> i64 {
        self.linked[last] - self.linked[first]
    }

    /// Text outside of links.
    fn running(&self, first: usize, last: usize) -> i64 {
        self.text(first, last) - self.linked(first, last)
    }

    fn score(&self, first: usize, last: usize) -> i64 {
        self.score[last] - self.score[first]
    }
}

fn drop_furniture(tree: &Tree, sums: &Sums, kept: &mut [bool]) {
    let total = sums.running(0, kept.len());
    for element in &tree.elements[1..] {
        let furniture = match element.furniture {
            Furniture::Yes => true,
            Furniture::Named => sums.running(element.first, element.last) * 100 <= total * FURNITURE_PERCENT,
            // The header of a page, not that of its article.
            Furniture::No => element.role == Tag::Header && !inside(tree, element.parent, &[Tag::Main, Tag::Article]),
        };
        if furniture {
            kept[element.first..element.last].fill(false);
        }
    }
}

fn inside(tree: &Tree, mut element: usize, tags: &[Tag]) -> bool {
    while element != 0 {
        if tags.contains(&tree.elements[element].role) {
            return true;
        }
        element = tree.elements[element].parent;
    }
    false
}

/// The element that holds the main text.
fn choose(tree: &Tree, sums: &Sums) -> usize {
    let total = sums.running(0, tree.blocks.len());
    let share = |index: &usize| {
        let element = &tree.elements[*index];
        sums.running(element.first, element.last) * 100 / total.max(1)
    };
    let of = |tag: Tag| (1..tree.elements.len()).filter(move |index| tree.elements[*index].role == tag);
    let said = of(Tag::Main).max_by_key(share).filter(|main| share(main) >= MAIN_PERCENT);
    let scope = said.unwrap_or(0);
    let (first, last) = (tree.elements[scope].first, tree.elements[scope].last);
    // One article that is most of what is there; many are a list of articles, or its comments.
    if let Some(article) =
        of(Tag::Article).filter(|index| tree.elements[*index].first >= first && tree.elements[*index].last <= last).max_by_key(share)
        && share(&article) * 100 >= share(&scope) * 60
    {
        return article;
    }
    if said.is_some() {
        return scope;
    }
    let score = |index: &usize| sums.score(tree.elements[*index].first, tree.elements[*index].last);
    (0..tree.elements.len()).max_by_key(score).unwrap_or(0)
}

/// Drops lists and boxes that are links for the most part.
fn drop_linked(tree: &Tree, chosen: usize, sums: &Sums, main: &mut [bool]) {
    let within = tree.elements[chosen].first..tree.elements[chosen].last;
    for element in &tree.elements[chosen + 1..] {
        if element.first >= within.end {
            break;
        }
        let boxed = matches!(
            element.tag,
            Tag::Unordered
                | Tag::Ordered
                | Tag::Definitions
                | Tag::Div
                | Tag::Section
                | Tag::Table
                | Tag::Form
                | Tag::Header
                | Tag::Paragraph
        );
        let (text, linked) = (sums.text(element.first, element.last), sums.linked(element.first, element.last));
        let links = sums.links[element.last] - sums.links[element.first];
        if boxed && links >= LINKS_MIN && linked * 100 > text * LINKED_PERCENT {
            main[element.first..element.last].fill(false);
        }
    }
}

/// Drops headings of what was dropped.
fn drop_lone_headings(tree: &Tree, kept: &[bool], main: &mut [bool]) {
    let heading = |block: usize| tree.elements[tree.blocks[block].element].kind == Kind::Heading;
    // Whether text of the heading's own has been kept or dropped after it.
    let (mut any_kept, mut any_dropped) = (false, false);
    for block in (0..main.len()).rev() {
        if !heading(block) {
            any_kept |= main[block];
            any_dropped |= kept[block] && !main[block];
        } else {
            if main[block] && any_dropped && !any_kept {
                main[block] = false;
            }
            (any_kept, any_dropped) = (false, false);
        }
    }
}
