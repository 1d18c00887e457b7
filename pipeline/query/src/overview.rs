//! What is known about a workspace as tables: `steps`, `files`, `runs` and the counts of all steps.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use datafusion::catalog::{MemTable, TableProvider};
use engine::Artifact;
use engine::manifest::{FileManifest, Manifest};
use serde_json::Value;

use crate::errors::explain;

type Named = (&'static str, Arc<dyn TableProvider>);

/// The tables `steps`, `files` and `runs`. `artifacts` in the order of their numbers.
pub fn tables(artifacts: &[(String, Artifact)], journal: &Path) -> Result<Vec<Named>> {
    Ok(vec![("steps", steps(artifacts)?), ("files", files(artifacts)?), ("runs", runs(journal)?)])
}

/// Sorts steps so that each comes after its inputs; otherwise by when they finished, then by name. This gives them their numbers.
pub fn sort_by_inputs(artifacts: &mut Vec<(String, Artifact)>) {
    artifacts.sort_by(|a, b| (a.1.manifest.finished, &a.0).cmp(&(b.1.manifest.finished, &b.0)));
    let mut sorted: Vec<(String, Artifact)> = Vec::new();
    while !artifacts.is_empty() {
        let waits = |step: &(String, Artifact)| {
            let keys = input_keys(&step.1.manifest);
            artifacts.iter().any(|other| other.0 != step.0 && keys.contains(&other.1.manifest.key))
        };
        // Keys are hashes of inputs' keys, so there is no circle.
        let next = artifacts.iter().position(|step| !waits(step)).unwrap_or(0);
        sorted.push(artifacts.remove(next));
    }
    *artifacts = sorted;
}

/// Keys of the artifacts that a manifest names as inputs.
fn input_keys(manifest: &Manifest) -> Vec<String> {
    inputs(manifest).filter_map(|input| Some(input["key"].as_str()?.to_string())).collect()
}

fn inputs(manifest: &Manifest) -> impl Iterator<Item = &Value> {
    manifest.key_parts["inputs"]
        .as_object()
        .into_iter()
        .flat_map(|ports| ports.values())
        .flat_map(|port| port.as_array().into_iter().flatten())
}

/// One row per step: what it is, what it took, and its settings, counts and facts as JSON.
fn steps(artifacts: &[(String, Artifact)]) -> Result<Arc<dyn TableProvider>> {
    let manifests: Vec<&Manifest> = artifacts.iter().map(|(_, artifact)| &artifact.manifest).collect();
    let rows = artifacts.iter().map(|(_, artifact)| artifact.manifest.rows(artifact.main()) as i64);
    let input_steps = |manifest: &&Manifest| {
        let named = inputs(manifest).filter_map(|input| input["name"].as_str());
        named.collect::<Vec<_>>().join(", ")
    };
    table(vec![
        ("number", integers((1..=artifacts.len() as i64).collect())),
        ("step", strings(artifacts.iter().map(|(step, _)| step.clone()))),
        ("stage", strings(manifests.iter().map(|manifest| manifest.stage.clone()))),
        ("kind", strings(manifests.iter().map(|manifest| manifest.kind.name().to_string()))),
        ("inputs", strings(manifests.iter().map(input_steps))),
        ("key", strings(manifests.iter().map(|manifest| manifest.key.clone()))),
        ("fingerprint", strings(manifests.iter().map(|manifest| manifest.fingerprint.clone()))),
        ("rows", integers(rows.collect())),
        ("bytes", integers(manifests.iter().map(|manifest| manifest.files.iter().map(|file| file.bytes as i64).sum()).collect())),
        ("wall_seconds", numbers(manifests.iter().map(|manifest| manifest.usage.wall_seconds).collect())),
        ("cpu_seconds", numbers(manifests.iter().map(|manifest| manifest.usage.cpu_seconds).collect())),
        ("peak_memory", integers(manifests.iter().map(|manifest| manifest.usage.peak_memory as i64).collect())),
        ("parts_resumed", integers(manifests.iter().map(|manifest| manifest.usage.parts_resumed as i64).collect())),
        ("finished", times(manifests.iter().map(|manifest| manifest.finished as i64).collect())),
        ("settings", strings(manifests.iter().map(|manifest| manifest.key_parts["settings"].to_string()))),
        ("counts", strings(manifests.iter().map(|manifest| serde_json::json!(manifest.counts).to_string()))),
        ("facts", strings(manifests.iter().map(|manifest| serde_json::json!(manifest.facts).to_string()))),
        ("program", strings(manifests.iter().map(|manifest| manifest.program.clone()))),
    ])
}

/// One row per file of every step.
fn files(artifacts: &[(String, Artifact)]) -> Result<Arc<dyn TableProvider>> {
    let files: Vec<(&str, &FileManifest)> =
        artifacts.iter().flat_map(|(step, artifact)| artifact.manifest.files.iter().map(move |file| (step.as_str(), file))).collect();
    table(vec![
        ("step", strings(files.iter().map(|(step, _)| step.to_string()))),
        ("table_name", optional(files.iter().map(|(_, file)| file.table.clone()))),
        ("split", optional(files.iter().map(|(_, file)| file.split.clone()))),
        ("path", strings(files.iter().map(|(_, file)| file.path.clone()))),
        ("rows", integers(files.iter().map(|(_, file)| file.rows as i64).collect())),
        ("bytes", integers(files.iter().map(|(_, file)| file.bytes as i64).collect())),
        ("blake3", strings(files.iter().map(|(_, file)| file.blake3.clone()))),
        ("volatile", booleans(files.iter().map(|(_, file)| file.volatile).collect())),
    ])
}

/// The totals that stages noted: one row per step and name.
pub fn counts(artifacts: &[(String, Artifact)]) -> Result<Arc<dyn TableProvider>> {
    let rows: Vec<(i64, &str, &String, i64)> = artifacts
        .iter()
        .enumerate()
        .flat_map(|(index, (step, artifact))| {
            artifact.manifest.counts.iter().map(move |(name, n)| (index as i64 + 1, step.as_str(), name, *n))
        })
        .collect();
    table(vec![
        ("number", integers(rows.iter().map(|row| row.0).collect())),
        ("step", strings(rows.iter().map(|row| row.1.to_string()))),
        ("name", strings(rows.iter().map(|row| row.2.to_string()))),
        ("value", integers(rows.iter().map(|row| row.3).collect())),
    ])
}

/// One row per event of every run, oldest first: the journal as it stands.
fn runs(journal: &Path) -> Result<Arc<dyn TableProvider>> {
    let mut events = Vec::new();
    for path in journal_files(journal)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
        // The last line of a killed run may be cut.
        events.extend(text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()));
    }
    let text = |name: &'static str| -> ArrayRef {
        optional(events.iter().map(|event| event.get(name).and_then(Value::as_str).map(str::to_string)))
    };
    let seconds: ArrayRef = Arc::new(Float64Array::from_iter(events.iter().map(|event| event.get("seconds").and_then(Value::as_f64))));
    let rows: ArrayRef = Arc::new(Int64Array::from_iter(events.iter().map(|event| event.get("rows").and_then(Value::as_i64))));
    table(vec![
        ("run", text("run")),
        ("time", text("time")),
        ("event", text("event")),
        ("step", text("step")),
        ("key", text("key")),
        ("rows", rows),
        ("seconds", seconds),
        ("status", text("status")),
        ("error", text("error")),
        ("command", text("command")),
    ])
}

fn journal_files(journal: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(journal) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("listing `{}`", journal.display())),
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    Ok(paths)
}

fn strings(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn booleans(values: Vec<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(values))
}

/// Seconds since 1970.
fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampSecondArray::from(values).with_timezone("+00:00"))
}

fn integers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn numbers(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn table(columns: Vec<(&'static str, ArrayRef)>) -> Result<Arc<dyn TableProvider>> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(explain)?))
}
