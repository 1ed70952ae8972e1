//! One file an action: its request, its answer, and the limits that are its alone; and the table of all of them.
//!
//! A new action is a file, its `mod` line and its row.

pub mod amend;
pub mod cursors;
pub mod hello;
pub mod history;
pub mod look;
pub mod manage;
pub mod open;
pub mod ping;
pub mod prefs;
pub mod probe;
pub mod refresh;
pub mod send;
pub mod sync;
pub mod ticket;

use serde::{Deserialize, Serialize};

use crate::ids::RequestId;
use crate::pushes::{Entries, ErrorFrame, Goaway, PrefsChanged, Receipt};
use crate::reading::{BadRequest, Bounded, Envelope};

/// What belongs to one action. The types of [`exchange`] are the actions.
pub trait Exchange {
    /// Which.
    const ACTION: Action;
    /// What a client asks.
    type Request: Bounded;
    /// What a server answers, unless it refuses.
    type Answer;

    /// The request's `id`.
    fn id(request: &Self::Request) -> &RequestId;

    /// The frame that carries this answer.
    fn frame(answer: Self::Answer) -> ServerFrame;

    /// The answer that this frame carries; none in a frame of another kind.
    fn answer(frame: ServerFrame) -> Option<Self::Answer>;
}

/// Makes of each row `Variant "name" => request's form, answer's form;` all that goes through the actions one by one.
macro_rules! actions {
    ($($(#[$doc:meta])* $Action:ident $name:literal => $Request:ty, $Answer:ty;)*) => {
        /// What a client can ask.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $Action,)*
        }

        impl Action {
            /// All of them, `hello` first.
            pub const ALL: &[Self] = &[$(Self::$Action,)*];

            /// Its name: of the field `action`, of the gateway's route, of the answer's `type`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Action => $name,)*
                }
            }

            /// Whether a socket's frames ask it; what is not, HTTPS requests do.
            pub const fn is_by_socket(self) -> bool {
                !matches!(self, Self::Ticket)
            }

            /// The action of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|action| action.name() == name)
            }
        }

        /// Any request, parsed.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(tag = "action")]
        pub enum Request {
            $($(#[$doc])* #[serde(rename = $name)] $Action($Request),)*
        }

        impl Request {
            /// The request's `id`.
            pub const fn id(&self) -> &RequestId {
                match self {
                    $(Self::$Action(request) => &request.id,)*
                }
            }

            /// Parses a request of any action, as [`parse`] does one of a certain action.
            pub fn parse(text: &str) -> Result<Self, BadRequest> {
                let envelope = Envelope::read(text)?;
                match Action::from_name(&envelope.action) {
                    $(Some(Action::$Action) => envelope.request().map(Self::$Action),)*
                    None => Err(envelope.unknown_action()),
                }
            }
        }

        /// Any frame from the server.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum ServerFrame {
            $(#[doc = concat!("Answers `", $name, "`.")] #[serde(rename = $name)] $Action($Answer),)*
            /// New entries of one conversation.
            Entries(Entries),
            /// How far a member is: another one, or this user by another device.
            Receipt(Receipt),
            /// What the user prefers about a conversation was changed by another device.
            PrefsChanged(PrefsChanged),
            /// A request was refused whole.
            Error(ErrorFrame),
            /// This connection gets nothing any more.
            Goaway(Goaway),
            /// A frame of a later version.
            #[serde(other)]
            Unknown,
        }

        impl ServerFrame {
            /// The `id` of the request that this frame answers, or refuses. None of a push; and of [`ServerFrame::Unknown`], whose text may
            /// have one.
            pub fn id(&self) -> Option<&RequestId> {
                match self {
                    $(Self::$Action(answer) => Some(&answer.id),)*
                    Self::Error(error) => error.id.as_ref(),
                    Self::Entries(_) | Self::Receipt(_) | Self::PrefsChanged(_) | Self::Goaway(_) | Self::Unknown => None,
                }
            }

            /// The action that this frame answers. None of a refusal, which does not name it, and of a push.
            pub const fn action(&self) -> Option<Action> {
                match self {
                    $(Self::$Action(_) => Some(Action::$Action),)*
                    Self::Error(_) | Self::Entries(_) | Self::Receipt(_) | Self::PrefsChanged(_) | Self::Goaway(_) | Self::Unknown => None,
                }
            }
        }

        /// The actions as types, which have no values: `parse::<exchange::Ping>(text)`.
        pub mod exchange {
            $($(#[$doc])* #[derive(Debug)] pub enum $Action {})*
        }

        $(
            impl Exchange for exchange::$Action {
                const ACTION: Action = Action::$Action;
                type Request = $Request;
                type Answer = $Answer;

                fn id(request: &$Request) -> &RequestId {
                    &request.id
                }

                fn frame(answer: $Answer) -> ServerFrame {
                    ServerFrame::$Action(answer)
                }

                fn answer(frame: ServerFrame) -> Option<$Answer> {
                    if let ServerFrame::$Action(answer) = frame { Some(answer) } else { None }
                }
            }
        )*
    };
}

actions! {
    /// The first request of every connection.
    Hello "hello" => hello::Hello, Box<hello::HelloAnswer>;
    /// Find or create the direct conversation with another user.
    Open "open" => open::Open, open::OpenAnswer;
    /// Append messages to one conversation.
    Send "send" => send::SendMessages, send::SendAnswer;
    /// Change what an own message says.
    Edit "edit" => amend::Edit, manage::ChangeAnswer;
    /// Delete a message for everybody.
    Delete "delete" => amend::Delete, manage::ChangeAnswer;
    /// React to a message.
    React "react" => amend::React, manage::ChangeAnswer;
    /// What was missed, of many conversations.
    Sync "sync" => sync::Sync, sync::SyncAnswer;
    /// Older entries of one conversation.
    History "history" => history::History, history::HistoryAnswer;
    /// Which of these messages are in the log?
    Probe "probe" => probe::Probe, probe::ProbeAnswer;
    /// Entries have reached this device.
    Ack "ack" => cursors::Positions, cursors::CursorsAnswer;
    /// The user has read.
    Read "read" => cursors::Positions, cursors::CursorsAnswer;
    /// Make a group.
    Create "create" => manage::Create, manage::ChangeAnswer;
    /// Make users members of a group.
    Add "add" => manage::Add, manage::ChangeAnswer;
    /// Take members out of a group.
    Remove "remove" => manage::Remove, manage::ChangeAnswer;
    /// Be a member of a group no more.
    Leave "leave" => manage::Leave, manage::ChangeAnswer;
    /// Give a member another role.
    Role "role" => manage::SetRole, manage::ChangeAnswer;
    /// Change the settings of a group.
    Settings "settings" => manage::SetSettings, manage::ChangeAnswer;
    /// End a group.
    Close "close" => manage::Close, manage::ChangeAnswer;
    /// What the user prefers about a conversation.
    Prefs "prefs" => prefs::SetPrefs, prefs::PrefsAnswer;
    /// What are these conversations called, and how are they set?
    Info "info" => look::Info, look::InfoAnswer;
    /// Who belongs to this conversation?
    Members "members" => look::Members, look::MembersAnswer;
    /// A new token for this connection.
    Refresh "refresh" => refresh::Refresh, refresh::RefreshAnswer;
    /// Is this connection alive, and what is the status of these conversations?
    Ping "ping" => ping::Ping, ping::PingAnswer;
    /// What opens the caller's next connection. Over HTTPS only.
    Ticket "ticket" => ticket::Ticket, ticket::TicketAnswer;
}

/// Parses a request of the action `E`. Unknown fields are ignored, null in an optional field counts as missing. Missing, repeated or wrong
/// fields are [`crate::ErrorCode::BadRequest`]; another action or none of ours is [`crate::ErrorCode::UnknownAction`], whatever its
/// fields are.
pub fn parse<E: Exchange>(text: &str) -> Result<E::Request, BadRequest> {
    let envelope = Envelope::read(text)?;
    if envelope.action == E::ACTION.name() { envelope.request() } else { Err(envelope.unknown_action()) }
}

/// The error to answer to a text that no route takes: [`crate::ErrorCode::BadRequest`] if it is no request at all, else
/// [`crate::ErrorCode::UnknownAction`], also for a known action.
pub fn refuse(text: &str) -> BadRequest {
    match Envelope::read(text) {
        Ok(envelope) => envelope.unknown_action(),
        Err(bad) => bad,
    }
}
