//! How a model writes text: which token comes next, and what ends it.

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Settings of decoding. The likeliest token is taken each time, unless there are several beams, or one of temperature, top_k and top_p.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decoding {
    /// Longest text in tokens.
    pub max_new_tokens: u64,
    /// Beginnings that are kept while the likeliest text is searched.
    pub beams: u64,
    /// Log-likelihoods of beams are divided by length^this.
    pub length_penalty: f64,
    /// Logits of tokens that were seen before are divided by this, or multiplied where they are negative (Keskar et al. 2019); 1 changes nothing.
    pub repetition_penalty: f64,
    /// Logits are divided by it before a token is drawn.
    pub temperature: Option<f64>,
    /// A token is drawn from so many of the likeliest alone.
    pub top_k: Option<u64>,
    /// A token is drawn from the fewest of the likeliest that have this probability together (Holtzman et al. 2020).
    pub top_p: Option<f64>,
    /// A text ends before the first of these.
    pub stop: Vec<String>,
    pub seed: u64,
}

impl Default for Decoding {
    fn default() -> Decoding {
        Decoding {
            max_new_tokens: 64,
            beams: 1,
            length_penalty: 1.0,
            repetition_penalty: 1.0,
            temperature: None,
            top_k: None,
            top_p: None,
            stop: Vec::new(),
            seed: 0,
        }
    }
}

impl Decoding {
    /// Refuses settings outside of their range, and such that contradict one another.
    pub fn check(&self) -> Result<()> {
        ensure!(self.max_new_tokens > 0 && self.beams > 0, "max_new_tokens and beams must be at least 1");
        ensure!(self.length_penalty.is_finite(), "length_penalty must be a number");
        ensure!(
            self.length_penalty == 1.0 || self.beams > 1,
            "length_penalty is {}, but there is one beam, and so nothing to compare; set beams to 2 or more",
            self.length_penalty
        );
        for (name, value) in [("repetition_penalty", Some(self.repetition_penalty)), ("temperature", self.temperature)] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                bail!("{name} is {value}, it must be above 0");
            }
        }
        ensure!(self.top_k != Some(0), "top_k must be at least 1");
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            bail!("top_p is {p}, it must be above 0 and at most 1");
        }
        ensure!(!self.stop.iter().any(String::is_empty), "`stop` has an empty text, which would end every text before it begins");
        ensure!(
            !self.draws() || self.beams == 1,
            "beams search for the likeliest text, temperature, top_k and top_p draw one: give either"
        );
        Ok(())
    }

    /// Whether tokens are drawn.
    pub fn draws(&self) -> bool {
        self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some()
    }

    /// What differs from taking the likeliest token each time, for the facts of predictions.
    pub fn describe(&self) -> Value {
        let mut all = Map::new();
        if self.beams > 1 {
            all.extend([("beams".into(), json!(self.beams)), ("length_penalty".into(), json!(self.length_penalty))]);
        }
        if self.repetition_penalty != 1.0 {
            all.insert("repetition_penalty".into(), json!(self.repetition_penalty));
        }
        if self.draws() {
            all.insert("temperature".into(), json!(self.temperature.unwrap_or(1.0)));
            all.extend(self.top_k.map(|k| ("top_k".into(), json!(k))));
            all.extend(self.top_p.map(|p| ("top_p".into(), json!(p))));
            all.insert("seed".into(), json!(self.seed));
        }
        if !self.stop.is_empty() {
            all.insert("stop".into(), json!(self.stop));
        }
        if all.is_empty() { json!("greedy") } else { Value::Object(all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused() {
        let check = |change: fn(&mut Decoding), expected: &str| {
            let mut decoding = Decoding::default();
            change(&mut decoding);
            let error = decoding.check().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expected) && error.is_empty() == expected.is_empty(), "{error}");
        };
        check(|_| {}, "");
        check(|decoding| (decoding.temperature, decoding.top_k, decoding.top_p) = (Some(0.7), Some(40), Some(1.0)), "");
        check(|decoding| decoding.beams = 0, "max_new_tokens and beams must be at least 1");
        check(|decoding| (decoding.beams, decoding.length_penalty) = (2, 0.5), "");
        check(|decoding| decoding.length_penalty = 0.5, "length_penalty is 0.5, but there is one beam");
        check(|decoding| decoding.temperature = Some(0.0), "temperature is 0, it must be above 0");
        check(|decoding| decoding.repetition_penalty = f64::NAN, "repetition_penalty is NaN, it must be above 0");
        check(|decoding| decoding.top_k = Some(0), "top_k must be at least 1");
        check(|decoding| decoding.top_p = Some(1.5), "top_p is 1.5, it must be above 0 and at most 1");
        check(|decoding| decoding.stop = vec!["".into()], "`stop` has an empty text");
        check(|decoding| (decoding.beams, decoding.top_p) = (2, Some(0.9)), "beams search for the likeliest text, temperature");
    }

    #[test]
    fn a_description_tells_what_is_not_greedy() {
        assert_eq!(Decoding::default().describe(), json!("greedy"));
        let beams = Decoding { beams: 4, stop: vec!["\n".into()], ..Decoding::default() };
        assert_eq!(beams.describe(), json!({"beams": 4, "length_penalty": 1.0, "stop": ["\n"]}));
        let drawn = Decoding { top_k: Some(5), seed: 7, ..Decoding::default() };
        assert_eq!(drawn.describe(), json!({"temperature": 1.0, "top_k": 5, "seed": 7}));
    }
}
