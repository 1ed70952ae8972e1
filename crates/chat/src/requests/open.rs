//! `open`: the direct conversation of two users, found or created. Idempotent: its id derives from the two users.

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ErrorCode, Position, Refusal, Seq, UserId};

use crate::log::admission::Bucket;
use crate::log::append::{ATTEMPTS_MAX, BUSY_RETRY_AFTER_MS};
use crate::log::entry::{Entry, Facts, Kind, Policy, Role, direct_conversation};
use crate::ports::{Clock, Created, Creation, FanOutQueue, Head, Heads, Member, MessageLog, ReadBound, Unavailable};
use crate::requests::caller::Caller;
use crate::settings::Settings;
use crate::workers::dispatch;

/// Why there is no conversation to answer.
#[derive(Debug, thiserror::Error)]
pub enum OpenRefused {
    /// A direct conversation has two users.
    #[error("a direct conversation is with somebody else")]
    WithOneself,
    /// Other transactions were in the way.
    #[error("others were opening the same conversation")]
    Busy,
    /// The backend.
    #[error("the outcome is unknown; retry")]
    Unavailable(#[from] Unavailable),
}

impl OpenRefused {
    /// The one place where refusals of `open` become codes.
    pub fn to_wire(&self) -> Refusal {
        let refusal = |code| Refusal::new(code, self.to_string());
        match self {
            Self::WithOneself => refusal(ErrorCode::BadRequest),
            Self::Busy => refusal(ErrorCode::Busy).after_ms(BUSY_RETRY_AFTER_MS),
            Self::Unavailable(_) => refusal(ErrorCode::Unavailable).after_ms(BUSY_RETRY_AFTER_MS),
        }
    }
}

/// Finds or creates the conversation and sees to it that entry 1 is delivered, to all devices of both users.
pub async fn open<S, Q, C>(
    store: &S,
    queue: &Q,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    request: &Open,
) -> Result<OpenAnswer, OpenRefused>
where
    S: MessageLog + Heads,
    Q: FanOutQueue,
    C: Clock,
{
    if request.with == caller.user {
        return Err(OpenRefused::WithOneself);
    }
    let conversation = direct_conversation(&caller.user, &request.with);
    let slot_1 = ReadBound { entries_max: 1, bytes_max: usize::MAX };
    for _ in 0..ATTEMPTS_MAX {
        let found = store.read(&conversation, Seq::FIRST, slot_1).await?;
        let (first, time, head) = if let Some(entry) = found.first() {
            let heads = store.heads(std::slice::from_ref(&conversation)).await?;
            (entry.position, entry.time, heads.first().map_or(Position::ZERO, |head| head.position))
        } else {
            let creation = creation(settings, clock, caller, request);
            match store.create(&creation).await? {
                Created::New => (creation.entry.position, creation.entry.time, Position::ZERO),
                // Somebody else was faster: read again and go on.
                Created::Exists | Created::Contended => continue,
            }
        };
        if head < first {
            // L4: created just now, or by somebody who died before this line.
            let head = Head { position: first, count: 0, time }; // entry 1 is no message
            queue.enqueue(&dispatch::task(&conversation, (first.seq, head), clock.now()), 0).await?;
        }
        let conversation = ConversationHead { conversation, with: Some(request.with.clone()), head: head.max(first) };
        return Ok(OpenAnswer { id: request.id.clone(), conversation });
    }
    Err(OpenRefused::Busy)
}

fn creation<C: Clock>(settings: &Settings, clock: &C, caller: &Caller, request: &Open) -> Creation {
    let now = clock.now();
    let policy = Policy::DIRECT;
    let mut users: Vec<UserId> = vec![caller.user.clone(), request.with.clone()];
    users.sort();
    let member = |user: &UserId| Member { user: user.clone(), role: Role::Member, visible_from: Seq::FIRST, version: Seq::FIRST };
    let members: Vec<Member> = users.iter().map(member).collect();
    let entry = Entry {
        conversation: direct_conversation(&caller.user, &request.with),
        position: Position::new(settings.epoch, Seq::FIRST),
        sender: caller.user.clone(),
        client_message_id: request.client_message_id.clone(),
        time: now,
        kind: Kind::Created { members: users },
        facts: Facts {
            count: 0,
            membership_changed: Seq::FIRST,
            removed: Seq::ZERO,
            policy,
            members: 2,
            owners: 0,
            bucket: Bucket::full(policy.admitted_per_s, now),
        },
    };
    Creation { entry, members }
}
