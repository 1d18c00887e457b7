//! Properties of learning that cross the files of this crate, on networks small enough for milliseconds.

mod decoding;
mod document_weights;
mod evaluate;
mod heads;
mod jobs;
mod learning;
mod networks;
mod products;
mod recompute;
mod sequences;
mod steps;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use model::{Design, Facts, Family, Head, Lora, NetworkConfig, Row, Seq2seq, SpecialTokens, Style, Train};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::batches::{Buffers, Collate, Masking};
use crate::folder::{self, Loaded};
use crate::loss::{self, Goal, Sums};
use crate::models::{self, Seen};
use crate::objective::{self, Batch, Mode, Scale};
use crate::optimizer::optimizer;
use crate::parameters::{Init, Parameters};
use crate::{generate, shim, weights};

const VOCABULARY: i64 = 50;

/// LibTorch has one random generator for the process, which these tests seed: one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    tch::set_num_threads(1);
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(crate) fn config(family: Family, head: Head) -> NetworkConfig {
    let design = match family {
        Family::Gpt => Design::of(Style::Gpt2, 2, 8),
        Family::Bert => Design::of(Style::Bert, 2, 8),
        Family::Rnn | Family::Seq2seq => Design::default(),
    };
    let special = SpecialTokens { pad: Some(0), bos: Some(1), eos: Some(2) };
    // Of the family seq2seq, T5 alone has all heads.
    let t5 = family == Family::Seq2seq && head != Head::Causal;
    let of_t5 = Seq2seq { style: model::seq2seq::Style::T5, decoder_layers: Some(1), head_width: Some(8), ..Seq2seq::default() };
    NetworkConfig {
        family,
        vocab_size: VOCABULARY,
        positions: if t5 { 1 << 20 } else { 24 },
        layers: 2,
        width: 16,
        heads: 2,
        feed_forward: 32,
        dropout: 0.0,
        head,
        special,
        design,
        recurrent: Default::default(),
        seq2seq: if t5 { of_t5 } else { Seq2seq::default() },
    }
}

fn facts(layout: &str) -> Facts {
    let classes = Some(vec!["ham".into(), "spam".into()]);
    let (pad_id, bos_id, eos_id, mask_id) = (Some(0), Some(1), Some(2), Some(3));
    let special_ids = vec![0, 1, 2, 3];
    Facts {
        layout: layout.into(),
        sequence_length: 24,
        vocab_size: VOCABULARY,
        pad_id,
        bos_id,
        eos_id,
        mask_id,
        special_ids,
        classes,
        ..Facts::default()
    }
}

/// Rows of unequal length without pattern.
fn rows(count: usize) -> Vec<Row> {
    let token = |i: usize, j: usize| 4 + ((i * 7919 + j * j * 104_729 + j * 31) % (VOCABULARY as usize - 4)) as i64;
    (0..count)
        .map(|i| {
            let tokens: Vec<i64> = (0..6 + 3 * (i % 6)).map(|j| token(i, j)).collect();
            let labels = tokens.iter().enumerate().map(|(j, token)| if j > 3 { *token } else { -100 }).collect();
            Row { tokens, labels, class: (i % 2) as i64, ..Row::default() }
        })
        .collect()
}

fn batch(layout: &str, rows: &[Row], masking: Option<Masking>) -> Batch {
    filled(Collate { facts: facts(layout), masking, denoising: None, documents: false }, rows)
}

fn filled(collate: Collate, rows: &[Row]) -> Batch {
    let mut buffers = Buffers::default();
    buffers.fill(&collate, rows.to_vec(), 0..rows.len() as u64).unwrap();
    buffers.batch(Device::Cpu)
}

pub(crate) fn loaded(config: NetworkConfig, seed: u64) -> Loaded {
    let parameters = Parameters::new(Device::Cpu, seed);
    let network = models::build(&parameters.root(), &config);
    Loaded { config, parameters, network }
}

fn settings(value: serde_json::Value) -> Train {
    serde_json::from_value(value).unwrap()
}

fn gradients(parameters: &Parameters) -> Vec<(String, Tensor)> {
    parameters.named().into_iter().map(|(name, tensor)| (name, tensor.grad())).collect()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Loss after `steps` steps on one batch.
fn overfit(config: NetworkConfig, batch: &Batch, steps: u64, bf16: bool) -> f64 {
    let loaded = loaded(config, 1);
    let optimizer = optimizer(&settings(json!({})), &loaded.parameters).unwrap();
    let mut sums = Sums::default();
    for step in 1..=steps {
        sums = objective::learn(
            loaded.network.as_ref(),
            batch,
            Scale::of(batch.predicted, batch.ids.size()[0] as u64),
            Mode { bf16, ..Mode::default() },
        )
        .unwrap();
        optimizer.clip().unwrap();
        optimizer.step(step, step, 1e-2).unwrap();
        optimizer.forget();
    }
    sums.nll / sums.count as f64
}

/// Adapters beside every projection learn a batch, nothing else but a head does, and what is saved is the adapted network.
fn check_adapters(name: &str, config: &NetworkConfig, batch: &Batch) {
    let lora = Lora { rank: 4, alpha: 8.0, targets: Vec::new() };
    let parameters = Parameters::adapted(Device::Cpu, 4, Some(lora));
    let network = models::build(&parameters.root(), config);
    parameters.check_adapters().unwrap();
    let before: Vec<Tensor> = parameters.tensors().iter().map(|tensor| tensor.detach().copy()).collect();
    let optimizer = optimizer(&settings(json!({})), &parameters).unwrap();
    let evaluate = |network: &dyn models::Network| objective::evaluate(network, batch, false).unwrap().nll;
    let first = evaluate(network.as_ref());
    for step in 1..=60 {
        objective::learn(network.as_ref(), batch, Scale::of(batch.predicted, batch.ids.size()[0] as u64), Mode::default()).unwrap();
        optimizer.clip().unwrap();
        optimizer.step(step, step, 1e-2).unwrap();
        optimizer.forget();
    }
    let last = evaluate(network.as_ref());
    assert!(last < 0.9 * first, "{name}: {first} became {last}");
    for ((variable, now), before) in parameters.named().iter().zip(&before) {
        let may_change = variable.contains(".lora_") || crate::parameters::may_be_new(variable);
        assert!(may_change || now.detach() == *before, "{name}: {variable} was to stay");
        assert!(!variable.contains(".lora_") || now.detach() != *before, "{name}: {variable} was to learn");
    }
    let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::write(tokenizer.path().join(name), "{}").unwrap();
    }
    folder::save(dir.path(), config, &parameters, tokenizer.path()).unwrap();
    let merged = evaluate(folder::load(dir.path(), Device::Cpu).unwrap().network.as_ref());
    assert!((merged - last).abs() < 1e-4 * last.max(1.0), "{name}: {last} is saved as {merged}");
}

#[test]
fn every_objective_overfits_a_batch() {
    let _alone = alone();
    let classes = Head::Classify { classes: vec!["ham".into(), "spam".into()] };
    let rows = rows(8);
    let masking = Masking::of_tokens(0.3, 5);
    let cases = [
        ("causal", Family::Gpt, Head::Causal, batch("packed", &rows, None)),
        ("complete", Family::Gpt, Head::Causal, batch("complete", &rows, None)),
        ("masked", Family::Bert, Head::Masked, batch("packed", &rows, Some(masking))),
        ("classify", Family::Bert, classes, batch("classify", &rows, None)),
    ];
    for (name, family, head, batch) in cases {
        for bf16 in [false, true] {
            let loss = overfit(config(family, head.clone()), &batch, 120, bf16);
            assert!(loss < 0.1, "{name}, bf16 {bf16}: {loss}");
        }
    }
}

#[test]
fn one_batch_of_eight_is_four_of_two() {
    let _alone = alone();
    let rows = rows(8);
    let gradients_of = |size: usize| {
        let loaded = loaded(config(Family::Gpt, Head::Causal), 3);
        let batches: Vec<Batch> = rows.chunks(size).map(|rows| batch("packed", rows, None)).collect();
        let predicted: u64 = batches.iter().map(|batch| batch.predicted).sum();
        let mut sums = Sums::default();
        for batch in &batches {
            sums += objective::learn(loaded.network.as_ref(), batch, Scale::of(predicted, 8), Mode::default()).unwrap();
        }
        (sums, gradients(&loaded.parameters))
    };
    let ((whole, a), (parts, b)) = (gradients_of(8), gradients_of(2));
    assert_eq!(whole.count, parts.count);
    assert!((whole.nll - parts.nll).abs() < 1e-3, "{} {}", whole.nll, parts.nll);
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(largest_difference(a, b) < 1e-6, "{name}");
    }
}

#[test]
fn the_chunked_loss_is_the_plain_loss() {
    let _alone = alone();
    let parameters = Parameters::new(Device::Cpu, 11);
    let weight = parameters.root().variable("weight", &[40_000, 8], Init::Normal(1.0));
    let bias = parameters.root().variable("bias", &[40_000], Init::Normal(1.0));
    // More rows than a chunk holds at this vocabulary.
    let features = Tensor::randn([500, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let labels = (Tensor::arange(500, (Kind::Int64, Device::Cpu)) * 77).remainder(40_000);
    let scale = 0.5 / 500.0;
    let output = models::Output { weight: &weight, bias: Some(&bias) };
    let variables = [&features, &weight, &bias];
    let forget = || shim::forget_gradients(&variables.map(Tensor::shallow_clone));
    let mut sums = Sums::default();
    // PyTorch sums smoothed targets over the vocabulary with an error of 1e-5 in f32, so that smoothing is compared in f64.
    for (smoothing, kind) in [(0.1, Kind::Double), (0.0, Kind::Float)] {
        let copies = variables.map(|variable| variable.detach().to_kind(kind).copy().set_requires_grad(true));
        let plain = |smoothing| {
            let logits = copies[0].linear(&copies[1], Some(&copies[2]));
            logits.cross_entropy_loss(&labels, None::<&Tensor>, tch::Reduction::Sum, -100, smoothing)
        };
        (plain(smoothing) * scale).backward();
        let expected = copies.each_ref().map(Tensor::grad);
        sums = loss::train(&features, &output, &Goal { labels: &labels, weights: None, scale, smoothing }, Kind::Float).unwrap();
        assert!((sums.nll - plain(0.0).double_value(&[])).abs() / sums.nll < 1e-6);
        for (i, (expected, found)) in expected.iter().zip(variables).enumerate() {
            let difference = largest_difference(expected, &found.grad());
            assert!(difference < 1e-7, "{i}, smoothing {smoothing}: {difference}");
        }
        forget();
    }
    let (nll, _) = loss::evaluate(&features.detach(), &output, &labels, Kind::Float);
    assert!((nll.sum(Kind::Double).double_value(&[]) - sums.nll).abs() / sums.nll < 1e-6);
}

#[test]
fn clipping_scales_to_the_norm_and_tells_the_one_before() {
    let _alone = alone();
    let parameters = Parameters::new(Device::Cpu, 2);
    let x = parameters.root().variable("x", &[2], Init::Constant(1.0));
    (Tensor::from_slice(&[3f32, 4.0]) * &x).sum(Kind::Float).backward();
    assert!((shim::clip_gradients(&parameters.tensors(), 1.0).unwrap() - 5.0).abs() < 1e-6);
    assert!(largest_difference(&x.grad(), &Tensor::from_slice(&[0.6, 0.8])) < 1e-5);
}

#[test]
fn a_saved_folder_gives_the_same_hidden_states() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tempfile::tempdir().unwrap();
    std::fs::write(tokenizer.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(tokenizer.path().join("tokenizer_config.json"), r#"{"model_max_length": 1}"#).unwrap();
    let classes = Head::Classify { classes: vec!["ham".into(), "spam".into()] };
    for (family, head) in [(Family::Gpt, Head::Causal), (Family::Bert, Head::Masked), (Family::Bert, classes)] {
        let before = loaded(config(family, head), 4);
        folder::save(dir.path(), &before.config, &before.parameters, tokenizer.path()).unwrap();
        let after = folder::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(after.config, before.config);
        let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8], [9, 10, 11, 12]]);
        let hidden = |loaded: &Loaded| tch::no_grad(|| loaded.network.features(&loaded.network.hidden(&ids, &Seen::default(), 0.0)));
        assert_eq!(hidden(&before), hidden(&after));
        let text = std::fs::read_to_string(dir.path().join("tokenizer_config.json")).unwrap();
        assert!(text.contains("\"model_max_length\": 24"), "{text}");
    }
}

#[test]
fn weights_of_another_shape_are_refused_by_name() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let named = |length: i64| vec![("x".to_string(), Tensor::zeros([length], (Kind::Float, Device::Cpu)))];
    weights::save(&path, &named(2), HashMap::new()).unwrap();
    let file = weights::Weights::open(&path).unwrap();
    assert!(file.load(&named(2)).unwrap().is_empty());
    let error = file.load(&named(3)).unwrap_err().to_string();
    assert!(error.ends_with("holds x as [2], the network has [3]"), "{error}");
}

#[test]
fn padding_changes_no_prediction() {
    let _alone = alone();
    let rows = rows(6);
    for (family, head, layout) in
        [(Family::Gpt, Head::Causal, "packed"), (Family::Bert, Head::Classify { classes: vec!["a".into(), "b".into()] }, "classify")]
    {
        let loaded = loaded(config(family, head), 4);
        let together = objective::evaluate(loaded.network.as_ref(), &batch(layout, &rows, None), false).unwrap();
        let mut alone = Sums::default();
        for row in &rows {
            alone += objective::evaluate(loaded.network.as_ref(), &batch(layout, std::slice::from_ref(row), None), false).unwrap();
        }
        assert_eq!((together.count, together.correct), (alone.count, alone.correct));
        assert!((together.nll - alone.nll).abs() < 1e-3);
    }
}

/// Greedy generation without a cache, one prompt at a time: tokens, and whether the end was reached.
fn greedy_plain(loaded: &Loaded, prompt: &[i64], eos: i64, max_new: usize) -> (Vec<i64>, bool) {
    let mut found: Vec<i64> = Vec::new();
    while found.len() < max_new {
        let ids = Tensor::from_slice(&[prompt, &found].concat()).unsqueeze(0);
        let hidden = tch::no_grad(|| loaded.network.hidden(&ids, &Seen::default(), 0.0)).select(0, 0);
        let last = hidden.select(0, -1).unsqueeze(0);
        let next = last.linear(loaded.network.output().weight, None::<&Tensor>).argmax(-1, false).int64_value(&[0]);
        if next == eos {
            return (found, true);
        }
        found.push(next);
    }
    (found, false)
}

/// The same by way of a batch and a cache.
fn greedy(loaded: &Loaded, prompts: &[Vec<i64>], eos: i64, max_new: usize) -> Vec<(Vec<i64>, bool)> {
    let found = generate::greedy(loaded, prompts, eos, max_new).unwrap();
    found.into_iter().map(|completion| (completion.ids, completion.end == generate::End::Eos)).collect()
}

#[test]
fn cached_generation_in_a_batch_is_plain_generation() {
    let _alone = alone();
    let loaded = loaded(config(Family::Gpt, Head::Causal), 9);
    // Larger first weights make the choices differ and some end early.
    tch::no_grad(|| loaded.parameters.tensors().into_iter().filter(|x| x.dim() == 2).for_each(|mut x| drop(x.g_mul_scalar_(12.0))));
    let prompts: Vec<Vec<i64>> = rows(6).into_iter().map(|row| row.tokens[..3 + row.tokens.len() % 4].to_vec()).collect();
    let plain: Vec<_> = prompts.iter().map(|prompt| greedy_plain(&loaded, prompt, 2, 12)).collect();
    // An end that some row really chooses.
    let eos = plain[0].0[4];
    let expected: Vec<_> = prompts.iter().map(|prompt| greedy_plain(&loaded, prompt, eos, 12)).collect();
    assert_eq!(greedy(&loaded, &prompts, eos, 12), expected);
    assert!(expected.iter().any(|(_, ended)| *ended));
}

#[test]
fn a_completion_ends_at_the_last_position() {
    let _alone = alone();
    let loaded = loaded(config(Family::Gpt, Head::Causal), 9);
    let found = greedy(&loaded, &[vec![5; 20]], -1, 100);
    // 24 positions: the token after the last one is still predicted.
    assert_eq!((found[0].0.len(), found[0].1), (5, false));
}

#[test]
fn dropout_follows_the_seed() {
    let _alone = alone();
    let loaded = loaded(config(Family::Gpt, Head::Causal), 4);
    let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8]]);
    let hidden = |seed| {
        tch::manual_seed(seed);
        loaded.network.hidden(&ids, &Seen::default(), 0.5)
    };
    assert_eq!(hidden(1), hidden(1));
    assert_ne!(hidden(1), hidden(2));
}
