//! The way of a message from the user into the log: written, attempted, settled; repaired where its anchor is of no use any more.

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome, Limits, ProbeAnswer, SendAnswer, Stored};
use chatlane_protocol::request::Probe;
use chatlane_protocol::{
    ClientMessageId, ConversationId, Entry, ErrorCode, MessageResult, Outcome, Position, Refusal, Request, Seq, ServerFrame,
};

use super::conversations::Conversations;
use super::outbox::{self, NextRequest, Probing};
use super::sockets::Sockets;
use super::step::{Step, Then};
use super::wire::{self, Answered};
use super::{Change, Draft, Failure, OutboxRow, OutboxState, OutgoingState, Purpose, Session, Shown};

/// Writes rows of the outbox; they are attempted when the store has confirmed them.
pub(super) fn write_rows(rows: Vec<OutboxRow>, step: &mut Step) {
    for row in rows {
        step.then.push(Then::Written { conversation: row.conversation.clone(), order: row.order });
        step.changes.push(Change::Outbox(row));
    }
}

impl Conversations {
    /// Attempts what can be attempted: one request a conversation.
    pub(super) fn send(&mut self, sockets: &mut Sockets, limits: &Limits, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        let conversations: Vec<_> =
            self.iter().filter(|(_, local)| !local.outbox.busy && local.outbox.is_open()).map(|(id, _)| id.clone()).collect();
        for conversation in conversations {
            let (messages_max, bytes_max) = (limits.messages_per_send_max, limits.request_bytes_max);
            let local = self.entry(&conversation);
            let generation = local.generation;
            if !step.reached(local.outbox.retry.not_before()) {
                continue;
            }
            let Some(next) = local.outbox.next(&conversation, messages_max, bytes_max) else { continue };
            local.outbox.busy = !matches!(next, NextRequest::TooLarge(_));
            match next {
                NextRequest::Send(messages) => {
                    let ids = messages.iter().map(|message| message.client_message_id.clone()).collect();
                    let purpose = Purpose::Send { conversation: conversation.clone(), generation, ids };
                    sockets.ask(socket, purpose, |id| outbox::send(&conversation, id, messages), step);
                }
                NextRequest::Change(row) => {
                    let client_message_id = row.client_message_id.clone();
                    let purpose = Purpose::Change { conversation, generation, client_message_id };
                    sockets.ask(socket, purpose, |id| outbox::change(&row, id), step);
                }
                NextRequest::Probe { anchor, ids } => {
                    let purpose = Purpose::Probe { conversation: conversation.clone(), generation, ids: ids.clone() };
                    sockets.ask(socket, purpose, |id| Request::Probe(Probe { id, conversation, anchor, ids }), step);
                }
                // Never sent in this size; but the limit may have been another one before a restart, so it is looked for as well.
                NextRequest::TooLarge(id) => {
                    let refusal = Refusal::new(ErrorCode::TooLarge, "no request can hold this message");
                    self.refuse(&conversation, &id, refusal, step);
                }
            }
        }
    }

    /// Refused for good. An earlier attempt may be in the log all the same: it is looked for first.
    fn refuse(&mut self, conversation: &ConversationId, id: &ClientMessageId, refusal: Refusal, step: &mut Step) {
        let outbox = &mut self.entry(conversation).outbox;
        outbox.one_by_one = false;
        let refused = outbox.set_state(id, &OutboxState::Refused(refusal));
        write_rows(refused.into_iter().collect(), step);
    }

    /// Not in the log, and not to be. Kept until the user discards it, or it is met in the log after all.
    fn fail(&mut self, conversation: &ConversationId, id: &ClientMessageId, refusal: Refusal, step: &mut Step) {
        let failed = self.entry(conversation).outbox.set_state(id, &OutboxState::Failed(refusal.clone()));
        if let Some(row) = failed {
            let client_message_id = row.client_message_id.clone();
            write_rows(vec![row], step);
            let state = OutgoingState::Failed(refusal);
            step.show_committed(Shown::Outgoing { conversation: conversation.clone(), client_message_id, state });
        }
    }
}

impl Session {
    /// The user wrote something.
    pub(super) fn compose(&mut self, conversation: ConversationId, client_message_id: ClientMessageId, draft: Draft, step: &mut Step) {
        let Some(local) = self.conversations.get(&conversation) else {
            step.show(Shown::Failed(Failure::NoConversation(conversation)));
            return;
        };
        if local.outbox.get(&client_message_id).is_some() {
            return; // a double tap
        }
        // Where it has ended it is kept for the user to see, and never attempted.
        let (state, shown) = if local.row.ended {
            (OutboxState::Failed(outbox::ended()), OutgoingState::Failed(outbox::ended()))
        } else {
            (OutboxState::Waiting, OutgoingState::Waiting)
        };
        let (anchor, order) = (local.row.head, self.conversations.next_order());
        let row = OutboxRow { conversation, order, client_message_id, anchor, draft, state };
        self.conversations.entry(&row.conversation).outbox.add(row.clone());
        let (conversation, client_message_id) = (row.conversation.clone(), row.client_message_id.clone());
        write_rows(vec![row], step);
        step.show_committed(Shown::Outgoing { conversation, client_message_id, state: shown });
    }

    /// The user gives up a failed message.
    pub(super) fn discard(&mut self, conversation: &ConversationId, client_message_id: &ClientMessageId, step: &mut Step) {
        if let Some(local) = self.conversations.get_mut(conversation)
            && local.outbox.get(client_message_id).is_some_and(|row| !outbox::is_open(row))
        {
            local.outbox.remove(client_message_id);
            step.changes.push(Change::OutboxDone { conversation: conversation.clone(), client_message_id: client_message_id.clone() });
        }
    }

    pub(super) fn send_answered(
        &mut self,
        conversation: &ConversationId,
        generation: u64,
        ids: &[ClientMessageId],
        answered: Answered<SendAnswer>,
        step: &mut Step,
    ) {
        let outbox = &mut self.conversations.entry(conversation).outbox;
        outbox.busy = false;
        match answered {
            Answered::Answer(answer) => self.results_came(conversation, generation, answer, step),
            Answered::Refused(refusal) => match ids {
                [id] => self.conversations.refuse(conversation, id, refusal, step),
                _ => outbox.one_by_one = true,
            },
            Answered::TryAgain { retry_after_ms } => outbox.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    fn results_came(&mut self, conversation: &ConversationId, generation: u64, answer: SendAnswer, step: &mut Step) {
        let retry = &mut self.conversations.entry(conversation).outbox.retry;
        let put_off = |result: &MessageResult| matches!(&result.outcome, Outcome::Refused(refusal) if refusal.retryable);
        let settles = |result: &MessageResult| !matches!(result.outcome, Outcome::Refused(_) | Outcome::NotAttempted);
        if answer.results.is_empty() {
            retry.fail(step, None); // says nothing: not to be repeated at once
        } else if answer.results.iter().any(settles) || !answer.results.iter().any(put_off) {
            retry.succeed(); // a refusal beside it is the first one again
        }
        for result in answer.results {
            let id = &result.client_message_id;
            match result.outcome {
                Outcome::Ok(stored) | Outcome::Duplicate(stored) => self.settle(conversation, id, stored, step),
                Outcome::Conflict(stored) => self.conflicts(conversation, id, stored, step),
                Outcome::Refused(refusal) => self.message_refused(conversation, generation, id, refusal, step),
                Outcome::NotAttempted => {}
            }
        }
    }

    /// What stands under this id in the log is something else.
    fn conflicts(&mut self, conversation: &ConversationId, id: &ClientMessageId, stored: Stored, step: &mut Step) {
        self.conversations.entry(conversation).learn_head(stored.position, Some(stored.count));
        let refusal = Refusal::new(ErrorCode::BadRequest, "conflict: the id was used for another message");
        self.conversations.fail(conversation, id, refusal, step);
    }

    pub(super) fn change_answered(
        &mut self,
        conversation: &ConversationId,
        generation: u64,
        id: &ClientMessageId,
        answered: Answered<ChangeAnswer>,
        step: &mut Step,
    ) {
        let outbox = &mut self.conversations.entry(conversation).outbox;
        outbox.busy = false;
        match answered {
            Answered::Answer(answer) => {
                outbox.retry.succeed();
                match answer.outcome {
                    ChangeOutcome::Ok(stored) | ChangeOutcome::Duplicate(stored) => self.settle(conversation, id, stored, step),
                    ChangeOutcome::Conflict(stored) => self.conflicts(conversation, id, stored, step),
                    ChangeOutcome::Unchanged => {
                        self.done(conversation, id, OutgoingState::Unchanged, step);
                    }
                }
            }
            Answered::Refused(refusal) => self.message_refused(conversation, generation, id, refusal, step),
            Answered::TryAgain { retry_after_ms } => outbox.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    /// The answer to a request whose outcome was unknown, and which was repeated since. What it has stored is in the log; what it has not is
    /// for the repetition to say.
    pub(super) fn late_results(&mut self, asked: Purpose, frame: ServerFrame, step: &mut Step) {
        match (asked, frame) {
            (Purpose::Send { conversation, .. }, ServerFrame::Send(answer)) => {
                for MessageResult { client_message_id, outcome } in answer.results {
                    if let Outcome::Ok(stored) | Outcome::Duplicate(stored) = outcome {
                        self.settle(&conversation, &client_message_id, stored, step);
                    }
                }
            }
            (Purpose::Change { conversation, client_message_id, .. }, frame) => {
                if let Some(ChangeOutcome::Ok(stored) | ChangeOutcome::Duplicate(stored)) = wire::change(frame).map(|answer| answer.outcome)
                {
                    self.settle(&conversation, &client_message_id, stored, step);
                }
            }
            _ => {}
        }
    }

    /// The device goes on behind entries that it has not looked through. An attempt from before a message failed may have come into the log
    /// since, and be among them: the message is looked for again. Not where the log holds another message under its id, or the server
    /// cannot read it (both are refused as `bad_request`): no attempt of it can be stored.
    pub(super) fn look_again(&mut self, conversation: &ConversationId, step: &mut Step) {
        let rows = self.conversations.entry(conversation).outbox.look_again();
        write_rows(rows, step);
    }

    /// A row's outcome is known: it goes. Answers it.
    fn done(&mut self, conversation: &ConversationId, id: &ClientMessageId, state: OutgoingState, step: &mut Step) -> Option<OutboxRow> {
        let row = self.conversations.entry(conversation).outbox.remove(id)?;
        let (conversation, client_message_id) = (conversation.clone(), id.clone());
        step.changes.push(Change::OutboxDone { conversation: conversation.clone(), client_message_id: client_message_id.clone() });
        step.show_committed(Shown::Outgoing { conversation, client_message_id, state });
        Some(row)
    }

    /// A message was deleted: the words of the edits of it that are not in the log go too.
    pub(super) fn drop_edits(&mut self, conversation: &ConversationId, of: Seq, step: &mut Step) {
        for id in self.conversations.entry(conversation).outbox.edits(of) {
            let refusal = Refusal::new(ErrorCode::NoMessage, "the message was deleted");
            self.done(conversation, &id, OutgoingState::Failed(refusal), step);
        }
    }

    /// A message or a change is in the log, here. The server does not push a message to this connection: the answer is its delivery. What a
    /// change has come to is said by its entry only, which is pushed, or fetched after the wait for a gap.
    fn settle(&mut self, conversation: &ConversationId, id: &ClientMessageId, stored: Stored, step: &mut Step) {
        let Some(OutboxRow { client_message_id, draft, .. }) = self.done(conversation, id, OutgoingState::Stored(stored), step) else {
            return;
        };
        let (Stored { position, time_ms, count }, sender) = (stored, self.settings.user.clone());
        match draft.entry() {
            Some(kind) => {
                self.entry_came(conversation, Entry { position, sender, client_message_id, time_ms, count, kind, as_it_came: None }, step);
            }
            None if self.conversations.entry(conversation).learn_head(position, Some(count)) => step.touch(conversation),
            None => {}
        }
    }

    fn message_refused(&mut self, conversation: &ConversationId, generation: u64, id: &ClientMessageId, refusal: Refusal, step: &mut Step) {
        let anchor_entries_max = u64::try_from(self.limits.anchor_entries_max).unwrap_or(u64::MAX);
        let local = self.conversations.entry(conversation);
        let Some(anchor) = local.outbox.get(id).map(|row| row.anchor) else { return };
        match refusal.code {
            _ if refusal.retryable => local.outbox.retry.fail(step, refusal.retry_after_ms),
            ErrorCode::AnchorStale => {
                let tail = refusal.tail.unwrap_or(local.row.head);
                let (looked_from, have) = (local.looked_from, local.row.have);
                let near = tail.seq.get().saturating_sub(have.seq.get()) <= anchor_entries_max;
                let moved = if near { local.outbox.advance_anchors(looked_from, have) } else { vec![] };
                if !moved.iter().any(|row| row.client_message_id == *id) {
                    local.outbox.probe = Some(Probing::Anchors);
                }
                write_rows(moved, step);
                self.end_came(conversation, tail);
                step.touch(conversation);
            }
            ErrorCode::AnchorTooOld => local.outbox.probe = Some(Probing::Anchors),
            ErrorCode::AnchorUnknown if anchor != Position::ZERO => {
                // What was thought to exist does not: neither may the head, nor what the device has.
                local.outbox.probe = Some(Probing::First);
                local.outbox.retry.fail(step, None);
                local.doubt();
            }
            ErrorCode::EpochChanged => self.restored(conversation, generation, &refusal, step),
            _ => self.conversations.refuse(conversation, id, refusal, step),
        }
    }

    /// The log was restored from a backup, as a request found that was made in this generation of the conversation.
    fn restored(&mut self, conversation: &ConversationId, generation: u64, refusal: &Refusal, step: &mut Step) {
        let local = self.conversations.entry(conversation);
        local.outbox.retry.fail(step, refusal.retry_after_ms);
        match refusal.common {
            // Another answer has brought it before: the anchors have moved.
            _ if local.generation != generation => {}
            Some(common) => self.roll_back(conversation, common, step),
            None => {
                local.outbox.probe = Some(Probing::First);
                local.doubt();
            }
        }
    }

    pub(super) fn probe_answered(
        &mut self,
        conversation: &ConversationId,
        generation: u64,
        ids: &[ClientMessageId],
        answered: Answered<ProbeAnswer>,
        step: &mut Step,
    ) {
        let local = self.conversations.entry(conversation);
        let outbox = &mut local.outbox;
        outbox.busy = false;
        match answered {
            // What was looked through is not the log that the anchors are in now.
            Answered::Answer(_) if local.generation != generation => {}
            Answered::Answer(answer) => self.looked_through(conversation, ids, answer, step),
            Answered::Refused(refusal) if refusal.code == ErrorCode::EpochChanged => {
                self.restored(conversation, generation, &refusal, step);
            }
            Answered::Refused(refusal) if refusal.code == ErrorCode::AnchorUnknown && outbox.probe != Some(Probing::First) => {
                outbox.probe = Some(Probing::First);
                local.doubt();
            }
            Answered::Refused(refusal) => {
                outbox.probe = None;
                let rows: Vec<_> = ids.iter().filter_map(|id| outbox.get(id)).cloned().collect();
                for row in rows {
                    self.conversations.fail(conversation, &row.client_message_id, outbox::reason(&row, &refusal), step);
                }
                if refusal.code == ErrorCode::NotFound {
                    self.not_found(conversation, step);
                }
            }
            Answered::TryAgain { retry_after_ms } => outbox.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    /// A part of the log, or all of it behind the anchors, was looked through for these.
    fn looked_through(&mut self, conversation: &ConversationId, ids: &[ClientMessageId], answer: ProbeAnswer, step: &mut Step) {
        for found in answer.found {
            self.settle(conversation, &found.client_message_id, found.stored, step);
        }
        self.end_came(conversation, answer.reached);
        let local = self.conversations.entry(conversation);
        let moved = local.outbox.anchor_at(ids, answer.reached);
        if answer.done || !moved.is_empty() {
            local.outbox.retry.succeed();
        } else {
            local.outbox.retry.fail(step, None); // no further than before: not to be repeated at once
        }
        write_rows(moved, step);
        local.outbox.probe = (!answer.done).then_some(Probing::Anchors);
        if answer.done {
            let refused: Vec<_> = ids.iter().filter_map(|id| local.outbox.get(id)).cloned().collect();
            for row in refused {
                if let OutboxState::Refused(refusal) = row.state {
                    self.conversations.fail(conversation, &row.client_message_id, refusal, step);
                }
            }
        }
        step.touch(conversation);
    }
}
