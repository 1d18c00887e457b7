//! Scores made-up predictions of each kind and says how long it took: `cargo run --release -p score --example speed -- ROWS`.

#![allow(clippy::unwrap_used, reason = "a program for measuring")]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float32Builder, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{Field, Schema};
use engine::stage::run_alone;
use engine::testing::context;
use engine::{Artifact, Context, Draft, Inputs, Kind, Part, Port, Stage};
use schemars::JsonSchema;
use score::counts::Tally;
use score::metrics::{LabelRow, Labels, METRICS, Options, TextRow, Texts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Made {
    task: String,
    rows: u64,
}

/// A number below `bound` that hangs on the row and what it is for.
fn draw(row: u64, what: u64, bound: u64) -> u64 {
    let mut x = (row * 31 + what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (x >> 32) % bound
}

impl Stage for Made {
    const NAME: &'static str = "predict";
    const ABOUT: &'static str = "Makes predictions up.";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUT: Kind = Kind::Predictions;

    fn run(&self, ctx: &Context, _: &Inputs, draft: &Draft) -> anyhow::Result<()> {
        let classes: Vec<String> = match self.task.as_str() {
            "tag" => ["B-PER", "I-PER", "B-LOC", "I-LOC", "O"].map(String::from).to_vec(),
            _ => (0..5).map(|class| format!("class {class}")).collect(),
        };
        draft.fact("task", &self.task)?;
        draft.fact("classes", &classes)?;
        let rows = 0..self.rows;
        let label = |row, what| classes[draw(row, what, 5) as usize].as_str();
        let right = |row| draw(row, 9, 10) < 7;
        let text =
            |row: u64, what: u64| (0..20).map(|word| format!("w{}", draw(row, 100 + word + what * 50, 60))).collect::<Vec<_>>().join(" ");
        let near = |row: u64| {
            text(row, 0)
                .split(' ')
                .enumerate()
                .map(|(i, word)| if draw(row, 300 + i as u64, 5) == 0 { "x" } else { word }.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let strings = |of: &dyn Fn(u64) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.clone().map(of))) };
        let lists = |of: &dyn Fn(u64) -> Vec<String>| -> ArrayRef {
            let mut lists = ListBuilder::new(StringBuilder::new());
            rows.clone().for_each(|row| lists.append_value(of(row).into_iter().map(Some)));
            Arc::new(lists.finish())
        };
        let columns: Vec<(&str, ArrayRef)> = match self.task.as_str() {
            "classify" => {
                let mut probabilities = ListBuilder::new(Float32Builder::new());
                rows.clone().for_each(|row| {
                    probabilities.append_value(
                        (0..5).map(|class| Some(if class == draw(row, if right(row) { 1 } else { 2 }, 5) { 0.6 } else { 0.1 })),
                    )
                });
                vec![
                    ("gold", strings(&|row| label(row, 1).into())),
                    ("prediction", strings(&|row| label(row, if right(row) { 1 } else { 2 }).into())),
                    ("probabilities", Arc::new(probabilities.finish())),
                ]
            }
            "tag" => vec![
                ("gold", lists(&|row| (0..20).map(|word| label(row, word).into()).collect())),
                (
                    "prediction",
                    lists(&|row| (0..20).map(|word| label(row, if draw(row, word, 7) == 0 { word + 40 } else { word }).into()).collect()),
                ),
            ],
            "number" => {
                let numbers = |what| -> ArrayRef {
                    Arc::new(rows.clone().map(|row| Some(draw(row, what, 1 << 30) as f64)).collect::<Float64Array>())
                };
                vec![("gold", numbers(1)), ("prediction", numbers(2))]
            }
            "answer" => vec![
                ("gold", lists(&|row| vec![format!("the {}", draw(row, 1, 50)), "x y".into()])),
                ("prediction", strings(&|row| draw(row, 1 + draw(row, 3, 2), 50).to_string())),
            ],
            _ => {
                vec![("source", strings(&|row| text(row, 1))), ("reference", strings(&|row| text(row, 0))), ("prediction", strings(&near))]
            }
        };
        let fields: Vec<Field> = columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|column| column.1).collect())?;
        draft.declare("predictions", batch.schema())?;
        draft.parts(ctx, &[Part { bytes: 1 }], |_, part| part.write("predictions", &batch))
    }
}

/// Counts and scores rows that lie in memory, as tests/bench/peer_score.py does with the reference programs.
fn in_memory<K: score::metrics::Kind>(metric: &str, options: &Options, rows: &[K::Row<'_>]) {
    let measure = || METRICS.iter().filter(|m| m.name == metric).find_map(|m| K::measure(&m.start, options)).unwrap();
    let mut seconds = f64::INFINITY;
    let mut value = f64::NAN;
    for _ in 0..3 {
        let start = Instant::now();
        let mut tally = Tally::<K>::new(vec![measure()], 0, false);
        tally.push(rows, |_| &[]);
        value = tally.scores(0)[0][0].value.clone().unwrap();
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    println!("{metric} in memory: {} rows, {seconds:.3} s, score {value}", rows.len());
}

fn labels_in_memory(rows: u64) {
    let label = |row: u64, what| draw(row, what, 5) as usize;
    let row = |row: u64| {
        let gold = label(row, 1);
        LabelRow { gold, prediction: if draw(row, 9, 10) < 7 { gold } else { label(row, 2) }, probabilities: None }
    };
    let options = Options { classes: (0..5).map(|class| format!("class {class}")).collect(), ..Options::default() };
    in_memory::<Labels>("f1", &options, &(0..rows).map(row).collect::<Vec<_>>());
}

fn texts_in_memory(rows: u64) {
    let word = |row, word| format!("w{}", draw(row, 100 + word, 60));
    let join = |words: Vec<String>| words.join(" ");
    let reference = |row| join((0..20).map(|i| word(row, i)).collect());
    let near = |row| join((0..20).map(|i| if draw(row, 300 + i, 5) == 0 { "x".to_owned() } else { word(row, i) }).collect());
    let texts: Vec<(String, String)> = (0..rows).map(|row| (near(row), reference(row))).collect();
    let rows: Vec<TextRow> = texts.iter().map(|(hypothesis, reference)| TextRow::new(hypothesis, vec![reference])).collect();
    in_memory::<Texts>("bleu", &Options::default(), &rows);
}

fn main() {
    let rows: u64 = std::env::args().nth(1).map_or(1_000_000, |rows| rows.parse().unwrap());
    labels_in_memory(rows);
    texts_in_memory(rows / 10);
    let (ctx, folder) = (context(2), tempfile::tempdir().unwrap());
    let measure = |name: &str, predictions: &Artifact, settings: Value| {
        let score: score::Score = serde_json::from_value(settings.clone()).unwrap();
        let inputs = Inputs::new(vec![("predictions".into(), predictions.clone())], vec![]);
        let start = Instant::now();
        run_alone(&score, &ctx, &inputs, &folder.path().join(name)).unwrap();
        println!("{name} {settings}: {:.2} s", start.elapsed().as_secs_f64());
    };
    for (task, rows) in [("classify", rows), ("number", rows), ("answer", rows), ("tag", rows), ("complete", rows / 10)] {
        let made = Made { task: task.into(), rows };
        let predictions = run_alone(&made, &ctx, &Inputs::new(vec![], vec![]), &folder.path().join(format!("{task}_predictions"))).unwrap();
        println!("{task}: {rows} rows");
        measure(&format!("{task}_all"), &predictions, json!({}));
        if task == "classify" {
            measure("accuracy", &predictions, json!({"metrics": ["accuracy", "f1"]}));
        }
        if task == "complete" {
            for metric in ["bleu", "chrf", "ter", "rouge-l"] {
                measure(metric, &predictions, json!({"metrics": [metric]}));
            }
        }
    }
}
