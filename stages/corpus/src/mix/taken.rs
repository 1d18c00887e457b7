//! What a mix takes of every source, and the table and facts that tell it.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::json;

use super::shares::{Share, shares};
use super::{Mix, Unit};
use crate::draw::{Draw, Limit, Total};

/// What the columns of a document besides its text take, about.
const ROW_BYTES: u64 = 256;

/// What is taken of every source.
pub struct Taken {
    shares: Vec<Share>,
    /// Where the documents end that are taken once more.
    pub limits: Vec<Limit>,
    pub rows: Vec<Row>,
}

/// The sums of a source.
#[derive(Default)]
pub struct Row {
    taken: Total,
    pub copies: u64,
    pub rejected: u64,
    /// Share of the mix that was reached.
    reached: f64,
    epochs: f64,
}

impl Taken {
    pub fn new(mix: &Mix, draw: &Draw) -> Result<Taken> {
        let shares = shares(mix, &draw.strata)?;
        let limits = draw.limits(&shares.iter().map(|share| share.rest).collect::<Vec<_>>())?;
        let drawn = draw.drawn(&limits)?;
        let mut rows: Vec<Row> = Vec::new();
        for ((share, drawn), (_, total)) in shares.iter().zip(drawn).zip(&draw.strata) {
            let times = |all: u64, once: u64| share.whole * all + once;
            let taken = Total {
                documents: times(total.documents, drawn.documents),
                amount: times(total.amount, drawn.amount),
                bytes: times(total.bytes, drawn.bytes),
            };
            let distinct = if share.whole > 0 { total.documents } else { drawn.documents };
            let epochs = if total.amount > 0 { taken.amount as f64 / total.amount as f64 } else { share.whole as f64 };
            let (copies, rejected) = (taken.documents - distinct, total.documents - distinct);
            rows.push(Row { taken, copies, rejected, reached: 0.0, epochs });
        }
        let sum = rows.iter().map(|row| row.taken.amount).sum::<u64>().max(1);
        rows.iter_mut().for_each(|row| row.reached = row.taken.amount as f64 / sum as f64);
        Ok(Taken { shares, limits, rows })
    }

    /// How often a document comes.
    pub fn times(&self, stratum: u32, key: u128, part: usize, row: usize) -> u64 {
        let stratum = stratum as usize;
        self.shares[stratum].whole + u64::from(self.limits[stratum].draws(key, part as u32, row as u32))
    }

    /// What the mix will hold, about.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.taken.bytes + ROW_BYTES * row.taken.documents).sum()
    }

    pub fn facts(&self, draw: &Draw) -> serde_json::Value {
        let fact = |row: &Row, share: &Share| json!({"weight": share.weight, "weight_reached": row.reached, "epochs": row.epochs});
        let rows = self.rows.iter().zip(&self.shares).zip(&draw.strata);
        rows.map(|((row, share), (name, _))| (name.clone(), fact(row, share))).collect()
    }

    pub fn table(&self, unit: Unit, draw: &Draw) -> Result<RecordBatch> {
        let integers = |value: &dyn Fn(&Row, &Total) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(self.rows.iter().zip(&draw.strata).map(|(row, (_, total))| value(row, total) as i64)))
        };
        let floats = |value: &dyn Fn(&Row, &Share) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(self.rows.iter().zip(&self.shares).map(|(row, share)| value(row, share))))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(draw.strata.iter().map(|(name, _)| name))),
            integers(&|_, total| total.documents),
            integers(&|_, total| total.bytes),
            integers(&|row, _| row.taken.documents),
            integers(&|row, _| row.taken.bytes),
            integers(&|row, _| row.copies),
            integers(&|row, _| row.rejected),
            Arc::new(StringArray::from(vec![unit.name(); self.rows.len()])),
            integers(&|row, _| row.taken.amount),
            floats(&|_, share| share.weight),
            floats(&|row, _| row.reached),
            floats(&|row, _| row.epochs),
        ];
        Ok(RecordBatch::try_new(sources_schema(), columns)?)
    }
}

/// One row per source: what there was, what was taken, and the weight asked for beside the one reached.
pub fn sources_schema() -> SchemaRef {
    let integer = |name: &str| Field::new(name, DataType::Int64, false);
    let float = |name: &str| Field::new(name, DataType::Float64, false);
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("source"),
        integer("documents_in"),
        integer("bytes_in"),
        integer("documents"),
        integer("bytes"),
        integer("copies"),
        integer("rejected"),
        text("unit"),
        integer("amount"),
        float("weight"),
        float("weight_reached"),
        float("epochs"),
    ]))
}
