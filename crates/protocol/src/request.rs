//! What clients ask. One JSON object per request, `action` flat and at the top (the gateway routes by it), `id` echoed by the answer.
//! A request that stands here is used by several crates; every request stands in [`crate::actions`].

pub use crate::actions::amend::{Delete, Edit, React};
pub use crate::actions::cursors::{PositionIn, Positions};
pub use crate::actions::hello::{Hello, Known};
pub use crate::actions::history::History;
pub use crate::actions::look::{Info, Members};
pub use crate::actions::manage::{Add, Close, Create, Leave, Remove, SetRole, SetSettings};
pub use crate::actions::open::Open;
pub use crate::actions::ping::Ping;
pub use crate::actions::prefs::SetPrefs;
pub use crate::actions::probe::Probe;
pub use crate::actions::refresh::Refresh;
pub use crate::actions::send::{NewMessage, SendMessages};
pub use crate::actions::sync::{Sync, SyncFrom};
pub use crate::actions::ticket::Ticket;
pub use crate::actions::{Action, Exchange, Request, exchange, parse, refuse};
pub use crate::reading::{BadRequest, Bounded};
