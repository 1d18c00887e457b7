//! The plan: every step of a config with its settings, inputs and key, and whether it must run and why.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::{Config, StepConfig};
use crate::files::HashCache;
use crate::reason::{Change, changes};
use crate::stage::AnyStage;
use crate::workspace::Workspace;
use crate::{Artifact, ConfigError, Disk, InputFile, Kind, Port, Site, Sql, StageEntry, StepView, list, suggest};

/// All steps of a config, in order.
pub struct Plan {
    pub steps: Vec<PlannedStep>,
    pub workspace: Workspace,
    pub seed: u64,
    /// Nothing is believed that can be hashed: input files, and artifacts that are read.
    pub verify: bool,
}

/// A step with everything its key is made of.
pub struct PlannedStep {
    pub name: String,
    pub stage: &'static str,
    pub version: u32,
    pub kind: Kind,
    /// Its files are for other programs.
    pub foreign: bool,
    /// Ports with the indices of the connected steps.
    pub inputs: Vec<(String, Vec<usize>)>,
    pub files: Vec<InputFile>,
    pub key: String,
    pub key_parts: Value,
    pub status: Status,
    /// Disk that the step will take: what it keeps by its last artifact or else its inputs.
    pub disk: Disk,
    pub(crate) run: Box<dyn AnyStage>,
}

/// Whether a step must run.
pub enum Status {
    /// Its artifact stands.
    Cached(Box<Artifact>),
    /// It must run. `resumed` tells that a draft of an interrupted run waits.
    Run { why: Why, resumed: bool },
}

/// Why a step must run.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// There is no earlier artifact of this step.
    New,
    /// These parts of the key changed.
    Changed(Vec<Change>),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Why::New => write!(f, "it never ran"),
            Why::Changed(changes) => {
                let shown: Vec<String> = changes.iter().take(5).map(describe).collect();
                let more = changes.len().saturating_sub(5);
                write!(f, "{}", shown.join("; "))?;
                if more > 0 { write!(f, "; and {more} more") } else { Ok(()) }
            }
        }
    }
}

/// A change in a user's words: `inputs.documents` holds a key, which says nothing to people.
fn describe(change: &Change) -> String {
    let field = change.field.strip_prefix("settings.").unwrap_or(&change.field);
    if let Some(port) = change.field.strip_prefix("inputs.") {
        return match port.strip_suffix(".key").and_then(|port| port.rsplit_once('.')) {
            Some((_, step)) => format!("input step `{step}` changed"),
            None => format!("other steps on the input `{}`", port.split('.').next().unwrap_or(port)),
        };
    }
    if let Some(file) = change.field.strip_prefix("files.") {
        let file = file.trim_end_matches(".hash");
        return match (&change.before, &change.after) {
            (None, _) => format!("file {file}: new"),
            (_, None) => format!("file {file}: gone"),
            _ => format!("file {file}: content changed"),
        };
    }
    Change { field: field.to_string(), ..change.clone() }.to_string()
}

/// Makes the plan: checks every setting, connects inputs, lets stages prepare, computes keys, looks up artifacts.
pub fn plan(config: &Config, stages: &[StageEntry], sql: &dyn Sql, verify: bool) -> Result<Plan> {
    let workspace = Workspace::new(config.workspace.clone());
    let mut hashes = HashCache::open(workspace.dir.join("journal/hashes.json"), verify);
    let mut steps: Vec<PlannedStep> = Vec::new();
    let mut views: Vec<StepView> = Vec::new();
    for step in &config.steps {
        let entry = find_stage(config, step, stages)?;
        let inputs = connect(config, step, entry, &steps, stages)?;
        let mut run = parse_settings(config, step, entry)?;
        let names = |steps_: &[usize]| steps_.iter().map(|index| steps[*index].name.clone()).collect::<Vec<_>>();
        let named: Vec<(String, Vec<String>)> = inputs.iter().map(|(port, connected)| (port.clone(), names(connected))).collect();
        let mut site = Site {
            root: &config.root,
            workspace: &workspace.dir,
            seed: config.seed,
            above: &views,
            inputs: &named,
            hashes: &mut hashes,
            sql,
            files: Vec::new(),
        };
        run.prepare(&mut site).map_err(|error| config.step_error(step, "", &format!("{error:#}")))?;
        let mut files = std::mem::take(&mut site.files);
        files.sort_by(|a, b| (&a.relative, &a.path).cmp(&(&b.relative, &b.path)));
        files.dedup();
        let settings = run.settings()?;
        let key_parts = key_parts(entry, &settings, &files, &named, &inputs, &steps, config.seed);
        let key = crate::key::key(&crate::key::without_names(&key_parts));
        let status = status(&workspace, &step.name, &key, &key_parts)?;
        let disk = disk(&workspace, &step.name, run.as_ref(), &inputs, &files, &steps)?;
        views.push(StepView { name: step.name.clone(), stage: step.stage.clone(), settings, inputs: named });
        steps.push(PlannedStep {
            name: step.name.clone(),
            stage: entry.name,
            version: entry.version,
            kind: entry.output,
            foreign: entry.foreign,
            inputs,
            files,
            key,
            key_parts,
            status,
            disk,
            run,
        });
    }
    if workspace.dir.join("journal").is_dir() {
        hashes.save();
    }
    Ok(Plan { steps, workspace, seed: config.seed, verify })
}

fn find_stage<'a>(config: &Config, step: &StepConfig, stages: &'a [StageEntry]) -> Result<&'a StageEntry> {
    stages.iter().find(|entry| entry.name == step.stage).ok_or_else(|| {
        let names = || stages.iter().map(|entry| entry.name);
        let message = format!("unknown stage `{}`{}; stages: {}", step.stage, suggest(&step.stage, names()), list(names()));
        config.step_error(step, "stage", &message)
    })
}

fn parse_settings(config: &Config, step: &StepConfig, entry: &StageEntry) -> Result<Box<dyn AnyStage>> {
    let valid = entry.settings();
    for name in step.settings.keys() {
        if !valid.contains(&name.as_str()) {
            let message = format!(
                "stage `{}` has no setting `{name}`{}; settings: {}",
                entry.name,
                suggest(name, valid.iter().copied()),
                list(valid)
            );
            return Err(config.step_error(step, name, &message));
        }
    }
    (entry.parse)(Value::Object(step.settings.clone())).map_err(|error| {
        let path = error.path().to_string();
        let message = crate::suggest::of_configs(&error.inner().to_string());
        let message = format!("`{path}`: {message}{}", suggestion(&message));
        config.step_error(step, &path, message.trim_start_matches("`.`: "))
    })
}

/// Serde lists the valid names in backticks behind the wrong one; the nearest is added.
fn suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    match names.next() {
        Some(wrong) if message.starts_with("unknown ") => suggest(wrong, names),
        _ => String::new(),
    }
}

/// Connects each port: the steps the user named, or the nearest fitting step above.
fn connect(
    config: &Config,
    step: &StepConfig,
    entry: &StageEntry,
    above: &[PlannedStep],
    stages: &[StageEntry],
) -> Result<Vec<(String, Vec<usize>)>> {
    for (port, _) in &step.inputs {
        if !entry.inputs.iter().any(|known| known.name == port) {
            let ports = || entry.inputs.iter().map(|port| port.name);
            let message = format!("stage `{}` has no input `{port}`{}; inputs: {}", entry.name, suggest(port, ports()), list(ports()));
            return Err(config.step_error(step, &format!("inputs.{port}"), &message));
        }
    }
    let mut connected = Vec::new();
    for port in entry.inputs {
        let steps = match step.inputs.iter().find(|(name, _)| name == port.name) {
            Some((_, names)) => named_steps(config, step, port, names, above)?,
            None if port.optional => match behind(port, &connected, above) {
                Some(steps) => steps,
                None => continue,
            },
            None if port.unless.is_some_and(|setting| step.settings.contains_key(setting)) => continue,
            None => vec![nearest_step(config, step, port, above, stages)?],
        };
        connected.push((port.name.to_string(), steps));
    }
    Ok(connected)
}

/// What the step on the port that a port goes through reads.
fn behind(port: &Port, connected: &[(String, Vec<usize>)], above: &[PlannedStep]) -> Option<Vec<usize>> {
    let (_, steps) = connected.iter().find(|(name, _)| Some(name.as_str()) == port.through)?;
    let (_, steps) = above[*steps.first()?].inputs.iter().find(|(name, _)| name == port.name)?;
    Some(steps.clone())
}

fn named_steps(config: &Config, step: &StepConfig, port: &Port, names: &[String], above: &[PlannedStep]) -> Result<Vec<usize>> {
    let place = format!("inputs.{}", port.name);
    if names.is_empty() || (names.len() > 1 && !port.many) {
        let wanted = if port.many { "at least one step" } else { "one step" };
        return Err(config.step_error(step, &place, &format!("the input `{}` takes {wanted}", port.name)));
    }
    let find = |name: &String| {
        let fitting = || above.iter().filter(|other| other.kind == port.kind && !other.foreign).map(|other| other.name.as_str());
        match above.iter().position(|other| other.name == *name) {
            Some(index) if above[index].foreign => {
                let message = format!(
                    "the files of step `{name}` are for other programs, no step reads them; fitting steps above: {}",
                    list(fitting())
                );
                Err(config.step_error(step, &place, &message))
            }
            Some(index) if above[index].kind == port.kind => Ok(index),
            Some(index) => {
                let (found, wanted) = (above[index].kind.name(), port.kind.name());
                let message = format!(
                    "the input `{}` takes {wanted}, step `{name}` makes {found}; fitting steps above: {}",
                    port.name,
                    list(fitting())
                );
                Err(config.step_error(step, &place, &message))
            }
            None => {
                let message =
                    format!("there is no step `{name}` above{}; fitting steps above: {}", suggest(name, fitting()), list(fitting()));
                Err(config.step_error(step, &place, &message))
            }
        }
    };
    names.iter().map(find).collect()
}

fn nearest_step(config: &Config, step: &StepConfig, port: &Port, above: &[PlannedStep], stages: &[StageEntry]) -> Result<usize> {
    let fitting: Vec<usize> = (0..above.len()).filter(|index| above[*index].kind == port.kind && !above[*index].foreign).collect();
    let consumed = |index: usize| {
        above.iter().filter(|other| !other.foreign).any(|other| other.inputs.iter().any(|(_, steps)| steps.contains(&index)))
    };
    let unconsumed: Vec<usize> = fitting.iter().copied().filter(|index| !consumed(*index)).collect();
    if unconsumed.len() > 1 {
        let names = list(unconsumed.iter().map(|index| above[*index].name.as_str()));
        let message = format!(
            "more than one step above could be the input `{}`: {names}; choose with inputs = {{ {} = \"…\" }}",
            port.name, port.name
        );
        return Err(config.step_error(step, "stage", &message));
    }
    unconsumed.last().or(fitting.last()).copied().ok_or_else(|| {
        let makers = stages.iter().filter(|entry| entry.output == port.kind && !entry.foreign).map(|entry| entry.name);
        let (name, kind) = (port.name, port.kind.name());
        let message =
            format!("the input `{name}` needs a step above that makes {kind}, and there is none; stages that do: {}", list(makers));
        config.step_error(step, "stage", &message)
    })
}

fn key_parts(
    entry: &StageEntry,
    settings: &Value,
    files: &[InputFile],
    named: &[(String, Vec<String>)],
    inputs: &[(String, Vec<usize>)],
    steps: &[PlannedStep],
    seed: u64,
) -> Value {
    // The names of input steps are kept for reasons; `without_names` leaves them out of the key.
    let keys: BTreeMap<&str, Value> = named
        .iter()
        .zip(inputs)
        .map(|((port, names), (_, indices))| {
            let connected = names.iter().zip(indices).map(|(name, index)| json!({"name": name, "key": steps[*index].key}));
            (port.as_str(), connected.collect::<Value>())
        })
        .collect();
    let files: Vec<Value> = files.iter().map(|file| json!({"path": file.relative, "hash": file.hash})).collect();
    let mut parts = json!({"stage": entry.name, "version": entry.version, "settings": settings, "files": files, "inputs": keys});
    if entry.seeded {
        parts["seed"] = json!(seed);
    }
    parts
}

fn status(workspace: &Workspace, step: &str, key: &str, key_parts: &Value) -> Result<Status> {
    if let Some(artifact) = workspace.find(step, key)? {
        return Ok(Status::Cached(Box::new(artifact)));
    }
    let why = match workspace.current(step)? {
        Some(before) => Why::Changed(changes(&before.manifest.key_parts, key_parts)),
        None => Why::New,
    };
    Ok(Status::Run { why, resumed: workspace.draft_dir(step, key).exists() })
}

fn disk(
    workspace: &Workspace,
    step: &str,
    stage: &dyn AnyStage,
    inputs: &[(String, Vec<usize>)],
    files: &[InputFile],
    steps: &[PlannedStep],
) -> Result<Disk> {
    let from_files: u64 = files.iter().map(|file| file.bytes).sum();
    let from_steps: u64 =
        inputs.iter().flat_map(|(_, connected)| connected).map(|index| steps[*index].disk).map(|disk| disk.kept + disk.selected).sum();
    let disk = stage.disk(from_files + from_steps);
    Ok(match workspace.current(step)? {
        Some(before) => Disk { kept: before.manifest.files.iter().map(|file| file.bytes).sum(), ..disk },
        None => disk,
    })
}

/// Which steps a run may touch.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub from: Option<String>,
    pub until: Option<String>,
    pub only: Vec<String>,
    pub force: Vec<String>,
}

impl Plan {
    /// The indices of the selected steps. `from` takes a step and what depends on it, `until` a step and what it depends on.
    pub fn select(&self, selection: &Selection) -> Result<Vec<usize>> {
        let mut chosen: Vec<bool> = vec![true; self.steps.len()];
        if let Some(from) = &selection.from {
            let start = self.index(from)?;
            let mut below = vec![false; self.steps.len()];
            below[start] = true;
            for (index, step) in self.steps.iter().enumerate() {
                below[index] |= step.inputs.iter().any(|(_, steps)| steps.iter().any(|input| below[*input]));
            }
            chosen.iter_mut().zip(below).for_each(|(chosen, below)| *chosen &= below);
        }
        if let Some(until) = &selection.until {
            let mut needed = vec![false; self.steps.len()];
            needed[self.index(until)?] = true;
            for (index, step) in self.steps.iter().enumerate().rev() {
                if needed[index] {
                    step.inputs.iter().flat_map(|(_, steps)| steps).for_each(|input| needed[*input] = true);
                }
            }
            chosen.iter_mut().zip(needed).for_each(|(chosen, needed)| *chosen &= needed);
        }
        if !selection.only.is_empty() {
            let only = selection.only.iter().map(|name| self.index(name)).collect::<Result<Vec<_>>>()?;
            chosen.iter_mut().enumerate().for_each(|(index, chosen)| *chosen &= only.contains(&index));
        }
        for name in &selection.force {
            self.index(name)?;
        }
        Ok((0..self.steps.len()).filter(|index| chosen[*index]).collect())
    }

    /// The disk that running these steps takes beyond what their drafts hold already: all that they keep, and the scratch files of one.
    pub fn disk_needed(&self, steps: &[usize]) -> u64 {
        let steps = || steps.iter().map(|index| &self.steps[*index]);
        let left = |step: &PlannedStep| {
            let draft = crate::files::bytes_below(&self.workspace.draft_dir(&step.name, &step.key));
            (step.disk.kept + step.disk.scratch).saturating_sub(draft)
        };
        let kept: u64 = steps().map(|step| left(step).min(step.disk.kept)).sum();
        kept + steps().map(|step| left(step).saturating_sub(step.disk.kept)).max().unwrap_or(0)
    }

    /// The index of a step by name, or an error that lists the steps.
    pub fn index(&self, name: &str) -> Result<usize> {
        self.steps.iter().position(|step| step.name == name).ok_or_else(|| {
            let names = || self.steps.iter().map(|step| step.name.as_str());
            ConfigError(format!("there is no step `{name}`{}; steps: {}", suggest(name, names()), list(names()))).into()
        })
    }
}
