//! What measures count: amounts of each row, added up in row order, for all rows and for those of each slice.
//!
//! Threads count chunks of rows, one thread adds: sums are the same to the last bit for any number of threads. Where all amounts are
//! whole numbers, which sum up exactly in any order, threads add too.

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;

use crate::metrics::{Kind, Measure, Score};

/// Rows that a thread counts at once: at least and at most.
const CHUNK_ROWS: (usize, usize) = (64, 4096);
/// Sums that a thread may have of its own; of more, only those are kept that are not 0.
const SUMS_MAX: usize = 1024;

/// What one measure counted of some rows, row by row.
#[derive(Debug, Default)]
pub struct Counts {
    amounts: Vec<(u32, f64)>,
    kept: Vec<u64>,
    /// Ends of each row in `amounts` and in `kept`.
    ends: Vec<(usize, usize)>,
    /// In place of all that: sums of all rows. Empty unless rows are not told apart.
    sums: Vec<f64>,
}

impl Counts {
    /// Adds to a sum. Whole numbers below 2^53 stay exact.
    pub fn add(&mut self, slot: usize, amount: f64) {
        match self.sums.get_mut(slot) {
            Some(sum) => *sum += amount,
            None => self.amounts.push((slot as u32, amount)),
        }
    }

    /// Keeps a value of the row, for what is no sum.
    pub fn keep(&mut self, value: u64) {
        self.kept.push(value);
    }

    /// Counts rows; `together`: whether it may be unknown what a single row added.
    fn of<K: Kind>(measure: &dyn Measure<K>, rows: &[K::Row<'_>], together: bool) -> Counts {
        let mut counts = Counts::default();
        if together && measure.is_whole() && measure.width() <= SUMS_MAX {
            counts.sums = vec![0.0; measure.width()];
        }
        measure.count_all(rows, &mut counts);
        counts
    }

    /// Counts one row with a measure.
    pub fn count<K: Kind>(&mut self, measure: &dyn Measure<K>, row: &K::Row<'_>) {
        measure.count(row, self);
        self.end_row();
    }

    /// Says that what comes next is of another row.
    pub fn end_row(&mut self) {
        if self.sums.is_empty() {
            self.ends.push((self.amounts.len(), self.kept.len()));
        }
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// What a row added and kept.
    pub fn row(&self, row: usize) -> (&[(u32, f64)], &[u64]) {
        let (from, kept_from) = if row == 0 { (0, 0) } else { self.ends[row - 1] };
        let (to, kept_to) = self.ends[row];
        (&self.amounts[from..to], &self.kept[kept_from..kept_to])
    }

    fn append(&mut self, other: Counts) {
        let (amounts, kept) = (self.amounts.len(), self.kept.len());
        self.amounts.extend(other.amounts);
        self.kept.extend(other.kept);
        self.ends.extend(other.ends.into_iter().map(|(end, kept_end)| (amounts + end, kept + kept_end)));
    }
}

/// What is left of rows when all are counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    pub rows: u64,
    pub sums: Vec<f64>,
    /// Kept values in the order of rows.
    pub kept: Vec<u64>,
}

impl Total {
    pub fn new(width: usize) -> Total {
        Total { rows: 0, sums: vec![0.0; width], kept: Vec::new() }
    }

    /// Adds a row `times` times.
    pub fn add(&mut self, (amounts, kept): (&[(u32, f64)], &[u64]), times: u64) {
        self.rows += times;
        for (slot, amount) in amounts {
            self.sums[*slot as usize] += amount * times as f64;
        }
        for _ in 0..times {
            self.kept.extend_from_slice(kept);
        }
    }

    /// Adds rows whose sums are known.
    fn add_sums(&mut self, sums: &[f64], rows: usize) {
        self.rows += rows as u64;
        self.sums.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
    }

    /// A sum of whole numbers.
    pub fn whole(&self, slot: usize) -> u64 {
        self.sums[slot] as u64
    }
}

/// The total of a group of rows. Of very many sums, as of all pairs of a thousand classes, a group has few that are not 0.
#[derive(Clone)]
struct Group {
    /// Without its sums where these are sparse.
    total: Total,
    sparse: Option<HashMap<u32, f64>>,
    width: usize,
}

impl Group {
    fn new(width: usize) -> Group {
        let sparse = (width > SUMS_MAX).then(HashMap::new);
        Group { total: Total::new(if sparse.is_some() { 0 } else { width }), sparse, width }
    }

    fn add(&mut self, (amounts, kept): (&[(u32, f64)], &[u64]), times: u64) {
        let Some(sums) = &mut self.sparse else { return self.total.add((amounts, kept), times) };
        self.total.add((&[], kept), times);
        for (slot, amount) in amounts {
            *sums.entry(*slot).or_default() += amount * times as f64;
        }
    }

    fn total(&self) -> Cow<'_, Total> {
        let Some(sums) = &self.sparse else { return Cow::Borrowed(&self.total) };
        let mut total = Total { sums: vec![0.0; self.width], ..self.total.clone() };
        sums.iter().for_each(|(slot, sum)| total.sums[*slot as usize] = *sum);
        Cow::Owned(total)
    }
}

/// Measures of which neighbours that count the same are one.
pub fn together<K: Kind>(measures: impl IntoIterator<Item = Box<dyn Measure<K>>>) -> Vec<Box<dyn Measure<K>>> {
    let mut groups: Vec<Vec<Box<dyn Measure<K>>>> = Vec::new();
    for measure in measures {
        match groups.last_mut() {
            Some(group) if measure.counts_what().is_some() && group[0].counts_what() == measure.counts_what() => group.push(measure),
            _ => groups.push(vec![measure]),
        }
    }
    let one = |mut group: Vec<Box<dyn Measure<K>>>| match group.len() {
        1 => group.remove(0),
        _ => Box::new(Together(group)) as Box<dyn Measure<K>>,
    };
    groups.into_iter().map(one).collect()
}

/// Measures of which the first one counts for all.
struct Together<K: Kind>(Vec<Box<dyn Measure<K>>>);

impl<K: Kind> Measure<K> for Together<K> {
    fn width(&self) -> usize {
        self.0[0].width()
    }

    fn count(&self, row: &K::Row<'_>, counts: &mut Counts) {
        self.0[0].count(row, counts);
    }

    fn count_all(&self, rows: &[K::Row<'_>], counts: &mut Counts) {
        self.0[0].count_all(rows, counts);
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        self.0.iter().flat_map(|measure| measure.finish(total)).collect()
    }

    fn is_whole(&self) -> bool {
        self.0[0].is_whole()
    }
}

/// The measures of one system, and what they counted.
pub struct Tally<K: Kind> {
    pub measures: Vec<Box<dyn Measure<K>>>,
    /// By group (the first is that of all rows), then by measure.
    totals: Vec<Vec<Group>>,
    /// By measure, where rows are drawn again later.
    pub rows: Option<Vec<Counts>>,
}

impl<K: Kind> Tally<K> {
    /// `groups`: how many groups there are besides that of all rows; `keep_rows`: whether rows are drawn again later.
    pub fn new(measures: Vec<Box<dyn Measure<K>>>, groups: usize, keep_rows: bool) -> Tally<K> {
        let totals: Vec<Group> = measures.iter().map(|measure| Group::new(measure.width())).collect();
        let rows = keep_rows.then(|| measures.iter().map(|_| Counts::default()).collect());
        Tally { totals: vec![totals; 1 + groups], measures, rows }
    }

    /// Counts rows; `groups` tells the groups of each, besides that of all rows.
    pub fn push<'a>(&mut self, rows: &[K::Row<'_>], groups: impl Fn(usize) -> &'a [u32]) {
        // Whether nobody asks for single rows.
        let together = self.totals.len() == 1 && self.rows.is_none();
        let length = rows.len().div_ceil(8 * rayon::current_num_threads()).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1);
        let measures = &self.measures;
        let chunks: Vec<Vec<Counts>> = rows
            .par_chunks(length)
            .map(|rows| measures.iter().map(|measure| Counts::of(measure.as_ref(), rows, together)).collect())
            .collect();
        for (number, chunk) in chunks.into_iter().enumerate() {
            let rows = number * length..rows.len().min((number + 1) * length);
            for (measure, counts) in chunk.into_iter().enumerate() {
                if !counts.sums.is_empty() {
                    self.totals[0][measure].total.add_sums(&counts.sums, rows.len());
                    continue;
                }
                for row in 0..counts.rows() {
                    self.totals[0][measure].add(counts.row(row), 1);
                    for group in groups(rows.start + row) {
                        self.totals[1 + *group as usize][measure].add(counts.row(row), 1);
                    }
                }
                if let Some(kept) = &mut self.rows {
                    kept[measure].append(counts);
                }
            }
        }
    }

    /// Counts a row `times` times in one group; group 0 is that of all rows.
    pub fn push_times(&mut self, group: usize, row: &K::Row<'_>, times: u64) {
        for (measure, total) in self.measures.iter().zip(&mut self.totals[group]) {
            let mut counts = Counts::default();
            counts.count(measure.as_ref(), row);
            total.add(counts.row(0), times);
        }
    }

    /// Drops the measures from a place on, whose counts were wanted and not their scores.
    pub fn forget(&mut self, from: usize) {
        self.measures.truncate(from);
        self.totals.iter_mut().for_each(|totals| totals.truncate(from));
        self.rows.iter_mut().for_each(|rows| rows.truncate(from));
    }

    pub fn total(&self, group: usize, measure: usize) -> Cow<'_, Total> {
        self.totals[group][measure].total()
    }

    /// The scores of a group, by measure.
    pub fn scores(&self, group: usize) -> Vec<Vec<Score>> {
        self.measures.par_iter().zip(&self.totals[group]).map(|(measure, group)| measure.finish(&group.total())).collect()
    }
}

/// The scores of some rows with one measure: for tests and single calls.
pub fn scores_of<K: Kind>(measure: &dyn Measure<K>, rows: &[K::Row<'_>]) -> Vec<Score> {
    measure.finish(&total_of(measure, rows))
}

/// What one measure counts of some rows.
pub fn total_of<K: Kind>(measure: &dyn Measure<K>, rows: &[K::Row<'_>]) -> Total {
    let mut total = Total::new(measure.width());
    for row in rows {
        let mut counts = Counts::default();
        counts.count(measure, row);
        total.add(counts.row(0), 1);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{LabelRow, Labels, METRICS, Options, TagRow, Tags, TextRow, Texts};

    /// Scores are the same bits whether rows are told apart or not, and whether equal counts are shared.
    fn check<K: Kind>(options: &Options, rows: &[K::Row<'_>]) {
        let measures = || METRICS.iter().filter_map(|metric| K::measure(&metric.start, options));
        let scores = |measures, groups, keep_rows| -> Vec<Score> {
            let mut tally = Tally::<K>::new(measures, groups, keep_rows);
            rows.chunks(300).for_each(|rows| tally.push(rows, |_| &[]));
            tally.scores(0).into_iter().flatten().collect()
        };
        let expected: Vec<Score> = measures().flat_map(|measure| scores_of(measure.as_ref(), rows)).collect();
        assert!(expected.iter().filter(|score| score.value.is_ok()).count() > 4);
        for keep_rows in [false, true] {
            for groups in [0, 1] {
                assert_eq!(scores(measures().collect(), groups, keep_rows), expected);
                assert_eq!(scores(together(measures()), groups, keep_rows), expected);
            }
        }
    }

    #[test]
    fn sums_of_chunks_are_those_of_rows() {
        let draw = |row: usize, of: usize| (row * 7919 + row / 7 * 31) % of;
        let classes = |names: &[&str]| Options { classes: names.iter().map(|name| name.to_string()).collect(), ..Options::default() };
        let labels: Vec<LabelRow> =
            (0..1000).map(|row| LabelRow { gold: draw(row, 3), prediction: draw(row, 5) % 3, probabilities: None }).collect();
        check::<Labels>(&classes(&["a", "b", "c"]), &labels);
        // So many pairs of classes that their counts are sparse.
        let many = Options { classes: (0..40).map(|class| class.to_string()).collect(), ..Options::default() };
        let label = |row: usize| LabelRow { gold: draw(row, 40), prediction: draw(row, 43) % 40, probabilities: None };
        check::<Labels>(&many, &(0..1000).map(label).collect::<Vec<_>>());
        let tags = |row: usize, of: usize| (0..5).map(|word| (draw(row + word, of) % 3) as u32).collect();
        let tags: Vec<TagRow> = (0..1000).map(|row| TagRow { gold: tags(row, 5), prediction: tags(row, 7) }).collect();
        check::<Tags>(&classes(&["B-X", "I-X", "O"]), &tags);
        let texts: Vec<String> = (0..400).map(|row| format!("a w{} c w{} w{}", draw(row, 3), draw(row, 5), draw(row, 7))).collect();
        let texts: Vec<TextRow> = texts.windows(2).map(|texts| TextRow::new(&texts[0], vec![&texts[1]])).collect();
        check::<Texts>(&Options::default(), &texts);
    }

    #[test]
    fn groups_of_many_sums_keep_those_that_are_not_0() {
        let (mut sparse, mut total) = (Group::new(SUMS_MAX + 1), Total::new(SUMS_MAX + 1));
        for (slot, times) in [(7, 1), (SUMS_MAX as u32, 2), (7, 3)] {
            sparse.add((&[(slot, 0.1)], &[5]), times);
            total.add((&[(slot, 0.1)], &[5]), times);
        }
        assert_eq!((sparse.total.sums.len(), sparse.sparse.as_ref().map(HashMap::len)), (0, Some(2)));
        assert_eq!(sparse.total().into_owned(), total);
    }

    #[test]
    fn one_measure_counts_for_its_neighbours() {
        let options = Options { classes: vec!["a".into(), "b".into()], ..Options::default() };
        let all = || METRICS.iter().filter_map(|metric| Labels::measure(&metric.start, &options));
        let counting = |measures: &[Box<dyn Measure<Labels>>]| measures.iter().filter(|m| m.counts_what().is_some()).count();
        // All seven but the selection rate stand beside one another.
        assert_eq!((counting(&all().collect::<Vec<_>>()), together(all()).len()), (7, all().count() - 5));
    }
}
