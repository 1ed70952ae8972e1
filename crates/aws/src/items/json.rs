//! Items in the JSON of `DynamoDB`'s API: for attributes of a later version, for dumps, and for who watches requests.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::Item;

/// An item as JSON.
///
/// # Panics
/// If it has a value of a type that the SDK does not know.
pub fn to_json(item: &Item) -> Value {
    map_to_json(item).expect("a value of a known type")
}

/// JSON as an item; `None`: it is none.
pub fn from_json(item: &Value) -> Option<Item> {
    item.as_object()?.iter().map(|(name, value)| Some((name.clone(), value_from_json(value)?))).collect()
}

fn map_to_json(item: &Item) -> Option<Value> {
    let pairs = item.iter().map(|(name, value)| Some((name.clone(), value_to_json(value)?)));
    Some(pairs.collect::<Option<Map<_, _>>>()?.into())
}

/// One value; `None`: of a type that the SDK does not know.
pub(super) fn value_to_json(value: &AttributeValue) -> Option<Value> {
    let text = |bytes: &Blob| BASE64_STANDARD.encode(bytes);
    Some(match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": text(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Null(flag) => json!({ "NULL": flag }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(value_to_json).collect::<Option<Vec<_>>>()? }),
        AttributeValue::M(map) => json!({ "M": map_to_json(map)? }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(all) => json!({ "BS": all.iter().map(text).collect::<Vec<_>>() }),
        _ => return None,
    })
}

/// One value; `None`: it is none.
pub(super) fn value_from_json(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let bytes = |value: &Value| Some(Blob::new(BASE64_STANDARD.decode(value.as_str()?).ok()?));
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(bytes(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(value.as_bool()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(value_from_json).collect::<Option<_>>()?),
        "M" => AttributeValue::M(from_json(value)?),
        "SS" => AttributeValue::Ss(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(bytes).collect::<Option<_>>()?),
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
            [json!(null), json!({ "a": {} }), json!({ "a": { "S": 1 } }), json!({ "a": { "B": "?" } }), json!({ "a": { "DATE": "x" } })]
        {
            assert_eq!(from_json(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_item_is_read_as_it_was_written(entry in any::entry(), value in any::value()) {
            let mut item = entry::item(&entry);
            item.insert("value".to_owned(), value);
            prop_assert_eq!(from_json(&to_json(&item)), Some(item));
        }
    }
}
