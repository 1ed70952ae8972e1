//! The script of a schedule: a line a step, written only when somebody reads it.

use std::any::Any;
use std::fmt;

use chatlane_protocol::Outcome;
use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;

use crate::log::Entry;
use crate::ports::{Failure, Put};
use crate::testing::desk::{Outcome as Answered, Waiting};
use crate::testing::memory::Memory;
use crate::workers::task::Task;

/// What a call asks, for the script.
pub(super) struct Operation<'a>(pub(super) &'a Waiting<Memory>);

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.0;
        match (call.argument::<Entry>(), call.argument::<Task>()) {
            (Some(entry), _) => write!(f, "put {} of {} at {}", entry.client_message_id, entry.sender, entry.position),
            (_, Some(task)) => write!(f, "enqueue #{} to {}", task.first, task.last),
            _ => call.fmt(f),
        }
    }
}

/// What it was answered, for the script.
pub(super) struct Answer<'a>(pub(super) &'a dyn Answered);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer: &dyn Any = self.0;
        if let Some(Ok(entries)) = answer.downcast_ref::<Result<Vec<Entry>, Failure>>() {
            return match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => write!(f, "{} to {}", first.position, last.position),
                _ => f.write_str("nothing"),
            };
        }
        match answer.downcast_ref::<Result<Put, Failure>>() {
            Some(Ok(Put::Taken(entry))) => write!(f, "taken by {} of {}", entry.client_message_id, entry.sender),
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// Messages of a request, for the script.
pub(super) struct Messages<'a>(pub(super) &'a SendMessages);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for message in &self.0.messages {
            write!(f, "{gap}{} from {}", message.client_message_id, message.anchor)?;
            gap = ", ";
        }
        Ok(())
    }
}

/// Results of an answer, for the script.
pub(super) struct Results<'a>(pub(super) &'a SendAnswer);

impl fmt::Display for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for result in &self.0.results {
            write!(f, "{gap}{} ", result.client_message_id)?;
            match &result.outcome {
                Outcome::Ok(stored) => write!(f, "ok at {}", stored.position)?,
                Outcome::Duplicate(stored) => write!(f, "duplicate of {}", stored.position)?,
                Outcome::Conflict(stored) => write!(f, "conflict with {}", stored.position)?,
                Outcome::Refused(refusal) => write!(f, "refused as {:?}", refusal.code)?,
                Outcome::NotAttempted => f.write_str("not attempted")?,
            }
            gap = ", ";
        }
        Ok(())
    }
}
