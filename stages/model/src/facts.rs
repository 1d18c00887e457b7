//! What tokens are, as their artifacts noted it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use engine::Artifact;

use crate::{Family, Head, LabelType, NetworkConfig, Objective, fitting};

/// The facts of tokens artifacts that are read as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `packed`, `classify`, `complete`, `translate`, `tag`, `answer` or `pairs`.
    pub layout: String,
    /// Of the layout classify.
    pub label_type: LabelType,
    /// Whether rows hold two texts.
    pub segments: bool,
    /// Whether documents have weights in the loss; of several artifacts, those without weigh 1.
    pub weights: bool,
    /// Of translations, that of the longer side.
    pub sequence_length: i64,
    pub vocab_size: i64,
    /// `causal`, `masked` or `encoder-decoder`.
    pub model: String,
    pub pad_id: Option<i64>,
    pub bos_id: Option<i64>,
    pub eos_id: Option<i64>,
    pub mask_id: Option<i64>,
    /// What stands before and after a text that a model is to read; of several artifacts that of the first. Unknown of tokens from elsewhere.
    pub frame: Option<[Vec<u32>; 2]>,
    /// Ids that are never masked.
    pub special_ids: Vec<u32>,
    pub classes: Option<Vec<String>>,
    /// Splits that have rows.
    pub splits: Vec<String>,
}

impl Facts {
    /// The facts of one artifact or of several that agree in all of them.
    pub fn read(tokens: &[Artifact]) -> Result<Facts> {
        origins::check_tokens(tokens)?;
        let mut all: Option<Facts> = None;
        for artifact in tokens {
            let facts = Facts::of(artifact)?;
            match &mut all {
                None => all = Some(facts),
                Some(all) => {
                    let splits: BTreeSet<String> = all.splits.drain(..).chain(facts.splits.iter().cloned()).collect();
                    all.weights |= facts.weights;
                    let same = Facts { splits: Vec::new(), weights: all.weights, frame: all.frame.clone(), ..facts };
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
        check_layout(&tokens.manifest.step, &layout)?;
        let id = |name: &str| tokens.fact::<Option<i64>>(name);
        let table = tokens.table("tokens")?;
        let mut splits: Vec<String> = table.files.iter().filter(|file| file.rows > 0).filter_map(|file| file.split.clone()).collect();
        splits.dedup();
        let model: String = tokens.fact("model")?;
        let ids = [id("pad_id")?, id("bos_id")?, id("eos_id")?, id("cls_id")?, id("sep_id")?, id("mask_id")?];
        Ok(Facts {
            layout,
            label_type: tokens.fact("label_type").unwrap_or_default(),
            segments: tokens.fact("segments").unwrap_or(false),
            weights: tokens.fact("weights").unwrap_or(false),
            sequence_length: tokens.fact::<i64>("sequence_length")?.max(tokens.fact("target_length").unwrap_or(0)),
            vocab_size: tokens.fact("vocab_size")?,
            // What both texts of a translation end in.
            eos_id: if model == "encoder-decoder" { ids[2].or(ids[4]) } else { ids[2] },
            model,
            pad_id: ids[0],
            bos_id: ids[1],
            mask_id: ids[5],
            frame: tokens.fact("frame").unwrap_or_default(),
            special_ids: ids.into_iter().flatten().map(|id| id as u32).collect(),
            classes: tokens.fact::<Option<Vec<String>>>("classes").unwrap_or_default(),
            splits,
        })
    }

    pub fn has_split(&self, split: &str) -> bool {
        self.splits.iter().any(|name| name == split)
    }

    /// What must stand on top of a network to learn this.
    pub fn head(&self, objective: Objective) -> Result<Head> {
        let classes = || match &self.classes {
            Some(classes) if !classes.is_empty() => Ok(classes.clone()),
            _ => bail!("the tokens name no classes; run `tokenize` again"),
        };
        Ok(match (objective, self.label_type) {
            (Objective::Causal | Objective::Complete | Objective::Translate | Objective::Denoise, _) => Head::Causal,
            (Objective::Masked, _) => Head::Masked,
            (Objective::Classify, LabelType::Class) => Head::Classify { classes: classes()? },
            (Objective::Classify, LabelType::MultiLabel) => Head::MultiLabel { classes: classes()? },
            (Objective::Classify, LabelType::Number) => Head::Number,
            (Objective::Tag, _) => Head::Tag { classes: classes()? },
            (Objective::Answer, _) => Head::Answer,
            (Objective::Pairs, _) => Head::Pairs { classes: classes()? },
        })
    }

    /// What fills up short rows, and what a decoder begins with.
    pub fn filler(&self) -> i64 {
        self.pad_id.or(self.eos_id).unwrap_or(0)
    }

    /// Whether a network can read these tokens.
    pub fn check(&self, config: &NetworkConfig) -> Result<()> {
        // Vocabularies of others are often filled up to a round size.
        if config.vocab_size < self.vocab_size {
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
        let wanted = config.family.reads();
        if !wanted.contains(&self.model.as_str()) {
            let (family, wanted) = (config.family.name(), wanted.join(" or "));
            bail!("a model of the family {family} needs tokens for {wanted} models, these are for {} ones", self.model);
        }
        if config.family == Family::Seq2seq { fitting::check_ends(&self.layout, &self.model) } else { Ok(()) }
    }
}

/// Refuses tokens that nothing is trained on or predicted from yet.
pub(crate) fn check_layout(step: &str, layout: &str) -> Result<()> {
    match layout {
        "packed" | "classify" | "complete" | "translate" | "tag" | "answer" | "pairs" => Ok(()),
        other => bail!(
            "step `{step}` makes tokens with layout = \"{other}\", which `train` and `predict` cannot read yet; they read the layouts packed, classify, complete, translate, tag, answer and pairs"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_that_nothing_reads_are_refused() {
        for layout in ["packed", "classify", "complete", "translate", "tag", "answer", "pairs"] {
            assert!(check_layout("x", layout).is_ok());
        }
        let error = check_layout("x", "trees").unwrap_err().to_string();
        assert!(error.starts_with("step `x` makes tokens with layout = \"trees\", which `train`"), "{error}");
    }

    #[test]
    fn heads_follow_from_the_labels() {
        let classes = || vec!["a".to_string(), "b".to_string()];
        let facts = |label_type| Facts { label_type, classes: Some(classes()), ..Facts::default() };
        let head = |objective, label_type| facts(label_type).head(objective).unwrap();
        assert_eq!(head(Objective::Classify, LabelType::MultiLabel), Head::MultiLabel { classes: classes() });
        assert_eq!(head(Objective::Classify, LabelType::Number), Head::Number);
        assert_eq!(head(Objective::Tag, LabelType::Class), Head::Tag { classes: classes() });
        let error = Facts::default().head(Objective::Classify).unwrap_err().to_string();
        assert_eq!(error, "the tokens name no classes; run `tokenize` again");
    }
}
