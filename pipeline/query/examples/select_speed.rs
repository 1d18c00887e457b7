//! Speed of the signals of Gopher over one Parquet file with a column `text`: `select_speed FILE`.
//! Prints CPU seconds per pass and megabytes of text per CPU second.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use arrow::array::RecordBatch;
use engine::{Sql, Table, TableFile};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use query::{Session, Settings};

fn main() -> anyhow::Result<()> {
    let path = std::path::PathBuf::from(std::env::args().nth(1).expect("usage: select_speed FILE"));
    let schema = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path)?)?.schema().clone();
    let file = TableFile { path, rows: 0, bytes: 0, split: None, of: None };
    let table = Table { name: "documents".to_string(), files: vec![file], schema, rows: 0 };
    let session = Session::new(&Settings::default())?;
    let named = |names: &[&str]| -> Vec<(String, String)> { names.iter().map(|sql| (sql.to_string(), sql.to_string())).collect() };
    let quality =
        ["word_count(text)", "mean_word_length(text)", "alpha_word_ratio(text)", "stop_word_count(text)", "bullet_line_ratio(text)"];
    let mut repetition: Vec<String> = vec!["duplicate_line_ratio(text)".into(), "duplicate_paragraph_char_ratio(text)".into()];
    repetition.extend((2..=4).map(|n| format!("top_ngram_char_ratio(text, {n})")));
    repetition.extend((5..=10).map(|n| format!("duplicate_ngram_char_ratio(text, {n})")));
    let repetition: Vec<&str> = repetition.iter().map(String::as_str).collect();
    let both: Vec<&str> = quality.iter().copied().chain(repetition.iter().copied()).collect();
    let mut bytes = 0u64;
    measure(&session, &table, &named(&["octet_length(text)"]), &mut |batch| {
        let sum = arrow::compute::sum(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(batch.column(0)));
        bytes += sum.unwrap_or(0) as u64;
    })?;
    let megabytes = bytes as f64 / 1e6;
    println!("{megabytes:.1} MB of text");
    for (name, columns) in [
        ("text alone", &["text"][..]),
        ("word_count", &["word_count(text)"]),
        ("quality, 5 signals", &quality),
        ("gopher_quality", &["gopher_quality(text)"]),
        ("repetition, 11 signals", &repetition),
        ("gopher_repetition", &["gopher_repetition(text)"]),
        ("both", &both),
        ("nfc", &["nfc(text)"]),
        ("normalize_whitespace", &["normalize_whitespace(text)"]),
        ("blake3_hex", &["blake3_hex(text)"]),
    ] {
        let seconds = measure(&session, &table, &named(columns), &mut |_| {})?;
        println!("{name:<24} {seconds:>7.3} s {:>8.1} MB/s", megabytes / seconds);
    }
    Ok(())
}

fn measure(session: &Session, table: &Table, expressions: &[(String, String)], sink: &mut dyn FnMut(RecordBatch)) -> anyhow::Result<f64> {
    let meter = engine::usage::Meter::start();
    session.select(table, 0, expressions, None, &mut |batch| {
        sink(batch);
        Ok(())
    })?;
    Ok(meter.stop().cpu_seconds)
}
