//! `send`: messages of one frame into one lane, in their order, acknowledged when they are durable and their delivery is queued.

use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{MessageResult, NewMessage, Outcome};

use super::caller::Caller;
use crate::done::{Did, Done};
use crate::log::append::{Appended, Appender};
use crate::log::draft::Draft;
use crate::log::hash::BodyKey;
use crate::log::{Head, MessageEntry};
use crate::ports::{Clock, Failure, FanOutQueue, Heads, Memberships, MessageLog};
use crate::settings::Settings;
use crate::workers::dispatch;
use crate::workers::task::Task;

/// Appends the messages of one request. They are kept in their order by stopping at the first that is neither stored nor a duplicate
/// (L5). An `Err` means that some may be stored, and none is acknowledged (L3): the client retries all with the same ids.
pub async fn send<P>(ports: &P, settings: &Settings, caller: &Caller, request: &SendMessages) -> Result<Done<SendAnswer>, Failure>
where
    P: MessageLog + Memberships + Heads + FanOutQueue + Clock,
{
    let mut appender = Appender::new(ports, settings, &request.conversation, &caller.user);
    let mut outcomes = Vec::with_capacity(request.messages.len());
    let (mut new, mut found) = (Vec::new(), Vec::new());
    for message in &request.messages {
        let outcome = match appender.append(&draft(message, &settings.keys.bodies)).await {
            Ok(Appended::New(entry)) => {
                new.push(entry.head());
                Outcome::Ok(entry.stored())
            }
            Ok(Appended::Duplicate(entry)) => {
                found.push(entry.head());
                Outcome::Duplicate(entry.stored())
            }
            Ok(Appended::Conflict(entry)) => Outcome::Conflict(entry.stored()),
            Ok(Appended::Unchanged) => Outcome::NotAttempted, // a message always changes something
            Err(refused) => {
                refused.log(&format!("append to conversation {}", request.conversation));
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

    let mut did = Did { stored: new.len(), duplicates: found.len(), attempts: appender.puts(), ..Did::default() };
    did.tasks = deliver(ports, settings, caller, request, new, found).await?;

    let results = request.messages.iter().zip(outcomes);
    let results = results.map(|(message, outcome)| MessageResult { client_message_id: message.client_message_id.clone(), outcome });
    let answer = SendAnswer { id: request.id.clone(), conversation: request.conversation.clone(), results: results.collect() };
    Ok(Done { answer, did })
}

fn draft(message: &NewMessage, key: &BodyKey) -> Draft<MessageEntry> {
    let plain = MessageEntry::new(message.body.clone(), key);
    let kind = MessageEntry { reply_to: message.reply_to, mentions: message.mentions.clone(), ..plain };
    Draft { client_message_id: message.client_message_id.clone(), anchor: message.anchor, kind }
}

/// Queues one delivery task for the frame. L4: an earlier attempt may have died between its put and its enqueue, so what was found and
/// whose delivery no worker has begun is queued again.
async fn deliver<P: Heads + FanOutQueue + Clock>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    request: &SendMessages,
    new: Vec<Head>,
    found: Vec<Head>,
) -> Result<usize, Failure> {
    let found = dispatch::not_dispatched(ports, vec![(request.conversation.clone(), found)]).await?;
    let queued: Vec<Head> = new.into_iter().chain(found.into_iter().flat_map(|(_, entries)| entries)).collect();
    let Some(range) = dispatch::range(&queued) else { return Ok(0) };
    let own = queued.iter().map(|head| head.position.seq).collect();
    let sender = settings.keys.users.sender(&caller.user);
    let task = Task { own, origin: caller.connection.clone(), ..dispatch::task(&request.conversation, range, sender, ports.now()) };
    ports.enqueue(&task, 0).await?;
    Ok(1)
}
