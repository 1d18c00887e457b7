//! The one trait of the pipeline, and its erased form that the engine keeps in a list.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Artifact, Context, Draft, Inputs, Kind, Site};

/// A step of the pipeline: a struct of settings with one verb. It does only its own work; the engine does the bookkeeping.
///
/// The struct's serde fields are the settings (`deny_unknown_fields`, a default and a doc comment on each).
/// Fields that [`Stage::prepare`] fills carry `#[schemars(skip)]`: they enter the key, users cannot set them.
pub trait Stage: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Kebab-case verb, as written in configs.
    const NAME: &'static str;
    /// One sentence for `mill stages`.
    const ABOUT: &'static str;
    /// Raised whenever the bytes of the output change for the same settings and inputs.
    const VERSION: u32;
    const INPUTS: &'static [Port];
    const OUTPUT: Kind;
    /// Whether the run's seed is part of the key.
    const SEEDED: bool = false;
    /// Whether its files are for other programs, so that no step can read them.
    const FOREIGN: bool = false;

    /// Runs while planning, before any step: completes the settings from files and steps above, and fails early on wrong ones.
    fn prepare(&mut self, _site: &mut Site) -> Result<()> {
        Ok(())
    }

    /// The disk that the step takes for inputs of so many bytes, about. Most stages write what they read.
    fn disk(&self, input_bytes: u64) -> Disk {
        Disk { kept: input_bytes, ..Disk::default() }
    }

    /// Does the work: reads `inputs`, writes into `draft`.
    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()>;
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Of the artifact.
    pub kept: u64,
    /// Of files that are gone when it is finished.
    pub scratch: u64,
    /// Of the inputs, where the artifact selects their rows: steps below read them.
    pub selected: u64,
}

/// A named input of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    pub name: &'static str,
    pub kind: Kind,
    /// A step may leave it unconnected; then it is never connected by itself.
    pub optional: bool,
    /// Takes a list of steps.
    pub many: bool,
    /// Unless named, it takes what the step on this other port has on its port of the same name.
    pub through: Option<&'static str>,
    /// Not connected by itself where this setting is given.
    pub unless: Option<&'static str>,
}

impl Port {
    /// An input that must be there; without `inputs` the nearest fitting step above is taken.
    pub const fn one(name: &'static str, kind: Kind) -> Port {
        Port { name, kind, optional: false, many: false, through: None, unless: None }
    }

    /// An input that must be there unless a setting stands for it.
    pub const fn unless(name: &'static str, kind: Kind, setting: &'static str) -> Port {
        Port { unless: Some(setting), ..Port::one(name, kind) }
    }

    /// An input that is connected only when the config names it.
    pub const fn optional(name: &'static str, kind: Kind) -> Port {
        Port { name, kind, optional: true, many: false, through: None, unless: None }
    }

    /// An input that is connected where the step on the port `through` reads such artifacts: the same ones, unless the config names others.
    pub const fn through(name: &'static str, kind: Kind, through: &'static str) -> Port {
        Port { through: Some(through), ..Port::optional(name, kind) }
    }

    /// A list of inputs of one kind.
    pub const fn many(name: &'static str, kind: Kind) -> Port {
        Port { name, kind, optional: false, many: true, through: None, unless: None }
    }
}

/// A stage with its type erased: one line in a stage crate's list.
#[derive(Clone)]
pub struct StageEntry {
    pub name: &'static str,
    pub about: &'static str,
    pub version: u32,
    pub inputs: &'static [Port],
    pub output: Kind,
    pub seeded: bool,
    pub foreign: bool,
    /// JSON schema of the settings: names, types, docs and defaults.
    pub schema: Value,
    /// Values of settings whose types do not list them.
    pub choices: Vec<Choice>,
    pub(crate) parse: fn(Value) -> ParseResult,
}

/// A value that a setting may have.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Choice {
    pub setting: &'static str,
    /// What it is for, such as the task of predictions.
    pub of: &'static str,
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Whether it is taken where the setting is not given.
    pub default: bool,
}

/// Settings parsed, or an error with the path of the wrong key.
pub(crate) type ParseResult = std::result::Result<Box<dyn AnyStage>, serde_path_to_error::Error<serde_json::Error>>;

/// Makes the list entry of a stage.
pub fn entry<S: Stage>() -> StageEntry {
    StageEntry {
        name: S::NAME,
        about: S::ABOUT,
        version: S::VERSION,
        inputs: S::INPUTS,
        output: S::OUTPUT,
        seeded: S::SEEDED,
        foreign: S::FOREIGN,
        schema: schemars::schema_for!(S).to_value(),
        choices: Vec::new(),
        parse: |value| Ok(Box::new(serde_path_to_error::deserialize::<_, S>(value)?)),
    }
}

impl StageEntry {
    /// With values that its settings may have.
    pub fn with_choices(self, choices: Vec<Choice>) -> StageEntry {
        StageEntry { choices, ..self }
    }

    /// Names of the settings that a config may give.
    pub fn settings(&self) -> Vec<&str> {
        self.schema["properties"].as_object().map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

/// What the engine calls on a stage whose type it does not know.
pub(crate) trait AnyStage: Send + Sync {
    fn prepare(&mut self, site: &mut Site) -> Result<()>;
    fn settings(&self) -> Result<Value>;
    fn disk(&self, input_bytes: u64) -> Disk;
    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()>;
}

impl<S: Stage> AnyStage for S {
    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        Stage::prepare(self, site)
    }

    fn settings(&self) -> Result<Value> {
        serde_json::to_value(self).context("settings cannot be written as JSON")
    }

    fn disk(&self, input_bytes: u64) -> Disk {
        Stage::disk(self, input_bytes)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        Stage::run(self, ctx, inputs, draft)
    }
}

/// Runs a stage alone into `dir` (a folder that does not exist yet) and returns the artifact: for tests of stage crates.
pub fn run_alone<S: Stage>(stage: &S, ctx: &Context, inputs: &Inputs, dir: &Path) -> Result<Artifact> {
    if dir.exists() {
        bail!("`{}` exists", dir.display());
    }
    let draft = Draft::open(dir.with_extension("draft"), "test")?;
    Stage::run(stage, ctx, inputs, &draft)?;
    let identity = crate::manifest::Identity {
        step: S::NAME.to_string(),
        stage: S::NAME.to_string(),
        version: S::VERSION,
        kind: S::OUTPUT,
        key: "test".to_string(),
        key_parts: serde_json::json!({"settings": AnyStage::settings(stage)?}),
    };
    draft.finish(identity, inputs, dir, &Default::default())
}
