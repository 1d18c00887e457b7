//! How well probabilities put the rows of a class before the others: area under the ROC curve and average precision,
//! as scikit-learn 1.9.1 defines them.
//!
//! The area is the Mann-Whitney statistic, ties counting one half; average precision sums precision over steps of recall, without
//! interpolation. Both keep a probability a row and class.

use super::probabilities::NO_PROBABILITIES;
use super::{Counts, LabelRow, Labels, Measure, Metric, NO_ROWS, Options, Score, Start, Total};

pub const ROC_AUC: Metric = Metric {
    name: "roc-auc",
    about: "Chance that a row of a class has a higher probability of it than another row, 0.5 is guessing: of the positive or second of two classes, or one class against the rest, macro.",
    default: true,
    start: Start::Labels(|options| Box::new(Ranking::new("roc-auc", roc_auc, options))),
};

pub const AVERAGE_PRECISION: Metric = Metric {
    name: "average-precision",
    about: "Precision averaged over the recall that falling thresholds reach, 0 to 1: of the positive or second of two classes, or macro.",
    default: true,
    start: Start::Labels(|options| Box::new(Ranking::new("average-precision", average_precision, options))),
};

/// A score and whether the row is of the class.
type Ranked = (f32, bool);

/// Of rows with both kinds among them, or a reason.
type Of = fn(&mut [Ranked]) -> Result<f64, &'static str>;

struct Ranking {
    name: &'static str,
    of: Of,
    names: Vec<String>,
    positive: Option<usize>,
}

impl Ranking {
    fn new(name: &'static str, of: Of, options: &Options) -> Ranking {
        let classes = options.classes.len();
        Ranking { name, of, names: options.classes.clone(), positive: options.positive.or((classes == 2).then_some(1)) }
    }

    /// Of one class against the others, or against one other.
    fn of_class(&self, rows: &Kept, class: usize, other: Option<usize>) -> Result<f64, String> {
        let among = |gold: usize| other.is_none_or(|other| gold == other || gold == class);
        let mut ranked: Vec<Ranked> =
            rows.iter().filter(|(gold, _)| among(*gold)).map(|(gold, probabilities)| (probabilities(class), gold == class)).collect();
        (self.of)(&mut ranked).map_err(|what| format!("{what} `{}`", self.names[class]))
    }

    /// One class against the rest for each, macro and weighted by gold rows.
    fn one_against_rest(&self, rows: &Kept, each: &[Result<f64, String>]) -> [Result<f64, String>; 2] {
        let weights: Vec<f64> = rows.gold_rows(self.names.len());
        let mean = |weights: &[f64]| {
            let values: Vec<f64> = each.iter().cloned().collect::<Result<_, String>>()?;
            Ok(weighted(&values, weights))
        };
        [mean(&vec![1.0; each.len()]), mean(&weights)]
    }

    /// Each pair of classes found in gold, both ways; macro and weighted by the pair's share of rows.
    fn one_against_one(&self, rows: &Kept) -> [Result<f64, String>; 2] {
        let gold = rows.gold_rows(self.names.len());
        let found: Vec<usize> = (0..gold.len()).filter(|class| gold[*class] > 0.0).collect();
        let pairs: Vec<(usize, usize)> =
            found.iter().enumerate().flat_map(|(at, a)| found[at + 1..].iter().map(move |b| (*a, *b))).collect();
        if pairs.is_empty() {
            return [(); 2].map(|()| Err("gold has only one class".to_owned()));
        }
        let both = |&(a, b): &(usize, usize)| Ok((self.of_class(rows, a, Some(b))? + self.of_class(rows, b, Some(a))?) / 2.0);
        let values: Result<Vec<f64>, String> = pairs.iter().map(both).collect();
        let weights: Vec<f64> = pairs.iter().map(|(a, b)| gold[*a] + gold[*b]).collect();
        let mean = |weights: &[f64]| values.clone().map(|values| weighted(&values, weights));
        [mean(&vec![1.0; pairs.len()]), mean(&weights)]
    }

    /// Values by the names of their scores and what the signature says; the headline is first.
    fn values(&self, rows: &Kept) -> Vec<(String, Result<f64, String>, String)> {
        let name = self.name;
        if self.names.len() < 2 {
            return vec![(name.to_owned(), Err("there is only one class".to_owned()), String::new())];
        }
        let of_positive =
            |class: usize| (name.to_owned(), self.of_class(rows, class, None), format!("average:binary|positive:{}", self.names[class]));
        if self.names.len() == 2 {
            return self.positive.map(of_positive).into_iter().collect();
        }
        let each: Vec<Result<f64, String>> = (0..self.names.len()).map(|class| self.of_class(rows, class, None)).collect();
        let [mean, weighted] = self.one_against_rest(rows, &each);
        let pairs = |average: &str| format!("multi_class:ovr|average:{average}");
        let mut values = vec![match self.positive {
            Some(class) => of_positive(class),
            None => (name.to_owned(), mean.clone(), pairs("macro")),
        }];
        values.push((format!("{name}-ovr-macro"), mean, pairs("macro")));
        values.push((format!("{name}-ovr-weighted"), weighted, pairs("weighted")));
        if name == ROC_AUC.name {
            let [mean, weighted] = self.one_against_one(rows);
            values.push((format!("{name}-ovo-macro"), mean, "multi_class:ovo|average:macro".to_owned()));
            values.push((format!("{name}-ovo-weighted"), weighted, "multi_class:ovo|average:weighted".to_owned()));
        }
        values.extend(each.into_iter().map(|value| (name.to_owned(), value, "average:none".to_owned())));
        values
    }
}

fn weighted(values: &[f64], weights: &[f64]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / weights.iter().sum::<f64>()
}

impl Measure<Labels> for Ranking {
    /// Rows without probabilities.
    fn width(&self) -> usize {
        1
    }

    /// Keeps the gold class, then the probabilities: of all classes, or of two only that of the positive one.
    fn count(&self, row: &LabelRow<'_>, counts: &mut Counts) {
        let Some(probabilities) = row.probabilities else { return counts.add(0, 1.0) };
        counts.keep(row.gold as u64);
        let kept = match (probabilities.len(), self.positive) {
            (2, Some(positive)) => &probabilities[positive..=positive],
            _ => probabilities,
        };
        kept.iter().for_each(|probability| counts.keep(u64::from(probability.to_bits())));
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let per_row = if self.names.len() == 2 { 2 } else { 1 + self.names.len() };
        let rows = Kept { values: &total.kept, per_row, only: self.positive.filter(|_| self.names.len() == 2) };
        let reason = match total.rows {
            0 => Some(NO_ROWS),
            _ if total.whole(0) > 0 => Some(NO_PROBABILITIES),
            _ => None,
        };
        let classes = self.names.len();
        let values = self.values(&rows);
        let first_class = values.len().saturating_sub(classes);
        let score = |(index, (metric, value, pairs)): (usize, (String, Result<f64, String>, String))| {
            let value = reason.map_or(value, |reason| Err(reason.to_owned()));
            let score = Score::new(metric, value, total.rows, &pairs);
            if classes > 2 && index >= first_class { score.of_class(&self.names[index - first_class]) } else { score }
        };
        values.into_iter().enumerate().map(score).collect()
    }
}

/// Gold classes and probabilities of rows.
struct Kept<'a> {
    values: &'a [u64],
    per_row: usize,
    /// The class whose probability alone is kept.
    only: Option<usize>,
}

impl Kept<'_> {
    /// The gold class of each row, and its probability of a class.
    fn iter(&self) -> impl Iterator<Item = (usize, impl Fn(usize) -> f32)> {
        self.values.chunks_exact(self.per_row).map(move |row| {
            let probability = move |class: usize| f32::from_bits(row[1 + self.only.map_or(class, |_| 0)] as u32);
            (row[0] as usize, probability)
        })
    }

    fn gold_rows(&self, classes: usize) -> Vec<f64> {
        let mut rows = vec![0.0; classes];
        self.iter().for_each(|(gold, _)| rows[gold] += 1.0);
        rows
    }
}

/// Rows by falling score, those of equal score together: how many of each are of the class and not.
fn steps(ranked: &mut [Ranked]) -> impl Iterator<Item = (u64, u64)> {
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    ranked.chunk_by(|a, b| a.0 == b.0).map(|equal| {
        let positive = equal.iter().filter(|row| row.1).count();
        (positive as u64, (equal.len() - positive) as u64)
    })
}

fn roc_auc(ranked: &mut [Ranked]) -> Result<f64, &'static str> {
    let positives = ranked.iter().filter(|row| row.1).count() as u128;
    let negatives = ranked.len() as u128 - positives;
    match (positives, negatives) {
        (0, _) => return Err("no row is gold"),
        (_, 0) => return Err("every row is gold"),
        _ => {}
    }
    // Twice the pairs in order: whole numbers, ties counting one.
    let (mut twice, mut above) = (0u128, 0u128);
    for (positive, negative) in steps(ranked) {
        twice += u128::from(negative) * (2 * above + u128::from(positive));
        above += u128::from(positive);
    }
    Ok(twice as f64 / (2 * positives * negatives) as f64)
}

fn average_precision(ranked: &mut [Ranked]) -> Result<f64, &'static str> {
    let positives = ranked.iter().filter(|row| row.1).count() as f64;
    if positives == 0.0 {
        return Err("no row is gold");
    }
    let (mut sum, mut hits, mut rows) = (0.0, 0, 0);
    for (positive, negative) in steps(ranked) {
        hits += positive;
        rows += positive + negative;
        sum += positive as f64 * hits as f64 / rows as f64;
    }
    // Divided at last, so that a perfect order has 1 and not more.
    Ok(sum / positives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_rows() {
        let mut rows = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        assert_eq!((roc_auc(&mut rows), average_precision(&mut rows)), (Ok(0.75), Ok(0.833_333_333_333_333_3)));
        let mut perfect: Vec<Ranked> = (0..7).map(|row| (1.0 - row as f32 / 8.0, row < 3)).collect();
        assert_eq!(average_precision(&mut perfect), Ok(1.0));
        let mut ties = [(0.5, false), (0.5, true), (0.5, false)];
        assert_eq!((roc_auc(&mut ties), average_precision(&mut ties)), (Ok(0.5), Ok(1.0 / 3.0)));
        assert_eq!((roc_auc(&mut [(0.5, true)]), roc_auc(&mut [(0.5, false)])), (Err("every row is gold"), Err("no row is gold")));
    }
}
