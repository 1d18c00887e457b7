//! `mill plan`: what would run and why, field by field, and the disk it needs.

use std::io::Write;

use anyhow::Result;
use engine::config::Config;
use engine::plan::{Plan, PlannedStep, Selection, Status, Why};
use serde_json::{Value, json};

use crate::args::{PlanArgs, SelectArgs};
use crate::registry;

/// Reads the config, applies `--set` and makes the plan.
pub fn read(args: &SelectArgs, sql: &dyn engine::Sql) -> Result<(Config, Plan)> {
    let mut config = Config::read(&args.config)?;
    for assignment in &args.set {
        config.set(assignment)?;
    }
    let plan = engine::plan::plan(&config, &registry::stages(), sql, args.verify)?;
    Ok((config, plan))
}

pub fn selection(args: &SelectArgs) -> Selection {
    Selection { from: args.from.clone(), until: args.until.clone(), only: args.only.clone(), force: args.force.clone() }
}

pub fn plan(args: &PlanArgs) -> Result<()> {
    let session = query::Session::new(&query::Settings::default())?;
    let (_, plan) = read(&args.select, &session)?;
    let selected = plan.select(&selection(&args.select))?;
    let steps: Vec<Row> = selected.iter().map(|index| Row::new(&plan.steps[*index], &args.select.force)).collect();
    let running: Vec<usize> = selected.iter().zip(&steps).filter(|(_, row)| row.runs).map(|(index, _)| *index).collect();
    let disk = plan.disk_needed(&running);
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = json!({
            "schema_version": 1,
            "workspace": plan.workspace.dir,
            "disk_bytes": disk,
            "steps": steps.iter().map(Row::json).collect::<Value>(),
        });
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    for row in &steps {
        writeln!(out, "{:<18} {:<16} {:<9} {}", row.name, row.stage, if row.runs { "run" } else { "unchanged" }, row.reason)?;
    }
    let runs = steps.iter().filter(|row| row.runs).count();
    writeln!(
        out,
        "{runs} of {} steps would run; about {:.1} MB of disk in {}",
        steps.len(),
        disk as f64 / 1e6,
        plan.workspace.dir.display()
    )?;
    Ok(())
}

/// One line of the plan.
struct Row {
    name: String,
    stage: &'static str,
    key: String,
    runs: bool,
    reason: String,
    changes: Value,
    disk: u64,
}

impl Row {
    fn new(step: &PlannedStep, forced: &[String]) -> Row {
        let (runs, mut reason, changes) = match &step.status {
            Status::Cached(_) if forced.contains(&step.name) => (true, "forced".to_string(), Value::Null),
            Status::Cached(_) => (false, String::new(), Value::Null),
            Status::Run { why: Why::New, .. } => (true, Why::New.to_string(), Value::Null),
            Status::Run { why: why @ Why::Changed(changes), .. } => (true, why.to_string(), json!(changes)),
        };
        if let Status::Run { resumed: true, .. } = step.status {
            reason.push_str("; goes on where an interrupted run stopped");
        }
        Row { name: step.name.clone(), stage: step.stage, key: step.key.clone(), runs, reason, changes, disk: step.disk.kept }
    }

    fn json(&self) -> Value {
        let status = if self.runs { "run" } else { "unchanged" };
        json!({"name": self.name, "stage": self.stage, "key": self.key, "status": status, "reason": self.reason, "changes": self.changes, "disk_bytes": self.disk})
    }
}
