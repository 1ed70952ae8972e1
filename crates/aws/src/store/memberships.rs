//! Who belongs where.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::types::{Get, TransactGetItem};
use chatlane_chat::ports::{Failure, Member, Memberships};
use chatlane_protocol::{ConversationId, UserId};

use super::table::{ROUNDS_MAX, each, pause};
use super::{Backend, Conversations, Part};
use crate::failure::unavailable;
use crate::items::member;

impl<L: Part, I: Part, U: Part, Q: Part, G: Part> Memberships for Backend<L, Conversations, I, U, Q, G> {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        let item = self.conversations.0.get(member::key(conversation, user), "read a member").await?;
        item.as_ref().map(member::read).transpose()
    }

    async fn member_consistent(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        let attempted = "read a member in a transaction";
        let key = Some(member::key(conversation, user));
        let get = Get::builder().table_name(&self.conversations.0.name).set_key(key).build();
        let get = get.map_err(|_| Failure::unavailable(attempted, "the request could not be made"))?;
        for round in 0..ROUNDS_MAX {
            pause(round).await;
            let item = TransactGetItem::builder().get(get.clone()).build();
            let error = match self.conversations.0.client().transact_get_items().transact_items(item).send().await {
                Ok(answer) => {
                    let item = answer.responses.unwrap_or_default().into_iter().next().and_then(|response| response.item);
                    return item.filter(|item| !item.is_empty()).as_ref().map(member::read).transpose();
                }
                Err(error) => error,
            };
            let conflict = match &error {
                SdkError::ServiceError(service) => {
                    matches!(service.err(), TransactGetItemsError::TransactionCanceledException(canceled)
                        if canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some("TransactionConflict")))
                }
                _ => false,
            };
            if !conflict {
                return Err(unavailable(attempted, &error));
            }
        }
        Err(Failure::unavailable(attempted, "other transactions were in the way"))
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Failure> {
        let mut members = vec![];
        let query = member::query(self.conversations.0.query(), conversation);
        each(query, None, "read the members", |item| {
            members.push(member::read(item)?);
            Ok(None)
        })
        .await?;
        members.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(members)
    }
}
