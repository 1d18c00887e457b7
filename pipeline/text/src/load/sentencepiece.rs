//! SentencePiece models of the types unigram and bpe: `ModelProto` of sentencepiece_model.proto, turned into normalizer, cut and model.
//!
//! Followed is the C++ of google/sentencepiece (normalizer.cc, bpe_model.cc, unigram_model.cc), whose settings all stand in the file. Our own
//! encoder does what that does, by the [`Settings`] that are kept; the tokenizer.json, for other tools, comes as near as the crate does. Pieces that
//! control, are unknown or stand for bytes never match a text there, while the crate's models know one vocabulary only; so texts are
//! cut inside of whatever spells such a piece, at a place that no other piece spans.

use std::fmt::Write;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hashbrown::{HashMap, HashSet};
use serde_json::{Map, Value, json};
use tokenizers::normalizers::precompiled::Precompiled;

use super::protobuf::{Fields, Wire};
use super::{Built, merges};
use crate::fast::sentencepiece::{Charsmap, KEY, Settings, user_defined_score};

/// What stands for a space.
const SPACE: &str = "▁";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
    Unused,
}

struct Piece<'a> {
    text: &'a str,
    score: f32,
    kind: Kind,
}

impl Piece<'_> {
    /// Whether it can be found in a text.
    fn matches(&self) -> bool {
        matches!(self.kind, Kind::Normal | Kind::UserDefined)
    }
}

/// The fields of a model that encoding needs, with the defaults of the format.
struct Model<'a> {
    pieces: Vec<Piece<'a>>,
    kind: u64,
    byte_fallback: bool,
    whitespace_as_suffix: bool,
    /// Ids of the tokens that begin and end a text and that pad; below 0 where there is none.
    roles: [(&'static str, i64); 3],
    charsmap: &'a [u8],
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
    /// Whether settings of training and of normalization were found; they follow the pieces.
    found: [bool; 2],
}

const UNIGRAM: u64 = 1;
const BPE: u64 = 2;

pub(super) fn read(bytes: &[u8]) -> Result<Built> {
    let model = Model::parse(bytes)?;
    let unknown = model.check()?;
    let user_defined: Vec<&str> = model.texts(Kind::UserDefined).collect();
    let vocabulary =
        || -> Map<String, Value> { model.pieces.iter().zip(0u32..).map(|(piece, id)| (piece.text.to_string(), id.into())).collect() };
    let parts = if model.kind == BPE {
        json!({"type": "BPE", "dropout": null, "unk_token": model.pieces[unknown].text, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": model.byte_fallback,
            // User-defined pieces are cut out whole.
            "ignore_merges": !user_defined.is_empty(), "vocab": vocabulary(), "merges": model.merges()})
    } else {
        json!({"type": "Unigram", "unk_id": unknown, "byte_fallback": model.byte_fallback, "vocab": model.scored()})
    };
    let file = json!({
        "normalizer": model.normalizer()?,
        "pre_tokenizer": model.pre_tokenizer(&user_defined),
        "post_processor": null,
        "decoder": model.decoder(),
        "model": parts,
    });
    let mut roles: Map<String, Value> = Map::new();
    roles.insert("unk_token".to_string(), model.pieces[unknown].text.into());
    for (role, id) in model.roles {
        if let Some(piece) = usize::try_from(id).ok().and_then(|id| model.pieces.get(id)).filter(|piece| piece.kind == Kind::Control) {
            roles.insert(role.to_string(), piece.text.into());
        }
    }
    roles.insert(KEY.to_string(), serde_json::to_value(model.settings())?);
    let special = model.texts(Kind::Control).chain(model.texts(Kind::Unknown)).map(str::to_string).collect();
    Ok(Built { file, special, roles })
}

impl<'a> Model<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Model<'a>> {
        let mut model = Model {
            pieces: Vec::new(),
            kind: UNIGRAM,
            byte_fallback: false,
            whitespace_as_suffix: false,
            roles: [("bos_token", 1), ("eos_token", 2), ("pad_token", -1)],
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
            found: [false; 2],
        };
        for field in Fields::of(bytes) {
            match field? {
                (1, piece) => {
                    let id = model.pieces.len();
                    model.pieces.push(Piece::parse(piece.bytes()?).with_context(|| format!("piece {id}"))?);
                }
                (number @ 2..=3, spec) => {
                    model.found[number as usize - 2] = true;
                    if number == 2 { model.trainer(spec.bytes()?)? } else { model.normalization(spec.bytes()?)? }
                }
                _ => {}
            }
        }
        ensure!(!model.pieces.is_empty(), "it holds no pieces");
        Ok(model)
    }

    fn trainer(&mut self, spec: &'a [u8]) -> Result<()> {
        for field in Fields::of(spec) {
            match field? {
                (3, kind) => self.kind = kind.number()?,
                (24, suffix) => self.whitespace_as_suffix = suffix.number()? != 0,
                (35, fallback) => self.byte_fallback = fallback.number()? != 0,
                (number @ 41..=43, id) => self.roles[number as usize - 41].1 = id.number()? as i64,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalization(&mut self, spec: &'a [u8]) -> Result<()> {
        for field in Fields::of(spec) {
            match field? {
                (2, charsmap) => self.charsmap = charsmap.bytes()?,
                (3, prefix) => self.add_dummy_prefix = prefix.number()? != 0,
                (4, remove) => self.remove_extra_whitespaces = remove.number()? != 0,
                (5, escape) => self.escape_whitespaces = escape.number()? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// The texts of the pieces of one kind.
    fn texts(&self, kind: Kind) -> impl Iterator<Item = &'a str> {
        self.pieces.iter().filter(move |piece| piece.kind == kind).map(|piece| piece.text)
    }

    /// Refuses what a tokenizer.json cannot say; returns the id of the unknown piece.
    fn check(&self) -> Result<usize> {
        match self.kind {
            UNIGRAM | BPE => {}
            3 => bail!("its model type is `word`; only `unigram` and `bpe` are read"),
            4 => bail!("its model type is `char`; only `unigram` and `bpe` are read"),
            kind => bail!("its model type has the unknown number {kind}; only `unigram` (1) and `bpe` (2) are read"),
        }
        ensure!(!self.whitespace_as_suffix, "it puts spaces behind words (treat_whitespace_as_suffix), which a tokenizer.json cannot say");
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (id, piece) in self.pieces.iter().enumerate() {
            if let Some(before) = seen.insert(piece.text, id) {
                bail!("the pieces {before} and {id} are the same, `{}`", piece.text);
            }
            ensure!(piece.score.is_finite(), "the score of piece {id} `{}` is no number", piece.text);
            let single = piece.text.chars().nth(1).is_none();
            ensure!(
                piece.matches() || !single || piece.kind == Kind::Unused,
                "piece {id} `{}` controls, and is a single character, which texts may hold",
                piece.text
            );
        }
        let unknown: Vec<usize> = (0..self.pieces.len()).filter(|id| self.pieces[*id].kind == Kind::Unknown).collect();
        ensure!(unknown.len() == 1, "it has {} unknown pieces, and must have one", unknown.len());
        if self.byte_fallback {
            let byte = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")).find(|name| !seen.contains_key(name.as_str()));
            ensure!(byte.is_none(), "it falls back to bytes, and has no piece `{}`", byte.unwrap_or_default());
        }
        if self.kind == BPE {
            let unused = self.texts(Kind::Unused).next();
            ensure!(
                unused.is_none(),
                "its piece `{}` is marked as unused, which is read for models of type unigram alone",
                unused.unwrap_or_default()
            );
            let matching: HashSet<&str> = self.pieces.iter().filter(|piece| piece.matches()).map(|piece| piece.text).collect();
            for piece in self.texts(Kind::Normal) {
                let lacking = piece.chars().find(|c| !matching.contains(c.encode_utf8(&mut [0; 4]) as &str));
                ensure!(lacking.is_none(), "the character `{}` of the piece `{piece}` is no piece", lacking.unwrap_or_default());
            }
        }
        ensure!(self.found == [true; 2], "it ends before its settings; is it cut off?");
        Ok(unknown[0])
    }

    fn settings(&self) -> Settings {
        let ids = |kind: Kind| self.pieces.iter().zip(0..).filter(|(piece, _)| piece.kind == kind).map(|(_, id)| id).collect::<Vec<u32>>();
        Settings {
            add_dummy_prefix: self.add_dummy_prefix,
            remove_extra_whitespaces: self.remove_extra_whitespaces,
            escape_whitespaces: self.escape_whitespaces,
            // Neither is ever found in a text.
            control: [ids(Kind::Control), ids(Kind::Unused)].concat(),
            user_defined: ids(Kind::UserDefined),
            ties: match self.kind {
                BPE => {
                    let merged = self.merged();
                    let groups = merged.chunk_by(|(a, _), (b, _)| a.score == b.score).filter(|group| group.len() > 1);
                    groups.map(|group| group.iter().map(|(_, id)| *id).collect()).collect()
                }
                _ => Vec::new(),
            },
        }
    }

    /// Pieces that merges make, with their ids: by falling score, short ones first among equals, so that their parts come before them.
    fn merged(&self) -> Vec<(&Piece<'_>, u32)> {
        let normal = self.pieces.iter().zip(0..).filter(|(piece, _)| piece.kind == Kind::Normal && piece.text.chars().nth(1).is_some());
        let mut merged: Vec<_> = normal.collect();
        merged.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then_with(|| a.text.chars().count().cmp(&b.text.chars().count())));
        merged
    }

    fn merges(&self) -> Vec<Value> {
        let merged = self.merged();
        let ranks: HashMap<&[u8], u32> = merged.iter().map(|(piece, _)| piece.text.as_bytes()).zip(0..).collect();
        let pairs = merged.iter().zip(0..).filter_map(|((piece, _), rank)| {
            let starts = piece.text.char_indices().map(|(start, _)| start).collect();
            let middle = merges::split(piece.text.as_bytes(), starts, rank, |part| ranks.get(part).copied())?;
            Some(json!([&piece.text[..middle], &piece.text[middle..]]))
        });
        pairs.collect()
    }

    /// Pieces with the scores that they have in the search for the best path.
    fn scored(&self) -> Vec<Value> {
        let score = |piece: &Piece| match piece.kind {
            Kind::UserDefined => user_defined_score(piece.text),
            _ => piece.score,
        };
        self.pieces.iter().map(|piece| json!([piece.text, f64::from(score(piece))])).collect()
    }

    fn normalizer(&self) -> Result<Value> {
        let regex = |pattern: &str, content: &str| json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": content});
        let space = if self.escape_whitespaces { SPACE } else { " " };
        let mut steps = Vec::new();
        if !self.charsmap.is_empty() {
            Charsmap::new(self.charsmap).context("it is damaged").context("its map of characters")?;
            let precompiled = Precompiled::from(self.charsmap).map_err(|error| anyhow!("its map of characters: {error}"))?;
            steps.push(serde_json::to_value(precompiled)?);
        }
        if self.remove_extra_whitespaces {
            steps.extend([regex(r"\A +", ""), regex(" {2,}", " ")]);
        }
        if self.add_dummy_prefix {
            steps.push(json!({"type": "Prepend", "prepend": space}));
        }
        if self.escape_whitespaces {
            steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
        }
        if self.remove_extra_whitespaces {
            steps.push(regex(&format!(r"{space}+\z"), ""));
        }
        Ok(if steps.is_empty() { Value::Null } else { json!({"type": "Sequence", "normalizers": steps}) })
    }

    fn pre_tokenizer(&self, user_defined: &[&str]) -> Value {
        let split = |regex: String| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let mut steps = Vec::new();
        if self.kind == BPE && !user_defined.is_empty() {
            let mut longest_first = user_defined.to_vec();
            longest_first.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
            steps.push(split(longest_first.iter().map(|text| literal(text)).collect::<Vec<_>>().join("|")));
        }
        // The models of type bpe reach these pieces only where whole pieces are looked up.
        if self.kind == UNIGRAM || !user_defined.is_empty() {
            steps.push(split(self.cuts()));
        }
        // Where spaces stand only at the beginning of pieces, words can be encoded one by one.
        let leads = |text: &str| !text.trim_start_matches(SPACE).contains(SPACE);
        let matching = || self.pieces.iter().filter(|piece| piece.matches());
        if self.escape_whitespaces && matching().any(|piece| piece.text == SPACE) && matching().all(|piece| leads(piece.text)) {
            steps.push(split(format!("{SPACE}*[^{SPACE}]+|{SPACE}+")));
        }
        if steps.is_empty() { Value::Null } else { json!({"type": "Sequence", "pretokenizers": steps}) }
    }

    /// Places of no width, one inside of each piece that must not match a text.
    fn cuts(&self) -> String {
        let matching = || self.pieces.iter().filter(|piece| piece.matches()).map(|piece| piece.text);
        let spanned: HashSet<(char, char)> = matching().flat_map(|text| text.chars().zip(text.chars().skip(1))).collect();
        let known: HashSet<char> = matching().filter(|text| text.chars().nth(1).is_none()).flat_map(str::chars).collect();
        let mut by_head: Vec<(&str, Vec<&str>)> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| !piece.matches()) {
            let pairs = piece.text.char_indices().zip(piece.text.char_indices().skip(1));
            // Neighbours that are both unknown become one token, so they are not cut apart if it can be helped.
            let free = pairs.clone().find(|((_, a), (_, b))| !spanned.contains(&(*a, *b)) && (known.contains(a) || known.contains(b)));
            let Some((_, (middle, _))) = free.or(pairs.clone().next()) else { continue };
            let (head, tail) = piece.text.split_at(middle);
            match by_head.iter_mut().find(|(known, _)| *known == head) {
                Some((_, tails)) => tails.push(tail),
                None => by_head.push((head, vec![tail])),
            }
        }
        let mut regex = String::new();
        for (head, tails) in by_head {
            let tails = tails.into_iter().map(literal).collect::<Vec<_>>().join("|");
            let bar = if regex.is_empty() { "" } else { "|" };
            let _ = write!(regex, "{bar}(?<={})(?=(?:{tails}))", literal(head));
        }
        regex
    }

    fn decoder(&self) -> Value {
        let mut steps = vec![json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "})];
        if self.byte_fallback {
            steps.push(json!({"type": "ByteFallback"}));
        }
        steps.push(json!({"type": "Fuse"}));
        if self.add_dummy_prefix {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": steps})
    }
}

impl<'a> Piece<'a> {
    fn parse(message: &'a [u8]) -> Result<Piece<'a>> {
        let mut piece = Piece { text: "", score: 0.0, kind: Kind::Normal };
        for field in Fields::of(message) {
            match field? {
                (1, text) => piece.text = text.text()?,
                (2, score) => piece.score = score.float()?,
                (3, Wire::Varint(kind)) => {
                    piece.kind = match kind {
                        1 => Kind::Normal,
                        2 => Kind::Unknown,
                        3 => Kind::Control,
                        4 => Kind::UserDefined,
                        5 => Kind::Unused,
                        6 => Kind::Byte,
                        _ => bail!("it has the unknown type {kind}"),
                    }
                }
                _ => {}
            }
        }
        ensure!(!piece.text.is_empty(), "it has no text");
        Ok(piece)
    }
}

/// A text as a regular expression that matches it alone.
fn literal(text: &str) -> String {
    let mut regex = String::new();
    for c in text.chars() {
        if !c.is_alphanumeric() && c.is_ascii() && !c.is_ascii_control() {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}
