//! What encoder–decoder networks are made of: attention over another sequence or the same one.

use tch::Tensor;

use super::layers::{Linear, join_heads, split_heads};

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
        let seen = Tensor::scaled_dot_product_attention(&queries, keys, values, mask, 0.0, causal, self.scale, false);
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
