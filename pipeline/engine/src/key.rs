//! Keys: BLAKE3 over the canonical form of everything that a step's result depends on.

use serde_json::Value;

/// The key of `parts` in hexadecimal. Order of object members does not matter, order of lists does.
pub fn key(parts: &Value) -> String {
    let mut text = String::new();
    write(parts, &mut text);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// What is hashed: a renamed input step changes nothing, so only the keys of inputs count.
pub(crate) fn without_names(key_parts: &Value) -> Value {
    let mut hashed = key_parts.clone();
    for connected in hashed["inputs"].as_object_mut().into_iter().flat_map(|ports| ports.values_mut()) {
        *connected = connected.as_array().into_iter().flatten().map(|input| input["key"].clone()).collect();
    }
    hashed
}

/// JSON with sorted members and no spaces.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(&members[name], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn member_order_does_not_matter_but_values_do() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1, 2]}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":[1,2],"a":1}"#).unwrap();
        assert_eq!(key(&one), key(&two));
        assert_ne!(key(&one), key(&json!({"a": 1, "b": [2, 1]})));
        assert_ne!(key(&json!({"a": 1})), key(&json!({"a": 1.0})));
    }
}
