//! Starting from a folder in the layout of transformers: which files count, and what is refused while planning.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::{Inputs, Site, StepView};
use serde_json::Value;

use crate::train::NetworkLimits;
use crate::{NetworkConfig, Style, Train, seq2seq};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Longest header that the crate `safetensors` reads (bytes).
const HEADER_MAX: u64 = 100_000_000;
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

/// Refuses a file of weights that is not whole: its header tells how long it must be.
fn check_weights(path: &Path) -> Result<()> {
    let (name, opening) = (path.display(), || format!("opening `{}`", path.display()));
    let mut file = File::open(path).with_context(opening)?;
    let found = file.metadata().with_context(opening)?.len();
    let mut length = [0; 8];
    let header = file.read_exact(&mut length).ok().map(|()| u64::from_le_bytes(length)).filter(|length| *length <= HEADER_MAX);
    let mut json = Vec::new();
    header.map(|length| file.take(length).read_to_end(&mut json)).transpose().with_context(|| format!("reading `{name}`"))?;
    let (Some(header), Ok(tensors)) = (header, serde_json::from_slice::<Value>(&json)) else {
        bail!(
            "`{name}` is no file of safetensors, or only its beginning; it has {found} bytes (of a folder that git fetched, `git lfs pull` gets the weights)"
        );
    };
    let ends = tensors.as_object().into_iter().flatten().filter_map(|(_, tensor)| tensor["data_offsets"][1].as_u64());
    let wanted = ends.max().unwrap_or(0).saturating_add(8 + header);
    if found != wanted {
        bail!("`{name}` has {found} bytes, its header speaks of {wanted}; it was not copied or downloaded as a whole");
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))
}

/// The published network that a step trains, by its settings, its folder or the step that it starts from, as far as they tell.
pub(crate) fn style(site: &Site, step: &StepView) -> Option<Style> {
    let step = first(site, step);
    match step.settings["from"].as_str() {
        Some(from) => of_folder(site, from)?.style(),
        None => serde_json::from_value(step.settings["model"]["style"].clone()).ok(),
    }
}

/// The same of a network of the family seq2seq.
pub(crate) fn seq2seq_style(site: &Site, train: &Train) -> Option<seq2seq::Style> {
    let before = site.upstream("model").map(|step| &first(site, step).settings);
    let from = train.from.as_deref().or_else(|| before?["from"].as_str());
    match (from, &train.model) {
        (Some(from), _) => Some(of_folder(site, from)?.seq2seq.style),
        (None, Some(model)) => Some(model.seq2seq.style),
        // One that is not given is not noted either.
        (None, None) => Some(serde_json::from_value(before?["model"]["seq2seq"]["style"].clone()).unwrap_or_default()),
    }
}

/// The step that a chain of trainings begins with.
fn first<'a>(site: &'a Site, step: &'a StepView) -> &'a StepView {
    let mut before = step.inputs.iter().filter(|(port, _)| port == "model").flat_map(|(_, steps)| steps);
    before.find_map(|name| site.step(name)).map_or(step, |step| first(site, step))
}

fn of_folder(site: &Site, from: &str) -> Option<NetworkConfig> {
    NetworkConfig::from_json(&read_json(&site.root().join(from).join(CONFIG)).ok()?).ok()
}

/// Reads the description of the network in `from` and makes its files part of the key.
pub(crate) fn folder(site: &mut Site, from: &str) -> Result<NetworkLimits> {
    let folder = site.root().join(from);
    if !folder.is_dir() {
        bail!("`from`: `{}` is no folder; relative paths start at the config's `root`", folder.display());
    }
    let config = folder.join(CONFIG);
    let network = NetworkConfig::from_json(&read_json(&config)?).with_context(|| format!("`{}`", config.display()))?;
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
    for path in [config].into_iter().chain(files.index).chain(files.weights.iter().cloned()).chain(tokenizer) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        site.file(path, &name)?;
    }
    files.weights.iter().try_for_each(|path| check_weights(path))?;
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

    #[test]
    fn weights_that_are_not_whole_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(WEIGHTS);
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check_weights(&path).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let header = br#"{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#;
        let whole = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        assert_eq!(error(&whole), "");
        let cut = error(&whole[..whole.len() - 1]);
        let expected =
            format!("has {} bytes, its header speaks of {}; it was not copied or downloaded as a whole", whole.len() - 1, whole.len());
        assert!(cut.ends_with(&expected), "{cut}");
        for no_header in [&b"version https://git-lfs.github.com/spec/v1\n"[..], b"", &whole[..50]] {
            let error = error(no_header);
            assert!(error.contains("is no file of safetensors, or only its beginning"), "{error}");
        }
    }
}
