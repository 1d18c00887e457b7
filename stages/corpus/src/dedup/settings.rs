//! The settings of `dedup`: what counts as a duplicate, who survives, and when the step must not go on.
//!
//! A preset fills the settings that the config leaves out; after `prepare` all of them stand here and the preset is gone, so that a preset
//! and its settings written out have the same key.

use anyhow::{Context as _, Result, bail};
use engine::Site;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::minhash::PERMUTATIONS_MAX;
use crate::keep::materialize;

/// Keeps one document of every cluster of equal or nearly equal ones.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// `exact`: texts that are equal when case and white space are ignored. `minhash`: texts whose sets of n-grams are nearly equal. `url`:
    /// documents of one address. Documents that any of them joins are one cluster.
    #[serde(default = "default_method")]
    pub method: Vec<Method>,
    /// Shingles, bands, similarity, normal form and short documents of a known corpus or program: `fineweb`, `slimpajama`, `redpajama2`, `olmo`,
    /// `curator` or `dpk`. Single settings win over it. None: as `fineweb` with similarity 0.8, short documents compared as a whole. Pairs are
    /// verified in all of them, which the originals except dpk leave out.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// What n-grams are made of; default `word`. Words are those of UAX #29, each Han character is one.
    #[serde(default)]
    pub shingle: Option<Shingle>,
    /// Words or characters of an n-gram; default 5.
    #[serde(default)]
    pub ngram: Option<usize>,
    /// What is ignored when n-grams are compared. `fineweb` (default): case, accents, punctuation, which number it is. `slimpajama`: case and
    /// ASCII punctuation, after NFC. `none`: nothing.
    #[serde(default)]
    pub normal: Option<Normal>,
    /// Bands of MinHash: documents that agree in one of them are compared; default 14. 14 bands of 8 rows find 92 % of the pairs with
    /// Jaccard 0.8.
    #[serde(default)]
    pub bands: Option<usize>,
    /// Rows of a band: more rows find fewer pairs; default 8.
    #[serde(default)]
    pub rows: Option<usize>,
    /// Least similarity of two sets of n-grams that makes the documents duplicates; default 0.8.
    #[serde(default)]
    pub similarity_min: Option<f64>,
    /// How each pair is checked. `jaccard`: shared n-grams by all of both. `containment`: by those of the smaller set; bands still find pairs by
    /// their Jaccard, so a short part of a long document is mostly not found. `none`: not at all, as most originals do. Warning: without the
    /// check one band shared by chance joins two documents, and chains of such pairs have reduced whole sources to a handful of documents.
    #[serde(default = "default_verify")]
    pub verify: Verify,
    /// Short documents, which agree with too many others by chance. `keep`: minhash leaves them out. `exact`: so, but their copies are found even
    /// if `method` has no `exact`; the default. `drop`: they are rejected.
    #[serde(default)]
    pub short: Option<Short>,
    /// Fewer words than this, in normal form, make a document short; default: `ngram` where shingles are of words, else 0.
    #[serde(default)]
    pub short_words: Option<usize>,
    /// Fewer characters than this, in normal form and without white space, make a document short; default: `ngram` where shingles are of
    /// characters, else 0.
    #[serde(default)]
    pub short_characters: Option<usize>,
    /// Column with the address, for the method `url`. Scheme, `www.`, fragment, closing slashes and tracking parameters are ignored; documents
    /// without an address are not compared.
    #[serde(default = "default_url")]
    pub url: String,
    /// Who survives of a cluster: SQL expressions over the documents, the first that differs decides, each with `asc` (default) or `desc`;
    /// nulls come last, and the smallest id decides in the end. Documents of `against` always survive.
    #[serde(default = "default_survivor")]
    pub survivor: Vec<String>,
    /// Most documents of one cluster, exact copies counted once; with more the step fails and shows the largest clusters. Default: a tenth of
    /// all documents, at least 1000.
    #[serde(default)]
    pub cluster_size_max: Option<u64>,
    /// Largest share of the documents of a source, of those with 100 or more, that may be removed as near duplicates; with more the step fails
    /// and shows the largest clusters. Exact copies do not count: they are no matter of opinion. 1 switches the guard off.
    #[serde(default = "default_source_loss_max")]
    pub source_loss_max: f64,
    /// Whether the table `index` is written: hashes and bands of the kept documents, which make it quicker to deduplicate others `against`
    /// them. About 160 bytes a document.
    #[serde(default)]
    pub index: bool,
    /// `true` copies the kept documents, `false` keeps row numbers of the inputs, which must stay and have the same columns; `auto`, the
    /// default, copies inputs of up to 10 GB on disk.
    #[serde(default, deserialize_with = "materialize", skip_serializing_if = "Option::is_none")]
    pub materialize: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Exact,
    Url,
    Minhash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Fineweb,
    Slimpajama,
    Redpajama2,
    Olmo,
    Curator,
    Dpk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shingle {
    Word,
    Character,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normal {
    Fineweb,
    Slimpajama,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    Jaccard,
    Containment,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    Keep,
    Exact,
    Drop,
}

fn default_method() -> Vec<Method> {
    vec![Method::Exact, Method::Minhash]
}

fn default_verify() -> Verify {
    Verify::Jaccard
}

fn default_url() -> String {
    "url".to_string()
}

fn default_survivor() -> Vec<String> {
    vec!["char_count(text) desc".to_string()]
}

/// SlimPajama lost 64 % of Common Crawl and 46 % of GitHub, its greatest losses; what is known to have gone wrong lost more than 99.9 %.
fn default_source_loss_max() -> f64 {
    0.9
}

/// What a preset stands for.
struct Known {
    shingle: Shingle,
    ngram: usize,
    normal: Normal,
    bands: usize,
    rows: usize,
    similarity_min: f64,
    short: Short,
    short_characters: Option<usize>,
}

/// Without a preset. FineWeb's shingles and bands; 0.8 as nearly all others, since pairs are verified.
const PLAIN: Known = Known {
    shingle: Shingle::Word,
    ngram: 5,
    normal: Normal::Fineweb,
    bands: 14,
    rows: 8,
    similarity_min: 0.8,
    short: Short::Exact,
    short_characters: None,
};

impl Preset {
    /// Where an original does not verify, the least similarity is that at which its bands are meant to find a pair.
    fn known(self) -> Known {
        match self {
            // datatrove: examples/fineweb.py, pipeline/dedup/minhash.py. (1/14)^(1/8) = 0.72; texts of fewer than 5 words get no signature.
            Preset::Fineweb => Known { similarity_min: 0.72, short: Short::Keep, ..PLAIN },
            // modelzoo: data_preparation/nlp/slimpajama, main.py passes 13-grams and 0.8; 9 × 13 of 128 permutations by datasketch. Documents of
            // fewer than 200 characters without punctuation and white space are dropped (README, step 2).
            Preset::Slimpajama => Known {
                shingle: Shingle::Character,
                ngram: 13,
                normal: Normal::Slimpajama,
                bands: 9,
                rows: 13,
                similarity_min: 0.8,
                short: Short::Drop,
                short_characters: Some(200),
            },
            // RedPajama-Data: app/src/dedupe/minhash.py; 13-grams of words, 9 × 13 is its set for 0.8 (14 × 9 is that for 0.7). Texts of fewer
            // than 13 words get no signature.
            Preset::Redpajama2 => Known { ngram: 13, normal: Normal::Slimpajama, bands: 9, rows: 13, short: Short::Keep, ..PLAIN },
            // duplodocus: README.md, 26 × 11 (0.74); SlimPajama's normal form; a text of fewer than 5 words is one n-gram. Its tokens are those of
            // cl100k, ours are words, as with its option uniseg.
            Preset::Olmo => Known { normal: Normal::Slimpajama, bands: 26, rows: 11, similarity_min: 0.74, ..PLAIN },
            // NeMo Curator: stages/deduplication/fuzzy, 24 characters, 20 × 13 (0.79); the text as it is. Its documents warn of short n-grams.
            Preset::Curator => {
                Known { shingle: Shingle::Character, ngram: 24, normal: Normal::None, bands: 20, rows: 13, similarity_min: 0.79, ..PLAIN }
            }
            // data-prep-kit: transforms/universal/fdedup, 0.75 verified within clusters; words between white space as they are; a text of fewer
            // than 5 words is one n-gram; the longest survives.
            Preset::Dpk => Known { normal: Normal::None, similarity_min: 0.75, ..PLAIN },
        }
    }
}

impl Dedup {
    pub fn has(&self, method: Method) -> bool {
        self.method.contains(&method)
    }

    /// Fills what the config left out, and refuses what cannot work.
    pub(super) fn resolve(&mut self, site: &Site) -> Result<()> {
        self.fill();
        self.method.sort_by_key(|method| *method as u8);
        self.method.dedup();
        if self.method.is_empty() {
            bail!("`method` is empty: give `exact`, `minhash`, `url` or several of them");
        }
        for (name, value) in [("similarity_min", self.similarity_min()), ("source_loss_max", self.source_loss_max)] {
            if !(value > 0.0 && value <= 1.0) {
                bail!("`{name}` is {value}: it must be above 0 and at most 1");
            }
        }
        for (name, value) in [("ngram", self.ngram()), ("bands", self.bands()), ("rows", self.rows())] {
            if value == 0 {
                bail!("`{name}` is 0: it must be at least 1");
            }
        }
        if self.bands().saturating_mul(self.rows()) > PERMUTATIONS_MAX {
            bail!("{} bands × {} rows are more than {PERMUTATIONS_MAX} permutations", self.bands(), self.rows());
        }
        if self.verify == Verify::None && self.source_loss_max == 1.0 {
            bail!("`verify` is `none`, and `source_loss_max` switches off the guard that this needs: set one of them otherwise");
        }
        for item in &mut self.survivor {
            let (expression, descending) = split_order(item);
            let expression = site.sql().canonical(expression).context("`survivor`")?;
            *item = format!("{expression} {}", if descending { "desc" } else { "asc" });
        }
        Ok(())
    }

    pub(super) fn fill(&mut self) {
        let known = self.preset.take().map_or(PLAIN, Preset::known);
        let shingle = *self.shingle.get_or_insert(known.shingle);
        let ngram = *self.ngram.get_or_insert(known.ngram);
        self.normal.get_or_insert(known.normal);
        self.bands.get_or_insert(known.bands);
        self.rows.get_or_insert(known.rows);
        self.similarity_min.get_or_insert(known.similarity_min);
        self.short.get_or_insert(known.short);
        let (words, characters) = if shingle == Shingle::Word { (ngram, 0) } else { (0, ngram) };
        self.short_words.get_or_insert(words);
        self.short_characters.get_or_insert(known.short_characters.unwrap_or(characters));
    }

    pub fn ngram(&self) -> usize {
        self.ngram.unwrap_or(PLAIN.ngram)
    }

    pub fn bands(&self) -> usize {
        self.bands.unwrap_or(PLAIN.bands)
    }

    pub fn rows(&self) -> usize {
        self.rows.unwrap_or(PLAIN.rows)
    }

    pub fn similarity_min(&self) -> f64 {
        self.similarity_min.unwrap_or(PLAIN.similarity_min)
    }

    pub fn short(&self) -> Short {
        self.short.unwrap_or(PLAIN.short)
    }

    pub fn drops_short(&self) -> bool {
        self.short() == Short::Drop
    }

    /// The order expressions, and whether each is descending.
    pub fn orders(&self) -> Vec<(&str, bool)> {
        self.survivor.iter().map(|item| split_order(item)).collect()
    }
}

/// An expression and whether it is followed by `desc`.
fn split_order(item: &str) -> (&str, bool) {
    let item = item.trim();
    match item.rsplit_once(char::is_whitespace) {
        Some((expression, word)) if word.eq_ignore_ascii_case("desc") => (expression, true),
        Some((expression, word)) if word.eq_ignore_ascii_case("asc") => (expression, false),
        _ => (item, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_split_from_their_expressions() {
        assert_eq!(split_order(" char_count(text)  DESC "), ("char_count(text) ", true));
        assert_eq!(split_order("score asc"), ("score", false));
        assert_eq!(split_order("score"), ("score", false));
    }

    #[test]
    fn presets_fill_what_the_config_leaves_out() {
        for (config, expected) in [
            ("", "word 5 fineweb 14 8 0.8 exact 5 0"),
            ("preset = \"fineweb\"", "word 5 fineweb 14 8 0.72 keep 5 0"),
            ("preset = \"slimpajama\"", "character 13 slimpajama 9 13 0.8 drop 0 200"),
            ("preset = \"redpajama2\"", "word 13 slimpajama 9 13 0.8 keep 13 0"),
            ("preset = \"olmo\"", "word 5 slimpajama 26 11 0.74 exact 5 0"),
            ("preset = \"curator\"", "character 24 none 20 13 0.79 exact 0 24"),
            ("preset = \"dpk\"", "word 5 none 14 8 0.75 exact 5 0"),
            ("preset = \"dpk\"\nngram = 3\nshort = \"drop\"", "word 3 none 14 8 0.75 drop 3 0"),
            ("shingle = \"character\"\nngram = 9\nshort_words = 2", "character 9 fineweb 14 8 0.8 exact 2 9"),
        ] {
            let mut dedup: Dedup = toml::from_str(config).unwrap();
            dedup.fill();
            let settings = serde_json::to_value(&dedup).unwrap();
            let names = ["shingle", "ngram", "normal", "bands", "rows", "similarity_min", "short", "short_words", "short_characters"];
            let found: Vec<String> = names.iter().map(|name| settings[name].to_string().trim_matches('"').to_string()).collect();
            assert_eq!(found.join(" "), expected, "{config}");
            assert!(settings["preset"].is_null());
        }
    }
}
