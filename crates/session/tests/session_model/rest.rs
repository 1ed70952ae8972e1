//! After the last fault: everything comes to rest within bounded time, and then everybody has the same.

use chatlane_protocol::{ConversationId, Position, Seq};
use chatlane_session::{Act, ConnectionState, Input, OutboxState};

use super::world::{Event, World};

/// So long everything may take when nothing goes wrong any more: the longest waits of the protocol (an unnoticed half-open socket, a lost
/// push that only the next connection repairs, a late token, each back-off at its bound) one after the other.
const REST_WITHIN_MS: u64 = 400_000;

/// So long a known gap may stay open while nothing is under way: the longest pause after failures.
const GAP_WITHIN_MS: u64 = 35_000;

/// So long a device may be without pushes: until its next `ping`, with what is under way still.
const NO_PUSHES_MS_MAX: u64 = 60_000;

/// The sweeper's delay.
const SWEEP_EVERY_MS: u64 = 30_000;

impl World {
    /// Ends the faults and waits for rest.
    pub fn come_to_rest(&mut self) {
        (self.unreachable, self.late_tokens, self.bad_tokens, self.slow_until_ms) = (0, 0, 0, 0);
        self.armed.clear();
        self.server.strain.refusals = None;
        let began_ms = self.now_ms;
        let (mut idle_ms, mut no_pushes_ms) = (0, vec![0; self.devices.len()]);
        while let Some(why) = self.unrest() {
            let waited_ms = self.now_ms - began_ms;
            assert!(waited_ms < REST_WITHIN_MS, "after {} s still: {why}", waited_ms / 1000);
            for device in 0..self.devices.len() {
                if self.devices[device].state == ConnectionState::Displaced {
                    self.input(device, Input::Do(Act::ConnectNow));
                }
            }
            if waited_ms.is_multiple_of(SWEEP_EVERY_MS) {
                for task in self.server.sweep() {
                    self.at(0, Event::FanOut { task, again: false });
                }
            }
            self.run_for(1_000);
            // A gap that nothing under way can close: the session must ask.
            let idle = self.events.values().all(|event| matches!(event, Event::Disconnected { .. }));
            idle_ms = if idle && self.any_gap() { idle_ms + 1_000 } else { 0 };
            assert!(idle_ms < GAP_WITHIN_MS, "a gap stays open, and nobody asks");
            for (device, no_pushes_ms) in self.devices.iter().zip(&mut no_pushes_ms) {
                let unnoticed = device.state == ConnectionState::Live && self.server.receives_no_pushes(device.id);
                *no_pushes_ms = if unnoticed { *no_pushes_ms + 1_000 } else { 0 };
                assert!(*no_pushes_ms < NO_PUSHES_MS_MAX, "{} gets no pushes, and does not notice", device.name);
            }
        }
        self.tally.rest_ms_max = self.now_ms - began_ms;
        self.tally.entries = u64::try_from(self.entries().count()).unwrap();
        self.check_rest();
    }

    /// Whether some app is live and knows of entries that it does not have.
    fn any_gap(&self) -> bool {
        let live = self.devices.iter().filter(|device| device.state == ConnectionState::Live);
        live.filter_map(|device| device.session.as_ref()).any(|session| session.conversations().any(|row| row.head > row.have))
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<String> {
        if let Some(event) = self.events.values().find(|event| !matches!(event, Event::Disconnected { .. })) {
            return Some(format!("{event:?}"));
        }
        for device in &self.devices {
            let Some(session) = device.session.as_ref().filter(|_| device.state == ConnectionState::Live) else {
                return Some(format!("{} is {:?}", device.name, device.state));
            };
            if let Some(row) = session.outbox().find(|row| !matches!(row.state, OutboxState::Failed(_))) {
                return Some(format!("{} has not sent {row:?}", device.name));
            }
            for lane in self.server.lanes.values().filter(|lane| lane.members.contains(&device.user.id)) {
                let Some(row) = session.conversations().find(|row| row.conversation == lane.id) else {
                    return Some(format!("{} does not know {}", device.name, lane.id));
                };
                let delivered = lane.cursors(&device.user.id).delivered.get(&device.id).copied().unwrap_or_default();
                let has_all = row.have == lane.tail() && row.head == lane.tail();
                // What was skipped is not acknowledged before an entry behind it is stored.
                let acknowledged = row.is_empty() || delivered == row.have;
                let read = lane.cursors(&device.user.id).read;
                let read_known = read >= row.read && (lane.has(row.read) || row.read == Position::ZERO);
                if !has_all || !acknowledged || row.read_pending || !read_known {
                    let server = format!("delivered {delivered}, read {read}, the log at {}", lane.tail());
                    return Some(format!("{} is at {row:?}; the server: {server}", device.name));
                }
            }
        }
        None
    }

    fn check_rest(&mut self) {
        for device in 0..self.devices.len() {
            let one = &self.devices[device];
            let user = one.user.id.clone();
            let session = one.session.as_ref().expect("at rest");
            let mut outbox: Vec<_> = session.outbox().cloned().collect();
            outbox.sort_by_key(|row| row.order);
            let mut stored: Vec<_> = one.disk.outbox.values().cloned().collect();
            stored.sort_by_key(|row| row.order);
            assert_eq!(outbox, stored, "the outbox of {} is not what is stored", one.name);
            for row in outbox {
                let entries = self.server.lanes.get(&row.conversation).into_iter().flat_map(|lane| &lane.entries);
                let there = entries.into_iter().any(|entry| entry.sender == user && entry.client_message_id == row.client_message_id);
                assert!(!there, "{} failed, and is in the log", row.client_message_id);
            }
            for row in session.conversations() {
                // Of one that a restore has lost, and that nobody has opened since, the device keeps what it has.
                let Some(lane) = self.server.lanes.get(&row.conversation) else { continue };
                let (head_count, read_count) = (lane.count_at(lane.tail()), lane.count_at(row.read));
                assert_eq!(row.head_count, head_count, "{} counts otherwise: {row:?}", one.name);
                // Exact also where a restore has taken the mark back to an entry that the device does not hold: what it then counts by, that
                // all entries but the first are messages, is so in direct conversations.
                assert_eq!(row.read_count, read_count, "{} counts what was read otherwise: {row:?}", one.name);
            }
            let known = self.known(device);
            for conversation in known.into_iter().filter(|known| self.server.lanes.contains_key(known)).collect::<Vec<_>>() {
                self.read_to_the_beginning(device, &conversation);
            }
        }
    }

    /// The whole transcript, with what the user gets by scrolling up, is the log.
    fn read_to_the_beginning(&mut self, device: usize, conversation: &ConversationId) {
        let from = |world: &Self| world.devices[device].disk.conversations[conversation].from.seq;
        for _ in 0..1_000 {
            if from(self) == Seq::ZERO {
                break;
            }
            self.load_history(device, conversation);
            self.run_for(1_000);
        }
        let lane = &self.server.lanes[conversation];
        let transcript: Vec<_> = self.devices[device].disk.entries[conversation].values().collect();
        assert_eq!(transcript, lane.entries.iter().collect::<Vec<_>>(), "{} has another transcript", self.devices[device].name);
    }
}
