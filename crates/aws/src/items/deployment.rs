//! What all functions of a deployment share.
//!
//! | attribute | type | what |
//! |---|---|---|
//! | `c` | S | `#deployment`: partition key. No conversation has such an id |
//! | `k` | S | `settings`: sort key |
//! | `s` | B | the secret from which the keys derive, 32 bytes |
//! | `e` | N | the epoch of new entries |
//!
//! Table: conversations, so that it is in every copy of the data. Scope: the deployment; kept for ever. Written once, by `hello`, `open` or `manage`,
//! whichever starts first, under the condition that there is none. The epoch is raised by an operator's command (`infra/README.md`) under
//! the condition that it rises. Read by key. The key is one that a policy can name (`dynamodb:LeadingKeys`).

use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chatlane_chat::deployment::{Deployment, Secret};
use chatlane_chat::ports::Failure;
use serde_json::Value;

use super::json::to_json;
use super::{Item, NEW, Read, map, n, s};

/// The partition key.
const PARTITION: &str = "#deployment";

/// The sort key.
const SORT: &str = "settings";

/// The key.
pub fn key() -> Item {
    map([("c", s(PARTITION)), ("k", s(SORT))])
}

/// The deployment as an item.
pub fn item(deployment: &Deployment) -> Item {
    let mut item = key();
    item.extend(map([("s", AttributeValue::B(Blob::new(deployment.secret.0))), ("e", n(deployment.epoch))]));
    item
}

/// An item as the deployment. What a later version keeps beside it is not looked at.
pub fn read(item: &Item) -> Result<Deployment, Failure> {
    let read = Read::of(item, "read the deployment's item");
    let secret = read.bytes("s")?.try_into().map_err(|_| read.bad("s"))?;
    Ok(Deployment { secret: Secret(secret), epoch: read.small("e")? })
}

/// Puts it if there is none; a refusal answers the one that stands.
pub fn found(put: PutItemFluentBuilder, first: &Deployment) -> PutItemFluentBuilder {
    put.set_item(Some(item(first)))
        .condition_expression(NEW)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

/// Whether a request's JSON asks for this item by its key: for who watches requests.
pub fn is_asked_for(request: &Value) -> bool {
    request.get("Key").is_some_and(|asked| *asked == to_json(&key()))
}

#[cfg(test)]
mod tests {
    use chatlane_chat::testing::builders;
    use chatlane_protocol::ConversationId;
    use proptest::prelude::*;

    use super::*;
    use crate::items::testing::form;

    #[test]
    fn no_conversation_has_its_key() {
        ConversationId::new(PARTITION).unwrap_err();
    }

    #[test]
    fn a_secret_of_another_size_is_refused_by_name() {
        let mut item = item(&builders::deployment());
        item.insert("s".to_owned(), AttributeValue::B(Blob::new([7; 31])));
        assert!(read(&item).unwrap_err().to_string().contains("`s`"));
    }

    proptest! {
        #[test]
        fn a_deployment_is_read_as_it_was_written(secret in any::<[u8; Secret::BYTES]>(), epoch in any::<u32>()) {
            let deployment = Deployment { secret: Secret(secret), epoch };
            let item = item(&deployment);
            prop_assert_eq!(read(&item).unwrap(), deployment);
            form::is_needed(&item, &["c", "k"], read);
            form::is_documented(include_str!("deployment.rs"), [item]);
        }
    }
}
