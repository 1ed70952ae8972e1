//! Finding or creating the conversation with somebody.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{Body, ClientMessageId, ConversationId, Position, Request, UserId};

use super::retry::Retry;
use super::sockets::Sockets;
use super::step::Step;
use super::wire::Answered;
use super::{Change, Failure, HeldRow, Purpose, Session, Shown};

/// A conversation that the user waits for. Kept in memory until it is answered; always asked for with the same id (L2).
#[derive(Clone, Debug)]
struct Opening {
    with: UserId,
    retry: Retry,
}

/// The conversations that the user waits for.
#[derive(Clone, Debug)]
pub(super) struct Openings {
    /// Each under the id of its request.
    asked: BTreeMap<ClientMessageId, Opening>,
    /// What is to be sent when they are there, in the order of writing.
    held: Vec<HeldRow>,
    /// Those that were lost and opened anew.
    again: BTreeSet<ConversationId>,
}

impl Openings {
    /// With the messages that the store held.
    pub(super) fn new(held: Vec<HeldRow>) -> Self {
        let mut openings = Self { asked: BTreeMap::new(), held: vec![], again: BTreeSet::new() };
        for row in held {
            openings.want(row.user.clone(), row.opening.clone());
            openings.held.push(row);
        }
        openings
    }

    /// Answers the id under which it is asked for: another one, if it was wanted before.
    fn want(&mut self, with: UserId, client_message_id: ClientMessageId) -> ClientMessageId {
        if let Some((asked, _)) = self.asked.iter().find(|(_, open)| open.with == with) {
            return asked.clone();
        }
        self.asked.insert(client_message_id.clone(), Opening { with, retry: Retry::NEW });
        client_message_id
    }

    /// Takes the messages to this user, whose rows go.
    fn release(&mut self, user: &UserId, step: &mut Step) -> Vec<HeldRow> {
        let released: Vec<HeldRow> = self.held.extract_if(.., |row| row.user == *user).collect();
        step.changes.extend(released.iter().map(|row| Change::HeldDone(row.client_message_id.clone())));
        released
    }

    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.asked.values_mut().for_each(|open| open.retry.forgive());
    }

    /// Asks for what is wanted and not in flight.
    pub(super) fn ask(&self, sockets: &mut Sockets, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        for (client_message_id, Opening { with, retry }) in self.asked.clone() {
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
        } else {
            self.openings.want(user, client_message_id);
        }
    }

    /// The user wrote to somebody.
    pub(super) fn compose_to(
        &mut self,
        user: UserId,
        client_message_id: ClientMessageId,
        opening: ClientMessageId,
        body: Body,
        step: &mut Step,
    ) {
        let known = self.conversations.values().find(|local| local.row.with.as_ref() == Some(&user));
        if let Some(conversation) = known.map(|local| local.row.conversation.clone()) {
            return self.compose(conversation, client_message_id, body.into(), step);
        }
        if self.openings.held.iter().any(|row| row.client_message_id == client_message_id) {
            return; // a double tap
        }
        let opening = self.openings.want(user.clone(), opening);
        let row = HeldRow {
            user: user.clone(),
            order: self.conversations.next_order(),
            client_message_id: client_message_id.clone(),
            opening,
            body,
        };
        self.openings.held.push(row.clone());
        step.changes.push(Change::Held(row));
        step.show_committed(Shown::Held { user, client_message_id });
    }

    /// The server does not know the conversation with this user any more: a restore has lost it, perhaps, and it is opened anew. Once in the
    /// life of the app, or a server that opens what it does not know would be asked for ever.
    pub(super) fn open_again(&mut self, conversation: &ConversationId, user: UserId, step: &mut Step) {
        if !self.openings.again.insert(conversation.clone()) {
            return;
        }
        let name = format!("open-{:013x}", step.dice.up_to((1 << 52) - 1, "name"));
        if let Ok(client_message_id) = ClientMessageId::new(name) {
            self.openings.want(user, client_message_id);
        }
    }

    pub(super) fn open_answered(&mut self, client_message_id: &ClientMessageId, answered: Answered<OpenAnswer>, step: &mut Step) {
        let Some(open) = self.openings.asked.get_mut(client_message_id) else { return };
        match answered {
            Answered::Answer(OpenAnswer { conversation: ConversationHead { conversation, with, head }, .. }) => {
                let user = open.with.clone();
                self.openings.asked.remove(client_message_id);
                let local = self.conversations.entry(&conversation);
                if local.row.with.is_none() && local.row.have != Position::ZERO {
                    local.doubt(); // it was not found, and may be a new one now
                }
                local.row.with = with.or_else(|| Some(user.clone()));
                local.row.told = true;
                // Entry 1 is pushed to those who ask too: the gap wait runs before it is asked for.
                self.end_came(&conversation, head);
                step.touch(&conversation);
                step.show_committed(Shown::Opened { user: user.clone(), conversation: conversation.clone() });
                for HeldRow { client_message_id, body, .. } in self.openings.release(&user, step) {
                    self.compose(conversation.clone(), client_message_id, body.into(), step);
                }
            }
            Answered::Refused(refusal) => {
                let user = open.with.clone();
                self.openings.asked.remove(client_message_id);
                self.openings.release(&user, step);
                step.show_committed(Shown::Failed(Failure::Open { user, refusal }));
            }
            Answered::TryAgain { retry_after_ms } => open.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }
}
