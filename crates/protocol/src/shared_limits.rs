//! The limits that are not of one action alone. Read them as [`crate::limits`], which names them beside those of the actions.
//!
//! They stand apart because ids, positions and actions use them, and [`crate::limits`] names the actions' own.

/// One WebSocket frame to or from the gateway; a larger one closes the connection with 1009.
/// Source: API Gateway, "Quotas for configuring and running a WebSocket API": frame size 32 KB.
pub const WEBSOCKET_FRAME_BYTES_MAX: usize = 32 * 1024;

/// One WebSocket message (all its WebSocket frames); a larger one closes the connection with 1009.
/// Source: the same page: message payload size 128 KB.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// The live frame of a single entry, as encoded with the longest numbers (see [`crate::Entry::live_frame_bytes_max`]). Leaves room in
/// a page, so that what later entries add to one (edits, reactions) still fits beside it. What was stored under a higher limit stays.
pub const ENTRY_BYTES_MAX: usize = 28 * 1024;

/// A merged live frame or a page of an answer. Leaves room in one WebSocket frame, so that it is one billed unit of the gateway.
pub const PAGE_BYTES_MAX: usize = 30 * 1024;

/// The same over HTTPS. Ours: as much as one request has read.
pub const HTTPS_PAGE_BYTES_MAX: usize = 256 * 1024;

/// Conversations of one `sync`, positions of one `ack` or `read`. Source: `DynamoDB`'s `BatchGetItem` takes 100 keys.
pub const CONVERSATIONS_PER_REQUEST_MAX: usize = 100;

/// A client message id. Ours: a UUID is 36; it is stored in every entry.
pub const CLIENT_MESSAGE_ID_BYTES_MAX: usize = 64;

/// The `id` of a request. Ours.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// A user id. Ours: fits `DynamoDB`'s 1,024-byte sort key with room, also when every byte is escaped (384 bytes).
pub const USER_ID_BYTES_MAX: usize = 128;

/// A conversation id. Ours.
pub const CONVERSATION_ID_BYTES_MAX: usize = 64;

/// The content type of a body. Ours: RFC 6838 allows 127 + 1 + 127, no registered type needs it.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;

/// The largest seq, epoch or time: the integers that every JSON client reads exactly (RFC 8259 §6: 2⁵³ − 1).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Live connections of one user; one more displaces the oldest. Ours: keeps the session item in one read unit.
pub const CONNECTIONS_PER_USER_MAX: usize = 16;

/// Connections of a user that have not said hello; a further handshake is answered 429. Ours.
pub const PENDING_CONNECTIONS_MAX: usize = 32;

/// First pages of `hello` that one user is answered in a minute, on all devices. Ours: sixteen devices come back at once, and some do it twice.
pub const HELLOS_PER_MINUTE_MAX: u64 = 20;

/// Conversations that one user creates on one day (UTC). Ours.
pub const OPENED_A_DAY_MAX: u64 = 50;

/// Groups that one user is in; beyond it they create none, and are brought into none. Ours: a device reads them all at its first `hello`.
pub const GROUPS_MAX: usize = 2000;

/// Users whom one user adds to groups on one day (UTC). Ours: nobody is asked whether they want to be there.
pub const ADDED_A_DAY_MAX: u64 = 1000;

/// Members of a group. Ours: one read finds them all, and each entry is posted to all of them.
pub const MEMBERS_MAX: usize = 200;

/// Owners of a group. Ours.
pub const OWNERS_MAX: usize = 20;

/// Users that one entry brings into a group. Ours: with two items each they are one transaction of `DynamoDB`, which takes 100.
pub const USERS_PER_ENTRY_MAX: usize = 40;

/// Users that one entry removes from a group. Ours: with four items each they are one transaction.
pub const REMOVED_PER_ENTRY_MAX: usize = 20;

/// Members of a group who are told of each other's cursors. Ours: in larger groups nobody looks who has read.
pub const CURSORS_MEMBERS_MAX: u32 = 20;

/// Cursors of other members that one answer to `ping` tells: as many as conversations of that size, or fewer. Ours: a row each is read.
pub const CURSORS_PER_PING_MAX: usize = 100;

/// The title of a group. Ours.
pub const TITLE_BYTES_MAX: usize = 200;

/// The metadata of a group. Ours.
pub const METADATA_BYTES_MAX: usize = 1024;

/// Users that one message mentions. Ours: the row of each is written.
pub const MENTIONS_MAX: usize = 20;

/// Edits of one message. Ours: its deletion takes the words of all of them in one transaction.
pub const EDITS_MAX: usize = 20;

/// The bodies of all edits of one message, as JSON. Ours: the transaction writes what it takes, twice.
pub const EDITS_BYTES_MAX: usize = 64 * 1024;

/// So long after it was sent a message is edited at most. Ours.
pub const EDITED_WITHIN_MS: u64 = 24 * 60 * 60 * 1000;

/// What is put beside a message. Ours.
pub const REACTION_KEY_BYTES_MAX: usize = 32;

/// Different things that are put beside one message. Ours: [`ENTRY_BYTES_MAX`] and [`PAGE_BYTES_MAX`] leave room for so many.
pub const REACTION_KEYS_MAX: usize = 20;

/// For so long a user is shut out at most for what they have spent. Ours.
pub const SHUT_OUT_MS_MAX: u64 = 3_600_000;

/// A token as presented. Ours: API Gateway allows 10,240 bytes for all headers together.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Clock difference that a token's times may have. Ours, as RFC 7519 §4.1.4 allows ("no more than a few minutes").
pub const TOKEN_LEEWAY_S: u64 = 60;

/// Kilobytes per second that one small conversation admits for long; a message has at least one.
pub const ADMISSION_PER_S: u32 = 20;

/// Kilobytes that one small conversation admits at once.
pub const ADMISSION_BURST: u32 = 60;

/// How long a client keeps a gap open before it asks for the missing entries: this much and a random part up to as much again.
pub const GAP_WAIT_MS: u64 = 500;
