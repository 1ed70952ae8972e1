//! What a typed line asks for.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{Body, GroupSettings, History, ReactionKey, Role, Seq, Title, UserId};
use chatlane_session::{Act, Draft};

use super::text;

/// What `/help` shows.
pub(super) const HELP: [&str; 11] = [
    "a line of text: send it to the one you are talking to · //: the same for a line that begins with /",
    "/with NAME: talk to NAME, or in the group NAME, from now on · /list: your conversations, with what is unread",
    "/edit N TEXT · /delete N · /reply N TEXT · /react N 👍 (again: takes it away): about the message #N",
    "/group NAME USER…: a new group · /add USER… · /remove USER… · /role USER member|moderator|admin|owner",
    "/settings: how the group is set · /settings title TEXT, send|add|manage ROLE, locked on|off, history joined|all · /close: for good",
    "/mute [MINUTES|off] · /pin · /archive · /unread (again: takes it away): this conversation, on all your devices",
    "/readby: who has your last message · /members: who is in the group · /leave [USER]: leave it, and USER is an owner then · @USER in a text mentions a member (★)",
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
    /// Into the conversation that the user is in.
    Write(Draft),
    /// A reaction to this entry comes, or goes if it is there.
    React {
        target: Seq,
        key: ReactionKey,
    },
    /// A new group.
    Group {
        title: Title,
        users: Vec<UserId>,
    },
    Members,
    /// What is set in the group.
    Settings,
    /// Who has read the user's last message.
    ReadBy,
    /// What the user prefers about the conversation that they are in.
    Prefer(Preference),
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

/// What the user prefers about a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    Mute(Mute),
    /// These come, or go if they are there.
    Pinned,
    Archived,
    Unread,
}

/// Whether a conversation disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mute {
    /// Not until the user says so, or again if it does not now.
    Toggle,
    ForMinutes(u64),
    Off,
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
        ("with", name) => user(name.trim()).map_or(Command::Wrong("`/with` needs a name of 1 to 128 bytes"), Command::With),
        ("members", "") => Command::Members,
        ("settings", "") => Command::Settings,
        ("readby", "") => Command::ReadBy,
        ("pin", "") => Command::Prefer(Preference::Pinned),
        ("archive", "") => Command::Prefer(Preference::Archived),
        ("unread", "") => Command::Prefer(Preference::Unread),
        ("mute", time) => mute(time.trim()).map_or(Command::Wrong("`/mute`, `/mute MINUTES` or `/mute off`"), Command::Prefer),
        (name, rest) => change(name, rest.trim()),
    }
}

fn user(name: &str) -> Option<UserId> {
    UserId::new(name.trim_matches(text::ISOLATES)).ok()
}

fn mute(time: &str) -> Option<Preference> {
    Some(Preference::Mute(match time {
        "" => Mute::Toggle,
        "off" => Mute::Off,
        minutes => Mute::ForMinutes(minutes.parse().ok().filter(|minutes| *minutes > 0)?),
    }))
}

fn role(name: &str) -> Option<Role> {
    [Role::Member, Role::Moderator, Role::Admin, Role::Owner].into_iter().find(|role| text::word(&encode(role)) == name)
}

fn history(name: &str) -> Option<History> {
    [History::Joined, History::All].into_iter().find(|history| text::word(&encode(history)) == name)
}

/// One setting of a group: which, and what it is to be.
fn setting(name: &str, value: &str) -> Option<GroupSettings> {
    let mut settings = GroupSettings::default();
    match name {
        "title" => settings.title = Some(Title::new(value).ok()?),
        "send" => settings.send = Some(role(value)?),
        "add" => settings.add = Some(role(value)?),
        "manage" => settings.manage = Some(role(value)?),
        "locked" => settings.locked = Some(["off", "on"].iter().position(|word| *word == value)? == 1),
        "history" => settings.history = Some(history(value)?),
        _ => return None,
    }
    Some(settings)
}

/// What changes a group or a message: the command and what is behind it.
fn change(name: &str, rest: &str) -> Command {
    let users = || rest.split_whitespace().map(user).collect::<Option<Vec<_>>>().filter(|users| !users.is_empty());
    let (first, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let target = || first.trim_start_matches('#').parse::<u64>().ok().and_then(|seq| Seq::try_from(seq).ok());
    let body = || Body::text(text.trim()).ok();
    let read = |command: Option<Command>, usage| command.unwrap_or(Command::Wrong(usage));
    match name {
        "group" => {
            let users = text.split_whitespace().map(user).collect::<Option<Vec<_>>>();
            let title = Title::new(first).ok().filter(|_| !first.is_empty());
            read(title.zip(users).map(|(title, users)| Command::Group { title, users }), "`/group NAME USER…`")
        }
        "add" => read(users().map(|users| Command::Write(Draft::Add { users })), "`/add USER…`"),
        "remove" => read(users().map(|users| Command::Write(Draft::Remove { users })), "`/remove USER…`"),
        "leave" if rest.is_empty() => Command::Write(Draft::Leave { successor: None }),
        "leave" => read(user(rest).map(|user| Command::Write(Draft::Leave { successor: Some(user) })), "`/leave` or `/leave USER`"),
        "role" => {
            let named = user(first).zip(role(text.trim())).map(|(user, role)| Command::Write(Draft::Role { user, role }));
            read(named, "`/role USER member|moderator|admin|owner`")
        }
        "settings" => {
            let settings = setting(first, text.trim()).map(|settings| Command::Write(Draft::Settings { settings }));
            read(settings, "`/settings title TEXT`, `send|add|manage ROLE`, `locked on|off` or `history joined|all`")
        }
        "close" if rest.is_empty() => Command::Write(Draft::Close),
        "edit" => read(target().zip(body()).map(|(target, body)| Command::Write(Draft::Edit { target, body })), "`/edit N TEXT`"),
        "reply" => {
            let reply = |(seq, body)| Command::Write(Draft::Message { body, reply_to: Some(seq), mentions: vec![] });
            read(target().zip(body()).map(reply), "`/reply N TEXT`")
        }
        "delete" => read(target().filter(|_| text.is_empty()).map(|target| Command::Write(Draft::Delete { target })), "`/delete N`"),
        "react" => {
            let key = ReactionKey::new(text.trim()).ok();
            read(target().zip(key).map(|(target, key)| Command::React { target, key }), "`/react N 👍`: 1 to 32 bytes")
        }
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
        super::user(name).unwrap()
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
    fn groups_and_messages_are_changed_by_commands() {
        let (seq, name) = (Seq::try_from(3).unwrap(), user);
        let body = || Body::text("two  words").unwrap();
        let settings = |set: fn(&mut GroupSettings)| {
            let mut settings = GroupSettings::default();
            set(&mut settings);
            Draft::Settings { settings }
        };
        let written = [
            ("/add bob carol", Draft::Add { users: vec![name("bob"), name("carol")] }),
            ("/remove bob", Draft::Remove { users: vec![name("bob")] }),
            ("/leave", Draft::Leave { successor: None }),
            ("/leave bob", Draft::Leave { successor: Some(name("bob")) }),
            ("/role bob admin", Draft::Role { user: name("bob"), role: Role::Admin }),
            ("/settings title Tea time", settings(|settings| settings.title = Title::new("Tea time").ok())),
            ("/settings send admin", settings(|settings| settings.send = Some(Role::Admin))),
            ("/settings add member", settings(|settings| settings.add = Some(Role::Member))),
            ("/settings manage owner", settings(|settings| settings.manage = Some(Role::Owner))),
            ("/settings locked on", settings(|settings| settings.locked = Some(true))),
            ("/settings locked off", settings(|settings| settings.locked = Some(false))),
            ("/settings history all", settings(|settings| settings.history = Some(History::All))),
            ("/close", Draft::Close),
            ("/edit 3 two  words", Draft::Edit { target: seq, body: body() }),
            ("/delete #3", Draft::Delete { target: seq }),
            ("/reply #3 two  words", Draft::Message { body: body(), reply_to: Some(seq), mentions: vec![] }),
        ];
        for (line, draft) in written {
            assert_eq!(text::words(&draft), line.replace('#', ""), "as it may be typed");
            assert_eq!(read(line.as_bytes()), Command::Write(draft));
        }
        assert_eq!(read("/react 3 👍".as_bytes()), Command::React { target: seq, key: ReactionKey::new("👍").unwrap() });
        let tea = Command::Group { title: Title::new("Tea").unwrap(), users: vec![name("bob"), name("carol")] };
        assert_eq!((read(b"/group Tea bob carol"), read(b"/members")), (tea, Command::Members));
        for line in [
            "/group",
            "/add",
            "/role bob",
            "/role bob king",
            "/edit 3",
            "/edit x y",
            "/delete",
            "/delete 3 4",
            "/react 3",
            "/reply 3",
            "/close now",
            "/settings send",
            "/settings send king",
            "/settings locked maybe",
            "/settings history none",
            "/settings colour red",
        ] {
            assert!(matches!(read(line.as_bytes()), Command::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn what_the_user_prefers_is_named_or_taken_back() {
        let mute = |mute| Command::Prefer(Preference::Mute(mute));
        for (line, command) in [
            ("/mute", mute(Mute::Toggle)),
            ("/mute 30", mute(Mute::ForMinutes(30))),
            ("/mute off", mute(Mute::Off)),
            ("/pin", Command::Prefer(Preference::Pinned)),
            ("/archive", Command::Prefer(Preference::Archived)),
            ("/unread", Command::Prefer(Preference::Unread)),
            ("/settings", Command::Settings),
            ("/readby", Command::ReadBy),
        ] {
            assert_eq!(read(line.as_bytes()), command);
        }
        for line in ["/mute 0", "/mute soon", "/pin me", "/readby 3"] {
            assert!(matches!(read(line.as_bytes()), Command::Wrong(_)), "{line}");
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
