//! The command line, as clap sees it. Parsing does nothing.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a step or query failed, 2 the config or arguments are wrong, 3 a score does not pass its gate, 6 another process uses the workspace, \
130 interrupted, 143 terminated, 141 the reader of the output went away.";

/// From a raw corpus to an evaluated language model with one command.
#[derive(Parser)]
#[command(name = "mill", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the steps of a config that are not done yet.
    Run(RunArgs),
    /// Show what `run` would do, and why, without doing it.
    Plan(PlanArgs),
    /// List the stages with their settings, defaults and meaning.
    Stages(StagesArgs),
    /// Query the results of a config with SQL, in a shell or one query at a time.
    Sql(SqlArgs),
    /// Show the documents behind a step of a training.
    Trace(TraceArgs),
    /// Go on with texts, or translate them, with a model.
    Generate(GenerateArgs),
    /// Find tokens for the masks `[MASK]` of texts.
    Fill(FillArgs),
    /// Tell the class of texts, their classes or a number.
    Classify(ClassifyArgs),
    /// Find answers to questions in contexts.
    Answer(AnswerArgs),
}

#[derive(ClapArgs)]
pub struct SelectArgs {
    /// The config file.
    pub config: PathBuf,
    /// Only this step and those that depend on it.
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Only this step and those it depends on.
    #[arg(long, value_name = "STEP")]
    pub until: Option<String>,
    /// Only these steps.
    #[arg(long, value_name = "STEP", num_args = 1..)]
    pub only: Vec<String>,
    /// Run this step even if its result stands, and check that it comes out the same.
    #[arg(long, value_name = "STEP")]
    pub force: Vec<String>,
    /// Override a setting: `step.key=value`, the value as in TOML.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub set: Vec<String>,
    /// Hash every input file again instead of trusting size and time; `run` also hashes the artifacts it reads.
    #[arg(long)]
    pub verify: bool,
}

#[derive(ClapArgs)]
pub struct RunArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Threads for everything. What data stages make does not depend on it; the losses of a training do, so it goes on with the number it was
    /// begun with. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Resident memory that data stages may use, for example 512MB; models do not keep to it yet. Default: half of the machine's.
    #[arg(long, value_name = "SIZE", value_parser = engine::config::parse_size)]
    pub memory: Option<u64>,
    /// Where models run: auto, cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Print no notes on how steps go and no summary at the end.
    #[arg(long)]
    pub quiet: bool,
}

#[derive(ClapArgs)]
pub struct PlanArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(ClapArgs)]
pub struct StagesArgs {
    /// Only this stage, with all its settings.
    pub stage: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(ClapArgs)]
pub struct SqlArgs {
    /// The config file.
    pub config: PathBuf,
    /// Run this query and exit.
    #[arg(short, value_name = "QUERY", conflicts_with_all = ["file", "stats"])]
    pub command: Option<String>,
    /// Run the queries of a file and exit.
    #[arg(short, value_name = "FILE", conflicts_with = "stats")]
    pub file: Option<PathBuf>,
    /// Run a shipped query (see sql/stats): funnel, rejects, lengths, clusters, shards, scores, steps.
    #[arg(long, value_name = "NAME")]
    pub stats: Option<String>,
    /// How results are printed: table, json, ndjson, csv or parquet.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(ClapArgs)]
pub struct TraceArgs {
    /// The config file.
    pub config: PathBuf,
    /// The step of the stage `train`.
    pub step: String,
    /// Which of its optimizer steps, from 1 on, as the table `metrics` counts them.
    pub number: u64,
    /// Characters that are shown from the beginning of each document; 0 reads no documents.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub text: usize,
    /// Override a setting: `step.key=value`, the value as in TOML.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub set: Vec<String>,
    /// How the rows are printed: table, json, ndjson, csv or parquet.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(ClapArgs)]
pub struct ModelArgs {
    /// A model folder in the layout of transformers, or a config file whose step of the stage `train` comes next.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The step, if MODEL is a config file, then texts. Without texts, each line of the standard input is one.
    #[arg(value_name = "STEP|TEXT")]
    pub rest: Vec<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub json: bool,
    /// Threads; answers do not depend on it. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Where the model runs: auto, cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
}

#[derive(ClapArgs)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Longest text in tokens.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_new_tokens: u64,
    /// Beginnings that are kept while the likeliest text is searched.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub beams: u64,
    /// With several beams: log-likelihoods are divided by length^this.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub length_penalty: f64,
    /// Makes tokens less likely that were seen before; 1 changes nothing.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Draw tokens in place of taking the likeliest; below 1 likely ones are drawn more often.
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Draw from so many of the likeliest.
    #[arg(long, value_name = "K")]
    pub top_k: Option<u64>,
    /// Draw from the fewest of the likeliest that have this probability together.
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,
    /// End before this text; may be given several times. `\n` is a line end.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Put this behind each text, such as the separator that a model of the layout `complete` learned. `\n` is a line end.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub append: String,
    /// What tokens are drawn by.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(ClapArgs)]
pub struct FillArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tokens that --json lists for each mask.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub candidates: u16,
}

#[derive(ClapArgs)]
pub struct ClassifyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A second text, for models that read two; it goes with each text.
    #[arg(long, value_name = "TEXT")]
    pub pair: Option<String>,
}

const LINES_OF_QUESTIONS: &str = "Without --question or --context, each line of the standard input is one; without both, a line is a JSON object \
with the keys question and context.";

#[derive(ClapArgs)]
#[command(after_help = LINES_OF_QUESTIONS)]
pub struct AnswerArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The question.
    #[arg(long, value_name = "TEXT")]
    pub question: Option<String>,
    /// The text that holds the answer.
    #[arg(long, value_name = "TEXT")]
    pub context: Option<String>,
    /// Longest answer in tokens.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_answer_tokens: u16,
    /// Answers that --json lists.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub candidates: u16,
    /// Say nothing where having no answer scores higher than the best one by more than this. Default: every question is answered.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub null_threshold: Option<f64>,
}
