//! What is appended alone, with what it changes: changes of a group and of a message. Each is appended as a message is, by the same rules of
//! anchors and ids; what it does is in [`crate::log::change`] and [`crate::log::amend`].

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome};
use chatlane_protocol::request::{Add, Close, Delete, Edit, Leave, React, Remove, SetRole, SetSettings};
use chatlane_protocol::{ConversationId, Reacting, RequestId, UserId};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::append::{Appended, Appender};
use crate::log::draft::{Draft, Drafted};
use crate::log::{AmendmentEntry, ChangeEntry};
use crate::ports::{Clock, FanOutQueue, Heads, Memberships, MessageLog};
use crate::refusal::Refused;
use crate::settings::Settings;
use crate::workers::dispatch;

/// An entry that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<K> {
    /// Echoed.
    pub id: RequestId,
    /// Where.
    pub conversation: ConversationId,
    /// What it is called, where it is made, and what it is.
    pub draft: Draft<K>,
}

/// A request as the entry that it asks for.
macro_rules! asks {
    ($($Request:ident as |$request:ident| $Kind:ident $wanted:expr;)*) => {
        $(
            impl From<&$Request> for Asked<$Kind> {
                fn from($request: &$Request) -> Self {
                    Self {
                        id: $request.id.clone(),
                        conversation: $request.conversation.clone(),
                        draft: Draft { client_message_id: $request.client_message_id.clone(), anchor: $request.anchor, kind: $wanted },
                    }
                }
            }
        )*
    };
}

asks! {
    Add as |request| ChangeEntry ChangeEntry::Added(sorted(&request.users));
    Remove as |request| ChangeEntry ChangeEntry::Removed(sorted(&request.users));
    Leave as |request| ChangeEntry ChangeEntry::Left { successor: request.successor.clone() };
    SetRole as |request| ChangeEntry ChangeEntry::Role { user: request.user.clone(), role: request.role };
    SetSettings as |request| ChangeEntry ChangeEntry::Settings(request.settings.clone());
    Close as |request| ChangeEntry ChangeEntry::Closed;
    Edit as |request| AmendmentEntry AmendmentEntry::Edit { target: request.target, body: Some(request.body.clone()) };
    Delete as |request| AmendmentEntry AmendmentEntry::Deletion { target: request.target };
    React as |request| AmendmentEntry AmendmentEntry::Reaction(Reacting {
        target: request.target,
        key: request.key.clone(),
        change: request.change,
    });
}

fn sorted(users: &[UserId]) -> Vec<UserId> {
    let mut users = users.to_vec();
    users.sort();
    users
}

/// Appends the entry, with what it changes, and queues its delivery: to all devices of the members, and of those whom it names.
pub async fn change<P, K>(ports: &P, settings: &Settings, caller: &Caller, asked: &Asked<K>) -> Result<Done<ChangeAnswer>, Refused>
where
    P: MessageLog + Memberships + Heads + FanOutQueue + Clock,
    K: Drafted<P>,
{
    let Asked { id, conversation, draft } = asked;
    let mut appender = Appender::new(ports, settings, conversation, &caller.user);
    let became = appender.append(draft).await?;
    let mut did = Did { attempts: appender.puts(), ..Did::default() };
    let sender = settings.keys.users.sender(&caller.user);
    let outcome = match became {
        Appended::New(entry) => {
            did.stored = 1;
            let head = entry.head();
            ports.enqueue(&dispatch::task(conversation, (head.position.seq, head), sender, ports.now()), 0).await?;
            did.tasks = 1;
            ChangeOutcome::Ok(entry.stored())
        }
        Appended::Duplicate(entry) => {
            did.duplicates = 1;
            // L4: the attempt that stored it may have died before its enqueue.
            did.tasks = dispatch::queue_not_dispatched(ports, sender, vec![(conversation.clone(), vec![entry.head()])]).await?;
            ChangeOutcome::Duplicate(entry.stored())
        }
        Appended::Conflict(entry) => ChangeOutcome::Conflict(entry.stored()),
        Appended::Unchanged => ChangeOutcome::Unchanged,
    };
    Ok(Done { answer: ChangeAnswer { id: id.clone(), conversation: conversation.clone(), outcome }, did })
}
