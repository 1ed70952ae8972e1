//! What the user prefers about a conversation: as the server told it, by version, and what they wish to be otherwise until the server has
//! it. A wish is in the local store, so it outlives a restart and the time without a connection.

use chatlane_protocol::frames::PrefsAnswer;
use chatlane_protocol::request::SetPrefs;
use chatlane_protocol::{ConversationId, ErrorCode, Prefs, PrefsChange, Refusal, Request, Seq};

use super::cursors::is_all_stored;
use super::outbox::ended;
use super::step::Step;
use super::wire::Answered;
use super::{ConversationRow, Failure, Purpose, Session, Shown};

/// Both wishes: where they differ, the later one.
fn and(earlier: PrefsChange, later: PrefsChange) -> PrefsChange {
    PrefsChange {
        muted_until_ms: later.muted_until_ms.or(earlier.muted_until_ms),
        mentions: later.mentions.or(earlier.mentions),
        pinned: later.pinned.or(earlier.pinned),
        archived: later.archived.or(earlier.archived),
        unread: later.unread.or(earlier.unread),
    }
}

/// What is still wished when this was settled: what the user has changed meanwhile.
fn without(wished: PrefsChange, settled: PrefsChange) -> PrefsChange {
    fn left<T: Copy + PartialEq>(wished: Option<T>, settled: Option<T>) -> Option<T> {
        wished.filter(|_| wished != settled)
    }
    PrefsChange {
        muted_until_ms: left(wished.muted_until_ms, settled.muted_until_ms),
        mentions: left(wished.mentions, settled.mentions),
        pinned: left(wished.pinned, settled.pinned),
        archived: left(wished.archived, settled.archived),
        unread: left(wished.unread, settled.unread),
    }
}

impl Session {
    /// The user prefers something else.
    pub(super) fn prefer(&mut self, conversation: ConversationId, wished: PrefsChange, step: &mut Step) {
        match self.conversations.get(&conversation) {
            None => step.show(Shown::Failed(Failure::NoConversation(conversation))),
            Some(local) if local.row.ended => step.show(Shown::Failed(Failure::Prefs { conversation, refusal: ended() })),
            Some(_) => self.change_prefs(&conversation, |row| row.wished = and(row.wished, wished), step),
        }
    }

    /// Asks for what is wished, one request a conversation at a time.
    pub(super) fn ask_prefs(&mut self, step: &mut Step) {
        let Some(socket) = self.sockets.ready().map(|link| link.socket) else { return };
        // A page of `hello` that was read before the server has the wish would bring back what was there before.
        if !self.sockets.greeted() {
            return;
        }
        // What the store does not have yet would be overridden, after a restart, by the wish before it.
        if !is_all_stored(&self.writes, step) {
            return;
        }
        let wishing = self.conversations.values().filter(|local| !local.row.wished.is_empty());
        let wishing: Vec<_> =
            wishing.map(|local| (local.row.conversation.clone(), local.row.wished, local.preferring.retry.not_before())).collect();
        for (conversation, asked, not_before) in wishing {
            let asks = |purpose: &Purpose| matches!(purpose, Purpose::Prefs { conversation: of, .. } if *of == conversation);
            if !self.sockets.has(asks) && step.reached(not_before) {
                let purpose = Purpose::Prefs { conversation: conversation.clone(), asked };
                self.sockets.ask(socket, purpose, |id| Request::Prefs(SetPrefs { id, conversation, prefs: asked }), step);
            }
        }
    }

    pub(super) fn prefs_answered(
        &mut self,
        conversation: &ConversationId,
        asked: PrefsChange,
        answered: Answered<PrefsAnswer>,
        step: &mut Step,
    ) {
        let local = self.conversations.entry(conversation);
        match answered {
            Answered::Answer(PrefsAnswer { prefs, .. }) => {
                local.preferring.retry.succeed();
                self.prefs_came(conversation, prefs, step);
                self.change_prefs(conversation, |row| row.wished = without(row.wished, asked), step);
            }
            Answered::Refused(refusal) => {
                if refusal.code == ErrorCode::NotFound {
                    self.not_found(conversation, step);
                }
                self.unwish(conversation, asked, refusal, step);
            }
            Answered::TryAgain { retry_after_ms } => local.preferring.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    /// The server tells all preferences, by a push or an answer: of two versions the higher one holds; while the row is in doubt any does.
    pub(super) fn prefs_came(&mut self, conversation: &ConversationId, told: Prefs, step: &mut Step) {
        let Some(local) = self.conversations.get(conversation) else { return };
        if !local.row.ended && (told.version > local.row.prefs.version || local.preferring.doubted) {
            self.conversations.entry(conversation).preferring.heard = true;
            self.change_prefs(conversation, |row| row.prefs = told, step);
        }
    }

    /// A row of `hello` tells them, or that nothing was ever set.
    pub(super) fn prefs_of_row(&mut self, conversation: &ConversationId, told: Option<Prefs>, is_restored: bool, step: &mut Step) {
        let local = self.conversations.entry(conversation);
        let is_news = match told {
            Some(told) => told.version > local.row.prefs.version,
            None => !local.preferring.heard, // else a push has overtaken the row
        };
        if std::mem::take(&mut local.preferring.doubted) || is_restored || is_news {
            self.change_prefs(conversation, |row| row.prefs = told.unwrap_or_default(), step);
        }
    }

    /// The log was restored, and with it perhaps what the user prefers, or they are a member anew: `hello` tells what the server has. What they
    /// wish stays. The last mention is in doubt too, if it is beyond `common`: the device forgets it, and the row tells whether an earlier
    /// message mentions the user.
    pub(super) fn doubt_row(&mut self, conversation: &ConversationId, common: Seq) {
        let local = self.conversations.entry(conversation);
        if local.row.prefs.version > 0 || local.row.mentioned > common {
            (local.preferring.doubted, self.row_wanted) = (true, true);
        }
    }

    /// Asks for the rows that are in doubt, when all that is missing has come: a restore puts many in doubt, one after the other.
    pub(super) fn ask_doubted(&mut self) {
        if self.row_wanted
            && !self.is_missing()
            && let Some(socket) = self.sockets.ready().map(|link| link.socket)
        {
            self.row_wanted = false;
            self.greet_again(socket);
        }
    }

    /// The user is no member any more: what they preferred has gone with that.
    pub(super) fn prefs_end(&mut self, conversation: &ConversationId, step: &mut Step) {
        self.change_prefs(conversation, |row| row.prefs = Prefs::default(), step);
        let wished = self.conversations.entry(conversation).row.wished;
        self.unwish(conversation, wished, ended(), step);
    }

    /// A wish is given up. Not told of what the user has changed or lost meanwhile.
    fn unwish(&mut self, conversation: &ConversationId, wish: PrefsChange, refusal: Refusal, step: &mut Step) {
        let wished = self.conversations.entry(conversation).row.wished;
        if without(wished, wish) != wished {
            self.change_prefs(conversation, |row| row.wished = without(wished, wish), step);
            step.show(Shown::Failed(Failure::Prefs { conversation: conversation.clone(), refusal }));
        }
    }

    /// Changes what is kept of it, and shows it if the user sees something else then.
    fn change_prefs(&mut self, conversation: &ConversationId, change: impl FnOnce(&mut ConversationRow), step: &mut Step) {
        let row = &mut self.conversations.entry(conversation).row;
        let (before, kept) = (row.preferred(), (row.prefs, row.wished));
        change(row);
        if kept != (row.prefs, row.wished) {
            step.touch(conversation);
        }
        let now = row.preferred();
        if now != (Prefs { version: now.version, ..before }) {
            step.show_committed(Shown::Prefs { conversation: conversation.clone(), prefs: now });
        }
    }
}
