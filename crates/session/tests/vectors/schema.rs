//! `vectors/schema.json` as the vectors obey it. This reads only the words of JSON Schema that the file uses, and is red at another one: a
//! whole validator would be the heaviest dependency of this package.

use serde_json::Value;

/// What of `value` is not as `schema` has it.
pub fn fault(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let words = schema.as_object().expect("a schema is an object");
    words.iter().find_map(|(word, said)| {
        let holds = match word.as_str() {
            "$schema" | "title" | "$defs" => true,
            "$ref" => {
                let name = said.as_str().and_then(|path| path.strip_prefix('#')).expect("a reference into this file");
                return fault(root, root.pointer(name).expect("a definition"), value);
            }
            "type" => said.as_array().map_or_else(|| is(said, value), |types| types.iter().any(|said| is(said, value))),
            "const" => said == value,
            "enum" => said.as_array()?.contains(value),
            "minimum" => value.as_u64() >= said.as_u64(),
            "maximum" => value.as_u64() <= said.as_u64(),
            "minItems" => u64::try_from(value.as_array()?.len()).ok() >= said.as_u64(),
            "required" => said.as_array()?.iter().filter_map(Value::as_str).all(|name| value.get(name).is_some()),
            "additionalProperties" => {
                assert_eq!(said, false);
                value.as_object()?.keys().all(|name| words["properties"].get(name).is_some())
            }
            "properties" => {
                let there = said.as_object()?.iter().filter_map(|(name, schema)| Some((schema, value.get(name)?)));
                return there.into_iter().find_map(|(schema, value)| fault(root, schema, value));
            }
            "items" => return value.as_array()?.iter().find_map(|item| fault(root, said, item)),
            "anyOf" => said.as_array()?.iter().any(|schema| fault(root, schema, value).is_none()),
            other => panic!("schema.json says `{other}`, which this test does not read"),
        };
        (!holds).then(|| format!("`{word}` is {said}, and there is {value}"))
    })
}

fn is(said: &Value, value: &Value) -> bool {
    match said.as_str() {
        Some("integer") => value.is_u64(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        other => panic!("schema.json says `{other:?}`, which this test does not read"),
    }
}
