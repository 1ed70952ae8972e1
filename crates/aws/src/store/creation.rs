//! Creation of a conversation, and changes of groups: one transaction over four tables.

use chatlane_chat::ports::{Change, Created, Creation, Creations, Failure, Joining, Put, RowChange};
use chatlane_protocol::{UnixMillis, UserId};

use super::table::{count, refused};
use super::transaction::{Canceled, Transaction, has};
use super::{Backend, Conversations, Inboxes, Log, Part, Users};
use crate::failure::unavailable;
use crate::items::{day, entry, head, inbox, left, member, meta, was};

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
        transaction.put(&self.log.0, entry::create(entry))?; // first: `append` looks there for an occupant
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
        transaction.append(&self.log.0).await
    }

    async fn groups_of(&self, user: &UserId) -> Result<usize, Failure> {
        count(inbox::query_groups(self.inboxes.0.query(), user), "count a user's groups").await
    }

    async fn count_added(&self, by: &UserId, at: UnixMillis, users: u64, a_day_max: u64) -> Result<bool, Failure> {
        match day::count_added(self.users.0.update_item(), by, at, users, a_day_max).send().await {
            Ok(_) => Ok(true),
            Err(error) if refused(&error).is_some() => Ok(false),
            Err(error) => Err(unavailable("count who is added", &error)),
        }
    }
}
