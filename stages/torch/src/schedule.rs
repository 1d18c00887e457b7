//! The learning rate of a step: linear warm-up, then cosine, line or constant. Pure.

use model::{Schedule, Train};

/// The learning rate of optimizer step `step` (from 1) of `total`.
pub fn learning_rate(settings: &Train, step: u64, total: u64) -> f64 {
    let (highest, lowest) = (settings.learning_rate, settings.lowest_learning_rate());
    if step <= settings.warmup_steps {
        return highest * step as f64 / settings.warmup_steps as f64;
    }
    let rest = total.saturating_sub(settings.warmup_steps).max(1);
    let progress = (step - settings.warmup_steps).min(rest) as f64 / rest as f64; // above 0, at most 1
    let share = match settings.schedule {
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        Schedule::Linear => 1.0 - progress,
        Schedule::Constant => return highest,
    };
    lowest + share * (highest - lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, expected: [f64; 6]) {
        let json =
            format!(r#"{{"steps": 1, "learning_rate": 1.0, "min_learning_rate": 0.2, "warmup_steps": 2, "schedule": "{schedule}"}}"#);
        let settings: Train = serde_json::from_str(&json).unwrap();
        for (step, expected) in [1, 2, 4, 6, 8, 10].into_iter().zip(expected) {
            let found = learning_rate(&settings, step, 10);
            assert!((found - expected).abs() < 1e-12, "{schedule} step {step}: {found}");
        }
    }

    #[test]
    fn rises_then_falls_to_the_lowest() {
        let cosine = |share: f64| 0.2 + 0.8 * 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        check("cosine", [0.5, 1.0, cosine(0.25), 0.6, cosine(0.75), 0.2]);
        check("linear", [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]);
        check("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
