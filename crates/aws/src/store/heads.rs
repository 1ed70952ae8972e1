//! How far the delivery of each conversation has begun: an item of its own, because it is written for every message.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use chatlane_chat::log::Head;
use chatlane_chat::ports::{Failure, Heads};
use chatlane_protocol::{ConversationId, Position};

use super::table::refused;
use super::{Backend, Conversations, Part};
use crate::failure::unavailable;
use crate::items::head;

impl<L: Part, I: Part, U: Part, Q: Part, G: Part> Heads for Backend<L, Conversations, I, U, Q, G> {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Failure> {
        let update = head::raise(self.conversations.0.update_item(), conversation, to)
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
        let before = before.ok_or_else(|| Failure::unavailable("raise a head", "there is no such conversation"))?;
        Ok(head::read(&before)?.position)
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Failure> {
        let keys = conversations.iter().map(head::key).collect();
        let mut heads = HashMap::new();
        for item in self.conversations.0.get_all(keys, "read heads").await? {
            let head = head::read(&item).inspect_err(|failure| failure.log("the head of a conversation is taken for that of an empty one"));
            heads.insert(head::conversation(&item)?, head.unwrap_or_default());
        }
        Ok(conversations.iter().map(|conversation| heads.get(conversation).copied().unwrap_or_default()).collect())
    }
}
