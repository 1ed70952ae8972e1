//! The script of a schedule, a line a step: its words, which are made only when somebody reads it.

use std::any::Any;
use std::fmt::{Display, from_fn};

use chatlane_protocol::Outcome;
use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;

use crate::log::Entry;
use crate::ports::{Failure, Put};
use crate::testing::desk::{Outcome as Answered, Waiting};
use crate::testing::memory::Memory;
use crate::workers::task::Task;

/// What a call asks.
pub(super) fn operation(call: &Waiting<Memory>) -> impl Display {
    from_fn(move |f| match (call.argument::<Entry>(), call.argument::<Task>()) {
        (Some(entry), _) => write!(f, "put {} of {} at {}", entry.client_message_id, entry.sender, entry.position),
        (_, Some(task)) => write!(f, "enqueue #{} to {}", task.first, task.last),
        _ => call.fmt(f),
    })
}

/// What it was answered.
pub(super) fn answered(answer: &dyn Answered) -> impl Display {
    from_fn(move |f| {
        let any: &dyn Any = answer;
        if let Some(Ok(entries)) = any.downcast_ref::<Result<Vec<Entry>, Failure>>() {
            return match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => write!(f, "{} to {}", first.position, last.position),
                _ => f.write_str("nothing"),
            };
        }
        match any.downcast_ref::<Result<Put, Failure>>() {
            Some(Ok(Put::Taken(entry))) => write!(f, "taken by {} of {}", entry.client_message_id, entry.sender),
            _ => write!(f, "{answer:?}"),
        }
    })
}

/// Messages of a request.
pub(super) fn messages(request: &SendMessages) -> impl Display {
    from_fn(|f| {
        request.messages.iter().enumerate().try_for_each(|(number, message)| {
            write!(f, "{}{} from {}", if number > 0 { ", " } else { "" }, message.client_message_id, message.anchor)
        })
    })
}

/// Results of an answer.
pub(super) fn results(answer: &SendAnswer) -> impl Display {
    from_fn(|f| {
        answer.results.iter().enumerate().try_for_each(|(number, result)| {
            write!(f, "{}{} ", if number > 0 { ", " } else { "" }, result.client_message_id)?;
            match &result.outcome {
                Outcome::Ok(stored) => write!(f, "ok at {}", stored.position),
                Outcome::Duplicate(stored) => write!(f, "duplicate of {}", stored.position),
                Outcome::Conflict(stored) => write!(f, "conflict with {}", stored.position),
                Outcome::Refused(refusal) => write!(f, "refused as {:?}", refusal.code),
                Outcome::NotAttempted => f.write_str("not attempted"),
            }
        })
    })
}
