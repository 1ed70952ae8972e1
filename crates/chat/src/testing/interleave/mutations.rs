//! Mutations of the append, each a wrapper around the ports of the real append or a rule of the workload: what the schedules must find.

use std::sync::Mutex;

use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, MessageResult, Outcome, Position, Seq, UnixMillis, UserId};

use super::Ports;
use crate::done::Done;
use crate::log::{Entry, Head};
use crate::ports::{Clock, Failure, MessageLog as _, Put, ReadBound, last};
use crate::refusal::Refused;
use crate::requests::caller::Caller;
use crate::requests::send::send;
use crate::settings::Settings;
use crate::testing::desk::lock;
use crate::testing::wrapper::{Answer, Call, Taking, Wrapper, same};

/// One way to break the append. The first seven are known to lose or double messages; the next two show that L3 and L4 are judged; the last
/// three let a removed member write, or tell a stranger what exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A client that retries takes the tail of the moment as anchor, without having looked through the entries up to it.
    NewerAnchorOnRetry,
    /// The server replaces the anchor by the tail.
    TailTakenAsAnchor,
    /// The server believes that an anchor beyond the tail exists.
    AnchorBeyondTailTrusted,
    /// Anchors are bare seqs: whatever entry has that seq now is taken for the one that the client knew.
    BareSeqAnchor,
    /// An entry that a read left out passes for one that was looked at.
    NonContiguousReadAccepted,
    /// A batch goes on after a message that failed.
    BatchGoesOn,
    /// The occupant of a slot is never taken for one's own.
    OwnPutNotRecognised,
    /// A put whose outcome is unknown counts as done.
    UnknownPutAcknowledged,
    /// A duplicate is acknowledged without looking whether its delivery has begun.
    DuplicateNotQueued,
    /// The row is not read again behind the log.
    RowNotReadAgain,
    /// It is, but only where a change of membership is recent: more entries may come between the two reads.
    RowReadAgainForRecentChangesOnly,
    /// The log is read before the row.
    LogBeforeRow,
}

/// `send` with the mutation in it. `draw` is the writer's own chance.
pub(super) async fn send_through(
    mutation: Mutation,
    ports: Ports,
    draw: u64,
    settings: &Settings,
    caller: &Caller,
    mut request: SendMessages,
) -> Result<Done<SendAnswer>, Failure> {
    match mutation {
        Mutation::TailTakenAsAnchor => {
            if let Some(tail) = last(&ports, &request.conversation).await? {
                request.messages.iter_mut().for_each(|message| message.anchor = tail.position);
            }
        }
        Mutation::BareSeqAnchor => {
            for message in &mut request.messages {
                let found = ports.read(&request.conversation, message.anchor.seq, ReadBound::ONE).await?;
                message.anchor.epoch = found.first().map_or(settings.epoch, |entry| entry.position.epoch);
            }
        }
        _ => {}
    }
    let mutated = Mutated { ports, mutation, draw, disowned: Mutex::new(Vec::new()) };
    if mutation != Mutation::BatchGoesOn {
        return send(&mutated, settings, caller, &request).await;
    }
    let mut results = Vec::new();
    for message in &request.messages {
        let single = SendMessages { messages: vec![message.clone()], ..request.clone() };
        match send(&mutated, settings, caller, &single).await {
            Ok(done) => results.extend(done.answer.results),
            Err(failure) => {
                let outcome = Outcome::Refused(Refused::Failed(failure).to_wire());
                results.push(MessageResult { client_message_id: message.client_message_id.clone(), outcome });
            }
        }
    }
    Ok(Done::read(SendAnswer { id: request.id, conversation: request.conversation, results }))
}

/// The ports with a mutation.
struct Mutated {
    ports: Ports,
    mutation: Mutation,
    draw: u64,
    /// Slots whose occupants this writer does not take for its own.
    disowned: Mutex<Vec<Seq>>,
}

impl Mutated {
    /// The entry as this mutation shows it.
    fn shown(&self, entry: Entry) -> Entry {
        if lock(&self.disowned).contains(&entry.position.seq) { of_somebody_else(entry) } else { entry }
    }

    async fn read(&self, call: Call<'_>, entries: Result<Vec<Entry>, Failure>) -> Result<Vec<Entry>, Failure> {
        let mut entries: Vec<Entry> = entries?.into_iter().map(|entry| self.shown(entry)).collect();
        match (self.mutation, call.argument::<ConversationId>(), call.argument::<Seq>()) {
            (Mutation::AnchorBeyondTailTrusted, Some(conversation), Some(from)) if entries.is_empty() => {
                let made_up = |last: Entry| Entry { position: Position::new(last.position.epoch, *from), ..last };
                entries.extend(last(&self.ports, conversation).await?.map(made_up));
            }
            (Mutation::NonContiguousReadAccepted, _, Some(_)) if entries.len() > 2 => {
                let between = entries.len() - 2;
                let left_out = 1 + usize::try_from(self.draw).unwrap_or(0) % between;
                entries[left_out] = of_somebody_else(entries[left_out].clone());
            }
            _ => {}
        }
        Ok(entries)
    }

    fn put(&self, put: Result<Put, Failure>) -> Result<Put, Failure> {
        match put {
            Err(_) if self.mutation == Mutation::UnknownPutAcknowledged => Ok(Put::Stored),
            Ok(Put::Taken(occupant)) => {
                if self.mutation == Mutation::OwnPutNotRecognised {
                    lock(&self.disowned).push(occupant.position.seq);
                }
                Ok(Put::Taken(Box::new(self.shown(*occupant))))
            }
            other => other,
        }
    }

    fn heads(&self, heads: Result<Vec<Head>, Failure>) -> Result<Vec<Head>, Failure> {
        let dispatched = Head { position: Position::new(u32::MAX, Seq::MAX), ..Head::default() };
        if self.mutation == Mutation::DuplicateNotQueued { Ok(vec![dispatched; heads?.len()]) } else { heads }
    }
}

fn of_somebody_else(entry: Entry) -> Entry {
    Entry { sender: UserId::new("somebody else").expect("this is a user id"), ..entry }
}

impl Wrapper for Mutated {
    type Inner = Ports;

    fn now(&self) -> UnixMillis {
        Clock::now(&self.ports)
    }

    async fn call<T: Answer>(&self, call: Call<'_>, effect: impl for<'a> Fn(&'a Ports) -> Taking<'a, T> + Send + Sync + 'static) -> T {
        if let ("member", Mutation::LogBeforeRow, Some(conversation)) = (call.method, self.mutation, call.argument::<ConversationId>()) {
            let _too_early = self.ports.read(conversation, Seq::FIRST, ReadBound::ONE).await;
        }
        let answer = effect(&self.ports).await;
        match call.method {
            "read" | "read_back" => same(self.read(call, same(answer)).await),
            "put" => same(self.put(same(answer))),
            "heads" => same(self.heads(same(answer))),
            _ => answer,
        }
    }
}
