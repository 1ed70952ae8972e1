//! Attributes of a later version: kept as the JSON of `DynamoDB`'s API, and written again as they were (K1).

use chatlane_chat::log::Kept;
use chatlane_chat::ports::Failure;

use super::json::{value_from_json, value_to_json};
use super::{Item, unreadable};

/// The attributes of an item that are not `known`.
pub fn of_item(item: &Item, attempted: &'static str, known: impl Fn(&str) -> bool) -> Result<Kept, Failure> {
    let later = item.iter().filter(|(name, _)| !known(name));
    later.map(|(name, value)| Ok((name.clone(), value_to_json(value).ok_or_else(|| unreadable(attempted, name))?.to_string()))).collect()
}

/// The same attributes again.
///
/// # Panics
/// Never: the texts are those of [`of_item`].
pub fn to_item(kept: &Kept) -> Item {
    let value = |text: &String| serde_json::from_str(text).ok().as_ref().and_then(value_from_json).expect("the JSON of an attribute");
    kept.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}
