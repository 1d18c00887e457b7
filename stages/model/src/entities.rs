//! Entities in sequences of tags, as conlleval and the default mode of seqeval see them: whatever begins where another kind ends.
//!
//! Only for the F1 that is shown while training; the stage `score` has the metric.

/// An entity: its kind, and its first and last place.
pub type Entity = (usize, usize, usize);

/// The tags of a model by class number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags {
    /// Prefix (`B`, `I`, `E`, `S` or `O`) and kind, numbered by its first class.
    tags: Vec<(u8, usize)>,
}

impl Tags {
    pub fn new(classes: &[String]) -> Tags {
        let kind = |class: &String| class.split_once('-').map_or("", |(_, kind)| kind).to_string();
        let kinds: Vec<String> = classes.iter().map(kind).collect();
        let prefix = |class: &String| match class.bytes().next() {
            Some(b'L') => b'E',
            Some(b'U') => b'S',
            Some(prefix) => prefix,
            None => b'O',
        };
        let number = |kind: &String| kinds.iter().position(|other| other == kind).unwrap_or_default();
        Tags { tags: classes.iter().zip(&kinds).map(|(class, kind)| (prefix(class), number(kind))).collect() }
    }

    /// The entities of a sequence of classes, in order.
    pub fn entities(&self, classes: impl IntoIterator<Item = usize>) -> Vec<Entity> {
        let outside = (b'O', usize::MAX);
        let tags = classes.into_iter().map(|class| self.tags.get(class).copied().unwrap_or(outside)).chain([outside]);
        let (mut before, mut begin, mut found) = (outside, 0, Vec::new());
        for (place, tag) in tags.enumerate() {
            let other_kind = tag.1 != before.1;
            let ends = match before.0 {
                b'O' => false,
                b'E' | b'S' => true,
                b'B' | b'I' if matches!(tag.0, b'B' | b'S' | b'O') => true,
                _ => other_kind,
            };
            let begins = match tag.0 {
                b'O' => false,
                b'B' | b'S' => true,
                b'E' | b'I' if matches!(before.0, b'E' | b'S' | b'O') => true,
                _ => other_kind,
            };
            if ends {
                found.push((before.1, begin, place - 1));
            }
            if begins {
                begin = place;
            }
            before = tag;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `get_entities` of seqeval 1.2.2, with E and S in the place of L and U.
    #[test]
    fn entities_are_those_of_seqeval() {
        let classes: Vec<String> = ["B-A", "I-A", "B-B", "I-B", "L-A", "U-B", "O"].map(String::from).into();
        let check = |tags: &str, expected: &[(&str, usize, usize)]| {
            let class = |tag| classes.iter().position(|class| class == tag).unwrap();
            let found = Tags::new(&classes).entities(tags.split(' ').map(class));
            let named: Vec<_> = found.into_iter().map(|(kind, first, last)| (&classes[kind][2..], first, last)).collect();
            assert_eq!(named, expected, "{tags}");
        };
        check("B-A I-A O B-B", &[("A", 0, 1), ("B", 3, 3)]);
        check("I-A I-A I-B O", &[("A", 0, 1), ("B", 2, 2)]);
        check("B-A B-A I-B I-A", &[("A", 0, 0), ("A", 1, 1), ("B", 2, 2), ("A", 3, 3)]);
        check("B-A L-A U-B U-B I-B", &[("A", 0, 1), ("B", 2, 2), ("B", 3, 3), ("B", 4, 4)]);
        check("O L-A L-A O I-B", &[("A", 1, 1), ("A", 2, 2), ("B", 4, 4)]);
        check("O", &[]);
    }
}
