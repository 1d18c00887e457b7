//! The balances that every artifact must hold: nothing is lost or doubled without a row or a count that says so.

use anyhow::{Result, bail};

use crate::manifest::Manifest;
use crate::{Artifact, Inputs, Kind};

/// Refuses an artifact whose documents, bytes or tokens do not add up.
pub(crate) fn check(manifest: &Manifest, inputs: &Inputs) -> Result<()> {
    let counts = &manifest.counts;
    if manifest.kind == Kind::Documents {
        let from: Vec<&Artifact> =
            inputs.all().iter().map(|(_, artifact)| artifact).filter(|a| a.manifest.kind == Kind::Documents).collect();
        let read = match counts.get("records") {
            Some(records) => *records,
            None => from.iter().map(|artifact| artifact.manifest.rows("documents") as i64).sum::<i64>(),
        };
        let kept = manifest.rows("documents") as i64;
        let rejected = manifest.rows("rejects") as i64;
        let copies = manifest.count("copies");
        equal(manifest, "documents", &[("read", read), ("copies", copies)], &[("kept", kept), ("rejected", rejected)])?;
    }
    if counts.contains_key("bytes_in") {
        let n = |name| manifest.count(name);
        let right = [("bytes_out", n("bytes_out")), ("bytes_removed", n("bytes_removed"))];
        equal(manifest, "bytes of text", &[("bytes_in", n("bytes_in"))], &right)?;
    }
    for unit in ["documents", "tokens"] {
        let n = |suffix: &str| manifest.count(&format!("{unit}_{suffix}"));
        if counts.contains_key(&format!("{unit}_in")) {
            let right = [("stored", n("stored")), ("cut", n("cut")), ("rejected", n("rejected"))];
            equal(manifest, unit, &[("in", n("in"))], &right)?;
        }
    }
    Ok(())
}

fn equal(manifest: &Manifest, what: &str, left: &[(&str, i64)], right: &[(&str, i64)]) -> Result<()> {
    let sum = |side: &[(&str, i64)]| side.iter().map(|(_, n)| n).sum::<i64>();
    if sum(left) == sum(right) {
        return Ok(());
    }
    let show = |side: &[(&str, i64)]| side.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(" + ");
    bail!(
        "stage `{}` broke the balance of {what}: {} is not {}; this is a defect of the stage, please report it",
        manifest.stage,
        show(left),
        show(right)
    )
}
