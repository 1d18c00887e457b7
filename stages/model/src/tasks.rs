//! Several tasks of one training: each step on the input `tokens` has a head of its own on one body (MT-DNN, Liu et al. 2019).

use anyhow::{Result, bail};

use crate::{Family, Train};

impl Train {
    /// The tokens of each task, of one for each step on the input or of all together.
    pub fn tasks<'a, T>(&self, tokens: &'a [T]) -> Vec<&'a [T]> {
        if self.multi_task { tokens.chunks(1).collect() } else { vec![tokens] }
    }

    /// Refuses what several tasks cannot have; `steps` are those on the input `tokens`.
    pub(crate) fn check_tasks(&self, steps: &[String]) -> Result<()> {
        if !self.multi_task {
            return Ok(());
        }
        if let [] | [_] = steps {
            bail!("multi_task: each step on the input `tokens` is a task, and there is one alone; name several, or leave it out");
        }
        if let Some((_, twice)) = steps.iter().enumerate().find(|(i, name)| steps[..*i].contains(name)) {
            bail!("multi_task: step `{twice}` is twice on the input `tokens`, and a task has one head; name it once");
        }
        if let Some(family) = self.family().filter(|family| !matches!(family, Family::Bert | Family::Gpt)) {
            bail!("multi_task: heads of several tasks stand on a model of the family bert or gpt, this is {}", family.name());
        }
        let idle = |name: &&String| self.phases().all(|weights| weights.get(*name).is_none_or(|weight| *weight == 0.0));
        if let Some(idle) = steps.iter().find(idle).filter(|_| !self.sources.is_empty()) {
            bail!("`weights`: the task `{idle}` would never be learned; take its step from the input `tokens`, or give it a weight");
        }
        for (setting, given) in [("batch_ramp_steps", self.batch_ramp_steps > 0), ("spike_factor", self.spike_factor > 0.0)] {
            if given {
                bail!("{setting}: losses and batches of several tasks have no common measure; leave it out beside multi_task");
            }
        }
        Ok(())
    }

    /// The weights of the first phase and of later ones.
    fn phases(&self) -> impl Iterator<Item = &std::collections::BTreeMap<String, f64>> {
        std::iter::once(&self.weights).chain(self.curriculum.iter().map(|phase| &phase.weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_cannot_be_are_refused_while_planning() {
        let check = |json: &str, steps: &[&str], expected: &str| {
            let mut train: Train = serde_json::from_str(json).unwrap();
            let steps: Vec<String> = steps.iter().map(|step| step.to_string()).collect();
            let checked = train.name_sources(&steps).and_then(|()| train.check_tasks(&steps));
            let found = checked.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{json}: {found}");
        };
        let bert = r#"{"multi_task": true, "model": {"family": "bert"}}"#;
        check(bert, &["spam", "names"], "");
        check("{}", &["spam", "spam"], "");
        check(bert, &["spam"], "multi_task: each step on the input `tokens` is a task, and there is one alone");
        check(bert, &["spam", "names", "spam"], "multi_task: step `spam` is twice on the input `tokens`");
        let family = "multi_task: heads of several tasks stand on a model of the family bert or gpt, this is rnn";
        check(&bert.replace("bert", "rnn"), &["spam", "names"], family);
        check(r#"{"multi_task": true, "weights": {"spam": 2, "names": 1}}"#, &["spam", "names"], "");
        check(r#"{"multi_task": true, "weights": {"spam": 2, "names": 0}}"#, &["spam", "names"], "`weights`: the task `names` would never");
        let ramp = r#"{"multi_task": true, "accumulate": 2, "batch_ramp_steps": 9}"#;
        check(ramp, &["spam", "names"], "batch_ramp_steps: losses and batches of several tasks");
        check(r#"{"multi_task": true, "spike_factor": 3}"#, &["spam", "names"], "spike_factor: losses and batches");
    }
}
