//! What `mill run` prints at the end: the funnel and the scores, by the shipped SQL.

use std::io::Write;

use anyhow::Result;
use engine::workspace::Workspace;
use query::{Catalog, Format, Session};

/// The parts of the summary: a heading and a shipped query.
const PARTS: [(&str, &str); 2] = [("Funnel: what each step kept of each source", "funnel"), ("Scores", "scores")];

pub fn print(workspace: &Workspace, session: &Session) -> Result<()> {
    let catalog = Catalog::open(session, workspace)?;
    let mut out = std::io::stdout().lock();
    for (heading, name) in PARTS {
        let sql = query::shipped(name).expect("a query of the summary is shipped");
        writeln!(out, "{heading}")?;
        query::run_queries(&catalog, sql, Format::Table, &mut out)?;
        writeln!(out)?;
    }
    Ok(())
}
