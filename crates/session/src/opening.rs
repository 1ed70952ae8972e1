//! Finding or creating the conversation with somebody.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ClientMessageId, Position, Request, UserId};

use super::retry::Retry;
use super::sockets::Sockets;
use super::step::Step;
use super::wire::Answered;
use super::{Failure, Purpose, Session, Shown};

/// A conversation that the user waits for. Kept in memory until it is answered; always asked for with the same id (L2).
#[derive(Clone, Debug)]
struct Opening {
    with: UserId,
    retry: Retry,
}

/// The conversations that the user waits for, each under the id of its request.
#[derive(Clone, Debug, Default)]
pub(super) struct Openings(BTreeMap<ClientMessageId, Opening>);

impl Openings {
    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.0.values_mut().for_each(|open| open.retry.forgive());
    }

    /// Asks for what is wanted and not in flight.
    pub(super) fn ask(&self, sockets: &mut Sockets, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        for (client_message_id, Opening { with, retry }) in self.0.clone() {
            let purpose = Purpose::Open { client_message_id: client_message_id.clone() };
            if !sockets.has(|asked| *asked == purpose) && step.reached(retry.not_before()) {
                sockets.ask(socket, purpose, |id| Request::Open(Open { id, with, client_message_id }), step);
            }
        }
    }
}

impl Session {
    pub(super) fn open_with(&mut self, user: UserId, client_message_id: ClientMessageId, step: &mut Step) {
        if let Some(local) = self.conversations.values().find(|local| local.row.with.as_ref() == Some(&user)) {
            step.show(Shown::Opened { user, conversation: local.row.conversation.clone() });
        } else if !self.openings.0.values().any(|open| open.with == user) {
            self.openings.0.insert(client_message_id, Opening { with: user, retry: Retry::NEW });
        }
    }

    pub(super) fn open_answered(&mut self, client_message_id: &ClientMessageId, answered: Answered<OpenAnswer>, step: &mut Step) {
        let Some(open) = self.openings.0.get_mut(client_message_id) else { return };
        match answered {
            Answered::Answer(OpenAnswer { conversation: ConversationHead { conversation, with, head }, .. }) => {
                let user = open.with.clone();
                self.openings.0.remove(client_message_id);
                let local = self.conversations.entry(&conversation);
                if local.row.with.is_none() && local.row.have != Position::ZERO {
                    local.doubt(); // it was not found, and may be a new one now
                }
                local.row.with = with.or_else(|| Some(user.clone()));
                local.row.told = true;
                // Entry 1 is pushed to those who ask too: the gap wait runs before it is asked for.
                self.end_came(&conversation, head);
                step.touch(&conversation);
                step.show_committed(Shown::Opened { user, conversation });
            }
            Answered::Refused(refusal) => {
                let user = open.with.clone();
                self.openings.0.remove(client_message_id);
                step.show(Shown::Failed(Failure::Open { user, refusal }));
            }
            Answered::TryAgain { retry_after_ms } => open.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }
}
