//! Attention, over the same sequence or, in encoder–decoder networks, another one.

use tch::{Device, Kind, Tensor};

use super::layers::{Linear, join_heads, split_heads};
use crate::shim;

/// What queries (batch, heads, time, width of a head) see of keys and values (batch, heads, keys, width of a head). `mask` (batch or 1, heads or
/// 1, time or 1, keys) is true where they may look, or is added to the products; `causal` goes without one. `scale` is 1/√(width of a head) if
/// `None`. On a processor by a kernel of our own, but for a single query; whether it is learned from makes no difference, so that blocks computed
/// again are the same.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal: bool, scale: Option<f64>) -> Tensor {
    let (queries, keys) = (q.size(), k.size());
    let ours = q.device() == Device::Cpu
        && queries[2] > 1
        && queries.iter().chain(&keys).all(|length| *length > 0)
        && [q, k, v].iter().all(|x| matches!(x.kind(), Kind::Float | Kind::BFloat16) && x.kind() == q.kind())
        && mask.is_none_or(|mask| mask.kind() == Kind::Bool && mask.dim() == 4 && mask.size()[1] == 1)
        && (!causal || queries[2] == keys[2]);
    let factor = scale.unwrap_or((queries[3] as f64).sqrt().recip());
    match ours.then(|| shim::attention(q, k, v, mask, causal, factor)) {
        Some(Ok(seen)) => seen,
        _ => Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale, false),
    }
}

/// Multi-head attention.
pub struct Attention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub out: Linear,
    pub heads: i64,
    /// What products of queries and keys are multiplied by; 1/√(width of a head) when `None`.
    pub scale: Option<f64>,
}

/// Keys and values (batch, heads, time, width of a head).
pub type KeysValues = (Tensor, Tensor);

impl Attention {
    /// Of the sequence (batch, time, width) that is looked at.
    pub fn keys_values(&self, x: &Tensor) -> KeysValues {
        (split_heads(&self.key.forward(x), self.heads), split_heads(&self.value.forward(x), self.heads))
    }

    /// What `x` (batch, time, width) sees of `seen`; `mask` is true where it may look, or is added to the products.
    pub fn attend(&self, x: &Tensor, (keys, values): &KeysValues, mask: Option<&Tensor>, causal: bool) -> Tensor {
        let queries = split_heads(&self.query.forward(x), self.heads);
        let seen = attend(&queries, keys, values, mask, causal, self.scale);
        self.out.forward(&join_heads(&seen))
    }
}

/// Puts new keys and values behind those of earlier tokens.
pub fn extended(cache: &mut Option<KeysValues>, (keys, values): KeysValues) -> &KeysValues {
    let all = match cache.take() {
        Some((before, values_before)) => (Tensor::cat(&[before, keys], 2), Tensor::cat(&[values_before, values], 2)),
        None => (keys, values),
    };
    cache.insert(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen and the gradients of queries, keys and values.
    fn learned(inputs: &[Tensor], mask: Option<&Tensor>, causal: bool, ours: bool) -> Vec<Tensor> {
        let inputs: Vec<Tensor> = inputs.iter().map(|x| x.detach().copy().set_requires_grad(true)).collect();
        // As a network hands them over: views of (batch, time, heads × width).
        let [q, k, v] = [0, 1, 2].map(|n: usize| split_heads(&inputs[n], 3));
        let seen = if ours {
            shim::attention(&q, &k, &v, mask, causal, 0.3).unwrap()
        } else {
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, causal, Some(0.3), false)
        };
        (&seen * seen.detach().cos()).sum(Kind::Float).backward();
        std::iter::once(seen.detach()).chain(inputs.iter().map(Tensor::grad)).map(|x| x.to_kind(Kind::Double)).collect()
    }

    #[test]
    fn attention_and_its_gradients_are_those_of_libtorch() {
        let _alone = crate::tests::alone();
        tch::manual_seed(5);
        let options = (Kind::Float, Device::Cpu);
        // Rows below, at and beyond a block; keys fewer and more than lanes.
        for (time, keys, causal) in
            [(1, 1, true), (7, 33, false), (128, 128, true), (300, 300, true), (150, 2000, false), (260, 5000, false)]
        {
            for kind in [Kind::Float, Kind::BFloat16] {
                let inputs = [time, keys, keys].map(|length| Tensor::randn([2, length, 24], options).to_kind(kind));
                for masked in [0, 1, 2] {
                    let rows = if masked == 2 { 1 } else { time };
                    let mask = (masked > 0 && !causal).then(|| Tensor::rand([2, 1, rows, keys], options).lt(0.7));
                    if let Some(mask) = &mask {
                        let _ = mask.select(3, 0).fill_(1);
                    }
                    let expected = learned(&inputs.each_ref().map(|x| x.to_kind(Kind::Float)), mask.as_ref(), causal, false);
                    let found = learned(&inputs, mask.as_ref(), causal, true);
                    for (expected, found) in expected.iter().zip(&found) {
                        let far = (expected - found).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]).max(1.0);
                        let close = if kind == Kind::Float { 1e-5 } else { 3e-2 };
                        assert!(far < close, "{kind:?}, {time} of {keys}, causal {causal}, mask {masked}: {far}");
                    }
                }
            }
        }
    }

    #[test]
    fn who_sees_nothing_gets_nothing_and_what_is_no_number_shows() {
        let _alone = crate::tests::alone();
        let x = Tensor::randn([1, 1, 4, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let seen = attend(&x, &x, &x, Some(&Tensor::zeros([1, 1, 4, 4], (Kind::Bool, Device::Cpu))), false, None);
        seen.sum(Kind::Float).backward();
        assert_eq!(seen.abs().max().double_value(&[]), 0.0);
        assert_eq!(x.grad().abs().max().double_value(&[]), 0.0);
        let poisoned = (&x.detach() * f64::NAN).set_requires_grad(true);
        assert!(attend(&poisoned, &x, &x, None, true, None).isnan().all().int64_value(&[]) == 1);
    }
}
