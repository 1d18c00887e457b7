//! What a running stage reads.

use anyhow::{Context as _, Result};

use crate::{Artifact, InputFile};

/// The artifacts on its ports and the files it asked for in `prepare`.
pub struct Inputs {
    pub(crate) artifacts: Vec<(String, Artifact)>,
    pub(crate) files: Vec<InputFile>,
}

impl Inputs {
    /// For tests of a stage alone.
    pub fn new(artifacts: Vec<(String, Artifact)>, files: Vec<InputFile>) -> Inputs {
        Inputs { artifacts, files }
    }

    /// The artifact on a port that is not optional.
    pub fn artifact(&self, port: &str) -> Result<&Artifact> {
        self.artifact_opt(port).with_context(|| format!("no step is connected to the input `{port}`"))
    }

    pub fn artifact_opt(&self, port: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|(name, _)| name == port).map(|(_, artifact)| artifact)
    }

    pub fn artifacts(&self, port: &str) -> Vec<&Artifact> {
        self.artifacts.iter().filter(|(name, _)| name == port).map(|(_, artifact)| artifact).collect()
    }

    /// Input files in the order of their relative paths.
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }

    /// All artifacts with their ports.
    pub fn all(&self) -> &[(String, Artifact)] {
        &self.artifacts
    }
}
