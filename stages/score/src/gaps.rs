//! How far a score differs between the groups of a slice: the difference of the highest and the lowest, and the lowest over the highest.
//!
//! Of the metric `selection-rate` the ratio is demographic parity, of `recall` equal opportunity, as torchmetrics 1.9.0 defines them
//! (`BinaryFairness`). Rows without a value are no group. A group whose score is undefined leaves the gap undefined, where torchmetrics
//! takes 0.

use crate::slices::Slices;
use crate::tables::Scored;

/// A score over the groups of one slice.
pub struct Gap {
    pub slice: String,
    pub system: String,
    pub metric: String,
    pub class: Option<String>,
    pub groups: u64,
    pub signature: String,
    /// Groups with their values, or why there is no gap.
    pub ends: Result<Ends, String>,
}

/// The groups between which the gap is.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    pub lowest: (String, f64),
    pub highest: (String, f64),
}

impl Ends {
    pub fn gap(&self) -> f64 {
        self.highest.1 - self.lowest.1
    }

    /// The lowest over the highest; nothing of scores below 0, or where both are 0.
    pub fn ratio(&self) -> Option<f64> {
        (self.lowest.1 >= 0.0 && self.highest.1 > 0.0).then(|| self.lowest.1 / self.highest.1)
    }
}

/// The name of a group, and its score or why it has none.
type Group = (String, Result<f64, String>);

/// The gaps of all scores, by slice and in the order of scores.
pub fn gaps(scores: &[(usize, Scored)], slices: &Slices) -> Vec<Gap> {
    let mut gaps: Vec<(Gap, Vec<Group>)> = Vec::new();
    for (group, scored) in scores {
        let (slice, value) = slices.name(*group);
        let score = &scored.score;
        let same = |gap: &Gap| gap.slice == slice && gap.system == scored.system && gap.metric == score.metric && gap.class == score.class;
        let place = gaps.iter().position(|(gap, _)| same(gap)).unwrap_or_else(|| {
            let gap = Gap {
                slice: slice.to_owned(),
                system: scored.system.clone(),
                metric: score.metric.clone(),
                class: score.class.clone(),
                groups: 0,
                signature: score.signature.clone(),
                ends: Err(String::new()),
            };
            gaps.push((gap, Vec::new()));
            gaps.len() - 1
        });
        if let Some(value) = value {
            gaps[place].1.push((value.to_owned(), score.value.clone()));
        }
    }
    let finish = |(gap, groups): (Gap, Vec<Group>)| Gap { groups: groups.len() as u64, ends: ends(groups), ..gap };
    gaps.into_iter().map(finish).collect()
}

/// Of equal groups the first.
fn ends(groups: Vec<Group>) -> Result<Ends, String> {
    if groups.len() < 2 {
        return Err("there are not two groups".to_owned());
    }
    let known = |(group, value): Group| match value {
        Ok(value) => Ok((group, value)),
        Err(reason) => Err(format!("undefined for `{group}`: {reason}")),
    };
    let groups: Vec<(String, f64)> = groups.into_iter().map(known).collect::<Result<_, _>>()?;
    let (mut lowest, mut highest) = (&groups[0], &groups[0]);
    for group in &groups {
        if group.1 < lowest.1 {
            lowest = group;
        }
        if group.1 > highest.1 {
            highest = group;
        }
    }
    Ok(Ends { lowest: lowest.clone(), highest: highest.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(groups: &[(&str, Result<f64, &str>)]) -> Result<Ends, String> {
        ends(groups.iter().map(|(group, value)| (group.to_string(), value.map_err(str::to_owned))).collect())
    }

    #[test]
    fn gaps_lie_between_the_outermost_groups() {
        let found = of(&[("a", Ok(0.5)), ("b", Ok(0.25)), ("c", Ok(0.5))]).unwrap();
        assert_eq!(found, Ends { lowest: ("b".into(), 0.25), highest: ("a".into(), 0.5) });
        assert_eq!((found.gap(), found.ratio()), (0.25, Some(0.5)));
        let zero = of(&[("a", Ok(0.0)), ("b", Ok(0.0))]).unwrap();
        assert_eq!((zero.gap(), zero.ratio()), (0.0, None));
        assert_eq!(of(&[("a", Ok(-0.5)), ("b", Ok(0.5))]).unwrap().ratio(), None);
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        assert_eq!(of(&[("a", Ok(0.5))]).unwrap_err(), "there are not two groups");
        assert_eq!(of(&[("a", Ok(0.5)), ("b", Err("no row is gold"))]).unwrap_err(), "undefined for `b`: no row is gold");
    }
}
