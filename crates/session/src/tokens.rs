//! Tokens: asked for before they end, given to the server in band.
//!
//! The session never opens anything with a token; it only carries a new one to a socket that is open.

use chatlane_protocol::frames::RefreshAnswer;
use chatlane_protocol::limits::REFRESH_BEFORE_MS;
use chatlane_protocol::request::Refresh;
use chatlane_protocol::{Request, Token, UnixMillis};

use super::retry::Retry;
use super::sockets::{Rest, Sockets};
use super::step::Step;
use super::wire::Answered;
use super::{Moment, Output, Purpose, Session, TokenNeed};

/// What the session knows about tokens.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    /// `NeedToken` is not answered yet.
    wanted: bool,
    /// When to ask for the next one.
    ask_at: Option<Moment>,
    /// The one in use is good for another socket until then, as the server has told its end.
    good_until: Option<Moment>,
    /// To be given to the server.
    newest: Option<Token>,
    pub(super) retry: Retry,
    /// The server's clock, and when it said so.
    clock: (UnixMillis, Moment),
}

impl Default for Tokens {
    fn default() -> Self {
        Self { wanted: false, ask_at: None, good_until: None, newest: None, retry: Retry::NEW, clock: (UnixMillis::ZERO, Moment(0)) }
    }
}

impl Tokens {
    /// Asks for a new token, once.
    pub(super) fn ask(&mut self, why: TokenNeed, step: &mut Step) {
        self.ask_at = None;
        if !self.wanted {
            self.wanted = true;
            step.outputs.push(Output::NeedToken(why));
        }
    }

    /// Whether the one in use has ended, or is about to.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.good_until.is_some_and(|until| until <= now)
    }

    /// The token of this connection ends at `expires`; it is `server_time` now.
    pub(super) fn lives(&mut self, expires: UnixMillis, server_time: UnixMillis, step: &Step) {
        self.clock = (server_time, step.now);
        self.ends(expires, step);
    }

    /// Asks for a token in time, and gives the server the one that came.
    pub(super) fn tend(&mut self, sockets: &mut Sockets, step: &mut Step) {
        let Some(socket) = sockets.ready().map(|link| link.socket) else { return };
        if self.ask_at.is_some_and(|at| step.reached(at)) {
            self.ask(TokenNeed::Ends, step);
        }
        let idle = !sockets.has(|purpose| *purpose == Purpose::Refresh);
        if let Some(token) = self.newest.clone()
            && idle
            && sockets.greeted()
            && step.reached(self.retry.not_before())
        {
            sockets.ask(socket, Purpose::Refresh, |id| Request::Refresh(Refresh { id, token }), step);
        }
    }

    pub(super) fn answered(&mut self, answered: Answered<RefreshAnswer>, step: &mut Step) {
        match answered {
            Answered::Answer(refreshed) => {
                (self.newest, self.retry) = (None, Retry::NEW);
                self.ends(refreshed.expires_ms, step);
            }
            // Not this one again. The connection is as before; when its token expires, the handshake will judge.
            Answered::Refused(refusal) => {
                self.newest = None;
                self.retry.fail(step, refusal.retry_after_ms);
                self.ask_at = Some(self.retry.not_before().plus_ms(step.settings.back_off_max_ms));
            }
            Answered::TryAgain { retry_after_ms } => self.retry.fail(step, retry_after_ms),
            Answered::SocketLost => {}
        }
    }

    fn ends(&mut self, expires: UnixMillis, step: &Step) {
        let (server_time, at) = self.clock;
        let life_ms = expires.since_ms(server_time.plus_ms(step.now.since_ms(at)));
        // A token that hardly lives longer than the time before its end is used for half its life, or one would be asked for at once again.
        let use_ms = life_ms.saturating_sub(REFRESH_BEFORE_MS).max(life_ms / 2);
        let until = step.now.plus_ms(use_ms);
        (self.ask_at, self.good_until) = (Some(until), Some(until));
    }
}

impl Session {
    pub(super) fn token_came(&mut self, token: Token, step: &Step) {
        (self.tokens.wanted, self.tokens.good_until) = (false, None);
        if let (None, Rest::NoToken { until, .. }) = (&self.sockets.current, self.sockets.rest) {
            let until = until.max(step.now);
            self.sockets.rest = Rest::BackOff { until, allowed: until };
        }
        // The next socket is opened with it; one that is opening may have been given the one before.
        self.tokens.newest = self.sockets.current.is_some().then_some(token);
        self.tokens.retry = Retry::NEW;
    }
}
