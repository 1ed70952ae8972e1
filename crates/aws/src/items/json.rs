//! Items in the JSON of `DynamoDB`'s API, for dumps and for who watches requests. No function that is deployed uses it.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::Item;

/// An item as JSON.
///
/// # Panics
/// If it has a value of a type that no item here has.
pub fn to_json(item: &Item) -> Value {
    item.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect::<Map<_, _>>().into()
}

/// JSON as an item; `None`: it is none, or has a value of a type that no item here has.
pub fn from_json(item: &Value) -> Option<Item> {
    item.as_object()?.iter().map(|(name, value)| Some((name.clone(), value_from_json(value)?))).collect()
}

fn value_to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": BASE64_STANDARD.encode(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(value_to_json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": to_json(map) }),
        _ => panic!("no item has a value of this type"),
    }
}

fn value_from_json(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "S" => AttributeValue::S(value.as_str()?.to_owned()),
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "B" => AttributeValue::B(Blob::new(BASE64_STANDARD.decode(value.as_str()?).ok()?)),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(value_from_json).collect::<Option<_>>()?),
        "M" => AttributeValue::M(from_json(value)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::items::entry;
    use crate::items::testing::any;

    #[test]
    fn what_is_no_item_is_none() {
        for bad in
            [json!(null), json!({ "a": {} }), json!({ "a": { "S": 1 } }), json!({ "a": { "B": "?" } }), json!({ "a": { "NULL": true } })]
        {
            assert_eq!(from_json(&bad), None, "{bad}");
        }
    }

    proptest! {
        // Entries have values of every type.
        #[test]
        fn an_item_is_read_as_it_was_written(entry in any::entry()) {
            let item = entry::item(&entry);
            prop_assert_eq!(from_json(&to_json(&item)), Some(item));
        }
    }
}
