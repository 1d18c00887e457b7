//! `mill-model ask`: a model folder that is asked line by line (`model::ask`). Questions that wait are answered together; batches change no answer.
//!
//! Texts are framed as `tokenize` frames them for networks of this kind, so that a model is asked as it was taught.

mod answer;
mod classify;
mod fill;
mod generate;

use std::cell::OnceCell;
use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use anyhow::{Context as _, Result, bail, ensure};
use model::ask::{Ask, Asked, Question, Said};
use model::{Decoding, Facts, Family, LabelType, Row, TOKENIZERS};
use serde_json::Value;
use tch::Device;
use text::{ForeignOptions, Tokenizer};

use crate::batches::{Buffers, Collate};
use crate::device::{device, switch};
use crate::folder::{self, Loaded};
use crate::generate::Ends;
use crate::objective::Batch;
use crate::worker::tell;

/// Questions that are answered together at most.
const BATCH: usize = 16;

/// Answers until standard input ends. What was answered before an error is said before it.
pub fn answer() -> Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let ask = lines.next().context("mill-model was asked nothing")?.context("reading what is asked")?;
    let ask: Ask = serde_json::from_str(&ask).context("what is asked")?;
    drop(lines);
    tch::set_num_threads(ask.threads as i32);
    tch::set_num_interop_threads(1);
    let device = device(&ask.device, 0, |text| eprintln!("{text}"))?;
    switch(device, false, false)?;
    let model = Model::open(&ask.folder, device)?;
    // Who asks faster than is answered has to wait.
    let (sender, questions) = sync_channel(2 * BATCH);
    std::thread::spawn(move || std::io::stdin().lock().lines().all(|line| sender.send(line).is_ok()));
    let mut number = 0;
    while let Ok(first) = questions.recv() {
        let waiting = std::iter::once(first).chain(questions.try_iter().take(BATCH - 1));
        let batch =
            waiting.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<Question>>>().context("reading a question")?;
        model.say(&ask.task, &batch, number)?;
        number += batch.len() as u64;
    }
    Ok(())
}

/// A model that is asked.
pub struct Model {
    pub loaded: Loaded,
    pub tokenizer: Tokenizer,
    /// The tokens that end a text.
    eos: Vec<i64>,
    /// The tokenizer, but masks in texts are masks; made when it is needed.
    reading_special: OnceCell<Tokenizer>,
}

impl Model {
    /// The model of a folder, with its tokenizer.
    pub fn open(folder: &Path, device: Device) -> Result<Model> {
        let loaded = folder::load(folder, device)?;
        let found = TOKENIZERS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let tokenizer = match found {
            Some(path) if path.ends_with(TOKENIZERS[0]) => Tokenizer::load(&path)?,
            Some(path) => Tokenizer::load_foreign(&path, &ForeignOptions::default())?,
            None => bail!("`{}` has no tokenizer: none of {}", folder.display(), TOKENIZERS.join(", ")),
        };
        let (known, rows) = (tokenizer.vocabulary_size() as i64, loaded.config.vocab_size);
        ensure!(known <= rows, "the tokenizer has {known} tokens, the model {rows}: they do not belong together");
        let mut eos = folder::ends(folder)?;
        if eos.is_empty() {
            eos.extend(tokenizer.special().eos.map(i64::from));
        }
        Ok(Model { loaded, tokenizer, eos, reading_special: OnceCell::new() })
    }

    /// What ends texts, and what stands in none.
    pub fn ends(&self, decoding: &Decoding) -> Ends {
        Ends::new(self.eos.clone(), decoding, &self.tokenizer, &self.loaded.config)
    }

    /// Answers some questions, of which the first has this number.
    fn say(&self, task: &Asked, questions: &[Question], number: u64) -> Result<()> {
        if let Asked::Generate { decoding, stream } = task {
            return self.generate(decoding, *stream, questions, number);
        }
        // One by one, so that an error comes after the answers before it.
        for question in questions {
            let (text, details) = match task {
                Asked::Fill { candidates } => self.fill(&question.text, *candidates),
                Asked::Classify => self.classify(question),
                _ => self.find_answer(question, task),
            }?;
            tell(&Said::Answer { text, details });
        }
        Ok(())
    }

    /// The tokens of a text, without special ones.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        Ok(self.tokenizer.encode(text)?.into_iter().map(i64::from).collect())
    }

    /// What stands before a text and after it.
    pub fn frame(&self) -> Result<(Vec<i64>, Vec<i64>)> {
        let special = self.tokenizer.special();
        let one = |id: Option<u32>, name: &str| -> Result<Vec<i64>> {
            Ok(vec![i64::from(id.with_context(|| format!("the tokenizer has no {name} token"))?)])
        };
        match self.loaded.config.family {
            Family::Bert => Ok((one(special.cls, "[CLS]")?, one(special.sep, "[SEP]")?)),
            Family::Seq2seq => {
                let end = self.loaded.config.special.eos.map(|id| id as u32).or(special.eos).or(special.sep);
                Ok((Vec::new(), one(end, "end-of-text")?))
            }
            Family::Gpt | Family::Rnn => {
                let (before, after) = self.tokenizer.frame()?;
                let wide = |ids: Vec<u32>| ids.into_iter().map(i64::from).collect();
                Ok((wide(before), wide(after)))
            }
        }
    }

    /// A text, or a pair, between its special tokens; the longer one is cut where they do not fit.
    fn framed(&self, mut text: Vec<i64>, mut pair: Option<Vec<i64>>) -> Result<Row> {
        let (before, after) = self.frame()?;
        let frame = before.len() + after.len() * if pair.is_some() { 2 } else { 1 };
        let room = (self.loaded.config.positions as usize).checked_sub(frame).context("the model takes no text")?;
        while text.len() + pair.as_ref().map_or(0, Vec::len) > room {
            match &mut pair {
                Some(pair) if pair.len() > text.len() => drop(pair.pop()),
                _ => drop(text.pop()),
            }
        }
        let mut tokens = [before, text, after.clone()].concat();
        let mut segments = Vec::new();
        if let Some(pair) = pair {
            segments.resize(tokens.len(), 0);
            tokens.extend(pair.into_iter().chain(after));
            segments.resize(tokens.len(), 1);
        }
        Ok(Row { tokens, segments, ..Row::default() })
    }

    /// Rows as `predict` reads them from tokens of a layout.
    fn batch(&self, layout: &str, label_type: LabelType, rows: Vec<Row>) -> Result<Batch> {
        let (config, special) = (&self.loaded.config, self.tokenizer.special());
        let (pad, eos) = (special.pad.map(i64::from), special.eos.map(i64::from));
        let facts = Facts {
            layout: layout.into(),
            label_type,
            segments: rows.iter().any(|row| !row.segments.is_empty()),
            model: match config.family {
                Family::Bert => "masked",
                Family::Seq2seq => "encoder-decoder",
                Family::Gpt | Family::Rnn => "causal",
            }
            .into(),
            vocab_size: config.vocab_size,
            pad_id: config.special.pad.or(pad),
            eos_id: config.special.eos.or(eos),
            classes: config.head.classes().map(<[String]>::to_vec),
            ..Facts::default()
        };
        let mut buffers = Buffers::default();
        let count = rows.len() as u64;
        buffers.fill(&Collate { facts, masking: None, denoising: None, documents: false }, rows, 0..count)?;
        Ok(buffers.batch(self.loaded.parameters.device()))
    }
}

/// What is printed, and all that is known of it.
type Answer = (String, Value);
