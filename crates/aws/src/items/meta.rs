//! That a conversation exists.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | the conversation: partition key |
//! | `k` | S | `meta`: sort key |
//! | `t` | N | when it was created, ms |
//!
//! Table: conversations. Scope: one conversation; kept for ever. Written once, by `open` under the condition that there is none: it is what
//! makes a creation unique beside entry 1 (L1). Never updated, and no use case reads it; the settings that change are in each entry's
//! policy.

use aws_sdk_dynamodb::types::Put;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use chatlane_chat::ports::Failure;
use chatlane_protocol::{ConversationId, UnixMillis};

use super::{Item, NEW, Read, conversation_key, map, n};

/// The sort key.
const SORT: &str = "meta";

/// The item of a conversation that was created at this time.
pub fn item(conversation: &ConversationId, created: UnixMillis) -> Item {
    let mut item = conversation_key(conversation, SORT);
    item.extend(map([("t", n(created))]));
    item
}

/// When the conversation was created.
pub fn read(item: &Item) -> Result<UnixMillis, Failure> {
    Read::of(item, "read a conversation").time("t")
}

/// Puts it if there is none; in a transaction.
pub fn create(conversation: &ConversationId, created: UnixMillis) -> PutBuilder {
    Put::builder().set_item(Some(item(conversation, created))).condition_expression(NEW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::{any, form};

    proptest! {
        #[test]
        fn a_creation_is_read_as_it_was_written(conversation in any::conversation(), created in any::time()) {
            let item = item(&conversation, created);
            prop_assert_eq!(read(&item).unwrap(), created);
            form::is_needed(&item, &["c", "k"], read);
            form::is_documented(include_str!("meta.rs"), [item]);
        }
    }
}
