//! What `mill run` prints at the end: the funnel and the scores, by the shipped SQL.

use std::io::Write;

use anyhow::Result;
use engine::Kind;
use engine::plan::Plan;
use query::{Catalog, Format, Session};

/// The parts of the summary: a heading, a shipped query, and the kind of artifact that it speaks of.
const PARTS: [(&str, &str, Kind); 2] =
    [("Funnel: what each step kept of each source", "funnel", Kind::Documents), ("Scores", "scores", Kind::Scores)];

/// The funnel reads the sources of all documents, so it is printed only when something `ran`.
pub fn print(plan: &Plan, session: &Session, ran: bool) -> Result<()> {
    let catalog = Catalog::open(session, &plan.workspace)?;
    let mut out = std::io::stdout().lock();
    for (heading, name, kind) in PARTS {
        if plan.steps.iter().all(|step| step.kind != kind) || (kind == Kind::Documents && !ran) {
            continue;
        }
        let sql = query::shipped(name).expect("a query of the summary is shipped");
        writeln!(out, "{heading}")?;
        query::run_queries(&catalog, sql, Format::Table, &mut out)?;
        writeln!(out)?;
    }
    Ok(())
}
