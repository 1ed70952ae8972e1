//! How far the delivery of each conversation has begun: an item of its own, because it is written for every message.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use chatlane_chat::ports::{Head, Heads, Unavailable};
use chatlane_protocol::{ConversationId, Position};

use super::{Store, refused};
use crate::failure::unavailable;
use crate::table::{self, n};

impl Heads for Store {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.conversations)
            .set_key(Some(table::conversation_key(conversation, table::HEAD)))
            .update_expression("SET e = :e, s = :s, n = :n, t = :t")
            .condition_expression("attribute_exists(c) AND (e < :e OR (e = :e AND s < :s))")
            .expression_attribute_values(":e", n(to.position.epoch))
            .expression_attribute_values(":s", n(to.position.seq))
            .expression_attribute_values(":n", n(to.count))
            .expression_attribute_values(":t", n(to.time))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            // Sent again by the SDK after a lost answer it would meet its own head and answer that as the one before (L4).
            .config_override(aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let before = match update {
            Ok(raised) => raised.attributes,
            Err(error) => match refused(&error) {
                Some(refused) => refused.item.clone(),
                None => return Err(unavailable("raise a head", &error)),
            },
        };
        let before = before.ok_or_else(|| Unavailable::new("raise a head", "there is no such conversation"))?;
        Ok(table::read_head(&before)?.position)
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        let keys = conversations.iter().map(|conversation| table::conversation_key(conversation, table::HEAD)).collect();
        let mut heads = HashMap::new();
        for item in self.get_all(&self.tables.conversations, keys, "read heads").await? {
            heads.insert(table::conversation_of(&item)?, table::read_head(&item)?);
        }
        Ok(conversations.iter().map(|conversation| heads.get(conversation).copied().unwrap_or_default()).collect())
    }
}
