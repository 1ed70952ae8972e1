//! Creation of a conversation: one transaction over three tables.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chatlane_chat::log::Kind;
use chatlane_chat::ports::{Created, Creation, Creations, Failure, InboxRow};

use super::{Backend, Conversations, Inboxes, Log, Part};
use crate::failure::unavailable;
use crate::items::{entry, head, inbox, member, meta};

impl<U: Part, Q: Part, G: Part> Creations for Backend<Log, Conversations, Inboxes, U, Q, G> {
    async fn create(&self, creation: &Creation) -> Result<Created, Failure> {
        let Creation { entry: first, members } = creation;
        let conversation = &first.conversation;
        // L1: slot 1 is made by creation only, and once.
        let mut puts = vec![
            (&self.conversations.0, meta::create(conversation, first.time)),
            (&self.log.0, entry::create(first)),
            (&self.conversations.0, head::create(conversation)),
        ];
        for member in members {
            let other = match &first.kind {
                Kind::Created(created) => created.other_than(&member.user),
                Kind::Message(_) | Kind::Later(_) => None,
            };
            let row = InboxRow::new(conversation.clone(), other.cloned(), member);
            puts.push((&self.conversations.0, member::create(conversation, member)));
            puts.push((&self.inboxes.0, inbox::create(&member.user, &row)));
        }
        let mut request = self.log.0.client().transact_write_items();
        for (table, put) in puts {
            let put = put.table_name(&table.name).build();
            let put = put.map_err(|_| Failure::unavailable("create a conversation", "the request could not be made"))?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        let Err(error) = request.send().await else { return Ok(Created::New) };
        if let SdkError::ServiceError(service) = &error {
            match service.err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    let code = |code: &str| canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code));
                    if code("ConditionalCheckFailed") {
                        return Ok(Created::Exists);
                    }
                    if code("TransactionConflict") {
                        return Ok(Created::Contended);
                    }
                }
                TransactWriteItemsError::TransactionInProgressException(_) => return Ok(Created::Contended),
                _ => {}
            }
        }
        Err(unavailable("create a conversation", &error))
    }
}
