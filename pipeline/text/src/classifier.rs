//! fastText classifiers (`.bin`, and `.ftz` quantized): language identification with lid.176, quality classifiers and the like.

use std::path::Path;

use anyhow::{Result, bail};
use fasttext::FastText;
use fasttext::args::ModelName;

/// A supervised fastText model.
pub struct Classifier {
    model: FastText,
    labels: Vec<String>,
}

impl Classifier {
    /// Reads a model file; one that is no classifier is refused.
    pub fn load(path: &Path) -> Result<Classifier> {
        let model = match FastText::load_model(path) {
            Ok(model) => model,
            Err(error) => bail!("`{}` is no readable fastText model: {error}", path.display()),
        };
        if model.args().model != ModelName::Supervised {
            bail!("`{}` holds word vectors, not a classifier: train one with `fasttext supervised`", path.display());
        }
        let labels = model.get_labels().0;
        Ok(Classifier { model, labels })
    }

    /// The labels with their prefix, as the file has them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The most probable label and its probability; `None` for a text without words. Line feeds are spaces.
    pub fn best(&self, text: &str) -> Option<(String, f64)> {
        let best = self.model.predict(&one_line(text), 1, 0.0).into_iter().next()?;
        Some((best.label, probability(best.prob)))
    }

    /// The probability of a label; `None` for a text without words.
    pub fn probability(&self, text: &str, label: &str) -> Option<f64> {
        let all = self.model.predict(&one_line(text), self.labels.len(), 0.0);
        if all.is_empty() {
            return None;
        }
        // What is not listed is so improbable that it was cut off.
        Some(all.iter().find(|found| found.label == label).map_or(0.0, |found| probability(found.prob)))
    }
}

/// fastText adds a little before it takes logarithms, so its probabilities may pass 1.
fn probability(value: f32) -> f64 {
    f64::from(value.clamp(0.0, 1.0))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fasttext::args::{Args, LossName};

    /// A classifier of two labels, trained on a handful of lines.
    fn train(folder: &Path) -> std::path::PathBuf {
        let lines = "__label__en the cat and the dog\n__label__de der hund und die katze\n".repeat(50);
        let (input, model) = (folder.join("train.txt"), folder.join("model.bin"));
        std::fs::write(&input, lines).unwrap();
        let mut args = Args { input, model: ModelName::Supervised, loss: LossName::Softmax, ..Args::default() };
        (args.dim, args.epoch, args.lr, args.min_count, args.bucket, args.minn, args.maxn, args.thread) = (8, 20, 0.5, 1, 100, 0, 0, 1);
        FastText::train(args).unwrap().save_model(&model).unwrap();
        model
    }

    #[test]
    fn finds_labels_and_refuses_what_is_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = train(folder.path());
        let classifier = Classifier::load(&path).unwrap();
        assert_eq!(classifier.labels(), ["__label__en", "__label__de"]);
        let (label, probability) = classifier.best("the dog\nand the cat").unwrap();
        assert_eq!(label, "__label__en");
        assert!(probability > 0.9, "{probability}");
        let both: f64 = classifier.labels().iter().map(|label| classifier.probability("the hund", label).unwrap()).sum();
        assert!((both - 1.0).abs() < 1e-3, "{both}");
        assert_eq!(classifier.best(" \n"), None);
        assert_eq!(classifier.probability("", "__label__en"), None);
        let bytes = std::fs::read(&path).unwrap();
        for (name, bytes) in [("empty", &b""[..]), ("text", b"not a model"), ("cut", &bytes[..bytes.len() / 2])] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let message = Classifier::load(&path).err().unwrap().to_string();
            assert!(message.contains("is no readable fastText model: "), "{message}");
        }
    }
}
