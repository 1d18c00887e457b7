//! The form of tokenizer.json for each kind and style, as the projects that the styles are named after have it.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::WORDPIECE_MAX_CHARACTERS;
use super::recipe::{Kind, Recipe, UNKNOWN, WORDPIECE_UNKNOWN};
use crate::style::Style;

/// What was learned: symbols in order of their ids, with merges (numbers of symbols) or scores (log probabilities).
#[derive(Default)]
pub(super) struct Vocabulary {
    pub(super) symbols: Vec<String>,
    pub(super) merges: Vec<(u32, u32)>,
    pub(super) scores: Vec<f64>,
}

/// The score of special tokens and bytes in a unigram model: far below any characters that spell the same.
const NEVER: f64 = -10_000.0;

/// The tokenizer with a learned vocabulary.
pub(super) fn build(recipe: &Recipe, learned: &Vocabulary) -> Result<tokenizers::Tokenizer> {
    let added: Vec<Value> = recipe
        .special_tokens()
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": recipe.style().normalizer(),
        "pre_tokenizer": pre_tokenizer(recipe),
        "post_processor": post_processor(recipe),
        "decoder": decoder(recipe),
        "model": model(recipe, learned),
    });
    tokenizers::Tokenizer::from_str(&file.to_string()).map_err(|error| anyhow!("building the tokenizer: {error}"))
}

fn pre_tokenizer(recipe: &Recipe) -> Value {
    let style = recipe.style();
    match (style.pattern(), style) {
        (Some(pattern), _) => pattern.pre_tokenizer(),
        (None, Style::Llama2 | Style::Plain) => Value::Null,
        (None, Style::SentencePiece | Style::T5) => metaspace(),
        (None, _) => json!({"type": "BertPreTokenizer"}),
    }
}

fn metaspace() -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})
}

/// Special tokens around one text and around two, for users who ask for them; the stages never do.
fn post_processor(recipe: &Recipe) -> Value {
    let known = |token: &str| recipe.special_tokens().iter().any(|known| known == token);
    let template = |first: &[&str], between: &[&str], last: &[&str]| -> Value {
        let special = |token: &&str, kind: u32| known(token).then(|| json!({"SpecialToken": {"id": token, "type_id": kind}}));
        let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
        let specials = |tokens: &[&str], kind: u32| tokens.iter().filter_map(|token| special(token, kind)).collect::<Vec<Value>>();
        let second = u32::from(recipe.kind() == Kind::WordPiece);
        let single = [specials(first, 0), vec![sequence("A", 0)], specials(last, 0)].concat();
        let pair = [specials(first, 0), vec![sequence("A", 0)], specials(between, 0), vec![sequence("B", second)], specials(last, second)];
        let named = recipe
            .special_tokens()
            .iter()
            .enumerate()
            .filter(|(_, token)| first.contains(&token.as_str()) || last.contains(&token.as_str()));
        let tokens: Map<String, Value> =
            named.map(|(id, token)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}))).collect();
        json!({"type": "TemplateProcessing", "single": single, "pair": pair.concat(), "special_tokens": tokens})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    match recipe.style() {
        Style::Gpt2 | Style::Cl100k | Style::Qwen2 | Style::O200k => byte_level,
        Style::Llama3 => json!({"type": "Sequence", "processors": [
            byte_level,
            template(&["<|begin_of_text|>"], &["<|begin_of_text|>"], &[]),
        ]}),
        Style::BertCased | Style::BertUncased | Style::BertChinese => template(&["[CLS]"], &["[SEP]"], &["[SEP]"]),
        Style::Llama2 | Style::SentencePiece => template(&["<s>"], &["<s>"], &[]),
        Style::T5 => template(&[], &["</s>"], &["</s>"]),
        Style::Plain => Value::Null,
    }
}

fn decoder(recipe: &Recipe) -> Value {
    match recipe.kind() {
        Kind::ByteLevelBpe => json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        Kind::WordPiece => json!({"type": "WordPiece", "prefix": "##", "cleanup": false}),
        Kind::Characters => json!({"type": "Fuse"}),
        _ if recipe.has_byte_tokens() => json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]}),
        _ => metaspace(),
    }
}

fn model(recipe: &Recipe, learned: &Vocabulary) -> Value {
    let fixed = recipe.fixed_tokens();
    let tokens = || fixed.iter().chain(&learned.symbols);
    let vocabulary = || -> Map<String, Value> { tokens().cloned().zip(0u32..).map(|(token, id)| (token, id.into())).collect() };
    let unknown = recipe.special_tokens().iter().position(|token| token == UNKNOWN);
    match recipe.kind() {
        // Single characters are a BPE without merges.
        Kind::ByteLevelBpe | Kind::ByteFallbackBpe | Kind::Characters => {
            let text = |id: u32| learned.symbols[id as usize].as_str();
            let merges: Vec<Value> = learned.merges.iter().map(|(left, right)| json!([text(*left), text(*right)])).collect();
            let fallback = recipe.has_byte_tokens();
            let has_unknown = fallback || recipe.kind() == Kind::Characters;
            json!({"type": "BPE", "dropout": null, "unk_token": unknown.filter(|_| has_unknown).map(|_| UNKNOWN),
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": fallback, "byte_fallback": fallback,
                "ignore_merges": false, "vocab": vocabulary(), "merges": merges})
        }
        Kind::WordPiece => json!({"type": "WordPiece", "unk_token": WORDPIECE_UNKNOWN, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": WORDPIECE_MAX_CHARACTERS, "vocab": vocabulary()}),
        Kind::Unigram => {
            // Six decimals are read back exactly by every parser, and more say nothing.
            let scores = learned.scores.iter().map(|score| (score * 1e6).round() / 1e6);
            let scores = std::iter::repeat_n(NEVER, fixed.len()).chain(scores);
            let vocabulary: Vec<Value> = tokens().zip(scores).map(|(token, score)| json!([token, score])).collect();
            json!({"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": recipe.has_byte_tokens()})
        }
    }
}
