//! F1 of a classification: the harmonic mean of precision and recall.
//! As in scikit-learn it is 2 tp / (gold + predicted), so it is 0, not undefined, where only one of the two is undefined.

use super::average::{self, Ratio};
use super::{Metric, Start};

pub const METRIC: Metric = Metric {
    name: F1.name,
    about: "Harmonic mean of precision and recall: of the positive class or macro; micro, macro, weighted and per class.",
    start: Start::Classify(|options| average::start(&F1, options)),
};

static F1: Ratio = Ratio {
    name: "f1",
    of: |confusion, class| (2 * confusion.hits(class), confusion.gold(class) + confusion.predicted(class)),
    undefined: |class| format!("`{class}` is neither a gold label nor predicted"),
};
