//! Ten steps of a small GPT-2 as the training loop takes them, against those that transformers and PyTorch take (steps_golden.py).

use std::collections::BTreeMap;

use model::{NetworkConfig, Row};
use serde_json::Value;
use tch::{Device, Kind};

use super::networks::by_formula;
use super::{alone, batch, settings};
use crate::loss::Sums;
use crate::objective::{self, Batch, Mode, Scale};
use crate::optimizer::optimizer;
use crate::parameters::Parameters;
use crate::{models, schedule};

#[test]
fn ten_steps_are_those_of_transformers() {
    let _alone = alone();
    // 1 × 8 and 4 × 2 rows, whose batches predict unequally many tokens.
    for size in [8, 2] {
        check_steps(size);
    }
}

/// Batches of `size` rows are accumulated.
fn check_steps(size: usize) {
    let golden: Value = serde_json::from_str(include_str!("steps_golden.json")).unwrap();
    let numbers = |name: &str| -> Vec<f64> { serde_json::from_value(golden[name].clone()).unwrap() };
    let (losses, norms) = (numbers("losses"), numbers("gradients"));
    let steps: Vec<Vec<Vec<i64>>> = serde_json::from_value(golden["rows"].clone()).unwrap();
    assert_eq!((steps.len(), losses.len(), norms.len()), (10, 10, 10));
    let settings = settings(golden["settings"].clone());
    // Some steps are clipped, others are not.
    assert!(norms.iter().any(|norm| *norm > settings.grad_clip) && norms.iter().any(|norm| *norm < settings.grad_clip));
    let config = NetworkConfig::from_json(&golden["config"]).unwrap();
    let parameters = Parameters::new(Device::Cpu, 0);
    let network = models::build(&parameters.root(), &config);
    by_formula(&parameters);
    let optimizer = optimizer(&settings, &parameters).unwrap();
    for (i, rows) in steps.iter().enumerate() {
        let step = 1 + i as u64;
        let rows: Vec<Row> = rows.iter().map(|tokens| Row { tokens: tokens.clone(), ..Row::default() }).collect();
        let batches: Vec<Batch> = rows.chunks(size).map(|rows| batch("packed", rows, None)).collect();
        let predicted: u64 = batches.iter().map(|batch| batch.predicted).sum();
        let mut sums = Sums::default();
        for batch in &batches {
            sums += objective::learn(network.as_ref(), batch, Scale::of(predicted, rows.len() as u64), Mode::default()).unwrap();
        }
        let norm = optimizer.clip().unwrap();
        optimizer.step(step, step, schedule::learning_rate(&settings, step, steps.len() as u64)).unwrap();
        optimizer.forget();
        let loss = sums.nll / sums.count as f64;
        assert!((loss - losses[i]).abs() < 1e-5, "batches of {size}, step {step}: loss {loss}, not {}", losses[i]);
        assert!((norm - norms[i]).abs() < 1e-3 * norms[i], "batches of {size}, step {step}: norm {norm}, not {}", norms[i]);
    }
    let expected: BTreeMap<String, f64> = serde_json::from_value(golden["weights"].clone()).unwrap();
    let named = parameters.named();
    assert_eq!(named.len(), expected.len());
    // Biases of keys change no prediction: their gradients are nothing but rounding.
    for (name, tensor) in named.iter().filter(|(name, _)| !name.ends_with("c_attn.bias")) {
        let length = tensor.detach().to_kind(Kind::Double).norm().double_value(&[]);
        assert!((length - expected[name]).abs() < 1e-5, "batches of {size}: {name} has length {length}, not {}", expected[name]);
    }
}
