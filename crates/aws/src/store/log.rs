//! The log: one item for each entry, stored once (L1).

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use chatlane_chat::log::Entry;
use chatlane_chat::ports::{Failure, MessageLog, Put, ReadBound};
use chatlane_protocol::limits::ENTRY_BYTES_MAX;
use chatlane_protocol::{ConversationId, Seq};

use super::table::each;
use super::{Backend, Log, Part};
use crate::failure::unavailable;
use crate::items::entry;

/// Entries of the first page where bytes count: nobody knows yet how large they are, and a page is paid by what it reads. Fewer where only
/// a few bytes are wanted.
fn first_page(bytes_max: usize) -> usize {
    (1 + bytes_max / 2048).min(8)
}

/// A page asks for no more entries than would be so many times the bound if each were as large as entries can be: behind short ones, long
/// ones may follow.
const TIMES_THE_BOUND: usize = 24;

/// The entries that a query finds, in its order, up to the bound. Where bytes count, each page asks for as many as the bound still takes if
/// they are as large as those before.
async fn read_pages(query: QueryFluentBuilder, bound: ReadBound, attempted: &'static str) -> Result<Vec<Entry>, Failure> {
    let entries_max = bound.entries_max.saturating_add(bound.had);
    let first = if bound.bytes_max == usize::MAX { entries_max } else { entries_max.min(first_page(bound.bytes_max) + bound.had) };
    let (mut entries, mut bytes) = (Vec::<Entry>::new(), 0);
    each(query, Some(first), attempted, |item| {
        let entry = entry::read(item)?;
        if entries.len() >= bound.had {
            bytes += entry.stored_bytes();
        }
        entries.push(entry);
        let counted = entries.len().saturating_sub(bound.had).max(1);
        let as_before = bound.bytes_max.saturating_sub(bytes) / (bytes / counted).max(1);
        let as_before = as_before.min(bound.bytes_max.saturating_mul(TIMES_THE_BOUND) / ENTRY_BYTES_MAX).max(1);
        let is_full = bytes > bound.bytes_max;
        Ok(Some(if is_full { 0 } else { as_before.min(entries_max - entries.len()) }))
    })
    .await?;
    Ok(entries)
}

impl<C: Part, I: Part, U: Part, Q: Part, G: Part> MessageLog for Backend<Log, C, I, U, Q, G> {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Failure> {
        let query = entry::query_from(self.log.0.query(), conversation, from);
        read_pages(query, bound, "read the log").await
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Failure> {
        let query = entry::query_back(self.log.0.query(), conversation, before);
        read_pages(query, bound, "read the log from its end").await
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Failure> {
        let keys = slots.iter().map(|(conversation, seq)| entry::key(conversation, *seq)).collect();
        let mut entries = HashMap::new();
        for item in self.log.0.get_all(keys, "read entries").await? {
            let entry = entry::read(&item)?;
            entries.insert((entry.conversation.clone(), entry.position.seq), entry);
        }
        Ok(slots.iter().map(|slot| entries.remove(slot)).collect())
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Failure> {
        let put = entry::put(self.log.0.put_item(), entry).send().await;
        let Err(error) = put else { return Ok(Put::Stored) };
        let service = match &error {
            SdkError::ServiceError(service) => service.err(),
            _ => return Err(unavailable("put an entry", &error)),
        };
        if let PutItemError::ConditionalCheckFailedException(refused) = service {
            let occupant = refused.item().ok_or_else(|| Failure::unavailable("put an entry", "refused without the occupant"))?;
            return Ok(Put::Taken(Box::new(entry::read(occupant)?)));
        }
        if service.code() == Some("TransactionConflictException") {
            return Ok(Put::Contended);
        }
        Err(unavailable("put an entry", &error))
    }
}
