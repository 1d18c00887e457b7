//! `mill stages`: what a step can be, straight from the stages' own settings and doc comments.

use std::io::Write;

use anyhow::Result;
use engine::{Choice, ConfigError, StageEntry, list, suggest};
use serde_json::{Value, json};

use crate::args::StagesArgs;
use crate::registry;

pub fn stages(args: &StagesArgs) -> Result<()> {
    let mut stages = registry::stages();
    if let Some(name) = &args.stage {
        if !stages.iter().any(|stage| stage.name == name) {
            let names = || stages.iter().map(|stage| stage.name);
            return Err(ConfigError(format!("unknown stage `{name}`{}; stages: {}", suggest(name, names()), list(names()))).into());
        }
        stages.retain(|stage| stage.name == name);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json!({"schema_version": 1, "stages": stages.iter().map(document).collect::<Value>()}))?;
        return Ok(());
    }
    for stage in &stages {
        print(stage, &mut out)?;
    }
    Ok(())
}

fn print(stage: &StageEntry, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}\n    {}", stage.name, stage.about)?;
    let ports = stage.inputs.iter().map(|port| {
        let note = match port.unless {
            _ if port.optional => ", optional".to_string(),
            _ if port.many => ", one or more steps".to_string(),
            Some(setting) => format!(", or the setting {setting}"),
            None => String::new(),
        };
        format!("{} ({}{note})", port.name, port.kind.name())
    });
    let ports: Vec<String> = ports.collect();
    writeln!(out, "    reads: {}; makes: {}", if ports.is_empty() { "files".to_string() } else { ports.join(", ") }, stage.output.name())?;
    print_settings(&stage.schema, &stage.schema, "    ", out)?;
    print_choices(&stage.choices, out)?;
    writeln!(out)?;
    Ok(())
}

/// One line per setting, nested tables indented below theirs.
fn print_settings(root: &Value, schema: &Value, indent: &str, out: &mut impl Write) -> Result<()> {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let resolved = resolve(root, field);
        let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name));
        let default = match &field["default"] {
            Value::Null if required => "required".to_string(),
            Value::Null => "default: none".to_string(),
            value => format!("default: {value}"),
        };
        let about = field["description"].as_str().or(resolved["description"].as_str()).unwrap_or("").replace('\n', " ");
        writeln!(out, "{indent}{name} = {}  [{default}]", type_name(root, field))?;
        writeln!(out, "{indent}    {about}")?;
        if resolved["properties"].is_object() {
            print_settings(root, resolved, &format!("{indent}    "), out)?;
        }
    }
    Ok(())
}

/// What settings may be, by what it is for.
fn print_choices(choices: &[Choice], out: &mut impl Write) -> Result<()> {
    let mut before = None;
    for choice in choices {
        if before != Some((choice.setting, choice.of)) {
            writeln!(out, "    {} of the task {}; those with * unless given:", choice.setting, choice.of)?;
            before = Some((choice.setting, choice.of));
        }
        writeln!(out, "        {}{}: {}", choice.name, if choice.default { " *" } else { "" }, choice.about)?;
    }
    Ok(())
}

/// Follows a reference into the schema's definitions.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let single = schema["allOf"].as_array().or(schema["anyOf"].as_array()).and_then(|options| options.first());
    let target = schema["$ref"].as_str().or_else(|| single.and_then(|option| option["$ref"].as_str()));
    target.and_then(|target| root.pointer(target.trim_start_matches('#'))).unwrap_or(schema)
}

/// A type in words: the choices of an enum, else the JSON type.
fn type_name(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    let documented = variants.flat_map(|variant| variant["const"].as_str().into_iter().chain(strings(&variant["enum"])));
    let choices: Vec<&str> = strings(&schema["enum"]).chain(documented).collect();
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("[{}]", type_name(root, &schema["items"])),
        Value::String(name) if name == "object" && schema["additionalProperties"].is_object() => {
            format!("{{ name = {} }}", type_name(root, &schema["additionalProperties"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect::<Vec<_>>().join(" | "),
        _ => "value".to_string(),
    }
}

fn strings(values: &Value) -> impl Iterator<Item = &str> {
    values.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn document(stage: &StageEntry) -> Value {
    let inputs =
        stage.inputs.iter().map(|port| json!({"name": port.name, "kind": port.kind, "optional": port.optional, "many": port.many}));
    json!({
        "name": stage.name,
        "about": stage.about,
        "version": stage.version,
        "inputs": inputs.collect::<Value>(),
        "output": stage.output,
        "settings": stage.schema,
        "choices": stage.choices,
    })
}
