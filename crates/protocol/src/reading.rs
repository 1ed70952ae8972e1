//! How fields of requests are read.

use serde::{Deserialize, Deserializer};

/// An optional list: null counts as missing, as in every optional field.
pub fn list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}
