//! `mill`: turns the outcome of a command into an exit code. What each command does is in the file of its name.

use std::process::ExitCode;

use clap::Parser;
use engine::{ConfigError, GateFailed, Locked, Stopped};

mod allocator;
mod args;
mod ask;
mod plan;
mod progress;
mod registry;
mod run;
mod signals;
mod sql;
mod stages;
mod summary;
mod trace;

use args::{Args, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Stages(args) => stages::stages(&args),
        Command::Sql(args) => sql::sql(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Generate(args) => ask::generate(args),
        Command::Fill(args) => ask::fill(args),
        Command::Classify(args) => ask::classify(args),
        Command::Answer(args) => ask::answer(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::from(141),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        2
    } else if error.is::<GateFailed>() {
        3
    } else if error.is::<Locked>() {
        6
    } else if error.is::<Stopped>() {
        signals::exit_code()
    } else {
        1
    }
}

/// Whoever read our output went away; that is no failure of ours.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe))
}
