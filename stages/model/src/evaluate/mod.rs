//! The stage `evaluate`: what a model says to the rows of an evaluation set, in the manner of lm-evaluation-harness. Its predictions are those
//! that `score` reads, with the user's columns beside them.
//!
//! Here are the settings, and the rows as they are asked ([`items`]). Tokens and likelihoods are the work of `mill-model`.

mod examples;
pub mod items;
pub(crate) mod records;
mod settings;
mod stereoset;
mod template;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use engine::{Context, Draft, InputFile, Inputs, Kind, Port, Site, Stage};

use crate::{Family, Job, Task, launch, start};
use records::{Format, Records};

pub use settings::{Evaluate, Output};

/// Rows among which the columns of templates are looked for while planning.
const FIRST_ROWS: usize = 1000;

impl Evaluate {
    /// Reads the task's file, if there is one, and fills in what follows from it.
    fn read_task(&mut self, site: &Site) -> Result<Output> {
        if let Some(path) = self.task.clone() {
            let text = site.text_file(&path)?;
            let text = text.with_context(|| format!("task `{path}`: there is no such file below `{}`", site.root().display()))?;
            *self = self.with_file(&path, &text)?;
            return self.complete().with_context(|| format!("task `{path}`"));
        }
        self.complete()
    }

    /// Notes the files, and refuses templates with columns that their first rows do not have.
    fn find_files(&mut self, site: &mut Site, output: Output) -> Result<()> {
        let documents = site.connected("documents").first();
        match (documents, self.dataset.is_empty()) {
            (None, true) => bail!("`dataset` is missing: give files, or documents of a step above with inputs = {{ documents = \"…\" }}"),
            (Some(step), false) => bail!("give either `dataset` or the input documents = \"{step}\""),
            (None, false) => ensure!(
                self.split.is_none() || self.format == Some(Format::Stereoset),
                "`split` is for the input `documents` and for format = \"stereoset\"; another file has no splits"
            ),
            (Some(_), true) => ensure!(self.format.is_none(), "`format` is for files; documents have their columns"),
        }
        let find = |site: &mut Site, key: &str, paths: &[String]| -> Result<Vec<InputFile>> {
            let files = if paths.is_empty() { Vec::new() } else { site.files(paths).with_context(|| format!("`{key}`"))? };
            files.iter().try_for_each(|file| self.format_of(&file.path).map(|_| ()).with_context(|| format!("`{key}`")))?;
            Ok(files)
        };
        let (rows, examples) = (find(site, "dataset", &self.dataset)?, find(site, "fewshot_dataset", &self.fewshot_dataset)?);
        let task = items::Task::new(self, output)?;
        for (key, files) in [("dataset", &rows), ("fewshot_dataset", &examples)].into_iter().filter(|(_, files)| !files.is_empty()) {
            let columns = columns(self.of_files(files)).with_context(|| format!("`{key}`"))?;
            task.check(&columns.iter().map(String::as_str).collect::<Vec<_>>()).with_context(|| format!("`{key}`"))?;
        }
        let [rows, examples] = [rows, examples].map(|files| files.into_iter().map(|file| [file.relative, file.hash]).collect());
        (self.files, self.fewshot_files) = (rows, examples);
        Ok(())
    }

    /// Refuses a model that cannot say what is asked.
    fn check_family(family: Family, output: Output) -> Result<()> {
        match (family, output) {
            (Family::Bert, Output::Contrast) | (Family::Seq2seq, Output::Generate) | (Family::Gpt | Family::Rnn, _) => Ok(()),
            (Family::Bert, _) => bail!(
                "output = \"{}\" asks what follows a text, which a model of the family bert does not tell; evaluate one of the family gpt or rnn. Of masked models, `contrast` has pseudo-log-likelihoods, and `train` on tokens of the layout classify learns to choose",
                output.name()
            ),
            (Family::Seq2seq, _) => bail!(
                "output = \"{}\" needs likelihoods of a text after another; a model of the family seq2seq is evaluated with output = \"generate\"",
                output.name()
            ),
        }
    }

    /// Refuses texts that a masked model cannot compare.
    fn check_masked(&self) -> Result<()> {
        ensure!(
            self.unrelated.is_none() || self.context.is_some(),
            "`unrelated`: masked models are scored as CrowS-Pairs scores them, by the tokens that two texts share; leave it out, or give a `context` whose `BLANK` the texts fill, or evaluate a model of the family gpt"
        );
        ensure!(
            self.format != Some(Format::Stereoset) || self.split.as_deref() == Some(stereoset::INTRASENTENCE),
            "masked models are asked of the word at `BLANK`, which the split `{0}` of StereoSet has; set split = \"{0}\", or evaluate a model of the family gpt",
            stereoset::INTRASENTENCE
        );
        Ok(())
    }

    /// Renders all rows into a file for `mill-model`; settings must be complete. Gives how many there are.
    pub fn write_items(&self, ctx: &Context, inputs: &Inputs, path: &Path) -> Result<u64> {
        let examples = (!self.fewshot_files.is_empty()).then(|| found(inputs, &self.fewshot_files)).transpose()?;
        let examples = examples.map(|files| self.of_files(&files));
        let output = self.output.context("`output` is missing")?;
        items::Task::new(self, output)?.write(ctx, path, || self.records(inputs), examples)
    }

    /// The rows to ask for, from the start each time.
    fn records(&self, inputs: &Inputs) -> Result<Records> {
        match inputs.artifact_opt("documents") {
            Some(documents) => records::of_documents(documents, self.split.clone()),
            None => Ok(self.of_files(&found(inputs, &self.files)?)),
        }
    }

    fn of_files(&self, files: &[InputFile]) -> Records {
        records::of_files(files, self.format, self.split.clone())
    }
}

/// The names of all columns of the first rows.
pub(crate) fn columns(records: Records) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    for record in records.take(FIRST_ROWS) {
        let record = record?;
        for name in record.value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
    }
    ensure!(!columns.is_empty(), "there are no rows");
    Ok(columns)
}

/// The files that were noted while planning.
fn found(inputs: &Inputs, noted: &[[String; 2]]) -> Result<Vec<InputFile>> {
    let find = |[relative, hash]: &[String; 2]| {
        let file = inputs.files().iter().find(|file| file.relative == *relative && file.hash == *hash);
        file.cloned().with_context(|| format!("`{relative}` was not found while planning"))
    };
    noted.iter().map(find).collect()
}

impl Stage for Evaluate {
    const NAME: &'static str = "evaluate";
    const ABOUT: &'static str = "Asks a model the rows of an evaluation set: choices, texts to write, likelihoods of texts or of counterfactual pairs, by templates in the manner of lm-evaluation-harness.";
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::unless("model", Kind::Model, "from"), Port::optional("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Predictions;
    const SEEDED: bool = true;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        let output = self.read_task(site)?;
        let family = match &self.from {
            Some(from) => {
                ensure!(site.connected("model").is_empty(), "give either `from` or the input `model`");
                Some(start::folder(site, from)?.family)
            }
            None => site.upstream("model").and_then(|step| serde_json::from_value(step.settings["network"]["family"].clone()).ok()),
        };
        family.map_or(Ok(()), |family| Evaluate::check_family(family, output))?;
        if family == Some(Family::Bert) {
            self.check_masked()?;
        }
        self.find_files(site, output)
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let mut settings = self.clone();
        if settings.from.is_some() {
            settings.from = Some(start::found(inputs)?);
        }
        settings.write_items(ctx, inputs, &draft.dir().join(Job::SCRATCH).join(items::FILE))?;
        let report = launch::launch(Task::Evaluate(Box::new(settings)), ctx, inputs, draft)?;
        if let Some(rows) = report.counts.get("rows_truncated").filter(|rows| **rows > 0) {
            ctx.warn(&format!(
                "{rows} rows are longer than the model takes, so the beginnings of their prompts were not read; column `truncated` has the tokens"
            ));
        }
        Ok(())
    }
}
