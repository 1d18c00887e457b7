//! The tables of scores as Arrow.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};

use crate::compare::Comparison;
use crate::metrics::Score;
use crate::metrics::calibration::Bin;
use crate::metrics::confusion::Confusion;
use crate::slices::Slices;

/// A score and the system it is of.
pub struct Scored {
    pub system: &'static str,
    pub score: Score,
    /// The 95 % interval, or in how many resamples the score is undefined.
    pub interval: Option<Result<(f64, f64), usize>>,
}

impl Scored {
    pub fn new(system: &'static str, score: Score) -> Scored {
        Scored { system, score, interval: None }
    }

    /// Why the value or the interval is null.
    fn reason(&self) -> Option<String> {
        match (&self.score.value, self.interval) {
            (Err(reason), _) => Some(reason.clone()),
            (Ok(_), Some(Err(undefined))) => Some(format!("no interval: undefined in {undefined} resamples")),
            _ => None,
        }
    }
}

/// A column and whether it may be null.
struct Column(&'static str, bool, ArrayRef);

fn texts<'a>(name: &'static str, values: impl Iterator<Item = &'a str>) -> Column {
    // Not from the iterator: arrow wants to know its length.
    Column(name, false, Arc::new(StringArray::from_iter_values(values.collect::<Vec<_>>())))
}

fn texts_or_null(name: &'static str, values: impl Iterator<Item = Option<impl AsRef<str>>>) -> Column {
    Column(name, true, Arc::new(values.collect::<StringArray>()))
}

fn numbers(name: &'static str, values: impl Iterator<Item = Option<f64>>) -> Column {
    Column(name, true, Arc::new(values.collect::<Float64Array>()))
}

fn counts(name: &'static str, values: impl Iterator<Item = u64>) -> Column {
    Column(name, false, Arc::new(values.map(|value| Some(value as i64)).collect::<Int64Array>()))
}

fn batch(columns: Vec<Column>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|Column(name, null, values)| Field::new(*name, values.data_type().clone(), *null)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|column| column.2).collect())?)
}

/// The columns of `engine::schema::scores`, then the interval.
fn score_columns<'a>(scores: impl Iterator<Item = &'a Scored> + Clone) -> Vec<Column> {
    let interval = |of: fn((f64, f64)) -> f64| scores.clone().map(move |scored| scored.interval?.ok().map(of));
    vec![
        texts("system", scores.clone().map(|scored| scored.system)),
        texts("metric", scores.clone().map(|scored| scored.score.metric.as_str())),
        texts_or_null("class", scores.clone().map(|scored| scored.score.class.as_deref())),
        numbers("value", scores.clone().map(|scored| scored.score.value.as_ref().ok().copied())),
        texts_or_null("reason", scores.clone().map(Scored::reason)),
        counts("count", scores.clone().map(|scored| scored.score.count)),
        texts("signature", scores.clone().map(|scored| scored.score.signature.as_str())),
        numbers("low", interval(|interval| interval.0)),
        numbers("high", interval(|interval| interval.1)),
    ]
}

/// The main table.
pub fn scores(scores: &[Scored]) -> Result<RecordBatch> {
    batch(score_columns(scores.iter()))
}

/// The table `slices`: every score of each group of rows.
pub fn slices(scores: &[(usize, Scored)], slices: &Slices) -> Result<RecordBatch> {
    let names = scores.iter().map(|(group, _)| slices.name(*group));
    let mut columns = vec![texts("slice", names.clone().map(|name| name.0)), texts_or_null("slice_value", names.map(|name| name.1))];
    columns.extend(score_columns(scores.iter().map(|(_, scored)| scored)));
    batch(columns)
}

/// The table `comparisons`: each score beside that of the other predictions.
pub fn comparisons(all: &[Comparison]) -> Result<RecordBatch> {
    let ours = |comparison: &Comparison| comparison.score.value.as_ref().ok().copied();
    let theirs = |comparison: &Comparison| comparison.against.as_ref().ok().copied();
    let reason = |comparison: &Comparison| comparison.p_value.as_ref().err().cloned();
    batch(vec![
        texts("metric", all.iter().map(|comparison| comparison.score.metric.as_str())),
        texts_or_null("class", all.iter().map(|comparison| comparison.score.class.as_deref())),
        numbers("value", all.iter().map(ours)),
        numbers("against", all.iter().map(theirs)),
        numbers("difference", all.iter().map(|comparison| Some(ours(comparison)? - theirs(comparison)?))),
        numbers("low", all.iter().map(|comparison| Some(comparison.interval?.0))),
        numbers("high", all.iter().map(|comparison| Some(comparison.interval?.1))),
        numbers("p_value", all.iter().map(|comparison| comparison.p_value.as_ref().ok().copied())),
        texts_or_null("reason", all.iter().map(reason)),
        texts("test", all.iter().map(|comparison| comparison.signature.as_str())),
        texts("signature", all.iter().map(|comparison| comparison.score.signature.as_str())),
    ])
}

/// The table `confusion`: how often the model predicted each gold class as each class.
pub fn confusion(confusion: &Confusion, classes: &[String]) -> Result<RecordBatch> {
    let pairs = (0..classes.len()).flat_map(|gold| (0..classes.len()).map(move |prediction| (gold, prediction)));
    batch(vec![
        texts("gold", pairs.clone().map(|(gold, _)| classes[gold].as_str())),
        texts("prediction", pairs.clone().map(|(_, prediction)| classes[prediction].as_str())),
        counts("count", pairs.map(|(gold, prediction)| confusion.count(gold, prediction))),
    ])
}

/// The table `reliability`: for rows whose predicted class has a probability in (low, high], how likely it is said to be and is right.
pub fn reliability(bins: &[Bin]) -> Result<RecordBatch> {
    let mean = |sum: f64, rows: u64| (rows > 0).then(|| sum / rows as f64);
    batch(vec![
        numbers("low", bins.iter().map(|bin| Some(bin.low))),
        numbers("high", bins.iter().map(|bin| Some(bin.high))),
        counts("count", bins.iter().map(|bin| bin.rows)),
        counts("right", bins.iter().map(|bin| bin.right)),
        numbers("confidence", bins.iter().map(|bin| mean(bin.confidence, bin.rows))),
        numbers("accuracy", bins.iter().map(|bin| mean(bin.right as f64, bin.rows))),
    ])
}
