//! What is done to messages: one transaction over two tables.

use chatlane_chat::log::reactions::{Reacted, Reactions};
use chatlane_chat::log::{Entry, Kind};
use chatlane_chat::ports::{Amendment, Amendments, Amends, Failure, Put};
use chatlane_protocol::{ConversationId, Seq, UserId};

use super::table::each;
use super::transaction::Transaction;
use super::{Backend, Conversations, Log, Part};
use crate::items::{entry, reaction, reactions};

impl<I: Part, U: Part, Q: Part, G: Part> Amendments for Backend<Log, Conversations, I, U, Q, G> {
    async fn entry_consistent(&self, conversation: &ConversationId, seq: Seq) -> Result<Option<Entry>, Failure> {
        let items = self.log.0.get_in_transaction(vec![entry::key(conversation, seq)], "read an entry in a transaction").await?;
        items.into_iter().next().flatten().as_ref().map(entry::read).transpose()
    }

    async fn reacted(&self, conversation: &ConversationId, user: &UserId, target: Seq) -> Result<Reacted, Failure> {
        let keys = vec![reactions::key(conversation, target), reaction::key(conversation, target, user)];
        let mut items = self.conversations.0.get_in_transaction(keys, "read reactions in a transaction").await?.into_iter();
        let (all, own) = (items.next().flatten(), items.next().flatten());
        Ok(Reacted {
            all: all.as_ref().map(reactions::read).transpose()?.map(|(_, all)| all),
            own: own.as_ref().map(reaction::read).transpose()?.unwrap_or_default(),
        })
    }

    async fn reactions(&self, conversation: &ConversationId, first: Seq, last: Seq) -> Result<Vec<(Seq, Reactions)>, Failure> {
        let mut all = vec![];
        each(reactions::query(self.conversations.0.query(), conversation, first, last), None, "read reactions", |item| {
            // One that cannot be read is left out: the message is told without its reactions.
            all.extend(reactions::read(item).inspect_err(|failure| failure.log("reactions are left out")).ok());
            Ok(None)
        })
        .await?;
        Ok(all)
    }

    async fn amend(&self, Amendment { entry, amends }: &Amendment) -> Result<Put, Failure> {
        let conversation = &entry.conversation;
        let mut transaction = Transaction::new("change a message");
        transaction.put(&self.log.0, entry::create(entry))?; // first: `append` looks there for an occupant
        match amends {
            Amends::Edit { was, becomes } => transaction.update(&self.log.0, entry::becomes(was, &Kind::Message(becomes.clone())))?,
            Amends::Deletion { was, edits } => {
                let target = was.position.seq;
                transaction.update(&self.log.0, entry::becomes(was, &Kind::Deleted))?;
                for edit in edits {
                    transaction.update(&self.log.0, entry::without_words(conversation, *edit, target))?;
                }
                transaction.update(&self.conversations.0, reactions::close(conversation, target, entry.position.seq))?;
            }
            Amends::Reaction { target, was, all, own } => {
                let target = *target;
                transaction.update(&self.conversations.0, reactions::becomes(conversation, target, was.all.as_ref(), all))?;
                transaction.update(&self.conversations.0, reaction::becomes(conversation, target, &entry.sender, own))?;
            }
        }
        transaction.append(&self.log.0).await
    }
}
