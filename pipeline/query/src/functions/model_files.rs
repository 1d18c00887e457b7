//! Functions that judge a text by a file: a model (`fasttext_label`, `fasttext_probability`, `arpa_perplexity`, `token_count`), a list of words
//! (`listed_phrase_count`, `listed_word_ratio`, `listed_host`) or samples of texts (`log_importance`).
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
use text::{Arpa, Classifier, HashedGrams, Tokenizer, WordList};

use super::options::{Bound, Kind, Optioned, choice, function_with_options, text_of};

/// How many arguments after the text are files, for a function of this name.
pub fn file_arguments(name: &str) -> usize {
    match name {
        "fasttext_label" | "fasttext_probability" | "arpa_perplexity" | "token_count" => 1,
        "listed_phrase_count" | "listed_word_ratio" | "listed_host" => 1,
        "log_importance" => 2,
        _ => 0,
    }
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
    list: OnceLock<Result<WordList, String>>,
    grams: OnceLock<Result<HashedGrams, String>>,
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

    fn list(&self) -> Result<&WordList, String> {
        loaded(&self.list, || WordList::load(&self.path))
    }

    fn grams(&self) -> Result<&HashedGrams, String> {
        loaded(&self.grams, || HashedGrams::load(&self.path))
    }
}

/// The functions over the files of one session.
pub fn model_functions(files: &Arc<ModelFiles>) -> Vec<ScalarUDF> {
    let files = || Arc::clone(files);
    vec![
        fasttext_label(files()),
        fasttext_probability(files()),
        arpa_perplexity(files()),
        token_count(files()),
        listed_phrase_count(files()),
        listed_word_ratio(files()),
        listed_host(files()),
        log_importance(files()),
    ]
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

fn listed_phrase_count(files: Arc<ModelFiles>) -> ScalarUDF {
    const STYLES: &[(&str, bool)] = &[("redpajama2", false), ("c4", true)];
    let about = "How many words and phrases of a list (a file with one a line) are in a text: 'redpajama2' (the default) takes runs of words without \
                 ASCII punctuation in lower case, as rps_doc_ldnoobw_words; 'c4' what no letter, digit or _ touches in the lower-cased text, as \
                 C4's filter of bad words. Entries of Han characters are found within words.";
    let options = &[("list", Kind::Text), ("style", Kind::Text)];
    let bind = move |options: &[ScalarValue]| {
        let file = files.find(text_of(&options[0]))?;
        let bounded = options.get(1).map_or(Ok(false), |style| choice("style", text_of(style), STYLES))?;
        file.list()?;
        let count = move |text: &str| if bounded { file.list()?.bounded(text) } else { Ok(file.list()?.phrases(text)) };
        Ok(Bound::Integer(Box::new(move |text| Ok(count(text)? as i64))))
    };
    function_with_options(Optioned {
        name: "listed_phrase_count",
        about,
        options,
        required: 1,
        returns: DataType::Int64,
        bind: Box::new(bind),
    })
}

fn listed_word_ratio(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "Words that are on a list (a file with one a line), as they stand, per word, as rps_doc_stop_word_fraction of RedPajama v2: words are \
                 runs of letters, digits and _, and runs of signs; each Han character is one. 0 without words.";
    of_file("listed_word_ratio", about, &[("list", Kind::Text)], DataType::Float64, files, |file, _| {
        file.list()?;
        Ok(Bound::Number(Box::new(move |text| Some(file.list().ok()?.share(text)))))
    })
}

fn listed_host(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "The entry of a list of hosts (a file with one a line, such as those of UT1) that is the host of an address or a domain above it; null \
                 for all others. For rules: `listed_host(url, 'adult') is not null`.";
    of_file("listed_host", about, &[("list", Kind::Text)], DataType::Utf8View, files, |file, _| {
        file.list()?;
        Ok(Bound::Text(Box::new(move |url| file.list().ok()?.host(url))))
    })
}

fn log_importance(files: Arc<ModelFiles>) -> ScalarUDF {
    let about = "The natural logarithm of how many times as probable a text is under samples of what is wanted as under samples of what there is \
                 (files of texts, or JSON Lines with `text`), by hashed words and pairs of words (DSIR, Xie et al. 2023; the rps_doc_*_importance \
                 of RedPajama v2). It grows with the length of the text.";
    let options = &[("wanted", Kind::Text), ("samples", Kind::Text)];
    of_file("log_importance", about, options, DataType::Float64, Arc::clone(&files), move |wanted, options| {
        let samples = files.find(text_of(&options[0]))?;
        wanted.grams()?;
        samples.grams()?;
        Ok(Bound::Number(Box::new(move |text| Some(wanted.grams().ok()?.log_ratio(samples.grams().ok()?, text)))))
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
    fn lists_and_samples() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(&Settings::default()).unwrap();
        for (name, content) in
            [("list", "bad\nvery bad\nbad.example"), ("books", "the old house"), ("web", "click the link"), ("empty", "\n")]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            session.provide_file(name, &path);
        }
        let value = |sql: &str| {
            let found = session.collect(&session.context(), &format!("select {sql}")).map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(arrow::util::display::array_value_to_string(found[0].column(0), 0).unwrap())
        };
        let check = |sql: &str, expected: &str| assert_eq!(value(sql).as_deref(), Ok(expected), "{sql}");
        check("listed_phrase_count('Very bad-ish. Very BAD!', 'list')", "2");
        check("listed_phrase_count('Very bad-ish. Very BAD!', 'list', 'c4')", "2");
        check("listed_phrase_count('bad-ish', 'list', 'c4')", "1");
        check("listed_phrase_count(null, 'list')", "");
        check("listed_word_ratio('a bad dog', 'list') * 3", "1.0");
        check("listed_host('https://www.bad.example/x', 'list')", "bad.example");
        check("listed_host('https://fine.example/bad.example', 'list') is null", "true");
        check("log_importance('the old house', 'books', 'web') > 10", "true");
        check("log_importance('click here', 'books', 'web') < -10", "true");
        let refused = |sql: &str, expected: &str| {
            let message = value(sql).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        refused("listed_phrase_count('a', 'list', 'c5')", "unknown style `c5`; there are `redpajama2`, `c4`");
        refused("listed_host('a', 'empty')", "is no readable list of words: it holds no entry");
        refused("log_importance('a', 'books', 'nothing')", "no model file `nothing`");
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
