//! Steps that would harm: losses or gradients that are not finite, and losses far above the usual.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use model::{Courses, OnSpike, Train};
use serde::{Deserialize, Serialize};

use crate::log::{Log, Metrics, Spike};
use crate::worker::Worker;

/// The usual loss is a running mean over about so many steps, and known after so many.
const MEMORY_STEPS: f32 = 100.0;
const KNOWN_AFTER_STEPS: u64 = 20;
/// So many spikes one after another end a training that skips them.
const MOST_IN_A_ROW: u64 = 10;
/// Documents that an error names.
const NAMED: usize = 8;

/// What later steps are judged by. In f32, which its decimals in a checkpoint give back exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spikes {
    usual: f32,
    steps: u64,
    in_a_row: u64,
}

impl Spikes {
    /// What is wrong with a step; `None` for a good one, by which the next ones are judged. A step that predicted nothing has no loss: it
    /// is judged by its gradients alone, and no other by it.
    pub fn judge(&mut self, factor: f64, loss: Option<f64>, grad_norm: f64) -> Option<String> {
        let usual = f64::from(self.usual);
        let reason = match loss {
            Some(loss) if !loss.is_finite() => format!("the loss is {loss}"),
            _ if !grad_norm.is_finite() => format!("the gradient norm is {grad_norm}"),
            Some(loss) if factor > 0.0 && self.steps >= KNOWN_AFTER_STEPS && loss > factor * usual => {
                format!("the loss {loss:.4} is more than {factor} times the usual {usual:.4}")
            }
            Some(loss) => {
                self.steps += 1;
                self.usual += (loss as f32 - self.usual) / MEMORY_STEPS.min(self.steps as f32);
                self.in_a_row = 0;
                return None;
            }
            None => return None,
        };
        self.in_a_row += 1;
        Some(reason)
    }

    /// Logs a step that was judged bad, with its documents, and says so; an error unless such steps are to be skipped.
    pub fn note(&self, settings: &Train, metrics: &Metrics, reason: &str, courses: &Courses, log: &mut Log, worker: &Worker) -> Result<()> {
        let samples = courses.batches_of(metrics.step).map(|batch| courses.batch(batch)).collect::<Result<Vec<_>>>()?.concat();
        // All batches of a step are of one task.
        let rows = courses.rows(courses.batches_of(metrics.step).start);
        let mut spikes = Vec::new();
        for sample in samples {
            let place = rows.place(sample.row)?;
            for piece in rows.pieces(sample.row)? {
                let document = piece.document.iter().map(|byte| format!("{byte:02x}")).collect();
                let (source, row, reason) = (place.step.to_string(), place.row, reason.to_string());
                spikes.push(Spike { step: metrics.step, reason, source, row, document });
            }
        }
        log.spikes(&spikes)?;
        let documents: BTreeSet<&str> = spikes.iter().map(|spike| spike.document.as_str()).collect();
        let named = documents.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = documents.len().saturating_sub(NAMED);
        let of = format!(
            "step {}: {reason}; its documents are {named}{}",
            metrics.step,
            if more > 0 { format!(" and {more} more") } else { String::new() }
        );
        let help = "lower learning_rate, raise warmup_steps, use precision = \"f32\"";
        match settings.on_spike {
            OnSpike::Skip if self.in_a_row < MOST_IN_A_ROW => {
                worker.note(&format!("{of}; it was skipped"));
                Ok(())
            }
            OnSpike::Skip => bail!("{of}; that were {MOST_IN_A_ROW} such steps in a row: {help}"),
            OnSpike::Stop => bail!(
                "{of}; {help}, or leave such steps out with on_spike = \"skip\"; each is another setting, with which the training begins \
                 again at its first step (all documents are in {})",
                log.spikes_path()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_judged_by_those_before() {
        let mut spikes = Spikes::default();
        let mut judge = |loss: f64, norm: f64| spikes.judge(2.0, Some(loss), norm);
        for step in 0..20 {
            // The first losses may be anything that is finite.
            assert_eq!(judge(if step == 0 { 100.0 } else { 3.0 }, 1.0), None);
        }
        assert_eq!(judge(15.7 + 0.01, 1.0).unwrap(), "the loss 15.7100 is more than 2 times the usual 7.8500");
        assert_eq!(judge(15.6, 1.0), None);
        assert_eq!(judge(f64::NAN, 1.0).unwrap(), "the loss is NaN");
        assert_eq!(judge(3.0, f64::INFINITY).unwrap(), "the gradient norm is inf");
        assert_eq!(spikes.in_a_row, 2);
        // Without a loss, nothing is known of the next ones.
        let before = spikes;
        assert_eq!(spikes.judge(2.0, None, 0.0), None);
        assert_eq!(spikes, before);
        assert_eq!(spikes.judge(2.0, None, f64::NAN).unwrap(), "the gradient norm is NaN");
        assert_eq!(spikes.judge(0.0, Some(1e9), 1.0), None);
    }
}
