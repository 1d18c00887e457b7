//! What of a training is said on the terminal besides its tries.

use std::collections::BTreeMap;

use super::{Metrics, Timing};

/// What the steps since the last line took.
#[derive(Debug, Default)]
pub struct Since {
    /// Of each task: losses times what they are means over, and that.
    losses: BTreeMap<Option<String>, [f64; 2]>,
    tokens: f64,
    seconds: f64,
    waited: f64,
    /// Seconds times the share of the hardware that was used.
    used: f64,
    memory: Option<u64>,
}

impl Since {
    /// Takes note of what was learned from.
    pub fn learned(&mut self, row: &Metrics) {
        // Steps that are not finite are not learned from.
        if let Some(loss) = row.loss.filter(|loss| loss.is_finite()) {
            let [sum, count] = self.losses.entry(row.task.clone()).or_default();
            (*sum, *count) = (*sum + loss * row.tokens as f64, *count + row.tokens as f64);
        }
    }

    /// Takes note of how long that took.
    pub fn add(&mut self, row: &Timing) {
        self.tokens += row.tokens_per_second * row.seconds;
        self.seconds += row.seconds;
        self.waited += row.data_wait_seconds;
        self.used += row.flops_utilization * row.seconds;
        self.memory = row.memory_bytes;
    }

    /// As the end of a line; `None` of no steps.
    pub fn line(&self) -> Option<String> {
        let losses = self.losses.iter().filter(|(_, [_, count])| *count > 0.0).map(|(task, [sum, count])| {
            let of = task.as_ref().map(|task| format!("{task} ")).unwrap_or_default();
            format!("train {of}loss {:.4}, ", sum / count)
        });
        let loss: String = losses.collect();
        let memory = self.memory.map(|bytes| format!("{} MB, ", bytes / 1_000_000)).unwrap_or_default();
        let share = |seconds: f64| 100.0 * seconds / self.seconds;
        let (used, waited, speed) = (share(self.used), share(self.waited), self.tokens / self.seconds);
        (self.seconds > 0.0).then(|| format!("{loss}MFU {used:.1} %, data wait {waited:.1} %, {memory}{speed:.0} tokens/s"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_ends_in_the_speed_of_all_steps_since_the_last() {
        let mut since = Since::default();
        assert_eq!(since.line(), None);
        let row = |seconds: f64, wait: f64, used: f64| {
            json!({
                "step": 1, "seconds": seconds, "tokens_per_second": 100.0 / seconds, "data_wait_seconds": wait, "flops_utilization": used,
                "memory_bytes": 2_500_000
            })
        };
        for row in [row(1.0, 0.0, 0.5), row(3.0, 0.5, 0.1)] {
            since.add(&serde_json::from_value(row).unwrap());
        }
        let speed = "MFU 20.0 %, data wait 12.5 %, 2 MB, 50 tokens/s";
        assert_eq!(since.line().unwrap(), speed);
        for (loss, tokens) in [(json!(2.0), 30), (json!(4.0), 10), (json!(null), 0)] {
            since.learned(&serde_json::from_value(json!({"step": 1, "split": "train", "loss": loss, "tokens": tokens})).unwrap());
        }
        let bad = json!({"step": 1, "split": "train", "tokens": 5});
        since.learned(&Metrics { loss: Some(f64::NAN), ..serde_json::from_value(bad).unwrap() });
        assert_eq!(since.line().unwrap(), format!("train loss 2.5000, {speed}"));
    }
}
