//! What functions of a later version do to the tables while those of this one are at work (K1): entries of kinds, and a fact, that nobody
//! here knows; and members who come and go. A guest is added to a conversation, asks for what she may see, and is removed in the moment in
//! which her row has been read and the log has not (M1).

use chatlane_aws::items::{json::to_json, meta};
use chatlane_chat::deployment::Keys;
use chatlane_chat::log::{Entry, Facts, Kind, LaterEntry};
use chatlane_chat::ports::{Description, InboxRow, Member};
use chatlane_chat::testing::builders;
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{ClientMessageId, ConversationId, Position, Seq, UnixMillis};
use serde_json::json;

use super::World;
use super::port::Call;

/// The guest's name, and the number of her device among those that speak by hand.
pub(crate) const GUEST: &str = "eve";
const RAW_GUEST: usize = 3;

/// The fact that a later version adds, and changes with each of its entries.
const FACT: &str = "zz";

/// A guest who is in a conversation.
#[derive(Debug)]
pub(crate) struct Guest {
    lane: ConversationId,
    /// The id of what is written when she is removed, and is not meant for her.
    secret: String,
}

impl World {
    /// A later version adds the guest, and she asks for what she has missed.
    pub(crate) fn invite(&mut self, pick: usize) -> bool {
        let lanes: Vec<ConversationId> = self.memory.state().log.keys().cloned().collect();
        let Some(lane) = lanes.get(pick.checked_rem(lanes.len()).unwrap_or_default()).cloned() else { return false };
        if self.guest.is_some() || self.is_in_hand(&lane) {
            return false;
        }
        let Some(socket) = self.raw_socket(RAW_GUEST) else { return false };
        let eve = builders::user(GUEST);
        let hash = Keys::of(&builders::SECRET).users.sum([&eve]);
        let joined = self.write_later(&lane, "invited", |facts, seq| {
            (facts.members, facts.membership_changed) = (facts.members + 1, seq);
            facts.members_sum = facts.members_sum.map(|sum| sum.wrapping_add(hash));
        });
        let member = Member { visible_from: joined, version: joined, ..builders::member(&eve) };
        let row = InboxRow::new(lane.clone(), None, &member);
        {
            let mut state = self.memory.state();
            state.members.insert((lane.clone(), eve.clone()), member);
            state.inboxes.entry(eve).or_default().insert(lane.clone(), row);
        }
        self.guest = Some(Guest { lane: lane.clone(), secret: format!("secret{}", self.number()) });
        let is_group = self.memory.state().log[&lane].values().next().is_some_and(|first| first.facts.policy.is_group());
        // Nobody leaves a direct conversation, and `hello` does not look whether somebody has.
        let request = if is_group && self.dice.one_in(2) {
            self.note_raw(RAW_GUEST, json!({"what": "away"})); // what she has does not count
            json!({"action": "hello", "id": "guest", "v": 1})
        } else {
            json!({"action": "sync", "id": "guest", "conversations": [{"conversation": lane, "after": {"epoch": 0, "seq": 0}}]})
        };
        self.leaves(socket, request.to_string());
        true
    }

    /// Her row has been read: now she is removed, and something is written that is not meant for her.
    pub(crate) fn watch_guest(&mut self, call: &Call) {
        let is_hers =
            self.guest.is_some() && ["inbox", "inbox_rows"].contains(&call.method) && call.argument() == Some(&builders::user(GUEST));
        if is_hers {
            self.met.removed_behind_the_row();
            self.remove_guest();
        }
    }

    /// If there is one.
    pub(crate) fn remove_guest(&mut self) {
        let Some(Guest { lane, secret }) = self.guest.take() else { return };
        self.reveal_all(Some(&lane));
        let eve = builders::user(GUEST);
        let hash = Keys::of(&builders::SECRET).users.sum([&eve]);
        {
            let mut state = self.memory.state();
            state.members.remove(&(lane.clone(), eve.clone()));
            state.inboxes.entry(eve).or_default().remove(&lane);
        }
        if self.memory.state().log.contains_key(&lane) {
            let removed = |facts: &mut Facts, seq| {
                (facts.members, facts.membership_changed, facts.removed) = (facts.members.saturating_sub(1), seq, seq);
                facts.members_sum = facts.members_sum.map(|sum| sum.wrapping_sub(hash));
            };
            self.write_later(&lane, "expelled", removed);
            self.write_later(&lane, &secret, |_, _| {});
            self.begin_later(&lane);
        }
    }

    /// Appends an entry of this kind, as a later version does. Its writer dies before its enqueue: the sweeper finds it.
    fn write_later(&mut self, lane: &ConversationId, kind: &str, change: impl FnOnce(&mut Facts, Seq)) -> Seq {
        let (number, epoch) = (self.number(), self.epoch);
        let entry = {
            let mut state = self.memory.state();
            let log = state.log.get_mut(lane).expect("the conversation exists");
            let tail = log.values().next_back().expect("a log has entry 1");
            let seq = tail.position.seq.next();
            let mut facts = tail.facts.clone();
            change(&mut facts, seq);
            let time = UnixMillis::try_from(number).expect("a small number");
            facts.later.insert(FACT.to_owned(), to_json(&meta::item(lane, time, &Description::default()))["t"].to_string());
            let wire = json!({"kind": kind, "who": GUEST}).to_string();
            let entry = Entry {
                conversation: lane.clone(),
                position: Position::new(epoch.max(tail.position.epoch), seq),
                sender: log[&Seq::FIRST].sender.clone(),
                client_message_id: ClientMessageId::new(format!("later{number}")).expect("a client message id"),
                time: tail.time,
                kind: Kind::Later(LaterEntry { kind: kind.to_owned(), wire: Some(wire) }),
                facts,
            };
            log.insert(seq, entry.clone());
            entry
        };
        self.later.insert(lane.clone());
        self.keep(&entry);
        entry.position.seq
    }

    /// Its worker begins the delivery, and dies; another has the task.
    fn begin_later(&mut self, lane: &ConversationId) {
        let task = {
            let mut state = self.memory.state();
            let Some(tail) = state.log.get(lane).and_then(|log| log.values().next_back()).map(Entry::head) else { return };
            let Some(head) = state.heads.get_mut(lane) else { return };
            let before = std::mem::replace(head, tail);
            let (first, last) = (before.position.seq.next().min(tail.position.seq), tail.position);
            // So old a task is one that was received before: nothing that it covers is left to others.
            let queued = UnixMillis::ZERO;
            Task { first, last, count: tail.count, time: tail.time, group: tail.group, queued, ..builders::task(lane, 1, 1) }
        };
        self.accept(&task, 0);
    }

    /// An answer has come to the guest.
    pub(crate) fn guest_answered(&mut self, text: &str) {
        if text.contains("expelled") || text.contains("secret") {
            self.violated("M1", format!("who was removed is answered {text}"));
        }
    }

    /// K1: the facts that this version does not know stand in each entry of its own as in the one before.
    pub(crate) fn check_facts(&mut self) {
        let dropped = {
            let state = self.memory.state();
            let own = |entry: &Entry| !matches!(entry.kind, Kind::Later(_));
            let differ = |two: &&[&Entry]| own(two[1]) && two[1].facts.later != two[0].facts.later;
            let found = |log: Vec<&Entry>| log.windows(2).find(differ).map(|two| (two[1].conversation.clone(), two[1].position));
            let mut logs = state.log.values().map(|log| log.values().collect::<Vec<_>>());
            let found = logs.find_map(found);
            found.map(|(lane, position)| format!("{position} of {lane} lacks a fact that the entry before it has"))
        };
        if let Some(what) = dropped {
            self.violated("K1", what);
        }
    }
}
