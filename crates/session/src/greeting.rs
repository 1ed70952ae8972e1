//! `hello`: makes a socket known, sends what the device knows to the server and takes in the state of the conversations.

use chatlane_protocol::frames::{self, HelloAnswer, ReadMark, encode};
use chatlane_protocol::limits::{KNOWN_BYTES_MAX, VERSION_MAX};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConversationId, Request};

use super::conversation::Due;
use super::link::{HelloPage, Stage};
use super::step::Step;
use super::wire::Answered;
use super::{Failure, Purpose, Session, Shown, SocketId};

impl Session {
    /// Says what is to be said next on the sockets that are being greeted.
    pub(super) fn greet(&mut self, step: &mut Step) {
        let links = [self.sockets.current.as_ref(), self.sockets.successor.as_ref()].into_iter().flatten();
        let pages: Vec<_> = links
            .filter(|link| !link.has(|purpose| matches!(purpose, Purpose::Hello { .. })))
            .filter_map(|link| Some((link.socket, link.page.clone()?, link.hello.not_before())))
            .collect();
        for (socket, HelloPage { after }, not_before) in pages {
            if step.reached(not_before) {
                if after.is_none() {
                    self.row_wanted = false; // those in doubt are not named
                    self.conversations.values_mut().for_each(|local| local.preferring.heard = false);
                }
                let (known, known_to) = self.known_after(after.as_ref());
                let purpose = Purpose::Hello { after: after.clone(), known_to: known_to.clone() };
                self.sockets.ask(socket, purpose, |id| Request::Hello(Hello { id, v: VERSION_MAX, after, known, known_to }), step);
            }
        }
    }

    /// What the device knows of the conversations after `after`, and where that ends if the request is full.
    fn known_after(&self, after: Option<&ConversationId>) -> (Vec<Known>, Option<ConversationId>) {
        let (mut known, mut bytes) = (vec![], 2);
        for local in self.conversations.after(after) {
            let row = &local.row;
            // Not known is also the one of which the device does not know whether it is with somebody, or has just forgotten all.
            // Of one that was restored the row is wanted, whatever stands in it. What has ended is not the user's: named here, it would be gone again each time.
            if (row.with.is_none() && !row.told) || local.headless || local.preferring.doubted || row.ended {
                continue;
            }
            // Not a head whose count is not known: it comes with the row, if the server answers one.
            let next = Known { conversation: row.conversation.clone(), have: local.counted, read: row.read, prefs: row.prefs.version };
            bytes += encode(&next).len() + 1;
            if bytes > KNOWN_BYTES_MAX {
                let known_to = known.last().map(|known: &Known| known.conversation.clone());
                return (known, known_to);
            }
            known.push(next);
        }
        (known, None)
    }

    pub(super) fn hello_answered(
        &mut self,
        socket: SocketId,
        after: Option<&ConversationId>,
        known_to: Option<ConversationId>,
        answered: Answered<Box<HelloAnswer>>,
        step: &mut Step,
    ) {
        match answered {
            Answered::Answer(hello) => {
                if hello.user != self.settings.user || hello.device != self.settings.device {
                    // Another account's token: none of its conversations may get into this store.
                    if hello.user != self.settings.user {
                        step.show(Shown::Failed(Failure::OtherUser(hello.user)));
                    }
                    self.rest_without_token(step);
                    return;
                }
                self.limits = hello.limits;
                if after.is_none() {
                    self.known_to_server(socket, &hello, step);
                }
                if let Some(link) = self.sockets.get(socket) {
                    link.hello.succeed();
                    // All is sent anew if the server asked for that (`resync`) while a further page was on its way.
                    if after.is_none() || link.page != Some(HelloPage::FIRST) {
                        // `next` covers the page also where `known` was cut; its own end is as good.
                        link.page = hello.next.or(known_to).map(|after| HelloPage { after: Some(after) });
                    }
                }
                for row in hello.conversations {
                    self.row_came(hello.epoch, row, step);
                }
                for conversation in hello.gone {
                    // It may be of before a restore, or of before the user came back.
                    if self.conversations.get(&conversation).is_some_and(|local| hello.epoch >= local.row.have.epoch) {
                        self.doubt_membership(&conversation);
                    }
                }
            }
            Answered::Refused(refusal) => self.abandon(socket, refusal.retry_after_ms, step),
            Answered::TryAgain { retry_after_ms } => {
                if let Some(link) = self.sockets.get(socket) {
                    link.hello.fail(step, retry_after_ms);
                }
            }
            Answered::SocketLost => {}
        }
    }

    /// The first page is answered: entries are pushed to this socket from now on.
    fn known_to_server(&mut self, socket: SocketId, hello: &HelloAnswer, step: &mut Step) {
        self.succeed(socket, step);
        self.hello_settled(socket);
        if let Some(link) = self.sockets.get(socket) {
            link.pushes_at = step.now;
            if !link.is_ready() {
                link.stage = Stage::Ready { since: step.now };
            }
        }
        self.replace_after(hello.reconnect_in_ms, step);
        self.tokens.lives(hello.expires_ms, hello.server_time_ms, step);
        self.forgive();
        for local in self.conversations.values_mut() {
            // What was pushed before is not on its way any more.
            if local.is_behind() {
                local.due = Due::Now;
            }
        }
    }

    /// The server answers the state of one conversation.
    fn row_came(&mut self, epoch: u32, row: frames::ConversationRow, step: &mut Step) {
        let frames::ConversationHead { conversation, with, head } = row.conversation;
        let local = self.conversations.entry(&conversation);
        if epoch < local.row.have.epoch {
            return; // on its way since before a restore: neither its head nor its read mark may be in the log
        }
        local.row.with = with.or_else(|| local.row.with.take());
        local.row.told = true;
        local.headless = false;
        local.learn_head(head, Some(row.count));
        if head >= local.row.have {
            (local.row.role, local.row.group) = (row.role, row.group.or(local.row.group));
        }
        if local.row.ended {
            local.doubt(); // the user is a member again, or was one when this was read
        }
        if head < local.row.have && epoch > local.row.have.epoch {
            // A deployment that was restored, to a log that may not hold what the device has.
            local.doubt();
        }
        if row.read < local.row.read {
            local.row.read_pending = true;
        }
        local.learn_read(ReadMark { read: row.read, read_count: row.read_count, read_private: row.read_private });
        local.row.mentioned = local.row.mentioned.max(row.mentioned.unwrap_or_default());
        let is_restored = epoch > local.row.have.epoch;
        step.touch(&conversation);
        self.prefs_of_row(&conversation, row.prefs, is_restored, step);
        if let Some(last) = row.last {
            self.entry_came(&conversation, last, step);
        }
        let local = self.conversations.entry(&conversation);
        if local.is_behind() {
            local.due = Due::Now;
        }
    }
}
