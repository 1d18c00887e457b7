//! What is known of one document's text: the hash of the whole, n-grams, bands, and whether it is short.

use xxhash_rust::xxh3::xxh3_128;

use super::minhash::{MinHash, character_units, set_hash, shingles, word_units};
use super::settings::{Dedup, Method, Normal, Shingle};

/// Computes the features of one text after another in buffers of its own.
pub struct Features {
    minhash: Option<MinHash>,
    shingle: Shingle,
    ngram: usize,
    normal: Normal,
    short_words: usize,
    short_characters: usize,
    measures: bool,
    folded: String,
    units: Vec<u64>,
    /// Of the text with case and white space ignored.
    pub exact: u128,
    pub short: bool,
    /// Sorted and unique; empty for a short text.
    pub shingles: Vec<u64>,
    /// Empty where nothing is compared.
    pub bands: Vec<u64>,
    /// Of the set of shingles, where there are any.
    pub set: Option<u128>,
}

impl Features {
    pub fn new(dedup: &Dedup) -> Features {
        let minhash = dedup.has(Method::Minhash).then(|| MinHash::new(dedup.bands(), dedup.rows()));
        let (short_words, short_characters) = (dedup.short_words.unwrap_or(0), dedup.short_characters.unwrap_or(0));
        Features {
            // Without minhash, short documents matter only when they are dropped.
            measures: minhash.is_some() || dedup.drops_short(),
            minhash,
            shingle: dedup.shingle.unwrap_or(Shingle::Word),
            ngram: dedup.ngram(),
            normal: dedup.normal.unwrap_or(Normal::Fineweb),
            short_words,
            short_characters,
            folded: String::new(),
            units: Vec::new(),
            exact: 0,
            short: false,
            shingles: Vec::new(),
            bands: Vec::new(),
            set: None,
        }
    }

    /// Computes everything.
    pub fn read(&mut self, text: &str) {
        text::folded(text, &mut self.folded);
        self.exact = xxh3_128(self.folded.as_bytes());
        self.read_shingles(text);
        self.bands.clear();
        self.set = None;
        if let (Some(minhash), false) = (&self.minhash, self.shingles.is_empty()) {
            self.set = Some(set_hash(&self.shingles));
            minhash.bands(&self.shingles, &mut self.bands);
        }
    }

    /// Computes the shingles, and whether the text is short.
    pub fn read_shingles(&mut self, text: &str) {
        self.shingles.clear();
        self.short = false;
        if !self.measures {
            return;
        }
        let normal = self.normalize(text);
        match self.shingle {
            Shingle::Word => word_units(&normal, &mut self.units),
            Shingle::Character => character_units(&normal, &mut self.units),
        }
        let words = if self.shingle == Shingle::Word { self.units.len() } else { words_up_to(&normal, self.short_words) };
        self.short = words < self.short_words || self.short_characters > 0 && characters(&normal) < self.short_characters;
        if !self.short {
            shingles(&self.units, self.ngram, &mut self.shingles);
        }
    }

    /// Words and characters in normal form, as `short_words` and `short_characters` count them.
    pub fn lengths(&self, text: &str) -> (usize, usize) {
        let normal = self.normalize(text);
        (text::words(&normal).count(), characters(&normal))
    }

    fn normalize<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        match self.normal {
            Normal::Fineweb => text::dedup_normal(text).into(),
            Normal::Slimpajama => text::slimpajama_normal(text).into(),
            Normal::None => text.into(),
        }
    }
}

fn words_up_to(normal: &str, limit: usize) -> usize {
    text::words(normal).take(limit).count()
}

fn characters(normal: &str) -> usize {
    normal.chars().filter(|c| !c.is_whitespace()).count()
}
