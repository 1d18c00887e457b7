//! Profiles: named sets of rewrites, signals and rules in SQL, embedded in the program or lying below the config's root.
//!
//! Only finds, reads and merges them. `clean` evaluates rewrites and signals, `filter` the rules.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use engine::{Site, Sql, list, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../sql/profiles/", $name, ".toml")))),*]
    };
}

/// The profiles that ship with the program. A new one is a file in `sql/profiles` and its name here.
pub const SHIPPED: &[(&str, &str)] = shipped![
    "c4@datatrove",
    "c4@paper",
    "fineweb@datatrove",
    "gopher@datatrove",
    "gopher@dclm",
    "gopher@dolma",
    "gopher@paper",
    "redpajama2",
    "refinedweb@dclm",
    "slimpajama@paper",
    "zh@corpusmill",
];

/// A profile as its file holds it. What it is for and whose definition it follows stands in comments at the top of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// In the order in which they are applied.
    #[serde(default)]
    pub rewrite: Vec<Rewrite>,
    /// In the order of the columns and of the rules.
    #[serde(default)]
    pub signal: Vec<Signal>,
    #[serde(default)]
    pub rules: BTreeMap<String, Rule>,
}

/// Replaces the text of every document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Name in the table `edits`.
    pub name: String,
    /// SQL expression over the column `text` that gives the new text.
    pub sql: String,
    /// Where the definition comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// A number or a name computed for every document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Name of the column.
    pub name: String,
    /// SQL expression over the columns of the documents; it sees the rewritten text, the text before each rewrite as `before_REWRITE`, but no
    /// other signal of the same step.
    pub sql: String,
    /// Type of the column: `float`, `integer` or `string`.
    #[serde(default, rename = "type")]
    pub kind: SignalType,
    /// Where the definition comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignalType {
    #[default]
    Float,
    Integer,
    String,
}

/// The limits of a signal, both included. A document outside of them is rejected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Least value that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Where the limits come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Profile {
    /// The profile below the root if there is one of this name, else the shipped one.
    pub fn find(site: &Site, name: &str) -> Result<Profile> {
        if name.contains(['/', '\\']) {
            bail!("profile `{name}`: a profile is named like its file in `sql/profiles`, without folder and `.toml`");
        }
        let path = format!("sql/profiles/{name}.toml");
        if let Some(text) = site.text_file(&path)? {
            return Profile::parse(name, &text).with_context(|| format!("`{path}` below the root"));
        }
        match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            Some((_, text)) => Profile::parse(name, text),
            None => {
                let names = || SHIPPED.iter().map(|(name, _)| *name);
                bail!(
                    "no profile `{name}`{}; shipped: {}; your own go into `sql/profiles/` below the root",
                    suggest(name, names()),
                    list(names())
                )
            }
        }
    }

    /// Reads the text of a profile file and checks its names.
    pub fn parse(name: &str, text: &str) -> Result<Profile> {
        let profile: Profile = toml::from_str(text).with_context(|| format!("profile `{name}`"))?;
        let names =
            profile.rewrite.iter().map(|entry| ("rewrite", &entry.name)).chain(profile.signal.iter().map(|entry| ("signal", &entry.name)));
        let mut seen = BTreeSet::new();
        for entry in names {
            if !seen.insert(entry) {
                bail!("profile `{name}`: {} `{}` stands there twice", entry.0, entry.1);
            }
        }
        for (rule, limits) in &profile.rules {
            limits.check(rule).with_context(|| format!("profile `{name}`"))?;
        }
        Ok(profile)
    }
}

impl Rule {
    pub fn check(&self, name: &str) -> Result<()> {
        match (self.min, self.max) {
            (None, None) => bail!("rule `{name}` has neither `min` nor `max`"),
            (Some(min), Some(max)) if min > max => bail!("rule `{name}` keeps nothing: min = {min} is above max = {max}"),
            _ => Ok(()),
        }
    }

    /// The limit that a value breaks. A value that is null or no number breaks the rule: what cannot be judged is not kept.
    pub fn broken_by(&self, value: Option<f64>) -> Option<f64> {
        let value = value.unwrap_or(f64::NAN);
        match (self.min, self.max) {
            (Some(min), _) if value.is_nan() || value < min => Some(min),
            (_, Some(max)) if value.is_nan() || value > max => Some(max),
            _ => None,
        }
    }
}

/// An entry that has a name and an SQL expression.
pub trait Entry {
    fn name(&self) -> &str;
    fn sql_mut(&mut self) -> &mut String;
    fn forget_source(&mut self);
}

impl Entry for Rewrite {
    fn name(&self) -> &str {
        &self.name
    }

    fn sql_mut(&mut self) -> &mut String {
        &mut self.sql
    }

    fn forget_source(&mut self) {
        self.source.clear();
    }
}

impl Entry for Signal {
    fn name(&self) -> &str {
        &self.name
    }

    fn sql_mut(&mut self) -> &mut String {
        &mut self.sql
    }

    fn forget_source(&mut self) {
        self.source.clear();
    }
}

/// The profile's entries with those of the config: an entry of the same name takes its place, others follow. Their SQL becomes canonical
/// and their remarks go, so that a key changes only when the result can.
pub fn merge<E: Entry>(kind: &str, sql: &dyn Sql, profile: Vec<E>, given: Vec<E>) -> Result<Vec<E>> {
    let mut entries = profile;
    let mut seen = BTreeSet::new();
    for entry in given {
        if !seen.insert(entry.name().to_string()) {
            bail!("{kind} `{}` is given twice", entry.name());
        }
        match entries.iter_mut().find(|known| known.name() == entry.name()) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
    for entry in &mut entries {
        let name = entry.name().to_string();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            bail!("{kind} `{name}`: a name has lower-case letters, digits and `_`");
        }
        *entry.sql_mut() = sql.canonical(entry.sql_mut()).with_context(|| format!("{kind} `{name}`"))?;
        entry.forget_source();
    }
    Ok(entries)
}

/// Takes out the entries named in `without`, or says which names there are.
pub fn leave_out<T>(entries: &mut Vec<T>, without: &[String], name: impl Fn(&T) -> &str) -> Vec<String> {
    let known: Vec<String> = entries.iter().map(|entry| name(entry).to_string()).collect();
    entries.retain(|entry| !without.iter().any(|left_out| left_out == name(entry)));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_profiles_are_whole() {
        for (name, text) in SHIPPED {
            let profile = Profile::parse(name, text).unwrap();
            assert!(text.starts_with("# "), "{name}: the file begins with what it is for and whose definition it follows");
            for source in profile.rewrite.iter().map(|entry| &entry.source).chain(profile.signal.iter().map(|entry| &entry.source)) {
                assert!(source.len() > 10, "{name}: every entry has its source");
            }
            for (rule, limits) in &profile.rules {
                assert!(profile.signal.iter().any(|signal| signal.name == *rule), "{name}: rule `{rule}` has a signal");
                assert!(limits.source.len() > 10, "{name}: rule `{rule}` has a source");
            }
        }
    }

    #[test]
    fn limits_are_included_and_undefined_values_fail() {
        let rule = Rule { min: Some(50.0), max: Some(100.0), source: String::new() };
        let broken = [Some(49.0), Some(50.0), Some(100.0), Some(100.5), None, Some(f64::NAN)].map(|value| rule.broken_by(value));
        assert_eq!(broken, [Some(50.0), None, None, Some(100.0), Some(50.0), Some(50.0)]);
        let rule = Rule { max: Some(0.1), ..Rule::default() };
        assert_eq!([Some(-5.0), Some(0.1), None].map(|value| rule.broken_by(value)), [None, None, Some(0.1)]);
    }

    #[test]
    fn wrong_profiles_are_refused() {
        let check = |text: &str, expected: &str| {
            let message = format!("{:#}", Profile::parse("x", text).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("[rules]\na = { min = 2, max = 1 }", "rule `a` keeps nothing: min = 2 is above max = 1");
        check("[rules]\na = {}", "rule `a` has neither `min` nor `max`");
        check("[[signal]]\nname = \"a\"\nsql = \"1\"\n[[signal]]\nname = \"a\"\nsql = \"2\"", "signal `a` stands there twice");
        check("[[signals]]\nname = \"a\"", "unknown field `signals`");
    }
}
