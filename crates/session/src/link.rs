//! One socket and what is in flight on it.

use std::collections::BTreeMap;

use chatlane_protocol::{ConversationId, RequestId};

use super::retry::Retry;
use super::{Moment, Purpose, SocketId};

/// One socket.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) socket: SocketId,
    pub(super) stage: Stage,
    /// The page of `hello` that is to be asked for, or is in flight.
    pub(super) page: Option<HelloPage>,
    pub(super) hello: Retry,
    /// The server has given this socket up for another one.
    pub(super) displaced: bool,
    /// The last frame refused a request until then: if the server closes the socket behind it, the user is shut out for as long.
    pub(super) shut_until: Moment,
    /// When something last showed that the server pushes to this socket: a push, or an answer to `ping` or to the first page of `hello`.
    /// Other answers come also on a connection that the server pushes nothing to.
    pub(super) pushes_at: Moment,
    pub(super) in_flight: BTreeMap<RequestId, InFlight>,
    /// Each `send` and each change of which a gateway's frame has left open whether it was the one that failed. It was repeated; its answer may come yet.
    pub(super) late: BTreeMap<RequestId, InFlight>,
}

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asked for.
    Opening { until: Moment },
    /// Open; the first `hello` is not answered.
    Greeting,
    /// The server knows it, entries are pushed to it.
    Ready { since: Moment },
}

/// One page of `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HelloPage {
    /// Absent: the first, which makes the connection known.
    pub(super) after: Option<ConversationId>,
}

impl HelloPage {
    pub(super) const FIRST: Self = Self { after: None };
}

/// One request without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) purpose: Purpose,
    pub(super) until: Moment,
}

impl Link {
    pub(super) const fn opening(socket: SocketId, now: Moment, until: Moment) -> Self {
        Self {
            socket,
            stage: Stage::Opening { until },
            page: None,
            hello: Retry::NEW,
            displaced: false,
            shut_until: Moment(0),
            pushes_at: now,
            in_flight: BTreeMap::new(),
            late: BTreeMap::new(),
        }
    }

    /// Nobody knows which request the gateway's frame is about. Answers what was in flight; of that, each `send` and each change is listened for until its
    /// answer would be overdue: no function runs longer.
    pub(super) fn lose_answers(&mut self, now: Moment) -> Vec<Purpose> {
        self.late.retain(|_, late| late.until > now);
        let lost = std::mem::take(&mut self.in_flight);
        let writes = |one: &InFlight| matches!(one.purpose, Purpose::Send { .. } | Purpose::Change { .. });
        self.late.extend(lost.iter().filter(|(_, one)| writes(one)).map(|(id, one)| (id.clone(), one.clone())));
        lost.into_values().map(|one| one.purpose).collect()
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    pub(super) fn has(&self, which: impl Fn(&Purpose) -> bool) -> bool {
        self.in_flight.values().any(|in_flight| which(&in_flight.purpose))
    }

    /// When the socket is taken for dead if nothing comes: the first answer that is overdue then, or its opening.
    pub(super) fn dead_at(&self) -> Option<Moment> {
        let opening = match self.stage {
            Stage::Opening { until } => Some(until),
            Stage::Greeting | Stage::Ready { .. } => None,
        };
        opening.into_iter().chain(self.in_flight.values().map(|in_flight| in_flight.until)).min()
    }
}
