//! The lines that the user sees. What others wrote is made harmless first: a message must not move the cursor, recolour the terminal,
//! or pretend to be another line.

use chatlane_protocol::frames::{GroupInfo, MemberInfo, encode};
use chatlane_protocol::{Body, Content, Entry, EntryKind, GroupSettings, Message, Reacting, ReactionChange, Refusal, Role, Seq, UserId};
use chatlane_session::Draft;
use unicode_segmentation::UnicodeSegmentation as _;

/// Around a text with right-to-left characters: it is laid out by itself and does not reorder the rest of its line (UAX #9, §2.3).
pub(super) const ISOLATES: [char; 2] = [FIRST_STRONG_ISOLATE, POP_DIRECTIONAL_ISOLATE];
const FIRST_STRONG_ISOLATE: char = '\u{2068}';
const POP_DIRECTIONAL_ISOLATE: char = '\u{2069}';

/// The text with what a terminal would obey, show in another place or not show at all, escaped as in Rust: `\u{1b}`, `\n`.
pub(super) fn visible(text: &str) -> String {
    let right_to_left = text.chars().any(is_right_to_left);
    let mut shown = String::with_capacity(text.len());
    if right_to_left {
        shown.push(FIRST_STRONG_ISOLATE);
    }
    for c in text.chars() {
        let is_plain = if is_mark(c) { right_to_left } else { !(c.is_control() || is_layout(c) || is_hidden(c)) };
        if is_plain { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    if right_to_left {
        shown.push(POP_DIRECTIONAL_ISOLATE);
    }
    shown
}

/// The blocks of right-to-left scripts (`DerivedBidiClass.txt`, the default classes R and AL), and the marks that act like a letter of one.
const fn is_right_to_left(c: char) -> bool {
    let of_a_script = matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    of_a_script || c == '\u{200f}'
}

/// The marks of the Unicode Bidirectional Algorithm (UAX #9, §2.6): who writes from right to left needs them, within the text.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// Line and paragraph separators, and the embeddings, overrides and isolates of the Unicode Bidirectional Algorithm (UAX #9, §2).
const fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Format characters (general category Cf) without a shape: soft hyphen, zero-width space, word joiner, tags and the like. Not the joiners
/// U+200C and U+200D, of which emoji and scripts are made.
const fn is_hidden(c: char) -> bool {
    let short = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}');
    short || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// An entry that is shown to this user: who, what, where in the conversation.
pub(super) fn entry(entry: &Entry, me: &UserId) -> String {
    let (sender, seq) = (visible(entry.sender.as_str()), entry.position.seq);
    match &entry.kind {
        EntryKind::Created { .. } => format!("· {sender} opened the conversation  #{seq}"),
        EntryKind::Message(message) => {
            let Message { body, reply_to, mentions, edited, reactions, .. } = message;
            let star = if mentions.contains(me) { "★ " } else { "" };
            let reply_to = reply_to.map(|seq| format!(" ↳ #{seq}")).unwrap_or_default();
            let edited = if edited.is_some() { " (edited)" } else { "" };
            let counts: Vec<_> = reactions.iter().map(|one| format!("{} {}", visible(one.key.as_str()), one.count)).collect();
            let counts = if counts.is_empty() { String::new() } else { format!(" [{}]", counts.join(", ")) };
            format!("{star}{sender}{reply_to}: {}{edited}{counts}  #{seq}", visible(&said(body)))
        }
        EntryKind::Deleted => format!("· {sender}: deleted  #{seq}"),
        EntryKind::Hidden => format!("· {sender}: about something from before you came  #{seq}"),
        EntryKind::Edit { target, body: Some(body) } => format!("· {sender} edited #{target}: {}  #{seq}", visible(&said(body))),
        EntryKind::Edit { target, body: None } => format!("· {sender} edited #{target}, which was deleted since  #{seq}"),
        EntryKind::Deletion { target } => format!("· {sender} deleted #{target}  #{seq}"),
        EntryKind::Reaction(Reacting { target, key, change }) => match change {
            ReactionChange::Add => format!("· {sender}: {} to #{target}  #{seq}", visible(key.as_str())),
            ReactionChange::Remove => format!("· {sender} took {} from #{target}  #{seq}", visible(key.as_str())),
        },
        EntryKind::GroupCreated { settings, .. } => {
            let title = settings.title.as_ref().map(|title| format!(" {}", visible(title.as_str()))).unwrap_or_default();
            format!("· {sender} created the group{title}  #{seq}")
        }
        EntryKind::Added { users } => format!("· {sender} added {}  #{seq}", names(users)),
        EntryKind::Removed { users } => format!("· {sender} removed {}  #{seq}", names(users)),
        EntryKind::Left { successor: None } => format!("· {sender} left  #{seq}"),
        EntryKind::Left { successor: Some(user) } => format!("· {sender} left, {} is an owner now  #{seq}", visible(user.as_str())),
        EntryKind::Role { user, role } => format!("· {sender} made {} {}  #{seq}", visible(user.as_str()), role_name(*role)),
        EntryKind::Settings { .. } => format!("· {sender} changed the settings  #{seq}"),
        EntryKind::Closed => format!("· {sender} closed the group  #{seq}"),
        EntryKind::Unknown => format!("· {sender}: something that this version cannot show  #{seq}"),
    }
}

/// What a body says, as one text.
fn said(body: &Body) -> String {
    match body.content() {
        Content::Text(text) => text.clone(),
        Content::Data(data) => format!("[{}, {} bytes]", body.content_type(), data.len()),
    }
}

/// What was written on this device, as it may be typed.
pub(super) fn words(draft: &Draft) -> String {
    let names = |users: &[UserId]| users.iter().map(UserId::as_str).collect::<Vec<_>>().join(" ");
    match draft {
        Draft::Message { body, reply_to: None, .. } => said(body),
        Draft::Message { body, reply_to: Some(seq), .. } => format!("/reply {seq} {}", said(body)),
        Draft::Edit { target, body } => format!("/edit {target} {}", said(body)),
        Draft::Delete { target } => format!("/delete {target}"),
        Draft::React(Reacting { target, key, .. }) => format!("/react {target} {}", key.as_str()),
        Draft::Add { users } => format!("/add {}", names(users)),
        Draft::Remove { users } => format!("/remove {}", names(users)),
        Draft::Leave { successor: None } => "/leave".to_owned(),
        Draft::Leave { successor: Some(user) } => format!("/leave {user}"),
        Draft::Role { user, role } => format!("/role {user} {}", word(&encode(role))),
        Draft::Settings { settings } => format!("/settings {}", set(settings).join(", ")),
        Draft::Close => "/close".to_owned(),
    }
}

/// A word of the protocol, without its quotes.
pub(super) fn word(json: &str) -> &str {
    json.trim_matches('"')
}

/// What of these is set, as it may be typed.
fn set(settings: &GroupSettings) -> Vec<String> {
    let GroupSettings { title, send, add, manage, locked, history, metadata: _ } = settings;
    let title = title.as_ref().map(|title| format!("title {}", title.as_str()));
    let roles = [("send", send), ("add", add), ("manage", manage)].into_iter();
    let roles = roles.filter_map(|(name, role)| role.as_ref().map(|role| format!("{name} {}", word(&encode(role)))));
    let locked = locked.map(|locked| format!("locked {}", if locked { "on" } else { "off" }));
    let history = history.as_ref().map(|history| format!("history {}", word(&encode(history))));
    title.into_iter().chain(roles).chain(locked).chain(history).collect()
}

/// How a group is set.
pub(super) fn settings(info: &GroupInfo) -> String {
    let closed = if info.closed { ", closed" } else { "" };
    format!("· {}{closed}; you are {} of {}", visible(&set(&info.settings).join(", ")), role_name(info.role), info.members)
}

/// Who has the user's last message.
pub(super) fn has<'a>(seq: Seq, read_by: impl Iterator<Item = &'a UserId>, delivered_to: impl Iterator<Item = &'a UserId>) -> String {
    let list = |users: Vec<UserId>| if users.is_empty() { "nobody".to_owned() } else { names(&users) };
    format!("· #{seq} read by {}; delivered to {}", list(read_by.cloned().collect()), list(delivered_to.cloned().collect()))
}

/// Who belongs to a group.
pub(super) fn members(members: &[MemberInfo]) -> String {
    let member = |MemberInfo { user, role }: &MemberInfo| match role {
        Role::Member => visible(user.as_str()),
        role => format!("{} ({})", visible(user.as_str()), role_name(*role)),
    };
    format!("· members: {}", members.iter().map(member).collect::<Vec<_>>().join(", "))
}

pub(super) fn names(users: &[UserId]) -> String {
    users.iter().map(|user| visible(user.as_str())).collect::<Vec<_>>().join(", ")
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "a member",
        Role::Moderator => "a moderator",
        Role::Admin => "an admin",
        Role::Owner => "an owner",
        Role::Later => "something that this version does not know",
    }
}

/// One's own line is stored.
pub(super) fn stored(seq: Seq) -> String {
    format!("  ✓ #{seq}")
}

/// One's own line is kept on this device and will be sent.
pub(super) fn waiting(line: &str, to: Option<&str>) -> String {
    format!("  ○ {}", excerpt(line, to))
}

/// One's own line is stored, long after it was typed.
pub(super) fn stored_late(seq: Seq, line: &str, to: Option<&str>) -> String {
    format!("  ✓ #{seq} {}", excerpt(line, to))
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
pub(super) fn not_sent(line: &str, to: Option<&str>, why: &str) -> String {
    format!("  ✗ not sent: {why}: {}", excerpt(line, to))
}

/// Why the server refuses: the code is what the documents explain, the message what the user reads.
pub(super) fn refused(refusal: &Refusal) -> String {
    let code = encode(&refusal.code);
    let code = word(&code);
    if refusal.message.is_empty() { code.to_owned() } else { format!("{} ({code})", visible(&refusal.message)) }
}

/// The beginning of a line, enough to know it again; and to whom it went (in the form of a line), if that is not whom one talks to now.
fn excerpt(line: &str, to: Option<&str>) -> String {
    const CHARACTERS: usize = 40;
    let end = line.grapheme_indices(true).nth(CHARACTERS).map(|(end, _)| end);
    let beginning = visible(&line[..end.unwrap_or(line.len())]);
    let to = to.map(|name| format!("to {name}: ")).unwrap_or_default();
    format!("{to}{beginning}{}", if end.is_some() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::{ClientMessageId, ErrorCode, GroupSettings, Position, ReactionCount, ReactionKey, Title, UnixMillis};

    use super::*;

    fn shown(sender: &str, kind: EntryKind) -> String {
        entry(
            &Entry {
                position: Position::new(1, Seq::try_from(3).unwrap()),
                sender: UserId::new(sender).unwrap(),
                client_message_id: ClientMessageId::new("m").unwrap(),
                time_ms: UnixMillis::ZERO,
                count: 2,
                kind,
                as_it_came: None,
            },
            &UserId::new("alice").unwrap(),
        )
    }

    fn message(body: Body) -> EntryKind {
        EntryKind::Message(body.into())
    }

    #[test]
    fn an_entry_shows_who_what_and_where() {
        assert_eq!(shown("bob", message(Body::text("hi \u{1f44b}").unwrap())), "bob: hi \u{1f44b}  #3");
        assert_eq!(shown("bob", EntryKind::Created { members: vec![] }), "· bob opened the conversation  #3");
        let users = || ["carol", "dave"].map(|name| UserId::new(name).unwrap()).to_vec();
        let carol = UserId::new("carol").unwrap();
        let titled = GroupSettings { title: Some(Title::new("Tea").unwrap()), ..GroupSettings::default() };
        for (kind, line) in [
            (EntryKind::GroupCreated { members: users(), settings: titled.clone() }, "· bob created the group Tea  #3"),
            (EntryKind::Added { users: users() }, "· bob added carol, dave  #3"),
            (EntryKind::Removed { users: users() }, "· bob removed carol, dave  #3"),
            (EntryKind::Left { successor: None }, "· bob left  #3"),
            (EntryKind::Left { successor: Some(carol.clone()) }, "· bob left, carol is an owner now  #3"),
            (EntryKind::Role { user: carol, role: Role::Admin }, "· bob made carol an admin  #3"),
            (EntryKind::Settings { settings: titled }, "· bob changed the settings  #3"),
            (EntryKind::Closed, "· bob closed the group  #3"),
        ] {
            assert_eq!(shown("bob", kind), line);
        }
        let (text, key, target) = (|| Body::text("hi").unwrap(), || ReactionKey::new("👍").unwrap(), Seq::FIRST);
        let reactions = vec![
            ReactionCount { key: key(), count: 2, mine: Some(true) },
            ReactionCount { key: ReactionKey::new("+1").unwrap(), count: 1, mine: None },
        ];
        let full = Message {
            reply_to: Some(target),
            mentions: vec![UserId::new("alice").unwrap()],
            edited: Some(target),
            reactions,
            ..text().into()
        };
        let react = |change| EntryKind::Reaction(Reacting { target, key: key(), change });
        for (kind, line) in [
            (EntryKind::Message(full), "★ bob ↳ #1: hi (edited) [👍 2, +1 1]  #3"),
            (EntryKind::Message(Message { mentions: users(), ..text().into() }), "bob: hi  #3"),
            (EntryKind::Deleted, "· bob: deleted  #3"),
            (EntryKind::Hidden, "· bob: about something from before you came  #3"),
            (EntryKind::Edit { target, body: Some(text()) }, "· bob edited #1: hi  #3"),
            (EntryKind::Edit { target, body: None }, "· bob edited #1, which was deleted since  #3"),
            (EntryKind::Deletion { target }, "· bob deleted #1  #3"),
            (react(ReactionChange::Add), "· bob: 👍 to #1  #3"),
            (react(ReactionChange::Remove), "· bob took 👍 from #1  #3"),
        ] {
            assert_eq!(shown("bob", kind), line);
        }
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
        assert_eq!(waiting("\u{1b}", None), r"  ○ \u{1b}");
    }

    #[test]
    fn a_refusal_names_its_code() {
        assert_eq!(refused(&Refusal::new(ErrorCode::Busy, "")), "busy");
        assert_eq!(not_sent("hi", None, &refused(&Refusal::new(ErrorCode::Forbidden, "closed"))), "  ✗ not sent: closed (forbidden): hi");
    }

    #[test]
    fn a_long_line_is_shown_by_its_beginning() {
        let line = "ä".repeat(41);
        assert_eq!(waiting(&line[..80], None), format!("  ○ {}", "ä".repeat(40)));
        assert_eq!(waiting(&line, None), format!("  ○ {}…", "ä".repeat(40)));
    }

    #[test]
    fn an_excerpt_ends_between_characters_as_a_reader_sees_them_and_names_whom_it_went_to() {
        let (family, accented) = ("👩‍👩‍👧", "e\u{301}");
        let line = format!("{}{family}{accented}", family.repeat(39));
        assert_eq!(waiting(&line, Some("bob")), format!("  ○ to bob: {}…", family.repeat(40)));
        let line = accented.repeat(41);
        assert_eq!(stored_late(Seq::FIRST, &line, Some("bob")), format!("  ✓ #1 to bob: {}…", accented.repeat(40)));
        assert_eq!(not_sent("hi", Some("bob"), "busy"), "  ✗ not sent: busy: to bob: hi");
    }

    #[test]
    fn a_text_from_right_to_left_does_not_reorder_its_line() {
        let line = shown("דוד", message(Body::text("שלום 1").unwrap()));
        assert_eq!(line, "\u{2068}דוד\u{2069}: \u{2068}שלום 1\u{2069}  #3");
        assert_eq!(visible("مرحبا"), "\u{2068}مرحبا\u{2069}");
        assert_eq!(visible("שלום\u{200e}!\u{200f}\u{61c}"), "\u{2068}שלום\u{200e}!\u{200f}\u{61c}\u{2069}", "marks act within");
        assert_eq!(visible("\u{200f}!"), "\u{2068}\u{200f}!\u{2069}");
        assert_eq!(visible("abc\u{200e}"), r"abc\u{200e}", "without need it only hides");
        assert_eq!(visible("ש\u{2069}\u{202e}\u{2067}"), "\u{2068}ש\\u{2069}\\u{202e}\\u{2067}\u{2069}", "nobody gets out");
    }

    #[test]
    fn what_would_hide_is_shown_and_what_joins_stays() {
        assert_eq!(visible("a\u{ad}b\u{200b}c\u{2060}d\u{feff}"), r"a\u{ad}b\u{200b}c\u{2060}d\u{feff}");
        assert_eq!(visible("\u{e0041}\u{e007f}\u{fff9}\u{180e}\u{2063}"), r"\u{e0041}\u{e007f}\u{fff9}\u{180e}\u{2063}");
        for text in ["👩‍👩‍👧", "❤\u{fe0f}", "क्\u{200c}ष", "e\u{301}"] {
            assert_eq!(visible(text), text);
        }
    }
}
