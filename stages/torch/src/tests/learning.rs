//! How weights change: optimizers against PyTorch's, averages, disturbed embeddings, frozen parts.

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{alone, batch, config, gradients, largest_difference, loaded, rows, settings};
use crate::ema::Ema;
use crate::objective::{Mode, Scale};
use crate::optimizer::optimizer;
use crate::parameters::{Init, Parameters};
use crate::{adversarial, objective, shim};
use model::{Family, Head};

/// sin(factor k) for k = 1, 2, …, as loop_golden.py has it.
fn wave(count: i64, factor: f64) -> Tensor {
    let values: Vec<f32> = (1..=count).map(|k| (factor * k as f64).sin() as f32).collect();
    Tensor::from_slice(&values)
}

const SHAPES: [(&str, &str, &[i64]); 3] = [("h.0", "weight", &[6, 5]), ("h.0", "bias", &[6]), ("head", "weight", &[3, 6])];

fn network() -> Parameters {
    let parameters = Parameters::new(Device::Cpu, 1);
    for (i, (place, name, shape)) in SHAPES.into_iter().enumerate() {
        let mut variable = (&parameters.root() / place).variable(name, shape, Init::Constant(0.0));
        let values = wave(shape.iter().product(), 1.7 + i as f64).view(shape) * 0.5;
        tch::no_grad(|| variable.copy_(&values));
    }
    parameters
}

fn loss_of(parameters: &Parameters, step: usize) -> Tensor {
    let [first, bias, second] = <[Tensor; 3]>::try_from(parameters.tensors()).unwrap();
    let (x, target) = (wave(40, 0.3 + step as f64).view([8, 5]), wave(24, 0.9 + step as f64).view([8, 3]));
    let hidden = x.linear(&first, Some(&bias)).tanh();
    (hidden.linear(&second, None::<&Tensor>) - target).square().mean(Kind::Float)
}

/// Made by loop_golden.py with torch.optim.
fn scale(predicted: f64) -> Scale {
    Scale { predicted, rows: predicted, ..Scale::of(1, 1) }
}

#[test]
fn optimizers_are_those_of_pytorch() {
    let _alone = alone();
    let golden: Value = serde_json::from_str(include_str!("loop_golden.json")).unwrap();
    let cases = golden["optimizers"].as_array().unwrap();
    assert!(cases.len() >= 11);
    for case in cases {
        let settings = settings(case["settings"].clone());
        let parameters = network();
        let optimizer = optimizer(&settings, &parameters).unwrap();
        for (i, expected) in case["losses"].as_array().unwrap().iter().enumerate() {
            let loss = loss_of(&parameters, i);
            let difference = (loss.double_value(&[]) - expected.as_f64().unwrap()).abs();
            assert!(difference < 1e-5, "{}: step {}: {difference}", case["settings"], i + 1);
            loss.backward();
            optimizer.clip().unwrap();
            optimizer.step(1 + i as u64, 1 + i as u64, settings.learning_rate).unwrap();
            optimizer.forget();
        }
        for (name, tensor) in parameters.named() {
            let expected: Vec<f32> = serde_json::from_value(case["weights"][&name].clone()).unwrap();
            let difference = largest_difference(&tensor.reshape([-1]), &Tensor::from_slice(&expected));
            assert!(difference < 1e-6, "{}: {name}: {difference}", case["settings"]);
        }
    }
}

#[test]
fn groups_that_fit_nothing_or_leave_nothing_are_refused() {
    let _alone = alone();
    let check = |pattern: &str, expected: &str| {
        let settings = settings(json!({"groups": [{"pattern": pattern, "freeze": true}]}));
        let error = optimizer(&settings, &network()).err().unwrap().to_string();
        assert_eq!(error, expected);
    };
    check("h.1.*", "groups: no parameter fits `h.1.*`; their names are h.0.weight, h.0.bias, head.weight");
    check("*", "`groups` freeze all parameters: nothing would be learned");
}

#[test]
fn the_average_follows_the_formula_and_steps_aside() {
    let _alone = alone();
    let parameters = network();
    let ema = Ema::new(0.3, &parameters);
    ema.begin().unwrap();
    let weights = parameters.tensors();
    let mut expected = weights[0].detach().copy();
    for step in 1..=5u64 {
        tch::no_grad(|| drop(weights[0].shallow_clone().g_add_scalar_(step as f64)));
        ema.update(step).unwrap();
        let decay = 0.3f64.min((1.0 + step as f64) / (10.0 + step as f64));
        expected = &expected * decay + weights[0].detach() * (1.0 - decay);
    }
    let before = weights[0].detach().copy();
    let used = ema.used(|| Ok(weights[0].detach().copy())).unwrap();
    assert!(largest_difference(&used, &expected) < 1e-5);
    assert_eq!(weights[0].detach(), before);
    assert!(largest_difference(&ema.state()[0].1, &expected) < 1e-5);
    assert!(Ema::new(0.0, &parameters).state().is_empty());
}

#[test]
fn frozen_parts_stay_and_the_rest_learns() {
    let _alone = alone();
    let rows = rows(4);
    for (pattern, learned) in [("transformer.wte.*", "transformer.ln_f.weight"), ("transformer.h.*", "transformer.wte.weight")] {
        let loaded = loaded(config(Family::Gpt, Head::Causal), 3);
        let settings = settings(json!({"groups": [{"pattern": pattern, "freeze": true}]}));
        let optimizer = optimizer(&settings, &loaded.parameters).unwrap();
        let before: Vec<Tensor> = loaded.parameters.tensors().iter().map(|tensor| tensor.detach().copy()).collect();
        let batch = batch("packed", &rows, None);
        objective::learn(loaded.network.as_ref(), &batch, scale(0.01), Mode::default()).unwrap();
        optimizer.step(1, 1, 1e-2).unwrap();
        for ((name, now), before) in loaded.parameters.named().iter().zip(&before) {
            if settings.groups[0].fits(name) {
                assert!(!now.grad().defined() && now.detach() == *before, "{name} was to stay");
            }
            assert!(name != learned || now.detach() != *before, "{name} was to learn");
        }
    }
}

#[test]
fn embeddings_are_disturbed_within_epsilon_and_come_back() {
    let _alone = alone();
    let rows = rows(4);
    for (method, epsilon, steps) in [("fgm", 0.5, 1), ("pgd", 0.5, 4)] {
        let loaded = loaded(config(Family::Bert, Head::Classify { classes: vec!["ham".into(), "spam".into()] }), 3);
        let settings = settings(json!({"adversarial": {"method": method, "epsilon": epsilon, "steps": 4, "step_size": 0.2}}));
        let batch = batch("classify", &rows, None);
        let learn = || objective::learn(loaded.network.as_ref(), &batch, scale(0.25), Mode::default()).unwrap();
        let embeddings = loaded.parameters.named().into_iter().find(|(name, _)| name.ends_with("word_embeddings.weight")).unwrap().1;
        let before = embeddings.detach().copy();
        let clean = learn();
        let plain = gradients(&loaded.parameters);
        let (mut distances, mut losses, mut last) = (Vec::new(), Vec::new(), Vec::new());
        adversarial::learn_disturbed(&settings, &loaded.parameters, || {
            distances.push((embeddings.detach() - &before).norm().double_value(&[]));
            losses.push(learn().nll);
            last = gradients(&loaded.parameters).into_iter().map(|(_, gradient)| gradient.copy()).collect();
            Ok(())
        })
        .unwrap();
        assert_eq!(embeddings.detach(), before);
        assert_eq!(distances.len(), steps);
        assert!(distances.iter().all(|distance| *distance <= epsilon + 1e-4), "{distances:?}");
        assert!((distances[steps - 1] - epsilon).abs() < 1e-4, "{distances:?}");
        // On the rim of the ball a step may overshoot, so later losses need not rise on.
        assert!(losses.iter().all(|loss| *loss > clean.nll), "{} {losses:?}", clean.nll);
        // The step learns from both.
        for (((name, sum), (_, plain)), disturbed) in gradients(&loaded.parameters).iter().zip(&plain).zip(&last) {
            assert!(largest_difference(sum, &(plain + disturbed)) < 1e-6, "{name}");
        }
    }
}

#[test]
fn values_are_clipped_one_by_one() {
    let _alone = alone();
    let parameters = Parameters::new(Device::Cpu, 2);
    let x = parameters.root().variable("x", &[3], Init::Constant(1.0));
    (Tensor::from_slice(&[3f32, -0.2, -4.0]) * &x).sum(Kind::Float).backward();
    shim::clip_values(&parameters.tensors(), 0.5).unwrap();
    assert_eq!(x.grad(), Tensor::from_slice(&[0.5f32, -0.2, -0.5]));
}
