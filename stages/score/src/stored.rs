//! Scores of an earlier run that a file holds, as rows of the table `scores`: what gates may compare with.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Float64Type};
use engine::table_file::read_parquet;
use engine::{list, suggest};
use serde::Deserialize;

use crate::gate;
use crate::score::MODEL;

const BATCH_ROWS: usize = 1024;
/// Systems that `score` adds by itself.
const BASELINES: [&str; 3] = ["majority class", "copy of the source", "unigram"];

#[derive(Debug, Deserialize)]
struct Row {
    system: Option<String>,
    metric: String,
    class: Option<String>,
    value: Option<f64>,
    /// Rows of the table `slices` have it, and are left out.
    slice: Option<String>,
}

/// The value of the score that a gate names, such as `f1[spam]`; of several systems that of the model, or of the one that is no baseline of `score`.
pub fn value(path: &Path, name: &str) -> Result<f64> {
    let shown = path.display();
    let rows = if path.extension().is_some_and(|extension| extension == "parquet") { of_parquet(path)? } else { of_json(path)? };
    let named = || rows.iter().filter(|row| row.slice.is_none()).map(|row| (gate::name(&row.metric, row.class.as_deref()), row));
    let found: Vec<&Row> = named().filter(|(other, _)| other == name).map(|(_, row)| row).collect();
    let of_model: Vec<&Row> = found.iter().copied().filter(|row| row.system.as_deref() == Some(MODEL)).collect();
    let no_baseline: Vec<&Row> =
        found.iter().copied().filter(|row| !BASELINES.iter().any(|name| row.system.as_deref() == Some(name))).collect();
    match (found.as_slice(), of_model.as_slice(), no_baseline.as_slice()) {
        ([row], ..) | (_, [row], _) | (_, [], [row]) => row.value.with_context(|| format!("`{shown}`: the value of `{name}` is null")),
        ([], ..) => {
            let mut names: Vec<String> = named().map(|(name, _)| name).collect();
            names.dedup();
            let names = || names.iter().map(String::as_str);
            bail!("`{shown}` has no score `{name}`{}; scores: {}", suggest(name, names()), list(names()))
        }
        _ => bail!("`{shown}` has {} scores `{name}`, and not one of the system `{MODEL}`; keep one of them", found.len()),
    }
}

/// A list of rows, or one row after another.
fn of_json(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
    let rows: serde_json::Result<Vec<Row>> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(&text),
        false => serde_json::Deserializer::from_str(&text).into_iter::<Row>().collect(),
    };
    rows.with_context(|| {
        format!("`{}` holds no scores: objects with `metric` and `value`, as `mill sql --format json` writes them", path.display())
    })
}

fn of_parquet(path: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in read_parquet(path, None, BATCH_ROWS, None)? {
        let batch = batch?;
        let column = |name: &str, kind: &DataType| -> Result<Option<ArrayRef>> {
            let cast =
                |column: &ArrayRef| arrow::compute::cast(column, kind).with_context(|| format!("`{}`: column `{name}`", path.display()));
            batch.column_by_name(name).map(cast).transpose()
        };
        let texts = |name: &str| column(name, &DataType::Utf8);
        let (system, metric, class, slice) = (texts("system")?, texts("metric")?, texts("class")?, texts("slice")?);
        let (Some(metric), Some(values)) = (metric, column("value", &DataType::Float64)?) else {
            bail!("`{}` holds no scores: it has no columns `metric` and `value`", path.display());
        };
        let text = |column: Option<&ArrayRef>, row: usize| {
            column.filter(|column| column.is_valid(row)).map(|column| column.as_string::<i32>().value(row).to_owned())
        };
        rows.extend((0..batch.num_rows()).map(|row| Row {
            system: text(system.as_ref(), row),
            metric: text(Some(&metric), row).unwrap_or_default(),
            class: text(class.as_ref(), row),
            value: values.is_valid(row).then(|| values.as_primitive::<Float64Type>().value(row)),
            slice: text(slice.as_ref(), row),
        }));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value or what is wrong, without the path.
    fn check(file: &str, text: &str, name: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        let found = value(&path, name).map_or_else(|error| error.to_string(), |value| value.to_string());
        assert_eq!(found.replace(&format!("`{}`", path.display()), "FILE"), expected);
    }

    #[test]
    fn scores_are_found_by_metric_class_and_system() {
        let row = |system: &str, class: &str, value: &str, more: &str| {
            format!("{{\"system\": \"{system}\", \"metric\": \"f1\", \"class\": {class}, \"value\": {value}{more}}}\n")
        };
        let rows = [
            row("majority class", "null", "0.25", ""),
            row("model", "null", "0.5", ""),
            row("model", "null", "0.75", ", \"slice\": \"language\""),
            row("model", "\"spam\"", "1", ""),
            row("a", "\"ham\"", "null", ""),
        ];
        let lines = rows.concat();
        check("scores.jsonl", &lines, "f1", "0.5");
        check("scores.jsonl", &lines, "f1[spam]", "1");
        check("scores.jsonl", &lines, "f1[ham]", "FILE: the value of `f1[ham]` is null");
        let missing = "FILE has no score `f1[span]`, did you mean `f1[spam]`?; scores: `f1`, `f1[spam]`, `f1[ham]`";
        check("scores.jsonl", &lines, "f1[span]", missing);
        check("scores.json", &format!("[{}]", rows.join(",")), "f1", "0.5");
        check("scores.json", "[{\"metric\": \"f1\", \"value\": 0.5}]", "f1", "0.5");
        let named = [row("mine", "null", "0.5", ""), row("majority class", "null", "0.25", "")].concat();
        check("scores.json", &named, "f1", "0.5");
        let two = [row("a", "null", "1", ""), row("b", "null", "1", "")].concat();
        check("scores.json", &two, "f1", "FILE has 2 scores `f1`, and not one of the system `model`; keep one of them");
        let none = "FILE holds no scores: objects with `metric` and `value`, as `mill sql --format json` writes them";
        check("scores.json", "{\"f1\": 0.5}", "f1", none);
        assert_eq!(value(Path::new("/no/such.json"), "f1").unwrap_err().to_string(), "reading `/no/such.json`");
        assert_eq!(value(Path::new("/no/such.parquet"), "f1").unwrap_err().to_string(), "opening `/no/such.parquet`");
    }
}
