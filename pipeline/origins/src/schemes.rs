//! Schemes of tags that mark entities in a sequence: IOB1 (Ramshaw and Marcus 1995), IOB2 (Tjong Kim Sang and Veenstra 1999), and BILOU (Ratinov
//! and Roth 2009), which others write IOBES.

use std::collections::BTreeSet;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::excerpt;

/// How entities are written as tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `B` begins an entity only straight after another of the same type.
    Iob1,
    /// `B` begins every entity.
    #[default]
    Iob2,
    /// `B` begins, `I` goes on, `L` ends; `U` is an entity of one word.
    Bilou,
    /// As BILOU, with `E` for `L` and `S` for `U`.
    Iobes,
}

/// An entity: its type (empty where tags have none) and its places in the sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity<'a> {
    pub kind: &'a str,
    pub range: Range<usize>,
}

/// Prefix and type of a tag such as `B-PER`; `O` has neither.
fn parts(tag: &str) -> (char, &str) {
    let mut rest = tag.chars();
    match (rest.next(), rest.as_str().strip_prefix('-')) {
        (Some(prefix), Some(kind)) if !kind.is_empty() => (prefix, kind),
        (Some(prefix), None) if rest.as_str().is_empty() => (prefix, ""),
        _ => ('?', ""),
    }
}

impl Scheme {
    /// In the order in which they are tried when tags fit several.
    pub const ALL: [Scheme; 4] = [Scheme::Iob2, Scheme::Iob1, Scheme::Iobes, Scheme::Bilou];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::Iob1 => "iob1",
            Scheme::Iob2 => "iob2",
            Scheme::Bilou => "bilou",
            Scheme::Iobes => "iobes",
        }
    }

    /// The tags that end an entity and that are one of a single word.
    fn ends(self) -> Option<(char, char)> {
        match self {
            Scheme::Iob1 | Scheme::Iob2 => None,
            Scheme::Bilou => Some(('L', 'U')),
            Scheme::Iobes => Some(('E', 'S')),
        }
    }

    /// The entities that tags stand for, or what is wrong with them.
    pub fn decode<'a>(self, tags: &[&'a str]) -> Result<Vec<Entity<'a>>, String> {
        let mut entities: Vec<Entity> = Vec::new();
        // Whether the last entity may go on.
        let mut open = false;
        for (place, tag) in tags.iter().enumerate() {
            let (prefix, kind) = parts(tag);
            let last = entities.last_mut().filter(|last| last.range.end == place);
            let same = last.as_ref().is_some_and(|last| last.kind == kind);
            let new = Entity { kind, range: place..place + 1 };
            let fits = match (prefix, self.ends()) {
                ('O', _) if *tag == "O" => self.ends().is_none() || !open,
                ('I', _) if open && same => true,
                ('I', None) => self == Scheme::Iob1,
                ('I', Some(_)) => false,
                ('B', None) => self == Scheme::Iob2 || same,
                ('B', Some(_)) => !open,
                (other, Some((end, _))) if other == end => open && same,
                (other, Some((_, single))) if other == single => !open,
                _ => return Err(format!("word {}: {} is no tag of {}", place + 1, excerpt(tag), self.name())),
            };
            if !fits {
                let before = if place == 0 { "stands first".to_string() } else { format!("follows `{}`", tags[place - 1]) };
                return Err(format!("word {}: `{tag}` {before}, which {} does not allow", place + 1, self.name()));
            }
            match last {
                _ if *tag == "O" => {}
                Some(last) if open && same && prefix != 'B' => last.range.end += 1,
                _ => entities.push(new),
            }
            open = match self.ends() {
                None => *tag != "O",
                Some(_) => matches!(prefix, 'B' | 'I'),
            };
        }
        match tags.last() {
            Some(tag) if open && self.ends().is_some() => {
                Err(format!("word {}: `{tag}` stands last, which {} does not allow", tags.len(), self.name()))
            }
            _ => Ok(entities),
        }
    }

    /// The tags of a sequence of `length` places. Entities are in order and do not overlap.
    pub fn encode(self, entities: &[Entity], length: usize) -> Vec<String> {
        let mut tags = vec!["O".to_string(); length];
        for (number, Entity { kind, range }) in entities.iter().enumerate() {
            let before = number.checked_sub(1).map(|before| &entities[before]);
            let touches = before.is_some_and(|before| before.range.end == range.start && before.kind == *kind);
            for place in range.clone() {
                let (first, last) = (place == range.start, place + 1 == range.end);
                let prefix = match self.ends() {
                    Some((_, single)) if first && last => single,
                    Some((end, _)) if last => end,
                    None if self == Scheme::Iob1 && !touches => 'I',
                    _ if first => 'B',
                    _ => 'I',
                };
                tags[place] = name(prefix, kind);
            }
        }
        tags
    }

    /// The tags of places, of each of which `words` has the word: entities go over all places of their words.
    pub fn encode_words(self, entities: &[Entity], words: &[usize]) -> Vec<String> {
        let at = |word: usize| words.partition_point(|other| *other < word);
        let placed = |entity: &Entity<'_>| at(entity.range.start)..at(entity.range.end);
        let entities = entities.iter().map(|entity| Entity { kind: entity.kind, range: placed(entity) });
        let entities: Vec<Entity> = entities.filter(|entity| !entity.range.is_empty()).collect();
        self.encode(&entities, words.len())
    }

    /// All tags of some types, sorted.
    pub fn tags(self, kinds: &BTreeSet<String>) -> Vec<String> {
        let prefixes = ['B', 'I'].into_iter().chain(self.ends().into_iter().flat_map(|(end, single)| [end, single]));
        let all = prefixes.flat_map(|prefix| kinds.iter().map(move |kind| name(prefix, kind)));
        let mut tags: Vec<String> = all.chain(["O".to_string()]).collect();
        tags.sort_unstable();
        tags
    }
}

fn name(prefix: char, kind: &str) -> String {
    if kind.is_empty() { prefix.to_string() } else { format!("{prefix}-{kind}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Four spellings of the same entities.
    const SAME: [(Scheme, &str); 4] = [
        (Scheme::Iob1, "I-PER I-PER O I-LOC B-LOC I-PER I-PER B-PER I-PER I-PER"),
        (Scheme::Iob2, "B-PER I-PER O B-LOC B-LOC B-PER I-PER B-PER I-PER I-PER"),
        (Scheme::Bilou, "B-PER L-PER O U-LOC U-LOC B-PER L-PER B-PER I-PER L-PER"),
        (Scheme::Iobes, "B-PER E-PER O S-LOC S-LOC B-PER E-PER B-PER I-PER E-PER"),
    ];

    #[test]
    fn every_scheme_becomes_every_other() {
        for (from, tags) in SAME {
            let tags: Vec<&str> = tags.split(' ').collect();
            let entities = from.decode(&tags).unwrap();
            for (to, expected) in SAME {
                assert_eq!(to.encode(&entities, tags.len()).join(" "), expected, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn wrong_sequences_say_where() {
        let check = |scheme: Scheme, tags: &str, expected: &str| {
            let error = scheme.decode(&tags.split(' ').collect::<Vec<_>>()).unwrap_err();
            assert_eq!(error, expected);
        };
        check(Scheme::Iob2, "O I-PER", "word 2: `I-PER` follows `O`, which iob2 does not allow");
        check(Scheme::Iob2, "I-PER", "word 1: `I-PER` stands first, which iob2 does not allow");
        check(Scheme::Iob2, "B-PER I-LOC", "word 2: `I-LOC` follows `B-PER`, which iob2 does not allow");
        check(Scheme::Iob2, "O U-PER", "word 2: `U-PER` is no tag of iob2");
        check(Scheme::Iob2, "O-PER", "word 1: `O-PER` is no tag of iob2");
        check(Scheme::Iob2, "B- O", "word 1: `B-` is no tag of iob2");
        check(Scheme::Iob2, "4", "word 1: `4` is no tag of iob2");
        check(Scheme::Iob1, "O B-PER", "word 2: `B-PER` follows `O`, which iob1 does not allow");
        check(Scheme::Iob1, "I-LOC B-PER", "word 2: `B-PER` follows `I-LOC`, which iob1 does not allow");
        check(Scheme::Bilou, "B-PER O", "word 2: `O` follows `B-PER`, which bilou does not allow");
        check(Scheme::Bilou, "B-PER B-PER", "word 2: `B-PER` follows `B-PER`, which bilou does not allow");
        check(Scheme::Bilou, "L-PER", "word 1: `L-PER` stands first, which bilou does not allow");
        check(Scheme::Bilou, "U-PER L-PER", "word 2: `L-PER` follows `U-PER`, which bilou does not allow");
        check(Scheme::Iobes, "B-PER I-PER", "word 2: `I-PER` stands last, which iobes does not allow");
        check(Scheme::Iobes, "B-PER S-PER", "word 2: `S-PER` follows `B-PER`, which iobes does not allow");
        assert_eq!(Scheme::Iob2.decode(&["B", "I", "O", "B"]).unwrap().len(), 2);
    }

    #[test]
    fn all_tags_are_listed() {
        let kinds = BTreeSet::from(["PER".to_string(), "LOC".to_string()]);
        assert_eq!(Scheme::Iob2.tags(&kinds), ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]);
        assert_eq!(Scheme::Iobes.tags(&BTreeSet::from(["X".to_string()])), ["B-X", "E-X", "I-X", "O", "S-X"]);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(pieces in prop::collection::vec((0..3usize, 1..4usize), 0..8)) {
            let (mut entities, mut length) = (Vec::new(), 0);
            for (kind, size) in pieces {
                if kind > 0 {
                    entities.push(Entity { kind: ["LOC", "PER"][kind - 1], range: length..length + size });
                }
                length += size;
            }
            for scheme in Scheme::ALL {
                let tags = scheme.encode(&entities, length);
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                prop_assert_eq!(scheme.decode(&tags).unwrap(), entities.clone());
            }
        }
    }
}
