//! Creation of a conversation, and changes of groups: one transaction over four tables.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use chatlane_chat::ports::{Change, Created, Creation, Creations, Failure, Joining, Put, RowChange};

use super::table::Table;
use super::{Backend, Conversations, Inboxes, Log, Part, Users};
use crate::failure::unavailable;
use crate::items::{day, entry, head, inbox, left, member, meta, was};

/// A transaction in the making: what it writes, in its order.
struct Transaction {
    attempted: &'static str,
    items: Vec<TransactWriteItem>,
}

/// Why a transaction was not done.
enum Canceled {
    /// By these reasons, one for each item.
    For(Vec<CancellationReason>),
    /// Another one was in the way.
    Contended,
}

impl Transaction {
    const fn new(attempted: &'static str) -> Self {
        Self { attempted, items: vec![] }
    }

    fn not_made(&self) -> Failure {
        Failure::unavailable(self.attempted, "the request could not be made")
    }

    fn put(&mut self, table: &Table, put: PutBuilder) -> Result<(), Failure> {
        let put = put.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().put(put).build());
        Ok(())
    }

    fn update(&mut self, table: &Table, update: UpdateBuilder) -> Result<(), Failure> {
        let update = update.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().update(update).build());
        Ok(())
    }

    fn delete(&mut self, table: &Table, delete: DeleteBuilder) -> Result<(), Failure> {
        let delete = delete.table_name(&table.name).build().map_err(|_| self.not_made())?;
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        Ok(())
    }

    /// The SDK gives it a token of its own, by which a second attempt of the same request is known to `DynamoDB`.
    async fn send(self, table: &Table) -> Result<Result<(), Canceled>, Failure> {
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

fn has(reasons: &[CancellationReason], code: &str) -> bool {
    reasons.iter().any(|reason| reason.code() == Some(code))
}

impl<Q: Part, G: Part> Backend<Log, Conversations, Inboxes, Users, Q, G> {
    fn join(&self, transaction: &mut Transaction, Joining { member, row }: &Joining) -> Result<(), Failure> {
        transaction.put(&self.conversations.0, member::create(&row.conversation, member))?;
        transaction.put(&self.inboxes.0, inbox::create(&member.user, row))
    }
}

impl<Q: Part, G: Part> Creations for Backend<Log, Conversations, Inboxes, Users, Q, G> {
    async fn create(&self, creation: &Creation) -> Result<Created, Failure> {
        let Creation { entry: first, members, description, a_day_max } = creation;
        let conversation = &first.conversation;
        let mut transaction = Transaction::new("create a conversation");
        // L1: slot 1 is made by creation only, and once.
        transaction.put(&self.conversations.0, meta::create(conversation, first.time, description))?;
        transaction.put(&self.log.0, entry::create(first))?;
        transaction.put(&self.conversations.0, head::create(conversation))?;
        for joining in members {
            self.join(&mut transaction, joining)?;
        }
        // Last: only where nothing else is in the way it is the day that is full.
        transaction.update(&self.users.0, day::count(&first.sender, first.time, *a_day_max))?;
        Ok(match transaction.send(&self.log.0).await? {
            Ok(()) => Created::New,
            Err(Canceled::Contended) => Created::Contended,
            Err(Canceled::For(reasons)) => {
                let (day, others) = reasons.split_last().map_or((None, &[][..]), |(day, others)| (Some(day), others));
                let conflict = has(&reasons, "TransactionConflict");
                let is_full = day.is_some_and(|day| day.code() == Some("ConditionalCheckFailed"));
                if has(others, "ConditionalCheckFailed") {
                    Created::Exists
                } else if is_full && !conflict {
                    Created::TooMany
                } else {
                    Created::Contended
                }
            }
        })
    }

    async fn change(&self, change: &Change) -> Result<Put, Failure> {
        let Change { entry, rows, description } = change;
        let conversation = &entry.conversation;
        let mut transaction = Transaction::new("change a group");
        transaction.put(&self.log.0, entry::create(entry))?;
        for row in rows {
            match row {
                RowChange::Join(joining) => self.join(&mut transaction, joining)?,
                RowChange::Role { member, was } => {
                    transaction.update(&self.conversations.0, member::set_role(conversation, member, *was))?;
                    transaction.update(&self.inboxes.0, inbox::set_role(conversation, member))?;
                }
                RowChange::Leave { member, spans } => {
                    transaction.delete(&self.conversations.0, member::remove(conversation, member))?;
                    transaction.put(&self.conversations.0, left::create(conversation, &member.user, spans))?;
                    transaction.delete(&self.inboxes.0, inbox::remove(&member.user, conversation))?;
                    transaction.put(&self.users.0, was::create(&member.user, conversation, entry.time))?;
                }
            }
        }
        if let Some(description) = description {
            transaction.update(&self.conversations.0, meta::describe(conversation, description))?;
        }
        match transaction.send(&self.log.0).await? {
            Ok(()) => Ok(Put::Stored),
            Err(Canceled::Contended) => Ok(Put::Contended),
            Err(Canceled::For(reasons)) => match reasons.first().and_then(|slot| slot.item()) {
                Some(occupant) => Ok(Put::Taken(Box::new(entry::read(occupant)?))),
                None => Ok(Put::Contended),
            },
        }
    }
}
