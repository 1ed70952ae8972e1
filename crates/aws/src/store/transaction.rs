//! Transactions that write: over several items and tables, all or nothing.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use chatlane_chat::ports::{Failure, Put};

use super::table::Table;
use crate::failure::unavailable;
use crate::items::entry;

/// A transaction in the making: what it writes, in its order.
pub struct Transaction {
    attempted: &'static str,
    items: Vec<TransactWriteItem>,
}

/// Why a transaction was not done.
pub enum Canceled {
    /// By these reasons, one for each item.
    For(Vec<CancellationReason>),
    /// Another one was in the way.
    Contended,
}

impl Transaction {
    pub const fn new(attempted: &'static str) -> Self {
        Self { attempted, items: vec![] }
    }

    fn not_made(&self) -> Failure {
        Failure::unavailable(self.attempted, "the request could not be made")
    }

    pub fn put(&mut self, table: &Table, put: PutBuilder) -> Result<(), Failure> {
        let put = put.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().put(put).build());
        Ok(())
    }

    pub fn update(&mut self, table: &Table, update: UpdateBuilder) -> Result<(), Failure> {
        let update = update.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().update(update).build());
        Ok(())
    }

    pub fn delete(&mut self, table: &Table, delete: DeleteBuilder) -> Result<(), Failure> {
        let delete = delete.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        Ok(())
    }

    /// Sends it; its first item is the put of an entry, under the condition that the slot is free.
    pub async fn append(self, table: &Table) -> Result<Put, Failure> {
        match self.send(table).await? {
            Ok(()) => Ok(Put::Stored),
            Err(Canceled::Contended) => Ok(Put::Contended),
            Err(Canceled::For(reasons)) => match reasons.first().and_then(|slot| slot.item()) {
                Some(occupant) => Ok(Put::Taken(Box::new(entry::read(occupant)?))),
                None => Ok(Put::Contended),
            },
        }
    }

    /// The SDK gives it a token of its own, by which a second attempt of the same request is known to `DynamoDB`.
    pub async fn send(self, table: &Table) -> Result<Result<(), Canceled>, Failure> {
        let request = table.client().transact_write_items().set_transact_items(Some(self.items));
        let Err(error) = request.send().await else { return Ok(Ok(())) };
        if let SdkError::ServiceError(service) = &error {
            match service.err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    let reasons = canceled.cancellation_reasons();
                    if has(reasons, "ConditionalCheckFailed") || has(reasons, "TransactionConflict") {
                        return Ok(Err(Canceled::For(reasons.to_vec())));
                    }
                }
                TransactWriteItemsError::TransactionInProgressException(_) => return Ok(Err(Canceled::Contended)),
                _ => {}
            }
        }
        Err(unavailable(self.attempted, &error))
    }
}

pub fn has(reasons: &[CancellationReason], code: &str) -> bool {
    reasons.iter().any(|reason| reason.code() == Some(code))
}
