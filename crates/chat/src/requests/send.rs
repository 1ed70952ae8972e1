//! `send`: messages of one frame into one lane, in their order, acknowledged when they are durable and their delivery is queued.

use chatlane_protocol::frames::{SendAnswer, Stored};
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{MessageResult, Outcome, UnixMillis};

use crate::log::append::{Appended, Lane};
use crate::log::entry::Entry;
use crate::ports::{Clock, FanOutQueue, Head, Heads, Memberships, MessageLog, Unavailable};
use crate::requests::caller::Caller;
use crate::settings::Settings;
use crate::workers::dispatch;
use crate::workers::task::Task;

/// Appends the messages of one request. They are kept in their order by stopping at the first that is neither stored nor a duplicate
/// (L5). An `Err` means that some may be stored, and none is acknowledged (L3): the client retries all with the same ids.
pub async fn send<S, Q, C>(
    store: &S,
    queue: &Q,
    clock: &C,
    settings: &Settings,
    caller: &Caller,
    request: &SendMessages,
) -> Result<SendAnswer, Unavailable>
where
    S: MessageLog + Memberships + Heads,
    Q: FanOutQueue,
    C: Clock,
{
    let mut lane = Lane::new(store, clock, settings, &request.conversation, &caller.user);
    let mut outcomes = Vec::with_capacity(request.messages.len());
    let (mut new, mut found) = (Vec::new(), Vec::new());
    for message in &request.messages {
        let outcome = match lane.append(message).await {
            Ok(Appended::New(entry)) => {
                new.push(head(&entry));
                Outcome::Ok(stored(&entry))
            }
            Ok(Appended::Duplicate(entry)) => {
                found.push(head(&entry));
                Outcome::Duplicate(stored(&entry))
            }
            Ok(Appended::Conflict(entry)) => Outcome::Conflict(stored(&entry)),
            Err(refused) => {
                if let crate::log::append::Refused::Unavailable(unavailable) = &refused {
                    tracing::warn!(conversation = %request.conversation, "append: {unavailable}");
                }
                Outcome::Refused(refused.to_wire())
            }
        };
        let go_on = matches!(outcome, Outcome::Ok(_) | Outcome::Duplicate(_));
        outcomes.push(outcome);
        if !go_on {
            break;
        }
    }
    outcomes.resize(request.messages.len(), Outcome::NotAttempted);

    deliver(store, queue, clock.now(), caller, request, new, found).await?;

    let results = request.messages.iter().zip(outcomes);
    let results = results.map(|(message, outcome)| MessageResult { client_message_id: message.client_message_id.clone(), outcome });
    Ok(SendAnswer { id: request.id.clone(), conversation: request.conversation.clone(), results: results.collect() })
}

/// Queues one delivery task for the frame. L4: an earlier attempt may have died between its put and its enqueue, so what was found and
/// whose delivery has not begun is queued again.
async fn deliver<S: Heads, Q: FanOutQueue>(
    store: &S,
    queue: &Q,
    now: UnixMillis,
    caller: &Caller,
    request: &SendMessages,
    new: Vec<Head>,
    found: Vec<Head>,
) -> Result<(), Unavailable> {
    let found = dispatch::not_begun(store, vec![(request.conversation.clone(), found)]).await?;
    let begun: Vec<Head> = new.into_iter().chain(found.into_iter().flat_map(|(_, entries)| entries)).collect();
    let Some(range) = dispatch::range(&begun) else { return Ok(()) };
    let own = begun.iter().map(|head| head.position.seq).collect();
    let task = Task { own, origin: Some(caller.connection.clone()), ..dispatch::task(&request.conversation, range, now) };
    queue.enqueue(&task, 0).await
}

fn stored(entry: &Entry) -> Stored {
    Stored { position: entry.position, time_ms: entry.time, count: entry.facts.count }
}

fn head(entry: &Entry) -> Head {
    Head { position: entry.position, count: entry.facts.count, time: entry.time }
}
