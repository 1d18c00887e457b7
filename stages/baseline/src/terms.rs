//! TF-IDF weights of tokens and their n-grams, as scikit-learn's `TfidfVectorizer` defines them: the count of a term in a text, times
//! ln((1 + texts) / (1 + texts with the term)) + 1, each text divided by its length (L2).
//!
//! Single tokens are counted each for itself; n-grams share 2^22 places by hash, so that memory does not grow with the corpus. Two that meet
//! in one place are one term.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;

use crate::rows::Split;

/// Places of n-grams.
const HASHED: usize = 1 << 22;
/// The place of a term that is left out.
const NONE: u32 = u32::MAX;

/// Which terms texts are cut into.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Tokens are below this.
    pub vocabulary: usize,
    /// Tokens of the longest term.
    pub ngram_max: usize,
    /// Terms of fewer texts are left out.
    pub texts_min: u32,
    /// Most terms, those of most texts.
    pub terms_max: usize,
    /// Whether a row is two texts.
    pub pairs: bool,
}

impl Terms {
    /// The places of all terms of a text, one for each time that it stands there.
    fn places(&self, text: &[u32]) -> Vec<u32> {
        let single = text.iter().map(|token| (*token as usize).min(self.vocabulary - 1) as u32);
        let ngrams = (2..=self.ngram_max).flat_map(|n| text.windows(n)).map(|ngram| {
            let hash = ngram.iter().fold(0, |hash, token| shards::random([hash, u64::from(*token)]));
            (self.vocabulary + shards::below(hash, HASHED as u64) as usize) as u32
        });
        single.chain(ngrams).collect()
    }

    /// Counts the terms of all texts.
    pub fn fit(&self, rows: &Split, mut check_stop: impl FnMut() -> Result<()>) -> Result<TfIdf> {
        let mut texts_with = vec![0u32; self.vocabulary + HASHED];
        let mut texts = 0u64;
        for range in rows.all_batches() {
            check_stop()?;
            let different = |row: u64| -> Result<Vec<Vec<u32>>> {
                let different = |text: Vec<u32>| {
                    let mut places = self.places(&text);
                    places.sort_unstable();
                    places.dedup();
                    places
                };
                Ok(rows.texts(row, self.pairs)?.into_iter().map(different).collect())
            };
            for places in range.into_par_iter().map(different).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
                texts += 1;
                places.into_iter().for_each(|place| texts_with[place as usize] += 1);
            }
        }
        Ok(self.choose(&texts_with, texts))
    }

    fn choose(&self, texts_with: &[u32], texts: u64) -> TfIdf {
        let mut chosen: Vec<u32> =
            (0..texts_with.len() as u32).filter(|place| texts_with[*place as usize] >= self.texts_min.max(1)).collect();
        // Of terms of equally many texts, those of the lower places.
        chosen.sort_by_key(|place| (std::cmp::Reverse(texts_with[*place as usize]), *place));
        chosen.truncate(self.terms_max);
        chosen.sort_unstable();
        let mut index = vec![NONE; texts_with.len()];
        chosen.iter().zip(0..).for_each(|(place, term)| index[*place as usize] = term);
        let idf = |place: &u32| ((1.0 + texts as f64) / (1.0 + f64::from(texts_with[*place as usize]))).ln() + 1.0;
        TfIdf { terms: *self, index, idf: chosen.iter().map(idf).collect() }
    }
}

/// The weights that texts are measured by.
pub struct TfIdf {
    terms: Terms,
    /// The term of each place.
    index: Vec<u32>,
    idf: Vec<f64>,
}

/// The features of a row with their values, by rising feature.
pub type Features = Vec<(u32, f32)>;

impl TfIdf {
    /// How many features rows have.
    pub fn width(&self) -> usize {
        if self.terms.pairs { 2 * self.idf.len() + 1 } else { self.idf.len() }
    }

    /// The features of a row: the terms of its text; or of its two, those of the second for themselves, then the cosine of both.
    pub fn features(&self, texts: &[Vec<u32>]) -> Features {
        let mut vectors = texts.iter().map(|text| self.vector(text));
        let first = vectors.next().unwrap_or_default();
        let narrow = |offset: usize, vector: &[(u32, f64)]| -> Features {
            vector.iter().map(|(term, weight)| (offset as u32 + term, *weight as f32)).collect()
        };
        let mut features = narrow(0, &first);
        if let Some(second) = vectors.next() {
            features.extend(narrow(self.idf.len(), &second));
            features.push((2 * self.idf.len() as u32, cosine(&first, &second) as f32));
        }
        features
    }

    /// The weights of a text, of length 1 unless there are none.
    fn vector(&self, text: &[u32]) -> Vec<(u32, f64)> {
        let mut terms: Vec<u32> =
            self.terms.places(text).into_iter().map(|place| self.index[place as usize]).filter(|term| *term != NONE).collect();
        terms.sort_unstable();
        let weight = |equal: &[u32]| (equal[0], equal.len() as f64 * self.idf[equal[0] as usize]);
        let mut vector: Vec<(u32, f64)> = terms.chunk_by(|a, b| a == b).map(weight).collect();
        let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|(_, weight)| *weight /= length);
        vector
    }
}

/// The product of two vectors of length 1.
fn cosine(a: &[(u32, f64)], b: &[(u32, f64)]) -> f64 {
    let b: HashMap<u32, f64> = b.iter().copied().collect();
    a.iter().filter_map(|(term, weight)| Some(weight * b.get(term)?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(ngram_max: usize, pairs: bool) -> Terms {
        Terms { vocabulary: 10, ngram_max, texts_min: 1, terms_max: 100, pairs }
    }

    #[test]
    fn frequent_terms_are_kept_and_rare_ones_weigh_more() {
        let counts = |list: &[(usize, u32)]| {
            let mut counts = vec![0; 10 + HASHED];
            list.iter().for_each(|(place, count)| counts[*place] = *count);
            counts
        };
        let fitted = Terms { texts_min: 2, terms_max: 2, ..terms(1, false) }.choose(&counts(&[(1, 3), (2, 1), (3, 2), (5, 2), (9, 2)]), 3);
        assert_eq!(fitted.width(), 2);
        let features = fitted.features(&[vec![3, 1, 9, 3, 2]]);
        let (common, rare) = (1.0f64, 2.0 * ((4.0f64 / 3.0).ln() + 1.0));
        let length = (common * common + rare * rare).sqrt();
        assert_eq!(features, [(0, (common / length) as f32), (1, (rare / length) as f32)]);
        assert!(fitted.features(&[vec![4]]).is_empty());
    }

    #[test]
    fn ngrams_have_places_of_their_own_by_their_order() {
        let places = |text: &[u32]| terms(3, false).places(text);
        let (there, back) = (places(&[1, 2, 3]), places(&[3, 2, 1]));
        assert_eq!((there.len(), &there[..3]), (6, &[1, 2, 3][..]));
        assert!(there[3..].iter().all(|place| *place >= 10 && !back.contains(place)), "{there:?} {back:?}");
    }

    #[test]
    fn pairs_end_in_their_cosine() {
        let mut counts = vec![0; 10 + HASHED];
        counts[1..4].fill(1);
        let fitted = terms(1, true).choose(&counts, 1);
        let features = fitted.features(&[vec![1, 2], vec![2, 3]]);
        assert_eq!(features.iter().map(|feature| feature.0).collect::<Vec<_>>(), [0, 1, 4, 5, 6]);
        assert!((features[4].1 - 0.5).abs() < 1e-7);
        assert_eq!(fitted.features(&[vec![1], vec![3]])[2], (6, 0.0));
    }
}
