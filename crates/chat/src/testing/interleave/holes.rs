//! The holes of DESIGN §3, each a wrapper around the ports of the real append or a rule of the workload: what the schedules must find.

use std::sync::{Mutex, PoisonError};

use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, ErrorCode, MessageResult, Outcome, Position, Refusal, Seq, UserId};

use super::calls::Port;
use crate::log::entry::Entry;
use crate::ports::{Clock, Created, Creation, FanOutQueue, Head, Heads, InboxRow, Member, Memberships, MessageLog};
use crate::ports::{Put, ReadBound, Run, Unavailable};
use crate::requests::caller::Caller;
use crate::requests::send::send;
use crate::settings::Settings;
use crate::workers::task::Task;

/// One way to break the append. The first seven are those of the issue; the last two show that L3 and L4 are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// A client that retries takes the tail of the moment as anchor, without having looked through the entries up to it.
    NewerAnchorOnRetry,
    /// The server replaces the anchor by the tail.
    TailTakenAsAnchor,
    /// The server believes that an anchor beyond the tail exists.
    AnchorBeyondTailTrusted,
    /// Anchors are bare seqs: whatever entry has that seq now is taken for the one that the client knew.
    BareSeqAnchor,
    /// A read that left an entry out passes for whole.
    NonContiguousReadAccepted,
    /// A batch goes on after a message that failed.
    BatchGoesOn,
    /// The occupant of a slot is never taken for one's own.
    OwnPutNotRecognised,
    /// A put whose outcome is unknown counts as done.
    UnknownPutAcknowledged,
    /// A duplicate is acknowledged without looking whether its delivery has begun.
    DuplicateNotQueued,
}

/// `send` with the hole in it. `draw` is the writer's own chance.
pub(super) async fn send_through<C: Clock>(
    hole: Hole,
    port: Port,
    draw: u64,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    mut request: SendMessages,
) -> Result<SendAnswer, Unavailable> {
    match hole {
        Hole::TailTakenAsAnchor => {
            if let Some(tail) = port.last(&request.conversation).await? {
                request.messages.iter_mut().for_each(|message| message.anchor = tail.position);
            }
        }
        Hole::BareSeqAnchor => {
            let one = ReadBound { entries_max: 1, bytes_max: usize::MAX };
            for message in &mut request.messages {
                let found = port.read(&request.conversation, message.anchor.seq, one).await?;
                message.anchor.epoch = found.first().map_or(settings.epoch, |entry| entry.position.epoch);
            }
        }
        _ => {}
    }
    let leaky = Leaky { port, hole, draw, disowned: Mutex::new(Vec::new()) };
    if hole != Hole::BatchGoesOn {
        return send(&leaky, &leaky, clock, settings, caller, &request).await;
    }
    let mut results = Vec::new();
    for message in &request.messages {
        let single = SendMessages { messages: vec![message.clone()], ..request.clone() };
        match send(&leaky, &leaky, clock, settings, caller, &single).await {
            Ok(answer) => results.extend(answer.results),
            Err(unavailable) => {
                let outcome = Outcome::Refused(Refusal::new(ErrorCode::Unavailable, unavailable.to_string()));
                results.push(MessageResult { client_message_id: message.client_message_id.clone(), outcome });
            }
        }
    }
    Ok(SendAnswer { id: request.id, conversation: request.conversation, results })
}

/// The ports with a hole.
#[derive(Debug)]
struct Leaky {
    port: Port,
    hole: Hole,
    draw: u64,
    /// Slots whose occupants this writer does not take for its own.
    disowned: Mutex<Vec<Seq>>,
}

impl Leaky {
    /// The entry as this hole shows it.
    fn shown(&self, mut entry: Entry) -> Entry {
        if self.disowned.lock().unwrap_or_else(PoisonError::into_inner).contains(&entry.position.seq) {
            entry.sender = UserId::new("somebody else").expect("this is a user id");
        }
        entry
    }
}

impl MessageLog for Leaky {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        Ok(self.port.read(conversation, from, bound).await?.into_iter().map(|entry| self.shown(entry)).collect())
    }

    async fn read_run(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Run, Unavailable> {
        let mut entries = self.read(conversation, from, bound).await?;
        let consecutive = (from.get()..).zip(&entries).all(|(seq, entry)| entry.position.seq.get() == seq);
        if !consecutive {
            return Ok(Run::Broken);
        }
        match self.hole {
            Hole::AnchorBeyondTailTrusted if entries.is_empty() => {
                let made_up = |last: Entry| Entry { position: Position::new(last.position.epoch, from), ..last };
                entries.extend(self.port.last(conversation).await?.map(made_up));
            }
            Hole::NonContiguousReadAccepted if entries.len() > 2 => {
                let between = entries.len() - 2;
                entries.remove(1 + usize::try_from(self.draw).unwrap_or(0) % between);
            }
            _ => {}
        }
        Ok(Run::Whole(entries))
    }

    async fn read_back(&self, conversation: &ConversationId, before: Option<Seq>, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        Ok(self.port.read_back(conversation, before, bound).await?.into_iter().map(|entry| self.shown(entry)).collect())
    }

    async fn at(&self, slots: &[(ConversationId, Seq)]) -> Result<Vec<Option<Entry>>, Unavailable> {
        self.port.at(slots).await
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        match self.port.put(entry).await {
            Err(_) if self.hole == Hole::UnknownPutAcknowledged => Ok(Put::Stored),
            Ok(Put::Taken(occupant)) => {
                if self.hole == Hole::OwnPutNotRecognised {
                    self.disowned.lock().unwrap_or_else(PoisonError::into_inner).push(occupant.position.seq);
                }
                Ok(Put::Taken(Box::new(self.shown(*occupant))))
            }
            other => other,
        }
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        self.port.create(creation).await
    }
}

impl Memberships for Leaky {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.port.member(conversation, user).await
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        self.port.settled_member(conversation, user).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        self.port.members(conversation).await
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        self.port.inbox(user, after, limit).await
    }
}

impl Heads for Leaky {
    async fn raise_head(&self, conversation: &ConversationId, to: Head) -> Result<Position, Unavailable> {
        self.port.raise_head(conversation, to).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Head>, Unavailable> {
        let heads = self.port.heads(conversations).await?;
        let begun = Head { position: Position::new(u32::MAX, Seq::MAX), ..Head::default() };
        Ok(if self.hole == Hole::DuplicateNotQueued { vec![begun; heads.len()] } else { heads })
    }
}

impl FanOutQueue for Leaky {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Unavailable> {
        self.port.enqueue(task, delay_s).await
    }
}
