//! Expressions of configs and profiles: their canonical form, which enters keys, and what they may contain.
//!
//! An expression is evaluated per row and must give the same value on every run, so aggregates, subqueries and functions such as `now()` or
//! `random()` are refused here, while planning.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Result, bail};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value, VisitMut, VisitorMut,
    visit_expressions,
};
use engine::{list, suggest};

use crate::errors::explain;
use crate::functions::file_arguments;

/// The canonical form: one spacing, no comments, unquoted names in lower case. Fails with a message for the user if the expression cannot
/// be parsed, calls an unknown function, or may differ from run to run. Columns are not checked: they are known when a table is.
pub fn canonical(state: &SessionState, expression: &str) -> Result<String> {
    let mut expr = parse(expression)?;
    match VisitMut::visit(&mut expr, &mut Canonical { state }) {
        ControlFlow::Break(message) => bail!("{message}"),
        ControlFlow::Continue(()) => Ok(expr.to_string()),
    }
}

fn parse(expression: &str) -> Result<Expr> {
    let parsed = DFParserBuilder::new(expression).build().and_then(|mut parser| parser.parse_into_expr());
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => bail!("`{}` is no SQL expression: {:#}", expression.trim(), explain(error)),
    };
    match parsed.alias {
        Some(alias) => bail!("`{}` gives itself the name `{alias}`; write the expression alone", expression.trim()),
        None => Ok(parsed.expr),
    }
}

/// Puts content hashes in the place of names of files (`files`: name → hash): the arguments behind the text of functions that read some.
pub fn bind_files(expression: &str, files: &BTreeMap<String, String>) -> Result<String> {
    let mut expr = parse(expression)?;
    match VisitMut::visit(&mut expr, &mut BindFiles { files }) {
        ControlFlow::Break(message) => bail!("{message}"),
        ControlFlow::Continue(()) => Ok(expr.to_string()),
    }
}

struct BindFiles<'a> {
    files: &'a BTreeMap<String, String>,
}

impl VisitorMut for BindFiles<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string();
        let FunctionArguments::List(arguments) = &mut function.args else { return ControlFlow::Continue(()) };
        for place in 1..=file_arguments(&name) {
            let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = arguments.args.get_mut(place) else {
                let what = ["second", "third"][place - 1];
                return ControlFlow::Break(format!(
                    "`{name}`: its {what} argument is the name of a file, as a constant: `{name}(text, 'lid')`"
                ));
            };
            let Value::SingleQuotedString(file) = &mut value.value else {
                return ControlFlow::Break(format!("`{name}`: the name of a file is a text: '{value}'"));
            };
            match self.files.get(file) {
                Some(hash) => *file = hash.clone(),
                None => return ControlFlow::Break(self.missing(&name, file)),
            }
        }
        ControlFlow::Continue(())
    }
}

impl BindFiles<'_> {
    fn missing(&self, function: &str, file: &str) -> String {
        if self.files.is_empty() {
            return format!("`{function}` needs the file `{file}`: give it to the step, files = {{ {file} = \"models/…\" }}");
        }
        let names = || self.files.keys().map(String::as_str);
        format!("`{function}`: no file `{file}`{}; `files` names {}", suggest(file, names()), list(names()))
    }
}

/// The calls in an expression that read a file, for an empty text. What is no constant behind the text is left for the rows to tell.
pub fn file_calls(expression: &str) -> Result<Vec<String>> {
    let mut calls = Vec::new();
    let _: ControlFlow<()> = visit_expressions(&parse(expression)?, |expr| {
        if let Expr::Function(function) = expr
            && file_arguments(&function.name.to_string()) > 0
            && let FunctionArguments::List(arguments) = &function.args
        {
            let constant = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => Some(value.to_string()),
                _ => None,
            };
            let constants: Option<Vec<String>> = arguments.args.iter().skip(1).map(constant).collect();
            calls.extend(constants.map(|constants| format!("{}('', {})", function.name, constants.join(", "))));
        }
        ControlFlow::Continue(())
    });
    Ok(calls)
}

struct Canonical<'a> {
    state: &'a SessionState,
}

impl VisitorMut for Canonical<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Identifier(name) => lower(name),
            Expr::CompoundIdentifier(names) => names.iter_mut().for_each(lower),
            Expr::Function(function) => {
                lower_name(&mut function.name);
                if let Err(message) = self.check_function(&function.name) {
                    return ControlFlow::Break(message);
                }
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                return ControlFlow::Break(format!("`{expr}`: an expression sees one row; a subquery is not possible"));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Canonical<'_> {
    fn check_function(&self, name: &ObjectName) -> Result<(), String> {
        let name = name.to_string().trim_matches('"').to_string();
        if let Some(function) = self.state.scalar_functions().get(&name) {
            return match function.signature().volatility {
                Volatility::Immutable => Ok(()),
                _ => Err(format!("`{name}` may give other values on the next run; an artifact must depend on its inputs alone")),
            };
        }
        if self.state.aggregate_functions().contains_key(&name) || self.state.window_functions().contains_key(&name) {
            return Err(format!("`{name}` needs many rows; an expression sees one"));
        }
        if self.state.higher_order_functions().contains_key(&name) {
            return Ok(());
        }
        let known = || self.state.scalar_functions().keys().map(String::as_str);
        Err(format!("unknown function `{name}`{}; `.functions` in `mill sql` lists all", suggest(&name, known())))
    }
}

fn lower(name: &mut Ident) {
    if name.quote_style.is_none() {
        name.value = name.value.to_lowercase();
    }
}

fn lower_name(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(name) = part {
            lower(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Session, Settings};
    use engine::Sql;

    fn check(expression: &str, expected: &str) {
        let session = Session::new(&Settings::default()).unwrap();
        let shown = session.canonical(expression).unwrap_or_else(|error| format!("{error:#}"));
        assert_eq!(shown, expected, "{expression}");
    }

    #[test]
    fn comments_and_spaces_vanish() {
        check("word_count( text )/2 -- half", "word_count(text) / 2");
        check("Word_Count(TEXT) /* all\nof it */\n", "word_count(text)");
        check("\"Title\" like 'A  b%' AND not x", "\"Title\" LIKE 'A  b%' AND NOT x");
        check("case when a>1 then gopher_quality(text)['word_count'] end", "CASE WHEN a > 1 THEN gopher_quality(text)['word_count'] END");
    }

    #[test]
    fn names_of_files_become_hashes() {
        let files = |names: &[&str]| names.iter().map(|name| (name.to_string(), format!("hash-of-{name}"))).collect();
        let check = |expression: &str, names: &[&str], expected: &str| {
            let shown = super::bind_files(expression, &files(names)).unwrap_or_else(|error| error.to_string());
            assert_eq!(shown, expected);
        };
        check(
            "fasttext_probability(text, 'lid', 'lid') > 0.5 AND arpa_perplexity(text, 'lm') < 9",
            &["lid", "lm"],
            "fasttext_probability(text, 'hash-of-lid', 'lid') > 0.5 AND arpa_perplexity(text, 'hash-of-lm') < 9",
        );
        check("log_importance(text, 'lid', 'lm')", &["lid", "lm"], "log_importance(text, 'hash-of-lid', 'hash-of-lm')");
        check("log_importance(text, 'lm', 'lid')", &["lm"], "`log_importance`: no file `lid`; `files` names `lm`");
        check("word_count(text)", &[], "word_count(text)");
        check("token_count(text, 'tok')", &[], "`token_count` needs the file `tok`: give it to the step, files = { tok = \"models/…\" }");
        check("token_count(text, 'tok')", &["toc", "lm"], "`token_count`: no file `tok`, did you mean `toc`?; `files` names `lm`, `toc`");
        check(
            "token_count(text, path)",
            &["tok"],
            "`token_count`: its second argument is the name of a file, as a constant: `token_count(text, 'lid')`",
        );
    }

    #[test]
    fn calls_that_read_a_file_stand_alone() {
        let check = |expression: &str, expected: &[&str]| assert_eq!(super::file_calls(expression).unwrap(), expected);
        check(
            "fasttext_probability(lower(text), 'a', 'it''s') > 0.5 and arpa_perplexity(text, 'b') < 9",
            &["fasttext_probability('', 'a', 'it''s')", "arpa_perplexity('', 'b')"],
        );
        check("token_count(fasttext_label(text, 'a'), 'b')", &["token_count('', 'b')", "fasttext_label('', 'a')"]);
        check("fasttext_probability(text, 'a', label) + word_count(text)", &[]);
    }

    #[test]
    fn says_what_is_wrong() {
        check("word_cuont(text)", "unknown function `word_cuont`, did you mean `word_count`?; `.functions` in `mill sql` lists all");
        check("random() < 0.5", "`random` may give other values on the next run; an artifact must depend on its inputs alone");
        check("sum(x)", "`sum` needs many rows; an expression sees one");
        check("(select 1)", "`(SELECT 1)`: an expression sees one row; a subquery is not possible");
        check("text as t", "`text as t` gives itself the name `t`; write the expression alone");
        let session = Session::new(&Settings::default()).unwrap();
        assert!(session.canonical("a +").unwrap_err().to_string().starts_with("`a +` is no SQL expression: "));
        assert!(session.canonical("a, b").is_err());
    }
}
