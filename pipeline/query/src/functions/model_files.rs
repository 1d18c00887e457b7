//! Functions that judge a text by a model file: `fasttext_label`, `fasttext_probability`, `arpa_perplexity` and `token_count`.
//!
//! In configs a file has a name of the step's setting `files`. The step puts the file's content hash in the place of the name and tells the session
//! where that content lies; functions know hashes alone. So a name means one file within a step and nothing outside of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;
use engine::{list, suggest};
use text::{Arpa, Classifier, Tokenizer};

use super::options::{Bound, Kind, Optioned, function_with_options, text_of};

/// The functions whose second argument is a file.
const NAMES: [&str; 4] = ["fasttext_label", "fasttext_probability", "arpa_perplexity", "token_count"];

/// Whether a function of this name takes a file as its second argument.
pub fn takes_file(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Model files by content hash; each is read when it is first needed, once for every kind of model.
#[derive(Default)]
pub struct ModelFiles {
    files: Mutex<HashMap<String, Arc<ModelFile>>>,
}

#[derive(Default)]
struct ModelFile {
    path: PathBuf,
    classifier: OnceLock<Result<Classifier, String>>,
    arpa: OnceLock<Result<Arpa, String>>,
    tokenizer: OnceLock<Result<Tokenizer, String>>,
}

impl ModelFiles {
    /// Tells where the content with this hash lies.
    pub fn provide(&self, hash: &str, path: &Path) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(hash.to_string()).or_insert_with(|| Arc::new(ModelFile { path: path.to_path_buf(), ..ModelFile::default() }));
    }

    fn find(&self, hash: &str) -> Result<Arc<ModelFile>, String> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(hash).cloned().ok_or_else(|| {
            format!("no model file `{hash}`: files are given to a step, files = {{ {hash} = \"models/…\" }}, and cannot be used elsewhere")
        })
    }
}

/// A model that is read once; a failure is remembered too.
fn loaded<M>(cell: &OnceLock<Result<M, String>>, load: impl FnOnce() -> anyhow::Result<M>) -> Result<&M, String> {
    cell.get_or_init(|| load().map_err(|error| format!("{error:#}"))).as_ref().map_err(String::clone)
}

impl ModelFile {
    fn classifier(&self) -> Result<&Classifier, String> {
        loaded(&self.classifier, || Classifier::load(&self.path))
    }

    fn arpa(&self) -> Result<&Arpa, String> {
        loaded(&self.arpa, || Arpa::load(&self.path))
    }

    fn tokenizer(&self) -> Result<&Tokenizer, String> {
        loaded(&self.tokenizer, || Tokenizer::load(&self.path))
    }
}

/// The functions over the files of one session.
pub fn model_functions(files: &Arc<ModelFiles>) -> Vec<ScalarUDF> {
    let files = || Arc::clone(files);
    vec![fasttext_label(files()), fasttext_probability(files()), arpa_perplexity(files()), token_count(files())]
}

/// A function of a text, a file and further constants.
fn of_file(
    name: &'static str,
    about: &'static str,
    options: &'static [(&'static str, Kind)],
    returns: DataType,
    files: Arc<ModelFiles>,
    bind: impl Fn(Arc<ModelFile>, &[ScalarValue]) -> Result<Bound, String> + Send + Sync + 'static,
) -> ScalarUDF {
    let bind = Box::new(move |options: &[ScalarValue]| bind(files.find(text_of(&options[0]))?, &options[1..]));
    function_with_options(Optioned { name, about, options, required: options.len(), returns, bind })
}

fn fasttext_label(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "The most probable label of a fastText classifier (.bin or .ftz) with its prefix, such as `__label__en` of lid.176; null for a text \
                 without words. Line feeds are spaces.";
    of_file("fasttext_label", about, &[("file", Kind::Text)], DataType::Utf8View, files, |file, _| {
        file.classifier()?;
        Ok(Bound::Text(Box::new(move |text| Some(file.classifier().ok()?.best(text)?.0))))
    })
}

fn fasttext_probability(files: Arc<ModelFiles>) -> ScalarUDF {
    let about =
        "The probability of a label by a fastText classifier (.bin or .ftz), the label with its prefix; null for a text without words.";
    let options = &[("file", Kind::Text), ("label", Kind::Text)];
    of_file("fasttext_probability", about, options, DataType::Float64, files, |file, options| {
        let labels = file.classifier()?.labels();
        let label = text_of(&options[0]).to_string();
        if !labels.contains(&label) {
            let names = || labels.iter().map(String::as_str);
            let (near, all) = (suggest(&label, names()), list(names()));
            return Err(format!("`{}` has no label `{label}`{near}; labels: {all}", file.path.display()));
        }
        Ok(Bound::Number(Box::new(move |text| file.classifier().ok()?.probability(text, &label))))
    })
}

fn arpa_perplexity(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "Perplexity under an n-gram model in ARPA format (plain or gz): each line is a sentence, words stand between white space, ends of \
                 sentences count as words; null for a text without words.";
    of_file("arpa_perplexity", about, &[("file", Kind::Text)], DataType::Float64, files, |file, _| {
        file.arpa()?;
        Ok(Bound::Number(Box::new(move |text| file.arpa().ok()?.perplexity(text))))
    })
}

fn token_count(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "Number of tokens under a tokenizer.json, special tokens not counted.";
    of_file("token_count", about, &[("file", Kind::Text)], DataType::Int64, files, |file, _| {
        file.tokenizer()?;
        Ok(Bound::Integer(Box::new(move |text| {
            let tokens = file.tokenizer()?.encode(text).map_err(|error| format!("{error:#}"))?;
            Ok(tokens.len() as i64)
        })))
    })
}

#[cfg(test)]
mod tests {
    use crate::{Session, Settings};
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    use engine::Sql;

    const MODEL: &str = "\\data\\\nngram 1=3\n\\1-grams:\n-1.0\t<unk>\n-1.0\t</s>\n-0.5\tthe\n\\end\\\n";

    #[test]
    fn files_are_found_by_hash_and_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lm.arpa");
        std::fs::write(&path, MODEL).unwrap();
        let session = Session::new(&Settings::default()).unwrap();
        let value =
            |sql: &str| session.collect(&session.context(), sql).map(|found| found[0].column(0).as_primitive::<Float64Type>().value(0));
        let sql = "select arpa_perplexity('the the', 'abc')";
        let message = format!("{:#}", value(sql).unwrap_err());
        assert!(message.contains("no model file `abc`: files are given to a step"), "{message}");
        session.provide_file("abc", &path);
        assert!((value(sql).unwrap() - 10f64.powf(2.0 / 3.0)).abs() < 1e-6);
        std::fs::remove_file(&path).unwrap();
        assert!(value(sql).is_ok());
        let message = format!("{:#}", value("select fasttext_probability('the', 'abc', '__label__en')").unwrap_err());
        assert!(message.contains("is no readable fastText model"), "{message}");
    }

    #[test]
    fn constants_are_constants() {
        let session = Session::new(&Settings::default()).unwrap();
        let sql = "select language_probability(text, code) from (values ('a', 'en'), ('b', 'de')) as t(text, code)";
        let message = format!("{:#}", session.collect(&session.context(), sql).unwrap_err());
        assert!(message.contains("`language_probability`: `code` must be a constant"), "{message}");
        let message = format!("{:#}", session.collect(&session.context(), "select language_probability('a', 'english')").unwrap_err());
        assert!(message.contains("unknown language `english`"), "{message}");
    }
}
