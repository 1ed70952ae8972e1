//! The embedded AWS endpoints.
//!
//! Each of `DynamoDB`, SQS, `@connections` and the Lambda Runtime API has its own listener. All their requests pass one layer,
//! [`Endpoints`]. The layer knows who called (each child process has its own access key id) and keeps the [`Call`]s for tests and for the
//! `-v` story. It can hold a request before or after it took effect: so tests let a process die at an exact point, while the functions
//! contain no test hook. It can also take the time that AWS would ([`Latency`]). Behind it, [`Dynamo`] is the embedded `DynamoDB`, which
//! counts capacity ([`Units`]) and tells by a [`Stream`] what is written.

mod call;
mod capacity;
mod dynamo;
mod endpoints;
mod hold;
mod latency;
mod record;
mod stream;

pub(crate) use call::access_key_id;
pub use call::{Call, Caller, Fate, Service};
pub use capacity::Units;
pub use dynamo::Dynamo;
pub use endpoints::Endpoints;
pub use hold::{Answer, At, Held, Hold, Matching};
pub use latency::{Latency, after_hand_over};
pub use record::Recording;
pub use stream::{Stream, StreamRecord};
