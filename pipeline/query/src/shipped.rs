//! Queries that ship with the program: `sql/stats/`, shown by `mill sql CONFIG --stats NAME`, and `sql/report/`.

/// Names and texts, in the order of a pipeline.
const SHIPPED: [(&str, &str); 7] = [
    ("funnel", include_str!("../../../sql/stats/funnel.sql")),
    ("rejects", include_str!("../../../sql/stats/rejects.sql")),
    ("lengths", include_str!("../../../sql/stats/lengths.sql")),
    ("clusters", include_str!("../../../sql/stats/clusters.sql")),
    ("shards", include_str!("../../../sql/stats/shards.sql")),
    ("scores", include_str!("../../../sql/report/scores.sql")),
    ("steps", include_str!("../../../sql/report/steps.sql")),
];

/// The text of a shipped query.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, sql)| *sql)
}

/// Names of all shipped queries.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}
