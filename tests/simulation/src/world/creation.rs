//! A transaction that is seen item by item: `TransactWriteItems` is atomic for those who write and for transactional reads, and plain
//! reads may see some of its items before others (`DynamoDB` developer guide, "Isolation levels and conflict resolution").

use chatlane_chat::log::{Entry, Head};
use chatlane_chat::ports::{Created, Creation, Creations as _, Failure, InboxRow, Member};
use chatlane_chat::testing::ready::block_on;
use chatlane_protocol::{ConversationId, Seq, UserId};

use super::{Event, World};
use crate::fault::Fault;

/// One item that is to be seen yet.
#[derive(Debug)]
pub(crate) enum Unseen {
    First(Box<Entry>),
    Head(Head),
    Member(Member),
    Inbox(UserId, InboxRow),
}

impl World {
    /// The transaction that creates a conversation.
    pub(crate) fn create(&mut self, creation: &Creation) -> Result<Created, Failure> {
        let conversation = &creation.entry.conversation;
        if self.half.contains_key(conversation) {
            return Ok(Created::Contended);
        }
        let created = block_on(self.memory.create(creation))?;
        self.keep(&creation.entry);
        if created == Created::New
            && let Some(mut dice) = self.faults.strike(Fault::ItemByItem)
        {
            let mut unseen = self.hide(creation);
            dice.shuffle(&mut unseen);
            self.half.insert(conversation.clone(), unseen);
            self.reveal(conversation);
        }
        Ok(created)
    }

    fn hide(&mut self, creation: &Creation) -> Vec<Unseen> {
        let conversation = &creation.entry.conversation;
        let mut state = self.memory.state();
        let mut unseen = vec![];
        unseen
            .extend(state.log.remove(conversation).and_then(|mut log| log.remove(&Seq::FIRST)).map(|entry| Unseen::First(Box::new(entry))));
        unseen.extend(state.heads.remove(conversation).map(Unseen::Head));
        for Member { user, .. } in &creation.members {
            unseen.extend(state.members.remove(&(conversation.clone(), user.clone())).map(Unseen::Member));
            let row = state.inboxes.get_mut(user).and_then(|rows| rows.remove(conversation));
            unseen.extend(row.map(|row| Unseen::Inbox(user.clone(), row)));
        }
        unseen
    }

    /// The next item can be seen.
    pub(crate) fn reveal(&mut self, conversation: &ConversationId) {
        let Some(unseen) = self.half.get_mut(conversation) else { return };
        let item = unseen.pop();
        if unseen.is_empty() {
            self.half.remove(conversation);
        } else {
            let in_ms = self.dice.between(1, 60);
            self.at(in_ms, Event::Reveal { conversation: conversation.clone() });
        }
        let mut state = self.memory.state();
        match item {
            Some(Unseen::First(entry)) => {
                state.log.entry(conversation.clone()).or_default().insert(Seq::FIRST, *entry);
            }
            Some(Unseen::Head(head)) => {
                state.heads.insert(conversation.clone(), head);
            }
            Some(Unseen::Member(member)) => {
                state.members.insert((conversation.clone(), member.user.clone()), member);
            }
            Some(Unseen::Inbox(user, row)) => {
                state.inboxes.entry(user).or_default().insert(conversation.clone(), row);
            }
            None => {}
        }
    }
}
