//! Recall: of what is a class, the share that is predicted as it.

use super::average::{self, Ratio};
use super::{Metric, Start, entities, sets};

pub const METRIC: Metric = Metric {
    name: RECALL.name,
    about: "Share of the rows of a class that are predicted as it: of the positive class or macro; micro, macro, weighted and per class.",
    default: true,
    start: Start::Labels(|options| average::of_labels(&RECALL, options)),
};

pub const OF_SETS: Metric = Metric {
    name: RECALL.name,
    about: "Share of the gold labels that are predicted: micro or of the positive class; micro, macro, weighted, samples and per class.",
    default: true,
    start: Start::Sets(|options| sets::start(&RECALL, options)),
};

pub const OF_ENTITIES: Metric = Metric {
    name: RECALL.name,
    about: "Share of the gold entities that are predicted, type and place alike: micro; micro, macro, weighted and per type.",
    default: true,
    start: Start::Tags(|options| entities::start(&RECALL, options)),
};

static RECALL: Ratio = Ratio {
    name: "recall",
    of: |class| (class.hits, class.gold),
    undefined: |thing, class| match class {
        Some(class) => format!("no {thing} is `{class}` in gold"),
        None => format!("no {thing} is gold"),
    },
};
