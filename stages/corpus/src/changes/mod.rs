//! Changes of texts that `augment` and `perturb` make: what a model should bear, and what may teach it to.
//!
//! A changed text is a pure function of the text, the settings and a key (seed, document, copy, column): no order of rows and no thread counts.
//! Words are those of [`text::words`], so each Chinese character is one.

mod chinese;
mod draws;
mod lists;
mod marks;
mod typos;
mod versions;
mod wording;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use engine::{Inputs, Site};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use draws::Draws;
use lists::Groups;
pub use typos::Typo;
pub use versions::{Scope, Version, Wanted, changes_schema, rebuild, write_changes};

/// What is changed and how often. All rates are shares from 0 (the default, nothing) to 1; changes are made in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Share of the words with synonyms in `synonyms_file` that one of these takes the place of.
    #[serde(default)]
    pub synonyms: f64,
    /// A file below the root with words that may stand for one another, a group on each line, between tabs or commas.
    #[serde(default)]
    pub synonyms_file: Option<String>,
    /// Share of the words that change places with the next one (EDA, Wei and Zou 2019); not in Chinese.
    #[serde(default)]
    pub word_swaps: f64,
    /// Share of the words with a typing error, one each: inside of words of four letters or more (Pruthi et al. 2019); of Chinese characters one that
    /// sounds alike, or two that are swapped.
    #[serde(default)]
    pub typos: f64,
    /// The typing errors that are made, each as often: `swap`, `drop`, `double` and `key` (a neighbour on the American keyboard).
    #[serde(default = "all_typos")]
    pub typo_kinds: Vec<Typo>,
    /// A file below the root with Chinese characters that sound alike, a group on each line, between tabs or commas.
    #[serde(default)]
    pub homophones_file: Option<String>,
    /// Share of the words written in small letters, in capital letters or with a capital letter first, whichever they are not.
    #[serde(default)]
    pub case: f64,
    /// Share of the marks `,.;:!?` and `，。、；：！？` that are left out or another of their kind, half of the time each; not within numbers and words.
    #[serde(default)]
    pub punctuation: f64,
    /// Share of the single spaces that are left out or doubled, half of the time each, and of the places between two Chinese characters that get one.
    #[serde(default)]
    pub white_space: f64,
    /// Share of the stretches of Chinese characters that are written in traditional characters instead of simplified ones, or the other way round.
    #[serde(default)]
    pub script: f64,
    /// Share of the words and marks of ASCII that are written in full-width forms, and the other way round.
    #[serde(default)]
    pub width: f64,
    /// Content hashes of the files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(skip)]
    pub file_hashes: BTreeMap<String, String>,
}

fn all_typos() -> Vec<Typo> {
    Typo::ALL.to_vec()
}

impl Changes {
    fn rates(&self) -> [(&'static str, f64); 8] {
        [
            ("synonyms", self.synonyms),
            ("word_swaps", self.word_swaps),
            ("typos", self.typos),
            ("case", self.case),
            ("punctuation", self.punctuation),
            ("white_space", self.white_space),
            ("script", self.script),
            ("width", self.width),
        ]
    }

    /// Checks the rates, and reads the files once, so that what is wrong with them is said while planning.
    pub fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let rates = self.rates();
        if let Some((name, rate)) = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            bail!("changes.{name} = {rate}: a rate is a share from 0 to 1");
        }
        if rates.iter().all(|(_, rate)| *rate == 0.0) {
            let names = rates.map(|(name, _)| format!("`{name}`"));
            bail!("all rates are 0, so nothing would be changed: give `changes` one of {}", names.join(", "));
        }
        if self.typo_kinds.is_empty() {
            bail!("changes.typo_kinds is empty: name some of `swap`, `drop`, `double`, `key`, or leave it out for all of them");
        }
        if (self.synonyms > 0.0) != self.synonyms_file.is_some() {
            bail!("changes.synonyms and changes.synonyms_file go together: give both or neither");
        }
        if self.homophones_file.is_some() && self.typos == 0.0 {
            bail!("changes.homophones_file is for changes.typos, which is 0");
        }
        for (name, path) in self.files().map(|(name, path)| (name, path.clone())).collect::<Vec<_>>() {
            let found = site.files(std::slice::from_ref(&path)).with_context(|| format!("changes.{name}"))?;
            let [file] = found.as_slice() else { bail!("changes.{name}: `{path}` matches {} files; name one", found.len()) };
            groups(name, &file.path)?;
            self.file_hashes.insert(name.to_string(), file.hash.clone());
        }
        Ok(())
    }

    /// The files that are given, by their settings.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let synonyms = self.synonyms_file.iter().map(|path| ("synonyms_file", path));
        synonyms.chain(self.homophones_file.iter().map(|path| ("homophones_file", path)))
    }

    /// The changes with their files read.
    pub fn load(&self, inputs: &Inputs) -> Result<Changer<'_>> {
        let read = |name: &str| -> Result<Option<Groups>> {
            let Some(hash) = self.file_hashes.get(name) else { return Ok(None) };
            let file = inputs.files().iter().find(|file| file.hash == *hash);
            file.map(|file| groups(name, &file.path)).with_context(|| format!("changes.{name} is not among the input files"))?.map(Some)
        };
        Ok(Changer { changes: self, synonyms: read("synonyms_file")?, homophones: read("homophones_file")? })
    }
}

fn groups(name: &str, path: &std::path::Path) -> Result<Groups> {
    let text = std::fs::read(path).with_context(|| format!("changes.{name}: reading `{}`", path.display()))?;
    let parsed = String::from_utf8(text).context("it is not UTF-8").and_then(|text| Groups::parse(&text));
    parsed.with_context(|| format!("changes.{name}: `{}`", path.display()))
}

/// Changes with their files.
pub struct Changer<'a> {
    changes: &'a Changes,
    synonyms: Option<Groups>,
    homophones: Option<Groups>,
}

impl Changer<'_> {
    /// The changed text; `None` where it stays what it is. Counts what was done.
    pub fn change(&self, text: &str, key: u64, tally: &mut Tally) -> Option<String> {
        let mut changed: Option<String> = None;
        for (name, rate) in self.changes.rates().into_iter().filter(|(_, rate)| *rate > 0.0) {
            let draws = Draws::new(key, name);
            let now = changed.as_deref().unwrap_or(text);
            changed = self.step(name, now, rate, draws, tally).or(changed);
        }
        changed.filter(|changed| changed != text)
    }

    fn step(&self, name: &str, text: &str, rate: f64, draws: Draws, tally: &mut Tally) -> Option<String> {
        match name {
            "synonyms" => wording::synonyms(text, rate, self.synonyms.as_ref()?, draws, tally),
            "word_swaps" => wording::word_swaps(text, rate, draws, tally),
            "typos" => typos::mistype(text, rate, &self.changes.typo_kinds, self.homophones.as_ref(), draws, tally),
            "case" => wording::case(text, rate, draws, tally),
            "punctuation" => marks::punctuation(text, rate, draws, tally),
            "white_space" => marks::white_space(text, rate, draws, tally),
            "script" => chinese::script(text, rate, draws, tally),
            _ => chinese::width(text, rate, draws, tally),
        }
    }
}

/// How often each change was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally(BTreeMap<&'static str, i64>);

impl Tally {
    fn add(&mut self, change: &'static str) {
        *self.0.entry(change).or_default() += 1;
    }

    /// Changes in the order of their names, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> {
        self.0.iter().map(|(change, count)| (*change, *count))
    }
}
