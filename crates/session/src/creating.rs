//! Making a group. Until the server has answered there is no conversation, so it is kept beside them, as a message to somebody new is.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome};
use chatlane_protocol::request::Create;
use chatlane_protocol::{
    ClientMessageId, ConversationId, Entry, EntryKind, ErrorCode, GroupSettings, Position, Refusal, Request, Role, UserId,
};

use super::retry::Retry;
use super::sockets::Sockets;
use super::step::{Step, Then};
use super::wire::Answered;
use super::{Change, Failure, NewGroup, Purpose, Session, Shown};

/// Groups that are not made yet.
#[derive(Clone, Debug)]
pub(super) struct NewGroups(BTreeMap<ClientMessageId, Making>);

#[derive(Clone, Debug)]
struct Making {
    group: NewGroup,
    /// The store has it: it may be attempted (L2).
    kept: bool,
    retry: Retry,
}

impl NewGroups {
    /// Those that the store held.
    pub(super) fn new(groups: Vec<NewGroup>) -> Self {
        let making = |group: NewGroup| (group.client_message_id.clone(), Making { group, kept: true, retry: Retry::NEW });
        Self(groups.into_iter().map(making).collect())
    }

    /// The store has it.
    pub(super) fn kept(&mut self, client_message_id: &ClientMessageId) {
        if let Some(making) = self.0.get_mut(client_message_id) {
            making.kept = true;
        }
    }

    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.0.values_mut().for_each(|making| making.retry.forgive());
    }

    /// Asks for what is kept and not in flight.
    pub(super) fn ask(&self, sockets: &mut Sockets, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        for Making { group, retry, .. } in self.0.values().filter(|making| making.kept) {
            let NewGroup { client_message_id, users, settings, .. } = group.clone();
            let purpose = Purpose::Create { client_message_id: client_message_id.clone() };
            if !sockets.has(|asked| *asked == purpose) && step.reached(retry.not_before()) {
                sockets.ask(socket, purpose, |id| Request::Create(Create { id, client_message_id, users, settings }), step);
            }
        }
    }
}

impl Session {
    /// The user makes a group.
    pub(super) fn create(&mut self, client_message_id: ClientMessageId, users: Vec<UserId>, settings: GroupSettings, step: &mut Step) {
        if self.groups.0.contains_key(&client_message_id) {
            return; // a double tap
        }
        let order = self.conversations.next_order();
        let group = NewGroup { order, client_message_id: client_message_id.clone(), users, settings };
        step.changes.push(Change::Group(group.clone()));
        step.then.push(Then::Kept(client_message_id.clone()));
        self.groups.0.insert(client_message_id, Making { group, kept: false, retry: Retry::NEW });
    }

    pub(super) fn create_answered(&mut self, client_message_id: &ClientMessageId, answered: Answered<ChangeAnswer>, step: &mut Step) {
        let Some(making) = self.groups.0.get_mut(client_message_id) else { return };
        match answered {
            Answered::Answer(ChangeAnswer {
                conversation, outcome: ChangeOutcome::Ok(stored) | ChangeOutcome::Duplicate(stored), ..
            }) => {
                self.is_made(client_message_id, &conversation, stored.position, step);
            }
            // `unchanged` is no answer to it.
            Answered::Answer(_) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, "conflict: the id was used for another group");
                self.is_not_made(client_message_id, refusal, step);
            }
            Answered::Refused(refusal) => self.is_not_made(client_message_id, refusal, step),
            Answered::TryAgain { retry_after_ms } => making.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    /// Entry 1 of a group of the user's has come: that settles it, as an answer does.
    pub(super) fn settle_group(&mut self, conversation: &ConversationId, entry: &Entry, step: &mut Step) {
        if matches!(entry.kind, EntryKind::GroupCreated { .. }) && entry.sender == self.settings.user {
            self.is_made(&entry.client_message_id, conversation, entry.position, step);
        }
    }

    fn is_made(&mut self, client_message_id: &ClientMessageId, conversation: &ConversationId, first: Position, step: &mut Step) {
        let Some(Making { group, .. }) = self.groups.0.remove(client_message_id) else { return };
        let row = &mut self.conversations.entry(conversation).row;
        row.told = true;
        row.role.get_or_insert(Role::Owner);
        row.title = row.title.take().or(group.settings.title);
        // Entry 1 is pushed to those who ask too: the gap wait runs before it is asked for.
        self.end_came(conversation, first);
        step.touch(conversation);
        step.changes.push(Change::GroupDone(client_message_id.clone()));
        step.show_committed(Shown::Created { client_message_id: client_message_id.clone(), conversation: conversation.clone() });
    }

    fn is_not_made(&mut self, client_message_id: &ClientMessageId, refusal: Refusal, step: &mut Step) {
        self.groups.0.remove(client_message_id);
        step.changes.push(Change::GroupDone(client_message_id.clone()));
        step.show(Shown::Failed(Failure::Create { client_message_id: client_message_id.clone(), refusal }));
    }
}
