//! Correlations of two lists of numbers of one length.

/// The rank correlation of Spearman, or why there is none.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64, String> {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (group.len() + 1) as f64 / 2.0;
        group.iter().for_each(|index| ranks[*index] = rank);
        before += group.len();
    }
    ranks
}

/// The linear correlation of Pearson, or why there is none.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64, String> {
    if x.len() < 2 {
        return Err(format!("{} pairs have vectors, a correlation needs 2", x.len()));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    if xx == 0.0 || yy == 0.0 {
        return Err("all values are equal on one side".to_string());
    }
    Ok((xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_are_those_of_scipy() {
        // scipy.stats.spearmanr and pearsonr.
        let (x, y) = ([1.0, 2.0, 2.0, 4.0, 5.5, 0.5], [0.2, 0.1, 0.4, 0.4, 0.9, -0.3]);
        assert_eq!(ranks(&x), [2.0, 3.5, 3.5, 5.0, 6.0, 1.0]);
        assert!((spearman(&x, &y).unwrap() - 0.867_647_058_823_529_4).abs() < 1e-12);
        assert!((pearson(&x, &y).unwrap() - 0.889_310_887_613_180_6).abs() < 1e-12);
    }

    #[test]
    fn undefined_correlations_have_a_reason() {
        assert_eq!(pearson(&[1.0], &[2.0]).unwrap_err(), "1 pairs have vectors, a correlation needs 2");
        assert_eq!(pearson(&[1.0, 1.0], &[2.0, 3.0]).unwrap_err(), "all values are equal on one side");
    }
}
