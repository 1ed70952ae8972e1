//! What the checks know beside the session: every entry that was ever stored, and what a device has asked and was told.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::testing::memory::State;
use chatlane_protocol::frames::{Limits, SyncOutcome};
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, ErrorCode, Outcome, Position, Request, ServerFrame, UserId};
use chatlane_session::SocketId;

/// An entry that was once stored.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) entry: Entry,
    /// The entry before it.
    pub(crate) before: Position,
    pub(crate) at_ms: u64,
}

/// Every entry that was ever stored, also those that a restore took back.
#[derive(Debug, Default)]
pub(crate) struct Ever(BTreeMap<ConversationId, BTreeMap<Position, Kept>>);

impl Ever {
    pub(crate) fn add(&mut self, conversation: &ConversationId, kept: Kept) {
        self.0.entry(conversation.clone()).or_default().entry(kept.entry.position).or_insert(kept);
    }

    pub(crate) fn get(&self, conversation: &ConversationId, position: Position) -> Option<&Kept> {
        self.0.get(conversation)?.get(&position)
    }

    /// When an entry was stored.
    pub(crate) fn stored_ms(&self, conversation: &ConversationId, position: Position) -> u64 {
        self.get(conversation, position).map_or(0, |kept| kept.at_ms)
    }

    pub(crate) fn of_message(&self, conversation: &ConversationId, sender: &UserId, id: &ClientMessageId) -> impl Iterator<Item = &Kept> {
        let all = self.0.get(conversation).into_iter().flat_map(BTreeMap::values);
        all.filter(move |kept| kept.entry.sender == *sender && kept.entry.client_message_id == *id)
    }
}

/// What is known of a device since its app started.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What requests have asked, and when.
    pub(crate) asked: BTreeMap<String, (u64, Request)>,
    pub(crate) greeted: BTreeSet<SocketId>,
    pub(crate) limits: Option<Limits>,
    pub(crate) acked_ms: Option<u64>,
    /// When the last look through a log was asked for that has come to its end.
    pub(crate) looked_ms: BTreeMap<ConversationId, u64>,
    /// When the first attempt of a message was made that was refused for good.
    pub(crate) refused_ms: BTreeMap<ClientMessageId, u64>,
    /// In which second how many.
    pub(crate) outputs: (u64, u32),
}

impl Watch {
    /// What an answer says of limits and messages, before the session knows it.
    pub(crate) fn answered(&mut self, frame: &ServerFrame) {
        let id = match frame {
            ServerFrame::Hello(answer) => {
                self.limits = Some(answer.limits);
                return;
            }
            ServerFrame::Send(answer) => &answer.id,
            ServerFrame::Sync(answer) => &answer.id,
            ServerFrame::Probe(answer) if answer.done => &answer.id,
            // Where there is no log there is nothing to be found.
            ServerFrame::Error(error) if error.refusal.code == ErrorCode::NotFound => {
                let Some(id) = &error.id else { return };
                id
            }
            _ => return,
        };
        let Some((asked_ms, request)) = self.asked.get(id.as_str()) else { return };
        match (frame, request) {
            (ServerFrame::Send(answer), _) => {
                for result in &answer.results {
                    let for_good = |code| matches!(code, ErrorCode::TooLarge | ErrorCode::NotFound | ErrorCode::Forbidden);
                    if matches!(&result.outcome, Outcome::Refused(refusal) if for_good(refusal.code)) {
                        self.refused_ms.entry(result.client_message_id.clone()).or_insert(*asked_ms);
                    }
                }
            }
            (ServerFrame::Sync(answer), _) => {
                let whole = answer.pages.iter().filter(|page| matches!(&page.outcome, SyncOutcome::Ok(missed) if missed.done));
                for page in whole {
                    raise(&mut self.looked_ms, &page.conversation, *asked_ms);
                }
            }
            (_, Request::Probe(probe)) => {
                raise(&mut self.looked_ms, &probe.conversation, *asked_ms);
            }
            _ => {}
        }
    }
}

/// An answer to an earlier question may come later.
fn raise(looked_ms: &mut BTreeMap<ConversationId, u64>, conversation: &ConversationId, asked_ms: u64) {
    let looked = looked_ms.entry(conversation.clone()).or_default();
    *looked = asked_ms.max(*looked);
}

/// Whether the log has an entry at this position.
pub(crate) fn is_there(state: &State, conversation: &ConversationId, position: Position) -> bool {
    state.log.get(conversation).and_then(|log| log.get(&position.seq)).is_some_and(|entry| entry.position == position)
}
