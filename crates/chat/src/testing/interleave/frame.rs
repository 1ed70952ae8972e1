//! What devices send and are answered: messages and changes alike.

use chatlane_protocol::frames::{ChangeOutcome, Stored};
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ClientMessageId, ErrorCode, Outcome, Position, Refusal};

use crate::log::draft::Drafted;
use crate::log::{AmendmentEntry, ChangeEntry};
use crate::ports::{Amendments, Clock, Creations, Failure, FanOutQueue, Heads, Memberships, MessageLog};
use crate::refusal::Refused;
use crate::requests::caller::Caller;
use crate::requests::change::{Asked, change};
use crate::requests::send::send;
use crate::settings::Settings;

/// What somebody wants to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A message.
    Message,
    /// A change of the group.
    Change(ChangeEntry),
    /// Something that is done to a message.
    Amendment(AmendmentEntry),
}

/// A frame.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// `send`.
    Messages(SendMessages),
    /// `add`, `remove`, `leave`, `role`, `settings` or `close`.
    Change(Asked<ChangeEntry>),
    /// `edit`, `delete` or `react`.
    Amendment(Asked<AmendmentEntry>),
}

impl Request {
    /// The anchors of what is in it.
    pub(super) fn anchors(&mut self) -> Vec<&mut Position> {
        match self {
            Self::Messages(request) => request.messages.iter_mut().map(|message| &mut message.anchor).collect(),
            Self::Change(asked) => vec![&mut asked.draft.anchor],
            Self::Amendment(asked) => vec![&mut asked.draft.anchor],
        }
    }

    /// What is wanted of each of its drafts.
    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::Messages(_) => Wanted::Message,
            Self::Change(asked) => Wanted::Change(asked.draft.kind.clone()),
            Self::Amendment(asked) => Wanted::Amendment(asked.draft.kind.clone()),
        }
    }
}

/// What became of one draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Ok(Stored),
    Duplicate(Stored),
    Conflict(Stored),
    Unchanged,
    Refused(Refusal),
    NotAttempted,
}

impl Told {
    /// Whether a device that wanted this gives it up: it is so already, or not for its user.
    pub(super) fn is_for_good(&self, wanted: &Wanted) -> bool {
        let is_change = *wanted != Wanted::Message;
        match self {
            Self::Unchanged => true,
            Self::Refused(refusal) => match refusal.code {
                ErrorCode::Forbidden
                | ErrorCode::NoMember
                | ErrorCode::LastOwner
                | ErrorCode::MembersFull
                | ErrorCode::NoMessage
                | ErrorCode::NotEditable
                | ErrorCode::ReactionsFull => true,
                ErrorCode::NotFound => is_change,
                _ => false,
            },
            _ => false,
        }
    }
}

/// Of a frame, draft by draft.
pub(super) type Answer = Vec<(ClientMessageId, Told)>;

/// The answer of the real use case.
pub(super) async fn answer<P>(ports: &P, settings: &Settings, caller: &Caller, request: &Request) -> Result<Answer, Failure>
where
    P: MessageLog + Memberships + Creations + Amendments + Heads + FanOutQueue + Clock,
{
    match request {
        Request::Messages(request) => {
            let results = send(ports, settings, caller, request).await?.answer.results.into_iter();
            Ok(results.map(|result| (result.client_message_id, told(result.outcome))).collect())
        }
        Request::Change(asked) => one(ports, settings, caller, asked).await,
        Request::Amendment(asked) => one(ports, settings, caller, asked).await,
    }
}

async fn one<P, K>(ports: &P, settings: &Settings, caller: &Caller, asked: &Asked<K>) -> Result<Answer, Failure>
where
    P: MessageLog + Memberships + Heads + FanOutQueue + Clock,
    K: Drafted<P>,
{
    let told = match change(ports, settings, caller, asked).await {
        Ok(done) => match done.answer.outcome {
            ChangeOutcome::Ok(stored) => Told::Ok(stored),
            ChangeOutcome::Duplicate(stored) => Told::Duplicate(stored),
            ChangeOutcome::Conflict(stored) => Told::Conflict(stored),
            ChangeOutcome::Unchanged => Told::Unchanged,
        },
        Err(Refused::Failed(failure)) => return Err(failure),
        Err(refused) => Told::Refused(refused.to_wire()),
    };
    Ok(vec![(asked.draft.client_message_id.clone(), told)])
}

fn told(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Ok(stored) => Told::Ok(stored),
        Outcome::Duplicate(stored) => Told::Duplicate(stored),
        Outcome::Conflict(stored) => Told::Conflict(stored),
        Outcome::Refused(refusal) => Told::Refused(refusal),
        Outcome::NotAttempted => Told::NotAttempted,
    }
}
