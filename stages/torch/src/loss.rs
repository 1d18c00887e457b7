//! Cross entropy over a large vocabulary in chunks: forward and backward of the head together, so that the logits never stand whole.
//!
//! For one chunk of rows: logits = features Wᵀ + b, p = softmax(logits); the loss is −log p[label] and its gradient by the
//! logits p − onehot(label), or with label smoothing p − target. Both products with that gradient are taken at once and the chunk is forgotten.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::models::Output;
use crate::shim;
use crate::tally::Tally;

/// Values of the logits that stand at once: few enough for the last cache, many enough for the products.
const CHUNK_VALUES: i64 = 2 << 20;

/// Sums over the predicted tokens of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Negative log-likelihood in nats.
    pub nll: f64,
    pub count: u64,
    /// Predictions that are right; only counted outside of training.
    pub correct: u64,
    /// What single objectives count besides.
    pub tally: Tally,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.nll += other.nll;
        self.count += other.count;
        self.correct += other.correct;
        self.tally += other.tally;
    }
}

fn chunks(rows: i64, vocabulary: i64) -> impl Iterator<Item = (i64, i64)> {
    let size = (CHUNK_VALUES / vocabulary).clamp(32, 4096);
    (0..rows).step_by(size as usize).map(move |start| (start, size.min(rows - start)))
}

/// Loss of `features` (rows, width) against `labels` (rows), and its backward pass: gradients of `scale` times the summed loss
/// are added to the head's variables and flow on into whatever made `features`. `kind` is the kind of the large products. With `smoothing`,
/// so much of each label's probability is spread over the vocabulary; the sums are of the loss without it.
pub fn train(features: &Tensor, output: &Output, labels: &Tensor, scale: f64, smoothing: f64, kind: Kind) -> Result<Sums> {
    let (nll, gradient) = tch::no_grad(|| head_backward(features, output, labels, scale, smoothing, kind))?;
    if features.requires_grad() {
        shim::backward(features, &gradient)?;
    }
    Ok(Sums { nll, count: labels.size()[0] as u64, ..Sums::default() })
}

fn head_backward(features: &Tensor, output: &Output, labels: &Tensor, scale: f64, smoothing: f64, kind: Kind) -> Result<(f64, Tensor)> {
    let x = features.detach().to_kind(kind); // (rows, width)
    let weight = output.weight.detach().to_kind(kind); // (vocabulary, width)
    let bias = output.bias.map(|bias| bias.detach().to_kind(kind));
    // Frozen variables have none.
    let mut weight_gradient = Some(output.weight).filter(|weight| weight.requires_grad()).map(shim::gradient).transpose()?;
    let mut bias_gradient = output.bias.filter(|bias| bias.requires_grad()).map(shim::gradient).transpose()?;
    let off = smoothing / weight.size()[0] as f64;
    let gradient = Tensor::zeros_like(&features.detach());
    let mut nll = Tensor::from(0f64).to_device(x.device());
    for (start, length) in chunks(x.size()[0], weight.size()[0]) {
        let rows = x.narrow(0, start, length);
        let targets = labels.narrow(0, start, length).unsqueeze(1); // (chunk, 1)
        let mut log_p = rows.linear(&weight, bias.as_ref()).log_softmax(-1, Kind::Float); // (chunk, vocabulary)
        nll -= log_p.gather(1, &targets, false).sum(Kind::Double);
        let mut error = log_p.exp_();
        let _ = error.scatter_add_(1, &targets, &Tensor::full([length, 1], smoothing - 1.0, (Kind::Float, x.device())));
        if smoothing > 0.0 {
            let _ = error.g_sub_scalar_(off);
        }
        if let Some(bias_gradient) = &mut bias_gradient {
            let _ = bias_gradient.g_add_(&(error.sum_dim_intlist(0, false, Kind::Float) * scale));
        }
        let error = error.to_kind(kind);
        gradient.narrow(0, start, length).copy_(&(error.mm(&weight) * scale));
        let Some(weight_gradient) = &mut weight_gradient else { continue };
        let scaled = rows * scale;
        if kind == Kind::Float {
            let _ = weight_gradient.addmm_(&error.tr(), &scaled);
        } else {
            let _ = weight_gradient.g_add_(&error.tr().mm(&scaled));
        }
    }
    Ok((nll.double_value(&[]), gradient))
}

/// Per-row negative log-likelihood (rows, f32) and whether the most likely token is the label (rows, bool); no gradients.
pub fn evaluate(features: &Tensor, output: &Output, labels: &Tensor, kind: Kind) -> (Tensor, Tensor) {
    tch::no_grad(|| {
        let (x, weight) = (features.to_kind(kind), output.weight.to_kind(kind));
        let bias = output.bias.map(|bias| bias.to_kind(kind));
        let (mut nll, mut correct) = (Vec::new(), Vec::new());
        for (start, length) in chunks(x.size()[0], weight.size()[0]) {
            let targets = labels.narrow(0, start, length);
            let log_p = x.narrow(0, start, length).linear(&weight, bias.as_ref()).log_softmax(-1, Kind::Float);
            correct.push(log_p.argmax(-1, false).eq_tensor(&targets));
            nll.push(-log_p.gather(1, &targets.unsqueeze(1), false).squeeze_dim(1));
        }
        (Tensor::cat(&nll, 0), Tensor::cat(&correct, 0))
    })
}
