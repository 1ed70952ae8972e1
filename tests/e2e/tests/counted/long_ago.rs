//! Conversations that are there before the first measurement, and are only read by it.

use chatlane_chat::testing::builders::position;
use chatlane_protocol::request::{Known, PositionIn};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::Running;
use chatlane_tests_e2e::past::Past;

/// Conversations of one user.
const MANY: usize = 1000;

/// Those of them in which something has happened.
const CHANGED: [usize; 3] = [10, 400, 990];

pub struct LongAgo {
    /// Of [`LongAgo::READER`]: histories of 10² and 10⁴ entries.
    pub short: ConversationId,
    pub long: ConversationId,
    /// The ends of ten conversations of [`LongAgo::READER`].
    pub tens: Vec<PositionIn>,
    /// What a device of [`LongAgo::BUSY`] has of its conversations: all but what is new in three.
    pub known: Vec<Known>,
}

impl LongAgo {
    pub const READER: &'static str = "reader";
    pub const BUSY: &'static str = "thousand";
    pub const SHORT: u64 = 100;
    pub const LONG: u64 = 10_000;

    pub async fn of(stack: &Running) -> Self {
        let mut past = Past::of(stack).await;
        let short = past.conversation(Self::READER, "short", Self::SHORT);
        let long = past.conversation(Self::READER, "longs", Self::LONG);
        let ten = (0..10).map(|number| past.conversation(Self::READER, &format!("ten-{number}"), 2));
        let tens = ten.map(|conversation| PositionIn::new(conversation, position(2))).collect();
        let thousand = (0..MANY).map(|number| past.conversation(Self::BUSY, &format!("other-{number:03}"), 1));
        let known = thousand.map(|conversation| Known { conversation, have: position(1), read: Position::ZERO, prefs: 0 });
        let mut known: Vec<Known> = known.collect();
        known.sort_by(|one, other| one.conversation.cmp(&other.conversation));
        for index in CHANGED {
            past.messages(&known[index].conversation, "other", 2..=4);
        }
        past.write(stack).await;
        Self { short, long, tens, known }
    }

    /// The conversations in which something has happened, in the order of their ids.
    pub fn changed(&self) -> impl Iterator<Item = &ConversationId> {
        CHANGED.iter().map(|&index| &self.known[index].conversation)
    }
}
