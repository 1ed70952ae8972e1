//! The gateway's settings. Defaults are AWS's, from the page "Quotas for configuring and running a WebSocket API in API Gateway"
//! where no other source is named.

use std::collections::BTreeMap;
use std::time::Duration;

/// One WebSocket API: its stage, routes, authorizer, limits, and the misbehaviour that tests ask for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stage: clients connect to `/{stage}`.
    pub stage: String,
    /// Function name by route key. `$connect`, `$disconnect` and `$default` are optional, as on AWS.
    pub routes: BTreeMap<String, String>,
    /// The function of the REQUEST authorizer of `$connect`. No identity source is declared, so it is called for every handshake.
    pub authorizer: String,
    /// Limits.
    pub limits: Limits,
    /// Whether some `$disconnect` events are lost, which AWS delivers with best effort only.
    pub lost_disconnects: Option<LostDisconnects>,
    /// Whether frames that arrive close together are dispatched in another order. AWS promises no order.
    pub reorder: Reorder,
}

impl Settings {
    /// AWS's behaviour for an API with these routes (route key and function).
    pub fn new<'a>(stage: &str, authorizer: &str, routes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            stage: stage.to_owned(),
            routes: routes.into_iter().map(|(key, function)| (key.to_owned(), function.to_owned())).collect(),
            authorizer: authorizer.to_owned(),
            limits: Limits::default(),
            lost_disconnects: None,
            reorder: Reorder::NONE,
        }
    }
}

/// Limits of the gateway.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest URL in characters, path and query: 4096.
    pub url_chars_max: usize,
    /// Largest payload of one WebSocket frame from a client in bytes: 32 KB, else close 1009.
    pub frame_bytes_max: usize,
    /// Largest message, from a client (else close 1009), posted (else 413) or answered, in bytes: 128 KB.
    pub message_bytes_max: usize,
    /// Largest result of the authorizer in bytes: 8 KB.
    pub authorizer_result_bytes_max: usize,
    /// A connection without a message in either direction for this long is closed with 1001: 10 minutes.
    pub idle: Duration,
    /// A connection of this age is closed with 1001, whatever happens on it: 2 hours.
    pub life: Duration,
    /// How long the gateway waits for a function: 29 s.
    pub integration_timeout: Duration,
    /// New connections per second, over all: 500, else the handshake gets 429.
    pub new_connections_per_second: u32,
    /// New connections at once. AWS names a rate only; a second's worth is assumed.
    pub new_connections_burst: u32,
    /// Messages that wait for a slow client before posts to it get 429. AWS names no number ("the client's buffer is full").
    pub outgoing_messages_max: usize,
    /// How long a client may take to answer a close frame before its TCP connection is dropped. AWS names none; 5 s is assumed.
    pub close_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            url_chars_max: 4096,
            frame_bytes_max: 32 * 1024,
            message_bytes_max: 128 * 1024,
            authorizer_result_bytes_max: 8 * 1024,
            idle: Duration::from_mins(10),
            life: Duration::from_hours(2),
            integration_timeout: Duration::from_secs(29),
            new_connections_per_second: 500,
            new_connections_burst: 500,
            outgoing_messages_max: 128,
            close_wait: Duration::from_secs(5),
        }
    }
}

/// Some `$disconnect` events are lost ("API Gateway will try its best to deliver", page "Manage connected users and client apps"). Which
/// ones follows from the seed and the order in which the connections were opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LostDisconnects {
    /// Probability that one event is lost: 0 to 1.
    pub share: f64,
    /// Seed of the choice.
    pub seed: u64,
}

/// Frames of one connection are dispatched in another order than they arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// Seed of the order. The same seed and the same arrivals on the n-th connection give the same order.
    pub seed: u64,
    /// Frames that are held and shuffled together; with 1 they keep their order.
    pub window: usize,
    /// Held frames are let go when no further one arrives for this long.
    pub quiet: Duration,
}

impl Reorder {
    /// Frames are dispatched as they arrive.
    pub const NONE: Self = Self { seed: 0, window: 1, quiet: Duration::ZERO };

    /// Shuffles up to 4 frames that arrive within 2 ms of each other.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, window: 4, quiet: Duration::from_millis(2) }
    }
}
