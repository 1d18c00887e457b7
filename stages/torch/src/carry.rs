//! The state that a recurrent network hands on from row to row: rows then go in lanes, each place of a batch reading on where it was.

use std::ops::Range;

use anyhow::Result;
use model::{NetworkConfig, Sample, Train};
use tch::{Device, Tensor};

use crate::models::rnn;
use crate::objective::Batch;
use crate::parameters::Parameters;
use crate::ranks::Ranks;

/// The dimension of a state (layers, lanes, width) in which its lanes are.
const LANES: i64 = 1;

/// The state of this rank's lanes between the batches of a training, none where it is not carried on; checkpoints hold it of all lanes.
pub fn kept(settings: &Train, config: &NetworkConfig, parameters: &Parameters, ranks: &Ranks) -> Vec<Tensor> {
    let state = first(settings.carry_state, settings.batch_size, config, parameters.device());
    (0..).zip(&state).for_each(|(i, state)| parameters.keep(format!("carried.{i}"), state));
    state.iter().map(|state| ranks.of(state, LANES)).collect()
}

/// Puts together what all ranks carry.
pub fn gather(ranks: &Ranks, parameters: &Parameters) -> Result<()> {
    parameters.kept().iter().try_for_each(|(_, state)| ranks.gather(state, LANES))
}

/// The state before the first row, none where it is not carried on.
pub fn first(carry_state: bool, lanes: u64, config: &NetworkConfig, device: Device) -> Vec<Tensor> {
    if carry_state { rnn::first_state(config, lanes as i64, device) } else { Vec::new() }
}

/// The batch, to begin with the state and to leave its last one there.
pub fn with(mut batch: Batch, state: &[Tensor]) -> Batch {
    batch.seen.carried = state.iter().map(Tensor::shallow_clone).collect();
    batch
}

/// Begins at zero again where a step that was skipped left what is not finite: every later one would be the same.
pub fn mend(carried: &[Tensor]) {
    tch::no_grad(|| carried.iter().for_each(|state| state.shallow_clone().copy_(&state.nan_to_num(0.0, 0.0, 0.0))));
}

/// All rows once, in lanes of `length` rows each, of which only the last may have fewer. Rows are the samples of their own number.
pub fn in_lanes(rows: Range<u64>, length: u64) -> impl Iterator<Item = Vec<Sample>> {
    let places = length.min(rows.end - rows.start);
    (0..places).map(move |place| (rows.start + place..rows.end).step_by(length as usize).map(|row| Sample { sample: row, row }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_hold_every_row_once_and_lose_only_the_last() {
        let batches: Vec<Vec<u64>> = in_lanes(0..10, 3).map(|batch| batch.iter().map(|sample| sample.row).collect()).collect();
        assert_eq!(batches, [vec![0, 3, 6, 9], vec![1, 4, 7], vec![2, 5, 8]]);
        assert_eq!(in_lanes(5..7, 1).map(|batch| batch.len()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_is_not_finite_begins_at_zero_again() {
        let state = Tensor::from_slice(&[1.5f32, f32::NAN, f32::INFINITY, -2.0, f32::NEG_INFINITY, f32::MAX]);
        // One of two ranks has every second lane.
        mend(&[state.slice(0, 0i64, None::<i64>, 2)]);
        assert_eq!(Vec::<f32>::try_from(&state.slice(0, 0i64, None::<i64>, 2).contiguous()).unwrap(), [1.5, 0.0, 0.0]);
        assert!(state.double_value(&[1]).is_nan());
        mend(&[state.shallow_clone()]);
        assert_eq!(Vec::<f32>::try_from(&state).unwrap(), [1.5, 0.0, 0.0, -2.0, 0.0, f32::MAX]);
    }
}
