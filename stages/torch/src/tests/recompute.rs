//! Activation checkpointing changes nothing but time and memory.

use model::seq2seq::{Activation, Style as Kind};
use model::{Design, Family, Head, Style};
use serde_json::json;

use super::*;
use crate::batches::Masking;

/// Networks of every kind of block, each with a batch.
fn cases() -> Vec<(&'static str, NetworkConfig, Batch)> {
    let rows = rows(6);
    let styled = |family, style, head| NetworkConfig { design: Design::of(style, 2, 8), ..config(family, head) };
    let classes = Head::Classify { classes: vec!["ham".into(), "spam".into()] };
    let masked = || batch("packed", &rows, Some(Masking::of_tokens(0.3, 5)));
    let translated = |style, activation| (sequences::seq2seq(style, activation), batch("translate", &sequences::translations(4), None));
    let (marian, of_marian) = translated(Kind::Marian, Activation::Relu);
    let (t5, of_t5) = translated(Kind::T5, Activation::GatedGelu);
    vec![
        ("gpt2", config(Family::Gpt, Head::Causal), batch("packed", &rows, None)),
        ("llama", styled(Family::Gpt, Style::Llama, Head::Causal), batch("packed", &rows, None)),
        ("bert", config(Family::Bert, Head::Masked), masked()),
        ("bert, classes", config(Family::Bert, classes), batch("classify", &rows, None)),
        ("modernbert", styled(Family::Bert, Style::Modernbert, Head::Masked), masked()),
        ("marian", marian, of_marian),
        ("t5", t5, of_t5),
    ]
}

/// The sums of a batch and the gradients of all variables.
fn learned(config: &NetworkConfig, batch: &Batch, mode: Mode, prepare: impl Fn(&Parameters)) -> (Sums, Vec<(String, Tensor)>) {
    let loaded = loaded(config.clone(), 3);
    prepare(&loaded.parameters);
    tch::manual_seed(11);
    let sums = objective::learn(loaded.network.as_ref(), batch, Scale::of(batch.predicted, batch.ids.size()[0] as u64), mode).unwrap();
    // The random numbers after a batch are those of the next one.
    let next = Tensor::rand([1], (tch::Kind::Float, Device::Cpu)).double_value(&[0]);
    let mut gradients = gradients(&loaded.parameters);
    gradients.push(("next random number".into(), Tensor::from(next)));
    (sums, gradients)
}

#[test]
fn blocks_computed_again_give_the_same_gradients() {
    let _alone = alone();
    for (name, config, batch) in cases() {
        for (dropout, bf16) in [(0.0, false), (0.3, false), (0.3, true)] {
            let mode = Mode { dropout, bf16, recompute: false };
            let (plain, expected) = learned(&config, &batch, mode, |_| ());
            let (again, found) = learned(&config, &batch, Mode { recompute: true, ..mode }, |_| ());
            assert_eq!(plain.count, again.count);
            assert!((plain.nll - again.nll).abs() < if bf16 { 1e-3 } else { 1e-6 } * plain.nll, "{name}, dropout {dropout}, bf16 {bf16}");
            let largest = |gradient: &Tensor| gradient.abs().max().double_value(&[]);
            let largest =
                expected.iter().filter(|(_, gradient)| gradient.defined()).map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
            // In bf16 a sum of another order may fall to the next of its 8 bits, and such a gradient goes on through products.
            let close = if bf16 { 1e-2 * largest } else { 1e-6 };
            for ((variable, expected), (_, found)) in expected.iter().zip(&found) {
                assert_eq!(expected.defined(), found.defined(), "{name}: {variable}");
                if expected.defined() {
                    let far = largest_difference(expected, found);
                    assert!(far <= close, "{name}, dropout {dropout}, bf16 {bf16}: {variable} differs by {far}");
                }
            }
        }
    }
}

#[test]
fn blocks_computed_again_learn_below_frozen_embeddings() {
    let _alone = alone();
    let (config, batch) = (config(Family::Gpt, Head::Causal), batch("packed", &rows(4), None));
    let settings =
        settings(json!({"groups": [{"pattern": "transformer.wte.*", "freeze": true}, {"pattern": "transformer.wpe.*", "freeze": true}]}));
    let freeze = |parameters: &Parameters| drop(optimizer(&settings, parameters).unwrap());
    let [plain, again] = [false, true].map(|recompute| learned(&config, &batch, Mode { recompute, ..Mode::default() }, freeze).1);
    let learned = plain.iter().filter(|(_, gradient)| gradient.defined()).count();
    assert!(learned > 20, "{learned}");
    for ((variable, plain), (_, again)) in plain.iter().zip(&again) {
        assert_eq!(plain.defined(), again.defined(), "{variable}");
        assert!(!plain.defined() || largest_difference(plain, again) <= 1e-6, "{variable}");
    }
}
