//! The ports as one invocation has them, and what its calls do to the world when they take effect.

use std::sync::{Arc, Mutex};

use chatlane_chat::log::Entry;
use chatlane_chat::ports::{Amendment, Change, Creation, Failure, Put};
use chatlane_chat::testing::desk::{AtDesk, Outcome, Waiting, lock};
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::workers::task::Task;
use chatlane_protocol::{ConnectionId, ConversationId, Seq, UnixMillis, UserId};

use super::World;
use super::transaction::Place;

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

/// What the call reads in a transaction: others that write any of it have to be over before.
pub(crate) fn reads_settled(call: &Call) -> Vec<(&ConversationId, Place)> {
    let users: Vec<UserId> = match call.method {
        "member_consistent" => call.argument::<UserId>().into_iter().cloned().collect(),
        // In which order does not matter: the call has one conversation, and one seq.
        "entry_consistent" | "reacted" => {
            let (Some(conversation), Some(seq)) = (call.argument(), call.argument::<Seq>()) else { return vec![] };
            let places = match call.argument::<UserId>() {
                None => vec![Place::Entry(*seq)],
                Some(user) => vec![Place::Reactions(*seq), Place::Own(*seq, user.clone())],
            };
            return places.into_iter().map(|place| (conversation, place)).collect();
        }
        "memberships" => call.argument().cloned().unwrap_or_default(),
        "descriptions" => {
            let conversations = call.argument::<Vec<ConversationId>>().into_iter().flatten();
            return conversations.map(|conversation| (conversation, Place::Description)).collect();
        }
        _ => return vec![],
    };
    let Some(conversation) = call.argument() else { return vec![] };
    users.into_iter().flat_map(|user| [Place::Member(user.clone()), Place::Left(user)]).map(|place| (conversation, place)).collect()
}

/// The conversation whose transactions have to be over before the call is answered: it is one of them.
pub(crate) fn ends(call: &Call) -> Option<&ConversationId> {
    let entry = call.argument::<Creation>().map(|creation| &creation.entry).or_else(|| Some(&call.argument::<Change>()?.entry));
    let entry = entry.or_else(|| Some(&call.argument::<Amendment>()?.entry));
    entry.map(|entry| &entry.conversation)
}

impl World {
    fn is_contended(&self, entry: &Entry) -> bool {
        self.conflicts(&entry.conversation, &Place::Entry(entry.position.seq))
    }

    /// The call takes effect; a post that is `never_throttled` is taken where its connection lives. `None`: it fails, and has none.
    pub(crate) fn take_effect(&mut self, call: &Call, never_throttled: bool) -> Option<Box<dyn Outcome>> {
        const COMPLETE: &str = "the call has its arguments";
        Some(match call.method {
            "create" => Box::new(self.create(call.argument().expect(COMPLETE))),
            "amend" => Box::new(self.amend(call.argument().expect(COMPLETE))),
            "change" => Box::new(self.change(call.argument().expect(COMPLETE))),
            "put" if self.is_contended(call.argument().expect(COMPLETE)) => Box::new(Ok::<_, Failure>(Put::Contended)),
            "put" => {
                let outcome = call.take_effect(&self.memory);
                self.keep(call.argument().expect(COMPLETE));
                outcome
            }
            "raise_head" if self.conflicts(call.argument().expect(COMPLETE), &Place::Head) => return None,
            "advance"
                if self.conflicts(call.argument().expect(COMPLETE), &Place::Inbox(call.argument::<UserId>().expect(COMPLETE).clone())) =>
            {
                return None;
            }
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
