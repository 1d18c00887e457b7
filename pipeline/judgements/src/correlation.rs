//! Correlations of what people say and what a program says, as scipy 1.16 defines them. Both lists are of one length.

/// The linear correlation of Pearson, or why there is none.
pub fn pearson(gold: &[f64], predicted: &[f64]) -> Result<f64, String> {
    comparable(gold, predicted)?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (gold_mean, predicted_mean) = (mean(gold), mean(predicted));
    let product =
        |a: &[f64], a_mean: f64, b: &[f64], b_mean: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - a_mean) * (b - b_mean)).sum() };
    let together = product(gold, gold_mean, predicted, predicted_mean);
    let apart = product(gold, gold_mean, gold, gold_mean).sqrt() * product(predicted, predicted_mean, predicted, predicted_mean).sqrt();
    let value = (together / apart).clamp(-1.0, 1.0);
    if value.is_nan() { Err("the numbers differ too little or too much for 64-bit floats".to_string()) } else { Ok(value) }
}

/// The rank correlation of Spearman, or why there is none. Its sums are of whole numbers: only the last division rounds.
pub fn spearman(gold: &[f64], predicted: &[f64]) -> Result<f64, String> {
    comparable(gold, predicted)?;
    let (gold, predicted) = (ranks(gold), ranks(predicted));
    let rows = gold.len() as i128;
    let sum = rows * (rows + 1);
    // n² times the covariance of doubled ranks, whose sum is the same on both sides.
    let product = |a: &[i128], b: &[i128]| rows * a.iter().zip(b).map(|(a, b)| a * b).sum::<i128>() - sum * sum;
    let (gold_alone, predicted_alone) = (product(&gold, &gold) as f64, product(&predicted, &predicted) as f64);
    Ok((product(&gold, &predicted) as f64 / (gold_alone * predicted_alone).sqrt()).clamp(-1.0, 1.0))
}

/// Refuses numbers that have no correlation.
fn comparable(gold: &[f64], predicted: &[f64]) -> Result<(), String> {
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    match gold.len() {
        0 => Err("there are no rows".to_string()),
        1 => Err("there is only one row".to_string()),
        _ if constant(gold) => Err("the gold numbers are all equal".to_string()),
        _ if constant(predicted) => Err("the predicted numbers are all equal".to_string()),
        _ => Ok(()),
    }
}

/// Twice the ranks from 1; equal values have the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<i128> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut below = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = (2 * below + equal.len() + 1) as i128;
        equal.iter().for_each(|place| ranks[*place] = rank);
        below += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_are_those_of_scipy() {
        // scipy.stats.spearmanr and pearsonr.
        let (x, y) = ([1.0, 2.0, 2.0, 4.0, 5.5, 0.5], [0.2, 0.1, 0.4, 0.4, 0.9, -0.3]);
        assert!((spearman(&x, &y).unwrap() - 0.867_647_058_823_529_4).abs() < 1e-12);
        assert!((pearson(&x, &y).unwrap() - 0.889_310_887_613_180_6).abs() < 1e-12);
    }

    #[test]
    fn ranks_are_shared_and_zero_has_no_sign() {
        let halves: Vec<f64> = ranks(&[3.0, -0.0, 3.0, 0.0, 5.0]).into_iter().map(|twice| twice as f64 / 2.0).collect();
        assert_eq!(halves, [3.5, 1.5, 3.5, 1.5, 5.0]);
    }

    #[test]
    fn ranks_lose_nothing_to_rounding() {
        // 1/2 and not the float below it, which sums of floats give.
        assert_eq!(spearman(&[1.0, 2.0, 4.0], &[1.0, 3.0, 2.0]), Ok(0.5));
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        let back: Vec<f64> = many.iter().rev().copied().collect();
        assert_eq!((spearman(&many, &many), spearman(&many, &back)), (Ok(1.0), Ok(-1.0)));
    }

    #[test]
    fn undefined_correlations_have_a_reason() {
        let error = |gold: &[f64], predicted: &[f64]| {
            assert_eq!(pearson(gold, predicted), spearman(gold, predicted));
            pearson(gold, predicted).unwrap_err()
        };
        assert_eq!(error(&[], &[]), "there are no rows");
        assert_eq!(error(&[1.0], &[2.0]), "there is only one row");
        assert_eq!(error(&[1.0, 1.0], &[2.0, 3.0]), "the gold numbers are all equal");
        assert_eq!(error(&[1.0, 2.0], &[2.0, 2.0]), "the predicted numbers are all equal");
    }
}
