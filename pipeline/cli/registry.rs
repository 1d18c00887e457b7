//! All stages, in the order in which a corpus passes through them. A new stage crate is a line here.

use engine::StageEntry;

pub fn stages() -> Vec<StageEntry> {
    [corpus::stages(), tokens::stages(), model::stages(), vectors::stages(), baseline::stages(), score::stages()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_and_setting_is_named_and_documented() {
        let stages = stages();
        for (index, stage) in stages.iter().enumerate() {
            assert!(
                stage.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{} is not kebab-case",
                stage.name
            );
            assert!(stage.about.ends_with('.') && stage.about.len() > 20, "{} needs a sentence of help", stage.name);
            assert!(!stages[..index].iter().any(|other| other.name == stage.name), "two stages are named {}", stage.name);
            for (name, schema) in stage.schema["properties"].as_object().into_iter().flatten() {
                let described = schema["description"].as_str().is_some_and(|text| text.len() > 10);
                assert!(described, "setting {name} of {} has no doc comment", stage.name);
            }
        }
    }
}
