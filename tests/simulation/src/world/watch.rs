//! What the checks know beside the session: every entry that was ever stored, and what a device has asked and was told.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::testing::memory::State;
use chatlane_protocol::frames::{ChangeOutcome, Limits, SyncOutcome};
use chatlane_protocol::request::{Delete, Edit, React};
use chatlane_protocol::{
    ClientMessageId, ConversationId, Entry, EntryKind, ErrorCode, Outcome, Position, Request, Seq, ServerFrame, UserId,
};
use chatlane_session::{SocketId, target as fold_target};

/// An entry that was once stored.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) entry: Entry,
    /// The entry before it.
    pub(crate) before: Position,
    pub(crate) at_ms: u64,
}

/// Every entry that was ever stored, also those that a restore took back; and how far users have let others know that they have read.
#[derive(Debug, Default)]
pub(crate) struct Ever(BTreeMap<ConversationId, BTreeMap<Position, Kept>>, BTreeMap<(ConversationId, UserId), Seq>);

impl Ever {
    pub(crate) fn add(&mut self, conversation: &ConversationId, kept: Kept) {
        self.0.entry(conversation.clone()).or_default().entry(kept.entry.position).or_insert(kept);
    }

    pub(crate) fn get(&self, conversation: &ConversationId, position: Position) -> Option<&Kept> {
        self.0.get(conversation)?.get(&position)
    }

    /// Whether this is what somebody may be told of an entry that was once stored: as it was then, as edits and a deletion have made it since,
    /// or hidden. Who may be told what, and what stands beside it, is the checker's to judge.
    pub(crate) fn tells(&self, conversation: &ConversationId, told: &Entry) -> bool {
        let Some(Kept { entry, .. }) = self.get(conversation, told.position) else { return false };
        let seq = told.position.seq;
        let done = |by: &dyn Fn(&Entry) -> bool| self.0[conversation].values().any(|kept| by(&kept.entry));
        let same = (&told.sender, &told.client_message_id, told.time_ms, told.count)
            == (&entry.sender, &entry.client_message_id, entry.time_ms, entry.count);
        same && match (&told.kind, &entry.kind) {
            (EntryKind::Message(now), EntryKind::Message(was)) => {
                let edit = |by: &Entry| {
                    Some(by.position.seq) == now.edited
                        && matches!(&by.kind, EntryKind::Edit { target, body: Some(body) } if *target == seq && *body == now.body)
                };
                let says = if now.edited.is_some() { done(&edit) } else { now.body == was.body };
                says && now.mentions == was.mentions && (now.reply_to.is_none() || now.reply_to == was.reply_to)
            }
            (EntryKind::Deleted, EntryKind::Message(_)) => done(&|by| matches!(by.kind, EntryKind::Deletion { target } if target == seq)),
            (EntryKind::Edit { target, body: None }, EntryKind::Edit { target: of, .. }) => target == of,
            (EntryKind::Hidden, kind) => matches!(kind, EntryKind::Message(_)) || fold_target(entry).is_some(),
            (now, was) => now == was,
        }
    }

    /// Whether a message was deleted, at some time.
    pub(crate) fn has_deleted(&self, conversation: &ConversationId, message: Seq) -> bool {
        let all = self.0.get(conversation).into_iter().flat_map(BTreeMap::values);
        all.filter_map(|kept| if let EntryKind::Deletion { target } = kept.entry.kind { Some(target) } else { None })
            .any(|of| of == message)
    }

    /// Whether all entries of a direct conversation but the first were messages.
    pub(crate) fn has_messages_only(&self, conversation: &ConversationId) -> bool {
        let mut all = self.0.get(conversation).into_iter().flat_map(BTreeMap::values);
        all.all(|kept| matches!(kept.entry.kind, EntryKind::Created { .. } | EntryKind::Message(_)))
    }

    /// The user lets the others know that they have read this.
    pub(crate) fn let_know(&mut self, conversation: &ConversationId, user: &UserId, read: Position) {
        let known = self.1.entry((conversation.clone(), user.clone())).or_default();
        *known = read.seq.max(*known);
    }

    /// Whether others may be told that the user has read this: what they let them know, or the entry by which they joined; and their own
    /// entries right behind it.
    pub(crate) fn may_know(&self, conversation: &ConversationId, user: &UserId, read: Position) -> bool {
        let known = self.1.get(&(conversation.clone(), user.clone())).copied().unwrap_or_default();
        let at =
            |seq: Seq| self.0.get(conversation).into_iter().flat_map(BTreeMap::values).filter(move |kept| kept.entry.position.seq == seq);
        let joins = |kept: &Kept| matches!(&kept.entry.kind, EntryKind::Added { users } if users.contains(user));
        let mut seq = read.seq;
        while seq > known.max(Seq::FIRST) && !at(seq).any(joins) {
            if !at(seq).any(|kept| kept.entry.sender == *user) {
                return false;
            }
            seq = seq.minus(1);
        }
        true
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
    pub(crate) read_ms: Option<u64>,
    /// When the last look through a log was asked for that has come to its end.
    pub(crate) looked_ms: BTreeMap<ConversationId, u64>,
    /// When the first attempt of a message was made that was refused for good.
    pub(crate) refused_ms: BTreeMap<ClientMessageId, u64>,
    /// Changes of which the server has said that all is so already.
    pub(crate) unchanged: BTreeSet<ClientMessageId>,
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
            ServerFrame::Edit(answer) | ServerFrame::Delete(answer) | ServerFrame::React(answer) => &answer.id,
            ServerFrame::Sync(answer) => &answer.id,
            ServerFrame::Probe(answer) if answer.done => &answer.id,
            // Where there is no log there is nothing to be found.
            ServerFrame::Error(error) if is_for_good(error.refusal.code) => {
                let Some(id) = &error.id else { return };
                id
            }
            _ => return,
        };
        let Some((asked_ms, request)) = self.asked.get(id.as_str()) else { return };
        match (frame, request) {
            (ServerFrame::Send(answer), _) => {
                for result in &answer.results {
                    if matches!(&result.outcome, Outcome::Refused(refusal) if is_for_good(refusal.code)) {
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
            (
                frame,
                Request::Edit(Edit { client_message_id, .. })
                | Request::Delete(Delete { client_message_id, .. })
                | Request::React(React { client_message_id, .. }),
            ) => match frame {
                ServerFrame::Error(_) => drop(self.refused_ms.entry(client_message_id.clone()).or_insert(*asked_ms)),
                ServerFrame::Edit(answer) | ServerFrame::Delete(answer) | ServerFrame::React(answer)
                    if answer.outcome == ChangeOutcome::Unchanged =>
                {
                    self.unchanged.insert(client_message_id.clone());
                }
                _ => {}
            },
            (ServerFrame::Error(error), Request::Probe(_)) if error.refusal.code != ErrorCode::NotFound => {}
            (_, Request::Probe(probe)) => {
                raise(&mut self.looked_ms, &probe.conversation, *asked_ms);
            }
            _ => {}
        }
    }
}

/// Whether a message, or a change of one, that is refused so is not stored by that attempt, nor by a repetition.
const fn is_for_good(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TooLarge
            | ErrorCode::NotFound
            | ErrorCode::Forbidden
            | ErrorCode::NoMessage
            | ErrorCode::NotEditable
            | ErrorCode::ReactionsFull
    )
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
