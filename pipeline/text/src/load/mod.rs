//! Other people's tokenizers, each turned into a tokenizer.json of the crate `tokenizers`: BERT's vocab.txt, tiktoken's rank files and SentencePiece
//! models. Roles of special tokens and further tokens come from the files that `transformers` puts beside them.
//!
//! The ids are the original's for every text; whatever cannot be said is an error, never an approximation. SentencePiece's way of normalizing and
//! of adding up scores is not the crate's, so its models also keep [`Settings`](crate::fast::sentencepiece::Settings), by which we encode.

mod merges;
mod protobuf;
mod sentencepiece;
mod tiktoken;
mod wordpiece;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use crate::Tokenizer;
pub use tiktoken::Pattern;

/// Files beside a tokenizer's that tell of its special and added tokens, read where they exist.
pub const FILES_BESIDE: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// Ids above this are taken for damage: the largest vocabularies have a fiftieth of it.
const IDS_MAX: u32 = 1 << 24;

/// What a file does not tell of itself.
#[derive(Clone, Debug, Default)]
pub struct ForeignOptions {
    /// For vocab.txt, where no `do_lower_case` stands beside it.
    pub lowercase: Option<bool>,
    /// For tiktoken files whose name tells nothing.
    pub pattern: Option<Pattern>,
    /// For tiktoken files: the special tokens with their ids, in place of those known for the file's name.
    pub special_tokens: Option<BTreeMap<String, u32>>,
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// tokenizer.json of the crate `tokenizers`.
    Json,
    /// BERT's vocab.txt: a token per line, its id is the line's number from 0.
    WordPiece,
    /// A token in base64 and its rank per line.
    Tiktoken,
    SentencePiece,
}

impl Format {
    /// By the name; a `.model` is SentencePiece's unless it begins like a tiktoken file, as Llama 3's does.
    pub fn of(path: &Path) -> Result<Format> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension {
            "json" => Ok(Format::Json),
            "txt" => Ok(Format::WordPiece),
            "tiktoken" => Ok(Format::Tiktoken),
            "model" | "spm" if tiktoken::begins_one(path)? => Ok(Format::Tiktoken),
            "model" | "spm" => Ok(Format::SentencePiece),
            _ => bail!(
                "`{}` is no tokenizer file of a known kind; expected a tokenizer.json, a vocab.txt (BERT), a .tiktoken file or a .model (SentencePiece)",
                path.display()
            ),
        }
    }
}

/// A tokenizer.json in the making: all but its added tokens.
struct Built {
    file: Value,
    special: Vec<String>,
    /// Role to token and whatever else tokenizer_config.json tells.
    roles: Map<String, Value>,
}

impl Tokenizer {
    /// Loads a tokenizer.json, vocab.txt, .tiktoken file or SentencePiece .model. Each error names the file.
    pub fn load_foreign(path: &Path, options: &ForeignOptions) -> Result<Tokenizer> {
        let beside = Beside::read(path)?;
        let format = Format::of(path)?;
        let (inner, mut roles) = if format == Format::Json {
            (tokenizers::Tokenizer::from_file(path).map_err(|error| anyhow!("{error}")), Map::new())
        } else {
            let bytes = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
            let built = match format {
                Format::WordPiece => wordpiece::read(&bytes, options, &beside.config),
                Format::Tiktoken => tiktoken::read(path, &bytes, options),
                _ => sentencepiece::read(&bytes),
            };
            let built = built.with_context(|| format!("`{}` is no usable {}", path.display(), format.name()))?;
            let roles = built.roles.clone();
            (finish(built, &beside), roles)
        };
        let inner = inner.with_context(|| format!("`{}` is no usable {}", path.display(), format.name()))?;
        roles.extend(beside.roles());
        Tokenizer::new(inner, Some(&Value::Object(roles)))
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Json => "tokenizer.json",
            Format::WordPiece => "vocab.txt",
            Format::Tiktoken => "tiktoken file",
            Format::SentencePiece => "SentencePiece model",
        }
    }
}

/// The JSON files beside a tokenizer; null where there is none.
struct Beside {
    config: Value,
    special: Value,
    added: Value,
}

impl Beside {
    fn read(path: &Path) -> Result<Beside> {
        let json = |name: &str| -> Result<Value> {
            let file = path.with_file_name(name);
            match std::fs::read(&file) {
                Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("`{}` is no valid JSON", file.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
                Err(error) => Err(error).with_context(|| format!("reading `{}`", file.display())),
            }
        };
        let [config, special, added] = FILES_BESIDE.map(json);
        Ok(Beside { config: config?, special: special?, added: added? })
    }

    fn roles(&self) -> Map<String, Value> {
        let entries = [&self.special, &self.config].into_iter().filter_map(Value::as_object).flatten();
        let roles = entries.filter(|(name, value)| name.ends_with("_token") && !value.is_null() && !value.is_boolean());
        roles.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Tokens added to the vocabulary by id, as `added_tokens` of a tokenizer.json writes them.
    fn added(&self) -> Result<BTreeMap<u32, Value>> {
        let id_of = |id: Option<u64>, token: &str| -> Result<u32> {
            id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= IDS_MAX).with_context(|| {
                format!("the added token `{token}` has no id from 0 to {IDS_MAX} in added_tokens.json or tokenizer_config.json")
            })
        };
        let roles = self.roles();
        let has_role = |token: &str| roles.values().any(|role| role == token || role["content"] == token);
        let mut added = BTreeMap::new();
        for (token, id) in self.added.as_object().into_iter().flatten() {
            added.insert(id_of(id.as_u64(), token)?, entry(token, has_role(token)));
        }
        for (id, token) in self.config["added_tokens_decoder"].as_object().into_iter().flatten() {
            let content =
                token["content"].as_str().context("an entry of `added_tokens_decoder` in tokenizer_config.json has no `content`")?;
            let mut entry = entry(content, token["special"] == true);
            for name in ["single_word", "lstrip", "rstrip", "normalized"] {
                if token[name].is_boolean() {
                    entry[name] = token[name].clone();
                }
            }
            added.insert(id_of(id.parse().ok(), content)?, entry);
        }
        Ok(added)
    }
}

/// An added token; those that are not special are found in texts after normalization.
fn entry(token: &str, special: bool) -> Value {
    json!({"content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": !special, "special": special})
}

/// The tokenizer with its special tokens and those of the files beside it.
fn finish(built: Built, beside: &Beside) -> Result<tokenizers::Tokenizer> {
    let Built { mut file, special, .. } = built;
    let ids = ids_of(&file)?;
    let mut added: BTreeMap<u32, Value> = BTreeMap::new();
    for token in &special {
        let id = ids.get(token).with_context(|| format!("the special token `{token}` is missing"))?;
        added.insert(*id, entry(token, true));
    }
    let mut next = ids.values().max().map_or(0, |id| id + 1);
    for (id, entry) in beside.added()? {
        let token = entry["content"].as_str().unwrap_or_default();
        match ids.get(token) {
            Some(known) => ensure!(*known == id, "the added token `{token}` has the id {id} beside the file and {known} in it"),
            None => {
                ensure!(
                    id == next,
                    "the added token `{token}` has the id {id}; the next free one is {next}, ids must follow one another and not overlap"
                );
                next += 1;
            }
        }
        added.insert(id, entry);
    }
    let entries = added.into_iter().map(|(id, mut entry)| {
        entry["id"] = id.into();
        entry
    });
    file["version"] = "1.0".into();
    file["added_tokens"] = entries.collect();
    let unknown = file["model"]["unk_token"].as_str().map(str::to_string);
    let mut inner = tokenizers::Tokenizer::from_str(&file.to_string()).map_err(|error| anyhow!("{error}"))?;
    inner.set_encode_special_tokens(true);
    for token in special.iter().filter(|token| Some(*token) != unknown.as_ref()) {
        let encoding = inner.encode_fast(token.as_str(), false).map_err(|error| anyhow!("{error}"))?;
        let (id, unigram_unknown) = (ids[token], file["model"]["unk_id"].as_u64());
        if encoding.get_ids().contains(&id) && unigram_unknown != Some(u64::from(id)) {
            bail!("a text that spells the special token `{token}` would become that token; special tokens need marks as in `<|name|>`");
        }
    }
    Ok(inner)
}

/// Token to id of the model in a tokenizer.json.
fn ids_of(file: &Value) -> Result<HashMap<String, u32>> {
    match &file["model"]["vocab"] {
        Value::Object(vocabulary) => {
            vocabulary.iter().map(|(token, id)| Ok((token.clone(), id.as_u64().context("a token has no id")? as u32))).collect()
        }
        Value::Array(pieces) => {
            Ok(pieces.iter().zip(0..).map(|(piece, id)| (piece[0].as_str().unwrap_or_default().to_string(), id)).collect())
        }
        _ => bail!("the model has no vocabulary"),
    }
}

#[cfg(test)]
mod tests;
