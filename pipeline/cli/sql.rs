//! `mill sql`: the shell, one query, a file of queries, or a shipped one, over the tables of a config's workspace.

use std::io::{BufWriter, IsTerminal, Read, Write};

use anyhow::{Context as _, Result};
use engine::config::Config;
use engine::workspace::Workspace;
use engine::{ConfigError, list, suggest};
use query::{Catalog, Format, Session, Settings};

use crate::args::SqlArgs;

pub fn sql(args: &SqlArgs) -> Result<()> {
    let config = Config::read(&args.config)?;
    let format = Format::parse(&args.format).map_err(|error| ConfigError(format!("--format: {error:#}")))?;
    let threads = std::thread::available_parallelism().map(usize::from).unwrap_or(1);
    let spill = std::env::temp_dir().join(format!("mill-{}", std::process::id()));
    let settings = Settings { threads, memory: Some(engine::usage::physical_memory() / 4), temp: Some(spill.clone()) };
    let session = Session::new(&settings)?;
    let done = answer(args, &session, &Workspace::new(config.workspace), format);
    let _ = std::fs::remove_dir_all(&spill);
    done
}

fn answer(args: &SqlArgs, session: &Session, workspace: &Workspace, format: Format) -> Result<()> {
    let catalog = Catalog::open(session, workspace)?;
    let stdout = std::io::stdout();
    let Some(text) = queries(args)? else {
        return query::shell(&catalog, format, query::shell::history_file().as_deref(), &mut stdout.lock());
    };
    if format == Format::Parquet && stdout.is_terminal() {
        return Err(ConfigError("--format parquet writes bytes; send them to a file with > FILE".to_string()).into());
    }
    let mut out = BufWriter::new(stdout.lock());
    match text.trim() {
        command if command.starts_with('.') => query::shell::answer(&catalog, command, &mut { format }, &mut out).map(drop)?,
        queries => query::run_queries(&catalog, queries, format, &mut out)?,
    }
    out.flush().context("writing results")
}

/// The queries to run, `None` for the shell.
fn queries(args: &SqlArgs) -> Result<Option<String>> {
    if let Some(query) = &args.command {
        return Ok(Some(query.clone()));
    }
    if let Some(path) = &args.file {
        let text = std::fs::read_to_string(path);
        return Ok(Some(text.map_err(|error| ConfigError(format!("cannot read `{}`: {error}", path.display())))?));
    }
    if let Some(name) = &args.stats {
        let unknown = || {
            ConfigError(format!(
                "--stats {name}: unknown{}; valid: {}",
                suggest(name, query::shipped_names()),
                list(query::shipped_names())
            ))
        };
        return Ok(Some(query::shipped(name).ok_or_else(unknown)?.to_string()));
    }
    if std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading queries from the standard input")?;
    Ok(Some(text))
}
