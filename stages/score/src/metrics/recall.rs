//! Recall of a classification.

use super::average::{self, Ratio};
use super::{Metric, Start};

pub const METRIC: Metric = Metric {
    name: RECALL.name,
    about: "Share of the rows of a class that are predicted as it: of the positive class or macro; micro, macro, weighted and per class.",
    start: Start::Classify(|options| average::start(&RECALL, options)),
};

static RECALL: Ratio = Ratio {
    name: "recall",
    of: |confusion, class| (confusion.hits(class), confusion.gold(class)),
    undefined: |class| format!("no gold label is `{class}`"),
};
