//! Running a plan: locks, resume, skip what stands, store what is made, journal all of it.

use std::collections::BTreeSet;
use std::fs::OpenOptions;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::draft::LOCK;
use crate::journal::Journal;
use crate::manifest::Identity;
use crate::plan::{Plan, PlannedStep, Selection, Status};
use crate::usage::{Meter, free_disk};
use crate::{Artifact, Context, Draft, GateFailed, Inputs, Manifest};

/// The fact by which a stage says which of its bounds are not kept. Whenever a run comes by such an artifact, it fails there.
pub const FAILED_GATES: &str = "failed_gates";

/// Hears what happens to steps; for the terminal.
pub trait Observer {
    fn skipped(&self, step: &PlannedStep);
    fn started(&self, step: &PlannedStep, resumed: bool);
    fn finished(&self, step: &PlannedStep, manifest: &Manifest);
}

/// Runs the selected steps that must run, and tells how many did. `describe` goes into the journal (the command line).
pub fn run(plan: &Plan, selection: &Selection, ctx: &Context, observer: &dyn Observer, describe: &str) -> Result<usize> {
    let selected = plan.select(selection)?;
    let forced = |step: &PlannedStep| selection.force.contains(&step.name);
    let must_run = |index: &usize| forced(&plan.steps[*index]) || matches!(plan.steps[*index].status, Status::Run { .. });
    plan.workspace.create()?;
    let _lock = plan.workspace.lock()?;
    check_disk(plan, &selected.iter().copied().filter(must_run).collect::<Vec<_>>())?;
    let mut artifacts: Vec<Option<Artifact>> = plan.steps.iter().map(standing).collect();
    if plan.verify {
        verify(plan, &selected, &artifacts)?;
    }
    let (mut journal, mut ran): (Option<Journal>, usize) = (None, 0);
    for index in selected {
        let step = &plan.steps[index];
        if !must_run(&index) {
            if let Some(artifact) = &artifacts[index] {
                plan.workspace.link(&step.name, &artifact.dir)?;
            }
            observer.skipped(step);
            artifacts[index].as_ref().map_or(Ok(()), gates)?;
            continue;
        }
        let journal = match &mut journal {
            Some(journal) => journal,
            None => {
                let started = journal.insert(Journal::create(&plan.workspace.dir.join("journal"))?);
                started.event("run_started", json!({"command": describe, "program": env!("CARGO_PKG_VERSION"), "seed": plan.seed}))?;
                started
            }
        };
        let inputs = inputs(plan, step, &artifacts)?;
        journal.event("step_started", json!({"step": step.name, "key": step.key}))?;
        match run_step(plan, step, inputs, ctx, observer, forced(step)) {
            Ok(artifact) => {
                let manifest = &artifact.manifest;
                let fields = json!({"step": step.name, "key": step.key, "rows": manifest.rows(artifact.main()), "seconds": manifest.usage.wall_seconds});
                journal.event("step_finished", fields)?;
                observer.finished(step, manifest);
                if let Err(error) = gates(&artifact) {
                    journal.event("run_finished", json!({"status": "failed"}))?;
                    return Err(error);
                }
                artifacts[index] = Some(artifact);
                ran += 1;
            }
            Err(error) => {
                // What the step says comes first: the journal may fail for the same reason, a full disk.
                let _ = journal.event("step_failed", json!({"step": step.name, "error": format!("{error:#}")}));
                let _ = journal.event("run_finished", json!({"status": "failed"}));
                return Err(error.context(format!("step `{}`", step.name)));
            }
        }
    }
    if let Some(mut journal) = journal {
        journal.event("run_finished", json!({"status": "done"}))?;
    }
    Ok(ran)
}

/// An error where an artifact has failed gates.
fn gates(artifact: &Artifact) -> Result<()> {
    if !artifact.manifest.facts.contains_key(FAILED_GATES) {
        return Ok(());
    }
    let failed: Vec<String> = artifact.fact(FAILED_GATES)?;
    Err(anyhow::Error::new(GateFailed(failed)).context(format!("step `{}`", artifact.manifest.step)))
}

fn standing(step: &PlannedStep) -> Option<Artifact> {
    match &step.status {
        Status::Cached(artifact) => Some((**artifact).clone()),
        Status::Run { .. } => None,
    }
}

/// Hashes the artifacts that stand of the selected steps and of those they read.
fn verify(plan: &Plan, selected: &[usize], artifacts: &[Option<Artifact>]) -> Result<()> {
    let read = selected.iter().flat_map(|index| plan.steps[*index].inputs.iter().flat_map(|(_, steps)| steps));
    let wanted: BTreeSet<usize> = selected.iter().chain(read).copied().collect();
    for artifact in wanted.into_iter().filter_map(|index| artifacts[index].as_ref()) {
        artifact.verify().with_context(|| format!("step `{}`", artifact.manifest.step))?;
    }
    Ok(())
}

/// Refuses before any work when the disk cannot hold what the steps will write.
fn check_disk(plan: &Plan, running: &[usize]) -> Result<()> {
    let needed = plan.disk_needed(running);
    match free_disk(&plan.workspace.dir) {
        Some(free) if free < needed => bail!(
            "about {} MB are needed in `{}` and {} MB are free; free some space or choose another place with `workspace = \"…\"`",
            needed / 1_000_000,
            plan.workspace.dir.display(),
            free / 1_000_000
        ),
        _ => Ok(()),
    }
}

fn inputs(plan: &Plan, step: &PlannedStep, artifacts: &[Option<Artifact>]) -> Result<Inputs> {
    let mut connected = Vec::new();
    for (port, steps) in &step.inputs {
        for index in steps {
            let Some(artifact) = &artifacts[*index] else {
                let needed = &plan.steps[*index].name;
                bail!(
                    "step `{}` needs step `{needed}`, which has no artifact for these settings and is not selected; run it too (for example with --from {needed})",
                    step.name
                );
            };
            connected.push((port.clone(), artifact.clone()));
        }
    }
    Ok(Inputs { artifacts: connected, files: step.files.clone() })
}

fn run_step(plan: &Plan, step: &PlannedStep, inputs: Inputs, ctx: &Context, observer: &dyn Observer, forced: bool) -> Result<Artifact> {
    ctx.check_stop()?;
    let dir = plan.workspace.draft_dir(&step.name, &step.key);
    let target = plan.workspace.artifact_dir(&step.name, &step.key);
    if dir.exists() {
        wait_for_outside_writer(&dir)?;
        if forced {
            std::fs::remove_dir_all(&dir).with_context(|| format!("removing `{}`", dir.display()))?;
        }
    }
    observer.started(step, dir.exists());
    if let Some(manifest) = Manifest::read(&dir)?
        && manifest.key == step.key
        && !target.exists()
    {
        // Killed between the manifest and the rename: all work is done.
        let artifact = crate::draft::publish(&dir, &target)?;
        plan.workspace.link(&step.name, &artifact.dir)?;
        return Ok(artifact);
    }
    let meter = Meter::start();
    let draft = Draft::open(&dir, &step.key)?;
    step.run.run(ctx, &inputs, &draft)?;
    let identity = Identity {
        step: step.name.clone(),
        stage: step.stage.to_string(),
        version: step.version,
        kind: step.kind,
        key: step.key.clone(),
        key_parts: step.key_parts.clone(),
    };
    let before = plan.workspace.find(&step.name, &step.key)?;
    let artifact = match before {
        None => {
            // A folder of another manifest format or a cut-off key in the way.
            if target.exists() {
                std::fs::remove_dir_all(&target).with_context(|| format!("removing `{}`", target.display()))?;
            }
            draft.finish(identity, &inputs, &target, &meter.stop())?
        }
        Some(before) => compare(draft, identity, &inputs, before, &meter)?,
    };
    plan.workspace.link(&step.name, &artifact.dir)?;
    Ok(artifact)
}

/// A forced step must reproduce the standing artifact, which then stays.
fn compare(draft: Draft, identity: Identity, inputs: &Inputs, before: Artifact, meter: &Meter) -> Result<Artifact> {
    let second = before.dir.with_extension("forced");
    if second.exists() {
        std::fs::remove_dir_all(&second).with_context(|| format!("removing `{}`", second.display()))?;
    }
    let again = draft.finish(identity, inputs, &second, &meter.stop())?;
    if again.manifest.fingerprint != before.manifest.fingerprint {
        let differing: Vec<&str> = again
            .manifest
            .files
            .iter()
            .filter(|file| !file.volatile && !before.manifest.files.contains(file))
            .map(|file| file.path.as_str())
            .collect();
        bail!(
            "stage `{}` is not deterministic: run again with the same key it wrote other bytes in {}; the first artifact stays, the second is `{}` (models compute other last digits with another number of threads)",
            before.manifest.stage,
            crate::list(differing),
            second.display()
        );
    }
    std::fs::remove_dir_all(&second).with_context(|| format!("removing `{}`", second.display()))?;
    Ok(before)
}

/// A model process of a killed run may still write a last checkpoint; its lock ends with it.
fn wait_for_outside_writer(draft: &std::path::Path) -> Result<()> {
    let path = draft.join(LOCK);
    if !path.exists() {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("opening `{}`", path.display()))?;
    file.lock().with_context(|| format!("waiting for the process that holds `{}`", path.display()))
}
