//! Posting, as long as there is time for it, and what came of it.

use chatlane_protocol::{ConnectionId, UnixMillis, UserId};
use futures_util::stream::{self, StreamExt as _};

use super::plan::Outgoing;
use crate::ports::{Clock, Failure, Outbound, PostOutcome};

/// Posts in flight at once.
const POSTS_AT_ONCE: usize = 32;

/// No post is begun in the last so many milliseconds of the function's time: the posts under way end within a second, then what is left is
/// queued and sessions are removed, each of which the SDK tries for a while.
pub const POSTING_ENDS_MS_BEFORE: u64 = 4_000;

/// Connections by their users.
pub(super) type Targets = Vec<(UserId, ConnectionId)>;

/// What came of all posts.
#[derive(Debug, Default)]
pub(super) struct Posted {
    /// Connections that took all their frames.
    pub(super) taken: usize,
    pub(super) gone: Targets,
    pub(super) unknown: Targets,
    pub(super) throttled: Targets,
    /// There was no time for them.
    pub(super) unreached: Targets,
    /// The gateway refuses this deployment's posts.
    pub(super) refused: Option<Failure>,
    /// The first reason why a connection did not take its frames; that it is gone is none.
    pub(super) cause: Option<Failure>,
}

/// Posts to all of them in the time until `ends`, when the function's time is over. The first frame goes to the first ones in any case: so a
/// task gets on also where this machine's clock is wrong.
pub(super) async fn post_all<P: Outbound + Clock>(ports: &P, all_outgoing: Vec<Outgoing>, ends: UnixMillis) -> Posted {
    let deliveries = all_outgoing.into_iter().enumerate().map(|(index, outgoing)| async move {
        let in_time = |frame: usize| (index < POSTS_AT_ONCE && frame == 0) || ends.since_ms(ports.now()) > POSTING_ENDS_MS_BEFORE;
        (deliver(ports, &outgoing, in_time).await, (outgoing.user, outgoing.connection))
    });
    let outcomes: Vec<_> = stream::iter(deliveries).buffer_unordered(POSTS_AT_ONCE).collect().await;

    let mut posted = Posted::default();
    for (outcome, target) in outcomes {
        let cause = match outcome {
            Some(PostOutcome::Posted) => {
                posted.taken += 1;
                continue;
            }
            Some(PostOutcome::Gone) => {
                posted.gone.push(target);
                continue;
            }
            Some(PostOutcome::Throttled(cause)) => {
                posted.throttled.push(target);
                cause
            }
            Some(PostOutcome::Unknown(cause)) => {
                posted.unknown.push(target);
                cause
            }
            Some(PostOutcome::Refused(cause)) => {
                posted.refused = Some(cause);
                continue;
            }
            None => {
                posted.unreached.push(target);
                Failure::unavailable("post to connections", "the function's time is nearly over")
            }
        };
        posted.cause.get_or_insert(cause);
    }
    posted
}

/// Posts the frames of one connection, one after the other; stops at the first that is not taken. `None`: there was no time for all.
async fn deliver<P: Outbound>(ports: &P, outgoing: &Outgoing, in_time: impl Fn(usize) -> bool) -> Option<PostOutcome> {
    for (number, frame) in outgoing.frames.iter().enumerate() {
        if !in_time(number) {
            return None;
        }
        match ports.post(&outgoing.connection, frame).await {
            PostOutcome::Posted => {}
            not_taken => return Some(not_taken),
        }
    }
    Some(PostOutcome::Posted)
}
