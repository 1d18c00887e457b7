//! Noise on input tokens: some are shown as the unknown token (word dropout, Iyyer et al. 2015), some as another one.
//!
//! Which ones is a pure function of the seed and the sample, so a resume sees the same.

use anyhow::{Context as _, Result};
use model::seeds::{Purpose, derive};
use model::{Facts, Job, Sample, Train};
use text::Tokenizer;

use crate::batches::Buffers;

/// Seeded noise.
#[derive(Clone, Debug)]
pub struct Noise {
    seed: u64,
    drop: f64,
    replace: f64,
    /// Shown in place of a dropped token.
    unknown: i64,
    vocabulary: u64,
    /// Ids that stay and that nothing becomes.
    special: Vec<u32>,
}

impl Noise {
    /// The noise that the settings ask for.
    pub fn new(job: &Job, settings: &Train, facts: &Facts) -> Result<Option<Noise>> {
        let Train { word_dropout, token_noise, .. } = *settings;
        if word_dropout == 0.0 && token_noise == 0.0 {
            return Ok(None);
        }
        let roles = *Tokenizer::load(&job.artifact("tokenizer")?.dir)?.special();
        let unknown = roles.unk.or(roles.mask).map(i64::from);
        let unknown = if word_dropout == 0.0 { unknown.or(Some(0)) } else { unknown };
        Ok(Some(Noise {
            seed: derive(job.seed, Purpose::Noise, 0),
            drop: word_dropout,
            replace: token_noise,
            unknown: unknown.context("word_dropout needs a tokenizer with an unknown or mask token; use token_noise")?,
            vocabulary: facts.vocab_size as u64,
            special: facts.special_ids.clone(),
        }))
    }

    /// Disturbs the inputs of a batch of these samples.
    pub fn disturb(&self, buffers: &mut Buffers, samples: &[Sample]) {
        for ((ids, real), sample) in buffers.inputs().zip(samples) {
            let seed = derive(self.seed, Purpose::Noise, sample.sample);
            for (place, (id, _)) in ids.iter_mut().zip(real).enumerate().filter(|(_, (_, real))| **real) {
                self.token(id, derive(seed, Purpose::Noise, place as u64));
            }
        }
    }

    fn token(&self, id: &mut i64, random: u64) {
        let is_special = |id: i64| self.special.iter().any(|special| i64::from(*special) == id);
        let share = (random >> 11) as f64 / (1u64 << 53) as f64; // in [0, 1)
        if share >= self.drop + self.replace || is_special(*id) {
            return;
        }
        if share < self.drop {
            *id = self.unknown;
            return;
        }
        let other = |number| (derive(random, Purpose::Noise, number) % self.vocabulary) as i64;
        // Were all tokens special, it would stay.
        *id = (0..16).map(other).find(|id| !is_special(*id)).unwrap_or(*id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_asked_and_special_tokens_stay() {
        let noise = Noise { seed: 7, drop: 0.2, replace: 0.1, unknown: 4, vocabulary: 50, special: vec![0, 1, 2, 3, 4] };
        let shown = |sample: u64, token: i64| {
            let seed = derive(noise.seed, Purpose::Noise, sample);
            let mut ids = vec![token; 20_000];
            ids.iter_mut().enumerate().for_each(|(place, id)| noise.token(id, derive(seed, Purpose::Noise, place as u64)));
            ids
        };
        let ids = shown(3, 9);
        assert_eq!(ids, shown(3, 9));
        assert_ne!(ids, shown(4, 9));
        let count = |wanted: fn(i64) -> bool| ids.iter().filter(|id| wanted(**id)).count();
        // Four standard deviations of 20 000 draws are 226 and 168; one in 45 replaced tokens is itself.
        assert!(count(|id| id == 4).abs_diff(4000) < 226, "{}", count(|id| id == 4));
        assert!(count(|id| id != 4 && id != 9).abs_diff(1956) < 168, "{}", count(|id| id != 4 && id != 9));
        assert_eq!(count(|id| id < 4), 0);
        assert_eq!(shown(3, 1), vec![1; 20_000]);
    }
}
