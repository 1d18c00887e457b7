//! What tokens are, as their artifacts noted it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use engine::Artifact;

use crate::{Family, NetworkConfig};

/// The facts of tokens artifacts that are read as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `packed`, `classify` or `complete`.
    pub layout: String,
    pub sequence_length: i64,
    pub vocab_size: i64,
    /// `causal` or `masked`.
    pub model: String,
    pub pad_id: Option<i64>,
    pub bos_id: Option<i64>,
    pub eos_id: Option<i64>,
    pub mask_id: Option<i64>,
    /// Ids that are never masked.
    pub special_ids: Vec<u32>,
    pub classes: Option<Vec<String>>,
    /// Splits that have rows.
    pub splits: Vec<String>,
}

impl Facts {
    /// The facts of one artifact or of several that agree in all of them.
    pub fn read(tokens: &[Artifact]) -> Result<Facts> {
        let mut all: Option<Facts> = None;
        for artifact in tokens {
            let facts = Facts::of(artifact)?;
            match &mut all {
                None => all = Some(facts),
                Some(all) => {
                    let splits: BTreeSet<String> = all.splits.drain(..).chain(facts.splits.iter().cloned()).collect();
                    let same = Facts { splits: Vec::new(), ..facts };
                    if *all != same {
                        let steps = [&tokens[0].manifest.step, &artifact.manifest.step];
                        bail!("steps `{}` and `{}` made tokens that do not go together: {all:?} and {same:?}", steps[0], steps[1]);
                    }
                    all.splits = splits.into_iter().collect();
                }
            }
        }
        match all {
            Some(facts) => Ok(facts),
            None => bail!("no tokens are connected"),
        }
    }

    fn of(tokens: &Artifact) -> Result<Facts> {
        let layout: String = tokens.fact("layout")?;
        let label_type: Option<String> = tokens.fact("label_type").unwrap_or_default();
        let segments = tokens.fact("segments").unwrap_or(false);
        check_layout(&tokens.manifest.step, &layout, label_type.as_deref(), segments)?;
        let id = |name: &str| tokens.fact::<Option<i64>>(name);
        let table = tokens.table("tokens")?;
        let mut splits: Vec<String> = table.files.iter().filter(|file| file.rows > 0).filter_map(|file| file.split.clone()).collect();
        splits.dedup();
        let ids = [id("pad_id")?, id("bos_id")?, id("eos_id")?, id("cls_id")?, id("sep_id")?, id("mask_id")?];
        Ok(Facts {
            layout,
            sequence_length: tokens.fact("sequence_length")?,
            vocab_size: tokens.fact("vocab_size")?,
            model: tokens.fact("model")?,
            pad_id: ids[0],
            bos_id: ids[1],
            eos_id: ids[2],
            mask_id: ids[5],
            special_ids: ids.into_iter().flatten().map(|id| id as u32).collect(),
            classes: tokens.fact::<Option<Vec<String>>>("classes").unwrap_or_default(),
            splits,
        })
    }

    pub fn has_split(&self, split: &str) -> bool {
        self.splits.iter().any(|name| name == split)
    }

    /// Whether a network can read these tokens.
    pub fn check(&self, config: &NetworkConfig) -> Result<()> {
        if config.vocab_size != self.vocab_size {
            bail!(
                "the model has a vocabulary of {}, the tokens one of {}; they come from different tokenizers",
                config.vocab_size,
                self.vocab_size
            );
        }
        if config.positions < self.sequence_length {
            bail!(
                "the model takes at most {} tokens, the rows have {}; tokenize with sequence_length = {}",
                config.positions,
                self.sequence_length,
                config.positions
            );
        }
        let wanted = match config.family {
            Family::Gpt => "causal",
            Family::Bert => "masked",
        };
        if self.model != wanted {
            bail!("a model of the family {} needs tokens for {wanted} models, these are for {} ones", config.family.name(), self.model);
        }
        Ok(())
    }
}

/// Refuses tokens that nothing is trained on or predicted from yet.
pub(crate) fn check_layout(step: &str, layout: &str, label_type: Option<&str>, segments: bool) -> Result<()> {
    let what = match (layout, label_type) {
        ("classify", Some(other)) if other != "class" => format!("layout = \"classify\" and label_type = \"{other}\""),
        ("classify", _) if segments => "layout = \"classify\" and `text_pair`".to_string(),
        ("packed" | "classify" | "complete", _) => return Ok(()),
        (other, _) => format!("layout = \"{other}\""),
    };
    bail!(
        "step `{step}` makes tokens with {what}, which `train` and `predict` cannot read yet; they read the layouts packed, classify (one text, label_type = \"class\") and complete"
    )
}

#[cfg(test)]
mod tests {
    use super::check_layout;

    #[test]
    fn layouts_that_nothing_reads_are_refused() {
        let check = |layout: &str, label_type: Option<&str>, segments: bool| {
            check_layout("x", layout, label_type, segments).map_err(|error| error.to_string().split(", which").next().map(String::from))
        };
        for layout in ["packed", "classify", "complete"] {
            assert_eq!((check(layout, None, false), check(layout, Some("class"), false)), (Ok(()), Ok(())));
        }
        let refused = |what: &str| Err(Some(format!("step `x` makes tokens with {what}")));
        assert_eq!(check("tag", Some("class"), false), refused("layout = \"tag\""));
        assert_eq!(check("pairs", None, true), refused("layout = \"pairs\""));
        assert_eq!(check("classify", Some("class"), true), refused("layout = \"classify\" and `text_pair`"));
        assert_eq!(check("classify", Some("number"), false), refused("layout = \"classify\" and label_type = \"number\""));
    }
}
