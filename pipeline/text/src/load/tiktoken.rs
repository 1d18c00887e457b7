//! Rank files of tiktoken: a token in base64, a space and its rank on each line. The rank is the id and the order of merges.
//!
//! The regular expression that cuts texts and the special tokens stand in the program that uses the file, so they are known here by name.
//! Sources: `tiktoken_ext/openai_public.py`, `llama3/tokenizer.py` of Meta, `tokenization_qwen.py` of Qwen.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use super::{Built, ForeignOptions, IDS_MAX, merges};
use crate::patterns;
use crate::pieces::{byte_characters, from_base64};

/// How texts are cut before their bytes are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// GPT-2 and GPT-3: r50k, p50k.
    Gpt2,
    /// GPT-4.
    Cl100k,
    /// GPT-4o.
    O200k,
    /// Qwen and Qwen 2: single digits, and texts in the normal form NFC.
    Qwen2,
    Llama3,
}

const PATTERNS: [(&str, Pattern); 5] = [
    ("gpt2", Pattern::Gpt2),
    ("cl100k", Pattern::Cl100k),
    ("o200k", Pattern::O200k),
    ("qwen2", Pattern::Qwen2),
    ("llama3", Pattern::Llama3),
];

/// Beginnings of file names, in lower case without `-` and `_`.
const FILE_NAMES: [(&str, Pattern); 8] = [
    ("gpt2", Pattern::Gpt2),
    ("r50k", Pattern::Gpt2),
    ("p50k", Pattern::Gpt2),
    ("cl100k", Pattern::Cl100k),
    ("o200k", Pattern::O200k),
    ("qwen", Pattern::Qwen2),
    ("llama3", Pattern::Llama3),
    ("metallama3", Pattern::Llama3),
];

impl Pattern {
    /// By the name in settings.
    pub fn named(name: &str) -> Option<Pattern> {
        PATTERNS.iter().find(|(known, _)| *known == name).map(|(_, pattern)| *pattern)
    }

    /// All names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PATTERNS.iter().map(|(name, _)| *name)
    }

    /// What the name of a file tells.
    pub fn of(path: &Path) -> Result<Pattern> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase().replace(['-', '_'], "")).unwrap_or_default();
        let found = FILE_NAMES.iter().find(|(name, _)| stem.starts_with(name));
        found.map(|(_, pattern)| *pattern).with_context(|| {
            format!(
                "the name of `{}` does not tell how it cuts texts: set `pattern` to one of `{}`",
                path.display(),
                Pattern::names().collect::<Vec<_>>().join("`, `")
            )
        })
    }

    /// The pre-tokenizer.
    fn cut(self) -> patterns::Pattern {
        match self {
            Pattern::Gpt2 => patterns::Pattern::Gpt2,
            Pattern::Cl100k | Pattern::Llama3 => patterns::Pattern::Cl100k,
            Pattern::O200k => patterns::Pattern::O200k,
            Pattern::Qwen2 => patterns::Pattern::Qwen2,
        }
    }
}

/// Whether a file begins as a rank file does.
pub(super) fn begins_one(path: &Path) -> Result<bool> {
    let reading = || format!("reading `{}`", path.display());
    let mut head = Vec::new();
    std::fs::File::open(path).with_context(reading)?.take(512).read_to_end(&mut head).with_context(reading)?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(head.contains(&b'\n') && parse_line(line).is_ok())
}

pub(super) fn read(path: &Path, bytes: &[u8], options: &ForeignOptions) -> Result<Built> {
    let pattern = options.pattern.map_or_else(|| Pattern::of(path), Ok)?;
    let ranks = parse(bytes)?;
    let special = options.special_tokens.clone().unwrap_or_else(|| known_special_tokens(path, pattern, ranks.len() as u32));
    let tokens = in_order(&ranks, &special)?;
    let text = |token: &[u8]| -> String { token.iter().map(|byte| byte_characters()[*byte as usize]).collect() };
    let mut list: Vec<Value> = Vec::new();
    for (token, rank) in &tokens {
        if let Some(middle) = merges::split(token, (0..token.len()).collect(), *rank, |part| ranks.get(part).copied()) {
            list.push(json!([text(&token[..middle]), text(&token[middle..])]));
        }
    }
    let mut vocabulary: BTreeMap<u32, String> = tokens.iter().map(|(token, rank)| (*rank, text(token))).collect();
    vocabulary.extend(special.iter().map(|(token, id)| (*id, token.clone())));
    let vocabulary: Map<String, Value> = vocabulary.into_iter().map(|(id, token)| (token, id.into())).collect();
    let file = json!({
        "normalizer": (pattern == Pattern::Qwen2).then(|| json!({"type": "NFC"})),
        "pre_tokenizer": pattern.cut().pre_tokenizer(),
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        // A piece that is a token needs no merges, as in tiktoken: some tokens never come from merges.
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": true, "vocab": vocabulary, "merges": list},
    });
    Ok(Built { file, special: special.into_keys().collect(), roles: Map::new() })
}

/// Token to rank.
fn parse(bytes: &[u8]) -> Result<HashMap<Vec<u8>, u32>> {
    let mut ranks: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut lines: HashMap<u32, usize> = HashMap::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1usize..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (token, rank) = parse_line(line).with_context(|| format!("line {number}"))?;
        if let Some(before) = ranks.get(&token) {
            bail!("lines {} and {number} hold the same token", lines[before]);
        }
        if let Some(before) = lines.insert(rank, number) {
            bail!("lines {before} and {number} have the same rank {rank}");
        }
        ranks.insert(token, rank);
    }
    Ok(ranks)
}

fn parse_line(line: &[u8]) -> Result<(Vec<u8>, u32)> {
    let line = std::str::from_utf8(line).context("it is no text")?.trim_ascii_end();
    let (token, rank) = line.split_once(' ').context("expected a token in base64, a space and a rank")?;
    let token = from_base64(token).with_context(|| format!("`{token}` is no base64, or cut off"))?;
    ensure!(!token.is_empty(), "the token is empty");
    let rank: u32 = rank.parse().map_err(|_| anyhow!("`{rank}` is no rank"))?;
    ensure!(rank <= IDS_MAX, "the rank {rank} is out of range, {IDS_MAX} is the largest");
    Ok((token, rank))
}

/// The tokens by rank, after checking that ids have no hole but those of special tokens and that every text can be encoded.
fn in_order<'a>(ranks: &'a HashMap<Vec<u8>, u32>, special: &BTreeMap<String, u32>) -> Result<Vec<(&'a [u8], u32)>> {
    if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key([*byte].as_slice())) {
        bail!("the byte 0x{byte:02x} is no token, so not every text could be encoded; is the file cut off?");
    }
    let mut tokens: Vec<(&[u8], u32)> = ranks.iter().map(|(token, rank)| (token.as_slice(), *rank)).collect();
    tokens.sort_unstable_by_key(|(_, rank)| *rank);
    let mut ids: HashMap<u32, &str> = HashMap::new();
    for (token, id) in special {
        ensure!(!token.is_empty(), "a special token is empty");
        ensure!(*id <= IDS_MAX, "the special token `{token}` has the id {id}, which is out of range, {IDS_MAX} is the largest");
        if let Some(other) = ids.insert(*id, token) {
            bail!("the special tokens `{other}` and `{token}` have the same id {id}");
        }
        if tokens.binary_search_by_key(id, |(_, rank)| *rank).is_ok() {
            bail!("the special token `{token}` has the id {id}, which is the rank of a token");
        }
        let spelled: String = token.bytes().map(|byte| byte_characters()[byte as usize]).collect();
        ensure!(spelled != *token || !ranks.contains_key(token.as_bytes()), "the special token `{token}` is an ordinary token, too");
    }
    let mut next = 0;
    for (_, rank) in &tokens {
        if let Some(hole) = (next..*rank).find(|id| !ids.contains_key(id)) {
            bail!("the rank {hole} is missing, and no special token has that id; is the file cut off?");
        }
        next = rank + 1;
    }
    Ok(tokens)
}

/// The special tokens that go with a name, when the file has the size that is known.
fn known_special_tokens(path: &Path, pattern: Pattern, size: u32) -> BTreeMap<String, u32> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let named = |tokens: &[(&str, u32)]| tokens.iter().map(|(token, id)| (token.to_string(), *id)).collect();
    let numbered = |tokens: Vec<String>| tokens.into_iter().zip(size..).collect();
    match (pattern, size) {
        (Pattern::Gpt2, 50256 | 50280) => match stem.as_str() {
            "p50k_edit" => {
                named(&[("<|endoftext|>", 50256), ("<|fim_prefix|>", 50281), ("<|fim_middle|>", 50282), ("<|fim_suffix|>", 50283)])
            }
            _ => named(&[("<|endoftext|>", 50256)]),
        },
        (Pattern::Cl100k, 100_256) => named(&[
            ("<|endoftext|>", 100_257),
            ("<|fim_prefix|>", 100_258),
            ("<|fim_middle|>", 100_259),
            ("<|fim_suffix|>", 100_260),
            ("<|endofprompt|>", 100_276),
        ]),
        (Pattern::O200k, 199_998) => named(&[("<|endoftext|>", 199_999), ("<|endofprompt|>", 200_018)]),
        (Pattern::Qwen2, 151_643) => {
            let first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from);
            numbered(first.into_iter().chain((0..205).map(|n| format!("<|extra_{n}|>"))).collect())
        }
        (Pattern::Llama3, 128_000) => {
            let reserved = |from: u32, to: u32| (from..to).map(|n| format!("<|reserved_special_token_{n}|>"));
            let named = |names: [&str; 2]| names.map(String::from).into_iter();
            let first = named(["<|begin_of_text|>", "<|end_of_text|>"]).chain(reserved(0, 4));
            let headers = named(["<|start_header_id|>", "<|end_header_id|>"]).chain(reserved(4, 5)).chain(["<|eot_id|>".to_string()]);
            numbered(first.chain(headers).chain(reserved(5, 251)).collect())
        }
        _ => BTreeMap::new(),
    }
}
