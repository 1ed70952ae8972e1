//! The sockets of a session, what is in flight on them, and why there is none.
//!
//! There is one *current* socket. When its time is nearly over, a *successor* is opened beside it and takes its place with the answer to
//! its `hello`; the old one is *drained*: the answers that are due on it may still come.

use chatlane_protocol::{Request, RequestId};

use super::link::{InFlight, Link};
use super::retry::Retry;
use super::step::Step;
use super::wire::request_id;
use super::{Moment, Output, Purpose, SocketId, Text};

/// The sockets of a session, and why there is none.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    pub(super) current: Option<Link>,
    pub(super) successor: Option<Link>,
    /// The one before `current`, and until when it may still answer.
    pub(super) draining: Option<(Link, Moment)>,
    /// Why there is no current one; of no meaning while there is.
    pub(super) rest: Rest,
    /// When to open a successor.
    pub(super) replace_at: Option<Moment>,
    /// The newest socket that ended before its `hello` was answered, until a newer one is known to the server: that `hello` may have been
    /// carried out, or be carried out yet, and then the server gives our older sockets up for a dead one.
    pub(super) lost_hello: Option<SocketId>,
    /// Sockets in a row that could not be opened.
    pub(super) blind: u32,
    pub(super) connect: Retry,
    pub(super) replace: Retry,
    pub(super) last: SocketId,
    last_request: u64,
}

/// Why there is no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nobody has asked for one yet.
    Asleep,
    /// The next attempt is at the first moment. The server has forbidden it before the second.
    BackOff { until: Moment, allowed: Moment },
    /// A new token is needed, and used not before `until`. At `retry_at` the old one is tried again: a token is also refused while the
    /// server has not fetched a new key of the identity provider yet.
    NoToken { until: Moment, retry_at: Moment },
    /// Somebody else uses this device's place.
    Displaced,
    /// The server speaks no version of ours.
    UpgradeRequired,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            current: None,
            successor: None,
            draining: None,
            rest: Rest::Asleep,
            replace_at: None,
            lost_hello: None,
            blind: 0,
            connect: Retry::NEW,
            replace: Retry::NEW,
            last: SocketId(0),
            last_request: 0,
        }
    }
}

impl Sockets {
    pub(super) fn get(&mut self, socket: SocketId) -> Option<&mut Link> {
        let draining = self.draining.as_mut().map(|(link, _)| link);
        [self.current.as_mut(), self.successor.as_mut(), draining].into_iter().flatten().find(|link| link.socket == socket)
    }

    /// The current socket, if the server knows it.
    pub(super) fn ready(&self) -> Option<&Link> {
        self.current.as_ref().filter(|link| link.is_ready())
    }

    /// Whether a request of this kind is in flight, on any socket.
    pub(super) fn has(&self, which: impl Fn(&Purpose) -> bool) -> bool {
        let draining = self.draining.as_ref().map(|(link, _)| link);
        [self.current.as_ref(), self.successor.as_ref(), draining].into_iter().flatten().any(|link| link.has(&which))
    }

    pub(super) fn is_current(&self, socket: SocketId) -> bool {
        self.current.as_ref().is_some_and(|link| link.socket == socket)
    }

    pub(super) fn is_successor(&self, socket: SocketId) -> bool {
        self.successor.as_ref().is_some_and(|link| link.socket == socket)
    }

    pub(super) fn remove(&mut self, socket: SocketId) -> Option<Link> {
        if self.is_current(socket) {
            self.current.take()
        } else if self.is_successor(socket) {
            self.successor.take()
        } else {
            self.draining.take_if(|(link, _)| link.socket == socket).map(|(link, _)| link)
        }
    }

    /// Whether all pages of `hello` were answered on the current socket.
    pub(super) fn greeted(&self) -> bool {
        self.ready().is_some_and(|Link { page, .. }| page.is_none())
    }

    /// Sends a request on a socket.
    pub(super) fn ask(&mut self, socket: SocketId, purpose: Purpose, request: impl FnOnce(RequestId) -> Request, step: &mut Step) {
        self.last_request += 1;
        let id = request_id(self.last_request);
        let wait_ms = if matches!(purpose, Purpose::Ping { .. }) { step.settings.ping_wait_ms } else { step.settings.answer_wait_ms };
        let until = step.now.plus_ms(wait_ms);
        if let Some(link) = self.get(socket) {
            let text = Text(chatlane_protocol::frames::encode(&request(id.clone())));
            step.outputs.push(Output::Send { socket, text });
            link.in_flight.insert(id, InFlight { purpose, until });
        }
    }

    /// Sets the timers of what the rest of the step has sent or opened.
    pub(super) fn note_deadlines(&self, step: &mut Step) {
        let links = [self.current.as_ref(), self.successor.as_ref(), self.draining.as_ref().map(|(link, _)| link)];
        for dead_at in links.into_iter().flatten().filter_map(Link::dead_at) {
            let _due = step.reached(dead_at);
        }
    }
}
