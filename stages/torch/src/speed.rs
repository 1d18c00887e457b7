//! How much of the hardware a step uses: floating-point operations that the model needs, against what a plain product reaches here.

use std::time::{Duration, Instant};

use model::{Family, Head, NetworkConfig};
use tch::{Device, Kind, Tensor};

use crate::log::Timing;
use crate::parameters::Parameters;

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
    /// all ranks make at once.
    pub fn measure(config: &NetworkConfig, parameters: &Parameters, kind: Kind, ranks: usize) -> Speed {
        let body = parameters.tensors().into_iter().filter(|tensor| tensor.dim() > 1);
        // Embeddings are looked up, not multiplied.
        let body = body.filter(|tensor| ![config.vocab_size, config.positions].contains(&tensor.size()[0]));
        let body = body.map(|tensor| tensor.numel() as f64).sum::<f64>();
        // Of encoder and decoder, a token goes through one.
        let body = if config.family == Family::Seq2seq { body / 2.0 } else { body };
        let has_vocabulary = !matches!(config.head, Head::Classify { .. });
        Speed {
            peak: ranks as f64 * peak(parameters.device(), kind),
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
