//! The life of the sockets: opening, dying, replacing, giving up. What a socket's frames mean is elsewhere.

use chatlane_protocol::ErrorCode;
use chatlane_protocol::frames::{ErrorFrame, Goaway, GoawayReason, PrefsChanged, ReadMark, Receipt};
use chatlane_protocol::limits::SHUT_OUT_MS_MAX;
use chatlane_protocol::{ConversationId, Refusal, ServerFrame};

use super::link::{HelloPage, InFlight, Link, Stage};
use super::sockets::Rest;
use super::step::Step;
use super::wire::{self, Answer, Arrival, Loss};
use super::{ConnectionState, Moment, OpenFailure, Output, Purpose, Session, SocketId, TokenNeed};

/// After so many sockets in a row that could not be opened, the token is suspected.
const BLIND_MAX: u32 = 2;

impl Session {
    /// The state of the connection.
    pub(super) fn state(&self) -> ConnectionState {
        match (&self.sockets.current, self.sockets.rest) {
            (Some(link), _) if !link.is_ready() => ConnectionState::Connecting,
            (Some(_), _) if self.catching_up.live => ConnectionState::Live,
            (Some(_), _) => ConnectionState::CatchingUp,
            (None, Rest::Asleep) => ConnectionState::Waiting { until: Moment(u64::MAX) },
            (None, Rest::BackOff { until, .. }) => ConnectionState::Waiting { until },
            (None, Rest::NoToken { .. }) => ConnectionState::NoToken,
            (None, Rest::Displaced) => ConnectionState::Displaced,
            (None, Rest::UpgradeRequired) => ConnectionState::UpgradeRequired,
        }
    }

    pub(super) fn connect_now(&mut self, step: &mut Step) {
        match (&self.sockets.current, self.sockets.rest) {
            (None, Rest::UpgradeRequired) => {}
            (None, Rest::Asleep | Rest::BackOff { .. } | Rest::Displaced) => self.connect_anew(step),
            (None, Rest::NoToken { .. }) => self.connect(step), // the user may know better
            _ => self.woke(step),
        }
    }

    /// The machine has slept, or its network is another one.
    pub(super) fn woke(&mut self, step: &mut Step) {
        match (&self.sockets.current, self.sockets.rest) {
            (None, Rest::BackOff { allowed, .. }) if allowed <= step.now => self.connect_anew(step),
            (Some(link), _) if link.is_ready() => self.looking.ping = true,
            _ => {}
        }
    }

    /// A token that has ended meanwhile would be refused, and where nobody is told why, for ever: a new one comes first.
    fn connect_anew(&mut self, step: &mut Step) {
        if self.tokens.is_over(step.now) {
            self.rest_for_token(step.now, TokenNeed::Ends, step);
        } else {
            self.connect(step);
        }
    }

    fn connect(&mut self, step: &mut Step) {
        let link = self.open_socket(step);
        self.sockets.current = Some(link);
        self.catching_up.live = false;
    }

    fn open_socket(&mut self, step: &mut Step) -> Link {
        self.sockets.last = SocketId(self.sockets.last.0 + 1);
        let socket = self.sockets.last;
        step.outputs.push(Output::Connect(socket));
        Link::opening(socket, step.now, step.now.plus_ms(self.settings.answer_wait_ms))
    }

    pub(super) fn opened(&mut self, socket: SocketId) {
        if let Some(link) = self.sockets.get(socket)
            && matches!(link.stage, Stage::Opening { .. })
        {
            link.stage = Stage::Greeting;
            link.page = Some(HelloPage::FIRST);
            self.sockets.blind = 0;
        }
    }

    pub(super) fn open_failed(&mut self, socket: SocketId, failure: OpenFailure, step: &mut Step) {
        match failure {
            OpenFailure::Unreachable => self.died(socket, None, step),
            OpenFailure::Denied => self.token_refused_by_handshake(socket, step),
        }
    }

    /// A socket is of no use any more, whoever ended it: what was in flight on it has an unknown outcome.
    pub(super) fn died(&mut self, socket: SocketId, retry_after_ms: Option<u64>, step: &mut Step) {
        let current = self.sockets.is_current(socket);
        let successor = self.sockets.is_successor(socket);
        let Some(link) = self.sockets.remove(socket) else { return };
        let (stage, shut_until) = (link.stage, link.shut_until);
        self.lose_all(link, step);
        if current {
            self.sockets.current = self.sockets.successor.take();
            if self.sockets.current.is_none() {
                let shut_ms = shut_until.0.saturating_sub(step.now.0);
                self.back_off(stage, retry_after_ms.max(Some(shut_ms)), step);
            }
        } else if successor {
            self.sockets.replace.fail(step, retry_after_ms);
            self.sockets.replace_at = Some(self.sockets.replace.not_before());
            // The server has taken the current one's place away for this one: both are gone.
            if let Some(current) = self.sockets.current.as_ref().filter(|link| link.displaced).map(|link| link.socket) {
                self.abandon(current, retry_after_ms, step);
            }
        }
    }

    fn back_off(&mut self, stage: Stage, retry_after_ms: Option<u64>, step: &mut Step) {
        self.forgive_if_lasted(stage, step);
        self.sockets.connect.fail(step, retry_after_ms);
        let allowed = step.now.plus_ms(retry_after_ms.unwrap_or_default());
        self.sockets.rest = Rest::BackOff { until: self.sockets.connect.not_before(), allowed };
        if matches!(stage, Stage::Opening { .. }) {
            self.sockets.blind += 1;
            if self.sockets.blind >= BLIND_MAX {
                self.tokens.ask(TokenNeed::Suspect, step);
            }
        }
    }

    /// A connection that lasted makes the next failure the first one again; one that broke at once does not, or a server that accepts and
    /// drops would be stormed.
    fn forgive_if_lasted(&mut self, stage: Stage, step: &Step) {
        if let Stage::Ready { since } = stage
            && since.plus_ms(self.settings.back_off_max_ms) <= step.now
        {
            self.sockets.connect.succeed();
        }
    }

    /// As [`Self::died`], of a socket that is to be closed by us.
    pub(super) fn abandon(&mut self, socket: SocketId, retry_after_ms: Option<u64>, step: &mut Step) {
        if self.sockets.get(socket).is_some() {
            step.outputs.push(Output::Close(socket));
            self.died(socket, retry_after_ms, step);
        }
    }

    /// Closes all sockets. The reason holds until something ends it.
    pub(super) fn rest(&mut self, rest: Rest, step: &mut Step) {
        let sockets = &mut self.sockets;
        let links = [sockets.current.take(), sockets.successor.take(), sockets.draining.take().map(|(link, _)| link)];
        sockets.rest = rest;
        for link in links.into_iter().flatten() {
            step.outputs.push(Output::Close(link.socket));
            self.lose_all(link, step);
        }
    }

    /// Without a good token: the pause before the next one is used grows too, or an issuer of bad ones would be stormed.
    pub(super) fn rest_without_token(&mut self, step: &mut Step) {
        if let Some(stage) = self.sockets.current.as_ref().map(|link| link.stage) {
            self.forgive_if_lasted(stage, step);
        }
        self.sockets.connect.fail(step, None);
        self.rest_for_token(self.sockets.connect.not_before(), TokenNeed::Refused, step);
    }

    /// Waits for a new token, to be used not before `until`; after a while the old one is tried again.
    fn rest_for_token(&mut self, until: Moment, why: TokenNeed, step: &mut Step) {
        let (half, max) = (self.settings.back_off_max_ms / 2, self.settings.back_off_max_ms);
        let retry_at = until.plus_ms(half + step.dice.up_to(max - half, "old_token"));
        self.rest(Rest::NoToken { until, retry_at }, step);
        self.tokens.ask(why, step);
    }

    fn token_refused_by_handshake(&mut self, socket: SocketId, step: &mut Step) {
        if let Some(link) = self.sockets.current.take_if(|link| link.socket == socket) {
            self.lose_all(link, step); // there is nothing to close
            self.rest_without_token(step);
        } else if self.sockets.is_successor(socket) {
            self.tokens.ask(TokenNeed::Refused, step);
            self.died(socket, None, step);
        }
    }

    /// The time of the token of this socket is over.
    pub(super) fn token_expired(&mut self, socket: SocketId, step: &mut Step) {
        if self.sockets.is_current(socket) {
            self.rest_without_token(step);
        } else {
            if self.sockets.is_successor(socket) {
                self.tokens.ask(TokenNeed::Refused, step);
            }
            self.abandon(socket, None, step);
        }
    }

    fn lose_all(&mut self, link: Link, step: &mut Step) {
        // Of one that was displaced it is known what became of its `hello`.
        if link.page == Some(HelloPage::FIRST) && !link.displaced {
            self.sockets.lost_hello = self.sockets.lost_hello.max(Some(link.socket));
        }
        for in_flight in link.in_flight.into_values() {
            self.answered(link.socket, in_flight.purpose, Answer::Lost(Loss::Socket), step);
        }
    }

    pub(super) fn received(&mut self, socket: SocketId, text: &str, step: &mut Step) {
        let Some(link) = self.sockets.get(socket) else { return };
        link.shut_until = Moment(0);
        match wire::read(text) {
            Arrival::Answer(id, answer) => {
                let late = link.late.remove(&id);
                if let Some(in_flight) = link.in_flight.remove(&id) {
                    self.answered(socket, in_flight.purpose, answer, step);
                } else if let Answer::Refused(refusal) = answer {
                    // Also under the id of a request that is settled: what is about the connection still is.
                    let _other = self.refused_for_all(socket, &refusal, step);
                } else if let (Some(InFlight { purpose, .. }), Answer::Frame(frame)) = (late, answer) {
                    self.late_results(purpose, frame, step);
                }
            }
            Arrival::Push(ServerFrame::Entries(frame)) => {
                link.pushes_at = step.now;
                self.entries_pushed(frame, step);
            }
            Arrival::Push(ServerFrame::Receipt(receipt)) => {
                link.pushes_at = step.now;
                let Receipt { conversation, cursors, read_count, read_private, .. } = receipt;
                match read_count {
                    Some(read_count) if cursors.user == self.settings.user => {
                        self.own_read_came(&conversation, ReadMark { read: cursors.read, read_count, read_private }, step);
                    }
                    _ => self.cursors_moved(&conversation, vec![cursors], step),
                }
            }
            Arrival::Push(ServerFrame::PrefsChanged(PrefsChanged { conversation, prefs })) => {
                link.pushes_at = step.now;
                self.prefs_came(&conversation, prefs, step);
            }
            Arrival::Push(ServerFrame::Goaway(goaway)) => self.goaway_came(socket, &goaway, step),
            Arrival::Push(ServerFrame::Error(ErrorFrame { refusal, .. })) => {
                let _other = self.refused_for_all(socket, &refusal, step);
            }
            Arrival::GatewayFailure => {
                for purpose in link.lose_answers(step.now) {
                    self.answered(socket, purpose, Answer::Lost(Loss::Answer), step);
                }
            }
            Arrival::Push(_) | Arrival::Nothing => {}
        }
    }

    fn goaway_came(&mut self, socket: SocketId, goaway: &Goaway, step: &mut Step) {
        let greeted = self.sockets.successor.as_ref().is_some_and(|link| link.stage == Stage::Greeting);
        let current = self.sockets.is_current(socket);
        let in_use = current || self.sockets.is_successor(socket);
        let displaced = goaway.reason == GoawayReason::Displaced;
        if let Some(link) = self.sockets.get(socket) {
            link.displaced |= displaced;
        }
        if !in_use || displaced && current && greeted {
            // It was replaced and drains; or it is being replaced: the successor has said hello, its answer is on the way.
        } else if displaced && self.sockets.lost_hello.is_none() {
            self.rest(Rest::Displaced, step);
        } else {
            // Displaced by a dead socket of our own, perhaps. Somebody else displaces the next one too.
            self.abandon(socket, goaway.retry_after_ms, step);
        }
    }

    /// What an error means for the socket, whatever was asked. Answers whether that is all that it means.
    pub(super) fn refused_for_all(&mut self, socket: SocketId, refusal: &Refusal, step: &mut Step) -> bool {
        match refusal.code {
            ErrorCode::TokenExpired => self.token_expired(socket, step),
            ErrorCode::UpgradeRequired => self.rest(Rest::UpgradeRequired, step),
            ErrorCode::Resync => self.greet_again(socket),
            ErrorCode::RateLimited => {
                if let Some(link) = self.sockets.get(socket) {
                    // Longer ones are of what may be asked on a day, and the connection stays.
                    let shut_ms = refusal.retry_after_ms.filter(|ms| *ms <= SHUT_OUT_MS_MAX);
                    link.shut_until = step.now.plus_ms(shut_ms.unwrap_or_default());
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The server does not know this connection any more: hello again on the same socket.
    pub(super) fn greet_again(&mut self, socket: SocketId) {
        if self.sockets.is_current(socket)
            && let Some(link) = self.sockets.get(socket)
            && link.is_ready()
            && !link.has(|purpose| matches!(purpose, Purpose::Hello { after: None, .. }))
        {
            link.page = Some(HelloPage::FIRST);
            self.catching_up.live = false;
        }
    }

    /// The successor's `hello` is answered: it takes over, the old one drains.
    pub(super) fn succeed(&mut self, socket: SocketId, step: &mut Step) {
        if !self.sockets.is_successor(socket) {
            return;
        }
        if let Some((link, _)) = self.sockets.draining.take() {
            step.outputs.push(Output::Close(link.socket));
            self.lose_all(link, step);
        }
        let until = step.now.plus_ms(self.settings.answer_wait_ms);
        let old = std::mem::replace(&mut self.sockets.current, self.sockets.successor.take());
        self.sockets.draining = old.map(|link| (link, until));
    }

    /// What is not answered yet of this conversation's earlier sends is about a log that there is no more.
    pub(super) fn forget_late(&mut self, conversation: &ConversationId) {
        let draining = self.sockets.draining.as_mut().map(|(link, _)| link);
        let links = [self.sockets.current.as_mut(), self.sockets.successor.as_mut(), draining].into_iter().flatten();
        for link in links {
            let about = |late: &Purpose| matches!(late, Purpose::Send { conversation: of, .. } | Purpose::Change { conversation: of, .. } if of == conversation);
            link.late.retain(|_, late| !about(&late.purpose));
        }
    }

    /// The server knows this socket now: what older ones said can displace it no more.
    pub(super) fn hello_settled(&mut self, socket: SocketId) {
        self.sockets.lost_hello = self.sockets.lost_hello.filter(|lost| *lost > socket);
    }

    /// From now on the socket counts as good.
    pub(super) fn replace_after(&mut self, ms: u64, step: &Step) {
        self.sockets.replace.succeed();
        self.sockets.replace_at = Some(step.now.plus_ms(ms));
    }

    /// What time does to sockets.
    pub(super) fn tend_sockets(&mut self, step: &mut Step) {
        let draining = self.sockets.draining.as_ref().map(|(link, _)| link);
        let links = [self.sockets.current.as_ref(), self.sockets.successor.as_ref(), draining].into_iter().flatten();
        let waits: Vec<_> = links.filter_map(|link| Some((link.socket, link.dead_at()?))).collect();
        for (socket, dead_at) in waits {
            if step.reached(dead_at) {
                self.abandon(socket, None, step);
            }
        }
        if let Some((link, until)) = &self.sockets.draining
            && (link.in_flight.is_empty() || step.reached(*until))
        {
            self.abandon(link.socket, None, step);
        }
        match (&self.sockets.current, self.sockets.rest) {
            (None, Rest::BackOff { until, .. }) if step.reached(until) => self.connect_anew(step),
            (None, Rest::NoToken { retry_at, .. }) if step.reached(retry_at) => self.connect(step),
            _ => {}
        }
        let replaceable = self.sockets.ready().is_some() && self.sockets.successor.is_none();
        if replaceable && self.sockets.replace_at.is_some_and(|at| step.reached(at)) {
            self.sockets.replace_at = None;
            self.sockets.successor = Some(self.open_socket(step));
        }
    }
}
