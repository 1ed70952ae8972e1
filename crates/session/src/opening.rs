//! Finding or creating the conversation with somebody.

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ClientMessageId, Position, Request, UserId};

use super::link::Purpose;
use super::retry::Retry;
use super::step::Step;
use super::wire::Answered;
use super::{Failure, Session, Shown};

/// A conversation that the person waits for. Kept in memory until it is answered; always asked for with the same id (L2).
#[derive(Clone, Debug)]
pub(super) struct Opening {
    with: UserId,
    pub(super) retry: Retry,
}

impl Session {
    pub(super) fn open_with(&mut self, user: UserId, client_message_id: ClientMessageId, step: &mut Step) {
        if let Some(lane) = self.lanes.values().find(|lane| lane.row.with.as_ref() == Some(&user)) {
            step.show(Shown::Opened { user, conversation: lane.row.conversation.clone() });
        } else if !self.opens.values().any(|open| open.with == user) {
            self.opens.insert(client_message_id, Opening { with: user, retry: Retry::NEW });
        }
    }

    pub(super) fn ask_open(&mut self, step: &mut Step) {
        let Some(socket) = self.sockets.ready().map(|link| link.socket) else { return };
        for (client_message_id, Opening { with, retry }) in self.opens.clone() {
            let purpose = Purpose::Open { client_message_id: client_message_id.clone() };
            if !self.sockets.has(|asked| *asked == purpose) && step.reached(retry.not_before()) {
                self.ask(socket, purpose, |id| Request::Open(Open { id, with, client_message_id }), step);
            }
        }
    }

    pub(super) fn open_answered(&mut self, client_message_id: &ClientMessageId, answered: Answered<OpenAnswer>, step: &mut Step) {
        let Some(open) = self.opens.get_mut(client_message_id) else { return };
        match answered {
            Answered::Answer(OpenAnswer { conversation: ConversationHead { conversation, with, head }, .. }) => {
                let user = open.with.clone();
                self.opens.remove(client_message_id);
                let lane = self.lane(&conversation);
                if lane.row.with.is_none() && lane.row.have != Position::ZERO {
                    lane.doubt(); // it was not found, and may be a new one now
                }
                lane.row.with = with.or_else(|| Some(user.clone()));
                // Entry 1 is pushed to those who ask too: the gap wait runs before it is asked for.
                self.end_told(&conversation, head);
                step.touch(&conversation);
                step.show_committed(Shown::Opened { user, conversation });
            }
            Answered::Refused(refusal) => {
                let user = open.with.clone();
                self.opens.remove(client_message_id);
                step.show(Shown::Failed(Failure::Open { user, refusal }));
            }
            Answered::TryAgain { retry_after_ms } => open.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }
}
