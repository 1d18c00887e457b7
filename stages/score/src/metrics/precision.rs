//! Precision: of what is predicted as a class, the share that is of it.

use super::average::{self, Ratio};
use super::{Metric, Start, entities, sets};

pub const METRIC: Metric = Metric {
    name: PRECISION.name,
    about: "Share of the rows predicted as a class that are of it: of the positive class or macro; micro, macro, weighted and per class.",
    default: true,
    start: Start::Labels(|options| average::of_labels(&PRECISION, options)),
};

pub const OF_SETS: Metric = Metric {
    name: PRECISION.name,
    about: "Share of the labels predicted that are gold: micro or of the positive class; micro, macro, weighted, samples and per class.",
    default: true,
    start: Start::Sets(|options| sets::start(&PRECISION, options)),
};

pub const OF_ENTITIES: Metric = Metric {
    name: PRECISION.name,
    about: "Share of the predicted entities that are gold, type and place alike: micro; micro, macro, weighted and per type.",
    default: true,
    start: Start::Tags(|options| entities::start(&PRECISION, options)),
};

static PRECISION: Ratio = Ratio {
    name: "precision",
    of: |class| (class.hits, class.predicted),
    undefined: |thing, class| match class {
        Some(class) => format!("no {thing} is predicted as `{class}`"),
        None => format!("no {thing} is predicted"),
    },
};
