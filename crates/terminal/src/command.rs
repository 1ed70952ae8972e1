//! What a typed line asks for.

use chatlane_protocol::UserId;
use chatlane_session::Act;

use super::text;

/// What `/help` shows.
pub(super) const HELP: [&str; 6] = [
    "a line of text: send it to the one you are talking to · //: the same for a line that begins with /",
    "/with NAME: talk to NAME from now on · /list: your conversations, with what is unread",
    "/history: what was said before",
    "/connect: try again now",
    "/quit or Ctrl-C: end at once · Ctrl-D: end when all is sent · /help: this",
    "○ kept here, to be sent · ✓ stored, at its number · ✓✓ delivered, read · ✗ not sent",
];

/// A typed line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Send this.
    Say(String),
    /// Talk to this user from now on.
    With(UserId),
    List,
    History,
    /// The device can do it.
    Do(Act),
    Help,
    Quit,
    /// An empty line.
    Nothing,
    /// Not understood: this is why.
    Wrong(&'static str),
}

/// Reads one line, without its line end.
pub(super) fn read(line: &[u8]) -> Command {
    let Ok(line) = std::str::from_utf8(line) else { return Command::Wrong("not sent: the line is not UTF-8") };
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return Command::Nothing;
    }
    let Some(command) = line.strip_prefix('/') else { return Command::Say(line.to_owned()) };
    if command.starts_with('/') {
        return Command::Say(command.to_owned());
    }
    match command.trim().split_once(char::is_whitespace).unwrap_or((command.trim(), "")) {
        ("quit", "") => Command::Quit,
        ("help", "") => Command::Help,
        ("list", "") => Command::List,
        ("history", "") => Command::History,
        ("connect", "") => Command::Do(Act::ConnectNow),
        // A name from right to left comes with its isolates where it is copied from the screen.
        ("with", name) => UserId::new(name.trim().trim_matches(text::ISOLATES))
            .map_or(Command::Wrong("`/with` needs a name of 1 to 128 bytes"), Command::With),
        _ => Command::Wrong("no such command; /help lists them"),
    }
}

/// The line that says how the device's store is.
pub(super) const fn storing(stores: bool) -> &'static str {
    if stores {
        "· this device can store again"
    } else {
        "· this device cannot store anything at the moment: what is new is shown when it can"
    }
}

/// Whom a user talks to when nobody was named: the two users of the first example talk to each other.
pub(super) fn default_peer(user: &UserId) -> Option<UserId> {
    let peer = match user.as_str() {
        "alice" => "bob",
        "bob" => "alice",
        _ => return None,
    };
    UserId::new(peer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn text_is_sent_as_it_is_without_its_line_end() {
        assert_eq!(read(b"hi there"), Command::Say("hi there".to_owned()));
        assert_eq!(read(b" hi \r"), Command::Say(" hi ".to_owned()));
        assert_eq!(read(b" \r"), Command::Nothing);
        assert_eq!(read(b""), Command::Nothing);
    }

    #[test]
    fn commands_begin_with_a_slash() {
        let simple = [
            (&b"/quit"[..], Command::Quit),
            (b"/help ", Command::Help),
            (b"/list", Command::List),
            (b"/history", Command::History),
            (b"/connect\r", Command::Do(Act::ConnectNow)),
            (b"/with  auth0|a b", Command::With(user("auth0|a b"))),
            ("/with \u{2068}דוד\u{2069}".as_bytes(), Command::With(user("דוד"))),
        ];
        for (line, command) in simple {
            assert_eq!(read(line), command);
        }
    }

    #[test]
    fn two_slashes_send_a_line_that_begins_with_one() {
        for (line, said) in [("//help", "/help"), ("//", "/"), ("///x", "//x"), (" /help", " /help")] {
            assert_eq!(read(line.as_bytes()), Command::Say(said.to_owned()));
        }
    }

    #[test]
    fn what_is_no_command_is_not_sent_as_text() {
        for line in [&b"/quiet"[..], b"/", b"/with", b"/quit now", b"/list all", b"\xff"] {
            assert!(matches!(read(line), Command::Wrong(_)), "{line:?}");
        }
    }

    #[test]
    fn alice_and_bob_talk_to_each_other_and_others_to_nobody_yet() {
        assert_eq!(default_peer(&user("alice")), Some(user("bob")));
        assert_eq!(default_peer(&user("bob")), Some(user("alice")));
        assert_eq!(default_peer(&user("carol")), None);
    }
}
