//! How much of the hardware a step uses: floating-point operations that the model needs, against what a plain product reaches here.

use std::time::{Duration, Instant};

use model::{Family, Head, NetworkConfig};
use tch::{Device, Kind, Tensor};

use crate::embeddings;
use crate::folder::Loaded;
use crate::log::Timing;
use crate::parameters::Parameters;

/// Ends of the names of matrices that are looked up and not multiplied, besides token embeddings.
const TABLES: [&str; 5] = [
    "wpe.weight",
    "position_embeddings.weight",
    "embed_positions.weight",
    "token_type_embeddings.weight",
    "relative_attention_bias.weight",
];
/// Of last matrices, of those that are not the token embedding: they are multiplied where something is predicted alone.
const LAST: [&str; 2] = ["lm_head.weight", "output.weight"];

/// What a step went through, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Without padding.
    pub tokens: u64,
    pub rows: u64,
    pub predicted: u64,
    pub took: Duration,
    /// Of it for the batches to come.
    pub waited: Duration,
    /// Of it for changing the weights.
    pub updating: Duration,
}

/// Operations of a step, and the most that were measured per second.
pub struct Speed {
    peak: f64,
    per_token: f64,
    /// For each token of a row and each token of the batch.
    per_pair: f64,
    per_prediction: f64,
}

impl Speed {
    /// Counts operations as Chowdhery et al. 2022 (PaLM, appendix B): 6 for each weight of a matrix and each token, of which the head's only
    /// where something is predicted, and 12 × layers × width for each pair of tokens. Measures products of 1 024³ (8 192³ on a GPU), which
    /// all ranks make at once. One for each task.
    pub fn measure(tasks: &[Loaded], kind: Kind, ranks: usize) -> Vec<Speed> {
        let device = tasks.first().map_or(Device::Cpu, |model| model.parameters.device());
        let peak = ranks as f64 * peak(device, kind);
        tasks.iter().map(|model| Speed::of(&model.config, &model.parameters, peak)).collect()
    }

    fn of(config: &NetworkConfig, parameters: &Parameters, peak: f64) -> Speed {
        let elsewhere = |name: &str| embeddings::NAMES.iter().chain(&TABLES).chain(&LAST).any(|end| name.ends_with(end));
        let body = parameters.named().into_iter().filter(|(name, tensor)| tensor.dim() > 1 && !elsewhere(name));
        let body = body.map(|(_, tensor)| tensor.numel() as f64).sum::<f64>();
        // Of encoder and decoder, a token goes through one; below other heads, through all that is there.
        let one = config.family == Family::Seq2seq && config.head == Head::Causal;
        let body = if one { body / 2.0 } else { body };
        let has_vocabulary = matches!(config.head, Head::Causal | Head::Masked | Head::Pairs { .. });
        Speed {
            peak,
            per_token: 6.0 * body,
            per_pair: if config.family == Family::Rnn { 0.0 } else { 12.0 * (config.layers * config.width) as f64 },
            per_prediction: if has_vocabulary { 6.0 * (config.vocab_size * config.width) as f64 } else { 0.0 },
        }
    }

    /// How fast a step was.
    pub fn timing(&self, step: u64, work: Work) -> Timing {
        let (tokens, predicted, seconds) = (work.tokens as f64, work.predicted as f64, work.took.as_secs_f64());
        let pairs = tokens * tokens / work.rows.max(1) as f64;
        let operations = tokens * self.per_token + pairs * self.per_pair + predicted * self.per_prediction;
        Timing {
            step,
            seconds,
            tokens_per_second: tokens / seconds,
            data_wait_seconds: work.waited.as_secs_f64(),
            optimizer_seconds: work.updating.as_secs_f64(),
            flops_utilization: operations / seconds / self.peak,
            memory_bytes: memory(),
        }
    }
}

/// Operations per second of a product of large matrices: the best of three.
fn peak(device: Device, kind: Kind) -> f64 {
    let size: i64 = if device.is_cuda() { 8192 } else { 1024 };
    let matrix = Tensor::ones([size, size], (kind, device));
    let product = || {
        let begun = Instant::now();
        // Reading a value waits for a GPU.
        let _ = matrix.mm(&matrix).double_value(&[0, 0]);
        begun.elapsed().as_secs_f64()
    };
    let seconds = (0..4).map(|_| product()).skip(1).fold(f64::INFINITY, f64::min);
    2.0 * (size as f64).powi(3) / seconds
}

/// The most memory in bytes that this process has held.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{alone, config, loaded};

    #[test]
    fn operations_are_those_of_the_matrices_that_are_multiplied() {
        let _alone = alone();
        let classes = || vec!["ham".to_string(), "spam".to_string()];
        // A block of width 16 with an inner layer of 32: query, key, value and output, in and out.
        let block = 4 * 16 * 16 + 2 * 16 * 32;
        let vocabulary = 50 * 16;
        let cases = [
            (Family::Gpt, Head::Causal, 2 * block, vocabulary),
            (Family::Gpt, Head::Number, 2 * block + 16, 0),
            (Family::Bert, Head::Masked, 2 * block + 16 * 16, vocabulary),
            (Family::Bert, Head::Pairs { classes: classes() }, 2 * block + 2 * 16 * 16 + 2 * 16, vocabulary),
            (Family::Bert, Head::Classify { classes: classes() }, 2 * block + 16 * 16 + 2 * 16, 0),
            (Family::Bert, Head::MultiLabel { classes: classes() }, 2 * block + 16 * 16 + 2 * 16, 0),
            (Family::Bert, Head::Tag { classes: classes() }, 2 * block + 2 * 16, 0),
            (Family::Bert, Head::Answer, 2 * block + 2 * 16, 0),
            // Four gates, from the input and from the state.
            (Family::Rnn, Head::Causal, 2 * 4 * 2 * 16 * 16, vocabulary),
        ];
        for (family, head, body, last) in cases {
            // As long as wide, and as a vocabulary beside: only names tell embeddings apart.
            for positions in [16, 32, 50] {
                let config = NetworkConfig { positions, ..config(family, head.clone()) };
                let speed = Speed::of(&config, &loaded(config.clone(), 1).parameters, 1.0);
                let second = Duration::from_secs(1);
                let work = Work { tokens: 10, rows: 2, predicted: 8, took: second, waited: second, updating: second };
                // Each of 10 tokens looks at the 5 of its row, in 2 layers.
                let attention = if family == Family::Rnn { 0 } else { 10 * 5 * 12 * 2 * 16 };
                let expected = 6 * (10 * body + 8 * last) + attention;
                assert_eq!(speed.timing(1, work).flops_utilization, f64::from(expected), "{family:?}, {head:?}, {positions} positions");
            }
        }
    }
}
