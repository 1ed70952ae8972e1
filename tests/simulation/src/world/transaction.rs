//! A transaction that is seen item by item: `TransactWriteItems` is atomic for those who write and for transactional reads, and plain
//! reads may see some of its items before others (`DynamoDB` developer guide, "Isolation levels and conflict resolution"). As long as it is
//! not over, who writes one of its items meets a conflict.

use std::collections::BTreeSet;

use chatlane_chat::log::reactions::Reactions;
use chatlane_chat::log::{Entry, Head};
use chatlane_chat::ports::{
    Amendment, Amendments as _, Amends, Change, Created, Creation, Creations as _, Description, Failure, InboxRow, Joining, Member, Put,
    RowChange, Span,
};
use chatlane_chat::testing::memory::State;
use chatlane_chat::testing::ready::block_on;
use chatlane_protocol::{ConversationId, Position, ReactionKey, Seq, UserId};

use super::{Event, World};
use crate::fault::Fault;

/// A place in the tables, of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Entry(Seq),
    Head,
    Description,
    Member(UserId),
    Inbox(UserId),
    Left(UserId),
    /// Beside the message in this slot: all, and a user's own.
    Reactions(Seq),
    Own(Seq, UserId),
}

/// What is, or is to be, in a place.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Entry(Option<Box<Entry>>),
    Head(Option<Head>),
    Description(Option<Description>),
    Member(Option<Member>),
    Inbox(Option<InboxRow>),
    Left(Option<Vec<Span>>),
    Reactions(Option<Reactions>),
    Own(Option<BTreeSet<ReactionKey>>),
}

/// A transaction of which some items are to be seen yet.
#[derive(Debug)]
pub(crate) struct Half {
    conversation: ConversationId,
    places: Vec<Place>,
    unseen: Vec<(Place, Item)>,
}

/// What a change of a group, or of a message, has written over.
#[derive(Debug)]
pub(crate) struct Undo {
    conversation: ConversationId,
    /// Of the entry of the change.
    position: Position,
    before: Vec<(Place, Item)>,
}

impl Undo {
    /// Whether a restore has taken the change back; then the rows are as they were.
    pub(crate) fn undo(&self, state: &mut State) -> bool {
        let is_lost = !super::watch::is_there(state, &self.conversation, self.position);
        if is_lost {
            // An entry that the change has changed, and that is not lost itself.
            let is_left = |place: &Place, item: &Item| match (place, item) {
                (Place::Entry(_), Item::Entry(Some(was))) => super::watch::is_there(state, &self.conversation, was.position),
                (place, _) => !matches!(place, Place::Entry(_)),
            };
            let before: Vec<&(Place, Item)> = self.before.iter().filter(|(place, item)| is_left(place, item)).collect();
            for (place, item) in before {
                let now = get(state, &self.conversation, place);
                let mut item = item.clone();
                if let (Item::Inbox(Some(row)), Item::Inbox(Some(now))) = (&mut item, now) {
                    // Cursors are moved by others, and stay.
                    (row.read, row.delivered) = (now.read, now.delivered);
                }
                set(state, &self.conversation, place, item);
            }
        }
        is_lost
    }
}

fn get(state: &State, conversation: &ConversationId, place: &Place) -> Item {
    let key = |user: &UserId| (conversation.clone(), user.clone());
    match place {
        Place::Entry(seq) => Item::Entry(state.log.get(conversation).and_then(|log| log.get(seq)).cloned().map(Box::new)),
        Place::Head => Item::Head(state.heads.get(conversation).copied()),
        Place::Description => Item::Description(state.descriptions.get(conversation).cloned()),
        Place::Member(user) => Item::Member(state.members.get(&key(user)).cloned()),
        Place::Inbox(user) => Item::Inbox(state.inboxes.get(user).and_then(|rows| rows.get(conversation)).cloned()),
        Place::Left(user) => Item::Left(state.left.get(&key(user)).cloned()),
        Place::Reactions(target) => Item::Reactions(state.reactions.get(&(conversation.clone(), *target)).cloned()),
        Place::Own(target, user) => Item::Own(state.own_reactions.get(&(conversation.clone(), *target, user.clone())).cloned()),
    }
}

fn set(state: &mut State, conversation: &ConversationId, place: &Place, item: Item) {
    let key = |user: &UserId| (conversation.clone(), user.clone());
    match (place, item) {
        (Place::Entry(seq), Item::Entry(Some(entry))) => {
            state.log.entry(conversation.clone()).or_default().insert(*seq, *entry);
        }
        (Place::Entry(seq), _) => {
            if let Some(log) = state.log.get_mut(conversation) {
                log.remove(seq);
            }
            state.log.retain(|_, log| !log.is_empty());
        }
        (Place::Head, Item::Head(Some(head))) => drop(state.heads.insert(conversation.clone(), head)),
        (Place::Head, _) => drop(state.heads.remove(conversation)),
        (Place::Description, Item::Description(Some(description))) => drop(state.descriptions.insert(conversation.clone(), description)),
        (Place::Description, _) => drop(state.descriptions.remove(conversation)),
        (Place::Member(user), Item::Member(Some(member))) => drop(state.members.insert(key(user), member)),
        (Place::Member(user), _) => drop(state.members.remove(&key(user))),
        (Place::Inbox(user), Item::Inbox(Some(row))) => {
            state.inboxes.entry(user.clone()).or_default().insert(conversation.clone(), row);
        }
        (Place::Inbox(user), _) => drop(state.inboxes.get_mut(user).and_then(|rows| rows.remove(conversation))),
        (Place::Left(user), Item::Left(Some(spans))) => drop(state.left.insert(key(user), spans)),
        (Place::Left(user), _) => drop(state.left.remove(&key(user))),
        (Place::Reactions(target), Item::Reactions(Some(all))) => drop(state.reactions.insert((conversation.clone(), *target), all)),
        (Place::Reactions(target), _) => drop(state.reactions.remove(&(conversation.clone(), *target))),
        (Place::Own(target, user), Item::Own(Some(own))) => {
            state.own_reactions.insert((conversation.clone(), *target, user.clone()), own);
        }
        (Place::Own(target, user), _) => drop(state.own_reactions.remove(&(conversation.clone(), *target, user.clone()))),
    }
}

fn rows_of(user: &UserId) -> [Place; 2] {
    [Place::Member(user.clone()), Place::Inbox(user.clone())]
}

impl World {
    /// The transaction that creates a conversation.
    pub(crate) fn create(&mut self, creation: &Creation) -> Result<Created, Failure> {
        let conversation = &creation.entry.conversation;
        if self.is_in_hand(conversation) {
            return Ok(Created::Contended);
        }
        let rows = creation.members.iter().flat_map(|joining| rows_of(&joining.member.user));
        let places: Vec<Place> = [Place::Entry(Seq::FIRST), Place::Head, Place::Description].into_iter().chain(rows).collect();
        let before = self.items(conversation, &places);
        let created = block_on(self.memory.create(creation))?;
        self.keep(&creation.entry);
        if created == Created::New {
            self.show_by_and_by(conversation, before);
        }
        Ok(created)
    }

    /// The transaction that changes a group.
    pub(crate) fn change(&mut self, change: &Change) -> Result<Put, Failure> {
        let Change { entry, rows, description } = change;
        let conversation = &entry.conversation;
        let rows = rows.iter().flat_map(|row| match row {
            RowChange::Join(Joining { member, .. }) | RowChange::Role { member, .. } => rows_of(&member.user).to_vec(),
            RowChange::Leave { member, .. } => [&rows_of(&member.user)[..], &[Place::Left(member.user.clone())]].concat(),
        });
        let places: Vec<Place> =
            [Place::Entry(entry.position.seq)].into_iter().chain(description.iter().map(|_| Place::Description)).chain(rows).collect();
        if places.iter().any(|place| self.conflicts(conversation, place)) {
            return Ok(Put::Contended);
        }
        let before = self.items(conversation, &places);
        let put = block_on(self.memory.change(change))?;
        if put == Put::Stored {
            self.undo.push(Undo { conversation: conversation.clone(), position: entry.position, before: before.clone() });
            self.keep(entry);
            self.show_by_and_by(conversation, before);
        }
        Ok(put)
    }

    /// The transaction that changes a message.
    pub(crate) fn amend(&mut self, amendment: &Amendment) -> Result<Put, Failure> {
        let Amendment { entry, amends } = amendment;
        let conversation = &entry.conversation;
        let mut places = vec![Place::Entry(entry.position.seq)];
        match amends {
            Amends::Edit { was, .. } => places.push(Place::Entry(was.position.seq)),
            Amends::Deletion { was, edits } => {
                places.extend([was.position.seq].iter().chain(edits).map(|seq| Place::Entry(*seq)));
                places.push(Place::Reactions(was.position.seq));
            }
            Amends::Reaction { target, .. } => places.extend([Place::Reactions(*target), Place::Own(*target, entry.sender.clone())]),
        }
        if places.iter().any(|place| self.conflicts(conversation, place)) {
            return Ok(Put::Contended);
        }
        let before = self.items(conversation, &places);
        let put = block_on(self.memory.amend(amendment))?;
        if put == Put::Stored {
            self.undo.push(Undo { conversation: conversation.clone(), position: entry.position, before: before.clone() });
            self.keep(entry);
            self.show_by_and_by(conversation, before);
        }
        Ok(put)
    }

    fn items(&self, conversation: &ConversationId, places: &[Place]) -> Vec<(Place, Item)> {
        let state = self.memory.state();
        places.iter().map(|place| (place.clone(), get(&state, conversation, place))).collect()
    }

    /// Perhaps plain reads still see what was in the tables before.
    fn show_by_and_by(&mut self, conversation: &ConversationId, before: Vec<(Place, Item)>) {
        let Some(mut dice) = self.faults.strike(Fault::ItemByItem) else { return };
        let places: Vec<Place> = before.iter().map(|(place, _)| place.clone()).collect();
        let mut unseen = self.items(conversation, &places);
        {
            let state = &mut self.memory.state();
            for (place, item) in before {
                set(state, conversation, &place, item);
            }
        }
        dice.shuffle(&mut unseen);
        let number = self.number();
        self.half.insert(number, Half { conversation: conversation.clone(), places, unseen });
        self.reveal(number);
    }

    /// The next item can be seen.
    pub(crate) fn reveal(&mut self, number: u64) {
        let Some(half) = self.half.get_mut(&number) else { return };
        let mut is_entry = false;
        if let Some((place, item)) = half.unseen.pop() {
            is_entry = matches!(place, Place::Entry(_));
            set(&mut self.memory.state(), &half.conversation, &place, item);
        }
        if half.unseen.is_empty() {
            self.half.remove(&number);
            return;
        }
        let conversation = half.conversation.clone();
        let in_ms = if self.dice.one_in(4) { self.dice.between(60, 1_000) } else { self.dice.between(1, 60) };
        self.at(in_ms, Event::Reveal { transaction: number });
        if is_entry {
            // Others write behind an entry whose rows cannot be seen yet.
            for _ in 0..3 {
                let (device, in_ms) = (self.dice.below(self.phones.len()), self.dice.between(1, 60));
                self.at(in_ms, Event::Says { device, conversation: conversation.clone() });
            }
        }
    }

    /// All transactions of this conversation (`None`: of all) are over.
    pub(crate) fn reveal_all(&mut self, conversation: Option<&ConversationId>) {
        let is_it = |half: &Half| conversation.is_none_or(|conversation| *conversation == half.conversation);
        while let Some(number) = self.half.iter().find(|(_, half)| is_it(half)).map(|(number, _)| *number) {
            self.reveal(number);
        }
    }

    /// Whether some transaction of this conversation is not over.
    pub(crate) fn is_in_hand(&self, conversation: &ConversationId) -> bool {
        self.half.values().any(|half| half.conversation == *conversation)
    }

    /// Whether who writes there meets a transaction that is not over.
    pub(crate) fn conflicts(&self, conversation: &ConversationId, place: &Place) -> bool {
        self.half.values().any(|half| half.conversation == *conversation && half.places.contains(place))
    }
}
