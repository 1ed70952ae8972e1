//! The log: one item for each entry, written once (L1).

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chatlane_chat::log::entry::{Entry, Kind};
use chatlane_chat::ports::{Created, Creation, InboxRow, MessageLog, Put, ReadBound, Unavailable};
use chatlane_protocol::{ConversationId, Seq, UserId};

use super::Store;
use crate::failure::unavailable;
use crate::items::{entry, head, inbox, member, meta};

/// The entries that a query finds, in its order, page by page; never asks for more entries than are wanted.
async fn read_pages(query: QueryFluentBuilder, bound: ReadBound, attempted: &'static str) -> Result<Vec<Entry>, Unavailable> {
    let mut entries: Vec<Entry> = vec![];
    let (mut bytes, mut start) = (0, None);
    loop {
        let left = i32::try_from(bound.entries_max - entries.len()).unwrap_or(i32::MAX);
        let page = query.clone().limit(left).set_exclusive_start_key(start).send().await;
        let page = page.map_err(|error| unavailable(attempted, &error))?;
        for item in page.items() {
            let entry = entry::read(item)?;
            bytes += entry.stored_bytes();
            entries.push(entry);
            if bytes > bound.bytes_max || entries.len() >= bound.entries_max {
                return Ok(entries);
            }
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(entries);
        }
    }
}

impl MessageLog for Store {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let query = entry::query_from(self.log.query(), conversation, from);
        read_pages(query, bound, "read the log").await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let query = entry::query_back(self.log.query(), conversation, before);
        read_pages(query, bound, "read the log from its end").await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let keys = slots.iter().map(|(conversation, seq)| entry::key(conversation, *seq)).collect();
        let mut entries = HashMap::new();
        for item in self.log.get_all(keys, "read entries").await? {
            let entry = entry::read(&item)?;
            entries.insert((entry.conversation.clone(), entry.position.seq), entry);
        }
        Ok(slots.iter().map(|slot| entries.remove(slot)).collect())
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let put = entry::put(self.log.put_item(), entry).send().await;
        let Err(error) = put else { return Ok(Put::Stored) };
        let service = match &error {
            SdkError::ServiceError(service) => service.err(),
            _ => return Err(unavailable("put an entry", &error)),
        };
        if let PutItemError::ConditionalCheckFailedException(refused) = service {
            let occupant = refused.item().ok_or_else(|| Unavailable::new("put an entry", "refused without the occupant"))?;
            return Ok(Put::Taken(Box::new(entry::read(occupant)?)));
        }
        if service.code() == Some("TransactionConflictException") {
            return Ok(Put::Contended);
        }
        Err(unavailable("put an entry", &error))
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let Creation { entry: first, members } = creation;
        let conversation = &first.conversation;
        // L1: slot 1 is made by creation only, and once.
        let mut puts = vec![
            (&self.conversations, meta::create(conversation, first.time)),
            (&self.log, entry::create(first)),
            (&self.conversations, head::create(conversation)),
        ];
        for member in members {
            let row = InboxRow::new(conversation.clone(), other_of_two(first, &member.user).cloned(), member.visible_from);
            puts.push((&self.conversations, member::create(conversation, member)));
            puts.push((&self.inboxes, inbox::create(&member.user, &row)));
        }
        let mut request = self.client.transact_write_items();
        for (table, put) in puts {
            let put = put.table_name(&table.name).build();
            let put = put.map_err(|_| Unavailable::new("create a conversation", "the request could not be made"))?;
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

/// The other user of a direct conversation's entry 1.
fn other_of_two<'a>(entry: &'a Entry, user: &UserId) -> Option<&'a UserId> {
    match &entry.kind {
        Kind::Created { members } => members.iter().find(|member| *member != user),
        Kind::Message { .. } | Kind::Later => None,
    }
}
