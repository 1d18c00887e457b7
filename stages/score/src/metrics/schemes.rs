//! How entities are written as tags, and which entities a sequence of tags holds: seqeval 1.2.2, both its modes.
//!
//! The lenient mode, seqeval's default, reads tags as conlleval does: whatever begins where another type ends is an entity.
//! The strict mode takes a scheme at its word and drops what breaks it.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scheme of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `B` only where an entity follows one of its type.
    Iob1,
    /// Each entity begins with `B`.
    Iob2,
    /// `E` only where an entity of the same type follows.
    Ioe1,
    /// Each entity ends with `E`.
    Ioe2,
    /// `B` … `E`, or `S` for a single word.
    Iobes,
    /// `B` … `L`, or `U` for a single word.
    Bilou,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Iob1 => "IOB1",
            Scheme::Iob2 => "IOB2",
            Scheme::Ioe1 => "IOE1",
            Scheme::Ioe2 => "IOE2",
            Scheme::Iobes => "IOBES",
            Scheme::Bilou => "BILOU",
        }
    }

    fn prefixes(self) -> &'static str {
        match self {
            Scheme::Iob1 | Scheme::Iob2 => "BIO",
            Scheme::Ioe1 | Scheme::Ioe2 => "IEO",
            Scheme::Iobes => "BIESO",
            Scheme::Bilou => "BILUO",
        }
    }

    /// Whether an entity begins at a tag, after the tag before it.
    fn starts(self, before: Tag, tag: Tag) -> bool {
        let same = before.kind == tag.kind;
        match (self, before.prefix, tag.prefix) {
            (Scheme::Iob1, b'O' | b'B', b'I') | (Scheme::Ioe1, b'O' | b'E', b'I') => true,
            (Scheme::Iob1 | Scheme::Ioe1, b'I', b'I') => !same,
            (Scheme::Iob1, b'I' | b'B', b'B') | (Scheme::Ioe1, b'E', b'E') => same,
            (Scheme::Ioe2, b'O' | b'E', b'I' | b'E') => true,
            (Scheme::Ioe2, b'I', b'I' | b'E') => !same,
            (Scheme::Iob2 | Scheme::Iobes | Scheme::Bilou, _, b'B') => true,
            (Scheme::Iobes, _, b'S') | (Scheme::Bilou, _, b'U') => true,
            _ => false,
        }
    }

    /// Whether an entity goes on at a tag.
    fn goes_on(self, before: Tag, tag: Tag) -> bool {
        let prefixes = matches!(
            (self, before.prefix, tag.prefix),
            (Scheme::Iob1 | Scheme::Iob2 | Scheme::Iobes | Scheme::Bilou, b'B' | b'I', b'I')
                | (Scheme::Ioe1 | Scheme::Ioe2, b'I', b'I' | b'E')
                | (Scheme::Iobes, b'B' | b'I', b'E')
                | (Scheme::Bilou, b'B' | b'I', b'L')
        );
        prefixes && before.kind == tag.kind
    }

    /// Whether an entity is whole when this tag follows its last.
    fn ends(self, last: Tag, next: Tag) -> bool {
        let same = last.kind == next.kind;
        match (self, last.prefix, next.prefix) {
            (Scheme::Iob1, b'I', b'B')
            | (Scheme::Iob1 | Scheme::Iob2 | Scheme::Ioe1, b'I', b'O')
            | (Scheme::Iob1 | Scheme::Iob2, b'B', b'O') => true,
            (Scheme::Iob2, b'I' | b'B', b'B') => true,
            (Scheme::Iob1, b'B', b'B') | (Scheme::Ioe1, b'E', b'I' | b'E') => same,
            (Scheme::Iob1 | Scheme::Iob2, b'I' | b'B', b'I') | (Scheme::Ioe1, b'I', b'I' | b'E') => !same,
            (Scheme::Ioe2 | Scheme::Iobes, b'E', _) | (Scheme::Iobes, b'S', _) | (Scheme::Bilou, b'L' | b'U', _) => true,
            _ => false,
        }
    }
}

/// A tag in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    prefix: u8,
    /// Index of its type; `O` has one of its own.
    kind: u32,
}

const OUTSIDE: Tag = Tag { prefix: b'O', kind: u32::MAX };

/// An entity: type, first and last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity {
    pub kind: u32,
    pub first: u32,
    pub last: u32,
}

/// The tags of a model: what each class means.
pub struct Tagset {
    tags: Vec<Tag>,
    /// Types of entities, sorted.
    pub kinds: Vec<String>,
    strict: Option<Scheme>,
    has_bilou: bool,
}

impl Tagset {
    /// Reads tags such as `B-PER`; a tag of a prefix alone is of the type `_`, as in seqeval.
    ///
    /// # Errors
    /// A tag that the scheme, or without a scheme any scheme, does not have.
    pub fn new(classes: &[String], strict: Option<Scheme>) -> Result<Tagset> {
        let parts: Vec<(u8, &str)> = classes.iter().map(|class| parts(class, strict)).collect::<Result<_>>()?;
        let mut kinds: Vec<String> = parts.iter().filter(|(prefix, _)| *prefix != b'O').map(|(_, kind)| (*kind).to_owned()).collect();
        kinds.sort();
        kinds.dedup();
        let number = |kind: &str| kinds.binary_search_by(|other| other.as_str().cmp(kind)).map_or(u32::MAX, |index| index as u32);
        let has_bilou = strict.is_none() && parts.iter().any(|(prefix, _)| matches!(prefix, b'L' | b'U'));
        let tag = |&(prefix, kind): &(u8, &str)| match (prefix, strict) {
            (b'O', _) => OUTSIDE,
            // conlleval does not know them: as they are, it would lose entities before another `B`.
            (b'L', None) => Tag { prefix: b'E', kind: number(kind) },
            (b'U', None) => Tag { prefix: b'S', kind: number(kind) },
            _ => Tag { prefix, kind: number(kind) },
        };
        Ok(Tagset { tags: parts.iter().map(tag).collect(), kinds, strict, has_bilou })
    }

    /// Begins signatures.
    pub fn signature(&self) -> String {
        match self.strict {
            Some(scheme) => format!("mode:strict|scheme:{}|", scheme.name()),
            None if self.has_bilou => "mode:conlleval|bilou:as-iobes|".to_owned(),
            None => "mode:conlleval|".to_owned(),
        }
    }

    /// The entities of a sequence, in order.
    pub fn entities(&self, classes: &[u32]) -> Vec<Entity> {
        let tag = |place: usize| classes.get(place).map_or(OUTSIDE, |class| self.tags[*class as usize]);
        match self.strict {
            Some(scheme) => strict(scheme, classes.len(), tag),
            None => lenient(classes.len(), tag),
        }
    }
}

/// Prefix and type of a tag.
fn parts(class: &str, strict: Option<Scheme>) -> Result<(u8, &str)> {
    let prefixes = strict.map_or("BIESLUO", Scheme::prefixes);
    let of = strict.map_or("any scheme".to_owned(), |scheme| format!("the scheme {}", scheme.name()));
    let (prefix, rest) = match class.chars().next() {
        Some(prefix) if prefixes.contains(prefix) => class.split_at(1),
        _ => bail!(
            "the tag `{class}` is not of {of}, whose tags begin with {}",
            prefixes.chars().map(String::from).collect::<Vec<_>>().join(", ")
        ),
    };
    let kind = rest.strip_prefix('-').unwrap_or(rest);
    if !(rest.is_empty() || rest.starts_with('-')) || prefix == "O" && !rest.is_empty() {
        bail!("the tag `{class}` is not of {of}: tags are `O` or a prefix, a dash and a type, as `B-PER`");
    }
    Ok((prefix.as_bytes()[0], if kind.is_empty() { "_" } else { kind }))
}

fn lenient(length: usize, tag: impl Fn(usize) -> Tag) -> Vec<Entity> {
    let (mut found, mut before, mut first) = (Vec::new(), OUTSIDE, 0);
    for place in 0..=length {
        let tag = tag(place);
        let other = before.kind != tag.kind;
        let ends = match (before.prefix, tag.prefix) {
            (b'O', _) => false,
            (b'E' | b'S', _) | (b'B' | b'I', b'B' | b'S' | b'O') => true,
            _ => other,
        };
        let starts = match (before.prefix, tag.prefix) {
            (_, b'O') => false,
            (_, b'B' | b'S') | (b'E' | b'S' | b'O', b'E' | b'I') => true,
            _ => other,
        };
        if ends {
            found.push(Entity { kind: before.kind, first, last: place as u32 - 1 });
        }
        if starts {
            first = place as u32;
        }
        before = tag;
    }
    found
}

fn strict(scheme: Scheme, length: usize, tag: impl Fn(usize) -> Tag) -> Vec<Entity> {
    let (mut found, mut place) = (Vec::new(), 0);
    while place < length {
        let before = if place == 0 { OUTSIDE } else { tag(place - 1) };
        if !scheme.starts(before, tag(place)) {
            place += 1;
            continue;
        }
        let mut next = place + 1;
        while next < length && scheme.goes_on(tag(next - 1), tag(next)) {
            next += 1;
        }
        if scheme.ends(tag(next - 1), tag(next)) {
            found.push(Entity { kind: tag(place).kind, first: place as u32, last: next as u32 - 1 });
        }
        place = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strict: Option<Scheme>, text: &str, expected: &str) {
        let classes: Vec<String> = text.split(' ').map(String::from).collect();
        let tagset = Tagset::new(&classes, strict).unwrap();
        let places: Vec<u32> = (0..classes.len() as u32).collect();
        let named = |entity: Entity| format!("{}:{}-{}", tagset.kinds[entity.kind as usize], entity.first, entity.last);
        let found: Vec<String> = tagset.entities(&places).into_iter().map(named).collect();
        assert_eq!(found.join(" "), expected, "{strict:?} {text}");
    }

    #[test]
    fn stray_tags_are_entities_for_conlleval_alone() {
        check(None, "O I-A I-A B-A I-B O E-C", "A:1-2 A:3-3 B:4-4 C:6-6");
        check(Some(Scheme::Iob2), "O I-A I-A B-A I-B O B-C", "A:3-3 C:6-6");
        check(Some(Scheme::Iob1), "I-A I-A B-A I-B O B-C", "A:0-1 A:2-2 B:3-3");
        check(Some(Scheme::Ioe2), "I-A E-A E-A I-B O", "A:0-1 A:2-2");
        check(Some(Scheme::Iobes), "B-A I-A E-A S-B B-A O", "A:0-2 B:3-3");
        check(Some(Scheme::Bilou), "B-A L-A U-B U-B L-A", "A:0-1 B:2-2 B:3-3");
        check(None, "B-A L-A B-A U-B U-B I B", "A:0-1 A:2-2 B:3-3 B:4-4 _:5-5 _:6-6");
    }

    #[test]
    fn tags_of_no_scheme_or_of_another_are_refused() {
        let error = |class: &str, strict| Tagset::new(&[class.to_owned()], strict).err().unwrap().to_string();
        assert_eq!(error("E-A", Some(Scheme::Iob2)), "the tag `E-A` is not of the scheme IOB2, whose tags begin with B, I, O");
        assert_eq!(error("X-A", None), "the tag `X-A` is not of any scheme, whose tags begin with B, I, E, S, L, U, O");
        assert!(error("BA", None).contains("as `B-PER`") && error("O-A", None).contains("as `B-PER`"));
    }
}
