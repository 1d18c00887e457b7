//! The shell of `mill sql`: queries over several lines until `;`, a few commands that begin with a dot, history and completion.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{list, suggest};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter};

use crate::catalog::Catalog;
use crate::output::{Format, run_queries};

const HELP: &str = "\
A query ends with `;` and may take several lines. Tab completes tables, columns and functions.
  .tables            all tables
  .schema TABLE      columns and types of a table
  .functions         all functions; `show functions;` explains them
  .format NAME       how results are shown: table, json, ndjson or csv
  .help              this
  .quit              leave (or Ctrl-D)";

const COMMANDS: [&str; 6] = [".tables", ".schema", ".functions", ".format", ".help", ".quit"];

/// Reads queries from the terminal until the user leaves. An error is shown and the shell goes on.
/// `history` is a file in the user's state folder; `None` keeps no history.
pub fn shell(catalog: &Catalog, format: Format, history: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor: Editor<Prompt, DefaultHistory> = Editor::with_config(config).context("opening the terminal")?;
    editor.set_helper(Some(Prompt { words: words(catalog) }));
    if let Some(history) = history {
        // No history yet is no error.
        let _ = editor.load_history(history);
    }
    let mut format = format;
    writeln!(out, "{} tables; `.help` explains, `.quit` leaves", catalog.tables().len())?;
    loop {
        let line = match editor.readline("mill> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("reading the terminal"),
        };
        match answer(catalog, line.trim(), &mut format, out) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => writeln!(out, "error: {error:#}")?,
        }
    }
    if let Some(history) = history {
        save_history(&mut editor, history)?;
    }
    Ok(())
}

/// Where the history lies: `corpusmill/sql_history` in the user's state folder, as the XDG base directory specification has it.
pub fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("corpusmill/sql_history"))
}

/// Handles one input, queries or a command such as `.tables`; false when the user leaves.
pub fn answer(catalog: &Catalog, line: &str, format: &mut Format, out: &mut dyn Write) -> Result<bool> {
    if !line.starts_with('.') {
        if !line.is_empty() {
            run_queries(catalog, line, *format, out)?;
        }
        return Ok(true);
    }
    let (command, argument) = line.split_once(char::is_whitespace).map(|(c, a)| (c, a.trim())).unwrap_or((line, ""));
    match command {
        ".tables" => catalog.tables().iter().try_for_each(|(name, columns)| writeln!(out, "{name:<28} {} columns", columns.len()))?,
        ".schema" => {
            let table = argument.trim_end_matches(';');
            let names = || catalog.tables().iter().map(|(name, _)| name.as_str());
            if !names().any(|name| name == table) {
                bail!("unknown table `{table}`{}; `.tables` lists all", suggest(table, names()));
            }
            run_queries(catalog, &format!("describe {}", quoted(table)), Format::Table, out)?;
        }
        ".functions" => writeln!(out, "{}", catalog.functions().join(" "))?,
        ".format" => match Format::parse(argument)? {
            Format::Parquet => bail!("parquet is for files: `mill sql CONFIG -c QUERY --format parquet > FILE`"),
            chosen => *format = chosen,
        },
        ".help" => writeln!(out, "{HELP}")?,
        ".quit" | ".exit" => return Ok(false),
        other => bail!("unknown command `{other}`{}; commands: {}", suggest(other, COMMANDS), list(COMMANDS)),
    }
    Ok(true)
}

fn quoted(table: &str) -> String {
    table.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")
}

fn save_history(editor: &mut Editor<Prompt, DefaultHistory>, history: &Path) -> Result<()> {
    if let Some(folder) = history.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating `{}` for the history", folder.display()))?;
    }
    editor.save_history(history).with_context(|| format!("writing the history to `{}`", history.display()))
}

/// All that can be completed, sorted: tables, columns, functions, commands.
fn words(catalog: &Catalog) -> Vec<String> {
    let tables = catalog.tables().iter().flat_map(|(name, columns)| std::iter::once(name).chain(columns)).cloned();
    let functions = catalog.functions().into_iter().map(|name| format!("{name}("));
    let commands = COMMANDS.iter().map(|command| command.to_string());
    let keywords =
        ["select", "from", "where", "group by", "order by", "limit", "join", "count(*)", "describe", "explain"].map(str::to_string);
    let mut words: Vec<String> = tables.chain(functions).chain(commands).chain(keywords).collect();
    words.sort();
    words.dedup();
    words
}

#[derive(Helper, Highlighter, Hinter)]
struct Prompt {
    words: Vec<String>,
}

impl Completer for Prompt {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(complete(&self.words, &line[..position]))
    }
}

/// Where the word before the cursor begins, and what it may become.
fn complete(words: &[String], before: &str) -> (usize, Vec<Pair>) {
    let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).map(|at| at + 1).unwrap_or(0);
    let start = before.ceil_char_boundary(start);
    let begun = before[start..].to_lowercase();
    let fitting = words.iter().filter(|word| !begun.is_empty() && word.starts_with(&begun));
    (start, fitting.map(|word| Pair { display: word.clone(), replacement: word.clone() }).collect())
}

impl Validator for Prompt {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let input = context.input().trim();
        let complete = input.is_empty() || input.starts_with('.') || input.ends_with(';');
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Session, Settings};
    use engine::workspace::Workspace;
    use expect_test::{Expect, expect};

    fn check(line: &str, expected: Expect) {
        let session = Session::new(&Settings::default()).unwrap();
        let catalog = Catalog::open(&session, &Workspace::new("does-not-exist".into())).unwrap();
        let mut out = Vec::new();
        let shown = match answer(&catalog, line, &mut Format::NdJson, &mut out) {
            Ok(_) => String::from_utf8(out).unwrap(),
            Err(error) => format!("error: {error:#}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn commands_and_queries() {
        check(
            "select 1 as a, 'x' as b; select 2 as c;",
            expect![[r#"
            {"a":1,"b":"x"}
            {"c":2}
        "#]],
        );
        check(
            ".tables",
            expect![[r#"
            files                        8 columns
            runs                         10 columns
            steps                        18 columns
            steps.clusters               7 columns
            steps.counts                 4 columns
            steps.documents              9 columns
            steps.examples               4 columns
            steps.rejects                14 columns
            steps.scores                 9 columns
            steps.spans                  7 columns
        "#]],
        );
        check(
            ".schema stps",
            expect![[r#"
            error: unknown table `stps`, did you mean `steps`?; `.tables` lists all
        "#]],
        );
        check(
            ".shcema",
            expect![[r#"
            error: unknown command `.shcema`, did you mean `.schema`?; commands: `.tables`, `.schema`, `.functions`, `.format`, `.help`, `.quit`
        "#]],
        );
        check(
            "drop table steps;",
            expect![[r#"
            error: `drop` would change something, and artifacts never change: only queries, explain, show and describe are possible
        "#]],
        );
    }

    #[test]
    fn completes_the_word_before_the_cursor() {
        let words: Vec<String> = ["clean", "clean.edits", "cluster_id", "word_count("].map(str::to_string).to_vec();
        let found = |before: &str| {
            let (start, pairs) = complete(&words, before);
            (start, pairs.into_iter().map(|pair| pair.replacement).collect::<Vec<_>>())
        };
        assert_eq!(found("select * from cle"), (14, vec!["clean".to_string(), "clean.edits".to_string()]));
        assert_eq!(found("select WORD_"), (7, vec!["word_count(".to_string()]));
        assert_eq!(found("select "), (7, vec![]));
        assert_eq!(found("选，cl").1.len(), 3);
    }
}
