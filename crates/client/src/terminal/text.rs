//! The lines that a person sees. What others wrote is made harmless first: a message must not move the cursor, recolour the terminal,
//! or pretend to be another line.

use chatlane_protocol::frames::{GoawayReason, encode};
use chatlane_protocol::{Content, Entry, EntryKind, Refusal, Seq};

use crate::connection::{Closed, RequestError};

/// The text with what a terminal would obey, or show in another place, escaped as in Rust: `\u{1b}`, `\n`.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_layout(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Line and paragraph separators, and the marks, embeddings, overrides and isolates of the Unicode Bidirectional Algorithm (UAX #9, §2).
const fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// An entry that is shown: who, what, where in the conversation.
pub(super) fn entry(entry: &Entry) -> String {
    let (sender, seq) = (visible(entry.sender.as_str()), entry.position.seq);
    match &entry.kind {
        EntryKind::Created { .. } => format!("· {sender} opened the conversation  #{seq}"),
        EntryKind::Message { body } => match body.content() {
            Content::Text(text) => format!("{sender}: {}  #{seq}", visible(text)),
            Content::Data(data) => format!("{sender}: [{}, {} bytes]  #{seq}", visible(body.content_type()), data.len()),
        },
        EntryKind::Unknown => format!("· {sender}: something that this version cannot show  #{seq}"),
    }
}

/// One's own line is stored.
pub(super) fn stored(seq: Seq) -> String {
    format!("  ✓ #{seq}")
}

/// One's own line is not stored by this attempt, nor by an earlier one.
pub(super) fn not_sent(why: &str) -> String {
    format!("  ✗ not sent: {why}")
}

/// Nobody knows whether one's own line is stored.
pub(super) fn not_confirmed(why: &str) -> String {
    format!("  ? not confirmed: {why}; it may have been stored")
}

/// Why a request has no answer of its kind.
pub(super) fn failure(error: &RequestError) -> String {
    match error {
        RequestError::Refused(refusal) => refused(refusal),
        RequestError::Closed(closed) => self::closed(closed),
        RequestError::Unknown(_) | RequestError::Unreadable | RequestError::Displaced => visible(&error.to_string()),
    }
}

/// The code is what the documents explain, the message what a person reads.
fn refused(refusal: &Refusal) -> String {
    let code = encode(&refusal.code);
    let code = code.trim_matches('"');
    if refusal.message.is_empty() { code.to_owned() } else { format!("{} ({code})", visible(&refusal.message)) }
}

/// The end of a connection.
pub(super) fn closed(closed: &Closed) -> String {
    format!("the connection is closed: {} {}", closed.code, visible(&closed.reason)).trim_end().to_owned()
}

/// The server's farewell.
pub(super) const fn goaway(reason: GoawayReason) -> &'static str {
    match reason {
        GoawayReason::Displaced => "another connection of this device took this one's place",
        GoawayReason::Unknown => "the server ends this connection",
    }
}

/// Entries that did not come: one number or two.
pub(super) fn missing(first: Seq, last: Seq) -> String {
    let which = if first == last { format!("#{first}") } else { format!("#{first} to #{last}") };
    format!("· {which} did not come; going on without")
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::{Body, ClientMessageId, ErrorCode, Position, UnixMillis, UserId};

    use super::*;

    fn shown(sender: &str, kind: EntryKind) -> String {
        entry(&Entry {
            position: Position::new(1, Seq::try_from(3).unwrap()),
            sender: UserId::new(sender).unwrap(),
            client_message_id: ClientMessageId::new("m").unwrap(),
            time_ms: UnixMillis::ZERO,
            count: 2,
            kind,
        })
    }

    fn message(body: Body) -> EntryKind {
        EntryKind::Message { body }
    }

    #[test]
    fn an_entry_shows_who_what_and_where() {
        assert_eq!(shown("bob", message(Body::text("hi \u{1f44b}").unwrap())), "bob: hi \u{1f44b}  #3");
        assert_eq!(shown("bob", EntryKind::Created { members: vec![] }), "· bob opened the conversation  #3");
        assert_eq!(shown("bob", EntryKind::Unknown), "· bob: something that this version cannot show  #3");
    }

    #[test]
    fn a_body_without_text_shows_its_type_and_size() {
        let body = Body::new("image/png", Content::Data(vec![0; 123])).unwrap();
        assert_eq!(shown("bob", message(body)), "bob: [image/png, 123 bytes]  #3");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let line = shown("b\u{7}b", message(Body::text("\u{1b}[2J\r\na\u{9b}1m\u{202e}\u{2028}\u{0}\tß").unwrap()));
        assert_eq!(line, r"b\u{7}b: \u{1b}[2J\r\na\u{9b}1m\u{202e}\u{2028}\u{0}\tß  #3");
        let refusal = Refusal::new(ErrorCode::NotFound, "\u{1b}c");
        assert_eq!(failure(&RequestError::Refused(refusal)), r"\u{1b}c (not_found)");
        assert_eq!(failure(&RequestError::Unknown("\u{7}".to_owned())), r"the outcome is unknown: \u{7}");
        let end = Closed { code: 1001, reason: "\u{1b}".to_owned() };
        assert_eq!(closed(&end), r"the connection is closed: 1001 \u{1b}");
    }

    #[test]
    fn failures_say_what_happened() {
        assert_eq!(failure(&RequestError::Refused(Refusal::new(ErrorCode::Busy, ""))), "busy");
        let end = Closed { code: 1005, reason: String::new() };
        assert_eq!(failure(&RequestError::Closed(end)), "the connection is closed: 1005");
        assert_eq!(goaway(GoawayReason::Unknown), "the server ends this connection");
    }

    #[test]
    fn missing_entries_are_named() {
        let seq = |number: u64| Seq::try_from(number).unwrap();
        assert_eq!(missing(seq(2), seq(2)), "· #2 did not come; going on without");
        assert_eq!(missing(seq(2), seq(4)), "· #2 to #4 did not come; going on without");
    }
}
