//! Taking entries, and asking for those that did not come. One `sync` is in flight at a time; it carries the cursors
//! of what the pages before it have brought.

use chatlane_protocol::frames::{Entries, Missed, Stored, SyncAnswer, SyncOutcome, SyncPage};
use chatlane_protocol::limits::CONVERSATIONS_PER_REQUEST_MAX;
use chatlane_protocol::request::{PositionIn, Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry, EntryKind, ErrorCode, Position, Refusal, Request, Seq};

use super::conversation::{Asked, Conversation, Due};
use super::cursors::CursorFrame;
use super::retry::Retry;
use super::sending::write_rows;
use super::step::Step;
use super::wire::Answered;
use super::{Change, ConversationRow, OutgoingState, Purpose, Session, Settings, Shown};

/// How far the device is behind what the server has.
#[derive(Clone, Debug)]
pub(super) struct CatchingUp {
    /// Whether everything that was missed has come since the last `hello`.
    pub(super) live: bool,
    pub(super) syncs: Retry,
}

impl Default for CatchingUp {
    fn default() -> Self {
        Self { live: false, syncs: Retry::NEW }
    }
}

impl Session {
    /// Notes when nothing is missing any more.
    pub(super) fn go_live(&mut self) {
        if !self.catching_up.live && self.sockets.greeted() && !self.is_missing() {
            self.catching_up.live = true;
            self.looking.ping |= self.looks();
        }
    }

    /// Whether something is being fetched, or is to be at once.
    pub(super) fn is_missing(&self) -> bool {
        let is_sync = |purpose: &Purpose| matches!(purpose, Purpose::Sync { .. });
        self.sockets.has(is_sync) || self.conversations.values().any(|local| local.due == Due::Now)
    }

    pub(super) fn entries_pushed(&mut self, Entries { conversation, entries }: Entries, step: &mut Step) {
        for entry in entries {
            self.entry_came(&conversation, entry, step);
        }
    }

    /// An entry came without having been asked for.
    pub(super) fn entry_came(&mut self, conversation: &ConversationId, entry: Entry, step: &mut Step) {
        let ahead_max = self.settings.ahead_entries_max;
        let said = self.said([&entry]);
        let local = self.conversations.entry(conversation);
        let (head, before_restore) = (local.row.head, entry.position.epoch < local.row.have.epoch);
        let taken = if self.writes.are_failing() {
            local.learn_head(entry.position, Some(entry.count)); // `sync` brings it when there is a place for it
            vec![]
        } else {
            local.receive(entry, &self.settings.user, ahead_max)
        };
        if local.row.head != head {
            step.touch(conversation);
        }
        self.take(conversation, taken, step);
        if !before_restore {
            self.heed(conversation, said, step);
        }
    }

    /// Entries are the next ones of the device's run: into the store, then before the user.
    pub(super) fn take(&mut self, conversation: &ConversationId, taken: Vec<Entry>, step: &mut Step) {
        if taken.is_empty() {
            return;
        }
        self.look_through(conversation, &taken, step);
        let me = self.settings.user.clone();
        let local = self.conversations.entry(conversation);
        for entry in &taken {
            if let EntryKind::Created { members } = &entry.kind
                && let [one, other] = members.as_slice()
                && local.row.with.is_none()
            {
                local.row.with = Some(if *one == me { other.clone() } else { one.clone() });
            }
            local.learn_group(entry, &me);
            step.show_committed(Shown::Entry { conversation: conversation.clone(), entry: entry.clone() });
        }
        local.has_run(step);
        for entry in &taken {
            self.settle_group(conversation, entry, step);
            if let EntryKind::Deletion { target } = entry.kind {
                self.drop_edits(conversation, target, step);
            }
        }
        step.changes.push(Change::Entries { conversation: conversation.clone(), entries: taken });
        step.touch(conversation);
    }

    /// Settles the messages of the outbox that are among these entries, whatever their state: so an anchor may move over entries that the
    /// device has.
    pub(super) fn look_through(&mut self, conversation: &ConversationId, entries: &[Entry], step: &mut Step) {
        let me = self.settings.user.clone();
        let outbox = &mut self.conversations.entry(conversation).outbox;
        for entry in entries.iter().filter(|entry| entry.sender == me) {
            if let Some(row) = outbox.remove_stored(entry) {
                let Entry { position, time_ms, count, .. } = *entry;
                let state = OutgoingState::Stored(Stored { position, time_ms, count });
                let (conversation, client_message_id) = (conversation.clone(), row.client_message_id);
                step.changes.push(Change::OutboxDone { conversation: conversation.clone(), client_message_id: client_message_id.clone() });
                step.show_committed(Shown::Outgoing { conversation, client_message_id, state });
            }
        }
    }

    /// Starts and ends the waits of all conversations for what is missing.
    pub(super) fn plan_gaps(&mut self, step: &mut Step) {
        let gap_wait_ms = self.limits.gap_wait_ms;
        for local in self.conversations.values_mut() {
            local.plan(|| step.now.plus_ms(gap_wait_ms.saturating_add(step.dice.up_to(gap_wait_ms, "gap"))));
        }
    }

    /// Asks for what is missing, when it is time to.
    pub(super) fn sync(&mut self, step: &mut Step) {
        let Some(socket) = self.sockets.ready().map(|link| link.socket) else { return };
        if self.writes.are_failing() || self.sockets.has(|purpose| matches!(purpose, Purpose::Sync { .. })) {
            return;
        }
        let mut due: Vec<_> = self
            .conversations
            .iter()
            .filter(|(_, local)| match local.due {
                Due::Never => false,
                Due::Gap { at, .. } => step.reached(at),
                Due::Now => true,
            })
            .map(|(conversation, _)| conversation.clone())
            .collect();
        if due.is_empty() || !step.reached(self.catching_up.syncs.not_before()) {
            return;
        }
        // Stable: what the user looks at first, then by id.
        due.sort_by_key(|conversation| !self.looking.open.contains(conversation));
        due.retain(|conversation| {
            self.jump_if_too_far(conversation, step);
            self.conversations.get(conversation).is_some_and(Conversation::is_behind)
        });
        due.truncate(CONVERSATIONS_PER_REQUEST_MAX);
        if due.is_empty() {
            return;
        }
        let behind = || due.iter().filter_map(|conversation| self.conversations.get(conversation));
        let asked: Vec<_> = behind().map(Conversation::asked).collect();
        let conversations =
            behind().map(|local| SyncFrom { conversation: local.row.conversation.clone(), after: local.row.have }).collect();
        let ack = self.carry_cursors(step);
        let purpose = Purpose::Sync { asked, ack: ack.clone() };
        self.sockets.ask(socket, purpose, |id| Request::Sync(Sync { id, conversations, ack }), step);
    }

    pub(super) fn sync_answered(&mut self, asked: &[Asked], ack: &[PositionIn], answered: Answered<SyncAnswer>, step: &mut Step) {
        match answered {
            Answered::Answer(answer) => {
                for told in ack.iter().filter(|_| answer.acked) {
                    self.cursors_taken(CursorFrame::Ack, told);
                }
                let brings = |page: &SyncPage| match &page.outcome {
                    SyncOutcome::Ok(Missed { skip, entries, done, .. }) => *done || skip.is_some() || !entries.is_empty(),
                    SyncOutcome::Refused(refusal) => !refusal.retryable,
                };
                let put_off = |page: &SyncPage| match &page.outcome {
                    SyncOutcome::Refused(refusal) if refusal.retryable => Some(refusal.retry_after_ms),
                    SyncOutcome::Ok(_) | SyncOutcome::Refused(_) => None,
                };
                let (brings, put_off) = (answer.pages.iter().any(brings), answer.pages.iter().filter_map(put_off).max());
                if brings {
                    self.catching_up.syncs.succeed(); // a refusal beside it is the first one again
                }
                // An answer without anything in it must not be asked for again and again.
                if !brings || put_off.is_some() {
                    self.catching_up.syncs.fail(step, put_off.flatten());
                }
                for SyncPage { conversation, outcome } in answer.pages {
                    let same = |asked: &&Asked| asked.conversation == conversation;
                    if let Some(asked) = asked.iter().find(same)
                        && self.conversations.entry(&conversation).generation == asked.generation
                    {
                        match outcome {
                            SyncOutcome::Ok(missed) => self.page_came(asked, missed, step),
                            SyncOutcome::Refused(refusal) => self.page_refused(asked, &refusal, step),
                        }
                    }
                }
            }
            // Also what is refused for good is asked for again: only a sync can close a gap.
            Answered::Refused(Refusal { retry_after_ms, .. }) | Answered::TryAgain { retry_after_ms } => {
                self.catching_up.syncs.fail(step, retry_after_ms);
            }
            Answered::SocketLost => {}
        }
    }

    fn page_came(&mut self, asked: &Asked, Missed { skip, entries, done, ended }: Missed, step: &mut Step) {
        let conversation = &asked.conversation;
        let said = self.said(&entries);
        // The page says it too: where the membership ended, or that the user is a member at its end.
        let end = entries.last().map(|last| last.position).or_else(|| skip.map(|skip| skip.to)).unwrap_or(asked.have);
        let at_end = ended.map_or((end, true), |at| (at, false));
        let local = self.conversations.entry(conversation);
        let ConversationRow { have, head, read, .. } = local.row;
        if let Some(skip) = skip {
            local.skip_to(skip.to);
        }
        let skipped = local.row.have != have;
        let taken = local.receive_page(entries, &self.settings.user);
        if done {
            local.at_end(asked);
            local.read_at_end(asked);
        } else {
            local.doubt(); // there is more, whatever the head was thought to be
            local.due = Due::Now;
        }
        if (local.row.head, local.row.have, local.row.read) != (head, have, read) {
            step.touch(conversation);
        }
        let restored = have != Position::ZERO && local.row.have.epoch > have.epoch;
        self.take(conversation, taken, step);
        self.heed(conversation, said.into_iter().chain([at_end]).collect(), step);
        if skipped || restored {
            self.doubt_row(conversation, Seq::MAX); // of an earlier membership, perhaps, or of before the restore
        }
        if skipped {
            self.look_again(conversation, step);
        }
    }

    fn page_refused(&mut self, asked: &Asked, refusal: &Refusal, step: &mut Step) {
        let conversation = &asked.conversation;
        match (refusal.code, refusal.common) {
            (ErrorCode::EpochChanged, Some(common)) => self.roll_back(conversation, common, step),
            (ErrorCode::EpochChanged | ErrorCode::AnchorUnknown, _) => {
                self.conversations.entry(conversation).row.others.clear(); // of another log
                self.reset(conversation, false, step);
            }
            (ErrorCode::AnchorTooOld, _) => self.reset(conversation, true, step),
            _ if refusal.retryable => {} // due still
            // Nothing of it is to be had, until something new is heard of it.
            (code, _) => {
                self.conversations.entry(conversation).at_end(asked);
                if code == ErrorCode::NotFound {
                    self.lost(conversation, step);
                }
            }
        }
    }

    /// Something other than `sync` was answered that there is no such conversation, or not for this user.
    pub(super) fn not_found(&mut self, conversation: &ConversationId, step: &mut Step) {
        // Of a group only `sync` says whether the user is a member.
        if self.conversations.get(conversation).is_some_and(|local| local.row.with.is_none() && local.row.told && !local.row.ended) {
            self.doubt_membership(conversation);
        } else {
            self.lost(conversation, step);
        }
    }

    /// The server knows no such conversation, or not for this user: a restore has lost it, perhaps. What is here of it stays; but that it
    /// is the one with somebody is known no more: whoever wants to talk to them has it opened anew, and then it is as the server says. Once
    /// it is opened again by itself, so that the next message has a place.
    fn lost(&mut self, conversation: &ConversationId, step: &mut Step) {
        let local = self.conversations.entry(conversation);
        let with = local.row.with.take();
        if with.is_some() || local.row.told {
            local.row.told = false;
            step.touch(conversation);
        }
        if let Some(user) = with {
            self.open_again(conversation, user, step);
        }
    }

    /// Whether it is too far from what the device has to here to catch up with.
    pub(super) fn too_far(&self, local: &Conversation, position: Position) -> bool {
        let Settings { new_entries_max, catch_up_entries_max, .. } = *self.settings;
        local.is_far(position, if local.row.have == Position::ZERO { new_entries_max } else { catch_up_entries_max })
    }

    /// Goes on at the head, if there is too much before it (or nothing to be had of it): history fetches that on demand. Only a head whose
    /// count is known will do, or unread would be wrong for as long as nothing comes behind it.
    fn jump_if_too_far(&mut self, conversation: &ConversationId, step: &mut Step) {
        let Some(local) = self.conversations.get(conversation) else { return };
        // What has ended is told by `sync` only.
        if !local.row.ended && local.counted.seq > local.row.have.seq && (local.jump || self.too_far(local, local.counted)) {
            let local = self.conversations.entry(conversation);
            if !local.row.is_empty() {
                step.changes.push(Change::DropAll(conversation.clone()));
                step.unshow_beyond(conversation, Position::ZERO);
            }
            let position = local.jump_target();
            let taken = local.jump_to(position, &self.settings.user);
            step.show_committed(Shown::Skipped { conversation: conversation.clone(), position });
            step.touch(conversation);
            self.take(conversation, taken, step);
            self.look_again(conversation, step);
        }
    }

    /// The log was restored from a backup: `common` is the last that both have.
    pub(super) fn roll_back(&mut self, conversation: &ConversationId, common: Position, step: &mut Step) {
        let local = self.conversations.entry(conversation);
        // What stays may tell of an edit, a deletion or a reaction that was taken back, and what it was before, nobody here knows.
        if local.contradicts(common) || local.row.amended > common.seq {
            let anchors = local.outbox.roll_back(common);
            write_rows(anchors, step);
            self.reset(conversation, false, step);
            self.end_came(conversation, common); // at least so far there is something to ask for
            return;
        }
        let loses = local.row.have.seq > common.seq;
        if !loses && local.row.head <= common.max(local.row.have) {
            // It takes nothing back: another answer of the same restore, or one that must not be asked for again and again.
            self.catching_up.syncs.fail(step, None);
        }
        self.forget_late(conversation);
        self.doubt_row(conversation, common.seq);
        let local = self.conversations.entry(conversation);
        local.roll_back(common);
        let anchors = local.outbox.roll_back(common);
        if loses {
            step.changes.push(Change::DropBeyond { conversation: conversation.clone(), position: common });
            step.unshow_beyond(conversation, common);
            step.show_committed(Shown::RolledBack { conversation: conversation.clone(), position: common });
        }
        // Of the new generation; what was on its way to the store of the old one is there before this.
        local.has_run(step);
        write_rows(anchors, step);
        step.touch(conversation);
    }

    /// What the device has is not in the log, or not after what the log still has: it begins anew, at the head if `jump`.
    fn reset(&mut self, conversation: &ConversationId, jump: bool, step: &mut Step) {
        self.forget_late(conversation);
        self.doubt_row(conversation, Seq::ZERO);
        let local = self.conversations.entry(conversation);
        local.reset();
        local.jump = jump;
        step.changes.push(Change::DropAll(conversation.clone()));
        step.unshow_beyond(conversation, Position::ZERO);
        step.show_committed(Shown::RolledBack { conversation: conversation.clone(), position: Position::ZERO });
        step.touch(conversation);
        self.looking.ping = true; // it answers the head
        self.catching_up.syncs.fail(step, None);
    }
}
