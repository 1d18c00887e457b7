//! Counterfactual texts: how likely each is. Causal models say so of whole texts; masked ones of the word that fills a blank ([`super::blank`]), or
//! of the tokens that both texts of a pair share, each hidden alone, as the script of CrowS-Pairs does (Nangia et al. 2020).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::Float64Array;
use model::evaluate::items::CONTEXT;
use model::{Family, Report};
use serde_json::json;

use super::items::{Part, column};
use super::{Cut, Row, Target, Work, shared};
use crate::tables::Column;
use crate::worker::Worker;

const NAMES: [&str; 3] = ["stereotype", "anti_stereotype", "unrelated"];

impl Work<'_> {
    pub(super) fn contrasts(&self, worker: &mut Worker) -> Result<Option<Report>> {
        let mut requests = 0;
        let checked = self.check(worker, |part| {
            requests += self.rows_of(part)?.1 as i64;
            Ok(())
        })?;
        if checked.is_none() || self.parts(worker, |part, worker| self.contrasts_of(part, worker))?.is_none() {
            return Ok(None);
        }
        let mut report = self.report("contrast", requests, &Cut::default());
        let likelihood = match (self.masked(), self.settings.per_token == Some(true)) {
            _ if self.fills_blank() => "logarithm of the mean probability of the tokens at the blank, each without those after it",
            (true, false) => "sum over shared tokens, each masked alone",
            (true, true) => "mean over shared tokens, each masked alone",
            (false, false) => "sum over tokens",
            (false, true) => "mean over tokens",
        };
        report.facts.insert("likelihood".into(), json!(likelihood));
        Ok(Some(report))
    }

    fn masked(&self) -> bool {
        self.model.loaded.config.family == Family::Bert
    }

    /// Whether a word is asked of, and not the tokens around it.
    fn fills_blank(&self) -> bool {
        self.masked() && self.settings.context.is_some()
    }

    fn contrasts_of(&self, part: &Part, worker: &mut Worker) -> Result<Option<Vec<Column>>> {
        let (rows, requests) = self.rows_of(part)?;
        let Some(sums) = self.ask(part, rows, requests, worker)? else { return Ok(None) };
        let texts = requests / part.len().max(1);
        let value = |request: usize| {
            let (sum, tokens) = (&sums[request], sums[request].tokens.max(1) as f64);
            match self.settings.per_token {
                _ if self.fills_blank() => (sum.probability / tokens).ln(),
                Some(true) => sum.log_likelihood / tokens,
                _ => sum.log_likelihood,
            }
        };
        let of = |place: usize| (0..part.len()).map(move |row| Some(value(row * texts + place))).collect::<Float64Array>();
        Ok(Some(NAMES.into_iter().take(texts).enumerate().map(|(place, name)| column(name, Arc::new(of(place)))).collect()))
    }

    /// What goes through the network, and how many texts there are, as many of each row.
    fn rows_of(&self, part: &Part) -> Result<(Vec<Row>, usize)> {
        let (mut rows, mut requests) = (Vec::new(), 0);
        let contexts = part.texts(CONTEXT)?;
        for (row, texts) in part.lists("texts")?.into_iter().enumerate() {
            let found = match self.masked() {
                true if self.fills_blank() => self.filled(contexts.value(row), &texts, requests),
                true => self.hidden(&texts, requests),
                false => self.whole(&texts, requests),
            };
            rows.extend(found.with_context(|| part.place(row))?);
            requests += texts.len();
        }
        Ok((rows, requests))
    }

    /// Each text after the token that stands before texts.
    fn whole(&self, texts: &[String], first: usize) -> Result<Vec<Row>> {
        let row = |(text, request): (&String, usize)| {
            let (context, predicted) = self.encode_pair("", text)?;
            self.check_length(text, predicted.len())?;
            Ok(Row::after(&[context, predicted.clone()].concat(), predicted.len(), request))
        };
        texts.iter().zip(first..).map(row).collect()
    }

    pub(super) fn check_length(&self, text: &str, tokens: usize) -> Result<()> {
        let positions = self.positions();
        ensure!(tokens > 0, "text `{text}` has no token");
        ensure!(tokens <= positions, "text `{text}` has {tokens} tokens, the model takes at most {positions}");
        Ok(())
    }

    pub(super) fn mask(&self) -> Result<i64> {
        Ok(i64::from(self.model.tokenizer.special().mask.context("the tokenizer has no mask token")?))
    }

    /// Both texts of a pair, once for each token that they share, with that one hidden.
    fn hidden(&self, texts: &[String], first: usize) -> Result<Vec<Row>> {
        let mask = self.mask()?;
        let (before, after) = self.model.frame()?;
        let framed = |text: &String| {
            let ids = [before.clone(), self.model.encode(text)?, after.clone()].concat();
            self.check_length(text, ids.len() * usize::from(ids.len() > before.len() + after.len()))?;
            Ok(ids)
        };
        let ids = texts.iter().map(framed).collect::<Result<Vec<Vec<i64>>>>()?;
        let [a, b] = &ids[..] else { anyhow::bail!("masked models compare two texts") };
        let places = shared(a, b);
        // The first and the last are the special tokens around a text.
        let places = places.get(1..places.len().saturating_sub(1)).unwrap_or_default();
        let hide = |ids: &[i64], place: usize, request: usize| {
            let mut hidden = ids.to_vec();
            let label = std::mem::replace(&mut hidden[place], mask);
            Row { ids: hidden, targets: vec![Target { place, label, request }] }
        };
        Ok(places.iter().flat_map(|(x, y)| [hide(a, *x, first), hide(b, *y, first + 1)]).collect())
    }
}
