//! Recurrent and encoder–decoder networks beside PyTorch and transformers (goldens of tests/parity.py), and properties of their learning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use model::recurrent::Cell;
use model::seq2seq::{Activation, Style};
use model::{Decoding, Recurrent, Seq2seq};
use serde_json::Value;

use super::*;
use crate::batches::Denoising;
use crate::generate::{Ends, How};
use crate::models::rnn;
use crate::{carry, logits};

fn golden(name: &str) -> (PathBuf, Value) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name);
    let expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    (folder, expected)
}

fn ids(value: &Value) -> Vec<Vec<i64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn tensor(value: &Value) -> Tensor {
    let rows: Vec<Vec<Vec<f32>>> = serde_json::from_value(value.clone()).unwrap();
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice2(row)).collect::<Vec<_>>(), 0)
}

/// The difference of any logit as a share of the largest, or of 1.
fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    largest_difference(found, expected) / expected.abs().max().double_value(&[]).max(1.0)
}

#[test]
fn recurrent_logits_are_those_of_pytorch() {
    let _alone = alone();
    for name in ["lstm", "gru", "rnn"] {
        let (folder, expected) = golden(name);
        let input = logits::Input { ids: ids(&expected["source"]), segments: None, target: None };
        let loaded = folder::load(&folder, Device::Cpu).unwrap();
        let (found, _) = logits::logits(&loaded, &input).unwrap();
        assert!(difference(&found, &tensor(&expected["logits"])) < 1e-5, "{name}");

        let seen = Seen { carried: rnn::first_state(&loaded.config, 3, Device::Cpu), ..Seen::default() };
        let further = ["source", "target"]
            .map(|part| tch::no_grad(|| loaded.network.hidden(&Tensor::from_slice2(&ids(&expected[part])), &seen, 0.0)));
        let output = loaded.network.output();
        assert!(difference(&further[1].linear(output.weight, output.bias), &tensor(&expected["further"])) < 1e-5, "{name}, further");
        // The third lane had no row.
        assert_eq!(seen.carried[0].narrow(1, 2, 1).abs().max().double_value(&[]), 0.0);
    }
}

const SEQ2SEQ: [&str; 4] = ["marian", "marian-swish", "t5", "t5-gated"];

/// Sources of a golden with what is padding in them.
fn sources(expected: &Value) -> (Tensor, Seen) {
    let ids = Tensor::from_slice2(&ids(&expected["source"]));
    let real = ids.not_equal(0);
    (ids, Seen { real: Some(real), ..Seen::default() })
}

#[test]
fn encoder_decoder_logits_are_those_of_transformers() {
    let _alone = alone();
    for name in SEQ2SEQ {
        let (folder, expected) = golden(name);
        let loaded = folder::load(&folder, Device::Cpu).unwrap();
        let (ids_of, mut seen) = sources(&expected);
        seen.target = Some(Tensor::from_slice2(&ids(&expected["target"])));
        let found = tch::no_grad(|| {
            let hidden = loaded.network.hidden(&ids_of, &seen, 0.0);
            let (batch, time, width) = hidden.size3().unwrap();
            let output = loaded.network.output();
            loaded.network.features(&hidden.view([-1, width])).linear(output.weight, output.bias).view([batch, time, -1])
        });
        let difference = difference(&found, &tensor(&expected["logits"]));
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

#[test]
fn searches_find_what_transformers_finds() {
    let _alone = alone();
    for name in SEQ2SEQ {
        let (folder, expected) = golden(name);
        let loaded = folder::load(&folder, Device::Cpu).unwrap();
        let (ids_of, seen) = sources(&expected);
        for search in expected["searches"].as_array().unwrap() {
            let (beams, length_penalty) = (search["beams"].as_u64().unwrap() as usize, search["length_penalty"].as_f64().unwrap());
            let decoding = Decoding { beams: beams as u64, length_penalty, max_new_tokens: 9, ..Decoding::default() };
            let ends = Ends { eos: vec![1], ..Ends::default() };
            let how = How { decoding: &decoding, ends: &ends, tokenizer: None, watch: None, slides: false };
            let numbers = vec![0; ids_of.size()[0] as usize];
            let found = generate::translate(&loaded, &ids_of, &seen, &numbers, 0, &how).unwrap();
            let found: Vec<Vec<i64>> = found.into_iter().map(|one| one.ids).collect();
            assert_eq!(found, ids(&search["targets"]), "{name}, {decoding:?}");
        }
    }
}

fn recurrent(cell: Cell) -> NetworkConfig {
    NetworkConfig { recurrent: Recurrent { cell, tied: true }, width: 64, ..config(Family::Rnn, Head::Causal) }
}

pub(super) fn seq2seq(style: Style, activation: Activation) -> NetworkConfig {
    let own = Seq2seq { style, activation, head_width: Some(8), tied: activation != Activation::GatedGelu, ..Seq2seq::default() };
    NetworkConfig { seq2seq: own, ..config(Family::Seq2seq, Head::Causal) }
}

fn denoised(rows: &[Row]) -> Batch {
    let denoising = Denoising { settings: model::Denoise::default(), seed: 3, sentinels: vec![49, 48, 47], end: 2, causal: true };
    filled(Collate { facts: facts("packed"), masking: None, denoising: Some(denoising), documents: false }, rows)
}

#[test]
fn sequences_overfit_a_batch() {
    let _alone = alone();
    let rows = rows(8);
    let packed = || batch("packed", &rows, None);
    let cases = [
        (recurrent(Cell::Lstm), packed()),
        (recurrent(Cell::Gru), packed()),
        (recurrent(Cell::Rnn), packed()),
        (seq2seq(Style::Marian, Activation::Relu), batch("translate", &translations(8), None)),
        (seq2seq(Style::T5, Activation::Relu), batch("translate", &translations(8), None)),
        (seq2seq(Style::T5, Activation::GatedGelu), denoised(&rows)),
    ];
    for (config, batch) in cases {
        // See `train::bf16`.
        let lstm = config.family == Family::Rnn && config.recurrent.cell == Cell::Lstm;
        for bf16 in [false, true].into_iter().filter(|bf16| !(*bf16 && lstm)) {
            let loss = overfit(config.clone(), &batch, 250, bf16);
            assert!(loss < 0.1, "{:?} {:?}, bf16 {bf16}: {loss}", config.recurrent, config.seq2seq);
        }
    }
}

/// Rows whose targets are other tokens, of another length.
pub(super) fn translations(count: usize) -> Vec<Row> {
    let target = |row: &Row| row.tokens.iter().rev().step_by(2).map(|token| 4 + (token * 7) % 46).collect();
    rows(count).into_iter().map(|row| Row { labels: target(&row), ..row }).collect()
}

#[test]
fn adapters_of_encoders_and_decoders_learn_and_are_merged() {
    let _alone = alone();
    for (style, activation) in [(Style::Marian, Activation::Relu), (Style::T5, Activation::Relu), (Style::T5, Activation::GatedGelu)] {
        let mut config = seq2seq(style, activation);
        config.seq2seq.decoder_layers = Some(1);
        check_adapters(&format!("{style:?} {activation:?}"), &config, &batch("translate", &translations(8), None));
    }
}

#[test]
fn padding_of_either_side_changes_no_prediction() {
    let _alone = alone();
    let rows = translations(6);
    for config in [seq2seq(Style::Marian, Activation::Relu), seq2seq(Style::T5, Activation::Relu)] {
        let loaded = loaded(config, 4);
        let evaluate = |rows: &[Row]| objective::evaluate(loaded.network.as_ref(), &batch("translate", rows, None), false).unwrap();
        let together = evaluate(&rows);
        let mut alone = Sums::default();
        rows.iter().for_each(|row| alone += evaluate(std::slice::from_ref(row)));
        assert_eq!((together.count, together.correct), (alone.count, alone.correct));
        assert!((together.nll - alone.nll).abs() < 1e-3, "{} {}", together.nll, alone.nll);
    }
}

#[test]
fn a_decoder_is_taught_from_the_padding_token_on() {
    let _alone = alone();
    let rows =
        [(vec![5, 6, 7, 2], vec![8, 9, 2]), (vec![5, 2], vec![7, 2])].map(|(tokens, labels)| Row { tokens, labels, ..Row::default() });
    let batch = batch("translate", &rows, None);
    assert_eq!(batch.ids, Tensor::from_slice2(&[[5i64, 6, 7, 2], [5, 2, 0, 0]]));
    assert_eq!(batch.seen.target.unwrap(), Tensor::from_slice2(&[[0i64, 8, 9], [0, 7, 0]]));
    let objective::Targets::Tokens { places, labels } = batch.targets else { panic!("targets are tokens") };
    assert_eq!(places.unwrap(), Tensor::from_slice(&[0i64, 1, 2, 3, 4]));
    assert_eq!(labels, Tensor::from_slice(&[8i64, 9, 2, 7, 2]));
}

/// Targets after what a decoder begins with; padding is no target.
fn smoothed_batch(expected: &Value) -> Batch {
    let unpadded = |row: Vec<i64>| row[..row.iter().rposition(|id| *id != 0).unwrap() + 1].to_vec();
    let rows = ids(&expected["source"]).into_iter().zip(ids(&expected["smoothed"]["labels"])).map(|(source, labels)| Row {
        tokens: unpadded(source),
        labels: labels.into_iter().filter(|label| *label >= 0).collect(),
        ..Row::default()
    });
    let facts = Facts { eos_id: Some(1), bos_id: None, mask_id: None, vocab_size: 30, ..facts("translate") };
    filled(Collate { facts, masking: None, denoising: None, documents: false }, &rows.collect::<Vec<_>>())
}

/// `smoothed` of a golden: the mean over all targets of PyTorch's cross entropy with label_smoothing, and the norms of its gradients, in double
/// precision. Ours may be off by four times what PyTorch's own are in single precision, which is much for T5: it does not scale its attention.
#[test]
fn label_smoothing_of_targets_is_that_of_pytorch() {
    let _alone = alone();
    for name in SEQ2SEQ {
        let (folder, expected) = golden(name);
        let loaded = folder::load(&folder, Device::Cpu).unwrap();
        let golden = &expected["smoothed"];
        let smoothing = golden["label_smoothing"].as_f64().unwrap();
        let batch = Batch { smoothing, ..smoothed_batch(&expected) };
        let sums = objective::learn(loaded.network.as_ref(), &batch, Scale::of(batch.predicted, 2), Mode::default()).unwrap();
        let (loss, plain) = (sums.nll / sums.count as f64, golden["plain_loss"].as_f64().unwrap());
        assert!((loss - plain).abs() < 1e-5 * plain, "{name}: {loss}, not {plain}");
        let mut found: BTreeMap<String, Tensor> = gradients(&loaded.parameters).into_iter().collect();
        // transformers makes every new T5 a tied one; the folder's second matrix is a copy of the first.
        if let Some(output) = found.remove("lm_head.weight") {
            found.entry("shared.weight".into()).and_modify(|shared| *shared += output);
        }
        let norms = golden["gradients"].as_object().unwrap();
        let bound = (4.0 * golden["rounding"].as_f64().unwrap()).max(1e-5);
        assert!(found.keys().eq(norms.keys().collect::<BTreeSet<_>>()), "{name}");
        for (variable, gradient) in found {
            let (found, expected) = (gradient.to_kind(Kind::Double).norm().double_value(&[]), norms[&variable].as_f64().unwrap());
            assert!((found - expected).abs() < bound * expected.max(0.1), "{name}: {variable}: {found}, not {expected}");
        }
    }
}

#[test]
fn relative_positions_learn() {
    let _alone = alone();
    let loaded = loaded(seq2seq(Style::T5, Activation::Relu), 4);
    let batch = batch("translate", &translations(4), None);
    let loss = || objective::evaluate(loaded.network.as_ref(), &batch, false).unwrap().nll;
    objective::learn(loaded.network.as_ref(), &batch, Scale::of(1, 1), Mode::default()).unwrap();
    for (name, table) in loaded.parameters.named().into_iter().filter(|(name, _)| name.contains("relative_attention_bias")) {
        let gradient = table.grad();
        // Along the gradient the loss rises by its squared norm.
        let step = 1e-2 / gradient.norm().double_value(&[]);
        let moved = |by: f64| {
            tch::no_grad(|| drop(table.shallow_clone().g_add_(&(&gradient * by))));
            loss()
        };
        let rise = moved(step) - moved(-2.0 * step);
        moved(step);
        let expected = 2.0 * step * gradient.square().sum(Kind::Double).double_value(&[]);
        assert!((rise - expected).abs() < 0.02 * expected, "{name}: {rise} {expected}");
    }
}

#[test]
fn a_carried_state_makes_rows_one_text() {
    let _alone = alone();
    for cell in [Cell::Lstm, Cell::Gru, Cell::Rnn] {
        let loaded = loaded(recurrent(cell), 4);
        let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]]);
        let whole = loaded.network.hidden(&ids, &Seen::default(), 0.0);
        let state = carry::first(true, 2, &loaded.config, Device::Cpu);
        let part = |from: i64| {
            let rows = Batch { ids: ids.narrow(1, from, 3), ..batch("packed", &rows(1), None) };
            let rows = carry::with(rows, &state);
            loaded.network.hidden(&rows.ids, &rows.seen, 0.0)
        };
        let parts = Tensor::cat(&[part(0), part(3)], 1);
        assert!(largest_difference(&whole, &parts) < 1e-6, "{cell:?}");
        // The state came in as a value: no gradient goes back beyond the row.
        parts.sum(Kind::Float).backward();
    }
}

#[test]
fn cached_generation_of_recurrent_networks_is_plain_generation() {
    let _alone = alone();
    for cell in [Cell::Lstm, Cell::Gru, Cell::Rnn] {
        let loaded = loaded(recurrent(cell), 9);
        tch::no_grad(|| loaded.parameters.tensors().into_iter().filter(|x| x.dim() == 2).for_each(|mut x| drop(x.g_mul_scalar_(6.0))));
        let prompts: Vec<Vec<i64>> = rows(6).into_iter().map(|row| row.tokens[..3 + row.tokens.len() % 4].to_vec()).collect();
        let eos = greedy_plain(&loaded, &prompts[0], 2, 12).0[4];
        let expected: Vec<_> = prompts.iter().map(|prompt| greedy_plain(&loaded, prompt, eos, 12)).collect();
        assert_eq!(greedy(&loaded, &prompts, eos, 12), expected, "{cell:?}");
    }
}

#[test]
fn saved_sequences_give_the_same_hidden_states() {
    let _alone = alone();
    let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(tokenizer.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(tokenizer.path().join("tokenizer_config.json"), "{}").unwrap();
    let untied =
        NetworkConfig { recurrent: Recurrent { cell: Cell::Gru, tied: false }, heads: 1, feed_forward: 64, ..recurrent(Cell::Gru) };
    let marian = seq2seq(Style::Marian, Activation::Swish);
    let marian = NetworkConfig { seq2seq: Seq2seq { decoder_layers: Some(1), ..marian.seq2seq.clone() }, ..marian };
    for config in [untied, marian] {
        let before = loaded(config, 4);
        folder::save(dir.path(), &before.config, &before.parameters, tokenizer.path()).unwrap();
        let after = folder::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(after.config, before.config);
        let ids = Tensor::from_slice2(&[[5i64, 6, 7, 8], [9, 10, 11, 12]]);
        let seen = Seen { target: Some(ids.shallow_clone()), ..Seen::default() };
        let hidden = |loaded: &Loaded| tch::no_grad(|| loaded.network.hidden(&ids, &seen, 0.0));
        assert_eq!(hidden(&before), hidden(&after));
    }
}
