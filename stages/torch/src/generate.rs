//! Networks that write: after a prompt, or a target for a source. What they have read is kept as keys and values, so each token is read once.

use anyhow::{Context as _, Result, bail};
use model::{Decoding, Family, NetworkConfig};
use tch::{Kind, Tensor};
use text::Tokenizer;

use crate::decode::{Start, Writer, write};
use crate::folder::Loaded;
use crate::models::seq2seq::{EncoderDecoder, Memory};
use crate::models::{Cache, Seen};
use crate::tape::Tape;

/// What ended a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The end-of-text token.
    Eos,
    /// One of the texts to stop at.
    Stop,
    /// Its longest length.
    #[default]
    Length,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            End::Eos => "eos",
            End::Stop => "stop",
            End::Length => "length",
        }
    }
}

/// A text that was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// Without the token that ended it.
    pub ids: Vec<i64>,
    pub end: End,
    /// Of its tokens and the one that ended it, by the model itself: no temperature or penalty changes it.
    pub log_likelihood: f64,
}

/// Hears the tokens of a text.
pub type Watch<'a> = dyn Fn(&[i64]) + 'a;

/// Tokens that end texts, and such that stand in none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ends {
    /// The end-of-text tokens, of which there may be several.
    pub eos: Vec<i64>,
    /// Special tokens among the texts to stop at, which no text shows.
    pub stop: Vec<i64>,
    /// Tokens that are never written.
    pub never: Vec<i64>,
}

impl Ends {
    /// Those of a network whose texts end in `eos`. A decoder does not write its padding, as Marian's `bad_words_ids` has it.
    pub fn new(eos: Vec<i64>, decoding: &Decoding, tokenizer: &Tokenizer, config: &NetworkConfig) -> Ends {
        let stop = decoding.stop.iter().filter_map(|text| tokenizer.special_token(text)).map(i64::from).collect();
        let padding = config.special.pad.filter(|pad| config.family == Family::Seq2seq && !eos.contains(pad));
        Ends { eos, stop, never: padding.into_iter().collect() }
    }
}

/// How texts are written.
#[derive(Clone, Copy)]
pub struct How<'a> {
    pub decoding: &'a Decoding,
    pub ends: &'a Ends,
    /// Reads texts to stop at.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Hears of each token of a text that is written alone and without beams: of all its tokens so far.
    pub watch: Option<&'a Watch<'a>>,
    /// Whether a text after a prompt may be longer than the model: it then sees the last tokens alone, as many as it takes.
    pub slides: bool,
}

impl How<'_> {
    /// Whether the text of these tokens holds one of those to stop at.
    pub fn stops(&self, ids: &[i64]) -> Result<bool> {
        if ids.last().is_some_and(|last| self.ends.stop.contains(last)) {
            return Ok(true);
        }
        let (stop, Some(tokenizer)) = (&self.decoding.stop, self.tokenizer) else { return Ok(false) };
        if stop.is_empty() {
            return Ok(false);
        }
        let text = decoded(tokenizer, ids)?;
        Ok(stop.iter().any(|stop| text.contains(stop.as_str())))
    }

    /// The text of a completion, up to where it stops.
    pub fn text(&self, tokenizer: &Tokenizer, ids: &[i64]) -> Result<String> {
        let mut text = decoded(tokenizer, ids)?;
        if let Some(end) = self.decoding.stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(end);
        }
        Ok(text)
    }
}

/// The text of tokens, without special ones.
pub fn decoded(tokenizer: &Tokenizer, ids: &[i64]) -> Result<String> {
    tokenizer.decode(&ids.iter().map(|id| *id as u32).collect::<Vec<u32>>())
}

/// What follows prompts of a causal network; `numbers` are those that tokens are drawn by.
pub fn complete(loaded: &Loaded, prompts: &[Vec<i64>], numbers: &[u64], how: &How) -> Result<Vec<Completion>> {
    let positions = loaded.config.positions as usize;
    if let Some(row) = prompts.iter().position(|prompt| prompt.is_empty() || prompt.len() > positions) {
        bail!("prompt {row} of the batch has {} tokens, the model takes 1 to {positions}", prompts[row].len());
    }
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let (device, max_new) = (loaded.parameters.device(), how.decoding.max_new_tokens as usize);
    // On the left, so that all rows take their next token at the same place.
    let padding: Vec<i64> = prompts.iter().map(|prompt| (longest - prompt.len()) as i64).collect();
    let padded: Vec<Vec<i64>> = prompts.iter().map(|prompt| [vec![0; longest - prompt.len()], prompt.clone()].concat()).collect();
    let start = |(prompt, number): (&Vec<i64>, &u64)| Start {
        seen: prompt.clone(),
        number: *number,
        // The token after the last position is still predicted.
        tokens_max: if how.slides { max_new } else { max_new.min(positions + 1 - prompt.len()) },
    };
    let starts = prompts.iter().zip(numbers).map(start).collect();
    let padding = Tensor::from_slice(&padding).unsqueeze(1).to_device(device);
    let none = Tensor::zeros([prompts.len() as i64, 0], (Kind::Int64, device));
    let mut writer = Causal { loaded, padding, cache: Cache::new(), seen: 0, slides: how.slides.then_some(none) };
    write(&mut writer, &Tensor::from_slice2(&padded).to_device(device), starts, how)
}

/// What follows prompts of a causal network, or the targets of sources, of which each has the tokens around it.
pub fn go_on(loaded: &Loaded, rows: &[Vec<i64>], numbers: &[u64], how: &How) -> Result<Vec<Completion>> {
    let special = &loaded.config.special;
    if loaded.network.encoder_decoder().is_none() {
        return complete(loaded, rows, numbers, how);
    }
    let first = special.pad.context("the model has no padding token for its decoder to begin with")?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let padded = |row: &Vec<i64>| [row.clone(), vec![first; longest - row.len()]].concat();
    let real = |row: &Vec<i64>| (0..longest).map(|place| place < row.len()).collect();
    let device = loaded.parameters.device();
    let ids = Tensor::from_slice2(&rows.iter().map(padded).collect::<Vec<_>>()).to_device(device);
    let real = Tensor::from_slice2(&rows.iter().map(real).collect::<Vec<Vec<bool>>>()).to_device(device);
    let seen = Seen { real: (rows.iter().any(|row| row.len() < longest)).then_some(real), ..Seen::default() };
    translate(loaded, &ids, &seen, numbers, first, how)
}

/// The likeliest token at a time after each prompt.
pub fn greedy(loaded: &Loaded, prompts: &[Vec<i64>], eos: i64, max_new_tokens: usize) -> Result<Vec<Completion>> {
    let decoding = Decoding { max_new_tokens: max_new_tokens as u64, ..Decoding::default() };
    let ends = Ends { eos: vec![eos], ..Ends::default() };
    complete(
        loaded,
        prompts,
        &vec![0; prompts.len()],
        &How { decoding: &decoding, ends: &ends, tokenizer: None, watch: None, slides: false },
    )
}

/// The target of each source (batch, source time) by a network of encoder and decoder, which begins with the token `first`.
pub fn translate(loaded: &Loaded, ids: &Tensor, seen: &Seen, numbers: &[u64], first: i64, how: &How) -> Result<Vec<Completion>> {
    let network = loaded.network.encoder_decoder().context("this network has no encoder and decoder; give one of the family seq2seq")?;
    // The decoder reads all tokens but the last, and what it begins with.
    let tokens_max = how.decoding.max_new_tokens.min(loaded.config.positions as u64) as usize;
    let memory = tch::no_grad(|| network.encode(ids, seen, 0.0, &Tape::off()))?;
    let starts = numbers.iter().map(|number| Start { seen: vec![first], number: *number, tokens_max }).collect();
    let begin = Tensor::full([ids.size()[0], 1], first, (Kind::Int64, ids.device()));
    write(&mut Decoder { loaded, network, memory, cache: Cache::new() }, &begin, starts, how)
}

/// A network that goes on with prompts.
struct Causal<'a> {
    loaded: &'a Loaded,
    /// (rows, 1), tokens of padding before each prompt.
    padding: Tensor,
    cache: Cache,
    /// Tokens in the cache.
    seen: i64,
    /// (rows, seen), those tokens, where the model may go on beyond its length.
    slides: Option<Tensor>,
}

impl Causal<'_> {
    /// The tokens to read for the next one: `ids`, or, when those that were read leave them no position, the last tokens that the model takes, as
    /// nanoGPT does. Their positions have changed, so nothing that was read of them holds.
    fn within_reach(&mut self, ids: &Tensor) -> Result<Tensor> {
        let Some(all) = &mut self.slides else { return Ok(ids.shallow_clone()) };
        *all = Tensor::cat(&[&*all, ids], 1);
        let (total, positions) = (all.size()[1], self.loaded.config.positions);
        if total - i64::try_from(self.padding.min())? <= positions {
            return Ok(ids.shallow_clone());
        }
        *all = all.narrow(1, total - positions, positions);
        self.padding = (&self.padding - (total - positions)).clamp_min(0);
        (self.cache, self.seen) = (Cache::new(), 0);
        Ok(all.shallow_clone())
    }
}

impl Writer for Causal<'_> {
    fn next(&mut self, ids: &Tensor) -> Result<Tensor> {
        let ids = &self.within_reach(ids)?;
        let new = ids.size()[1];
        let places = Tensor::arange_start(self.seen, self.seen + new, (Kind::Int64, ids.device())); // (new)
        let (mask, at) = (mask(&places, &self.padding, self.seen + new), (&places - &self.padding).clamp_min(0));
        let hidden = self.loaded.network.extend(ids, &at, &mask, &mut self.cache)?;
        self.seen += new;
        Ok(logits(self.loaded, &hidden.select(1, new - 1)))
    }

    fn select(&mut self, rows: &Tensor) {
        self.padding = self.padding.index_select(0, rows);
        self.slides = self.slides.take().map(|all| all.index_select(0, rows));
        select(&mut self.cache, rows);
    }
}

/// A decoder that writes targets.
struct Decoder<'a> {
    loaded: &'a Loaded,
    network: &'a dyn EncoderDecoder,
    memory: Memory,
    cache: Cache,
}

impl Writer for Decoder<'_> {
    fn next(&mut self, ids: &Tensor) -> Result<Tensor> {
        Ok(logits(self.loaded, &self.network.decode(ids, &self.memory, &mut self.cache).select(1, 0)))
    }

    fn select(&mut self, rows: &Tensor) {
        self.memory = self.memory.select(rows);
        select(&mut self.cache, rows);
    }
}

/// (rows, vocabulary), f32, from hidden states (rows, width).
fn logits(loaded: &Loaded, hidden: &Tensor) -> Tensor {
    let output = loaded.network.output();
    loaded.network.features(hidden).linear(output.weight, output.bias).to_kind(Kind::Float)
}

fn select(cache: &mut Cache, rows: &Tensor) {
    for (keys, values) in cache.iter_mut().flatten() {
        (*keys, *values) = (keys.index_select(0, rows), values.index_select(0, rows));
    }
}

/// (rows, 1, new, seen + new): a token looks at itself and at earlier tokens that are no padding.
fn mask(places: &Tensor, padding: &Tensor, total: i64) -> Tensor {
    let keys = Tensor::arange(total, (Kind::Int64, places.device()));
    let earlier = keys.unsqueeze(0).le_tensor(&places.unsqueeze(1)); // (new, total)
    let itself = keys.unsqueeze(0).eq_tensor(&places.unsqueeze(1)); // padding must see something, or it becomes NaN
    let real = keys.unsqueeze(0).ge_tensor(padding).unsqueeze(1); // (rows, 1, total)
    earlier.unsqueeze(0).logical_and(&real).logical_or(&itself.unsqueeze(0)).unsqueeze(1)
}
