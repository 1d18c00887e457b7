//! Model folders in the layout of transformers: config.json, model.safetensors, generation_config.json and the tokenizer's files.

use std::collections::HashMap;
use std::path::Path;

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, Float64Array, Int64Array, Int64Builder, ListBuilder, StringArray};
use arrow::datatypes::{DataType, Field};
use model::NetworkConfig;
use serde_json::Value;
use tch::{Device, Kind};

use crate::models::{self, Network};
use crate::parameters::Parameters;
use crate::tables::{self, Column};
use crate::weights::{self, Weights};

/// The folder of an artifact of the kind model.
pub const MODEL: &str = "model";
const WEIGHTS: &str = "model.safetensors";

/// A network with its variables.
pub struct Loaded {
    pub config: NetworkConfig,
    pub parameters: Parameters,
    pub network: Box<dyn Network>,
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    std::fs::write(path, text).with_context(|| format!("writing `{}`", path.display()))
}

/// Reads the description of the network in a folder.
pub fn config(folder: &Path) -> Result<NetworkConfig> {
    let path = folder.join("config.json");
    NetworkConfig::from_json(&read_json(&path)?).with_context(|| format!("`{}`", path.display()))
}

/// Ids of the tokens that end a text, by the configs of a folder.
pub fn ends(folder: &Path) -> Result<Vec<i64>> {
    let path = folder.join("generation_config.json");
    let generation = if path.is_file() { read_json(&path)? } else { Value::Null };
    Ok(model::ends_of_texts(&generation, &read_json(&folder.join("config.json"))?))
}

/// Builds the network of a folder with its weights.
pub fn load(folder: &Path, device: Device) -> Result<Loaded> {
    let (loaded, missing) = load_what_is_there(folder, device)?;
    if !missing.is_empty() {
        bail!("the weights in `{}` lack {}", folder.display(), missing.join(", "));
    }
    Ok(loaded)
}

/// As [`load`]; gives the names of variables that the folder lacks, which have random values.
pub fn load_what_is_there(folder: &Path, device: Device) -> Result<(Loaded, Vec<String>)> {
    let config = config(folder)?;
    let parameters = Parameters::new(device, 0);
    let network = models::build(&parameters.root(), &config);
    let missing = load_weights(folder, &parameters)?;
    Ok((Loaded { config, parameters, network }, missing))
}

/// Refuses tokens of another tokenizer than the folder's, as far as the number of ids tells: the network itself may have more.
pub fn check_vocabulary(folder: &Path, vocab_size: i64) -> Result<()> {
    let own = text::Tokenizer::load(folder)?.vocabulary_size() as i64;
    if own != vocab_size {
        bail!("the model has a vocabulary of {own}, the tokens one of {vocab_size}; they come from different tokenizers");
    }
    Ok(())
}

/// Copies the weights of a folder into the variables of the same names; gives the names it lacks.
pub fn load_weights(folder: &Path, parameters: &Parameters) -> Result<Vec<String>> {
    load_some(folder, parameters, |_| true)
}

/// As [`load_weights`], of the variables with such names alone; the others count as missing.
pub fn load_some(folder: &Path, parameters: &Parameters, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let (wanted, other): (Vec<_>, Vec<_>) = parameters.named().into_iter().partition(|(name, _)| wanted(name));
    let mut missing = Weights::of_folder(folder)?.load(&wanted)?;
    missing.extend(other.into_iter().map(|(name, _)| name));
    Ok(missing)
}

/// Writes the folder of a network.
pub fn save(folder: &Path, config: &NetworkConfig, parameters: &Parameters, tokenizer: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
    write_json(&folder.join("config.json"), &config.to_json())?;
    if let Some(generation) = config.generation_json() {
        write_json(&folder.join("generation_config.json"), &generation)?;
    }
    weights::save(&folder.join(WEIGHTS), &parameters.merged(), HashMap::from([("format".into(), "pt".into())]))?;
    copy_tokenizer(tokenizer, folder, config.positions)
}

/// Makes the tokenizer of a folder put these tokens before and after a text, as the rows have them that its network learned from.
pub fn frame(folder: &Path, [before, after]: &[Vec<u32>; 2]) -> Result<()> {
    let tokenizer = text::Tokenizer::load(folder)?;
    let own = tokenizer.frame()?;
    if (&own.0, &own.1) == (before, after) {
        return Ok(());
    }
    let name = |id: &u32| -> Result<(u32, String)> {
        let name = tokenizer.token(*id).with_context(|| format!("the tokenizer has no token {id}"))?;
        Ok((*id, name))
    };
    let named = |ids: &[u32]| ids.iter().map(name).collect::<Result<Vec<(u32, String)>>>();
    let path = folder.join("tokenizer.json");
    let file = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let file = text::with_frame(&file, &named(before)?, &named(after)?).with_context(|| format!("`{}`", path.display()))?;
    std::fs::write(&path, file).with_context(|| format!("writing `{}`", path.display()))
}

/// Copies a tokenizer's files; its longest input becomes that of the network.
fn copy_tokenizer(from: &Path, to: &Path, positions: i64) -> Result<()> {
    for name in ["tokenizer.json", "special_tokens_map.json", "vocab.json", "merges.txt", "vocab.txt"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).with_context(|| format!("copying `{}`", from.join(name).display()))?;
        }
    }
    let mut config = read_json(&from.join("tokenizer_config.json"))?;
    config["model_max_length"] = positions.into();
    write_json(&to.join("tokenizer_config.json"), &config)
}

/// Writes the table `parameters`: one row per variable.
pub fn describe(draft: &Path, parameters: &Parameters) -> Result<()> {
    let named = parameters.merged();
    let mut shapes = ListBuilder::new(Int64Builder::new());
    for (_, tensor) in &named {
        shapes.append_value(tensor.size().into_iter().map(Some));
    }
    let shapes = shapes.finish();
    let norms = named.iter().map(|(_, tensor)| tensor.detach().to_kind(Kind::Double).norm().double_value(&[]));
    let columns = vec![
        Column(Field::new("name", DataType::Utf8, false), Arc::new(named.iter().map(|(name, _)| Some(name)).collect::<StringArray>())),
        Column(Field::new("shape", shapes.data_type().clone(), false), Arc::new(shapes)),
        Column(Field::new("dtype", DataType::Utf8, false), Arc::new(named.iter().map(|_| Some("f32")).collect::<StringArray>())),
        Column(
            Field::new("count", DataType::Int64, false),
            Arc::new(named.iter().map(|(_, tensor)| tensor.numel() as i64).collect::<Int64Array>()),
        ),
        Column(Field::new("l2", DataType::Float64, false), Arc::new(norms.collect::<Float64Array>())),
    ];
    tables::write(draft, "parameters", columns)
}
