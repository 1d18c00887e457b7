//! `clean`: rewrites the text of every document and computes its signals, both as SQL expressions of a profile and of the config.
//!
//! Drops nothing but documents whose text a rewrite emptied; judging signals is `filter`'s work.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, StringArray, StringBuilder};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Context, Draft, InputFile, Inputs, Kind, PartWriter, Port, Site, Stage, list, schema, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::{Provenance, id_at};
use crate::profile::{Profile, Rewrite, Signal, SignalType, leave_out, merge};
use crate::rejects::{Reject, Rejects};

/// Rewrites the text and computes signals, as a profile says. After `prepare` the lists hold all that is applied.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clean {
    /// Name of a profile: `sql/profiles/NAME.toml` below the root, or one that ships with the program. None: only what stands here.
    #[serde(default)]
    pub profile: Option<String>,
    /// Further rewrites, applied after the profile's; one with a name of the profile's takes its place.
    #[serde(default)]
    pub rewrites: Vec<Rewrite>,
    /// Further signals; one with a name of the profile's takes its place.
    #[serde(default)]
    pub signals: Vec<Signal>,
    /// Names of rewrites and signals of the profile that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// Files below the root by names that expressions use, of models or lists: `files = { lid = "models/lid.176.ftz", stop = "lists/en.txt" }`, then
    /// `fasttext_label(text, 'lid')` and `listed_word_ratio(text, 'stop')`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Content hashes of the files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(skip)]
    pub file_hashes: BTreeMap<String, String>,
}

impl Stage for Clean {
    const NAME: &'static str = "clean";
    const ABOUT: &'static str = "Rewrites the text of every document and computes its signals, as a profile says.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let mut profile = match &self.profile {
            Some(name) => Profile::find(site, name)?,
            None => Profile::default(),
        };
        let mut known = leave_out(&mut profile.rewrite, &self.without, |entry| &entry.name);
        let profile_rewrites = known.clone();
        known.extend(leave_out(&mut profile.signal, &self.without, |entry| &entry.name));
        if let Some(name) = self.without.iter().find(|name| !known.contains(name)) {
            let names = || known.iter().map(String::as_str);
            bail!("`without`: the profile has no `{name}`{}; rewrites and signals: {}", suggest(name, names()), list(names()));
        }
        self.rewrites = merge("rewrite", site.sql(), profile.rewrite, std::mem::take(&mut self.rewrites))?;
        self.signals = merge("signal", site.sql(), profile.signal, std::mem::take(&mut self.signals))?;
        self.check_texts_before(&profile_rewrites)?;
        self.without.clear();
        self.find_files(site)?;
        let fixed = schema::documents(&[]);
        match self.signals.iter().find(|signal| fixed.index_of(&signal.name).is_ok() || signal.name == "split") {
            Some(signal) => bail!("signal `{}` has the name of a column of every document: name it otherwise", signal.name),
            None => Ok(()),
        }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        let columns = self.columns(&table.schema);
        draft.declare("documents", columns.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.declare("edits", schema::edits())?;
        let projections = self.bound(ctx, inputs)?.projections(&table.schema, &columns);
        draft.parts(ctx, &table.plan(), |index, part| {
            let mut rejects = Rejects::new("clean");
            ctx.sql().select_chain(&table, index, &projections, &mut |batch| {
                ctx.check_stop()?;
                self.write(&batch, &columns, part, &mut rejects)
            })?;
            rejects.write(part)
        })
    }
}

impl Clean {
    /// Signals may look at the text before a rewrite, so leaving out a rewrite can leave a signal without its column.
    fn check_texts_before(&self, profile_rewrites: &[String]) -> Result<()> {
        let gone = |name: &&String| profile_rewrites.contains(name) && !self.rewrites.iter().any(|rewrite| rewrite.name == **name);
        for name in self.without.iter().filter(gone) {
            let column = before(name);
            let speaks_of_it = |signal: &&Signal| signal.sql.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column);
            if let Some(signal) = self.signals.iter().find(speaks_of_it) {
                bail!("signal `{}` looks at `{column}`, and `without` leaves the rewrite `{name}` out: give the signal anew", signal.name);
            }
        }
        Ok(())
    }

    /// Hashes the model files and checks that expressions name no other.
    fn find_files(&mut self, site: &mut Site) -> Result<()> {
        for (name, path) in &self.files {
            let found = site.files(std::slice::from_ref(path)).with_context(|| format!("file `{name}`"))?;
            let [file] = found.as_slice() else { bail!("file `{name}`: `{path}` matches {} files; name one", found.len()) };
            let beside = beside(file).filter(|path| path.is_file());
            let beside = beside.map(|path| site.file(path, &format!("{name}/{TOKENIZER_CONFIG}"))).transpose()?;
            self.file_hashes.insert(name.clone(), hash_of(file, beside.as_ref()));
        }
        for (name, sql) in self.expressions() {
            site.sql().bind_files(sql, &self.file_hashes).with_context(|| format!("`{name}`"))?;
        }
        Ok(())
    }

    /// All expressions with the names of their entries.
    fn expressions(&self) -> impl Iterator<Item = (&str, &str)> {
        let rewrites = self.rewrites.iter().map(|rewrite| (rewrite.name.as_str(), rewrite.sql.as_str()));
        rewrites.chain(self.signals.iter().map(|signal| (signal.name.as_str(), signal.sql.as_str())))
    }

    /// The same stage with content hashes for the names of files; their places become known to SQL, which opens them.
    fn bound(&self, ctx: &Context, inputs: &Inputs) -> Result<Clean> {
        for hash in self.file_hashes.values() {
            let files = inputs.files();
            let is_it = |file: &&InputFile| hash_of(file, files.iter().find(|other| beside(file).as_ref() == Some(&other.path))) == *hash;
            let file = files.iter().find(is_it).context("a model file is not among the input files")?;
            ctx.sql().provide_file(hash, &file.path);
        }
        let bind = |sql: &str| ctx.sql().bind_files(sql, &self.file_hashes);
        let mut bound = Clean { rewrites: self.rewrites.clone(), signals: self.signals.clone(), ..Clean::default() };
        for sql in bound.rewrites.iter_mut().map(|rewrite| &mut rewrite.sql).chain(bound.signals.iter_mut().map(|signal| &mut signal.sql)) {
            *sql = bind(sql)?;
        }
        for (name, sql) in bound.expressions() {
            ctx.sql().open_files(sql).with_context(|| format!("`{name}`"))?;
        }
        Ok(bound)
    }

    /// The input's columns without signals that are computed anew, then the signals.
    fn columns(&self, input: &Schema) -> SchemaRef {
        let mut fields: Vec<Field> = input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.retain(|field| !self.signals.iter().any(|signal| signal.name == *field.name()));
        fields.extend(self.signals.iter().map(|signal| Field::new(&signal.name, data_type(signal.kind), true)));
        Arc::new(Schema::new(fields))
    }

    /// One projection per rewrite, each of which keeps the text before it as `before_REWRITE`, then the one that computes the signals.
    fn projections(&self, input: &Schema, output: &Schema) -> Vec<Vec<(String, String)>> {
        let column = |name: &str| (name.to_string(), format!("\"{}\"", name.replace('"', "\"\"")));
        let mut chain = Vec::new();
        for (step, rewrite) in self.rewrites.iter().enumerate() {
            let mut projection: Vec<(String, String)> =
                input.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != "text").map(column).collect();
            projection.extend(self.rewrites[..step].iter().map(|earlier| column(&before(&earlier.name))));
            projection.push((before(&rewrite.name), "\"text\"".to_string()));
            projection.push(("text".to_string(), rewrite.sql.clone()));
            chain.push(projection);
        }
        let signal = |name: &str| self.signals.iter().find(|signal| signal.name == name);
        let mut last: Vec<(String, String)> = output
            .fields()
            .iter()
            .map(|field| match signal(field.name()) {
                Some(signal) => (signal.name.clone(), signal.sql.clone()),
                None => column(field.name()),
            })
            .collect();
        last.extend(self.rewrites.iter().map(|rewrite| column(&before(&rewrite.name))));
        chain.push(last);
        chain
    }

    /// Writes one batch: kept documents with the hash of their new text, what each rewrite took, and documents left without text.
    fn write(&self, batch: &RecordBatch, columns: &SchemaRef, part: &mut PartWriter, rejects: &mut Rejects) -> Result<()> {
        let width = columns.fields().len();
        let documents = cast_to(&batch.project(&(0..width).collect::<Vec<_>>())?, columns)?;
        // The text before each rewrite and after the last.
        let mut texts = (width..batch.num_columns()).map(|index| utf8(batch.column(index))).collect::<Result<Vec<_>>>()?;
        texts.push(utf8(documents.column_by_name("text").context("the documents have no text")?)?);
        self.write_edits(&documents, &texts, part)?;
        let (first, last) = (&texts[0], &texts[texts.len() - 1]);
        let kept: BooleanArray = (0..documents.num_rows()).map(|row| Some(!self.is_emptied(last.value(row)))).collect();
        let provenance = Provenance::of(&documents)?;
        let (mut bytes_in, mut bytes_out) = (0, 0);
        for row in 0..documents.num_rows() {
            bytes_in += first.value(row).len() as i64;
            if kept.value(row) {
                bytes_out += last.value(row).len() as i64;
                continue;
            }
            let step = (1..texts.len()).find(|step| texts[*step].value(row).trim().is_empty()).unwrap_or(1);
            let detail = format!("rewrite `{}` left no text", self.rewrites[step - 1].name);
            rejects.push(&Reject { rule: "empty_text", detail: Some(&detail), ..provenance.reject(row) })?;
        }
        part.count("bytes_in", bytes_in);
        part.count("bytes_out", bytes_out);
        part.count("bytes_removed", bytes_in - bytes_out);
        let documents = with_content_hash(&documents, first, last)?;
        let documents = if kept.true_count() == kept.len() { documents } else { filter_record_batch(&documents, &kept)? };
        part.write("documents", &documents)
    }

    fn is_emptied(&self, text: &str) -> bool {
        !self.rewrites.is_empty() && text.trim().is_empty()
    }

    fn write_edits(&self, documents: &RecordBatch, texts: &[StringArray], part: &mut PartWriter) -> Result<()> {
        let ids = documents.column_by_name("id").context("the documents have no id")?.as_fixed_size_binary();
        let mut rows = (FixedSizeBinaryBuilder::new(16), StringBuilder::new(), Int64Builder::new(), Int64Builder::new());
        for row in 0..documents.num_rows() {
            for (step, rewrite) in self.rewrites.iter().enumerate() {
                let (before, after) = (texts[step].value(row), texts[step + 1].value(row));
                if before != after {
                    rows.0.append_value(id_at(ids, row))?;
                    rows.1.append_value(&rewrite.name);
                    rows.2.append_value(changed_lines(before, after));
                    rows.3.append_value(before.len() as i64 - after.len() as i64);
                }
            }
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(rows.0.finish()), Arc::new(rows.1.finish()), Arc::new(rows.2.finish()), Arc::new(rows.3.finish())];
        part.write("edits", &RecordBatch::try_new(schema::edits(), columns)?)
    }
}

/// The file that tells of a tokenizer.json beside it which tokens it makes.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Where that file would lie.
fn beside(file: &InputFile) -> Option<PathBuf> {
    let is_tokenizer = file.path.extension().is_some_and(|extension| extension == "json");
    is_tokenizer.then(|| file.path.with_file_name(TOKENIZER_CONFIG)).filter(|path| *path != file.path)
}

/// What a model file is known by: the hash of its content, or of both contents where it has a file beside it.
fn hash_of(file: &InputFile, beside: Option<&InputFile>) -> String {
    match beside {
        Some(beside) => blake3::hash(format!("{}\n{}", file.hash, beside.hash).as_bytes()).to_hex().to_string(),
        None => file.hash.clone(),
    }
}

fn before(rewrite: &str) -> String {
    format!("before_{rewrite}")
}

fn data_type(kind: SignalType) -> DataType {
    match kind {
        SignalType::Float => DataType::Float64,
        SignalType::Integer => DataType::Int64,
        SignalType::String => DataType::Utf8,
    }
}

/// How many lines of `before` are not found unchanged in `after`; at least 1, for the texts differ.
fn changed_lines(before: &str, after: &str) -> i64 {
    let mut left: HashMap<&str, i64> = HashMap::new();
    for line in after.split('\n') {
        *left.entry(line).or_default() += 1;
    }
    let mut changed = 0;
    for line in before.split('\n') {
        match left.get_mut(line) {
            Some(count) if *count > 0 => *count -= 1,
            _ => changed += 1,
        }
    }
    changed.max(1)
}

fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if field.data_type().is_numeric() && matches!(column.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) {
            bail!("signal `{}` gives text; say so with type = \"string\", or cast it to a number", field.name());
        }
        cast(column, field.data_type()).with_context(|| format!("signal or column `{}` gives {}", field.name(), column.data_type()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).context("a rewrite gives null for a text: use coalesce")
}

fn utf8(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string().clone())
}

/// The documents with the content hash of changed texts.
fn with_content_hash(documents: &RecordBatch, first: &StringArray, last: &StringArray) -> Result<RecordBatch> {
    let index = documents.schema().index_of("content_hash")?;
    let old = documents.column(index).as_fixed_size_binary();
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(documents.num_rows(), 16);
    for row in 0..documents.num_rows() {
        let (before, after) = (first.value(row), last.value(row));
        if before == after {
            hashes.append_value(old.value(row))?;
        } else {
            hashes.append_value(crate::content_hash(after))?;
        }
    }
    let mut columns = documents.columns().to_vec();
    columns[index] = Arc::new(hashes.finish());
    Ok(RecordBatch::try_new(documents.schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lab, jsonl};

    const IMPORT: &str = "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n";

    #[test]
    fn rewrites_signals_and_edits() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["same", "  two words  ", "e\u{301}a", "\u{1}"]))]);
        let clean = "[[step]]\nstage = \"clean\"\n\
            rewrites = [{ name = \"nfc\", sql = \"nfc(text)\" }, { name = \"controls\", sql = \"remove_control_characters(text)\" }, \
            { name = \"trim\", sql = \"trim(text)\" }]\n\
            signals = [{ name = \"words\", sql = \"word_count(text)\", type = \"integer\" }, { name = \"chars\", sql = \"char_count(text)\" }]\n";
        lab.run(&format!("{IMPORT}{clean}"), 2).unwrap();
        assert_eq!(lab.rows("clean", "documents", &["text", "words", "chars"]), ["same|1|4.0", "two words|2|9.0", "éa|1|2.0"]);
        let mut edits = lab.rows("clean", "edits", &["rewrite", "count", "bytes_removed"]);
        edits.sort();
        assert_eq!(edits, ["controls|1|1", "nfc|1|1", "trim|1|4"]);
        assert_eq!(lab.rows("clean", "rejects", &["line", "rule", "detail"]), ["4|empty_text|rewrite `controls` left no text"]);
        let hashes = |step| lab.rows(step, "documents", &["content_hash"]);
        assert_eq!(hashes("clean")[0], hashes("import")[0]);
        assert_ne!(hashes("clean")[1], hashes("import")[1]);
        assert_eq!(crate::content_hash("two words").iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hashes("clean")[1]);
    }

    #[test]
    fn a_signal_of_text_is_no_number() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["one two"]))]);
        let clean =
            |kind: &str| format!("{IMPORT}[[step]]\nstage = \"clean\"\nsignals = [{{ name = \"loud\", sql = \"upper(text)\"{kind} }}]\n");
        let error = format!("{:#}", lab.run(&clean(""), 1).unwrap_err());
        assert!(error.contains("signal `loud` gives text; say so with type = \"string\""), "{error}");
        lab.run(&clean(", type = \"string\""), 1).unwrap();
        assert_eq!(lab.rows("clean", "documents", &["loud"]), ["ONE TWO"]);
    }

    #[test]
    fn signals_see_the_text_before_each_rewrite() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["one two  three "]))]);
        let clean = |more: &str| {
            format!(
                "{IMPORT}[[step]]\nstage = \"clean\"\nprofile = \"own\"\n\
                 rewrites = [{{ name = \"trim\", sql = \"trim(text)\" }}]\n\
                 signals = [{{ name = \"taken\", sql = \"char_count(before_spaces) - char_count(text)\", type = \"integer\" }}, \
                 {{ name = \"trimmed\", sql = \"char_count(before_trim) - char_count(text)\", type = \"integer\" }}]\n{more}"
            )
        };
        lab.write("sql/profiles/own.toml", b"[[rewrite]]\nname = \"spaces\"\nsql = \"replace(text, '  ', ' ')\"\n");
        lab.run(&clean(""), 1).unwrap();
        assert_eq!(lab.rows("clean", "documents", &["text", "taken", "trimmed"]), ["one two three|2|1"]);
        let message = format!("{:#}", lab.run(&clean("without = [\"spaces\"]"), 1).unwrap_err());
        let expected = "signal `taken` looks at `before_spaces`, and `without` leaves the rewrite `spaces` out: give the signal anew";
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn two_steps_may_use_one_name_for_two_files() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["the"]))]);
        let model = |log: &str| format!("\\data\\\nngram 1=3\n\\1-grams:\n-9\t<unk>\n{log}\t</s>\n{log}\tthe\n\\end\\\n");
        lab.write("models/one.arpa", model("-1").as_bytes());
        lab.write("models/two.arpa", model("-2").as_bytes());
        let step = |name: &str, signal: &str, files: &str, word: &str| {
            format!(
                "[[step]]\nname = \"{name}\"\nstage = \"clean\"\nfiles = {{ {files} }}\n\
                 signals = [{{ name = \"{signal}\", sql = \"round(arpa_perplexity(text, '{word}'))\" }}]\n"
            )
        };
        let config = |second: &str| {
            let (one, two) = (r#"lm = "models/one.arpa""#, r#"lm = "models/two.arpa""#);
            format!("{IMPORT}{}{}", step("first", "a", one, "lm"), step("second", "b", two, second))
        };
        lab.run(&config("lm"), 2).unwrap();
        assert_eq!(lab.rows("second", "documents", &["a", "b"]), ["10.0|100.0"]);
        let key = |step: &str| lab.artifact(step).manifest.key;
        let (first, second) = (key("first"), key("second"));
        lab.write("models/two.arpa", model("-3").as_bytes());
        lab.run(&config("lm"), 1).unwrap();
        assert_eq!(lab.rows("second", "documents", &["a", "b"]), ["10.0|1000.0"]);
        assert_eq!(key("first"), first);
        assert_ne!(key("second"), second);
        let message = format!("{:#}", lab.run(&config("ln"), 1).unwrap_err());
        assert!(message.contains("`b`: `arpa_perplexity`: no file `ln`; `files` names `lm`"), "{message}");
        lab.write("models/two.arpa", b"mmap lm http://kheafield.com/code format version 5\n");
        let message = format!("{:#}", lab.run(&config("lm"), 1).unwrap_err());
        assert!(message.contains("two.arpa` is no readable ARPA file: it is a binary KenLM file"), "{message}");
        // Before the first part is read.
        assert!(message.contains("`b`: `arpa_perplexity`: `") && !message.contains("reading"), "{message}");
    }

    #[test]
    fn a_tokenizer_is_also_what_stands_beside_it() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["a"]))]);
        let tokenizer = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null, "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": [["<unk>", 0.0], ["▁", -1.0], ["a", -1.0]]}}"#;
        lab.write("models/tokenizer.json", tokenizer.as_bytes());
        let signal = "{ name = \"n\", sql = \"token_count(text, 'tok')\", type = \"integer\" }";
        let config = format!("{IMPORT}[[step]]\nstage = \"clean\"\nfiles = {{ tok = \"models/tokenizer.json\" }}\nsignals = [{signal}]\n");
        let run = || {
            lab.run(&config, 1).unwrap();
            (lab.rows("clean", "documents", &["n"]).concat(), lab.artifact("clean").manifest.key)
        };
        let (alone, first) = run();
        // As SentencePiece has it, with a space before the text or without.
        let beside = |prefix: bool| {
            let settings = format!("{{\"add_dummy_prefix\": {prefix}, \"remove_extra_whitespaces\": false, \"escape_whitespaces\": true,");
            let config = format!("{{\"sentencepiece\": {settings} \"control\": [], \"user_defined\": []}}}}");
            lab.write("models/tokenizer_config.json", config.as_bytes());
            run()
        };
        let (with_space, second) = beside(true);
        let (without, third) = beside(false);
        assert_eq!([alone.as_str(), &with_space, &without], ["1", "2", "1"]);
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn profiles_are_found_merged_and_refused() {
        let lab = Lab::new(&[("a.jsonl", &jsonl(&["text"]))]);
        let run = |clean: &str| lab.run(&format!("{IMPORT}[[step]]\nstage = \"clean\"\n{clean}"), 1);
        let check = |clean: &str, expected: &str| {
            let message = format!("{:#}", run(clean).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("profile = \"gopher@papre\"", "no profile `gopher@papre`, did you mean `gopher@paper`?");
        check("profile = \"gopher@paper\"\nwithout = [\"nfk\"]", "the profile has no `nfk`, did you mean `nfc`?");
        check("signals = [{ name = \"text\", sql = \"1\" }]", "signal `text` has the name of a column of every document");
        lab.write(
            "sql/profiles/own.toml",
            b"[[signal]]\nname = \"n\"\nsql = \"char_count(text)\"\ntype = \"integer\"\n[rules]\nn = { min = 5 }",
        );
        run("profile = \"own\"").unwrap();
        assert_eq!(lab.rows("clean", "documents", &["text", "n"]), ["text|4"]);
        let before = lab.artifact("clean").manifest.key;
        lab.write(
            "sql/profiles/own.toml",
            b"# changed\n[[signal]]\nname = \"n\"\nsql = \"char_count(text)\"\ntype = \"integer\"\nsource = \"x\"",
        );
        run("profile = \"own\"").unwrap();
        assert_eq!(lab.artifact("clean").manifest.key, before);
        run("profile = \"own\"\nsignals = [{ name = \"n\", sql = \"word_count(text)\" }]").unwrap();
        assert_eq!(lab.rows("clean", "documents", &["text", "n"]), ["text|1.0"]);
    }

    #[test]
    fn shipped_profiles_run() {
        for (profile, _) in crate::profile::SHIPPED {
            let lab = Lab::new(&[("a.jsonl", &jsonl(&["The quick brown fox and the lazy dog have met.", "中文，也是文本。"]))]);
            lab.run(&format!("{IMPORT}[[step]]\nstage = \"clean\"\nprofile = \"{profile}\""), 1).unwrap();
            assert_eq!(lab.rows("clean", "rejects", &["id"]).len() + lab.rows("clean", "documents", &["id"]).len(), 2);
        }
    }

    #[test]
    fn changed_lines_count_removed_and_rewritten_ones() {
        assert_eq!(changed_lines("a\nb\nc", "a\nc"), 1);
        assert_eq!(changed_lines("a\na\nb", "a\nB"), 2);
        assert_eq!(changed_lines("a\nb", "b\na"), 1);
        assert_eq!(changed_lines("a", ""), 1);
    }
}
