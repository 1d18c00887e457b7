//! The tables of scores as Arrow.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};

use crate::compare::Comparison;
use crate::gaps::{Ends, Gap};
use crate::metrics::Score;
use crate::metrics::calibration::Bin;
use crate::metrics::confusion::Confusion;
use crate::robust::Drop;
use crate::slices::Slices;

/// A score and the system it is of.
pub struct Scored {
    pub system: String,
    pub score: Score,
    /// The 95 % interval, or in how many resamples the score is undefined.
    pub interval: Option<Result<(f64, f64), usize>>,
}

impl Scored {
    pub fn new(system: &str, score: Score) -> Scored {
        Scored { system: system.to_owned(), score, interval: None }
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
        texts("system", scores.clone().map(|scored| scored.system.as_str())),
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

/// The table `gaps`: how far each score differs between the groups of a slice.
pub fn gaps(gaps: &[Gap]) -> Result<RecordBatch> {
    let end = |of: fn(&Ends) -> &(String, f64)| gaps.iter().map(move |gap| gap.ends.as_ref().ok().map(of));
    let (lowest, highest) = (end(|ends| &ends.lowest), end(|ends| &ends.highest));
    let reason = |gap: &Gap| match &gap.ends {
        Err(reason) => Some(reason.clone()),
        Ok(ends) if ends.ratio().is_none() => Some("no ratio: the highest score is 0, or one is below".to_owned()),
        Ok(_) => None,
    };
    batch(vec![
        texts("slice", gaps.iter().map(|gap| gap.slice.as_str())),
        texts("system", gaps.iter().map(|gap| gap.system.as_str())),
        texts("metric", gaps.iter().map(|gap| gap.metric.as_str())),
        texts_or_null("class", gaps.iter().map(|gap| gap.class.as_deref())),
        counts("groups", gaps.iter().map(|gap| gap.groups)),
        texts_or_null("lowest_group", lowest.clone().map(|end| end.map(|end| end.0.as_str()))),
        numbers("lowest", lowest.map(|end| end.map(|end| end.1))),
        texts_or_null("highest_group", highest.clone().map(|end| end.map(|end| end.0.as_str()))),
        numbers("highest", highest.map(|end| end.map(|end| end.1))),
        numbers("gap", gaps.iter().map(|gap| Some(gap.ends.as_ref().ok()?.gap()))),
        numbers("ratio", gaps.iter().map(|gap| gap.ends.as_ref().ok()?.ratio())),
        texts_or_null("reason", gaps.iter().map(reason)),
        texts("signature", gaps.iter().map(|gap| gap.signature.as_str())),
    ])
}

/// The table `robustness`: each score on perturbed inputs, and the worst case, beside the plain one.
pub fn robustness(drops: &[Drop]) -> Result<RecordBatch> {
    let plain = |drop: &Drop| drop.score.value.as_ref().ok().copied();
    let perturbed = |drop: &Drop| drop.value.as_ref().ok().copied();
    let reason = |drop: &Drop| drop.score.value.as_ref().err().or(drop.value.as_ref().err()).cloned();
    batch(vec![
        texts("perturbed", drops.iter().map(|drop| drop.perturbed.as_deref().unwrap_or("worst case"))),
        texts("metric", drops.iter().map(|drop| drop.score.metric.as_str())),
        texts_or_null("class", drops.iter().map(|drop| drop.score.class.as_deref())),
        numbers("plain", drops.iter().map(plain)),
        numbers("value", drops.iter().map(perturbed)),
        numbers("drop", drops.iter().map(|drop| Some(plain(drop)? - perturbed(drop)?))),
        texts_or_null("reason", drops.iter().map(reason)),
        texts("signature", drops.iter().map(|drop| drop.score.signature.as_str())),
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

/// The table `reliability`: for rows whose predicted class has a probability in (low, high], how likely it is said to be and is right;
/// over bins of equal `width` and of equal `mass`.
pub fn reliability(all: &[(&'static str, Bin)]) -> Result<RecordBatch> {
    let bins = || all.iter().map(|(_, bin)| bin);
    let mean = |sum: f64, rows: u64| (rows > 0).then(|| sum / rows as f64);
    batch(vec![
        texts("bins", all.iter().map(|(bins, _)| *bins)),
        numbers("low", bins().map(|bin| Some(bin.low))),
        numbers("high", bins().map(|bin| Some(bin.high))),
        counts("count", bins().map(|bin| bin.rows)),
        counts("right", bins().map(|bin| bin.right)),
        numbers("confidence", bins().map(|bin| mean(bin.confidence, bin.rows))),
        numbers("accuracy", bins().map(|bin| mean(bin.right as f64, bin.rows))),
    ])
}
