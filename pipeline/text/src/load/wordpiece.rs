//! BERT's vocab.txt, with the settings of its normalizer in tokenizer_config.json.

use anyhow::{Context as _, Result, bail, ensure};
use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use super::{Built, ForeignOptions};

/// Longer words are unknown, as in BERT.
const WORD_CHARACTERS_MAX: usize = 100;

pub(super) fn read(bytes: &[u8], options: &ForeignOptions, config: &Value) -> Result<Built> {
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut vocabulary = Map::new();
    for (id, token) in lines.enumerate() {
        let line = id + 1;
        ensure!(!token.is_empty(), "line {line} is empty, and each line is a token");
        if let Some(before) = first.insert(token, line) {
            bail!("lines {before} and {line} hold the same token `{token}`");
        }
        vocabulary.insert(token.to_string(), id.into());
    }
    let role = |name: &str, usual: &str| {
        let entry = &config[name];
        entry.as_str().or(entry["content"].as_str()).unwrap_or(usual).to_string()
    };
    let tokens = [("pad_token", "[PAD]"), ("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("mask_token", "[MASK]")];
    let tokens = tokens.map(|(name, usual)| (name, role(name, usual)));
    let [_, (_, unknown), (_, cls), (_, sep), _] = &tokens;
    ensure!(vocabulary.contains_key(unknown), "it has no token `{unknown}` for unknown words");
    let lowercase = lowercase(options.lowercase, config)?;
    let handle_chinese_chars = config["tokenize_chinese_chars"].as_bool().unwrap_or(true);
    let special = tokens.iter().map(|(_, token)| token.clone()).filter(|token| vocabulary.contains_key(token)).collect();
    let template = match (vocabulary.get(cls), vocabulary.get(sep)) {
        (Some(cls_id), Some(sep_id)) => {
            let (start, end) = (json!({"SpecialToken": {"id": cls, "type_id": 0}}), json!({"SpecialToken": {"id": sep, "type_id": 0}}));
            let (a, b) = (json!({"Sequence": {"id": "A", "type_id": 0}}), json!({"Sequence": {"id": "B", "type_id": 1}}));
            json!({
                "type": "TemplateProcessing",
                "single": [start, a, end],
                "pair": [start, a, end, b, {"SpecialToken": {"id": sep, "type_id": 1}}],
                "special_tokens": {cls: {"id": cls, "ids": [cls_id], "tokens": [cls]}, sep: {"id": sep, "ids": [sep_id], "tokens": [sep]}},
            })
        }
        _ => Value::Null,
    };
    let file = json!({
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": handle_chinese_chars,
            "strip_accents": config["strip_accents"].as_bool(), "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": WORD_CHARACTERS_MAX, "vocab": vocabulary},
    });
    let roles = tokens.into_iter().map(|(name, token)| (name.to_string(), token.into())).collect();
    Ok(Built { file, special, roles })
}

/// Whether texts are lower-cased: nothing in vocab.txt tells it, and a wrong guess makes wrong tokens.
fn lowercase(setting: Option<bool>, config: &Value) -> Result<bool> {
    match (config["do_lower_case"].as_bool(), setting) {
        (Some(beside), Some(setting)) if beside != setting => {
            bail!("`lowercase` is {setting}, and `do_lower_case` of the tokenizer_config.json beside it is {beside}; leave `lowercase` out")
        }
        (Some(lowercase), _) | (None, Some(lowercase)) => Ok(lowercase),
        (None, None) => {
            bail!("nothing tells whether it is for lower-cased text; set `lowercase`, or put its tokenizer_config.json beside it")
        }
    }
}
