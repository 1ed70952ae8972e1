//! `ping`: keeps the socket alive, finds out that it is dead or that the server does not know it any more, and asks for the status of the
//! conversations that the user looks at.

use chatlane_protocol::frames::{ConversationStatus, MemberCursors, PingAnswer};
use chatlane_protocol::limits::OPEN_CONVERSATIONS_MAX;
use chatlane_protocol::request::Ping;
use chatlane_protocol::{ConversationId, Position, Refusal, Request};

use super::conversation::Conversation;
use super::retry::Retry;
use super::step::Step;
use super::wire::Answered;
use super::{Purpose, Session, SocketId};

/// What the user looks at.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    pub(super) open: Vec<ConversationId>,
    /// A ping is to be sent also if the server pushes.
    pub(super) ping: bool,
    retry: Retry,
}

impl Default for Looking {
    fn default() -> Self {
        Self { open: vec![], ping: false, retry: Retry::NEW }
    }
}

impl Session {
    pub(super) fn look(&mut self, conversations: Vec<ConversationId>) {
        let mut open: Vec<_> = vec![];
        for conversation in conversations {
            if !open.contains(&conversation) && open.len() < OPEN_CONVERSATIONS_MAX {
                open.push(conversation);
            }
        }
        self.looking.ping |= !open.is_empty();
        self.looking.open = open;
    }

    /// Sends a ping, if there is a reason to.
    pub(super) fn ping(&mut self, step: &mut Step) {
        let Some((socket, pushes_at)) = self.sockets.ready().map(|link| (link.socket, link.pushes_at)) else { return };
        if self.sockets.has(|purpose| matches!(purpose, Purpose::Ping { .. })) {
            return;
        }
        // Whatever else goes to and fro: only a ping finds out that the server has given the connection up and pushes nothing.
        let due = self.looking.ping || step.reached(pushes_at.plus_ms(self.limits.ping_after_idle_ms));
        if due && step.reached(self.looking.retry.not_before()) {
            self.looking.ping = false;
            // First those whose head was forgotten, and those so far behind that they go on at a head whose count they have to know.
            let lost = |local: &Conversation| {
                !local.row.ended && (local.headless || self.too_far(local, local.row.head) && !self.too_far(local, local.counted))
            };
            let lost_ones = self.conversations.iter().filter(|(_, local)| lost(local)).map(|(conversation, _)| conversation);
            let looked = self.looking.open.iter().filter(|conversation| !self.conversations.get(conversation).is_some_and(lost));
            let open: Vec<_> = lost_ones.chain(looked).take(OPEN_CONVERSATIONS_MAX).cloned().collect();
            let purpose = Purpose::Ping { open: open.clone() };
            self.sockets.ask(socket, purpose, |id| Request::Ping(Ping { id, open }), step);
        }
    }

    pub(super) fn ping_answered(&mut self, socket: SocketId, open: &[ConversationId], answered: Answered<PingAnswer>, step: &mut Step) {
        match answered {
            Answered::Answer(PingAnswer { resync, conversations, .. }) => {
                self.looking.retry.succeed();
                if let Some(link) = self.sockets.get(socket) {
                    link.pushes_at = step.now;
                }
                // Who is no member any more is not told of a group.
                for missing in open.iter().filter(|asked| conversations.iter().all(|status| status.conversation != **asked)) {
                    if self.conversations.get(missing).is_some_and(|local| local.row.with.is_none() && local.row.told && !local.row.ended) {
                        self.doubt_membership(missing);
                    }
                }
                for status in conversations {
                    self.status_came(status, step);
                }
                if resync {
                    self.greet_again(socket);
                }
            }
            // What it asked is open still.
            Answered::Refused(Refusal { retry_after_ms, .. }) | Answered::TryAgain { retry_after_ms } => {
                self.looking.ping = true;
                self.looking.retry.fail(step, retry_after_ms);
            }
            Answered::SocketLost => {} // the next one pings when it is live
        }
    }

    fn status_came(&mut self, ConversationStatus { conversation, head, count, own, cursors }: ConversationStatus, step: &mut Step) {
        if self.conversations.get(&conversation).is_some_and(|local| local.row.ended) {
            // The user was added again, and what says so was lost on the way.
            self.doubt_membership(&conversation);
        } else if let Some(local) = self.conversations.get_mut(&conversation) {
            local.headless = false;
            // Its entries are on their way, probably: the gap wait runs before they are asked for.
            if local.learn_head(head, Some(count)) {
                step.touch(&conversation);
            }
            // All others of a group are told at once, or nobody where there are too many.
            let is_member = |other: &MemberCursors| cursors.iter().any(|told| told.user == other.user);
            if local.row.with.is_none() && !cursors.is_empty() && !local.row.others.iter().all(is_member) {
                local.row.others.retain(is_member);
                step.touch(&conversation);
            }
            self.cursors_moved(&conversation, cursors, step);
            if let Some(own) = own {
                self.own_read_came(&conversation, own, step);
            }
        }
    }

    /// Something without a count says that the log goes on up to here. If that is too far to catch up with, this asks for the head, which
    /// comes with its count.
    pub(super) fn end_came(&mut self, conversation: &ConversationId, end: Position) {
        let local = self.conversations.entry(conversation);
        let news = local.learn_head(end, None);
        self.looking.ping |= news && self.conversations.get(conversation).is_some_and(|local| self.too_far(local, end));
    }

    /// Whether a ping would ask for something.
    pub(super) fn looks(&self) -> bool {
        !self.looking.open.is_empty() || self.conversations.values().any(|local| local.headless && !local.row.ended)
    }
}
