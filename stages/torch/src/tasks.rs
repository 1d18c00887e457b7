//! The networks of a training: one, or of several tasks one for each, on one body (MT-DNN, Liu et al. 2019).
//!
//! Each network has its variables under the names of its folder; of all together, those of heads have the name of their task before their own.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use engine::Artifact;
use model::seeds::{Purpose, derive};
use model::{Facts, Head, Job, Train};
use tch::Device;

use crate::folder::{self, Loaded, MODEL};
use crate::models;
use crate::parameters::Parameters;
use crate::run::Lesson;

/// The folder of the models of several tasks, by the steps that made their tokens.
const MODELS: &str = "models";

/// The networks of all tasks.
pub struct Models {
    /// The variables of all, each once.
    pub all: Parameters,
    pub tasks: Vec<Loaded>,
}

impl Models {
    /// Networks with their first random weights.
    pub fn build(job: &Job, settings: &Train, lessons: &[Lesson], device: Device) -> Result<Models> {
        let all = Parameters::adapted(device, derive(job.seed, Purpose::Weights, 0), settings.lora.clone());
        let mut tasks = Vec::new();
        for Lesson { task, config, .. } in lessons {
            let parameters = Parameters::beside(&all);
            let network = models::build(&parameters.root(), config);
            all.join(&parameters, task.as_deref());
            tasks.push(Loaded { config: config.clone(), network, parameters });
        }
        all.check_adapters()?;
        Ok(Models { all, tasks })
    }

    /// Takes over the weights that the tasks start from; `say` hears what begins with random ones.
    pub fn begin(&self, lessons: &[Lesson], say: impl Fn(&str)) -> Result<()> {
        for (Lesson { task, start, config, .. }, model) in lessons.iter().zip(&self.tasks) {
            let say = |new: &str| task.as_ref().map_or_else(|| say(new), |task| say(&format!("task `{task}`: {new}")));
            start.iter().try_for_each(|start| start.load(config, &model.parameters, say))?;
        }
        Ok(())
    }

    /// Saves the model of an artifact: the first one's, and a folder for each of several tasks.
    pub fn save(&self, lessons: &[Lesson], draft: &Path, tokenizer: &Path) -> Result<()> {
        save(&lessons[0], &self.tasks[0], &draft.join(MODEL), tokenizer)?;
        if lessons.len() > 1 { self.save_each(lessons, &draft.join(MODELS), tokenizer) } else { Ok(()) }
    }

    /// Saves a folder, which holds one for each of several tasks.
    pub fn save_each(&self, lessons: &[Lesson], folder: &Path, tokenizer: &Path) -> Result<()> {
        lessons.iter().zip(&self.tasks).try_for_each(|(lesson, model)| {
            let folder = lesson.task.as_ref().map_or_else(|| folder.to_path_buf(), |task| folder.join(task));
            save(lesson, model, &folder, tokenizer)
        })
    }
}

fn save(lesson: &Lesson, model: &Loaded, folder: &Path, tokenizer: &Path) -> Result<()> {
    folder::save(folder, &model.config, &model.parameters, tokenizer)?;
    lesson.facts.frame.iter().try_for_each(|frame| folder::frame(folder, frame))
}

/// The folder that a training of a task starts from: its own where the artifact has several, else that of the first.
pub fn start(model: &Artifact, task: &str) -> PathBuf {
    let own = model.dir.join(MODELS).join(task);
    if own.is_dir() { own } else { model.dir.join(MODEL) }
}

/// The folder whose head these tokens are for: of several tasks that which learned from them, else the only one of their kind.
pub fn for_tokens(model: &Artifact, tokens: &Artifact, facts: &Facts) -> Result<PathBuf> {
    let tasks: Vec<String> = model.fact::<Vec<String>>("tasks").unwrap_or_default();
    let folder = |task: &str| model.dir.join(MODELS).join(task);
    let step = &tokens.manifest.step;
    if tasks.contains(step) {
        return Ok(folder(step));
    }
    let mut fitting = Vec::new();
    for task in &tasks {
        let head = folder::config(&folder(task))?.head;
        if fits(facts, &head) && head.classes().is_none_or(|classes| facts.classes.as_deref() == Some(classes)) {
            fitting.push(task.as_str());
        }
    }
    match fitting[..] {
        [] => Ok(model.dir.join(MODEL)),
        [task] => Ok(folder(task)),
        _ => bail!(
            "step `{}` has several heads for tokens such as those of step `{step}`, for the tasks {}; predict the tokens of one of these steps",
            model.manifest.step,
            engine::list(fitting)
        ),
    }
}

/// Whether a head says what rows are asked for.
pub fn fits(facts: &Facts, head: &Head) -> bool {
    match facts.layout.as_str() {
        "packed" => matches!(head, Head::Causal | Head::Masked | Head::Pairs { .. }),
        "complete" | "translate" => *head == Head::Causal,
        "classify" => head.reads_text(),
        "pairs" => matches!(head, Head::Pairs { .. }),
        "tag" => matches!(head, Head::Tag { .. }),
        "answer" => *head == Head::Answer,
        _ => false,
    }
}
