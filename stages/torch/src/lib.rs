//! Everything with tensors, and the program `mill-model`: networks, losses, the optimizer, checkpoints, the training loop, prediction.
//!
//! Alone knows LibTorch. Which steps there are and when they run is not decided here: a job comes as a file (crate `model`), the answer
//! is files in the draft. Read in this order: `worker` (the process), `train` (the loop), `objective` and `loss` (one batch),
//! `models` (the networks), `checkpoint` (going on after a kill), `predict`.

mod batches;
mod checkpoint;
mod folder;
mod generate;
mod log;
mod logits;
mod loss;
mod models;
mod objective;
mod optimizer;
mod parameters;
mod predict;
mod samples;
mod schedule;
mod shim;
mod tables;
mod tensorboard;
#[cfg(test)]
mod tests;
mod train;
mod weights;
mod words;
mod worker;

pub use worker::main;
