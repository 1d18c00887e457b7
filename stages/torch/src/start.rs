//! Where the first weights come from besides chance: an earlier step, or a folder in the layout of transformers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use model::{Head, Job, NetworkConfig, TOKENIZERS, Train};
use serde_json::Value;
use text::{ForeignOptions, Tokenizer};

use crate::parameters::{Parameters, is_adapter, may_be_new};
use crate::{folder, tasks};

/// A model folder that a training starts from.
pub struct Start {
    folder: PathBuf,
    /// For messages.
    name: String,
}

/// The start of a task that the settings or the inputs name; `None` when all weights are new.
pub fn find(job: &Job, settings: &Train, task: &str) -> Result<Option<Start>> {
    if let Some(from) = &settings.from {
        let start = Start { folder: from.into(), name: format!("the folder `{from}`") };
        start.check_vocabulary(&job.artifact("tokenizer")?.dir)?;
        return Ok(Some(start));
    }
    let Some(artifact) = job.artifact_opt("model")? else { return Ok(None) };
    let start = Start { folder: tasks::start(&artifact, task), name: format!("step `{}`", artifact.manifest.step) };
    let tokenizer = job.artifact("tokenizer")?.dir.join("tokenizer.json");
    if without_template(&tokenizer) != without_template(&start.folder.join("tokenizer.json")) {
        bail!("{} was trained with another tokenizer than `{}`; give the one it was trained with", start.name, tokenizer.display());
    }
    Ok(Some(start))
}

impl Start {
    pub fn config(&self) -> Result<NetworkConfig> {
        folder::config(&self.folder)
    }

    /// Takes over the weights; only a new head keeps its random first values, and is named to `say`.
    pub fn load(&self, config: &NetworkConfig, parameters: &Parameters, say: impl Fn(&str)) -> Result<()> {
        // A head for other classes, or for another task, begins anew.
        let other_head = !is_same(&self.config()?.head, &config.head);
        let missing = folder::load_some(&self.folder, parameters, |name| !(other_head && is_last_layer(name)))?;
        if let Some(name) = missing.iter().find(|name| !may_be_new(name)) {
            bail!("the model of {} has no {name}, which this {} needs", self.name, config.family.name());
        }
        new_head(&self.name, &missing).iter().for_each(|new| say(new));
        Ok(())
    }

    /// Refuses a tokenizer that gives a token another id than the folder's own.
    fn check_vocabulary(&self, tokenizer: &Path) -> Result<()> {
        let Some(own) = TOKENIZERS.iter().map(|name| self.folder.join(name)).find(|path| path.is_file()) else { return Ok(()) };
        // A vocab.txt may not tell whether it is for lower-cased text, which changes none of its tokens.
        let either = ForeignOptions { lowercase: Some(true), ..ForeignOptions::default() };
        let theirs = Tokenizer::load_foreign(&own, &Default::default()).or_else(|_| Tokenizer::load_foreign(&own, &either))?.vocabulary();
        let ours = Tokenizer::load(tokenizer).with_context(|| format!("reading `{}`", tokenizer.display()))?.vocabulary();
        if theirs.iter().map(|(id, token, _)| (id, token)).eq(ours.iter().map(|(id, token, _)| (id, token))) {
            return Ok(());
        }
        bail!(
            "the run's tokenizer has other tokens than `{}`, which the model of {} was trained with; take that one over with stage = \"import-tokenizer\"",
            own.display(),
            self.name
        )
    }
}

/// Whether a head tells apart what another one does. A published head for pairs has transformers' names in place of classes; its class 0 is
/// a second segment that follows the first, as in tokens of the layout pairs.
fn is_same(published: &Head, head: &Head) -> bool {
    match (published, head) {
        (Head::Pairs { classes: names }, Head::Pairs { classes }) if (0..).zip(names).all(|(id, name)| *name == format!("LABEL_{id}")) => {
            names.len() == classes.len()
        }
        _ => published == head,
    }
}

/// What begins with random values beside the weights of a start; adapters always do.
fn new_head(start: &str, missing: &[String]) -> Option<String> {
    let new = missing.iter().map(String::as_str).filter(|name| !is_adapter(name));
    (new.clone().count() > 0).then(|| format!("not taken from {start}, but with random first values: {}", engine::list(new)))
}

/// A tokenizer.json but for what it puts around texts, which hangs on the rows that a model learned from.
fn without_template(path: &Path) -> Option<Value> {
    let mut file: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    file.as_object_mut()?.remove("post_processor");
    Some(file)
}

/// The layer of a head that knows the classes.
fn is_last_layer(name: &str) -> bool {
    ["classifier.", "classification_head.out_proj.", "qa_outputs.", "score.", "cls.seq_relationship."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_for_pairs_are_the_same_under_the_names_of_transformers() {
        let pairs = |names: &[&str]| Head::Pairs { classes: names.iter().map(|name| name.to_string()).collect() };
        let ours = pairs(&["next", "random"]);
        assert!(is_same(&ours, &ours) && is_same(&pairs(&["LABEL_0", "LABEL_1"]), &ours));
        for other in [pairs(&["LABEL_0", "LABEL_1", "LABEL_2"]), pairs(&["LABEL_1", "LABEL_0"]), pairs(&["random", "next"]), Head::Masked] {
            assert!(!is_same(&other, &ours), "{other:?}");
        }
        // The classes of a text may be any.
        let texts = |names: [&str; 2]| Head::Classify { classes: names.map(String::from).to_vec() };
        assert!(!is_same(&texts(["LABEL_0", "LABEL_1"]), &texts(["ham", "spam"])));
    }

    #[test]
    fn what_begins_anew_is_said() {
        let line = |missing: &[&str]| new_head("step `a`", &missing.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(line(&[]), None);
        assert_eq!(line(&["bert.encoder.layer.0.attention.self.query.lora_A.weight"]), None);
        let expected = "not taken from step `a`, but with random first values: `classifier.weight`, `classifier.bias`";
        assert_eq!(line(&["classifier.weight", "classifier.bias"]).as_deref(), Some(expected));
    }

    #[test]
    fn a_vocabulary_that_tells_no_case_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let (own, ours) = (dir.path().join("vocab.txt"), dir.path().join("ours"));
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(&own, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfox\n").unwrap();
        let lowercase = ForeignOptions { lowercase: Some(true), ..ForeignOptions::default() };
        Tokenizer::load_foreign(&own, &lowercase).unwrap().save(&ours, None).unwrap();
        let start = Start { folder: dir.path().into(), name: "the folder `x`".into() };
        start.check_vocabulary(&ours).unwrap();
        std::fs::write(&own, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\n").unwrap();
        let error = start.check_vocabulary(&ours).unwrap_err().to_string();
        assert!(error.starts_with("the run's tokenizer has other tokens than "), "{error}");
    }
}
