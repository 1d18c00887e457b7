//! The journal: one JSON-lines file per run, so that `runs` can be queried and a run can be followed from another terminal.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The file of the running run.
pub struct Journal {
    file: File,
    path: PathBuf,
    run: String,
}

impl Journal {
    /// Starts the file of a new run in `dir`.
    pub fn create(dir: &Path) -> Result<Journal> {
        let run = format!("{}-{}", timestamp().replace([':', '-'], ""), std::process::id());
        let path = dir.join(format!("{run}.jsonl"));
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(Journal { file, path, run })
    }

    /// Appends an event with its time. Members of `fields` follow `run`, `time` and `event`.
    pub fn event(&mut self, event: &str, fields: Value) -> Result<()> {
        let mut line = json!({"run": self.run, "time": timestamp(), "event": event});
        if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
            line.extend(fields);
        }
        self.file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("writing the journal `{}`", self.path.display()))
    }
}

/// Now, in UTC, as `2026-01-31T12:00:00Z`.
pub fn timestamp() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or(0);
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
    }
}
