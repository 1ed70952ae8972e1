//! The script of a schedule, a line a step: its words, which are made only when somebody reads it.

use std::any::Any;
use std::fmt::{Display, from_fn};

use super::frame::{Answer, Request, Told};
use crate::log::Entry;
use crate::ports::{Change, Failure, Put};
use crate::testing::desk::{Outcome as Answered, Waiting};
use crate::testing::memory::Memory;
use crate::workers::task::Task;

/// What a call asks.
pub(super) fn operation(call: &Waiting<Memory>) -> impl Display {
    from_fn(move |f| {
        if let Some(entry) = call.argument::<Entry>().or(call.argument::<Change>().map(|change| &change.entry)) {
            return write!(f, "{} {} of {} at {}", call.method, entry.client_message_id, entry.sender, entry.position);
        }
        match call.argument::<Task>() {
            Some(task) => write!(f, "enqueue #{} to {}", task.first, task.last),
            None => call.fmt(f),
        }
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

/// What is in a frame.
pub(super) fn drafts(request: &Request) -> impl Display {
    from_fn(move |f| match request {
        Request::Messages(request) => request.messages.iter().enumerate().try_for_each(|(number, message)| {
            write!(f, "{}{} from {}", if number > 0 { ", " } else { "" }, message.client_message_id, message.anchor)
        }),
        Request::Amendment(asked) => write!(f, "{} from {}: {:?}", asked.draft.client_message_id, asked.draft.anchor, asked.draft.kind),
        Request::Change(asked) => write!(f, "{} from {}: {:?}", asked.draft.client_message_id, asked.draft.anchor, asked.draft.kind),
    })
}

/// What became of it.
pub(super) fn results(answer: &Answer) -> impl Display {
    from_fn(|f| {
        answer.iter().enumerate().try_for_each(|(number, (id, told))| {
            write!(f, "{}{id} ", if number > 0 { ", " } else { "" })?;
            match told {
                Told::Ok(stored) => write!(f, "ok at {}", stored.position),
                Told::Duplicate(stored) => write!(f, "duplicate of {}", stored.position),
                Told::Conflict(stored) => write!(f, "conflict with {}", stored.position),
                Told::Unchanged => f.write_str("unchanged"),
                Told::Refused(refusal) => write!(f, "refused as {:?}", refusal.code),
                Told::NotAttempted => f.write_str("not attempted"),
            }
        })
    })
}
