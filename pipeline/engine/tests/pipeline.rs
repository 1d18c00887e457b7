//! The engine from outside, with two tiny stages: skipping, reasons, resume, locks, balance, determinism.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use engine::config::Config;
use engine::plan::{Plan, PlannedStep, Selection, Status};
use engine::run::Observer;
use engine::testing::{NoSql, context};
use engine::{ConfigError, Context, Disk, Draft, Inputs, Kind, Locked, Manifest, Part, Port, Site, Stage, StageEntry, entry, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parts that `lines` worked on, over all runs of one test (each test has a thread of its own).
static WORKED: AtomicUsize = AtomicUsize::new(0);
static SERIAL: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    /// Files to read, a document per line.
    paths: Vec<String>,
    /// Fails at this part while the file `fail` exists beside the inputs, and panics while `panic` does.
    #[serde(default)]
    fail_at: Option<usize>,
    /// Writes other bytes each time.
    #[serde(default)]
    random: bool,
    /// Loses a row without a reject.
    #[serde(default)]
    lossy: bool,
}

impl Stage for Lines {
    const NAME: &'static str = "read-lines";
    const ABOUT: &'static str = "Reads a document per line.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Documents;

    fn prepare(&mut self, site: &mut Site) -> Result<()> {
        site.files(&self.paths).map(|_| ())
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        draft.declare("documents", schema::documents(&[]))?;
        draft.declare("rejects", schema::rejects())?;
        let plan: Vec<Part> = inputs.files().iter().map(|file| Part { bytes: file.bytes }).collect();
        draft.parts(ctx, &plan, |index, part| {
            let file = &inputs.files()[index];
            if self.fail_at == Some(index) && file.path.with_file_name("fail").exists() {
                bail!("part {index} fails");
            }
            assert!(self.fail_at != Some(index) || !file.path.with_file_name("panic").exists(), "out of bounds");
            WORKED.fetch_add(1, Ordering::SeqCst);
            let text = std::fs::read_to_string(&file.path)?;
            let lines: Vec<&str> = text.lines().collect();
            part.count("records", lines.len() as i64);
            let salt = if self.random { WORKED.load(Ordering::SeqCst) } else { 0 };
            let kept = if self.lossy { &lines[1..] } else { &lines[..] };
            if kept.is_empty() { Ok(()) } else { part.write("documents", &documents(&file.relative, kept, salt)) }
        })
    }
}

fn documents(path: &str, lines: &[&str], salt: usize) -> RecordBatch {
    let n = lines.len();
    let ids = (0..n).map(|i| blake3::hash(format!("{path}{i}{salt}").as_bytes()).as_bytes()[..16].to_vec());
    let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap());
    let strings = |text: &str| Arc::new(StringArray::from(vec![text; n])) as ArrayRef;
    let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n as i64));
    let text: ArrayRef = Arc::new(StringArray::from(lines.to_vec()));
    let extra = new_null_array(&DataType::Utf8, n);
    RecordBatch::try_new(
        schema::documents(&[]),
        vec![ids.clone(), ids, strings("lines"), strings(path), positions.clone(), positions, text, extra],
    )
    .unwrap()
}

/// Writes a file for other programs.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Publish {}

impl Stage for Publish {
    const NAME: &'static str = "publish";
    const ABOUT: &'static str = "Writes a file for other programs.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;
    const FOREIGN: bool = true;

    fn run(&self, _: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        draft.declare("documents", schema::documents(&[]))?;
        draft.count("records", 0);
        draft.foreign("files");
        std::fs::write(draft.file("files/data.arrow")?, inputs.artifact("documents")?.manifest.fingerprint.as_bytes())?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// Shortest text that is kept, in bytes.
    #[serde(default)]
    min_bytes: usize,
}

impl Stage for Keep {
    const NAME: &'static str = "keep";
    const ABOUT: &'static str = "Keeps long documents.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("documents", Kind::Documents)];
    const OUTPUT: Kind = Kind::Documents;

    fn disk(&self, input_bytes: u64) -> Disk {
        Disk { kept: input_bytes / 3, scratch: 100 * self.min_bytes as u64, selected: input_bytes }
    }

    fn run(&self, ctx: &Context, inputs: &Inputs, draft: &Draft) -> Result<()> {
        let table = inputs.artifact("documents")?.table("documents")?;
        draft.declare("documents", table.schema.clone())?;
        draft.declare("rejects", schema::rejects())?;
        draft.parts(ctx, &table.plan(), |index, part| {
            for batch in table.read(index, None, 100)? {
                let batch = batch?;
                let keep = batch["text"].as_string::<i32>().iter().map(|text| Some(text?.len() >= self.min_bytes)).collect();
                let kept = arrow::compute::filter_record_batch(&batch, &keep)?;
                part.write("documents", &kept)?;
                let rejected = arrow::compute::filter_record_batch(&batch, &arrow::compute::not(&keep)?)?;
                part.write("rejects", &rejects(&rejected))?;
            }
            Ok(())
        })
    }
}

fn rejects(batch: &RecordBatch) -> RecordBatch {
    let schema = schema::rejects();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "id" | "source" | "path" | "position" | "line" => batch[field.name().as_str()].clone(),
        "stage" | "rule" => Arc::new(StringArray::from(vec!["keep"; batch.num_rows()])) as ArrayRef,
        _ => new_null_array(field.data_type(), batch.num_rows()),
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

struct Silent;

impl Observer for Silent {
    fn skipped(&self, _: &PlannedStep) {}
    fn started(&self, _: &PlannedStep, _: bool) {}
    fn finished(&self, _: &PlannedStep, _: &Manifest) {}
}

fn stages() -> Vec<StageEntry> {
    vec![entry::<Lines>(), entry::<Keep>(), entry::<Publish>()]
}

const CONFIG: &str = "[[step]]\nstage = \"read-lines\"\npaths = [\"in/*.txt\"]\n[[step]]\nstage = \"keep\"\nmin_bytes = 4\n";

/// A folder with inputs and a config.
struct Site_ {
    dir: tempfile::TempDir,
    _serial: std::sync::MutexGuard<'static, ()>,
}

impl Site_ {
    fn new(config: &str) -> Site_ {
        let serial = SERIAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        for (name, text) in [("a.txt", "one\ntwo two\n"), ("b.txt", "three\nx\nlast line\n"), ("c.txt", "more\n")] {
            std::fs::write(dir.path().join("in").join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("x.toml"), config).unwrap();
        WORKED.store(0, Ordering::SeqCst);
        Site_ { dir, _serial: serial }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self, text: &str) {
        std::fs::write(self.path().join("x.toml"), text).unwrap();
    }

    fn plan(&self) -> Result<Plan> {
        engine::plan::plan(&Config::read(&self.path().join("x.toml"))?, &stages(), &NoSql, false)
    }

    /// Why each step would run; empty for cached ones.
    fn reasons(&self) -> Vec<String> {
        let reason = |step: &PlannedStep| match &step.status {
            Status::Cached(_) => String::new(),
            Status::Run { why, .. } => why.to_string(),
        };
        self.plan().unwrap().steps.iter().map(reason).collect()
    }

    fn run_with(&self, selection: &Selection, threads: usize) -> Result<()> {
        engine::run::run(&self.plan()?, selection, &context(threads), &Silent, "test").map(drop)
    }

    fn run(&self) -> Result<()> {
        self.run_with(&Selection::default(), 2)
    }

    fn manifest(&self, step: &str) -> Manifest {
        Manifest::read(&self.path().join("runs/x/steps").join(step)).unwrap().unwrap()
    }
}

#[test]
fn reruns_only_what_changed_and_says_why() {
    let site = Site_::new(CONFIG);
    site.run().unwrap();
    let keep = site.manifest("keep");
    assert_eq!((keep.rows("documents"), keep.rows("rejects")), (4, 2));
    assert_eq!(site.reasons(), ["", ""]);

    site.config(&CONFIG.replace("min_bytes = 4", "# shorter\nmin_bytes = 4"));
    assert_eq!(site.reasons(), ["", ""], "a comment changes nothing");
    std::fs::write(site.path().join("in/a.txt"), "one\ntwo two\n").unwrap();
    assert_eq!(site.reasons(), ["", ""], "a touched file changes nothing");

    site.config(&CONFIG.replace("min_bytes = 4", "min_bytes = 5"));
    assert_eq!(site.reasons(), ["", "min_bytes: 4 → 5"]);
    std::fs::write(site.path().join("in/a.txt"), "one\n").unwrap();
    assert_eq!(site.reasons(), ["file a.txt: content changed", "min_bytes: 4 → 5; input step `read_lines` changed"]);

    let worked = WORKED.load(Ordering::SeqCst);
    site.config(CONFIG);
    std::fs::write(site.path().join("in/a.txt"), "one\ntwo two\n").unwrap();
    site.run().unwrap();
    assert_eq!(WORKED.load(Ordering::SeqCst), worked, "going back finds the stored artifacts");
}

#[test]
fn a_failed_stage_goes_on_at_the_next_part_and_ends_the_same() {
    let site = Site_::new(&CONFIG.replace("paths", "fail_at = 2\npaths"));
    std::fs::write(site.path().join("in/fail"), "").unwrap();
    let error = format!("{:#}", site.run_with(&Selection::default(), 1).unwrap_err());
    assert_eq!(error, "step `read_lines`: part 2 fails");
    assert_eq!(WORKED.load(Ordering::SeqCst), 2);
    std::fs::remove_file(site.path().join("in/fail")).unwrap();
    site.run().unwrap();
    assert_eq!(WORKED.load(Ordering::SeqCst), 3, "the finished parts are not worked on again");
    assert_eq!(site.manifest("read_lines").usage.parts_resumed, 2);
    let resumed = site.manifest("read_lines").fingerprint;

    std::fs::remove_dir_all(site.path().join("runs")).unwrap();
    site.run_with(&Selection::default(), 1).unwrap();
    assert_eq!(site.manifest("read_lines").fingerprint, resumed);
}

#[test]
fn a_panic_in_a_part_is_an_error_and_keeps_the_others() {
    let site = Site_::new("[[step]]\nstage = \"read-lines\"\npaths = [\"in/*.txt\"]\nfail_at = 2\n");
    std::fs::write(site.path().join("in/panic"), "").unwrap();
    let message = format!("{:#}", site.run_with(&Selection::default(), 1).unwrap_err());
    assert_eq!(message, "step `read_lines`: part 2 panicked: out of bounds; this is a defect, please report it");
    std::fs::remove_file(site.path().join("in/panic")).unwrap();
    site.run().unwrap();
    assert_eq!(site.manifest("read_lines").usage.parts_resumed, 2);
}

#[test]
fn plans_know_the_disk_they_need() {
    let again = "[[step]]\nname = \"again\"\nstage = \"keep\"\nmin_bytes = 6\n";
    let site = Site_::new(&format!("{CONFIG}{again}"));
    let plan = site.plan().unwrap();
    // 35 bytes of input; 11 and what is selected, 46, read by the step below; the larger scratch alone.
    assert_eq!(plan.steps.iter().map(|step| step.disk.kept).collect::<Vec<_>>(), [35, 11, 15]);
    assert_eq!([plan.disk_needed(&[0, 1, 2]), plan.disk_needed(&[0, 1]), plan.disk_needed(&[])], [35 + 11 + 15 + 600, 35 + 11 + 400, 0]);
    let draft = plan.workspace.draft_dir("again", &plan.steps[2].key).join("scratch");
    std::fs::create_dir_all(&draft).unwrap();
    std::fs::write(draft.join("part"), [0; 500]).unwrap();
    assert_eq!(plan.disk_needed(&[0, 1, 2]), 35 + 11 + 15 + 400, "what a draft holds is not needed again");
    std::fs::write(draft.join("part"), [0; 610]).unwrap();
    assert_eq!(plan.disk_needed(&[2]), 5);
}

#[test]
fn selections_run_no_more_and_no_less() {
    let site = Site_::new(CONFIG);
    let only = |name: &str| Selection { only: vec![name.to_string()], ..Selection::default() };
    let error = format!("{:#}", site.run_with(&only("keep"), 1).unwrap_err());
    assert!(error.contains("step `keep` needs step `read_lines`"), "{error}");
    site.run_with(&Selection { until: Some("read_lines".into()), ..Selection::default() }, 1).unwrap();
    assert_eq!(site.reasons()[0], "");
    assert_eq!(site.reasons()[1], "it never ran");
    site.run_with(&only("keep"), 1).unwrap();
    let error = site.run_with(&only("kep"), 1).unwrap_err();
    assert!(error.is::<ConfigError>());
    assert_eq!(error.to_string(), "there is no step `kep`, did you mean `keep`?; steps: `read_lines`, `keep`");
}

#[test]
fn force_checks_determinism() {
    let site = Site_::new(CONFIG);
    site.run().unwrap();
    let force = Selection { force: vec!["read_lines".into()], ..Selection::default() };
    site.run_with(&force, 2).unwrap();
    assert_eq!(WORKED.load(Ordering::SeqCst), 6);

    site.config(&CONFIG.replace("paths", "random = true\npaths"));
    site.run().unwrap();
    let error = format!("{:#}", site.run_with(&force, 1).unwrap_err());
    assert!(
        error.contains("is not deterministic") && error.contains("part-00000.parquet") && error.contains("another number of threads"),
        "{error}"
    );
}

#[test]
fn a_lost_row_is_refused() {
    let site = Site_::new(&CONFIG.replace("paths", "lossy = true\npaths"));
    let error = format!("{:#}", site.run().unwrap_err());
    assert!(error.contains("broke the balance of documents: 6 read + 0 copies is not 3 kept + 0 rejected"), "{error}");
}

#[test]
fn a_second_run_at_once_is_refused() {
    let site = Site_::new(CONFIG);
    let plan = site.plan().unwrap();
    plan.workspace.create().unwrap();
    let lock = plan.workspace.lock().unwrap();
    let error = site.run().unwrap_err();
    assert!(error.is::<Locked>(), "{error:#}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(lock);
    site.run().unwrap();
}

#[test]
fn wrong_configs_are_refused_with_place_and_choices() {
    let check = |config: &str, expected: &str| {
        let site = Site_::new(config);
        let error = site.plan().err().expect("must fail");
        assert!(error.is::<ConfigError>());
        let text = error.to_string().replace(&format!("{}/", site.path().display()), "");
        assert_eq!(text, expected);
    };
    check(
        "[[step]]\nstage = \"kep\"",
        "x.toml:2:1: step `kep`: unknown stage `kep`, did you mean `keep`?; stages: `read-lines`, `keep`, `publish`",
    );
    check(
        &CONFIG.replace("min_bytes", "min_byte"),
        "x.toml:6:1: step `keep`: stage `keep` has no setting `min_byte`, did you mean `min_bytes`?; settings: `min_bytes`",
    );
    check(
        &CONFIG.replace("= 4", "= \"four\""),
        "x.toml:6:1: step `keep`: `min_bytes`: invalid type: string \"four\", expected a whole number from 0 on",
    );
    check(
        &format!("{CONFIG}inputs = {{ documents = \"read_line\" }}\n"),
        "x.toml:7:12: step `keep`: there is no step `read_line` above, did you mean `read_lines`?; fitting steps above: `read_lines`",
    );
    check(
        "[[step]]\nstage = \"keep\"",
        "x.toml:2:1: step `keep`: the input `documents` needs a step above that makes documents, and there is none; stages that do: `read-lines`, `keep`",
    );
    let twice = CONFIG.replacen(
        "[[step]]\nstage = \"keep\"",
        "[[step]]\nstage = \"read-lines\"\nname = \"b\"\npaths = [\"in/b.txt\"]\n[[step]]\nstage = \"keep\"",
        1,
    );
    check(
        &twice,
        "x.toml:9:1: step `keep`: more than one step above could be the input `documents`: `read_lines`, `b`; choose with inputs = { documents = \"…\" }",
    );
}

#[test]
fn files_for_other_programs_are_no_input_and_no_table() {
    let config = CONFIG.replacen("[[step]]\nstage = \"keep\"", "[[step]]\nstage = \"publish\"\n[[step]]\nstage = \"keep\"", 1);
    let site = Site_::new(&config);
    // It neither takes the place of the documents that it reads nor uses them up.
    let plan = site.plan().unwrap();
    assert_eq!(plan.steps[2].inputs, [("documents".to_string(), vec![0])]);
    site.run().unwrap();
    let manifest = site.manifest("publish");
    let file = manifest.files.iter().find(|file| file.path == "files/data.arrow").unwrap();
    assert_eq!((file.table.as_deref(), manifest.tables.len()), (None, 1));
    site.config(&format!("{config}inputs = {{ documents = \"publish\" }}\n"));
    let error = site.plan().err().unwrap().to_string();
    let expected = "step `keep`: the files of step `publish` are for other programs, no step reads them; fitting steps above: `read_lines`";
    assert!(error.ends_with(expected), "{error}");
}
