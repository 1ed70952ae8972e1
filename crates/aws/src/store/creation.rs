//! Creation of a conversation: one transaction over three tables.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chatlane_chat::log::Kind;
use chatlane_chat::ports::{Created, Creation, Creations, Failure, InboxRow};

use super::{Backend, Conversations, Inboxes, Log, Part, Users};
use crate::failure::unavailable;
use crate::items::{day, entry, head, inbox, member, meta};

impl<Q: Part, G: Part> Creations for Backend<Log, Conversations, Inboxes, Users, Q, G> {
    async fn create(&self, creation: &Creation) -> Result<Created, Failure> {
        let Creation { entry: first, members, a_day_max } = creation;
        let not_made = |_| Failure::unavailable("create a conversation", "the request could not be made");
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
            let put = put.table_name(&table.name).build().map_err(not_made)?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        // Last: only where nothing else is in the way it is the day that is full.
        let count = day::count(&first.sender, first.time, *a_day_max).table_name(&self.users.0.name).build().map_err(not_made)?;
        request = request.transact_items(TransactWriteItem::builder().update(count).build());
        let Err(error) = request.send().await else { return Ok(Created::New) };
        if let SdkError::ServiceError(service) = &error {
            match service.err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    let reasons = canceled.cancellation_reasons();
                    let item_with = |code: &str| reasons.iter().position(|reason| reason.code() == Some(code));
                    match (item_with("ConditionalCheckFailed"), item_with("TransactionConflict")) {
                        (Some(item), None) if item + 1 == reasons.len() => return Ok(Created::TooMany),
                        (Some(item), _) if item + 1 < reasons.len() => return Ok(Created::Exists),
                        (_, Some(_)) => return Ok(Created::Contended),
                        _ => {}
                    }
                }
                TransactWriteItemsError::TransactionInProgressException(_) => return Ok(Created::Contended),
                _ => {}
            }
        }
        Err(unavailable("create a conversation", &error))
    }
}
