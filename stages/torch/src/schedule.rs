//! The learning rate of a step: linear warm-up, then the course that the settings name. Pure.

use std::f64::consts::PI;

use model::{Schedule, Train};

/// Of one-cycle: where it begins, and the share of the steps over which it rises without a warm-up (PyTorch's defaults).
const ONE_CYCLE_DIVISOR: f64 = 25.0;
const ONE_CYCLE_RISE: f64 = 0.3;
/// Of inverse-sqrt without a warm-up (transformers' default).
const INVERSE_SQRT_STEPS: f64 = 10_000.0;

/// The learning rate of optimizer step `step` (from 1) of `total`.
pub fn learning_rate(settings: &Train, step: u64, total: u64) -> f64 {
    let (highest, lowest, warmup) = (settings.learning_rate, settings.lowest_learning_rate(), settings.warmup_steps);
    if settings.schedule == Schedule::OneCycle {
        return one_cycle(settings, step, total);
    }
    if step <= warmup {
        return highest * step as f64 / warmup as f64;
    }
    let rest = total.saturating_sub(warmup).max(1);
    let done = (step - warmup).min(rest); // from 1 on
    let progress = done as f64 / rest as f64; // above 0, at most 1
    let between = |share: f64| lowest + share * (highest - lowest);
    match settings.schedule {
        Schedule::Cosine => between(fall(progress)),
        Schedule::Linear => between(1.0 - progress),
        Schedule::Constant | Schedule::OneCycle => highest,
        Schedule::InverseSqrt => {
            let scale = if warmup > 0 { warmup as f64 } else { INVERSE_SQRT_STEPS };
            let shift = scale - warmup as f64;
            (highest * (scale / (step as f64 + shift)).sqrt()).max(settings.min_learning_rate.unwrap_or(0.0))
        }
        Schedule::Exponential => highest * (lowest / highest).powf(progress),
        Schedule::Step => {
            let every = settings.decay_steps.unwrap_or(rest.div_ceil(3)).max(1);
            highest * settings.decay_factor.unwrap_or(0.1).powi(((done - 1) / every) as i32)
        }
        Schedule::Wsd => {
            let decay = settings.decay_steps.unwrap_or(total / 5).clamp(1, rest);
            between((total.saturating_sub(step) as f64 / decay as f64).min(1.0))
        }
    }
}

/// Half a cosine from 1 to 0.
fn fall(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

/// Smith 2018 in PyTorch's form: its first step has learning_rate / 25, its last one min_learning_rate.
fn one_cycle(settings: &Train, step: u64, total: u64) -> f64 {
    let (highest, lowest) = (settings.learning_rate, settings.lowest_learning_rate());
    let rise = if settings.warmup_steps > 0 { settings.warmup_steps as f64 } else { ONE_CYCLE_RISE * total as f64 };
    let (now, top, end) = ((step - 1) as f64, rise - 1.0, total as f64 - 1.0);
    let (from, to, progress) = if now <= top || end <= top {
        (highest / ONE_CYCLE_DIVISOR, highest, if top > 0.0 { (now / top).min(1.0) } else { 1.0 })
    } else {
        (highest, lowest, ((now - top) / (end - top)).min(1.0))
    };
    to + (from - to) * fall(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(schedule: &str, more: &str) -> Train {
        let json =
            format!(r#"{{"steps": 1, "learning_rate": 1.0, "min_learning_rate": 0.2, "warmup_steps": 2, "schedule": "{schedule}"{more}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn check(schedule: &str, more: &str, expected: [f64; 6]) {
        let settings = settings(schedule, more);
        for (step, expected) in [1, 2, 4, 6, 8, 10].into_iter().zip(expected) {
            let found = learning_rate(&settings, step, 10);
            assert!((found - expected).abs() < 1e-12, "{schedule} step {step}: {found}");
        }
    }

    #[test]
    fn rises_then_falls_to_the_lowest() {
        let cosine = |share: f64| 0.2 + 0.8 * 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        check("cosine", "", [0.5, 1.0, cosine(0.25), 0.6, cosine(0.75), 0.2]);
        check("linear", "", [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]);
        check("constant", "", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
        check("inverse-sqrt", "", [0.5, 1.0, 0.5f64.sqrt(), (1f64 / 3.0).sqrt(), 0.5, 0.2f64.sqrt()]);
        check("exponential", "", [0.5, 1.0, 0.2f64.powf(0.25), 0.2f64.powf(0.5), 0.2f64.powf(0.75), 0.2]);
        check("step", r#", "decay_steps": 3, "decay_factor": 0.5"#, [0.5, 1.0, 1.0, 0.5, 0.5, 0.25]);
        check("wsd", r#", "decay_steps": 4"#, [0.5, 1.0, 1.0, 1.0, 0.6, 0.2]);
    }

    /// Made by tests/loop_golden.py with torch.optim.lr_scheduler and the formulas of transformers.
    #[test]
    fn rates_are_those_of_pytorch_and_transformers() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("tests/loop_golden.json")).unwrap();
        for case in golden["schedules"].as_array().unwrap() {
            let settings: Train = serde_json::from_value(case["settings"].clone()).unwrap();
            let total = settings.steps.unwrap();
            for (i, expected) in case["rates"].as_array().unwrap().iter().enumerate() {
                let (found, expected) = (learning_rate(&settings, 1 + i as u64, total), expected.as_f64().unwrap());
                assert!((found - expected).abs() < 1e-12, "{case}: step {}: {found}, not {expected}", 1 + i);
            }
        }
    }
}
