//! Cosines beside people's judgements: the rank correlation of Spearman and the linear one of Pearson.

use judgements::{Pair, pearson, spearman};

use crate::kernel;
use crate::score::table::Score;
use crate::score::vectors::Vectors;

/// The cosine of each pair; none where a word has no vector.
pub(crate) fn compare(vectors: &Vectors, pairs: &[Pair]) -> Vec<Option<f64>> {
    let cosine = |pair: &Pair| {
        let [a, b] = [vectors.find(&pair.words[0])?, vectors.find(&pair.words[1])?];
        // SAFETY: both are rows of a matrix of this width.
        Some(f64::from(unsafe { kernel::dot(vectors.units.row(a), vectors.units.row(b), vectors.groups) }))
    };
    pairs.iter().map(cosine).collect()
}

/// `spearman`, `pearson` and `similarity_oov_rate`, the share of pairs that were left out because a word has no vector.
pub(crate) fn scores(file: Option<&str>, pairs: &[Pair], cosines: &[Option<f64>]) -> Vec<Score> {
    let known = pairs.iter().zip(cosines).filter_map(|(pair, cosine)| Some((pair.gold, (*cosine)?)));
    let (gold, cosines): (Vec<f64>, Vec<f64>) = known.unzip();
    let score = |metric, value| Score { metric, class: file.map(str::to_string), value, count: gold.len() as u64 };
    vec![
        score("spearman", spearman(&gold, &cosines)),
        score("pearson", pearson(&gold, &cosines)),
        Score { count: pairs.len() as u64, ..score("similarity_oov_rate", Ok(1.0 - gold.len() as f64 / pairs.len() as f64)) },
    ]
}
