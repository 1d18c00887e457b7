//! F1: the harmonic mean of precision and recall.
//! As in scikit-learn it is 2 tp / (gold + predicted), so it is 0, not undefined, where only one of the two is undefined.

use super::average::{self, Ratio};
use super::{Metric, Start, entities, sets};

pub const METRIC: Metric = Metric {
    name: F1.name,
    about: "Harmonic mean of precision and recall: of the positive class or macro; micro, macro, weighted and per class.",
    default: true,
    start: Start::Labels(|options| average::of_labels(&F1, options)),
};

pub const OF_SETS: Metric = Metric {
    name: F1.name,
    about: "Harmonic mean of precision and recall of labels: micro or of the positive class; micro, macro, weighted, samples and per class.",
    default: true,
    start: Start::Sets(|options| sets::start(&F1, options)),
};

pub const OF_ENTITIES: Metric = Metric {
    name: F1.name,
    about: "Harmonic mean of precision and recall of entities, as seqeval: micro; micro, macro, weighted and per type.",
    default: true,
    start: Start::Tags(|options| entities::start(&F1, options)),
};

static F1: Ratio = Ratio {
    name: "f1",
    of: |class| (2 * class.hits, class.gold + class.predicted),
    undefined: |thing, class| match class {
        Some(class) => format!("no {thing} is `{class}` in gold or predictions"),
        None => format!("no {thing} is gold or predicted"),
    },
};
