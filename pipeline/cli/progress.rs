//! Progress of a run on stderr: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::plan::{PlannedStep, Status};
use engine::run::Observer;
use engine::{Manifest, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Hears of steps and of their progress.
pub struct Terminal {
    state: Mutex<State>,
    bars: bool,
    notes: bool,
}

struct State {
    step: String,
    started: Instant,
    printed: Instant,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// `notes`: whether steps may say how they go.
    pub fn new(notes: bool) -> Terminal {
        let now = Instant::now();
        let state = State { step: String::new(), started: now, printed: now, bar: None };
        Terminal { state: Mutex::new(state), bars: std::io::stderr().is_terminal(), notes }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A line that stays, above the bar where there is one.
    fn say(&self, message: &str) {
        let state = self.state();
        let line = format!("{:<18} {message}", state.step);
        match &state.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

/// Why a step runs. What it was begun for is of no matter when it goes on.
fn beginning(status: &Status, resumed: bool) -> String {
    match status {
        _ if resumed => "goes on".to_string(),
        Status::Run { why, .. } => why.to_string(),
        Status::Cached(_) => "forced".to_string(),
    }
}

impl Observer for Terminal {
    fn skipped(&self, step: &PlannedStep) {
        eprintln!("{:<18} unchanged", step.name);
    }

    fn started(&self, step: &PlannedStep, resumed: bool) {
        eprintln!("{:<18} {}", step.name, beginning(&step.status, resumed));
        let now = Instant::now();
        let bar = self.bars.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let template = "{prefix:<18} {bar:30} {percent:>3} % {msg} {elapsed} (left {eta})";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(step.name.clone());
            bar
        });
        *self.state() = State { step: step.name.clone(), started: now, printed: now, bar };
    }

    fn finished(&self, step: &PlannedStep, manifest: &Manifest) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
        let rejected = match manifest.rows("rejects") {
            0 => String::new(),
            rejected => format!(", {rejected} rejected"),
        };
        let rows = manifest.rows(manifest.kind.main_table());
        eprintln!("{:<18} {rows} {}{rejected} in {:.1} s", step.name, manifest.kind.rows_name(), manifest.usage.wall_seconds);
    }
}

impl Progress for Terminal {
    fn update(&self, done: u64, total: u64, unit: &str) {
        let mut state = self.state();
        let seconds = state.started.elapsed().as_secs_f64().max(1e-3);
        let rate =
            if unit == "B" { format!("{:.1} MB/s", done as f64 / 1e6 / seconds) } else { format!("{:.1} {unit}/s", done as f64 / seconds) };
        if let Some(bar) = &state.bar {
            bar.set_length(total);
            bar.set_message(rate);
            bar.set_position(done);
        } else if state.printed.elapsed() >= PLAIN_INTERVAL && total > 0 {
            state.printed = Instant::now();
            eprintln!("{:<18} {:>3} % {rate}, {seconds:.0} s", state.step, done * 100 / total);
        }
    }

    fn warn(&self, message: &str) {
        self.say(&format!("warning: {message}"));
    }

    fn note(&self, message: &str) {
        if self.notes {
            self.say(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::plan::Why;

    #[test]
    fn a_step_that_goes_on_did_run_before() {
        let never = || Status::Run { why: Why::New, resumed: true };
        assert_eq!(beginning(&never(), true), "goes on");
        assert_eq!(beginning(&never(), false), "it never ran");
    }
}
