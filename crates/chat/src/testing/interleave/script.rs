//! The script of a schedule: a line a step, written only when somebody reads it.

use std::fmt;

use chatlane_protocol::Outcome;
use chatlane_protocol::frames::SendAnswer;
use chatlane_protocol::request::SendMessages;

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
