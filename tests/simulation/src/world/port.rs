//! The ports as one invocation has them, and what its calls do to the world when they take effect.

use std::sync::{Arc, Mutex};

use chatlane_chat::log::Entry;
use chatlane_chat::ports::{Creation, Failure, Put};
use chatlane_chat::testing::desk::{AtDesk, Outcome, Waiting, lock};
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{ConnectionId, ConversationId, UnixMillis};

use super::World;

/// A call that was made and is not answered.
pub(crate) type Call = Waiting<Memory>;

/// All ports of one invocation.
pub(crate) type Ports = AtDesk<Memory, Box<dyn Fn() -> UnixMillis + Send + Sync>>;

/// The clock of a machine, so many milliseconds off the true time.
pub(crate) fn machine_clock(now: &Arc<Mutex<u64>>, off_ms: i64) -> Box<dyn Fn() -> UnixMillis + Send + Sync> {
    let now = Arc::clone(now);
    Box::new(move || UnixMillis::try_from(lock(&now).saturating_add_signed(off_ms)).unwrap_or(UnixMillis::MAX))
}

/// In words, for the trace.
pub(crate) fn what(call: &Call) -> String {
    match call.argument::<Entry>() {
        Some(entry) => format!("{}s {} at {}", call.method, entry.client_message_id, entry.position),
        None => call.method.to_owned(),
    }
}

/// The conversation whose transaction has to be over before the call takes effect: it reads in a transaction.
pub(crate) fn settles(call: &Call) -> Option<&ConversationId> {
    (call.method == "member_consistent").then(|| call.argument()).flatten()
}

/// The conversation whose transaction has to be over before the call is answered: it is that transaction.
pub(crate) fn ends(call: &Call) -> Option<&ConversationId> {
    call.argument::<Creation>().map(|creation| &creation.entry.conversation)
}

impl World {
    /// The call takes effect; a post that is `never_throttled` is taken where its connection lives. `None`: it fails, and has none.
    pub(crate) fn take_effect(&mut self, call: &Call, never_throttled: bool) -> Option<Box<dyn Outcome>> {
        const COMPLETE: &str = "the call has its arguments";
        let in_hand = |conversation: &ConversationId| self.half.contains_key(conversation);
        Some(match call.method {
            "create" => Box::new(self.create(call.argument().expect(COMPLETE))),
            "put" if in_hand(&call.argument::<Entry>().expect(COMPLETE).conversation) => Box::new(Ok::<_, Failure>(Put::Contended)),
            "put" => {
                let outcome = call.take_effect(&self.memory);
                self.keep(call.argument().expect(COMPLETE));
                outcome
            }
            "advance" | "raise_head" if in_hand(call.argument().expect(COMPLETE)) => return None,
            "enqueue" => {
                self.accept(call.argument::<Task>().expect(COMPLETE), *call.argument().expect(COMPLETE));
                Box::new(Ok::<_, Failure>(()))
            }
            "post" => {
                let frame = call.argument::<String>().expect(COMPLETE);
                Box::new(self.post(call.argument::<ConnectionId>().expect(COMPLETE), frame, never_throttled))
            }
            "close" => Box::new(self.hang_up(call.argument().expect(COMPLETE))),
            _ => call.take_effect(&self.memory),
        })
    }
}
