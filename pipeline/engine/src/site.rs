//! What a stage may look at while the plan is made: the root folder, files, the steps above it, and SQL parsing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::files::HashCache;
use crate::{InputFile, Sql};

/// A planned step as later steps see it.
#[derive(Clone, Debug)]
pub struct StepView {
    pub name: String,
    pub stage: String,
    /// Settings after `prepare`.
    pub settings: Value,
    /// Ports with the names of the connected steps.
    pub inputs: Vec<(String, Vec<String>)>,
}

/// The surroundings of one step while the plan is made.
pub struct Site<'a> {
    pub(crate) root: &'a Path,
    pub(crate) workspace: &'a Path,
    pub(crate) seed: u64,
    pub(crate) above: &'a [StepView],
    pub(crate) inputs: &'a [(String, Vec<String>)],
    pub(crate) hashes: &'a mut HashCache,
    pub(crate) sql: &'a dyn Sql,
    pub(crate) files: Vec<InputFile>,
}

impl Site<'_> {
    /// Where relative paths of the config start.
    pub fn root(&self) -> &Path {
        self.root
    }

    /// The run's seed, for stages that need it with some settings only: they keep it as a setting, and so it is part of the key then.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Files below the root, hashed; they become part of the step's key and reach the stage as [`crate::Inputs::files`].
    pub fn files(&mut self, patterns: &[String]) -> Result<Vec<InputFile>> {
        let files = self.hashes.find(self.root, patterns)?;
        self.files.extend(files.iter().cloned());
        Ok(files)
    }

    /// A folder of the workspace for input that is no file yet, such as the standard input; made if need be.
    pub fn inputs_folder(&self) -> Result<PathBuf> {
        let folder = self.workspace.join("journal/inputs");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating `{}`; is the workspace writable?", folder.display()))?;
        Ok(folder)
    }

    /// One file, as [`Site::files`] takes it, under a relative path of the stage's choice.
    pub fn file(&mut self, path: PathBuf, relative: &str) -> Result<InputFile> {
        let file = self.hashes.file(path, relative.to_string())?;
        self.files.push(file.clone());
        Ok(file)
    }

    /// Whether a step above has a setting whose list holds `value`.
    pub fn takes_above(&self, stage: &str, setting: &str, value: &str) -> bool {
        let holds = |step: &&StepView| step.settings[setting].as_array().is_some_and(|list| list.iter().any(|item| item == value));
        self.above.iter().filter(|step| step.stage == stage).any(|step| holds(&step))
    }

    /// The text of a file below the root, `None` when there is none. Not part of the key: what is used of it goes into the settings.
    pub fn text_file(&self, path: &str) -> Result<Option<String>> {
        let path: PathBuf = self.root.join(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading `{}`", path.display())),
        }
    }

    /// The step connected to a port.
    pub fn upstream(&self, port: &str) -> Option<&StepView> {
        let (_, steps) = self.inputs.iter().find(|(name, _)| name == port)?;
        self.step(steps.first()?)
    }

    /// All steps connected to a port, in the order of the config.
    pub fn upstreams(&self, port: &str) -> Vec<&StepView> {
        self.connected(port).iter().filter_map(|name| self.step(name)).collect()
    }

    /// Names of all steps connected to a port. They are no part of the key: who lets them decide anything keeps them in the settings.
    pub fn connected(&self, port: &str) -> &[String] {
        self.inputs.iter().find(|(name, _)| name == port).map_or(&[], |(_, steps)| steps)
    }

    /// The nearest step of a stage along the inputs, breadth first.
    pub fn nearest(&self, stage: &str) -> Option<&StepView> {
        let mut level: Vec<&str> = self.inputs.iter().flat_map(|(_, steps)| steps).map(String::as_str).collect();
        while !level.is_empty() {
            let steps: Vec<&StepView> = level.iter().filter_map(|name| self.step(name)).collect();
            if let Some(step) = steps.iter().find(|step| step.stage == stage) {
                return Some(step);
            }
            level = steps.iter().flat_map(|step| &step.inputs).flat_map(|(_, steps)| steps).map(String::as_str).collect();
        }
        None
    }

    pub fn sql(&self) -> &dyn Sql {
        self.sql
    }

    /// A step above by its name.
    pub fn step(&self, name: &str) -> Option<&StepView> {
        self.above.iter().find(|step| step.name == name)
    }
}
