//! Watches the logs of the model server: a second entry of one message (L2) or a device's messages out of order (L5) end the run.

use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position};

use super::server::Server;

/// An entry that was once accepted.
#[derive(Clone, Debug)]
pub struct Logged {
    pub entry: Entry,
    /// The entry before it.
    pub parent: Position,
    /// The number of the request that wrote it.
    pub request: u64,
}

impl Server {
    /// Keeps what was appended, and looks whether it may be there.
    pub fn note_last(&mut self, conversation: &ConversationId) {
        let entries = &self.lanes[conversation].entries;
        let (entry, before) = entries.split_last().expect("something was appended");
        let id = &entry.client_message_id;
        let twice = before.iter().any(|one| one.sender == entry.sender && one.client_message_id == *id);
        assert!(!twice, "L2: {id} is in the log of {conversation} twice");
        let later = before.iter().find(|one| {
            let known = made(&one.client_message_id).zip(made(id));
            known.is_some_and(|(one, this)| one.0 == this.0 && one.1 > this.1)
        });
        // One that was refused for good is overtaken by those behind it; an earlier attempt of it may still be under way. And one that was
        // accepted and taken back by a restore may come again behind later ones: its device, if it has not stored that it is done (it was
        // killed), repeats it, but has sent those behind it since.
        let taken_back = self.ever.iter().any(|((lane, _), logged)| {
            lane == conversation && logged.entry.sender == entry.sender && logged.entry.client_message_id == *id
        });
        let excused = |later: &Entry| taken_back || self.refused.contains(id) || self.refused.contains(&later.client_message_id);
        let overtaken = later.filter(|later| !excused(later));
        assert!(overtaken.is_none(), "L5: {id} is in the log of {conversation} behind {:?}", overtaken.map(|one| &one.client_message_id));
        let parent = before.last().map_or(Position::ZERO, |last| last.position);
        let logged = Logged { entry: entry.clone(), parent, request: self.requests };
        self.ever.insert((conversation.clone(), entry.position), logged);
    }
}

/// Which device made a message, and its number there.
fn made(id: &ClientMessageId) -> Option<(&str, u64)> {
    let (device, number) = id.as_str().split_once('-')?;
    Some((device, number.parse().ok()?))
}
