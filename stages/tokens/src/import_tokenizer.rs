//! `import-tokenizer`: somebody else's tokenizer, taken over with the ids it gives.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::{Context, Draft, Inputs, Kind, Port, Site, Stage, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use text::{FILES_BESIDE, ForeignFormat, ForeignOptions, Pattern, Tokenizer};

use crate::vocabulary;

/// Takes over a tokenizer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportTokenizer {
    /// A tokenizer.json, vocab.txt (BERT), .tiktoken or .model file (SentencePiece, Llama 3) below the config's root. tokenizer_config.json,
    /// special_tokens_map.json and added_tokens.json are read where they lie beside it. Here a SentencePiece model gives the ids of SentencePiece;
    /// the tokenizer.json that is made of it gives others in transformers for some texts with combining marks or unknown characters.
    pub file: String,
    /// For vocab.txt without `do_lower_case` in a tokenizer_config.json beside it: lower-case, and accents stripped.
    #[serde(default)]
    pub lowercase: Option<bool>,
    /// For tiktoken files, how texts are cut: `gpt2`, `cl100k`, `o200k`, `qwen2` or `llama3`. Names such as cl100k_base.tiktoken tell it.
    #[serde(default)]
    pub pattern: Option<String>,
    /// For tiktoken files, special tokens with their ids, such as `{ "<|endoftext|>" = 100257 }`; known for files of OpenAI, Qwen and Llama 3.
    #[serde(default)]
    pub special_tokens: Option<BTreeMap<String, u32>>,
}

impl Stage for ImportTokenizer {
    const NAME: &'static str = "import-tokenizer";
    const ABOUT: &'static str = "Takes over a tokenizer.json, BERT vocab.txt, tiktoken file or SentencePiece model.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Tokenizer;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let found = site.files(std::slice::from_ref(&self.file))?;
        let [file] = found.as_slice() else {
            bail!("`file` must name one file, `{}` matches {}", self.file, found.len());
        };
        let format = ForeignFormat::of(&file.path)?;
        self.only_for(format, "lowercase", self.lowercase.is_some(), ForeignFormat::WordPiece, "a vocab.txt")?;
        self.only_for(format, "pattern", self.pattern.is_some(), ForeignFormat::Tiktoken, "tiktoken files")?;
        self.only_for(format, "special_tokens", self.special_tokens.is_some(), ForeignFormat::Tiktoken, "tiktoken files")?;
        if format == ForeignFormat::Tiktoken && self.options()?.pattern.is_none() {
            Pattern::of(&file.path)?;
        }
        // They tell which special token has which role and more, so they are part of the key where they exist.
        for name in FILES_BESIDE {
            let beside = Path::new(&self.file).with_file_name(name).to_string_lossy().into_owned();
            if site.text_file(&beside)?.is_some() {
                site.files(&[beside])?;
            }
        }
        Ok(())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let beside = |path: &Path| FILES_BESIDE.iter().any(|name| path.ends_with(name));
        let file = inputs.files().iter().find(|file| !beside(&file.path)).context("no file was found while planning")?;
        let tokenizer = Tokenizer::load_foreign(&file.path, &self.options()?)?;
        vocabulary::write(&tokenizer, ctx, draft, |_| Ok(()))
    }
}

impl ImportTokenizer {
    fn only_for(&self, format: ForeignFormat, setting: &str, given: bool, wanted: ForeignFormat, what: &str) -> Result<()> {
        if given && format != wanted {
            bail!("`{setting}` is for {what} alone, `{}` is none; leave it out", self.file);
        }
        Ok(())
    }

    fn options(&self) -> Result<ForeignOptions> {
        let pattern = self.pattern.as_deref().map(|name| {
            Pattern::named(name).with_context(|| {
                format!("unknown pattern `{name}`{}; patterns: {}", suggest(name, Pattern::names()), list(Pattern::names()))
            })
        });
        Ok(ForeignOptions { lowercase: self.lowercase, pattern: pattern.transpose()?, special_tokens: self.special_tokens.clone() })
    }
}
