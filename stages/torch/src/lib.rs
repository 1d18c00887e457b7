//! Everything with tensors, and the program `mill-model`: networks, losses, the optimizer, checkpoints, the training loop, prediction.
//!
//! Alone knows LibTorch. Which steps there are and when they run is not decided here: a job comes as a file (crate `model`), the answer
//! is files in the draft. Read in this order: `worker` (the process), `train` (the loop), `objective` and `loss` (one batch),
//! `optimizer`, `models` (the networks), `checkpoint` (going on after a kill), `predict`, `evaluate`, `ask`.

mod adversarial;
mod ask;
mod batches;
mod carry;
mod checkpoint;
mod decode;
mod device;
mod draw;
mod ema;
mod embeddings;
mod evaluate;
mod failure;
mod folder;
mod generate;
mod heads;
mod hidden;
mod kept;
mod libtorch;
mod log;
mod logits;
mod loss;
mod models;
mod noise;
mod objective;
mod optimizer;
mod parameters;
mod predict;
mod prompts;
mod ranks;
mod run;
mod samples;
mod schedule;
mod shim;
mod speed;
mod spikes;
mod start;
mod tables;
mod tally;
mod tape;
mod tasks;
mod tensorboard;
#[cfg(test)]
mod tests;
mod train;
mod weights;
mod words;
mod worker;

pub use worker::main;
