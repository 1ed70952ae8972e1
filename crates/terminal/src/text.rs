//! The lines that the user sees. What others wrote is made harmless first: a message must not move the cursor, recolour the terminal,
//! or pretend to be another line.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{Content, Entry, EntryKind, Refusal, Seq};

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

/// One's own line is kept on this device and will be sent.
pub(super) fn waiting(line: &str) -> String {
    format!("  ○ {}", excerpt(line))
}

/// One's own line is stored, long after it was typed.
pub(super) fn stored_late(seq: Seq, line: &str) -> String {
    format!("  ✓ #{seq} {}", excerpt(line))
}

/// One's own messages up to here have reached a device of the other.
pub(super) fn delivered(seq: Seq) -> String {
    format!("  ✓✓ #{seq} delivered")
}

/// The other has read one's own messages up to here.
pub(super) fn read(seq: Seq, by: &str) -> String {
    format!("  ✓✓ #{seq} read by {by}")
}

/// One's own line is not stored and will not be.
pub(super) fn not_sent(line: &str, why: &str) -> String {
    format!("  ✗ not sent: {why}: {}", excerpt(line))
}

/// Why the server refuses: the code is what the documents explain, the message what the user reads.
pub(super) fn refused(refusal: &Refusal) -> String {
    let code = encode(&refusal.code);
    let code = code.trim_matches('"');
    if refusal.message.is_empty() { code.to_owned() } else { format!("{} ({code})", visible(&refusal.message)) }
}

/// The beginning of a text: enough to know it again.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 40;
    let mut chars = text.chars();
    let beginning: String = chars.by_ref().take(CHARS).collect();
    let goes_on = chars.next().is_some();
    format!("{}{}", visible(&beginning), if goes_on { "…" } else { "" })
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
            as_it_came: None,
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
        assert_eq!(refused(&Refusal::new(ErrorCode::NotFound, "\u{1b}c")), r"\u{1b}c (not_found)");
        assert_eq!(waiting("\u{1b}"), r"  ○ \u{1b}");
    }

    #[test]
    fn a_refusal_names_its_code() {
        assert_eq!(refused(&Refusal::new(ErrorCode::Busy, "")), "busy");
        assert_eq!(not_sent("hi", &refused(&Refusal::new(ErrorCode::Forbidden, "closed"))), "  ✗ not sent: closed (forbidden): hi");
    }

    #[test]
    fn a_long_line_is_shown_by_its_beginning() {
        let line = "ä".repeat(41);
        assert_eq!(waiting(&line[..80]), format!("  ○ {}", "ä".repeat(40)));
        assert_eq!(waiting(&line), format!("  ○ {}…", "ä".repeat(40)));
    }
}
