//! Random numbers as a function of what they are for, and texts that are changed front to back.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The step of SplitMix64 (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The numbers of one kind of change in one text. Each place has numbers of its own, so that a higher rate changes what a lower one does, and more.
#[derive(Clone, Copy)]
pub struct Draws {
    state: u64,
}

impl Draws {
    pub fn new(key: u64, change: &str) -> Draws {
        Draws { state: xxh3_64_with_seed(change.as_bytes(), key) }
    }

    /// The numbers of a place.
    pub fn at(self, place: usize) -> Draws {
        Draws { state: finalize(self.state ^ finalize((place as u64).wrapping_add(STEP))) }
    }

    /// Whether something of this rate happens.
    pub fn happens(&mut self, rate: f64) -> bool {
        (((self.number() >> 11) as f64) / (1_u64 << 53) as f64) < rate
    }

    /// A number from 0 to before `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.number()) * n as u128) >> 64) as usize
    }

    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        finalize(self.state)
    }
}

fn finalize(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A text of which stretches are replaced, front to back.
pub struct Edits<'a> {
    text: &'a str,
    out: String,
    done: usize,
}

impl<'a> Edits<'a> {
    pub fn of(text: &'a str) -> Edits<'a> {
        Edits { text, out: String::new(), done: 0 }
    }

    /// Whether what begins at `start` was replaced with something before it.
    pub fn has_passed(&self, start: usize) -> bool {
        start < self.done
    }

    /// Puts `new` in the place of a stretch behind all others so far.
    pub fn replace(&mut self, stretch: Range<usize>, new: impl IntoIterator<Item: AsRef<str>>) {
        self.out.push_str(&self.text[self.done..stretch.start]);
        new.into_iter().for_each(|piece| self.out.push_str(piece.as_ref()));
        self.done = stretch.end;
    }

    /// The new text; `None` where nothing was replaced.
    pub fn finish(mut self) -> Option<String> {
        self.out.push_str(&self.text[self.done..]);
        (self.out != self.text).then_some(self.out)
    }
}

/// The words of a text with the bytes at which they begin.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text::words(text).map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// Whether a word is a Han character, which is a word by itself.
pub fn is_han(word: &str) -> bool {
    word.chars().next().is_some_and(|c| text::script(c) == Some(text::Script::Han))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_those_of_a_higher_rate_hold_those_of_a_lower() {
        let draws = Draws::new(7, "case");
        let chosen = |rate: f64| (0..10_000).filter(|place| draws.at(*place).happens(rate)).collect::<Vec<usize>>();
        let (few, many) = (chosen(0.1), chosen(0.3));
        // Four standard deviations.
        assert!((880..=1120).contains(&few.len()) && (2817..=3183).contains(&many.len()), "{} {}", few.len(), many.len());
        assert!(few.iter().all(|place| many.contains(place)));
        assert!(chosen(0.0).is_empty() && chosen(1.0).len() == 10_000);
        let mut counts = [0; 5];
        (0..10_000).for_each(|place| counts[draws.at(place).below(5)] += 1);
        assert!(counts.iter().all(|count| (1840..=2160).contains(count)), "{counts:?}");
        assert_ne!(few, (0..10_000).filter(|place| Draws::new(8, "case").at(*place).happens(0.1)).collect::<Vec<usize>>());
    }

    #[test]
    fn stretches_are_replaced() {
        let mut edits = Edits::of("one two three");
        edits.replace(0..3, ["1"]);
        assert!(edits.has_passed(2) && !edits.has_passed(3));
        edits.replace(4..7, ["t", "wo"]);
        edits.replace(8..8, ["2 "]);
        assert_eq!(edits.finish().unwrap(), "1 two 2 three");
        assert!(Edits::of("same").finish().is_none());
        assert_eq!(words("a 中文, b1").collect::<Vec<_>>(), [(0, "a"), (2, "中"), (5, "文"), (10, "b1")]);
    }
}
