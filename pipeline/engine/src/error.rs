//! The few errors that the command line tells apart by exit code. Everything else is an `anyhow::Error` with context.

/// The config or the arguments are wrong (exit code 2). The message names line, step and key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The run was asked to stop (exit code 130 or 143); finished parts are kept.
#[derive(Debug, thiserror::Error)]
#[error("stopped; finished parts are kept, run the same command again to go on")]
pub struct Stopped;

/// Scores of a step do not keep its gates (exit code 3). The step is done and its artifact stands.
#[derive(Debug, thiserror::Error)]
#[error("gate not passed: {}", .0.join("; "))]
pub struct GateFailed(pub Vec<String>);

/// Another live process works in this workspace (exit code 6).
#[derive(Debug, thiserror::Error)]
#[error("workspace `{workspace}` is in use by {holder}; wait for it to end or stop it, the lock ends with its process")]
pub struct Locked {
    pub workspace: String,
    pub holder: String,
}
