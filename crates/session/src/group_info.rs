//! What groups are and who belongs to them, when the user looks. Kept in memory until it is answered.

use chatlane_protocol::frames::{ConversationInfo, InfoAnswer, InfoOutcome, MemberInfo, MembersAnswer};
use chatlane_protocol::limits::INFO_CONVERSATIONS_MAX;
use chatlane_protocol::request::{Info, Members};
use chatlane_protocol::{ConversationId, ErrorCode, Refusal, Request};

use super::outbox::ended;
use super::retry::Retry;
use super::sockets::Sockets;
use super::step::Step;
use super::wire::Answered;
use super::{Failure, Purpose, Session, Shown, UserId};

/// What the user wants to know.
#[derive(Clone, Debug)]
pub(super) struct Inquiries {
    /// What these are, in the order in which it was asked.
    info: Vec<ConversationId>,
    info_retry: Retry,
    members: Vec<MembersAsk>,
}

/// The members of one group, page by page.
#[derive(Clone, Debug)]
struct MembersAsk {
    conversation: ConversationId,
    known: Vec<MemberInfo>,
    after: Option<UserId>,
    retry: Retry,
}

impl Default for Inquiries {
    fn default() -> Self {
        Self { info: vec![], info_retry: Retry::NEW, members: vec![] }
    }
}

impl Inquiries {
    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.info_retry.forgive();
        self.members.iter_mut().for_each(|ask| ask.retry.forgive());
    }

    /// Asks for what is wanted: one `info`, and one page of each group's members.
    pub(super) fn ask(&self, sockets: &mut Sockets, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        let busy = sockets.has(|purpose| matches!(purpose, Purpose::Info { .. }));
        if !self.info.is_empty() && !busy && step.reached(self.info_retry.not_before()) {
            let conversations: Vec<_> = self.info.iter().take(INFO_CONVERSATIONS_MAX).cloned().collect();
            let purpose = Purpose::Info { conversations: conversations.clone() };
            sockets.ask(socket, purpose, |id| Request::Info(Info { id, conversations }), step);
        }
        for MembersAsk { conversation, after, retry, .. } in self.members.clone() {
            let asks = |purpose: &Purpose| matches!(purpose, Purpose::Members { conversation: of, .. } if *of == conversation);
            if !sockets.has(asks) && step.reached(retry.not_before()) {
                let purpose = Purpose::Members { conversation: conversation.clone(), after: after.clone() };
                sockets.ask(socket, purpose, |id| Request::Members(Members { id, conversation, after, limit: None }), step);
            }
        }
    }

    /// The user is no member any more: nothing is told them.
    pub(super) fn end(&mut self, conversation: &ConversationId, step: &mut Step) {
        let before = self.info.len() + self.members.len();
        self.info.retain(|asked| asked != conversation);
        self.members.retain(|ask| ask.conversation != *conversation);
        if before > self.info.len() + self.members.len() {
            step.show(Shown::Failed(Failure::Group { conversation: conversation.clone(), refusal: ended() }));
        }
    }
}

impl Session {
    pub(super) fn ask_info(&mut self, conversations: Vec<ConversationId>, step: &mut Step) {
        for conversation in conversations {
            if self.may_ask(&conversation, step) && !self.inquiries.info.contains(&conversation) {
                self.inquiries.info.push(conversation);
            }
        }
    }

    pub(super) fn ask_members(&mut self, conversation: ConversationId, step: &mut Step) {
        if self.may_ask(&conversation, step) && !self.inquiries.members.iter().any(|ask| ask.conversation == conversation) {
            self.inquiries.members.push(MembersAsk { conversation, known: vec![], after: None, retry: Retry::NEW });
        }
    }

    fn may_ask(&self, conversation: &ConversationId, step: &mut Step) -> bool {
        match self.conversations.get(conversation) {
            None => step.show(Shown::Failed(Failure::NoConversation(conversation.clone()))),
            Some(local) if local.row.ended => {
                step.show(Shown::Failed(Failure::Group { conversation: conversation.clone(), refusal: ended() }));
            }
            Some(_) => return true,
        }
        false
    }

    pub(super) fn info_answered(&mut self, asked: &[ConversationId], answered: Answered<InfoAnswer>, step: &mut Step) {
        match answered {
            Answered::Answer(answer) => {
                // What is missing is asked for again; an answer without anything in it must not be asked for again and again.
                let mut put_off = answer.conversations.is_empty().then_some(None);
                for ConversationInfo { conversation, outcome } in answer.conversations {
                    match outcome {
                        InfoOutcome::Refused(refusal) if refusal.retryable => put_off = Some(put_off.flatten().max(refusal.retry_after_ms)),
                        InfoOutcome::Refused(refusal) => {
                            self.inquiries.info.retain(|of| *of != conversation);
                            self.group_refused(&conversation, refusal, step);
                        }
                        InfoOutcome::Ok(info) => {
                            self.inquiries.info.retain(|of| *of != conversation);
                            if let Some(local) = self.conversations.get_mut(&conversation) {
                                local.learn_info(&info);
                                step.touch(&conversation);
                                step.show_committed(Shown::Info { conversation, info });
                            }
                        }
                    }
                }
                match put_off {
                    Some(retry_after_ms) => self.inquiries.info_retry.fail(step, retry_after_ms),
                    None => self.inquiries.info_retry.succeed(),
                }
            }
            Answered::Refused(refusal) => {
                for conversation in asked {
                    self.inquiries.info.retain(|of| of != conversation);
                    self.group_refused(conversation, refusal.clone(), step);
                }
            }
            Answered::TryAgain { retry_after_ms } => self.inquiries.info_retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    pub(super) fn members_answered(
        &mut self,
        conversation: &ConversationId,
        after: Option<&UserId>,
        answered: Answered<MembersAnswer>,
        step: &mut Step,
    ) {
        let asked = &mut self.inquiries.members;
        let Some(index) = asked.iter().position(|ask| ask.conversation == *conversation && ask.after.as_ref() == after) else { return };
        match answered {
            Answered::Answer(answer) => {
                let ask = &mut asked[index];
                ask.known.extend(answer.members);
                ask.retry.succeed();
                // Pages ascend, or there would be no end to them.
                if answer.next.as_ref() > after && answer.next.is_some() {
                    ask.after = answer.next;
                } else {
                    let MembersAsk { known: members, .. } = asked.remove(index);
                    step.show(Shown::Members { conversation: conversation.clone(), members });
                }
            }
            Answered::Refused(refusal) => {
                asked.remove(index);
                self.group_refused(conversation, refusal, step);
            }
            Answered::TryAgain { retry_after_ms } => asked[index].retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    fn group_refused(&mut self, conversation: &ConversationId, refusal: Refusal, step: &mut Step) {
        if refusal.code == ErrorCode::NotFound {
            self.not_found(conversation, step);
        }
        step.show(Shown::Failed(Failure::Group { conversation: conversation.clone(), refusal }));
    }
}
