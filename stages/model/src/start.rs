//! Starting from a folder in the layout of transformers: which files count, and what is refused while planning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{Inputs, Site};
use serde_json::Value;

use crate::NetworkConfig;
use crate::train::NetworkLimits;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Files that hold a vocabulary; the first that is there counts.
pub const TOKENIZERS: [&str; 3] = ["tokenizer.json", "vocab.txt", "tokenizer.model"];

/// The weights of a folder.
pub struct Files {
    /// One file, or the parts in the order of their names.
    pub weights: Vec<PathBuf>,
    /// Names the parts.
    index: Option<PathBuf>,
}

impl Files {
    /// Finds the files of weights; pickles are refused.
    pub fn of(folder: &Path) -> Result<Files> {
        if folder.join(WEIGHTS).is_file() {
            return Ok(Files { weights: vec![folder.join(WEIGHTS)], index: None });
        }
        let index = folder.join(INDEX);
        if index.is_file() {
            let map = read_json(&index)?["weight_map"].take();
            let names = map.as_object().with_context(|| format!("`{}` has no weight_map", index.display()))?;
            let names: Option<BTreeSet<&str>> = names.values().map(Value::as_str).collect();
            let names = names.with_context(|| format!("`{}`: weight_map must name files", index.display()))?;
            return Ok(Files { weights: names.into_iter().map(|name| folder.join(name)).collect(), index: Some(index) });
        }
        let pickle = ["pytorch_model.bin", "pytorch_model.bin.index.json"].into_iter().find(|name| folder.join(name).exists());
        match pickle {
            Some(name) => bail!(
                "`{}` has its weights in {name} alone, a pickle: a file that runs any code when it is opened, so this program does not; in an environment that trusts it, transformers converts it: AutoModel.from_pretrained(folder).save_pretrained(folder)",
                folder.display()
            ),
            None => bail!("`{}` has neither {WEIGHTS} nor {INDEX}", folder.display()),
        }
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))
}

/// Reads the description of the network in `from` and makes its files part of the key.
pub(crate) fn folder(site: &mut Site, from: &str) -> Result<NetworkLimits> {
    let folder = site.root().join(from);
    if !folder.is_dir() {
        bail!("`from`: `{}` is no folder; relative paths start at the config's `root`", folder.display());
    }
    let config = folder.join(CONFIG);
    let network = read_json(&config).and_then(|json| NetworkConfig::from_json(&json)).with_context(|| format!("`{}`", config.display()))?;
    let files = Files::of(&folder)?;
    let tokenizer = TOKENIZERS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let learned = site.upstream("tokenizer").filter(|step| step.stage == "learn-tokenizer");
    if let (Some(step), Some(tokenizer)) = (learned, &tokenizer) {
        bail!(
            "step `{}` learns a tokenizer, but the model in `{from}` knows the tokens of its own; put stage = \"import-tokenizer\", file = \"{}\" in its place",
            step.name,
            Path::new(from).join(tokenizer.file_name().unwrap_or_default()).display()
        );
    }
    for path in [config].into_iter().chain(files.index).chain(files.weights).chain(tokenizer) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        site.file(path, &name)?;
    }
    Ok(NetworkLimits { family: network.family, positions: network.positions, style: network.style() })
}

/// The absolute path of the folder whose files were found while planning.
pub(crate) fn found(inputs: &Inputs) -> Result<String> {
    let config = inputs.files().iter().find(|file| file.relative == CONFIG).context("no config.json was found while planning")?;
    absolute(config.path.parent().context("a file has a folder")?)
}

/// An absolute path as another process is told it.
pub(crate) fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path)?.into_os_string().into_string();
    path.map_err(|path| anyhow::anyhow!("path `{}` is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_one_file_or_its_parts_but_no_pickle() {
        let dir = tempfile::tempdir().unwrap();
        let error = || Files::of(dir.path()).err().unwrap().to_string();
        assert!(error().ends_with("has neither model.safetensors nor model.safetensors.index.json"), "{}", error());
        std::fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
        assert!(error().contains("a pickle: a file that runs any code when it is opened"), "{}", error());
        let map = r#"{"weight_map": {"b": "model-2.safetensors", "a": "model-1.safetensors", "c": "model-1.safetensors"}}"#;
        std::fs::write(dir.path().join(INDEX), map).unwrap();
        let parts = ["model-1.safetensors", "model-2.safetensors"].map(|name| dir.path().join(name));
        assert_eq!(Files::of(dir.path()).unwrap().weights, parts);
        std::fs::write(dir.path().join(WEIGHTS), "").unwrap();
        assert_eq!(Files::of(dir.path()).unwrap().weights, [dir.path().join(WEIGHTS)]);
    }
}
