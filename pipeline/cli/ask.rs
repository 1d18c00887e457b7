//! `mill generate`, `fill`, `classify` and `answer`: a model folder is asked, by texts of the command line or by each line of the standard input.
//! Answers go to the standard output in the order of the questions, one a line, as soon as they are known.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::ConfigError;
use engine::config::Config;
use engine::plan::Status;
use model::Decoding;
use model::ask::{Ask, Asked, Question, Said};
use serde_json::Value;

use crate::args::{AnswerArgs, ClassifyArgs, FillArgs, GenerateArgs, ModelArgs};
use crate::{registry, run, trace};

pub fn generate(args: GenerateArgs) -> Result<()> {
    let decoding = Decoding {
        max_new_tokens: args.max_new_tokens,
        beams: args.beams,
        length_penalty: args.length_penalty,
        repetition_penalty: args.repetition_penalty,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        stop: args.stop.iter().map(|text| line_ends(text)).collect(),
        seed: args.seed,
    };
    decoding.check().map_err(|error| ConfigError(error.to_string()))?;
    let (append, stream) = (line_ends(&args.append), !args.model.json && std::io::stdout().is_terminal());
    asked(&args.model, Asked::Generate { decoding, stream }, move |text| Ok(Question { text: text + &append, pair: None }))
}

pub fn fill(args: FillArgs) -> Result<()> {
    asked(&args.model, Asked::Fill { candidates: args.candidates.into() }, |text| Ok(Question { text, pair: None }))
}

pub fn classify(args: ClassifyArgs) -> Result<()> {
    let ClassifyArgs { model, pair } = args;
    asked(&model, Asked::Classify, move |text| Ok(Question { text, pair: pair.clone() }))
}

pub fn answer(args: AnswerArgs) -> Result<()> {
    let AnswerArgs { mut model, question, context, .. } = args;
    let task = Asked::Answer {
        max_answer_tokens: args.max_answer_tokens.into(),
        candidates: args.candidates.into(),
        null_threshold: args.null_threshold,
    };
    if args.null_threshold.is_some_and(f64::is_nan) {
        return Err(ConfigError("--null-threshold must be a number, not nan".into()).into());
    }
    // The step alone comes behind the model.
    let step = usize::from(model.model.is_file());
    if let Some(text) = model.rest.get(step) {
        return Err(ConfigError(format!("`{text}`: give the question with --question and its context with --context")).into());
    }
    if let (Some(question), Some(_)) = (&question, &context) {
        model.rest.insert(step.min(model.rest.len()), question.clone());
    }
    asked(&model, task, move |line| match (&question, &context) {
        (_, Some(context)) => Ok(Question { text: line, pair: Some(context.clone()) }),
        (Some(question), None) => Ok(Question { text: question.clone(), pair: Some(line) }),
        (None, None) => both(&line),
    })
}

/// A question and its context in a line.
fn both(line: &str) -> Result<Question> {
    let object: Value = serde_json::from_str(line).unwrap_or_default();
    match (object["question"].as_str(), object["context"].as_str()) {
        (Some(question), Some(context)) => Ok(Question { text: question.into(), pair: Some(context.into()) }),
        _ => bail!(
            "without --question and --context each line is an object such as {{\"question\": \"…\", \"context\": \"…\"}}, this is `{line}`"
        ),
    }
}

/// Asks the model what `question` makes of each text, and prints what it says.
fn asked(args: &ModelArgs, task: Asked, question: impl Fn(String) -> Result<Question> + Send + 'static) -> Result<()> {
    let (folder, texts) = model_and_texts(args)?;
    let folder = model::ask::of_task(folder, &task).map_err(|error| ConfigError(format!("{error:#}")))?;
    let cores = std::thread::available_parallelism().map(usize::from).unwrap_or(1);
    let threads = args.threads.map_or(cores, usize::from);
    let ask = Ask { folder, task, threads, device: run::device(&args.device)? };
    model::ask::check(&ask).map_err(|error| ConfigError(format!("{error:#}")))?;
    let lines = texts.is_empty();
    let texts: Box<dyn Iterator<Item = Result<String>> + Send> =
        if lines { Box::new(std::iter::from_fn(|| read_line().transpose())) } else { Box::new(texts.into_iter().map(Ok)) };
    let questions = texts.zip(1..).map(move |(text, number)| {
        let asked = text.and_then(&question);
        if lines { asked.with_context(|| format!("line {number} of the standard input")) } else { asked }
    });
    let mut printer = Printer { json: args.json, lines, told: String::new(), answered: 0 };
    model::ask::ask(&ask, questions, |said| printer.print(said))
}

/// The next line of the standard input, without its end.
fn read_line() -> Result<Option<String>> {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).context("reading the standard input")? == 0 {
        return Ok(None);
    }
    let end = line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).len());
    line.truncate(end.unwrap_or(line.len()));
    Ok(Some(line))
}

/// Prints answers, one a line.
struct Printer {
    json: bool,
    /// Whether texts come as lines, so that answers must be lines too.
    lines: bool,
    /// What was printed of the answer that is being written.
    told: String,
    answered: u64,
}

impl Printer {
    fn print(&mut self, said: Said) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match said {
            Said::Part(more) => {
                write!(out, "{}", self.line(&more))?;
                self.told += &more;
            }
            Said::Answer { details, .. } if self.json => {
                self.answered += 1;
                writeln!(out, "{details}")?;
            }
            Said::Answer { text, details } => {
                self.answered += 1;
                if details["truncated"] == true {
                    eprintln!("note: {} has more tokens than the model reads; it answers to the first ones", self.asked());
                }
                let told = std::mem::take(&mut self.told);
                let rest = text.strip_prefix(told.as_str()).map(str::to_string);
                writeln!(out, "{}", self.line(&rest.unwrap_or_else(|| format!("\n{text}"))))?;
            }
            Said::Error(message) if self.lines => {
                self.answered += 1;
                bail!("{}: {message}", self.asked())
            }
            Said::Error(message) => bail!(message),
        }
        Ok(out.flush()?)
    }

    /// What the last answer is to.
    fn asked(&self) -> String {
        if self.lines { format!("line {} of the standard input", self.answered) } else { format!("text {}", self.answered) }
    }

    /// A text as one line, where answers are lines.
    fn line(&self, text: &str) -> String {
        if self.lines { text.replace('\n', "\\n") } else { text.to_string() }
    }
}

/// `\n` for a line end, as shells do not write one easily.
fn line_ends(text: &str) -> String {
    text.replace("\\n", "\n")
}

/// The folder of the model, and the texts behind it.
fn model_and_texts(args: &ModelArgs) -> Result<(PathBuf, Vec<String>)> {
    let mut texts = args.rest.clone();
    if !args.model.is_file() {
        let folder = model::ask::model_folder(&args.model).map_err(|error| ConfigError(error.to_string()))?;
        return Ok((folder, texts));
    }
    let step = (!texts.is_empty()).then(|| texts.remove(0));
    Ok((model_of_step(&args.model, step.as_deref())?, texts))
}

/// The model folder of a step, which must have run.
fn model_of_step(config: &Path, name: Option<&str>) -> Result<PathBuf> {
    let session = query::Session::new(&query::Settings::default())?;
    let plan = engine::plan::plan(&Config::read(config)?, &registry::stages(), &session, false)?;
    let Some(name) = name else {
        let trainings = trace::trainings(&plan);
        return Err(ConfigError(format!("behind the config `{}` comes a step that trains: {trainings}", config.display())).into());
    };
    let step = trace::training(&plan, name)?;
    match &step.status {
        Status::Cached(artifact) => Ok(artifact.dir.join("model")),
        Status::Run { .. } => bail!(
            "step `{name}` has not run with these settings; run `mill run {} --until {name}` first, or name the folder of an earlier run",
            config.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_a_question_and_its_context() {
        let question = both(r#"{"question": "Who?", "context": "Ann.", "id": 3}"#).unwrap();
        assert_eq!(question, Question { text: "Who?".into(), pair: Some("Ann.".into()) });
        for line in ["Who?", "{\"question\": \"Who?\"}", ""] {
            let error = both(line).unwrap_err().to_string();
            assert!(error.ends_with(&format!("this is `{line}`")), "{error}");
        }
    }

    #[test]
    fn answers_to_lines_are_lines() {
        let printer = |lines| Printer { json: false, lines, told: String::new(), answered: 0 };
        assert_eq!(printer(true).line("a\nb"), "a\\nb");
        assert_eq!(printer(false).line("a\nb"), "a\nb");
    }
}
