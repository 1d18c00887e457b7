//! How far scores may be off: 95 % intervals of the bootstrap (Efron, 1979), as sacrebleu 2.6.0 draws and cuts them.
//!
//! Draws come from one generator in order, scores of draws are computed by all threads: the same to the last bit for any number.

use rayon::prelude::*;

use crate::counts::{Counts, Total};
use crate::metrics::{Kind, Measure};
use crate::random::Generator;

/// Numbers drawn at once, as a bound of memory.
const DRAWN_AT_ONCE: usize = 1 << 22;

/// How often rows are drawn again, and the generator's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    pub resamples: usize,
    pub seed: u64,
}

/// Values of all scores of one draw, measure by measure; NaN where undefined.
pub type Values = Vec<f64>;

/// The scores' values for drawn rows, once or several times each.
pub fn values<K: Kind>(measures: &[Box<dyn Measure<K>>], counts: &[Counts], drawn: impl Iterator<Item = usize> + Clone) -> Values {
    let of = |(measure, counts): (&dyn Measure<K>, &Counts)| {
        let mut total = Total::new(measure.width());
        drawn.clone().for_each(|row| total.add(counts.row(row), 1));
        measure.finish(&total)
    };
    measures.iter().map(Box::as_ref).zip(counts).flat_map(of).map(|score| score.value.unwrap_or(f64::NAN)).collect()
}

/// What `of` says of each draw of `rows` row numbers, with repetition.
pub fn bootstrap<T: Send>(resampling: Resampling, rows: usize, of: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
    let mut generator = Generator::new(resampling.seed);
    in_blocks(resampling.resamples, rows, || generator.below(rows as u32), of)
}

/// What `of` says of each toss of `rows` coins.
pub fn tosses<T: Send>(resampling: Resampling, rows: usize, of: impl Fn(&[bool]) -> T + Sync) -> Vec<T> {
    let mut generator = Generator::new(resampling.seed);
    in_blocks(resampling.resamples, rows, generator.coins(), of)
}

fn in_blocks<D: Send + Sync, T: Send>(times: usize, rows: usize, mut draw: impl FnMut() -> D, of: impl Fn(&[D]) -> T + Sync) -> Vec<T> {
    let block = (DRAWN_AT_ONCE / rows.max(1)).max(1);
    let mut results = Vec::with_capacity(times);
    while results.len() < times {
        let now = block.min(times - results.len());
        let drawn: Vec<D> = (0..now * rows).map(|_| draw()).collect();
        results.extend(drawn.par_chunks_exact(rows).map(&of).collect::<Vec<T>>());
    }
    results
}

/// The middle 95 % of values, or how many are undefined.
pub fn interval(mut values: Vec<f64>) -> Result<(f64, f64), usize> {
    let undefined = values.iter().filter(|value| value.is_nan()).count();
    if undefined > 0 || values.is_empty() {
        return Err(undefined);
    }
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 40;
    Ok((values[cut], values[values.len() - cut - 1]))
}

/// An interval for each score of the rows of a group, measure by measure; none where redrawn rows say nothing.
pub fn intervals<K: Kind>(
    resampling: Resampling,
    measures: &[Box<dyn Measure<K>>],
    counts: &[Counts],
    rows: &[u32],
) -> Vec<Option<Result<(f64, f64), usize>>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let drawn = bootstrap(resampling, rows.len(), |drawn| values(measures, counts, drawn.iter().map(|row| rows[*row as usize] as usize)));
    let scores = |measure: &dyn Measure<K>| measure.finish(&Total::new(measure.width())).len();
    let redrawn = measures.iter().flat_map(|measure| std::iter::repeat_n(measure.can_be_redrawn(), scores(measure.as_ref())));
    redrawn.enumerate().map(|(score, redrawn)| redrawn.then(|| interval(drawn.iter().map(|values| values[score]).collect()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{LabelRow, Labels, METRICS, Options};

    fn accuracy() -> Vec<Box<dyn Measure<Labels>>> {
        METRICS
            .iter()
            .filter(|metric| metric.name == "accuracy")
            .filter_map(|metric| Labels::measure(&metric.start, &Options::default()))
            .collect()
    }

    #[test]
    fn intervals_do_not_depend_on_threads() {
        let measures = accuracy();
        let mut counts = Counts::default();
        for row in 0..500 {
            counts.count(measures[0].as_ref(), &LabelRow { gold: 0, prediction: usize::from(row % 3 == 0), probabilities: None });
        }
        let rows: Vec<u32> = (0..500).collect();
        let counts = [counts];
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| intervals(Resampling { resamples: 200, seed: 12345 }, &measures, &counts, &rows))
        };
        let one = run(1);
        assert_eq!((&one, &one), (&run(2), &run(5)));
        let (low, high) = one[0].unwrap().unwrap();
        assert!(low < 333.0 / 500.0 && high > 333.0 / 500.0 && high - low < 0.1, "{low} {high}");
    }

    #[test]
    fn undefined_values_leave_no_interval() {
        assert_eq!(interval(vec![1.0, f64::NAN, 2.0]), Err(1));
        assert_eq!(interval((0..1000).rev().map(f64::from).collect()), Ok((25.0, 974.0)));
    }
}
