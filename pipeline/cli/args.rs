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
    /// Threads for everything; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Resident memory that data stages may use, for example 512MB; models do not keep to it yet. Default: half of the machine's.
    #[arg(long, value_name = "SIZE", value_parser = engine::config::parse_size)]
    pub memory: Option<u64>,
    /// Where models run: auto, cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Print no summary at the end.
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
