//! What can happen to a session.

use super::{Act, BatchId, SocketId, Text};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The user does something.
    Do(Act),
    /// A new token is there: it is used for the next socket and, by `refresh`, for this one.
    NewToken(chatlane_protocol::Token),
    /// The local store has made this write, durably. Comes in the order of the batches.
    Committed(BatchId),
    /// The local store could not make this write. It makes none of those that were asked for behind it, either: all are asked for again, as
    /// one.
    NotStored(BatchId),
    /// A socket is open.
    Opened(SocketId),
    /// A socket could not be opened.
    OpenFailed {
        /// Which.
        socket: SocketId,
        /// Why.
        failure: OpenFailure,
    },
    /// An open socket has ended, whoever ended it.
    Closed {
        /// Which.
        socket: SocketId,
    },
    /// One text frame, as it came.
    Received {
        /// On which.
        socket: SocketId,
        /// The text.
        text: Text,
    },
    /// Nothing but time has passed: at [`super::Session::wake_at`] or later.
    Tick,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The handshake was answered with 401 or 403: not again with the same token.
    Denied,
    /// Anything else: back off and try again.
    Unreachable,
}
