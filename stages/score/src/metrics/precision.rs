//! Precision of a classification.

use super::average::{self, Ratio};
use super::{Metric, Start};

pub const METRIC: Metric = Metric {
    name: PRECISION.name,
    about: "Share of the rows predicted as a class that are of it: of the positive class or macro; micro, macro, weighted and per class.",
    start: Start::Classify(|options| average::start(&PRECISION, options)),
};

static PRECISION: Ratio = Ratio {
    name: "precision",
    of: |confusion, class| (confusion.hits(class), confusion.predicted(class)),
    undefined: |class| format!("no row is predicted as `{class}`"),
};
