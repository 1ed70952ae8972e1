//! That a conversation exists, and what it is called.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `meta`: sort key |
//! | `t` | N | when it was created, ms |
//! | `ti` | S | the title of a group; missing or empty: none |
//! | `md` | S | the metadata of a group; missing or empty: none |
//!
//! Table: conversations. Scope: one conversation; kept for ever. Made by `open` and `manage` under the condition that there is none: it is
//! what makes a creation unique beside entry 1 (L1). Title and metadata are updated by `manage` in the transaction of their entry, and read by
//! key in a transaction; what a writer must know of the settings is in each entry's policy.

use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{Put, Update};
use chatlane_chat::ports::{Description, Failure};
use chatlane_protocol::{ConversationId, Metadata, Title, UnixMillis};

use super::{Item, NEW, Read, conversation_key, map, n, s};

/// The sort key.
const SORT: &str = "meta";

/// The key of a conversation.
pub fn key(conversation: &ConversationId) -> Item {
    conversation_key(conversation, SORT)
}

/// The item of a conversation that was created at this time.
pub fn item(conversation: &ConversationId, created: UnixMillis, description: &Description) -> Item {
    let mut item = key(conversation);
    item.extend(map([("t", n(created))]));
    let texts = [("ti", description.title.as_str()), ("md", description.metadata.as_str())];
    item.extend(map(texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, s(text)))));
    item
}

/// What the conversation is called.
pub fn read(item: &Item) -> Result<Description, Failure> {
    let read = Read::of(item, "read a conversation");
    let title = read.optional("ti", Read::text)?.unwrap_or_default();
    let metadata = read.optional("md", Read::text)?.unwrap_or_default();
    Ok(Description {
        title: Title::new(title).map_err(|_| read.bad("ti"))?,
        metadata: Metadata::new(metadata).map_err(|_| read.bad("md"))?,
    })
}

/// Puts it if there is none; in a transaction.
pub fn create(conversation: &ConversationId, created: UnixMillis, description: &Description) -> PutBuilder {
    Put::builder().set_item(Some(item(conversation, created, description))).condition_expression(NEW)
}

/// Gives it this title and this metadata; makes none; in a transaction.
pub fn describe(conversation: &ConversationId, description: &Description) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(key(conversation)))
        .update_expression("SET ti = :ti, md = :md")
        .condition_expression("attribute_exists(c)")
        .expression_attribute_values(":ti", s(description.title.as_str()))
        .expression_attribute_values(":md", s(description.metadata.as_str()))
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders::{conversation, description, start};
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    #[test]
    fn a_title_that_is_none_is_named() {
        for (name, bad) in [("ti", s("x".repeat(201))), ("ti", n(1_u64)), ("md", s("x".repeat(1025)))] {
            let mut item = item(&conversation("g1"), start(), &Description::default());
            item.insert(name.to_owned(), bad);
            assert!(read(&item).unwrap_err().to_string().contains(&format!("`{name}`")));
        }
    }

    proptest! {
        #[test]
        fn a_description_is_read_as_it_was_written(conversation in any::conversation(), title in "\\PC{0,40}", metadata in "\\PC{0,99}") {
            let described = description(&title, &metadata);
            let item = item(&conversation, start(), &described);
            prop_assert_eq!(read(&item).unwrap(), described);
            form::is_documented(include_str!("meta.rs"), [super::item(&conversation, start(), &description("a", "b"))]);
        }
    }
}
