//! Shards that are written while documents are still being encoded: as soon as all their documents are, so that the disk is at work beside the
//! processors and not after them.
//!
//! How large shards are follows from the number of all tokens, which nobody knows yet. It is guessed where the guess is safe, and a shard that turns
//! out to be another one is written again; what is in the artifact never hangs on any of this.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use engine::draft::PARTS;
use engine::manifest::FileManifest;
use engine::{Context, Draft, Part};
use serde::{Deserialize, Serialize};

use super::fill;
use super::packed::{ENCODE, Job};
use super::packing::guess_shard_rows;
use super::plan::{Plan, Planner, Window};
use super::summary::Shard;

const FOLDER: &str = "early";

/// A shard that was written early.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    window: Window,
    pub(super) shard: Shard,
    pub(super) file: FileManifest,
}

pub(super) struct Early<'a> {
    ctx: &'a Context,
    job: &'a Job<'a>,
    parts: &'a [Part],
    state: Mutex<State>,
}

struct State {
    /// Files of documents that are encoded.
    encoded: HashSet<usize>,
    /// `None` until the size of shards is guessed.
    planner: Option<Planner>,
    /// Shards may be written early.
    enabled: bool,
}

impl<'a> Early<'a> {
    /// Of files that an earlier run encoded nothing is written here: it was written then, or will be later.
    pub(super) fn new(ctx: &'a Context, job: &'a Job<'a>, parts: &'a [Part]) -> Result<Early<'a>> {
        let draft = job.draft;
        let encoded = draft.finished(ENCODE);
        if encoded.is_empty() {
            // Whatever lies there was written before the system started anew, and may be damaged.
            let folder = record(draft, "");
            if folder.exists() {
                std::fs::remove_dir_all(&folder).with_context(|| format!("removing `{}`", folder.display()))?;
            }
        }
        // Shards that are finished must not be written again.
        let enabled = draft.leaves_scratch_unsynced() && draft.finished(PARTS).is_empty();
        let early = Early { ctx, job, parts, state: Mutex::new(State { encoded, planner: None, enabled }) };
        early.plan()?;
        Ok(early)
    }

    /// Writes the shards that a newly encoded file has filled.
    pub(super) fn encoded(&self, file: usize) -> Result<()> {
        self.state().encoded.insert(file);
        for window in self.plan()? {
            self.ctx.check_stop()?;
            self.write(window)?;
        }
        Ok(())
    }

    /// Reads the lists of files that are encoded, as far as they follow one another; returns the shards that they fill.
    fn plan(&self) -> Result<Vec<Window>> {
        let mut state = self.state();
        let State { encoded, planner, enabled } = &mut *state;
        if planner.is_none() && *enabled {
            let Some(rows_max) = self.guess(encoded)? else { return Ok(Vec::new()) };
            *planner = Some(Planner::new(self.job.settings.packing, &self.job.frame, rows_max));
        }
        let Some(planner) = planner else { return Ok(Vec::new()) };
        while encoded.contains(&planner.files()) {
            planner.read(&self.job.paths[planner.files()])?;
        }
        Ok(planner.take_full())
    }

    /// Rows of a full shard, by the tokens of the files that are encoded.
    fn guess(&self, encoded: &HashSet<usize>) -> Result<Option<u64>> {
        let bytes: u64 = self.parts.iter().map(|part| part.bytes).sum();
        let (mut seen, mut tokens) = (0, 0);
        for file in encoded {
            seen += self.parts[*file].bytes;
            tokens += self.job.tokens_of(*file)?;
        }
        if seen == 0 {
            return Ok(None);
        }
        let all = tokens as f64 * bytes as f64 / seen as f64;
        Ok(guess_shard_rows(self.job.settings, all))
    }

    fn write(&self, window: Window) -> Result<()> {
        let path = record(self.job.draft, &self.job.shard(&window).relative());
        let failed = || format!("writing `{}`", path.display());
        let _ = std::fs::remove_file(&path);
        let members = window.members(&self.job.paths)?;
        let shard = fill::write_tokens(self.ctx, self.job, &window, &members)?;
        let file = self.job.draft.describe(&shard.relative(), shard.rows)?;
        let text = serde_json::to_vec(&Written { window, shard, file })?;
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).with_context(failed)?;
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path)).with_context(failed)
    }

    /// The plan for shards of this size, when all files are encoded.
    pub(super) fn finish(self, rows_max: u64) -> Result<Plan> {
        let Early { ctx, job, state, .. } = self;
        let planner = state.into_inner().unwrap_or_else(PoisonError::into_inner).planner;
        let mut planner = match planner.filter(|planner| planner.rows_max() == rows_max) {
            Some(planner) => planner,
            None => Planner::new(job.settings.packing, &job.frame, rows_max),
        };
        for path in &job.paths[planner.files()..] {
            ctx.check_stop()?;
            planner.read(path)?;
        }
        let plan = planner.finish();
        remove_strays(job, &plan)?;
        Ok(plan)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is noted of a shard.
fn record(draft: &Draft, relative: &str) -> PathBuf {
    draft.scratch_path(FOLDER, 0).with_file_name(relative)
}

/// The shard of a window, if it was written early.
pub(super) fn find(job: &Job, window: &Window) -> Option<Written> {
    let text = std::fs::read(record(job.draft, &job.shard(window).relative())).ok()?;
    serde_json::from_slice::<Written>(&text).ok().filter(|written| written.window == *window)
}

/// A wrong guess may have made more shards than there are.
fn remove_strays(job: &Job, plan: &Plan) -> Result<()> {
    let planned: HashSet<PathBuf> = plan.windows.iter().map(|window| job.draft.dir().join(job.shard(window).relative())).collect();
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for path in entries(&job.draft.dir().join("tokens")).flat_map(|split| entries(&split).collect::<Vec<_>>()) {
        if !planned.contains(&path) {
            std::fs::remove_file(&path).with_context(|| format!("removing `{}`", path.display()))?;
        }
    }
    Ok(())
}
