//! `mill run`: runs what is not done yet and prints a summary.

use std::sync::Arc;

use anyhow::{Result, bail};
use engine::config::Config;
use engine::{ConfigError, Context};

use crate::args::RunArgs;
use crate::progress::Terminal;
use crate::{allocator, plan, signals, summary};

/// What stays resident whatever a stage does: the program, its tables of Unicode, the threads' stacks.
const BASE_MEMORY: u64 = 100 << 20;

pub fn run(args: &RunArgs) -> Result<()> {
    let (threads, memory) = limits(args)?;
    allocator::keep_freed(memory);
    let spill = std::env::temp_dir().join(format!("mill-{}", std::process::id()));
    // The pool of queries gets half of what is left: resident memory is two to three times the pool.
    let pool = memory.saturating_sub(BASE_MEMORY).max(64 << 20) / 2;
    let settings = query::Settings { threads, memory: Some(pool), temp: Some(spill.clone()) };
    let session = Arc::new(query::Session::new(&settings)?);
    let done = run_plan(args, threads, memory, session);
    let _ = std::fs::remove_dir_all(&spill);
    done
}

fn run_plan(args: &RunArgs, threads: usize, memory: u64, session: Arc<query::Session>) -> Result<()> {
    let (config, planned) = plan::read(&args.select, session.as_ref())?;
    let selection = plan::selection(&args.select);
    let terminal = Arc::new(Terminal::new(!args.quiet));
    let ctx = Context {
        seed: config.seed,
        threads,
        memory,
        device: device(&args.device)?,
        progress: Arc::clone(&terminal) as Arc<dyn engine::Progress>,
        stop: signals::stop_flag()?,
        sql: session.clone(),
    };
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let ran = engine::run::run(&planned, &selection, &ctx, terminal.as_ref(), &command)?;
    if args.quiet { Ok(()) } else { summary::print(&planned, session.as_ref(), ran > 0) }
}

/// Threads and memory: the command line before the config before the machine.
fn limits(args: &RunArgs) -> Result<(usize, u64)> {
    let config = Config::read(&args.select.config)?;
    let cores = std::thread::available_parallelism().map(usize::from).unwrap_or(1);
    let threads = args.threads.map(usize::from).or(config.threads).unwrap_or(cores).max(1);
    let memory = args.memory.or(config.memory).unwrap_or_else(|| engine::usage::physical_memory() / 2);
    if memory < 256 << 20 {
        return Err(ConfigError(format!("--memory {memory} is too little: at least 256MiB are needed")).into());
    }
    // Stages that use rayon get exactly these threads.
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        bail!("starting {threads} threads: {error}");
    }
    Ok((threads, memory))
}

/// The name of a device, as far as it is one.
pub fn device(name: &str) -> Result<String> {
    let index = name.strip_prefix("cuda:").map(|index| index.parse::<usize>().is_ok());
    if matches!(name, "auto" | "cpu" | "cuda") || index == Some(true) {
        return Ok(name.to_string());
    }
    Err(ConfigError(format!("--device {name}: valid are `auto`, `cpu`, `cuda` and `cuda:N`")).into())
}
