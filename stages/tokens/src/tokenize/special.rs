//! The special tokens that a model needs around documents, which a plan knows already where the tokenizer is learned.

use anyhow::{Context as _, Result, bail};
use engine::{Site, Stage as _, list};
use text::SpecialIds;

use super::Model;
use crate::learn_tokenizer::LearnTokenizer;

/// What begins a document or row, if anything, and what ends it.
pub(super) fn frame(special: &SpecialIds, model: Model) -> Result<(Option<u32>, u32)> {
    match model {
        Model::Causal => {
            let missing = "has no end-of-text token, which model = \"causal\" needs; a learned one has it with \"<|endoftext|>\" in `special_tokens`, as kind = \"byte-level-bpe\" does by default";
            Ok((None, special.eos.context(missing)?))
        }
        Model::EncoderDecoder => {
            let missing = "has neither an end-of-text token nor [SEP], one of which model = \"encoder-decoder\" needs; a learned one has them with \"<|endoftext|>\" or \"[SEP]\" in `special_tokens`";
            Ok((None, special.eos.or(special.sep).context(missing)?))
        }
        Model::Masked => match (special.cls, special.sep, special.mask) {
            (Some(begin), Some(end), Some(_)) => Ok((Some(begin), end)),
            (cls, sep, mask) => {
                let roles = [("[CLS]", cls), ("[SEP]", sep), ("[MASK]", mask)];
                let missing = list(roles.into_iter().filter(|(_, id)| id.is_none()).map(|(name, _)| name));
                bail!(
                    "has no {missing}, which model = \"masked\" needs; a learned one has it in `special_tokens`, as kind = \"wordpiece\" does by default"
                )
            }
        },
    }
}

/// The error about documents that shall begin with a token that the tokenizer does not have.
pub(super) fn begins(special: &SpecialIds, bos: Option<bool>) -> Result<Option<u32>> {
    match bos {
        Some(true) => Ok(Some(special.bos.context("has no beginning-of-text token, which bos = true needs")?)),
        _ => Ok(None),
    }
}

/// Refuses a tokenizer that will be learned without what the model needs.
pub(crate) fn check(site: &Site, model: Model, bos: Option<bool>) -> Result<()> {
    let Some(step) = site.upstream("tokenizer").filter(|step| step.stage == LearnTokenizer::NAME) else { return Ok(()) };
    let Some(tokens) = step.settings["special_tokens"].as_array() else { return Ok(()) };
    let names: Vec<&str> = tokens.iter().filter_map(|token| token.as_str()).collect();
    let special = SpecialIds::of_names(&names);
    let checked = frame(&special, model).and_then(|_| begins(&special, bos));
    checked.map(drop).with_context(|| format!("the tokenizer of step `{}`", step.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let check = |tokens: &[&str], model, expected: &str| {
            let found = frame(&SpecialIds::of_names(tokens), model).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
        };
        check(&["<|endoftext|>"], Model::Causal, "");
        check(&["foo"], Model::Causal, "has no end-of-text token, which model = \"causal\" needs; a learned one has it with");
        check(&["[UNK]", "[CLS]", "[SEP]", "[MASK]"], Model::Masked, "");
        check(&["[UNK]", "[CLS]", "[SEP]"], Model::Masked, "has no `[MASK]`, which model = \"masked\" needs");
        check(&["<|endoftext|>"], Model::Masked, "has no `[CLS]`, `[SEP]`, `[MASK]`, which");
        check(&["[SEP]"], Model::EncoderDecoder, "");
        check(&[], Model::EncoderDecoder, "has neither an end-of-text token nor [SEP]");
        assert_eq!(begins(&SpecialIds::of_names(&["<s>", "</s>"]), Some(true)).unwrap(), Some(0));
        assert!(begins(&SpecialIds::of_names(&["</s>"]), Some(true)).is_err());
        assert_eq!(begins(&SpecialIds::of_names(&["<s>"]), None).unwrap(), None);
    }
}
