//! After the last fault: everything comes to rest within bounded time, and then everybody has the same.

use chatlane_client::session::{ConnectionState, Input, OutboxState};
use chatlane_protocol::{ConversationId, Seq};

use super::world::{Event, World};

/// So long everything may take when nothing goes wrong any more: the longest waits of the protocol (an unnoticed half-open socket, a lost
/// push that only the next connection repairs, a late token, each back-off at its bound) one after the other.
const REST_WITHIN_MS: u64 = 400_000;

/// The sweeper's delay.
const SWEEP_EVERY_MS: u64 = 30_000;

impl World {
    /// Ends the faults and waits for rest.
    pub fn come_to_rest(&mut self) {
        (self.unreachable, self.late_tokens, self.bad_tokens, self.slow_until_ms) = (0, 0, 0, 0);
        self.armed.clear();
        self.server.strain.refusals = None;
        let began_ms = self.now_ms;
        while let Some(why) = self.unrest() {
            let waited_ms = self.now_ms - began_ms;
            assert!(waited_ms < REST_WITHIN_MS, "after {} s still: {why}", waited_ms / 1000);
            for device in 0..self.devices.len() {
                if self.devices[device].state == ConnectionState::Displaced {
                    self.tell(device, Input::ConnectNow);
                }
            }
            if waited_ms % SWEEP_EVERY_MS == 0 {
                for task in self.server.sweep() {
                    self.at(0, Event::FanOut { task, again: false });
                }
            }
            self.run_for(1_000);
        }
        self.tally.rest_ms_max = self.now_ms - began_ms;
        self.tally.entries = u64::try_from(self.entries().count()).unwrap();
        self.check_rest();
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
            for lane in self.server.lanes.values().filter(|lane| lane.members.contains(&device.user)) {
                let Some(row) = session.conversations().find(|row| row.conversation == lane.id) else {
                    return Some(format!("{} does not know {}", device.name, lane.id));
                };
                let delivered = lane.cursors(&device.user).delivered.get(&device.id).copied().unwrap_or_default();
                let has_all = row.have == lane.tail() && row.head == lane.tail();
                let acknowledged = row.from == row.have || delivered == row.have;
                let read = lane.cursors(&device.user).read;
                if !has_all || !acknowledged || row.read_pending || read < row.read {
                    let server = format!("delivered {delivered}, read {read}, the log at {}", lane.tail());
                    return Some(format!("{} stands at {row:?}; the server: {server}", device.name));
                }
            }
        }
        None
    }

    fn check_rest(&mut self) {
        for device in 0..self.devices.len() {
            let one = &self.devices[device];
            let user = one.user.clone();
            let session = one.session.as_ref().expect("at rest");
            let mut outbox: Vec<_> = session.outbox().cloned().collect();
            outbox.sort_by_key(|row| row.order);
            let mut stored: Vec<_> = one.disk.outbox.values().cloned().collect();
            stored.sort_by_key(|row| row.order);
            assert_eq!(outbox, stored, "the outbox of {} is not what is stored", one.name);
            for row in outbox {
                let lane = &self.server.lanes[&row.conversation];
                let there = lane.entries.iter().any(|entry| entry.sender == user && entry.client_message_id == row.client_message_id);
                assert!(!there, "{} failed, and is in the log", row.client_message_id);
            }
            for row in session.conversations() {
                let lane = &self.server.lanes[&row.conversation];
                let counts = (lane.count_at(lane.tail()), lane.count_at(row.read));
                assert_eq!((row.head_count, row.read_count), counts, "{} counts wrongly: {row:?}", one.name);
            }
            let known = self.known(device);
            for conversation in known {
                self.read_to_the_beginning(device, &conversation);
            }
        }
    }

    /// The whole transcript, with what the person gets by scrolling up, is the log.
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
