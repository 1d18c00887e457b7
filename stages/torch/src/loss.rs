//! Cross entropy over a large vocabulary in chunks: forward and backward of the head together, so that the logits never stand whole.
//!
//! For one chunk of rows: logits = features Wᵀ + b, p = softmax(logits); the loss is −log p[label] and its gradient by the
//! logits p − onehot(label), or with label smoothing p − target. Both products with that gradient are taken at once and the chunk is forgotten.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::models::Output;
use crate::shim;
use crate::tally::Tally;

/// Learned rows are filled up to a multiple of this.
const FULL: i64 = 128;

/// Values of the logits that stand at once, many enough for the products: each chunk also adds to all of the weight's gradient.
const CHUNK_VALUES: i64 = 16 << 20;

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

/// What features are to say, and how the loss counts.
pub struct Goal<'a> {
    /// (rows)
    pub labels: &'a Tensor,
    /// Of each row, relative to their mean over the step (rows), f32.
    pub weights: Option<&'a Tensor>,
    /// What the summed loss is multiplied with.
    pub scale: f64,
    /// So much of each label's probability is spread over the vocabulary.
    pub smoothing: f64,
}

/// Σ weight × loss and Σ weight.
pub fn weighted(nll: &Tensor, weights: &Tensor) -> [f64; 2] {
    [nll * weights, weights.shallow_clone()].map(|values| values.sum(Kind::Double).double_value(&[]))
}

fn chunks(rows: i64, vocabulary: i64) -> impl Iterator<Item = (i64, i64)> {
    let size = (CHUNK_VALUES / vocabulary / FULL * FULL).clamp(FULL, 4096);
    (0..rows).step_by(size as usize).map(move |start| (start, size.min(rows - start)))
}

/// So many rows go behind so many that are learned from. The number of predicted tokens changes from batch to batch: memory of ever other sizes
/// would leave gaps that nothing fits in, and oneDNN makes a kernel for each size of a product. A few rows are left alone.
fn fill(rows: i64) -> i64 {
    if rows < FULL { 0 } else { (FULL - rows % FULL) % FULL }
}

/// Places of predicted tokens with those that fill them up, of any token.
pub fn filled(places: &Tensor) -> Tensor {
    places.constant_pad_nd([0, fill(places.size()[0])])
}

/// Loss of `features` (rows, width) against the labels of `goal`, of as many rows or of fewer if they are [`filled`], and its backward pass: gradients of `scale` times the summed, weighted loss
/// are added to the head's variables and flow on into whatever made `features`. `kind` is the kind of the large products. The sums are of the
/// loss without weights and smoothing.
pub fn train(features: &Tensor, output: &Output, goal: &Goal, kind: Kind) -> Result<Sums> {
    let ([nll, weighted], gradient) = tch::no_grad(|| head_backward(features, output, goal, kind))?;
    if features.requires_grad() {
        shim::backward(features, &gradient)?;
    }
    let weighted = goal.weights.map(|weights| [weighted, weights.sum(Kind::Double).double_value(&[])]);
    Ok(Sums { nll, count: goal.labels.size()[0] as u64, tally: Tally { weighted, ..Tally::default() }, ..Sums::default() })
}

/// The summed loss, plain and weighted, and the gradient of the features.
fn head_backward(features: &Tensor, output: &Output, goal: &Goal, kind: Kind) -> Result<([f64; 2], Tensor)> {
    let Goal { labels, weights, scale, smoothing } = *goal;
    let rows = labels.size()[0];
    let x = features.detach().to_kind(kind);
    let x = x.constant_pad_nd([0, 0, 0, rows + fill(rows) - x.size()[0]]); // (rows and more, width)
    let weight = output.weight.detach().to_kind(kind); // (vocabulary, width)
    let bias = output.bias.map(|bias| bias.detach().to_kind(kind));
    // Frozen variables have none.
    let mut weight_gradient = Some(output.weight).filter(|weight| weight.requires_grad()).map(shim::gradient).transpose()?;
    let mut bias_gradient = output.bias.filter(|bias| bias.requires_grad()).map(shim::gradient).transpose()?;
    let gradient = Tensor::zeros_like(&features.detach());
    let zero = || Tensor::from(0f64).to_device(x.device());
    let (mut nll, mut weighted) = (zero(), zero());
    for (start, length) in chunks(rows, weight.size()[0]) {
        let more = fill(length);
        let rows = x.narrow(0, start, length + more); // (chunk and more, width)
        let logits = rows.linear(&weight, bias.as_ref()); // (chunk and more, vocabulary)
        let (losses, error) = errors(logits, &labels.narrow(0, start, length).constant_pad_nd([0, more]), smoothing)?;
        let _ = error.narrow(0, length, more).zero_();
        let losses = losses.narrow(0, 0, length);
        nll += losses.sum(Kind::Double);
        if let Some(weights) = weights {
            let weights = weights.narrow(0, start, length); // (chunk)
            weighted += (losses * &weights).sum(Kind::Double);
            let _ = error.narrow(0, 0, length).g_mul_(&weights.unsqueeze(1));
        }
        if let Some(bias_gradient) = &mut bias_gradient {
            let _ = bias_gradient.g_add_(&(error.sum_dim_intlist(0, false, Kind::Float) * scale));
        }
        gradient.narrow(0, start, length).copy_(&(error.mm(&weight).narrow(0, 0, length) * scale));
        let Some(weight_gradient) = &mut weight_gradient else { continue };
        let scaled = rows * scale;
        if kind == Kind::Float {
            let _ = weight_gradient.addmm_(&error.tr(), &scaled);
        } else {
            let _ = weight_gradient.g_add_(&error.tr().mm(&scaled));
        }
    }
    Ok(([nll, weighted].map(|sum| sum.double_value(&[])), gradient))
}

/// Losses (rows, f32) of logits (rows, vocabulary), and their gradient: softmax − target.
fn errors(mut logits: Tensor, labels: &Tensor, smoothing: f64) -> Result<(Tensor, Tensor)> {
    if logits.device().is_cuda() {
        return Ok(plain_errors(&logits, labels, smoothing));
    }
    let losses = shim::cross_entropy(&mut logits, labels, smoothing)?;
    Ok((losses, logits))
}

/// The same by LibTorch's operators, on any device.
fn plain_errors(logits: &Tensor, labels: &Tensor, smoothing: f64) -> (Tensor, Tensor) {
    let labels = labels.unsqueeze(1); // (rows, 1)
    let mut log_p = logits.log_softmax(-1, Kind::Float);
    let losses = -log_p.gather(1, &labels, false).squeeze_dim(1);
    let mut error = log_p.exp_();
    let _ = error.scatter_add_(1, &labels, &Tensor::full(labels.size(), smoothing - 1.0, (Kind::Float, labels.device())));
    if smoothing > 0.0 {
        let _ = error.g_sub_scalar_(smoothing / logits.size()[1] as f64);
    }
    (losses, error.to_kind(logits.kind()))
}

/// Per-row negative log-likelihood (rows, f32) and whether the most likely token is the label (rows, bool); no gradients.
pub fn evaluate(features: &Tensor, output: &Output, labels: &Tensor, kind: Kind) -> (Tensor, Tensor) {
    if labels.numel() == 0 {
        return (Tensor::zeros([0], (Kind::Float, features.device())), Tensor::zeros([0], (Kind::Bool, features.device())));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_the_gradient_of_logits_agree() {
        let _alone = crate::tests::alone();
        tch::manual_seed(3);
        for (kind, close) in [(Kind::Float, 1e-6), (Kind::BFloat16, 4e-3)] {
            // Fewer values than a vector has lanes, some more, and many; logits far apart and all alike.
            for (rows, vocabulary, spread) in [(1, 5, 1.0), (7, 67, 10.0), (40, 1000, 3.0), (3, 33, 0.0), (2, 40, 200.0)] {
                let logits = (Tensor::randn([rows, vocabulary], (Kind::Float, tch::Device::Cpu)) * spread).to_kind(kind);
                let labels = Tensor::randint(vocabulary, [rows], (Kind::Int64, tch::Device::Cpu));
                for smoothing in [0.0, 0.1] {
                    let (losses, gradient) = plain_errors(&logits, &labels, smoothing);
                    let (ours, error) = errors(logits.copy(), &labels, smoothing).unwrap();
                    let far = |a: &Tensor, b: &Tensor| (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[]);
                    let size = losses.abs().max().double_value(&[]).max(1.0);
                    assert!(far(&losses, &ours) < 2e-6 * size, "{kind:?} {rows} × {vocabulary}: {}", far(&losses, &ours));
                    assert!(far(&gradient, &error) <= close, "{kind:?} {rows} × {vocabulary}: {}", far(&gradient, &error));
                    assert_eq!(error.kind(), kind);
                }
            }
        }
        // A loss that is no number must show: spikes are judged by it.
        for value in [f32::NAN, f32::INFINITY] {
            let (losses, _) = errors(Tensor::from_slice2(&[[0.0f32, value, 1.0]]), &Tensor::from_slice(&[0i64]), 0.0).unwrap();
            assert!(losses.double_value(&[0]).is_nan(), "{value}");
        }
        let outside = errors(Tensor::zeros([1, 4], (Kind::Float, tch::Device::Cpu)), &Tensor::from_slice(&[4i64]), 0.0);
        assert!(outside.unwrap_err().to_string().contains("a label is outside of the vocabulary"));
    }

    #[test]
    fn where_nothing_is_predicted_there_is_nothing_to_learn() {
        let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, tch::Device::Cpu));
        let weight = zeros(&[5, 3], Kind::Float).set_requires_grad(true);
        let output = Output { weight: &weight, bias: None };
        let (features, labels, weights) = (zeros(&[0, 3], Kind::Float), zeros(&[0], Kind::Int64), zeros(&[0], Kind::Float));
        let (nll, correct) = evaluate(&features, &output, &labels, Kind::Float);
        assert_eq!((nll.size(), nll.kind()), (vec![0], Kind::Float));
        assert_eq!((correct.size(), correct.kind()), (vec![0], Kind::Bool));
        assert_eq!(weighted(&nll, &weights), [0.0, 0.0]);
        let goal = Goal { labels: &labels, weights: Some(&weights), scale: 1.0, smoothing: 0.1 };
        let sums = train(&features.set_requires_grad(true), &output, &goal, Kind::Float).unwrap();
        assert_eq!((sums.nll, sums.count, sums.tally.weighted), (0.0, 0, Some([0.0, 0.0])));
        assert_eq!(weight.grad().abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn rows_that_fill_up_change_nothing() {
        let _alone = crate::tests::alone();
        tch::manual_seed(4);
        let options = (Kind::Float, tch::Device::Cpu);
        // Fewer rows than are filled up, some more, and just as many as fill themselves.
        for rows in [1i64, 127, 130, 256, 300] {
            let [weight, bias] = [&[50, 16][..], &[50]].map(|shape| Tensor::randn(shape, options).set_requires_grad(true));
            let (labels, weights) = (Tensor::randint(50, [rows], (Kind::Int64, options.1)), Tensor::rand([rows], options));
            let states = Tensor::randn([rows, 16], options);
            let learned = |loss: &dyn Fn(&Tensor) -> Result<()>| {
                let states = states.copy().set_requires_grad(true);
                loss(&states).unwrap();
                let gradients = [&states, &weight, &bias].map(|x| x.grad().copy());
                [&weight, &bias].into_iter().for_each(|x| drop(x.grad().zero_()));
                gradients
            };
            let expected = learned(&|states| {
                let losses =
                    states.linear(&weight, Some(&bias)).cross_entropy_loss(&labels, None::<&Tensor>, tch::Reduction::None, -100, 0.1);
                Ok((losses * &weights * 0.5).sum(Kind::Float).f_backward()?)
            });
            for fill_up in [false, true] {
                let found = learned(&|states| {
                    let all = Tensor::arange(rows, (Kind::Int64, options.1));
                    let features = if fill_up { states.index_select(0, &filled(&all)) } else { states * 1.0 };
                    let output = Output { weight: &weight, bias: Some(&bias) };
                    let goal = Goal { labels: &labels, weights: Some(&weights), scale: 0.5, smoothing: 0.1 };
                    assert_eq!(train(&features, &output, &goal, Kind::Float)?.count, rows as u64);
                    Ok(())
                });
                for (expected, found) in expected.iter().zip(&found) {
                    let far = (expected - found).abs().max().double_value(&[]);
                    assert!(far < 1e-5, "{rows} rows, filled up {fill_up}: {far}");
                }
            }
        }
    }
}
