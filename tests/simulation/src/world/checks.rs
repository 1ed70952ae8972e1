//! What a session promises (`crates/session/README.md`, "Invariants"), looked at where it could break: at each request that leaves a
//! device, each write to its store, each thing shown, behind each input, and at rest. What a history can show is the checker's to judge.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::testing::memory::State;
use chatlane_protocol::frames::MemberCursors;
use chatlane_protocol::limits::CURSORS_EVERY_MS;
use chatlane_protocol::request::{Delete, Edit, PositionIn, Positions, React, SendMessages, Sync};
use chatlane_protocol::{ConnectionId, ConversationId, Entry, ErrorCode, NewMessage, Position, Request, Seq};
use chatlane_session::{Change, ConnectionState, Draft, OutboxRow, OutboxState, OutgoingState, Output, Shown, SocketId};

use serde_json::json;

use super::World;
use super::gateway::Stage;
use super::notes::read;
use super::phone::Phone;
use super::port::Call;
use super::watch::{Ever, Kept, is_there};

/// Outputs of one device in one second: a bound that only a loop exceeds.
const OUTPUTS_PER_S_MAX: u32 = 600;

/// What does not hold, in words.
type Broken = (&'static str, String);

fn holds(condition: bool, invariant: &'static str, otherwise: impl FnOnce() -> String) -> Result<(), Broken> {
    if condition { Ok(()) } else { Err((invariant, otherwise())) }
}

impl Phone {
    /// Behind an input: `before` is the state of the connection that its user saw, `wanted` whether the user wanted one.
    fn check_outputs(&mut self, now_ms: u64, before: ConnectionState, wanted: bool, outputs: &[Output]) -> Result<(), Broken> {
        let Some(session) = &self.session else { return Ok(()) };
        let (second, count) = (now_ms / 1000, u32::try_from(outputs.len()).unwrap_or(u32::MAX));
        let already = if self.watch.outputs.0 == second { self.watch.outputs.1 } else { 0 };
        self.watch.outputs = (second, already + count);
        holds(already + count <= OUTPUTS_PER_S_MAX, "session", || "it is busy without an end".to_owned())?;
        let wake = session.wake_at();
        holds(wake.is_none_or(|wake| wake.0 > now_ms), "I13", || format!("its timer is at {wake:?}, and it is {now_ms}"))?;
        let shown = outputs.iter().rev().find_map(|output| match output {
            Output::Show(Shown::Connection(state)) => Some(*state),
            _ => None,
        });
        let (shown, state) = (shown.unwrap_or(before), session.connection());
        holds(shown == state, "session", || format!("it is {state:?}, and its user sees {shown:?}"))?;
        let opens = outputs.iter().any(|output| matches!(output, Output::Connect(_)));
        let stays = before != ConnectionState::Displaced || wanted || !opens;
        holds(stays, "displaced", || "it comes back, and its user has not asked for it".to_owned())
    }

    fn check_request(
        &mut self,
        (now_ms, on, stage): (u64, SocketId, Option<Stage>),
        bytes: usize,
        request: &Request,
        ever: &Ever,
    ) -> Result<(), Broken> {
        holds(stage.is_some_and(|stage| stage != Stage::Opening), "session", || format!("a frame on {on:?}, which is not open"))?;
        let greets = matches!(request, Request::Hello(hello) if hello.after.is_none());
        holds(!self.watch.greeted.insert(on) || greets, "session", || format!("the first request on {on:?} is no `hello`"))?;
        match request {
            Request::Send(send) => self.check_attempts(send, bytes),
            Request::Edit(Edit { conversation, client_message_id, anchor, .. })
            | Request::Delete(Delete { conversation, client_message_id, anchor, .. })
            | Request::React(React { conversation, client_message_id, anchor, .. }) => {
                let row = self.disk.waiting(conversation, client_message_id);
                let holds_it = row.is_some_and(|row| row.anchor == *anchor && !matches!(row.state, OutboxState::Failed(_)));
                holds(holds_it, "I3", || format!("{client_message_id} was attempted at {anchor}; stored: {row:?}"))
            }
            Request::Ack(Positions { positions, .. }) => {
                coalesced(&mut self.watch.acked_ms, now_ms, "ack")?;
                self.check_cursors(positions, ever)
            }
            Request::Read(told) => {
                coalesced(&mut self.watch.read_ms, now_ms, "read")?;
                holds(told.private, "session", || "it tells in a `read` what goes in an `ack`".to_owned())?;
                self.check_cursors(&read(told), ever)
            }
            Request::Sync(Sync { ack, .. }) => self.check_cursors(ack, ever),
            _ => Ok(()),
        }
    }

    /// The outbox in the store holds the messages as they are sent; and there are no more than the server has said that it takes.
    fn check_attempts(&self, SendMessages { conversation, messages, .. }: &SendMessages, bytes: usize) -> Result<(), Broken> {
        let fits =
            self.watch.limits.is_none_or(|limits| messages.len() <= limits.messages_per_send_max && bytes <= limits.request_bytes_max);
        holds(fits, "session", || format!("{} messages in {bytes} bytes are too much for the server", messages.len()))?;
        messages.iter().try_for_each(|message| {
            let row = self.disk.waiting(conversation, &message.client_message_id);
            let same = row.is_some_and(|row| row.anchor == message.anchor && row.draft == said(message));
            let failed = row.is_some_and(|row| matches!(row.state, OutboxState::Failed(_)));
            holds(same && !failed, "I3", || format!("{} was attempted at {}; stored: {row:?}", message.client_message_id, message.anchor))
        })
    }

    fn check_cursors(&self, told: &[PositionIn], ever: &Ever) -> Result<(), Broken> {
        told.iter().try_for_each(|PositionIn { conversation, position, read }| {
            // A read mark that goes alone, perhaps of another device, stands at both places.
            let stored = *read == Some(*position) || self.stored(conversation, *position).is_some();
            holds(stored, "I2", || format!("{conversation} {position} is acknowledged, and not stored"))?;
            let is_entry = read.is_none_or(|read| ever.get(conversation, read).is_some());
            holds(is_entry, "I12", || format!("{conversation} was read up to {read:?}, which never was"))
        })
    }

    fn stored(&self, conversation: &ConversationId, position: Position) -> Option<&Entry> {
        self.disk.entries.get(conversation)?.get(&position.seq).filter(|entry| entry.position == position)
    }

    /// Before the store makes a change.
    fn check_change(&self, change: &Change, ever: &Ever) -> Result<(), Broken> {
        match change {
            Change::Entries { conversation, entries } => entries.iter().try_for_each(|entry| {
                let kept = self.disk.entries.get(conversation).and_then(|kept| kept.get(&entry.position.seq));
                let same = |kept: &Entry| (kept.position, &kept.client_message_id) == (entry.position, &entry.client_message_id);
                holds(kept.is_none_or(same), "D1", || format!("{conversation} {} replaces {kept:?}", entry.position))?;
                let logged = ever.tells(conversation, entry);
                holds(logged, "D1", || format!("{conversation} {} is not the log's", entry.position))
            }),
            Change::OutboxDone { conversation, client_message_id: id } => {
                let met = ever.of_message(conversation, &self.user, id).next().is_some() || self.watch.unchanged.contains(id);
                // What was to become of a message that is deleted goes with its words.
                let is_void = |target: Seq| ever.has_deleted(conversation, target);
                let met = met
                    || matches!(self.disk.waiting(conversation, id), Some(OutboxRow { draft: Draft::Edit { target, .. }, .. }) if is_void(*target));
                holds(met || self.discarded.contains(id), "I7", || format!("{id} left the outbox, neither stored nor given up"))
            }
            _ => Ok(()),
        }
    }

    /// Behind a write: the entries are the run that the row says, and each of `new` follows in the log on the one before it.
    fn check_run(&self, conversation: &ConversationId, new: &BTreeSet<Position>, ever: &Ever) -> Result<(), Broken> {
        let Some(row) = self.disk.conversations.get(conversation) else {
            return holds(!self.disk.entries.contains_key(conversation), "D1", || format!("entries of {conversation}, and no row"));
        };
        // Below it there may be what was for its user before they left, and came back.
        let entries = self.disk.entries.get(conversation);
        let entries = entries.map(|entries| entries.range(row.from.seq.next()..).collect::<BTreeMap<_, _>>());
        let entries = entries.as_ref();
        let length = row.have.seq.get().checked_sub(row.from.seq.get());
        let ends = entries.and_then(|entries| Some((entries.first_key_value()?.1.position.seq, entries.last_key_value()?.1.position)));
        let whole = entries.map_or(0, BTreeMap::len) as u64 == length.unwrap_or(u64::MAX)
            && ends.is_none_or(|(first, last)| first == row.from.seq.next() && last == row.have);
        holds(whole && row.head >= row.have, "I1", || format!("stored are the entries {ends:?} of {row:?}"))?;
        new.iter().filter_map(|position| ever.get(conversation, *position)).try_for_each(|kept| {
            let before = entries.and_then(|entries| entries.get(&kept.entry.position.seq.minus(1)));
            let follows = before.is_none_or(|before| before.position == kept.before);
            let next = entries.and_then(|entries| entries.get(&kept.entry.position.seq.next()));
            let next = next.and_then(|next| ever.get(conversation, next.position));
            let goes_on = next.is_none_or(|next| next.before == kept.entry.position);
            holds(follows && goes_on, "D1", || format!("{conversation} {} is not between its neighbours", kept.entry.position))
        })
    }

    fn check_shown(&self, shown: &Shown, ever: &Ever, state: &State) -> Result<(), Broken> {
        match shown {
            Shown::Entry { conversation, entry } => {
                let stored = self.stored(conversation, entry.position);
                // What is shown may be folded in the store already.
                let is_it =
                    stored.is_some_and(|stored| stored.client_message_id == entry.client_message_id) && ever.tells(conversation, entry);
                holds(is_it, "I2", || format!("{conversation} {} is shown, and stored is {stored:?}", entry.position))
            }
            Shown::History { conversation, entries, .. } => {
                let logged = |entry: &Entry| ever.tells(conversation, entry);
                let ordered = entries.is_sorted_by(|one, next| one.position.seq.next() == next.position.seq);
                holds(ordered && entries.iter().all(logged), "D1", || format!("its history of {conversation} is not the log's"))
            }
            Shown::Conversation { row, unread } => {
                let good = *unread == row.head_count.saturating_sub(row.read_count);
                holds(good, "I18", || format!("{unread} are unread of {row:?}"))
            }
            Shown::Outgoing { conversation, client_message_id: id, state: OutgoingState::Waiting } => {
                let stored = self.disk.waiting(conversation, id).is_some();
                holds(stored, "I3", || format!("{id} is shown as waiting, and not in the store's outbox"))
            }
            Shown::Outgoing { conversation, client_message_id: id, state: OutgoingState::Stored(stored) } => {
                let is_it = ever.of_message(conversation, &self.user, id).any(|kept| kept.entry.position == stored.position);
                holds(is_it, "L3", || format!("{id} is shown as stored at {}, where it never was", stored.position))
            }
            Shown::Outgoing { conversation, client_message_id: id, state: OutgoingState::Failed(refusal) } => {
                let (refused, looked) = (self.watch.refused_ms.get(id), self.watch.looked_ms.get(conversation));
                // What was to become of a message that is deleted goes with its words, and is not looked for.
                let row = self.disk.waiting(conversation, id);
                let is_void = row.is_none() && refusal.code == ErrorCode::NoMessage;
                holds(refused <= looked || is_void, "I8", || {
                    format!("{id} failed ({:?}) before the log was looked through", refusal.code)
                })?;
                // An earlier attempt that is still under way may come behind the look; its entry will settle the message.
                let found = |kept: &Kept| Some(&kept.at_ms) < looked && is_there(state, conversation, kept.entry.position);
                let missed = ever.of_message(conversation, &self.user, id).any(found);
                holds(!missed, "I8", || format!("{id} failed ({:?}), and is in the log that was looked through", refusal.code))
            }
            Shown::Cursors { conversation, cursors: MemberCursors { user, read, .. } } => {
                holds(*user != self.user, "session", || "it shows its own receipt".to_owned())?;
                let may = ever.may_know(conversation, user, *read);
                holds(may, "C1", || format!("others are told that {user} has read {read} of {conversation}, which was in private"))
            }
            _ => Ok(()),
        }
    }

    /// The session, its store and the tables say the same.
    fn check_rest(&self, state: &State, ever: &Ever, later: &BTreeSet<ConversationId>, restored: bool) -> Result<(), Broken> {
        let is_member = |conversation: &ConversationId| state.members.contains_key(&(conversation.clone(), self.user.clone()));
        let Some(session) = &self.session else { return Ok(()) };
        let mut outbox: Vec<_> = session.outbox().cloned().collect();
        outbox.sort_by_key(|row| row.order);
        holds(outbox == self.disk.outbox(), "I3", || "its outbox is not the one in its store".to_owned())?;
        for row in &outbox {
            let log = state.log.get(&row.conversation).into_iter().flat_map(BTreeMap::values);
            let mut own = log.filter(|entry| entry.sender == self.user && entry.client_message_id == row.client_message_id);
            holds(own.next().is_none(), "I8", || format!("{} failed, and is in the log", row.client_message_id))?;
        }
        session.conversations().filter(|row| is_member(&row.conversation)).try_for_each(|row| {
            let log = state.log.get(&row.conversation);
            let count = |at: Position| log.and_then(|log| log.get(&at.seq)).map_or(0, |entry| entry.head().count);
            // Of a mark that it has not taken lately a device counts every entry behind it as a message; those of other kinds are none.
            let are_messages = ever.has_messages_only(&row.conversation); // also those that a restore has taken back
            let is_exact = are_messages && !later.contains(&row.conversation);
            let read = if is_exact { row.read_count == count(row.read) } else { row.read_count <= count(row.read) };
            // So it counts those that a restore took back.
            let exact = restored && !is_exact || row.head_count == count(row.head) && read;
            holds(exact, "I18", || format!("the log counts {} and {}: {row:?}", count(row.head), count(row.read)))
        })
    }
}

impl World {
    fn found(&mut self, number: usize, looked: Result<(), Broken>) {
        if let Err((invariant, what)) = looked {
            self.violated(invariant, format!("device {number}: {what}"));
        }
    }

    /// An entry may have been stored now.
    pub(crate) fn keep(&mut self, entry: &chatlane_chat::log::Entry) {
        let state = self.memory.state();
        let Some(log) = state.log.get(&entry.conversation) else { return };
        let is_new = self.ever.get(&entry.conversation, entry.position).is_none();
        if is_new && log.get(&entry.position.seq) == Some(entry) {
            self.met.stored(&entry.kind);
            let before = log.get(&entry.position.seq.minus(1)).map_or(Position::ZERO, |before| before.position);
            self.ever.add(&entry.conversation, Kept { entry: entry.to_wire(), before, at_ms: self.now_ms });
            drop(state);
            self.stream((entry.conversation.clone(), entry.position.seq));
        }
    }

    /// A worker does this: of the sessions that it removes, none is of a connection that lives and took all its posts, or was throttled.
    pub(crate) fn check_removed(&mut self, call: &Call) {
        let mut connections = call.argument::<Vec<ConnectionId>>().filter(|_| call.method == "remove").into_iter().flatten();
        let healthy = |connection: &&ConnectionId| self.named(connection).is_some_and(|(_, socket)| socket.held && !socket.to_blame);
        if let Some(connection) = connections.find(healthy) {
            self.violated("D2", format!("a worker removes the session of {connection}, which lives and was throttled at most"));
        }
    }

    pub(crate) fn check_outputs(&mut self, number: usize, before: ConnectionState, wanted: bool, outputs: &[Output]) {
        let looked = self.phones[number].check_outputs(self.now_ms, before, wanted, outputs);
        self.found(number, looked);
    }

    pub(crate) fn check_request(&mut self, number: usize, on: SocketId, stage: Option<Stage>, text: &str, request: &Request) {
        let looked = self.phones[number].check_request((self.now_ms, on, stage), text.len(), request, &self.ever);
        self.found(number, looked);
    }

    pub(crate) fn check_shown(&mut self, number: usize, shown: &Shown) {
        let looked = self.phones[number].check_shown(shown, &self.ever, &self.memory.state());
        self.found(number, looked);
    }

    /// The store of a device makes a write.
    pub(crate) fn store(&mut self, number: usize, changes: Vec<Change>) {
        let phone = &mut self.phones[number];
        let mut looked = Ok(());
        let skips = |change: &Change| match change {
            Change::Conversation(row) => {
                let had = phone.disk.conversations.get(&row.conversation).map_or(Position::ZERO, |had| had.have);
                (row.from.seq > had.seq).then(|| (row.conversation.clone(), row.from))
            }
            _ => None,
        };
        let skipped: Vec<(ConversationId, Position)> = changes.iter().filter_map(skips).collect();
        let mut touched: BTreeMap<ConversationId, BTreeSet<Position>> = BTreeMap::new();
        for change in &changes {
            let (conversation, entries) = match change {
                Change::Entries { conversation, entries } => (conversation, entries.as_slice()),
                Change::Conversation(row) => (&row.conversation, &[][..]),
                Change::DropBeyond { conversation, .. } | Change::DropAll(conversation) => (conversation, &[][..]),
                Change::Outbox(_)
                | Change::OutboxDone { .. }
                | Change::Held(_)
                | Change::HeldDone(_)
                | Change::Group(_)
                | Change::GroupDone(_) => continue,
            };
            touched.entry(conversation.clone()).or_default().extend(entries.iter().map(|entry| entry.position));
        }
        // One write may have several steps' changes: what one adds a later one drops.
        for change in changes {
            looked = looked.and_then(|()| phone.check_change(&change, &self.ever));
            if let Change::Conversation(row) = &change
                && row.wished.archived.is_some()
            {
                self.archived.insert((row.conversation.clone(), phone.user.clone()));
            }
            phone.disk.apply(vec![change]);
        }
        for (conversation, new) in &mut touched {
            new.retain(|position| phone.stored(conversation, *position).is_some());
            looked = looked.and_then(|()| phone.check_run(conversation, new, &self.ever));
        }
        self.found(number, looked);
        for (conversation, to) in skipped {
            self.note(number, json!({"what": "skipped", "conversation": conversation, "to": to}));
        }
    }

    /// At rest. Whoever failed to be at rest is known by now.
    pub(crate) fn check_rest(&mut self) {
        for number in 0..self.phones.len() {
            let looked = self.phones[number].check_rest(&self.memory.state(), &self.ever, &self.later, self.epoch > 1);
            self.found(number, looked);
        }
        self.check_facts();
    }
}

/// A message that is sent, as the outbox has it.
fn said(NewMessage { body, reply_to, mentions, .. }: &NewMessage) -> Draft {
    Draft::Message { body: body.clone(), reply_to: *reply_to, mentions: mentions.clone() }
}

fn coalesced(last_ms: &mut Option<u64>, now_ms: u64, what: &str) -> Result<(), Broken> {
    let pause_ms = last_ms.replace(now_ms).map(|last| now_ms - last);
    holds(pause_ms.is_none_or(|pause_ms| pause_ms >= CURSORS_EVERY_MS), "I12", || format!("{what} twice within {pause_ms:?} ms"))
}
