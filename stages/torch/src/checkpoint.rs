//! Checkpoints: weights, their average, optimizer state and position of a run in one safetensors file, replaced whole.
//!
//! Nothing else is needed to go on: the order of the data, masks, noise and dropout follow from the seed and the step. Only a recurrent network
//! that carries its state on has that there too.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use model::Job;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::ema::Ema;
use crate::kept::Best;
use crate::log::Lengths;
use crate::optimizer::Optimizer;
use crate::parameters::Parameters;
use crate::spikes::Spikes;
use crate::weights::{self, Weights};

const FILE: &str = "checkpoint.safetensors";
const ENVIRONMENT: &str = "environment.json";
/// The metadata key of the position.
const POSITION: &str = "position";
/// That of what shows whether the values are those that were saved.
const CHECKSUM: &str = "checksum";

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Optimizer steps done.
    pub step: u64,
    /// Whether the model was already tried on the valid split at this step.
    pub evaluated: bool,
    /// Tokens that went through the network so far.
    pub tokens: u64,
    pub logs: Lengths,
    pub best: Best,
    pub spikes: Spikes,
}

/// All tensors of a run under the names that checkpoints use; shared, not copied.
pub fn tensors(parameters: &Parameters, optimizer: &Optimizer, ema: &Ema) -> Vec<(String, Tensor)> {
    let weights = parameters.named().into_iter().map(|(name, tensor)| (format!("weight.{name}"), tensor));
    weights.chain(optimizer.state()).chain(ema.state()).chain(parameters.kept()).collect()
}

/// Saves the run as it stands.
pub fn save(job: &Job, tensors: &[(String, Tensor)], position: &Position) -> Result<()> {
    write(&job.scratch(FILE), tensors, position)
}

fn write(path: &Path, tensors: &[(String, Tensor)], position: &Position) -> Result<()> {
    let position = serde_json::to_string(position)?;
    let checksum = checksum(tensors, &position);
    let metadata = [("format", "pt".to_string()), (CHECKSUM, checksum), (POSITION, position)];
    weights::save(path, tensors, metadata.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// Of all values and the position.
fn checksum(tensors: &[(String, Tensor)], position: &str) -> String {
    format!("{:08x}", crc32c::crc32c_append(weights::checksum(tensors), position.as_bytes()))
}

/// Loads the last checkpoint into the tensors of a run; `None` when there is none.
pub fn load(job: &Job, tensors: &[(String, Tensor)]) -> Result<Option<Position>> {
    let path = job.scratch(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let failed = || format!("no going on from the checkpoint `{}`; put it back whole, or start the step over with --force", path.display());
    read(&path, tensors).with_context(failed).map(Some)
}

fn read(path: &Path, tensors: &[(String, Tensor)]) -> Result<Position> {
    let file = Weights::open(path)?;
    let position = file.metadata(POSITION)?.context("it has no position")?;
    if let Some(name) = file.load(tensors)?.first() {
        bail!("it lacks {name}");
    }
    // Checkpoints of before have none.
    if file.metadata(CHECKSUM)?.is_some_and(|stored| stored != checksum(tensors, &position)) {
        bail!("it is damaged: its values are not those that were saved");
    }
    Ok(serde_json::from_str(&position)?)
}

/// What the bits of a run depend on besides settings and inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub precision: String,
    pub threads: usize,
    /// For information: a run may go on with another number.
    #[serde(default)]
    pub ranks: usize,
    pub device: String,
    pub cpu: String,
    pub libtorch: String,
}

/// Notes the environment of a new run; of a run that has a checkpoint, it must be the same.
pub fn check_environment(job: &Job, environment: &Environment) -> Result<()> {
    let path = job.scratch(ENVIRONMENT);
    if job.scratch(FILE).exists() && path.exists() {
        let text = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let before: Environment = serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged", path.display()))?;
        return compare(&before, environment, &job.draft);
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec_pretty(environment)?).with_context(|| format!("writing `{}`", temporary.display()))?;
    weights::replace(&temporary, &path)
}

fn compare(before: &Environment, now: &Environment, draft: &Path) -> Result<()> {
    let fields = [
        ("precision", &before.precision, &now.precision),
        ("threads", &before.threads.to_string(), &now.threads.to_string()),
        ("device", &before.device, &now.device),
        ("CPU", &before.cpu, &now.cpu),
        ("LibTorch", &before.libtorch, &now.libtorch),
    ];
    for (name, before, now) in fields {
        if before != now {
            bail!(
                "this training was begun with {name} {before} and would go on with {now}, so its losses would differ; \
                 go on with {name} {before} (--threads, --device), or start over with --force (draft `{}`)",
                draft.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_checkpoint_is_refused() {
        let _alone = crate::tests::alone();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let tensors = |value: f32| vec![("weight.a".to_string(), Tensor::from_slice(&[value; 4]))];
        let position = Position { step: 7, evaluated: true, ..Position::default() };
        write(&path, &tensors(1.5), &position).unwrap();
        let loaded = tensors(0.0);
        assert_eq!(read(&path, &loaded).unwrap(), position);
        assert_eq!(Vec::<f32>::try_from(&loaded[0].1).unwrap(), [1.5; 4]);

        let whole = std::fs::read(&path).unwrap();
        let of = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", read(&path, &tensors(0.0)).unwrap_err())
        };
        // A bit of a value, and the step in the header.
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(of(flipped), "it is damaged: its values are not those that were saved");
        let stands = whole.windows(11).position(|window| window == br#"\"step\":7,"#).unwrap();
        let mut moved = whole.clone();
        moved[stands + 9] = b'8';
        assert_eq!(of(moved), "it is damaged: its values are not those that were saved");
        let short = of(whole[..whole.len() - 1].to_vec());
        assert!(short.starts_with(&format!("`{}` is no safetensors file", path.display())), "{short}");
    }

    #[test]
    fn another_thread_count_is_refused_with_the_way_out() {
        let before =
            Environment { precision: "f32".into(), threads: 2, ranks: 1, device: "cpu".into(), cpu: "avx2".into(), libtorch: "2".into() };
        let now = Environment { threads: 1, ..before.clone() };
        assert!(compare(&before, &Environment { ranks: 2, ..before.clone() }, Path::new("d")).is_ok());
        let error = compare(&before, &now, Path::new("d")).unwrap_err().to_string();
        assert!(error.contains("begun with threads 2 and would go on with 1") && error.contains("--force"), "{error}");
    }
}
