//! The log: one item for each entry, written once (L1).

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put as TransactPut, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use chatlane_chat::log::entry::{Entry, Kind};
use chatlane_chat::ports::{Created, Creation, Head, MessageLog, Put, ReadBound, Unavailable};
use chatlane_protocol::{ConversationId, Seq, UserId};

use super::Store;
use crate::failure::unavailable;
use crate::table::{self, n, s};

/// The entries that a query finds, in its order, page by page; never asks for more entries than are wanted.
async fn read_pages(query: QueryFluentBuilder, bound: ReadBound, attempted: &'static str) -> Result<Vec<Entry>, Unavailable> {
    let mut entries: Vec<Entry> = vec![];
    let (mut bytes, mut start) = (0, None);
    loop {
        let left = i32::try_from(bound.entries_max - entries.len()).unwrap_or(i32::MAX);
        let page = query.clone().limit(left).set_exclusive_start_key(start).send().await;
        let page = page.map_err(|error| unavailable(attempted, &error))?;
        for item in page.items() {
            let entry = table::read_entry(item)?;
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

impl Store {
    /// A strong query of one conversation's entries.
    fn query_log(&self, conversation: &ConversationId) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.tables.log).consistent_read(true);
        query.expression_attribute_values(":c", s(conversation.as_str()))
    }
}

impl MessageLog for Store {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let query = self.query_log(conversation).key_condition_expression("c = :c AND s >= :s").expression_attribute_values(":s", n(from));
        read_pages(query, bound, "read the log").await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let query = self.query_log(conversation).scan_index_forward(false);
        let query = match before {
            Some(before) => query.key_condition_expression("c = :c AND s < :s").expression_attribute_values(":s", n(before)),
            None => query.key_condition_expression("c = :c"),
        };
        read_pages(query, bound, "read the log from its end").await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let keys = slots.iter().map(|(conversation, seq)| table::entry_key(conversation, *seq)).collect();
        let mut entries = HashMap::new();
        for item in self.get_all(&self.tables.log, keys, "read entries").await? {
            let entry = table::read_entry(&item)?;
            entries.insert((entry.conversation.clone(), entry.position.seq), entry);
        }
        Ok(slots.iter().map(|slot| entries.remove(slot)).collect())
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let put = self
            .client
            .put_item()
            .table_name(&self.tables.log)
            .set_item(Some(table::entry_item(entry)))
            .condition_expression("attribute_not_exists(c)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = put else { return Ok(Put::Stored) };
        let service = match &error {
            SdkError::ServiceError(service) => service.err(),
            _ => return Err(unavailable("put an entry", &error)),
        };
        if let PutItemError::ConditionalCheckFailedException(refused) = service {
            let occupant = refused.item().ok_or_else(|| Unavailable::new("put an entry", "refused without the occupant"))?;
            return Ok(Put::Taken(Box::new(table::read_entry(occupant)?)));
        }
        if service.code() == Some("TransactionConflictException") {
            return Ok(Put::Contended);
        }
        Err(unavailable("put an entry", &error))
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let entry = &creation.entry;
        let conversation = &entry.conversation;
        let mut puts = vec![
            (&self.tables.conversations, table::meta_item(entry), true),
            (&self.tables.log, table::entry_item(entry), true),
            (&self.tables.conversations, table::head_item(conversation, Head::default()), false),
        ];
        for member in &creation.members {
            let with = other_of_two(entry, &member.user);
            puts.push((&self.tables.conversations, table::member_item(conversation, member), false));
            puts.push((&self.tables.inboxes, table::inbox_item(conversation, with, member), false));
        }
        let mut request = self.client.transact_write_items();
        for (table, item, new) in puts {
            // L1: slot 1 is made by creation only, and once.
            let condition = new.then(|| "attribute_not_exists(c)".to_owned());
            let put = TransactPut::builder().table_name(table).set_item(Some(item)).set_condition_expression(condition).build();
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
