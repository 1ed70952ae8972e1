//! Alice and bob have a direct conversation, or alice and others a group: where most tests of the use cases begin.

use chatlane_protocol::frames::ChangeAnswer;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, NewMessage, Outcome, Position, Refusal, UserId};

use super::builders::{
    caller, conversation, creation, direct, entry, group_creation, head, message_id, request_id, seq, settings, start, user,
};
use super::faulty::Faulty;
use super::ready::block_on;
use crate::Settings;
use crate::done::{Did, Done};
use crate::log::draft::{Draft, Drafted};
use crate::log::{Entry, Facts, Role};
use crate::ports::{Created, Creation, Creations as _, Failure, Heads as _, InboxRow, MessageLog as _, Put};
use crate::refusal::Refused;
use crate::requests::change::{Asked, change};
use crate::requests::send::send;
use crate::workers::task::Task;

/// The backend, the settings, and the conversation of alice and bob.
pub struct Stage {
    /// All ports; the clock shows the start of every test.
    pub ports: Faulty,
    /// The documented defaults.
    pub settings: Settings,
    /// Of alice and bob, or the group.
    pub conversation: ConversationId,
}

/// A method that has to succeed panics where it does not: the memory backend has no reason to.
#[expect(clippy::missing_panics_doc, reason = "said once for all, in the line above")]
impl Stage {
    /// Alice has created the conversation; its delivery has begun.
    pub fn new() -> Self {
        let (alice, bob) = (user("alice"), user("bob"));
        Self::created(&creation(&direct(&alice, &bob), &alice, &bob))
    }

    /// A group of these, which the first of them has created; its delivery has begun.
    pub fn group(members: &[(&str, Role)]) -> Self {
        Self::created(&group_creation(&conversation("gGroup"), members))
    }

    fn created(creation: &Creation) -> Self {
        let stage = Self { ports: Faulty::new(start()), settings: settings(), conversation: creation.entry.conversation.clone() };
        let created = block_on(stage.ports.memory.create(creation));
        assert!(matches!(created, Ok(Created::New)), "an empty backend");
        stage.deliver_up_to(1);
        stage
    }

    /// And bob has written entries 2 to `tail`.
    pub fn with_entries(tail: u64) -> Self {
        let stage = Self::new();
        for number in 2..=tail {
            stage.put(&entry(&stage.conversation, number, "bob"));
        }
        stage
    }

    /// A log whose entries carry these epochs, entry 1 first; the deployment is in the last one.
    pub fn restored(epochs: &[u32]) -> Self {
        let mut stage = Self::with_entries(epochs.len() as u64);
        stage.settings.epoch = *epochs.last().expect("a log has entry 1");
        let mut stored = stage.ports.memory.state();
        let log = stored.log.get_mut(&stage.conversation).expect("the conversation exists");
        log.values_mut().zip(epochs).for_each(|(entry, epoch)| entry.position.epoch = *epoch);
        drop(stored);
        stage
    }

    /// Stores an entry in a free slot.
    pub fn put(&self, entry: &Entry) {
        let put = block_on(self.ports.memory.put(entry));
        assert!(matches!(put, Ok(Put::Stored)), "slot {} is taken", entry.position);
    }

    /// The delivery of entries up to this has begun.
    pub fn deliver_up_to(&self, number: u64) {
        block_on(self.ports.memory.raise_head(&self.conversation, head(number))).expect("the conversation exists");
    }

    /// Changes what the tail says about the log.
    pub fn change_tail(&self, change: impl FnOnce(&mut Facts)) {
        let mut state = self.ports.memory.state();
        let log = state.log.get_mut(&self.conversation).expect("the conversation exists");
        change(&mut log.last_entry().expect("it has entry 1").get_mut().facts);
    }

    /// Takes an entry out of the log.
    pub fn remove_entry(&self, number: u64) {
        let mut state = self.ports.memory.state();
        let removed = state.log.get_mut(&self.conversation).expect("the conversation exists").remove(&seq(number));
        assert!(removed.is_some(), "there is no entry {number}");
    }

    /// Changes the user's inbox row.
    pub fn change_row(&self, who: &str, change: impl FnOnce(&mut InboxRow)) {
        self.ports.memory.change_row(&user(who), &self.conversation, change);
    }

    /// Alice is removed by entry `number` just before the next call of this method takes effect, and bob writes so many entries after it,
    /// which are not meant for her: as fast as a lane takes them.
    pub fn remove_alice_meanwhile(&self, method: &'static str, number: u64, secrets: u64) {
        let lane = self.conversation.clone();
        self.ports.meanwhile(method, move |memory| {
            for number_of_one in number..=number + secrets {
                let mut one = entry(&lane, number_of_one, "bob");
                (one.facts.membership_changed, one.facts.removed) = (seq(number), seq(number));
                assert!(matches!(block_on(memory.put(&one)), Ok(Put::Stored)), "a free slot");
            }
            memory.clock.advance_ms(secrets * 1000 / 230);
            let mut state = memory.state();
            state.inboxes.get_mut(&user("alice")).expect("she has an inbox").remove(&lane);
            state.members.remove(&(lane, user("alice"))).expect("a member");
        });
    }

    /// Takes the user's row away, and leaves the log as it is.
    pub fn remove_member(&self, who: &UserId) {
        let removed = self.ports.memory.state().members.remove(&(self.conversation.clone(), who.clone()));
        assert!(removed.is_some(), "a member");
    }

    /// The log of the conversation.
    pub fn entries(&self) -> Vec<Entry> {
        self.ports.memory.entries(&self.conversation)
    }

    /// The queued tasks with their delays, in their order; the queue is empty after it.
    pub fn take_tasks(&self) -> Vec<(Task, u32)> {
        std::mem::take(&mut self.ports.memory.state().queue)
    }

    /// One request of `who` to the conversation: the outcomes of its messages.
    pub fn send(&self, who: &str, messages: Vec<NewMessage>) -> Result<Vec<Outcome>, Failure> {
        self.send_to(&self.conversation, who, messages)
    }

    /// The same to any conversation.
    pub fn send_to(&self, to: &ConversationId, who: &str, messages: Vec<NewMessage>) -> Result<Vec<Outcome>, Failure> {
        Ok(self.try_send(to, who, messages)?.answer)
    }

    /// The same with what was done. Also asserts that the answer names the request, the conversation and each message.
    pub fn try_send(&self, to: &ConversationId, who: &str, messages: Vec<NewMessage>) -> Result<Done<Vec<Outcome>>, Failure> {
        let request = SendMessages { id: request_id("r-1"), conversation: to.clone(), messages };
        let Done { answer, did } = block_on(send(&self.ports, &self.settings, &caller(who), &request))?;
        assert_eq!((&answer.id, &answer.conversation), (&request.id, to));
        let asked = request.messages.iter().map(|message| &message.client_message_id);
        assert!(asked.eq(answer.results.iter().map(|result| &result.client_message_id)), "one result for each, in order");
        Ok(Done { answer: answer.results.into_iter().map(|result| result.outcome).collect(), did })
    }

    /// A change of the group or of a message that `who` asks for under this id. Also asserts that the answer names the request and the conversation.
    pub fn change<K: Drafted<Faulty>>(&self, who: &str, id: &str, anchor: Position, kind: K) -> Result<Done<ChangeAnswer>, Refused> {
        let draft = Draft { client_message_id: message_id(id), anchor, kind };
        let asked = Asked { id: request_id("r-1"), conversation: self.conversation.clone(), draft };
        let done = block_on(change(&self.ports, &self.settings, &caller(who), &asked))?;
        assert_eq!((&done.answer.id, &done.answer.conversation), (&asked.id, &asked.conversation));
        Ok(done)
    }

    /// One message of alice.
    pub fn send_one(&self, message: NewMessage) -> Outcome {
        self.send_and_tell(message).0
    }

    /// One message of alice, and what was done for it.
    pub fn send_and_tell(&self, message: NewMessage) -> (Outcome, Did) {
        let Done { mut answer, did } = self.try_send(&self.conversation, "alice", vec![message]).expect("its delivery was queued");
        (answer.remove(0), did)
    }

    /// Why one message of alice was refused.
    pub fn refusal(&self, message: NewMessage) -> Refusal {
        match self.send_one(message) {
            Outcome::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
