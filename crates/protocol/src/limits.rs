//! Every limit of the protocol, with where it comes from. Bytes are bytes of UTF-8 as encoded on the wire.

/// One WebSocket frame to or from the gateway; a larger one closes the connection with 1009.
/// Source: API Gateway, "Quotas for configuring and running a WebSocket API": frame size 32 KB.
pub const WEBSOCKET_FRAME_BYTES_MAX: usize = 32 * 1024;

/// One WebSocket message (all its WebSocket frames); a larger one closes the connection with 1009.
/// Source: the same page: message payload size 128 KB.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// The live frame of a single entry, as encoded with the longest numbers (see [`crate::Entry::live_frame_bytes_max`]). Leaves room in
/// one WebSocket frame, so that an entry is one billed unit of the gateway and any history page can hold it.
pub const ENTRY_BYTES_MAX: usize = 30 * 1024;

/// A merged live frame or a page of an answer. Same reason as [`ENTRY_BYTES_MAX`].
pub const PAGE_BYTES_MAX: usize = 30 * 1024;

/// Messages of one `send`. Ours: 25 entries of 1 KB fill one WebSocket frame.
pub const MESSAGES_PER_SEND_MAX: usize = 25;

/// Conversations of one `sync`, positions of one `ack` or `read`. Source: `DynamoDB`'s `BatchGetItem` takes 100 keys.
pub const CONVERSATIONS_PER_REQUEST_MAX: usize = 100;

/// Entries of one `history` answer. Ours.
pub const HISTORY_ENTRIES_MAX: usize = 100;

/// Client message ids of one `probe`. Ours: as many as a `send` may have.
pub const PROBED_IDS_MAX: usize = MESSAGES_PER_SEND_MAX;

/// Entries that one `probe` looks through at most; it also ends after [`PROBE_BYTES_MAX`]. Ours.
pub const PROBE_ENTRIES_MAX: usize = 1000;

/// Bytes that one `probe` looks through at most. Source: `DynamoDB`'s `Query` reads 1 MB a page.
pub const PROBE_BYTES_MAX: usize = 1024 * 1024;

/// Conversations of one `ping`. Ours.
pub const OPEN_CONVERSATIONS_MAX: usize = 20;

/// Conversations of a `hello` page whose last entry comes with them. Ours: a screen of them.
pub const LAST_ENTRIES_MAX: usize = 20;

/// Conversations that one page of `hello` looks at. Ours: five batch reads.
pub const HELLO_ROWS_MAX: usize = 500;

/// What a client may send as `known` in one request: leaves room for the rest within a WebSocket frame.
pub const KNOWN_BYTES_MAX: usize = 30 * 1024;

/// A client sends `ack` and `read` not more often than once in so long; positions in between are merged.
pub const CURSORS_EVERY_MS: u64 = 1000;

/// How long a receipt is worth showing. Ours.
pub const RECEIPT_TTL_MS: u64 = 30_000;

/// A client asks for a new token so long before the old one ends. Ours: twice the leeway.
pub const REFRESH_BEFORE_MS: u64 = 120_000;

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

/// Entries behind the tail that an anchor may be (bound of the scan that a send pays for). Ours.
pub const ANCHOR_ENTRIES_MAX: usize = 200;

/// Bytes of entries behind the tail that an anchor may be. Ours: 32 read units.
pub const ANCHOR_BYTES_MAX: usize = 128 * 1024;

/// Live connections of one user; one more displaces the oldest. Ours: keeps the session item in one read unit.
pub const CONNECTIONS_PER_USER_MAX: usize = 16;

/// A token as presented. Ours: API Gateway allows 10,240 bytes for all headers together.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Clock difference that a token's times may have. Ours, as RFC 7519 §4.1.4 allows ("no more than a few minutes").
pub const TOKEN_LEEWAY_S: u64 = 60;

/// Messages per second that one small conversation admits for long.
pub const ADMISSION_PER_S: u32 = 20;

/// Messages that one small conversation admits at once.
pub const ADMISSION_BURST: u32 = 50;

/// How long a client keeps a gap open before it asks for the missing entries: this much and a random part up to as much again.
pub const GAP_WAIT_MS: u64 = 500;

/// When a client should open its next connection: after this, so that the gateway's limit of two hours never hits it.
/// Source: API Gateway quotas: connection duration 2 hours. Spread by ± [`RECONNECT_SPREAD_MS`].
pub const RECONNECT_IN_MS: u64 = 105 * 60 * 1000;

/// See [`RECONNECT_IN_MS`].
pub const RECONNECT_SPREAD_MS: u64 = 10 * 60 * 1000;

/// The least that `reconnect_in_ms` is: for a `hello` said again on an old connection.
pub const RECONNECT_IN_MS_MIN: u64 = 10_000;

/// A client to which nothing was pushed and no `ping` was answered for this long sends `ping`.
/// Source: API Gateway quotas: idle connection timeout 10 minutes; networks forget sooner.
pub const PING_AFTER_IDLE_MS: u64 = 4 * 60 * 1000;

/// The oldest and the newest protocol version that this server speaks.
pub const VERSION_MIN: u32 = 1;
/// See [`VERSION_MIN`].
pub const VERSION_MAX: u32 = 1;
