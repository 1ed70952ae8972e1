//! Every item that is stored, a file for each kind: its key and attributes, its value both ways, and the requests that write it. No other
//! code of the workspace names an attribute; a test in `tests/workspace` holds that. (The checker and the judge read dumps in words of
//! their own.)
//!
//! | table | partition key | sort key | item | written |
//! |---|---|---|---|---|
//! | log | `c` conversation | `s` seq (N) | [`entry`], with a [`policy`] in it | once; what a message says, and an edit of it, by its edits and its deletion |
//! | conversations | `c` `#deployment` | `k` `settings` | [`deployment`] | once; its epoch by a restore |
//! | conversations | `c` conversation | `k` `meta` | [`meta`] | at creation, then with the title and the metadata |
//! | conversations | `c` conversation | `k` `head` | [`head`] | at creation, then by every delivery |
//! | conversations | `c` conversation | `k` `member#<user>` | [`member`] | with the membership |
//! | conversations | `c` conversation | `k` `left#<user>` | [`left`] | when the membership ends |
//! | conversations | `c` conversation | `k` `reactions#<seq>` | [`reactions`] | by reactions to one message, and by its deletion |
//! | conversations | `c` conversation | `k` `reaction#<seq>#<user>` | [`reaction`] | by a user's reactions to one message |
//! | inboxes | `u` user | `c` conversation | [`inbox`] | with the membership, then by `ack` and `read` |
//! | users | `u` user | `k` `sessions` | [`sessions`] | by handshakes, `hello`, `refresh`, disconnects and where a gate is shut |
//! | users | `u` user | `k` `spent` | [`spent`] | for one frame in many |
//! | users | `u` user | `k` `day#<day>` | [`day`] | by creations |
//! | users | `u` `#ticket#` and a hash | `k` `ticket` | [`ticket`] | once; removed by the handshake that it opens |
//! | users | `u` user | `k` `was#<conversation>` | [`was`] | when a membership ends |
//!
//! Types in these pages are those of `DynamoDB`'s API: `S` text, `N` number, `B` bytes, `BOOL`, `L` list, `M` map. Times are milliseconds
//! since 1970 where nothing else is said. Names are one or two letters: they are paid for in every item, and a quiet message must fit one
//! write unit (1 KB). Functions take a request without a table and give it back filled, so that they know neither client nor table name.
//!
//! An item that does not have its form is refused by the name of the attribute, without values; [`unreadable`] is the one place.

pub mod day;
pub mod deployment;
pub mod entry;
pub mod head;
pub mod inbox;
pub mod json;
mod kept;
pub mod left;
pub mod member;
pub mod meta;
pub mod policy;
pub mod reaction;
pub mod reactions;
pub mod sessions;
pub mod spent;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod was;

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Update};
use chatlane_chat::log::Role;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, DeviceId, Position, Seq, UnixMillis, UserId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// One item, or a map in one.
pub type Item = HashMap<String, AttributeValue>;

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableForm {
    /// What it is called here. A deployment has names of its own.
    pub name: &'static str,
    /// The attribute that is its partition key, a text.
    pub partition: &'static str,
    /// The attribute that is its sort key.
    pub sort: &'static str,
    /// The type of the sort key.
    pub sort_type: &'static str,
    /// The attribute by which `DynamoDB` removes an item, in seconds since 1970.
    pub ttl: Option<&'static str>,
}

/// All tables.
pub const TABLES: [TableForm; 4] = [
    TableForm { name: "log", partition: "c", sort: "s", sort_type: "N", ttl: None },
    TableForm { name: "conversations", partition: "c", sort: "k", sort_type: "S", ttl: None },
    TableForm { name: "inboxes", partition: "u", sort: "c", sort_type: "S", ttl: None },
    TableForm { name: "users", partition: "u", sort: "k", sort_type: "S", ttl: Some(sessions::TTL) },
];

/// What an epoch weighs in a cursor.
const EPOCH_WEIGHT: u128 = 10_u128.pow(16);

/// What a user keeps in a key; all else is percent-encoded, so that no character of theirs can end a key part.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@');

/// The condition of an item of the log or of the conversations that must not exist yet.
const NEW: &str = "attribute_not_exists(c)";

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, AttributeValue)>) -> Item {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Removes attributes, whose names are letters and digits and no reserved words; refused where there is no such item.
pub fn forget(update: UpdateItemFluentBuilder, key: Item, names: &[String]) -> UpdateItemFluentBuilder {
    let there: Vec<String> = key.keys().map(|name| format!("attribute_exists({name})")).collect();
    update.set_key(Some(key)).update_expression(format!("REMOVE {}", names.join(", "))).condition_expression(there.join(" AND "))
}

/// Gives the item of this key these attributes, and leaves those that are not among them; in a transaction.
fn set(key: Item, item: Item) -> UpdateBuilder {
    let set: Vec<_> = item.into_iter().filter(|(name, _)| !key.contains_key(name)).collect();
    let names: Vec<String> = set.iter().map(|(name, _)| format!("{name} = :{name}")).collect();
    let update = Update::builder().set_key(Some(key)).update_expression(format!("SET {}", names.join(", ")));
    set.into_iter().fold(update, |update, (name, value)| update.expression_attribute_values(format!(":{name}"), value))
}

/// A user as a part of a key: up to 384 bytes.
fn user_key(user: &UserId) -> String {
    utf8_percent_encode(user.as_str(), KEPT).to_string()
}

/// The key of an item of the conversations.
fn conversation_key(conversation: &ConversationId, sort: &str) -> Item {
    map([("c", s(conversation.as_str())), ("k", s(sort))])
}

/// A position as one number, epoch × 10¹⁶ + seq, so that one comparison in a condition orders it as [`Position`] does: a seq is below 2⁵³
/// and so below 10¹⁶, and of the 38 digits that a `DynamoDB` number keeps (developer guide, "Supported data types and naming rules") it
/// needs 26.
fn cursor(position: Position) -> AttributeValue {
    AttributeValue::N((u128::from(position.epoch) * EPOCH_WEIGHT + u128::from(position.seq.get())).to_string())
}

const fn role_letter(role: Role) -> &'static str {
    match role {
        Role::Later => "?", // never written: no use case gives it to anybody
        Role::Member => "m",
        Role::Moderator => "o",
        Role::Admin => "a",
        Role::Owner => "w",
    }
}

/// Somebody else's doing: this item is not as the code here writes it, and reading it again gives the same.
fn unreadable(attempted: &'static str, attribute: &str) -> Failure {
    Failure::unreadable(attempted, format!("attribute `{attribute}` is missing or not as it was written"))
}

/// Reads the attributes of an item.
struct Read<'a> {
    item: &'a Item,
    attempted: &'static str,
}

impl<'a> Read<'a> {
    const fn of(item: &'a Item, attempted: &'static str) -> Self {
        Self { item, attempted }
    }

    fn bad(&self, name: &str) -> Failure {
        unreadable(self.attempted, name)
    }

    fn has(&self, name: &str) -> bool {
        self.item.contains_key(name)
    }

    fn value(&self, name: &str) -> Result<&'a AttributeValue, Failure> {
        self.item.get(name).ok_or_else(|| self.bad(name))
    }

    fn map(&self, name: &str) -> Result<&'a Item, Failure> {
        self.value(name)?.as_m().map_err(|_| self.bad(name))
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        self.value(name)?.as_s().cloned().map_err(|_| self.bad(name))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        self.value(name)?.as_b().map(|blob| blob.as_ref().to_vec()).map_err(|_| self.bad(name))
    }

    fn number(&self, name: &str) -> Result<u64, Failure> {
        self.value(name)?.as_n().ok().and_then(|text| text.parse().ok()).ok_or_else(|| self.bad(name))
    }

    fn small(&self, name: &str) -> Result<u32, Failure> {
        u32::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn boolean(&self, name: &str) -> Result<bool, Failure> {
        self.value(name)?.as_bool().copied().map_err(|_| self.bad(name))
    }

    /// Of an attribute that may be missing.
    fn optional<T>(&self, name: &str, read: impl FnOnce(&Self, &str) -> Result<T, Failure>) -> Result<Option<T>, Failure> {
        self.has(name).then(|| read(self, name)).transpose()
    }

    fn seq(&self, name: &str) -> Result<Seq, Failure> {
        Seq::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn time(&self, name: &str) -> Result<UnixMillis, Failure> {
        UnixMillis::try_from(self.number(name)?).map_err(|_| self.bad(name))
    }

    fn user(&self, name: &str) -> Result<UserId, Failure> {
        UserId::new(self.text(name)?).map_err(|_| self.bad(name))
    }

    fn device(&self, name: &str) -> Result<DeviceId, Failure> {
        DeviceId::new(&self.text(name)?).map_err(|_| self.bad(name))
    }

    /// The user of [`user_key`].
    fn user_of_key(&self, name: &str) -> Result<UserId, Failure> {
        let key = self.text(name)?;
        let decoded = percent_decode_str(&key).decode_utf8().map_err(|_| self.bad(name))?;
        UserId::new(decoded).map_err(|_| self.bad(name))
    }

    fn conversation(&self) -> Result<ConversationId, Failure> {
        ConversationId::new(self.text("c")?).map_err(|_| self.bad("c"))
    }

    fn cursor(&self, name: &str) -> Result<Position, Failure> {
        let number: Option<u128> = self.value(name)?.as_n().ok().and_then(|text| text.parse().ok());
        let position = number.and_then(|number| {
            let seq = Seq::try_from(u64::try_from(number % EPOCH_WEIGHT).ok()?).ok()?;
            Some(Position::new(u32::try_from(number / EPOCH_WEIGHT).ok()?, seq))
        });
        position.ok_or_else(|| self.bad(name))
    }

    /// The position of entries and heads: its parts are two attributes.
    fn position(&self) -> Result<Position, Failure> {
        Ok(Position::new(self.small("e")?, self.seq("s")?))
    }

    /// [`Role::Later`] for a letter of a later version.
    fn role(&self, name: &str) -> Result<Role, Failure> {
        Ok(match self.text(name)?.as_str() {
            "m" => Role::Member,
            "o" => Role::Moderator,
            "a" => Role::Admin,
            "w" => Role::Owner,
            _ => Role::Later,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::any;
    use super::*;

    #[test]
    fn no_character_of_a_user_can_end_a_key_part() {
        let key = user_key(&UserId::new("auth0|a#b/ü%").unwrap());
        assert_eq!(key, "auth0%7Ca%23b%2F%C3%BC%25");
        assert_ne!(user_key(&UserId::new("a%23").unwrap()), user_key(&UserId::new("a#").unwrap()));
        assert!(user_key(&UserId::new("ü".repeat(64)).unwrap()).len() <= 384);
    }

    #[test]
    fn a_key_that_is_no_user_or_conversation_is_named_by_its_attribute() {
        for key in ["", "%ff"] {
            let item = map([("u", s(key))]);
            assert!(Read::of(&item, "read a key").user_of_key("u").unwrap_err().to_string().contains("`u`"), "{key}");
        }
        let item = map([("c", s("#"))]);
        assert!(Read::of(&item, "read a key").conversation().unwrap_err().to_string().contains("`c`"));
    }

    #[test]
    fn a_cursor_orders_as_its_position_does_and_has_26_digits_at_most() {
        let number = |epoch, seq| cursor(Position::new(epoch, seq)).as_n().unwrap().parse::<u128>().unwrap();
        let ascending = [number(0, Seq::ZERO), number(0, Seq::MAX), number(1, Seq::ZERO), number(1, Seq::FIRST), number(9, Seq::MAX)];
        assert!(ascending.is_sorted_by(|one, other| one < other), "{ascending:?}");
        assert_eq!(number(7, Seq::FIRST), 70_000_000_000_000_001);
        assert_eq!(number(u32::MAX, Seq::MAX).to_string().len(), 26);
    }

    proptest! {
        #[test]
        fn a_user_is_read_from_its_key(user in any::user()) {
            let item = map([("u", s(user_key(&user)))]);
            prop_assert_eq!(Read::of(&item, "read a key").user_of_key("u").unwrap(), user);
        }

        #[test]
        fn a_position_is_read_from_its_cursor(position in any::position()) {
            let item = map([("r", cursor(position))]);
            prop_assert_eq!(Read::of(&item, "read a cursor").cursor("r").unwrap(), position);
        }
    }
}
