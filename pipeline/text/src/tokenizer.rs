//! A tokenizer as a folder of files that `transformers.AutoTokenizer` opens: loading, applying and saving it.
//!
//! Encoding here never adds special tokens and never finds them in a text: `<|endoftext|>` in a document is text, not the end of it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow, bail};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl};

use crate::encoded::Encoded;
use crate::fast::merges::Merges;
use crate::fast::sentencepiece::{KEY as SENTENCEPIECE, Settings as SentencePiece};
use crate::fast::{Fast, encode_by_crate};

/// Ids of the tokens with a role; `None` where the tokenizer has no such token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub pad: Option<u32>,
    pub cls: Option<u32>,
    pub sep: Option<u32>,
    pub mask: Option<u32>,
}

/// The roles with their names in tokenizer_config.json, and the texts by which they are known when no such file tells.
const ROLES: [(&str, &[&str]); 7] = [
    ("bos_token", &["<s>", "<|begin_of_text|>", "<|endoftext|>", "<bos>"]),
    ("eos_token", &["</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"]),
    ("unk_token", &["[UNK]", "<unk>", "<|endoftext|>"]),
    ("pad_token", &["[PAD]", "<pad>", "<|endoftext|>"]),
    ("cls_token", &["[CLS]"]),
    ("sep_token", &["[SEP]"]),
    ("mask_token", &["[MASK]", "<mask>"]),
];

impl SpecialIds {
    /// The roles that special tokens have by their usual names; ids are their places.
    pub fn of_names(tokens: &[&str]) -> SpecialIds {
        let place = |name: &&str| tokens.iter().position(|token| token == name).map(|place| place as u32);
        SpecialIds::of_roles(|role| ROLES[role].1.iter().find_map(place))
    }

    /// `id` gives the id for a place in the list of roles.
    fn of_roles(id: impl Fn(usize) -> Option<u32>) -> SpecialIds {
        SpecialIds { bos: id(0), eos: id(1), unk: id(2), pad: id(3), cls: id(4), sep: id(5), mask: id(6) }
    }
}

/// A tokenizer ready to encode and decode.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialIds,
    /// Of a tokenizer that came from SentencePiece, and encodes as that does.
    sentencepiece: Option<Arc<SentencePiece>>,
    /// Made when the first text is encoded; `None` where the crate must encode.
    fast: Arc<OnceLock<Option<Fast>>>,
}

impl Tokenizer {
    /// Loads `tokenizer.json`, or the folder that holds it. Roles of special tokens come from a tokenizer_config.json beside it; without one,
    /// from the usual names (`[CLS]`, `<|endoftext|>`, `<s>` …).
    pub fn load(path: &Path) -> Result<Tokenizer> {
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let beside = file.with_file_name("tokenizer_config.json");
        let config: Option<Value> = match std::fs::read(&beside) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| format!("`{}` is no valid JSON", beside.display()))?),
            Err(_) => None,
        };
        let unreadable = |error: &dyn std::fmt::Display| anyhow!("`{}` is no readable tokenizer.json: {error}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&error))?;
        // Our own merges are made beside the crate's.
        let of_sentencepiece = config.as_ref().is_some_and(|config| !config[SENTENCEPIECE].is_null());
        let (inner, merges) = rayon::join(|| parse(&text), || if of_sentencepiece { None } else { Merges::of_tokenizer(&text).ok() });
        let inner = inner.map_err(|error| unreadable(&error))?;
        Tokenizer::with_merges(inner, config.as_ref(), merges).with_context(|| format!("`{}`", beside.display()))
    }

    /// `config` is that of tokenizer_config.json.
    pub(crate) fn new(inner: tokenizers::Tokenizer, config: Option<&Value>) -> Result<Tokenizer> {
        Tokenizer::with_merges(inner, config, None)
    }

    fn with_merges(mut inner: tokenizers::Tokenizer, config: Option<&Value>, merges: Option<Merges>) -> Result<Tokenizer> {
        // Texts are stored whole and as they are; whoever needs rows cuts and pads later.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| anyhow!("switching off truncation: {error}"))?;
        inner.set_encode_special_tokens(true);
        let added = inner.get_added_tokens_decoder();
        // Large vocabularies hold `<s>` and `</s>` as ordinary tokens, of web pages.
        let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        let id = |role: usize| -> Option<u32> {
            let (name, usual) = ROLES[role];
            let entry = config.map(|config| &config[name]).filter(|entry| !entry.is_null());
            // Written as a text, or as an added token with `content`.
            match entry.and_then(|entry| entry.as_str().or(entry["content"].as_str())) {
                Some(token) => inner.token_to_id(token),
                None => usual.iter().find_map(|token| inner.token_to_id(token).filter(special)),
            }
        };
        let special = SpecialIds::of_roles(id);
        let entry = config.map(|config| &config[SENTENCEPIECE]).filter(|entry| !entry.is_null());
        let sentencepiece: Option<SentencePiece> =
            entry.map(|entry| serde_json::from_value(entry.clone())).transpose().with_context(|| format!("its key `{SENTENCEPIECE}`"))?;
        let fast = match (&sentencepiece, merges) {
            (Some(settings), _) => OnceLock::from(Some(Fast::of_sentencepiece(&inner, settings).context("the SentencePiece model")?)),
            (None, Some(merges)) => OnceLock::from(Fast::of(&inner, Some(merges)).ok()),
            (None, None) => OnceLock::new(),
        };
        Ok(Tokenizer { inner, special, sentencepiece: sentencepiece.map(Arc::new), fast: Arc::new(fast) })
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The tokens of a text, without special ones.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        self.encode_into(text, &mut ids)?;
        Ok(ids)
    }

    /// Appends the tokens of a text, without special ones.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        match self.fast() {
            Some(fast) => fast.encode(&self.inner, text, ids),
            None => encode_by_crate(&self.inner, text, ids),
        }
    }

    fn fast(&self) -> Option<&Fast> {
        self.fast.get_or_init(|| Fast::of(&self.inner, None).ok()).as_ref()
    }

    /// Whether texts are encoded by our own encoder, not by the crate `tokenizers`.
    pub fn is_fast(&self) -> bool {
        self.fast().is_some_and(|fast| fast.fell_back().is_none())
    }

    /// Where our own encoder gave other ids than the crate, which has encoded since, and whose ids alone were given out.
    pub fn fell_back(&self) -> Option<String> {
        self.fast()?.fell_back().cloned()
    }

    /// Encodes texts in parallel on rayon's current pool; results in order.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.par_iter().map(|text| self.encode(text)).collect()
    }

    /// The tokens of a text with the bytes they stand for.
    pub fn encode_with_offsets(&self, text: &str) -> Result<Encoded> {
        if let Some(encoded) = self.fast().and_then(|fast| fast.encode_with_offsets(text)) {
            return encoded;
        }
        let encoding = self.inner.encode(text, false).map_err(|error| anyhow!("encoding a text: {error}"))?;
        Ok(Encoded { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// The special tokens that the tokenizer's own template puts before and after a text, for users who ask for them.
    pub fn frame(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let encoding = self.inner.encode("a", true).map_err(|error| anyhow!("encoding a text: {error}"))?;
        let special = encoding.get_special_tokens_mask();
        let before = special.iter().take_while(|special| **special == 1).count();
        let after = special[before..].iter().rev().take_while(|special| **special == 1).count();
        let ids = encoding.get_ids();
        Ok((ids[..before].to_vec(), ids[ids.len() - after..].to_vec()))
    }

    /// This tokenizer, but special tokens in a text are those tokens: for texts that a user wrote to have them.
    pub fn reading_special(&self) -> Tokenizer {
        let mut inner = self.inner.clone();
        inner.set_encode_special_tokens(false);
        Tokenizer { inner, fast: Arc::new(OnceLock::from(None)), ..self.clone() }
    }

    /// The text of a token as the tokenizer stores it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a special token, by its text.
    pub fn special_token(&self, text: &str) -> Option<u32> {
        let id = self.inner.token_to_id(text)?;
        let added = self.inner.get_added_tokens_decoder();
        added.get(&id).is_some_and(|token| token.special).then_some(id)
    }

    /// The text of tokens, special ones left out. Byte-level tokenizers give back exactly what was encoded, as long as no character was cut.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| anyhow!("decoding tokens: {error}"))
    }

    /// Ids are below this.
    pub fn vocabulary_size(&self) -> usize {
        let known = self.fast.get().and_then(|fast| fast.as_ref()?.model_size());
        let model = known.unwrap_or_else(|| self.inner.get_vocab(false).values().max().map_or(0, |id| *id as usize + 1));
        self.inner.get_added_tokens_decoder().keys().max().map_or(0, |id| *id as usize + 1).max(model)
    }

    /// All tokens in order of their ids: id, text as the tokenizer stores it, whether it is special.
    pub fn vocabulary(&self) -> Vec<(u32, String, bool)> {
        let added = self.inner.get_added_tokens_decoder();
        let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        let mut tokens: Vec<(u32, String, bool)> =
            self.inner.get_vocab(true).into_iter().map(|(token, id)| (id, token, special(&id))).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Bytes of text each token stands for, by id, 0 for special ones; `None` unless the tokenizer is byte-level.
    pub fn bytes_of_tokens(&self) -> Option<Vec<u32>> {
        let byte_level = self.inner.get_decoder().is_some_and(|decoder| matches!(decoder, tokenizers::DecoderWrapper::ByteLevel(_)));
        byte_level.then(|| {
            let mut bytes = vec![0; self.vocabulary_size()];
            for (id, token, special) in self.vocabulary() {
                // A byte-level token is written with one character for each byte.
                bytes[id as usize] = if special { 0 } else { token.chars().count() as u32 };
            }
            bytes
        })
    }

    /// Ids of the tokens with a role.
    pub fn special(&self) -> &SpecialIds {
        &self.special
    }

    /// The id for padding: the padding token, else the end token, else 0. Padding never counts in a loss, so any id would do.
    pub fn pad_or_end(&self) -> u32 {
        self.special.pad.or(self.special.eos).unwrap_or(0)
    }

    /// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into an existing folder. `max_length` is the longest sequence of
    /// the model, when known.
    pub fn save(&self, folder: &Path, max_length: Option<usize>) -> Result<()> {
        if !folder.is_dir() {
            bail!("`{}` is no folder", folder.display());
        }
        let mut tokenizer = self.inner.clone();
        tokenizer.set_encode_special_tokens(false);
        let mut text = tokenizer.to_string(true).map_err(|error| anyhow!("writing tokenizer.json: {error}"))?;
        text.push('\n');
        write(&folder.join("tokenizer.json"), &text)?;
        let ids = self.special;
        let mut roles = Map::new();
        for ((name, _), id) in ROLES.iter().zip([ids.bos, ids.eos, ids.unk, ids.pad, ids.cls, ids.sep, ids.mask]) {
            if let Some(token) = id.and_then(|id| self.inner.id_to_token(id)) {
                roles.insert(name.to_string(), token.into());
            }
        }
        let mut inputs = vec!["input_ids", "attention_mask"];
        if ids.cls.is_some() {
            // Without it, transformers 5 encodes pairs silently as one segment.
            inputs.insert(1, "token_type_ids");
        }
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": inputs,
            // What transformers itself writes for "no limit known".
            "model_max_length": max_length.map_or(json!(1_000_000_000_000_000_000u64), |length| json!(length)),
            "clean_up_tokenization_spaces": false,
            "padding_side": "right",
            "truncation_side": "right",
        });
        for (name, token) in &roles {
            config[name] = token.clone();
        }
        if let Some(settings) = &self.sentencepiece {
            config[SENTENCEPIECE] = serde_json::to_value(&**settings)?;
        }
        write(&folder.join("tokenizer_config.json"), &format!("{config:#}\n"))?;
        write(&folder.join("special_tokens_map.json"), &format!("{:#}\n", Value::Object(roles)))
    }
}

/// The crate's tokenizer of a tokenizer.json. The crate itself copies a model several times before it knows its type, so the usual types are tried.
fn parse(file: &str) -> tokenizers::Result<tokenizers::Tokenizer> {
    fn of<M: DeserializeOwned + Model + Into<ModelWrapper>>(file: &str) -> Option<tokenizers::Tokenizer> {
        type Of<M> = TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;
        Some(serde_json::from_str::<Of<M>>(file).ok()?.into())
    }
    let known = if file.contains("\"merges\"") { of::<BPE>(file) } else { of::<WordPiece>(file) };
    known.map_or_else(|| file.parse(), Ok)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Kind, Recipe, WordCounts};
    use proptest::prelude::*;

    const TEXTS: [&str; 5] = [
        "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox runs.",
        "In 2024 the foxes' den wasn't found: 12.5% of dogs slept.",
        "机器学习是人工智能的一个分支。机器学习的方法很多。",
        "naïve café, déjà vu — “quoted” … 🦊",
        "tabs\tand\n\nnewlines  and   spaces",
    ];

    fn learn(recipe: impl Into<Recipe>, size: usize) -> Tokenizer {
        let mut counts = WordCounts::new(recipe);
        for _ in 0..3 {
            counts.add(&TEXTS);
        }
        counts.learn(size, 2).unwrap()
    }

    fn saved(tokenizer: &Tokenizer) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path(), Some(128)).unwrap();
        let names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
        names.iter().map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap()).collect()
    }

    #[test]
    fn byte_level_gives_back_what_went_in() {
        let tokenizer = learn(Kind::ByteLevelBpe, 400);
        assert_eq!(tokenizer.vocabulary_size(), 400);
        assert_eq!(tokenizer.special().eos, Some(0));
        for text in TEXTS {
            let ids = tokenizer.encode(text).unwrap();
            assert!(ids.len() < text.len());
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            let bytes = tokenizer.bytes_of_tokens().unwrap();
            assert_eq!(ids.iter().map(|id| bytes[*id as usize] as usize).sum::<usize>(), text.len());
        }
    }

    #[test]
    fn special_tokens_in_a_text_are_text() {
        let tokenizer = learn(Kind::ByteLevelBpe, 300);
        let ids = tokenizer.encode("a<|endoftext|>b").unwrap();
        assert!(!ids.contains(&0));
        assert_eq!(tokenizer.decode(&ids).unwrap(), "a<|endoftext|>b");
        let bert = learn(Kind::WordPiece, 120);
        assert!(!bert.encode("[MASK] x [SEP]").unwrap().iter().any(|id| [2, 3, 4].contains(id)));
    }

    #[test]
    fn wordpiece_cuts_words_and_han_characters() {
        let tokenizer = learn(Kind::WordPiece, 200);
        let special = tokenizer.special();
        assert_eq!((special.pad, special.unk, special.cls, special.sep, special.mask), (Some(0), Some(1), Some(2), Some(3), Some(4)));
        let ids = tokenizer.encode("The FOX 机器 q☃").unwrap();
        let tokens: Vec<_> = ids.iter().map(|id| tokenizer.inner.id_to_token(*id).unwrap()).collect();
        assert_eq!(tokens, ["the", "fox", "机", "器", "[UNK]"]);
        let encoded = tokenizer.encode_with_offsets("The FOX").unwrap();
        assert_eq!(encoded.offsets, [(0, 3), (4, 7)]);
    }

    #[test]
    fn saved_and_loaded_is_the_same() {
        for kind in [Kind::ByteLevelBpe, Kind::WordPiece] {
            let tokenizer = learn(kind, 320);
            let folder = tempfile::tempdir().unwrap();
            tokenizer.save(folder.path(), None).unwrap();
            let loaded = Tokenizer::load(folder.path()).unwrap();
            assert_eq!(loaded.special(), tokenizer.special());
            assert_eq!(loaded.vocabulary(), tokenizer.vocabulary());
            assert_eq!(loaded.encode(TEXTS[1]).unwrap(), tokenizer.encode(TEXTS[1]).unwrap());
            assert_eq!(saved(&loaded), saved(&tokenizer));
        }
    }

    #[test]
    fn learning_depends_on_counts_alone() {
        for kind in [Kind::ByteLevelBpe, Kind::WordPiece] {
            let learn = |threads: usize, turn: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut texts: Vec<String> = (0..50).flat_map(|n| TEXTS.map(|text| format!("{text} {n} a{n}b"))).collect();
                texts.rotate_left(turn);
                pool.install(|| {
                    let mut counts = WordCounts::new(kind);
                    for batch in texts.chunks(17 + turn) {
                        counts.add(&batch.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    saved(&counts.learn(600, 2).unwrap())
                })
            };
            let expected = learn(1, 0);
            assert_eq!(learn(2, 7), expected);
            assert_eq!(learn(4, 31), expected);
        }
    }

    #[test]
    fn errors_name_the_file_and_the_least_size() {
        let error = Tokenizer::load(Path::new("/no/such/tokenizer.json")).err().unwrap().to_string();
        assert!(error.starts_with("`/no/such/tokenizer.json` is no readable tokenizer.json: "), "{error}");
        let error = WordCounts::new(Kind::ByteLevelBpe).learn(100, 2).err().unwrap().to_string();
        assert_eq!(error, "a vocabulary of 100 tokens is too small: `byte-level-bpe` needs at least 257");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_survives_byte_level(text in any::<String>()) {
            static TOKENIZER: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
            let tokenizer = TOKENIZER.get_or_init(|| learn(Kind::ByteLevelBpe, 400));
            let ids = tokenizer.encode(&text).unwrap();
            // The short way through remembered pieces and the long way agree.
            prop_assert_eq!(&ids, &tokenizer.encode_with_offsets(&text).unwrap().ids);
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }

        #[test]
        fn wordpiece_by_pieces_equals_wordpiece_of_the_whole(text in "[a-zA-Z ,.'é中文加，\u{301}\u{200d}\u{3000}\u{a0}\n\u{b}Å한豈]{0,30}|\\PC{0,30}") {
            static TOKENIZERS: std::sync::OnceLock<[Tokenizer; 2]> = std::sync::OnceLock::new();
            let learned = TOKENIZERS.get_or_init(|| ["bert-uncased", "bert-cased"].map(|style| learn(Recipe::new(Kind::WordPiece, Some(style), None).unwrap(), 200)));
            for tokenizer in learned {
                prop_assert_eq!(tokenizer.encode(&text).unwrap(), tokenizer.encode_with_offsets(&text).unwrap().ids);
            }
        }
    }
}
