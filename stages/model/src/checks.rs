//! What of the settings of `train` can be checked without its inputs.

use anyhow::{Result, bail};

use crate::{ModelSettings, Train, applies};

/// Up to which number an error names ranks that would do.
const RANKS_NAMED: u64 = 64;

impl Train {
    /// Checks all that can be checked without the inputs.
    pub fn check(&self, starts_from_model: bool) -> Result<()> {
        let starts =
            [("the setting `model`", self.model.is_some()), ("`from`", self.from.is_some()), ("the input `model`", starts_from_model)];
        let starts: Vec<&str> = starts.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        match starts[..] {
            [] => bail!(
                "no model: give `model = {{ family = \"gpt\" | \"bert\" | \"rnn\" | \"seq2seq\", … }}`, `from = \"FOLDER\"` of transformers, or an earlier model by `inputs = {{ model = \"STEP\" }}`"
            ),
            [_] => {}
            _ => bail!("both {} are given; a network has one start", starts.join(" and ")),
        }
        self.model.as_ref().map_or(Ok(()), ModelSettings::check)?;
        self.lora.iter().try_for_each(|lora| lora.check(self.model.is_some()))?;
        if self.lora.is_some() && self.adversarial.is_some() {
            bail!("adversarial: beside `lora` the embeddings are frozen, so no direction for them is known; leave one out");
        }
        match (self.steps, self.epochs) {
            (Some(1..), None) => {}
            (None, Some(epochs)) if epochs > 0.0 && epochs.is_finite() => {}
            _ => bail!("give either `steps` (at least 1) or `epochs` (above 0)"),
        }
        if self.batch_size == 0 || self.accumulate == 0 || self.eval_batches == 0 {
            bail!("batch_size, accumulate and eval_batches must be at least 1");
        }
        if self.prompt_tokens == Some(0) {
            bail!("prompt_tokens must be at least 1; leave out `prompts` to continue none");
        }
        self.check_ranks()?;
        let lowest = self.lowest_learning_rate();
        if !(self.learning_rate > 0.0 && (0.0..=self.learning_rate).contains(&lowest)) {
            bail!("learning_rate = {} must be above 0 and min_learning_rate = {lowest} between 0 and it", self.learning_rate);
        }
        for (name, value) in [("dropout", self.dropout), ("betas[0]", self.betas[0]), ("betas[1]", self.betas[1])] {
            if !(0.0..1.0).contains(&value) {
                bail!("{name} is {value}, it must be at least 0 and below 1");
            }
        }
        for (name, value) in [("weight_decay", self.weight_decay()), ("grad_clip", self.grad_clip), ("epsilon", self.epsilon)] {
            if !(value >= 0.0 && value.is_finite()) {
                bail!("{name} is {value}, it must not be negative");
            }
        }
        if !(self.masked_probability > 0.0 && self.masked_probability <= 1.0) {
            bail!("masked_probability is {}, it must be above 0 and at most 1", self.masked_probability);
        }
        self.check_optimizer()?;
        applies::check(self)
    }

    fn check_ranks(&self) -> Result<()> {
        if self.ranks > 0 && self.batch_size.is_multiple_of(self.ranks) {
            return Ok(());
        }
        let valid = (1..=self.batch_size.min(RANKS_NAMED)).filter(|ranks| self.batch_size.is_multiple_of(*ranks));
        let valid: Vec<String> = valid.map(|ranks| ranks.to_string()).collect();
        bail!(
            "ranks = {} must divide batch_size = {}, because each takes its share of the rows of every batch; valid are {}",
            self.ranks,
            self.batch_size,
            valid.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, starts_from_model: bool, expected: &str) {
        let settings: Train = serde_json::from_str(json).unwrap();
        let found = settings.check(starts_from_model).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{json}: {found}");
    }

    #[test]
    fn wrong_settings_are_refused_while_planning() {
        check(r#"{"model": {"family": "gpt"}, "steps": 10}"#, false, "");
        check(r#"{"epochs": 2.5}"#, true, "");
        check(r#"{"model": {"family": "gpt"}, "steps": 10}"#, true, "both the setting `model` and the input `model`");
        check(r#"{"steps": 10}"#, false, "no model");
        check(r#"{"from": "x", "steps": 10, "lora": {}}"#, false, "");
        check(r#"{"from": "x", "steps": 10, "lora": {"rank": 0}}"#, false, "lora.rank = 0 must be at least 1");
        check(r#"{"model": {"family": "gpt"}, "steps": 10, "lora": {}}"#, false, "`lora` adapts a trained network");
        check(r#"{"from": "x", "steps": 10}"#, true, "both `from` and the input `model` are given; a network has one start");
        check(r#"{"model": {"family": "bert"}}"#, false, "give either `steps`");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "epochs": 1}"#, false, "give either `steps`");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "batch_size": 0}"#, false, "batch_size");
        check(r#"{"epochs": 1, "batch_size": 12, "ranks": 4}"#, true, "");
        let expected =
            "ranks = 5 must divide batch_size = 12, because each takes its share of the rows of every batch; valid are 1, 2, 3, 4, 6";
        check(r#"{"epochs": 1, "batch_size": 12, "ranks": 5}"#, true, expected);
        check(r#"{"epochs": 1, "ranks": 0}"#, true, "ranks = 0 must divide batch_size = 16");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "min_learning_rate": 1}"#, false, "learning_rate = 0.001 must be above 0");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "dropout": 1}"#, false, "dropout is 1");
        check(r#"{"model": {"family": "bert"}, "steps": 1, "masked_probability": 0}"#, false, "masked_probability is 0");
        check(r#"{"epochs": 1, "prompts": ["a"], "prompt_tokens": 0}"#, true, "prompt_tokens must be at least 1");
        let both = r#"{"from": "x", "steps": 10, "lora": {}, "adversarial": {"method": "fgm"}}"#;
        check(both, false, "adversarial: beside `lora` the embeddings are frozen");
        check(r#"{"epochs": 1, "batch_ramp_steps": 9}"#, true, "`batch_ramp_steps` does something with accumulate above 1 alone");
    }

    #[test]
    fn epochs_become_steps_rounded_up() {
        let settings: Train = serde_json::from_str(r#"{"epochs": 2, "batch_size": 4, "accumulate": 2}"#).unwrap();
        assert_eq!([settings.total_steps(8), settings.total_steps(9), settings.total_steps(1)], [2, 3, 1]);
    }
}
