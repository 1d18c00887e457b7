//! Solved examples that stand before a prompt. Which ones is a function of the seed and the number of the row, so that neither order nor resume
//! changes a prompt.

use anyhow::{Result, ensure};

use super::settings::Sampler;
use crate::seeds::{Purpose, derive};

/// Examples are taken from so many rows at most, so that they fit in memory whatever the file.
pub const POOL: usize = 10_000;

/// What examples are chosen from.
pub struct Examples {
    /// Prompt and answer of each.
    pub texts: Vec<String>,
    /// Whether these are the rows that are evaluated, of which none is its own example.
    pub of_rows: bool,
    pub number: usize,
    pub sampler: Sampler,
    pub seed: u64,
}

impl Examples {
    /// Refuses to choose more than there are.
    pub fn check(&self) -> Result<()> {
        let (there, own) = (self.texts.len(), usize::from(self.of_rows));
        ensure!(
            there >= self.number + own,
            "num_fewshot is {}, but there are {} other rows to take examples from",
            self.number,
            there.saturating_sub(own)
        );
        Ok(())
    }

    /// The examples before a row, one after another.
    pub fn before(&self, row: u64) -> String {
        let own = self.of_rows.then_some(row as usize);
        let other = |place: &usize| Some(*place) != own;
        let places: Vec<usize> = match self.sampler {
            Sampler::FirstN => (0..self.texts.len()).filter(other).take(self.number).collect(),
            Sampler::Random => {
                let seed = derive(self.seed, Purpose::Examples, row);
                let mut draws = (0..).map(|draw| (derive(seed, Purpose::Examples, draw) % self.texts.len() as u64) as usize);
                let mut places: Vec<usize> = Vec::with_capacity(self.number);
                while places.len() < self.number {
                    places.extend(draws.next().filter(|place| other(place) && !places.contains(place)));
                }
                places
            }
        };
        places.into_iter().map(|place| self.texts[place].as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(number: usize, sampler: Sampler, of_rows: bool) -> Examples {
        Examples { texts: (0..6).map(|n| n.to_string()).collect(), of_rows, number, sampler, seed: 1234 }
    }

    #[test]
    fn no_row_is_its_own_example_and_none_stands_twice() {
        for row in 0..20 {
            let mut found: Vec<char> = examples(5, Sampler::Random, true).before(row).chars().collect();
            found.sort_unstable();
            let own = char::from_digit(row as u32, 36).filter(|_| row < 6);
            let expected: Vec<char> = ('0'..='5').filter(|c| Some(*c) != own).collect();
            match own {
                Some(_) => assert_eq!(found, expected),
                None => assert!(found.len() == 5 && found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}"),
            }
        }
        assert_eq!(examples(2, Sampler::FirstN, true).before(1), "02");
        assert_eq!(examples(2, Sampler::FirstN, false).before(1), "01");
    }

    #[test]
    fn rows_have_examples_of_their_own() {
        let random = examples(2, Sampler::Random, false);
        let found: std::collections::BTreeSet<String> = (0..1000).map(|row| random.before(row)).collect();
        assert_eq!(found.len(), 30, "all ordered pairs of six");
        assert_eq!(random.before(7), examples(2, Sampler::Random, false).before(7));
        assert_eq!(Examples { texts: Vec::new(), ..examples(0, Sampler::Random, true) }.before(7), "");
    }

    #[test]
    fn too_few_are_refused() {
        let check = |number, of_rows| examples(number, Sampler::Random, of_rows).check().err().map(|error| error.to_string());
        assert_eq!((check(6, false), check(5, true)), (None, None));
        assert_eq!(check(6, true).unwrap(), "num_fewshot is 6, but there are 5 other rows to take examples from");
    }
}
