//! Alice and bob have a direct conversation: where most tests of the use cases begin.

use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, NewMessage, Outcome, Refusal, UserId};

use super::builders::{caller, creation, entry, head, request_id, settings, start, user};
use super::faulty::Faulty;
use super::memory::SetClock;
use super::ready::block_on;
use crate::Settings;
use crate::log::entry::{Entry, Facts, direct_conversation};
use crate::ports::{Created, Heads as _, MessageLog as _, Put, Unavailable};
use crate::requests::send::send;
use crate::workers::task::Task;

/// The backend, the clock, the settings, and the conversation of alice and bob.
pub struct Stage {
    /// All ports.
    pub store: Faulty,
    /// Shows the start of every test.
    pub clock: SetClock,
    /// The documented defaults.
    pub settings: Settings,
    /// Of alice and bob.
    pub conversation: ConversationId,
}

/// A method that has to succeed panics where it does not: the memory backend has no reason to.
#[expect(clippy::missing_panics_doc, reason = "said once for all, in the line above")]
impl Stage {
    /// Alice has created the conversation; its delivery has begun.
    pub fn new() -> Self {
        let (alice, bob) = (user("alice"), user("bob"));
        let conversation = direct_conversation(&alice, &bob);
        let stage = Self { store: Faulty::new(), clock: SetClock::at(start()), settings: settings(), conversation };
        let created = block_on(stage.store.memory.create(&creation(&stage.conversation, &alice, &bob)));
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

    /// Stores an entry in a free slot.
    pub fn put(&self, entry: &Entry) {
        let put = block_on(self.store.memory.put(entry));
        assert!(matches!(put, Ok(Put::Stored)), "slot {} is taken", entry.position);
    }

    /// The delivery of entries up to this has begun.
    pub fn deliver_up_to(&self, number: u64) {
        block_on(self.store.memory.raise_head(&self.conversation, head(number))).expect("the conversation exists");
    }

    /// Changes what the tail says about the log.
    pub fn change_tail(&self, change: impl FnOnce(&mut Facts)) {
        let mut state = self.store.memory.state();
        let log = state.log.get_mut(&self.conversation).expect("the conversation exists");
        change(&mut log.last_entry().expect("it has entry 1").get_mut().facts);
    }

    /// Takes the user's row away, and leaves the log as it is.
    pub fn remove_member(&self, who: &UserId) {
        let removed = self.store.memory.state().members.remove(&(self.conversation.clone(), who.clone()));
        assert!(removed.is_some(), "a member");
    }

    /// The log of the conversation.
    pub fn entries(&self) -> Vec<Entry> {
        self.store.memory.entries(&self.conversation)
    }

    /// The queued tasks with their delays, in their order; the queue is empty after it.
    pub fn take_tasks(&self) -> Vec<(Task, u32)> {
        std::mem::take(&mut self.store.memory.state().queue)
    }

    /// One request of `who` to the conversation: the outcomes of its messages.
    pub fn send(&self, who: &str, messages: Vec<NewMessage>) -> Result<Vec<Outcome>, Unavailable> {
        self.send_to(&self.conversation, who, messages)
    }

    /// The same to any conversation. Also asserts that the answer names the request, the conversation and each message.
    pub fn send_to(&self, to: &ConversationId, who: &str, messages: Vec<NewMessage>) -> Result<Vec<Outcome>, Unavailable> {
        let request = SendMessages { id: request_id("r-1"), conversation: to.clone(), messages };
        let answer = block_on(send(&self.store, &self.store, &self.clock, &self.settings, &caller(who), &request))?;
        assert_eq!((&answer.id, &answer.conversation), (&request.id, to));
        let asked = request.messages.iter().map(|message| &message.client_message_id);
        assert!(asked.eq(answer.results.iter().map(|result| &result.client_message_id)), "one result for each, in order");
        Ok(answer.results.into_iter().map(|result| result.outcome).collect())
    }

    /// One message of alice.
    pub fn send_one(&self, message: NewMessage) -> Outcome {
        let mut outcomes = self.send("alice", vec![message]).expect("its delivery was queued");
        outcomes.remove(0)
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
