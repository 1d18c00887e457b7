//! `mill trace`: the rows and documents that a step of a training learns from. They follow from the config and the seed, so the training itself
//! need not have run, only what it reads.

use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::config::Config;
use engine::plan::{Plan, PlannedStep, Status};
use engine::{Artifact, ConfigError, list};
use model::{Courses, Train};
use query::Format;

use crate::args::TraceArgs;
use crate::registry;

/// Documents that are read at once while their texts are looked for.
const BATCH_ROWS: usize = 1024;

pub fn trace(args: &TraceArgs) -> Result<()> {
    let format = Format::parse(&args.format).map_err(|error| ConfigError(format!("--format: {error:#}")))?;
    let stdout = std::io::stdout();
    if format == Format::Parquet && stdout.is_terminal() {
        return Err(ConfigError("--format parquet writes bytes; send them to a file with > FILE".to_string()).into());
    }
    let mut config = Config::read(&args.config)?;
    for assignment in &args.set {
        config.set(assignment)?;
    }
    let session = query::Session::new(&query::Settings::default())?;
    let plan = engine::plan::plan(&config, &registry::stages(), &session, false)?;
    let step = training(&plan, &args.step)?;
    let settings: Train = serde_json::from_value(step.key_parts["settings"].clone()).context("settings of the step")?;
    let tokens = artifacts(&plan, step, "tokens")?;
    let (_, courses) = Courses::open(&settings, plan.seed, &tokens)?;
    let steps = courses.steps();
    if args.number == 0 || args.number > steps {
        return Err(ConfigError(format!("step `{}` has no step {}: they are numbered from 1 to {steps}", step.name, args.number)).into());
    }
    let pieces = pieces(&plan, &courses, args.number)?;
    let texts = if args.text > 0 { texts(&plan, step, &pieces, args.text)? } else { HashMap::new() };
    let batch = table(args.number, &pieces, &texts)?;
    let mut out = BufWriter::new(stdout.lock());
    query::output::print(format, &batch.schema(), std::slice::from_ref(&batch), &mut out)?;
    out.flush().context("writing the result")
}

/// A step that trains.
pub fn training<'a>(plan: &'a Plan, name: &str) -> Result<&'a PlannedStep> {
    let step = &plan.steps[plan.index(name)?];
    if step.stage == "train" {
        return Ok(step);
    }
    Err(ConfigError(format!("step `{name}` is of the stage `{}` and learns nothing; steps that train: {}", step.stage, trainings(plan)))
        .into())
}

/// The names of the steps that train.
pub fn trainings(plan: &Plan) -> String {
    list(plan.steps.iter().filter(|step| step.stage == "train").map(|step| step.name.as_str()))
}

/// The artifacts on a port, which must stand.
fn artifacts(plan: &Plan, step: &PlannedStep, port: &str) -> Result<Vec<Artifact>> {
    inputs(plan, step, port)
        .map(|input| match &input.status {
            Status::Cached(artifact) => Ok((**artifact).clone()),
            Status::Run { .. } => {
                bail!("step `{}` has not run with these settings; run `mill run --until {}` first", input.name, input.name)
            }
        })
        .collect()
}

fn inputs<'a>(plan: &'a Plan, step: &'a PlannedStep, port: &'a str) -> impl Iterator<Item = &'a PlannedStep> {
    step.inputs.iter().filter(move |(name, _)| name == port).flat_map(|(_, steps)| steps).map(|index| &plan.steps[*index])
}

/// A document's share of a row, with all that places it.
struct Piece {
    sample: u64,
    source: String,
    row: u64,
    shard: String,
    piece: model::Piece,
}

fn pieces(plan: &Plan, courses: &Courses, step: u64) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for batch in courses.batches_of(step) {
        let rows = courses.rows(batch);
        for sample in courses.batch(batch)? {
            let place = rows.place(sample.row)?;
            let shard = place.shard.strip_prefix(&plan.workspace.dir).unwrap_or(place.shard).display().to_string();
            for piece in rows.pieces(sample.row)? {
                let (source, shard) = (place.step.to_string(), shard.clone());
                pieces.push(Piece { sample: sample.sample, source, row: place.row, shard, piece });
            }
        }
    }
    Ok(pieces)
}

/// How the texts of documents begin, as far as the steps that made them still stand.
fn texts(plan: &Plan, step: &PlannedStep, pieces: &[Piece], length: usize) -> Result<HashMap<[u8; 16], String>> {
    let mut missing: HashSet<[u8; 16]> = pieces.iter().map(|piece| piece.piece.document).collect();
    let mut found = HashMap::new();
    for tokens in inputs(plan, step, "tokens") {
        let settings = &tokens.key_parts["settings"];
        let column = &settings[match settings["layout"].as_str() {
            Some("complete") => "prompt",
            Some("translate") => "source",
            Some("tag") => "words",
            Some("answer") => "question",
            _ => "text",
        }];
        for documents in inputs(plan, tokens, "documents") {
            let (Status::Cached(artifact), Some(column)) = (&documents.status, column.as_str()) else { continue };
            let table = artifact.table(artifact.main())?;
            let files = if table.has_column("id") && table.has_column(column) { table.files.len() } else { 0 };
            for file in 0..files {
                for batch in table.read(file, Some(&["id", column]), BATCH_ROWS)? {
                    if missing.is_empty() {
                        return Ok(found);
                    }
                    let batch = batch?;
                    take(&batch, column, length, &mut missing, &mut found)?;
                }
            }
        }
    }
    Ok(found)
}

fn take(
    batch: &RecordBatch,
    column: &str,
    length: usize,
    missing: &mut HashSet<[u8; 16]>,
    found: &mut HashMap<[u8; 16], String>,
) -> Result<()> {
    let of = |name: &str| batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"));
    let Some(ids) = of("id")?.as_fixed_size_binary_opt() else { bail!("the column `id` holds no ids") };
    // Words may stand in lists.
    let options = FormatOptions::default();
    let texts = ArrayFormatter::try_new(of(column)?, &options)?;
    for row in 0..batch.num_rows() {
        let Ok(id) = <[u8; 16]>::try_from(ids.value(row)) else { bail!("the column `id` holds no 16-byte ids") };
        if missing.remove(&id) {
            found.insert(id, texts.value(row).to_string().chars().take(length).collect());
        }
    }
    Ok(())
}

fn table(step: u64, pieces: &[Piece], texts: &HashMap<[u8; 16], String>) -> Result<RecordBatch> {
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    let schema = Schema::new(vec![
        number("step"),
        number("sample"),
        Field::new("source", DataType::Utf8, false),
        number("row"),
        Field::new("shard", DataType::Utf8, false),
        Field::new("document", DataType::FixedSizeBinary(16), false),
        Field::new("start", DataType::Int64, true),
        number("length"),
        Field::new("text", DataType::Utf8, true),
    ]);
    let numbers = |value: &dyn Fn(&Piece) -> i64| -> ArrayRef { Arc::new(pieces.iter().map(value).collect::<Int64Array>()) };
    let documents = pieces.iter().map(|piece| Some(piece.piece.document));
    let columns: Vec<ArrayRef> = vec![
        numbers(&|_| step as i64),
        numbers(&|piece| piece.sample as i64),
        Arc::new(StringArray::from_iter_values(pieces.iter().map(|piece| &piece.source))),
        numbers(&|piece| piece.row as i64),
        Arc::new(StringArray::from_iter_values(pieces.iter().map(|piece| &piece.shard))),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(documents, 16)?),
        Arc::new(pieces.iter().map(|piece| piece.piece.start).collect::<Int64Array>()),
        numbers(&|piece| piece.piece.length),
        Arc::new(pieces.iter().map(|piece| texts.get(&piece.piece.document)).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
