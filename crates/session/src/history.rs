//! Older entries, when the user scrolls up.

use chatlane_protocol::frames::HistoryAnswer;
use chatlane_protocol::request::History;
use chatlane_protocol::{ConversationId, ErrorCode, Position, Request, Seq};

use super::conversation::before;
use super::conversations::Conversations;
use super::outbox::ended;
use super::retry::Retry;
use super::sockets::Sockets;
use super::step::Step;
use super::wire::Answered;
use super::{Change, Failure, Purpose, Session, Shown, fold};

/// A page that the user waits for. Kept in memory until it is answered.
#[derive(Clone, Debug)]
struct HistoryAsk {
    conversation: ConversationId,
    before: Seq,
    retry: Retry,
}

/// The pages that the user waits for, in the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories(Vec<HistoryAsk>);

impl Histories {
    /// What made the requests fail is gone.
    pub(super) fn forgive(&mut self) {
        self.0.iter_mut().for_each(|ask| ask.retry.forgive());
    }

    /// Asks for the pages that are wanted, one at a time for each conversation.
    pub(super) fn ask(&self, sockets: &mut Sockets, conversations: &Conversations, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        for HistoryAsk { conversation, before, retry } in self.0.clone() {
            let busy = |purpose: &Purpose| matches!(purpose, Purpose::History { conversation: asked, .. } if *asked == conversation);
            if !sockets.has(busy) && step.reached(retry.not_before()) {
                let generation = conversations.get(&conversation).map_or(0, |local| local.generation);
                let purpose = Purpose::History { conversation: conversation.clone(), before, generation };
                sockets.ask(socket, purpose, |id| Request::History(History { id, conversation, before: Some(before), limit: None }), step);
            }
        }
    }
}

impl Session {
    pub(super) fn load_history(&mut self, conversation: ConversationId, before: Option<Seq>, step: &mut Step) {
        let Some(local) = self.conversations.get(&conversation) else {
            step.show(Shown::Failed(Failure::NoConversation(conversation)));
            return;
        };
        if local.row.ended {
            step.show(Shown::Failed(Failure::History { conversation, refusal: ended() }));
            return;
        }
        // Without a bound it is about what comes before the device's run.
        let before = before.unwrap_or_else(|| local.row.from.seq.next());
        if before <= Seq::FIRST {
            step.show(Shown::History { conversation, entries: vec![], done: true });
        } else if !self.histories.0.iter().any(|ask| ask.conversation == conversation && ask.before == before) {
            self.histories.0.push(HistoryAsk { conversation, before, retry: Retry::NEW });
        }
    }

    /// The user is no member any more: nothing older is told them.
    pub(super) fn histories_end(&mut self, conversation: &ConversationId, step: &mut Step) {
        for HistoryAsk { conversation, .. } in self.histories.0.extract_if(.., |ask| ask.conversation == *conversation) {
            step.show(Shown::Failed(Failure::History { conversation, refusal: ended() }));
        }
    }

    pub(super) fn history_answered(
        &mut self,
        conversation: &ConversationId,
        before: Seq,
        generation: u64,
        answered: Answered<HistoryAnswer>,
        step: &mut Step,
    ) {
        let wanted = |ask: &HistoryAsk| ask.conversation == *conversation && ask.before == before;
        let retry_after_ms = match answered {
            Answered::Answer(answer) if self.history_came(conversation, generation, &answer, step) => {
                self.histories.0.retain(|ask| !wanted(ask));
                return;
            }
            Answered::Answer(_) => None,
            Answered::Refused(refusal) => {
                self.histories.0.retain(|ask| !wanted(ask));
                if refusal.code == ErrorCode::NotFound {
                    self.not_found(conversation, step);
                }
                step.show(Shown::Failed(Failure::History { conversation: conversation.clone(), refusal }));
                return;
            }
            Answered::TryAgain { retry_after_ms } => retry_after_ms,
            Answered::SocketLost => return,
        };
        if let Some(ask) = self.histories.0.iter_mut().find(|ask| wanted(ask)) {
            ask.retry.fail(step, retry_after_ms);
        }
    }

    /// Shows a page, and keeps it if it comes right before what the device has. Answers false if the page may be of another log than the
    /// device's run: it is asked for again.
    fn history_came(&mut self, conversation: &ConversationId, generation: u64, answer: &HistoryAnswer, step: &mut Step) -> bool {
        let (local, me) = (self.conversations.entry(conversation), &self.settings.user);
        let HistoryAnswer { entries, done, .. } = answer;
        let have = local.row.have;
        let other = |at: Position| at.seq <= have.seq && at.epoch > have.epoch || at.seq == have.seq && at != have;
        if entries.iter().any(|entry| other(entry.position)) {
            local.doubt();
            return false;
        }
        if local.generation != generation {
            return false;
        }
        let mut entries = entries.clone();
        local.catch_up(&mut entries, me);
        let mut older = entries.clone();
        older.retain(|entry| entry.position.seq <= local.row.from.seq);
        let adjacent = older.last().is_some_and(|last| last.position.seq == local.row.from.seq);
        if let (Some(first), true) = (older.first(), adjacent && have != Position::ZERO) {
            local.row.from = before(first.position);
            for entry in &older {
                local.count_read(entry);
                local.row.amended = local.row.amended.max(fold::told_up_to(entry));
            }
            local.has_run(step);
            step.changes.push(Change::Entries { conversation: conversation.clone(), entries: older });
            step.touch(conversation);
        }
        // What is above comes by its own way, and settles then: PROTOCOL §6.2.
        let mut reached = entries.clone();
        reached.retain(|entry| entry.position.seq <= have.seq);
        self.look_through(conversation, &reached, step);
        step.show_committed(Shown::History { conversation: conversation.clone(), entries, done: *done });
        true
    }
}
