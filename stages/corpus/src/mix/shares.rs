//! How much of every source a mix takes, from weights, epochs or a temperature. Pure arithmetic: it reads no document.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use engine::{list, suggest};

use super::{Mix, Unit};
use crate::draw::Total;

/// What is taken of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Of the whole mix, as asked for.
    pub weight: f64,
    /// Times that all its documents are taken.
    pub whole: u64,
    /// What is taken once more of some of its documents, in the unit.
    pub rest: u64,
}

/// The share of every source, in the order of `sources`.
pub fn shares(mix: &Mix, sources: &[(String, Total)]) -> Result<Vec<Share>> {
    for (setting, names) in [("weights", &mix.weights), ("epochs", &mix.epochs)] {
        check_names(setting, names, sources)?;
    }
    let amounts: Vec<f64> = sources.iter().map(|(_, total)| total.amount as f64).collect();
    if mix.weights.is_empty() && mix.temperature.is_none() && mix.size.is_none() {
        let wanted: Vec<f64> =
            sources.iter().zip(&amounts).map(|((name, _), amount)| amount * mix.epochs.get(name).unwrap_or(&1.0)).collect();
        let sum = wanted.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        return Ok(sources.iter().zip(&wanted).map(|((_, total), wanted)| share(wanted / sum, *wanted, total)).collect());
    }
    let weights: Vec<f64> = match mix.temperature {
        Some(temperature) => amounts.iter().map(|amount| amount.powf(1.0 / temperature)).collect(),
        None if mix.weights.is_empty() => amounts.clone(),
        None => sources.iter().map(|(name, _)| mix.weights.get(name).copied().unwrap_or(0.0)).collect(),
    };
    let sum = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let weights: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    for ((name, total), weight) in sources.iter().zip(&weights) {
        if *weight > 0.0 && total.amount == 0 {
            bail!("source `{name}` has a weight and no {}", mix.unit.name());
        }
    }
    let once = amounts.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0).map(|(amount, weight)| amount / weight);
    let size = mix.size()?.map_or_else(|| once.fold(f64::INFINITY, f64::min), |size| size as f64);
    let size = if size.is_finite() { size } else { 0.0 };
    check_repetition(mix, sources, &weights, size)?;
    Ok(sources.iter().zip(&weights).map(|((_, total), weight)| share(*weight, weight * size, total)).collect())
}

fn share(weight: f64, wanted: f64, total: &Total) -> Share {
    if total.amount == 0 {
        return Share { weight, whole: u64::from(wanted > 0.0 || weight > 0.0), rest: 0 };
    }
    let epochs = wanted / total.amount as f64;
    // What the weights' rounding leaves of a whole epoch is none.
    if (epochs - epochs.round()).abs() < 1e-9 * epochs.max(1.0) {
        return Share { weight, whole: epochs.round() as u64, rest: 0 };
    }
    let wanted = wanted.round() as u64;
    Share { weight, whole: wanted / total.amount, rest: wanted % total.amount }
}

/// Every source has a number and every number a source; sources without `epochs` have 1.
fn check_names(setting: &str, numbers: &BTreeMap<String, f64>, sources: &[(String, Total)]) -> Result<()> {
    let names = || sources.iter().take(50).map(|(name, _)| name.as_str());
    if let Some(name) = numbers.keys().find(|name| !sources.iter().any(|(source, _)| source == *name)) {
        bail!("`{setting}`: no document is of the source `{name}`{}; sources: {}", suggest(name, names()), list(names()));
    }
    match sources.iter().find(|(name, _)| !numbers.contains_key(name)) {
        Some((name, _)) if setting == "weights" && !numbers.is_empty() => {
            bail!("`weights`: the source `{name}` has none; give it one, 0 leaves it out; sources: {}", list(names()))
        }
        _ => Ok(()),
    }
}

fn check_repetition(mix: &Mix, sources: &[(String, Total)], weights: &[f64], size: f64) -> Result<()> {
    let epochs = |(total, weight): (&Total, &f64)| weight * size / total.amount.max(1) as f64;
    let repeated: Vec<String> = sources
        .iter()
        .zip(weights)
        .map(|((name, total), weight)| (name, epochs((total, weight))))
        .filter(|(_, epochs)| *epochs > mix.epochs_max * (1.0 + 1e-9))
        .map(|(name, epochs)| format!("`{name}` {epochs:.2} times"))
        .collect();
    if !repeated.is_empty() {
        bail!(
            "the mix would take {}, and `epochs_max` allows {}: give these sources less weight, a smaller `size`, or raise `epochs_max`",
            repeated.join(", "),
            mix.epochs_max
        );
    }
    Ok(())
}

/// A number of documents or tokens (`500000`, `10M`, `1.5B`) or of bytes (`2GB`).
pub fn parse_size(text: &str, unit: Unit) -> Result<u64, String> {
    if unit == Unit::Bytes {
        return engine::config::parse_size(text);
    }
    let text = text.trim();
    let factor = match text.chars().last() {
        Some('k' | 'K') => 1e3,
        Some('m' | 'M') => 1e6,
        Some('b' | 'B') => 1e9,
        _ => 1.0,
    };
    match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim().parse::<f64>() {
        Ok(number) if number > 0.0 && text.chars().filter(char::is_ascii_alphabetic).count() == usize::from(factor > 1.0) => {
            Ok((number * factor).round() as u64)
        }
        _ => Err(format!("`{text}` is no number of {}; write for example 500000, 10M or 1.5B", unit.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(weights: &[(&str, f64)], epochs: &[(&str, f64)], size: Option<&str>, temperature: Option<f64>) -> Mix {
        let map = |numbers: &[(&str, f64)]| numbers.iter().map(|(name, number)| (name.to_string(), *number)).collect();
        Mix { weights: map(weights), epochs: map(epochs), size: size.map(str::to_string), temperature, ..Mix::default() }
    }

    /// Sources `a` and `b` with 1000 and 100.
    fn check(mix: &Mix, expected: &str) {
        let total = |amount| Total { documents: 1, amount, bytes: amount };
        let sources = [("a".to_string(), total(1000)), ("b".to_string(), total(100))];
        let shown = match shares(mix, &sources) {
            Ok(shares) => {
                shares.iter().map(|share| format!("{:.2}: {}+{}", share.weight, share.whole, share.rest)).collect::<Vec<_>>().join(", ")
            }
            Err(error) => format!("{error:#}"),
        };
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn shares_follow_from_the_settings() {
        check(&mix(&[], &[], None, None), "0.91: 1+0, 0.09: 1+0");
        // Nothing is repeated without a size: the scarcer source decides.
        check(&mix(&[("a", 6.0), ("b", 4.0)], &[], None, None), "0.60: 0+150, 0.40: 1+0");
        check(&mix(&[("a", 0.6), ("b", 0.4)], &[], Some("500"), None), "0.60: 0+300, 0.40: 2+0");
        check(&mix(&[("a", 0.6), ("b", 0.4)], &[], Some("600"), None), "0.60: 0+360, 0.40: 2+40");
        check(&mix(&[("a", 0.0), ("b", 1.0)], &[], None, None), "0.00: 0+0, 1.00: 1+0");
        check(&mix(&[], &[("b", 2.5)], None, None), "0.80: 1+0, 0.20: 2+50");
        check(&mix(&[], &[], Some("550"), None), "0.91: 0+500, 0.09: 0+50");
        check(&mix(&[], &[], Some("600"), Some(1.0)), "0.91: 0+545, 0.09: 0+55");
        // 1000^(1/2) : 100^(1/2) = 3.16 : 1.
        check(&mix(&[], &[], Some("600"), Some(2.0)), "0.76: 0+456, 0.24: 1+44");
        check(&mix(&[("a", 0.5), ("b", 0.5)], &[], Some("1000"), None), "the mix would take `b` 5.00 times, and `epochs_max` allows 4");
        check(&mix(&[("a", 0.5)], &[], None, None), "`weights`: the source `b` has none");
        check(
            &mix(&[("a", 0.5), ("b", 0.2), ("aa", 1.0)], &[], None, None),
            "`weights`: no document is of the source `aa`, did you mean `a`?",
        );
    }

    #[test]
    fn sizes_have_the_unit() {
        assert_eq!(parse_size("1.5B", Unit::Tokens), Ok(1_500_000_000));
        assert_eq!(parse_size("10 k", Unit::Documents), Ok(10_000));
        assert_eq!(parse_size("2GB", Unit::Bytes), Ok(2_000_000_000));
        for wrong in ["2GB", "x", "", "-1", "0", "1kk"] {
            assert!(parse_size(wrong, Unit::Tokens).is_err(), "{wrong}");
        }
    }
}
