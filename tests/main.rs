//! The programs from outside: the real `mill` and `mill-model` in temporary folders, and rules about this tree.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "model")]
mod ask;
mod baselines;
mod cli;
#[cfg(feature = "model")]
mod configs;
#[cfg(feature = "model")]
mod evaluate;
mod harness;
#[cfg(feature = "model")]
mod heads;
mod imported;
#[cfg(feature = "model")]
mod kill;
mod layouts;
#[cfg(feature = "model")]
mod models;
mod pipeline;
#[cfg(feature = "model")]
mod ranks;
#[cfg(feature = "model")]
mod reader;
mod tidy;
#[cfg(feature = "model")]
mod weights;
