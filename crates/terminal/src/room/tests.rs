//! What the chat says, in the order in which things happen.

use chatlane_protocol::frames::{GroupInfo, MemberCursors, Stored};
use chatlane_protocol::{ErrorCode, GroupSettings, Message, Prefs, PrefsChange, Refusal, Seq, UnixMillis};
use chatlane_session::{Failure, OutboxRow, OutboxState};

use super::*;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).unwrap()
}

fn id(name: &str) -> ClientMessageId {
    ClientMessageId::new(name).unwrap()
}

fn at(seq: u64) -> Position {
    Position::new(1, Seq::try_from(seq).unwrap())
}

fn row(name: &str, with: &str, have: u64) -> ConversationRow {
    let mut row = ConversationRow::empty(conversation(name));
    (row.with, row.have, row.head, row.head_count) = (Some(user(with)), at(have), at(have), have);
    row
}

fn entry(sender: &str, seq: u64, text: &str) -> Entry {
    Entry {
        position: at(seq),
        sender: user(sender),
        client_message_id: id(&format!("{sender}-{seq}")),
        time_ms: UnixMillis::ZERO,
        count: seq,
        kind: EntryKind::Message(Body::text(text).unwrap().into()),
        as_it_came: None,
    }
}

fn stored(seq: u64) -> OutgoingState {
    OutgoingState::Stored(Stored { position: at(seq), time_ms: UnixMillis::ZERO, count: seq })
}

/// alice's room, which knows the conversations of these rows, at a time of the test's own.
struct Scene {
    room: Room,
    now: Instant,
}

impl Scene {
    fn of(conversations: Vec<ConversationRow>) -> Self {
        let now = Instant::now();
        Self { room: Room::new(user("alice"), Restored { conversations, ..Restored::default() }), now }
    }

    /// Talking to bob, with entries up to `have` on the screen.
    fn with_bob(have: u64) -> Self {
        let mut scene = Self::of(vec![row("d1", "bob", have)]);
        scene.room.begin(None, scene.now);
        let entries = (1..=have).map(|seq| entry("bob", seq, "old")).collect();
        scene.room.turned(&conversation("d1"), entries);
        scene.later();
        scene
    }

    fn shows(&mut self, shown: Shown) -> Vec<Effect> {
        self.room.shown(shown, self.now)
    }

    /// What is said when everything that waits has waited for long enough.
    fn later(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(at) = self.room.settle_at() {
            self.now = at;
            lines.extend(said(self.room.settle(at)));
        }
        lines
    }

    /// A line is typed and given to the device under this name, and the store has it.
    fn types(&mut self, line: &str, name: &str) {
        for act in self.room.typed(line.as_bytes()) {
            match act {
                Effect::Compose { conversation, line, draft } => {
                    let change = !matches!(draft, chatlane_session::Draft::Message { .. });
                    self.room.composed(conversation.clone(), id(name), line, change);
                    let state = OutgoingState::Waiting;
                    self.shows(Shown::Outgoing { conversation, client_message_id: id(name), state });
                }
                Effect::ComposeTo { user, line, .. } => {
                    self.room.held(user.clone(), id(name), line);
                    self.shows(Shown::Held { user, client_message_id: id(name) });
                }
                _ => {}
            }
        }
    }

    fn outgoing(&mut self, name: &str, state: OutgoingState) -> Vec<Effect> {
        self.shows(Shown::Outgoing { conversation: conversation("d1"), client_message_id: id(name), state })
    }

    fn cursors(&mut self, delivered: u64, read: u64) {
        let cursors = MemberCursors { user: user("bob"), delivered: at(delivered), read: at(read) };
        self.shows(Shown::Cursors { conversation: conversation("d1"), cursors });
    }
}

fn said(effects: Vec<Effect>) -> Vec<String> {
    effects.into_iter().filter_map(|act| if let Effect::Say(line) = act { Some(line) } else { None }).collect()
}

#[test]
fn a_wait_that_is_over_at_once_is_not_shown() {
    let mut scene = Scene::with_bob(1);
    scene.types("quick", "m1");
    assert_eq!(said(scene.outgoing("m1", stored(2))), ["  ✓ #2"]);
    assert_eq!(scene.later(), [""; 0]);

    scene.types("slow", "m2");
    assert_eq!(scene.later(), ["  ○ slow"]);
    assert_eq!(said(scene.outgoing("m2", stored(3))), ["  ✓ #3 slow"]);
}

#[test]
fn lines_that_wait_are_shown_in_the_order_of_typing_and_once() {
    let mut scene = Scene::with_bob(1);
    for (line, name) in [("one", "m9"), ("two", "m1"), ("three", "m5")] {
        scene.types(line, name);
    }
    assert_eq!(scene.later(), ["  ○ one", "  ○ two", "  ○ three"]);
    assert!(scene.room.is_busy());
    assert_eq!(scene.room.farewell(), ["· 3 messages wait on this device; they are sent the next time"]);
}

#[test]
fn a_line_that_the_store_does_not_have_yet_is_not_shown_as_waiting() {
    let mut scene = Scene::with_bob(1);
    scene.room.composed(conversation("d1"), id("m1"), "hi".to_owned(), false);
    scene.room.connection_changed(Status::Online, scene.now);
    assert_eq!(scene.later(), ["· online"]);
    assert_eq!(scene.room.farewell(), [""; 0]);
}

#[test]
fn ones_own_message_is_on_the_screen_as_typed_and_that_of_another_device_is_an_entry() {
    let mut scene = Scene::with_bob(1);
    scene.types("hi", "alice-2");
    scene.outgoing("alice-2", stored(2));
    let own = Shown::Entry { conversation: conversation("d1"), entry: entry("alice", 2, "hi") };
    assert_eq!(scene.shows(own), [Effect::Do(Act::MarkRead { conversation: conversation("d1"), position: at(2), private: false })]);
    let other = Shown::Entry { conversation: conversation("d1"), entry: entry("alice", 3, "from my phone") };
    assert_eq!(said(scene.shows(other)), ["alice: from my phone  #3"]);
}

#[test]
fn an_entry_that_came_from_the_store_is_not_shown_again() {
    let mut scene = Scene::with_bob(3);
    let again = Shown::Entry { conversation: conversation("d1"), entry: entry("bob", 3, "old") };
    assert_eq!(said(scene.shows(again)), [""; 0]);
}

#[test]
fn a_read_that_follows_soon_takes_the_place_of_the_delivery() {
    let mut scene = Scene::with_bob(1);
    for (name, seq) in [("m1", 2), ("m2", 3), ("m3", 5)] {
        scene.types("hi", name);
        scene.outgoing(name, stored(seq));
    }
    scene.cursors(3, 0);
    scene.cursors(4, 4);
    assert_eq!(scene.later(), ["  ✓✓ #3 read by bob"], "the last of one's own up to there");
    scene.cursors(5, 4);
    assert_eq!(scene.later(), ["  ✓✓ #5 delivered"]);
    scene.cursors(5, 4);
    scene.cursors(2, 2);
    assert_eq!(scene.later(), [""; 0]);
    scene.cursors(5, 5);
    assert_eq!(scene.later(), ["  ✓✓ #5 read by bob"]);
}

#[test]
fn an_older_row_takes_no_ticks_back() {
    let mut scene = Scene::with_bob(1);
    scene.types("hi", "m1");
    scene.outgoing("m1", stored(2));
    scene.cursors(2, 2);
    scene.shows(Shown::Conversation { row: row("d1", "bob", 2), unread: 0 });
    assert_eq!(scene.later(), ["  ✓✓ #2 read by bob"]);
}

#[test]
fn who_turns_to_a_conversation_sees_its_end_its_ticks_and_what_waits() {
    let mut bob = row("d1", "bob", 4);
    bob.others = vec![MemberCursors { user: user("bob"), delivered: at(3), read: at(2) }];
    let waiting = OutboxRow {
        conversation: conversation("d1"),
        order: 1,
        client_message_id: id("m1"),
        anchor: at(4),
        draft: Body::text("unsent").unwrap().into(),
        state: OutboxState::Waiting,
    };
    let mut room = Room::new(user("alice"), Restored { conversations: vec![bob], outbox: vec![waiting], ..Restored::default() });
    let begun = room.begin(None, Instant::now());
    assert_eq!(begun[2], Effect::Turn { conversation: conversation("d1"), entries: PAGE });
    let entries = vec![entry("alice", 2, "a"), entry("alice", 3, "b"), entry("alice", 4, "c")];
    let effects = room.turned(&conversation("d1"), entries);
    assert!(
        effects.contains(&Effect::Do(Act::MarkRead { conversation: conversation("d1"), position: at(4), private: false })),
        "{effects:?}"
    );
    let lines = ["· earlier: /history", "alice: a  #2 ✓✓", "alice: b  #3 ✓✓", "alice: c  #4 ✓", "· bob has read up to #2", "  ○ unsent"];
    assert_eq!(said(effects), lines);
}

#[test]
fn who_turns_back_sees_only_what_is_new_and_all_of_it() {
    let mut scene = Scene::of(vec![row("d1", "bob", 2), row("d2", "carol", 1)]);
    scene.room.begin(None, scene.now);
    scene.room.turned(&conversation("d1"), vec![entry("bob", 1, "a"), entry("bob", 2, "b")]);
    let carol = scene.room.typed(b"/with carol");
    assert_eq!(said(carol), ["· talking to carol"]);
    scene.room.turned(&conversation("d2"), vec![entry("carol", 1, "hi")]);
    let new: Vec<Entry> = (3..=42).map(|seq| entry("bob", seq, "new")).collect();
    for entry in new.clone() {
        assert_eq!(scene.shows(Shown::Entry { conversation: conversation("d1"), entry }), []);
    }
    scene.shows(Shown::Conversation { row: row("d1", "bob", 42), unread: 40 });
    let back = scene.room.typed(b"/with bob");
    assert_eq!(back[1], Effect::Turn { conversation: conversation("d1"), entries: 40 });
    assert_eq!(said(scene.room.turned(&conversation("d1"), new)).len(), 40);
    assert_eq!(scene.later(), ["· connecting…"], "seen, so no news");
}

#[test]
fn news_of_another_conversation_are_one_line_for_many() {
    let mut scene = Scene::with_bob(1);
    for seq in 1..=3 {
        let entry = entry("carol", seq, "hi");
        scene.shows(Shown::Entry { conversation: conversation("d2"), entry });
        scene.shows(Shown::Conversation { row: row("d2", "ca\u{1b}rol", seq), unread: seq });
    }
    assert_eq!(scene.later(), [r"· ca\u{1b}rol: 3 unread · /with ca\u{1b}rol"]);
}

#[test]
fn what_was_unread_before_is_shown_at_the_start() {
    let mut scene = Scene::of(vec![row("d1", "bob", 2), row("d2", "carol", 1), ConversationRow::empty(conversation("d3"))]);
    let lines = ["· you are alice; /help lists what you can type", "· carol: 1 unread", "· talking to bob"];
    assert_eq!(said(scene.room.begin(None, scene.now)), lines);
    let list = said(scene.room.typed(b"/list"));
    assert_eq!(list, ["· bob: 2 unread (here)", "· carol: 1 unread", "· d3: nothing new"]);
}

#[test]
fn a_message_that_failed_in_a_former_run_is_shown_and_given_up() {
    let refusal = Refusal::new(ErrorCode::TooLarge, "");
    let failed = OutboxRow {
        conversation: conversation("d1"),
        order: 1,
        client_message_id: id("m1"),
        anchor: at(1),
        draft: Body::new("image/png", chatlane_protocol::Content::Data(vec![0; 9])).unwrap().into(),
        state: OutboxState::Failed(refusal),
    };
    let mut room =
        Room::new(user("alice"), Restored { conversations: vec![row("d1", "bob", 1)], outbox: vec![failed], ..Restored::default() });
    let effects = room.begin(None, Instant::now());
    assert!(effects.contains(&Effect::Say("  ✗ not sent: too_large: to bob: [image/png, 9 bytes]".to_owned())), "{effects:?}");
    assert!(effects.contains(&Effect::Do(Act::Discard { conversation: conversation("d1"), client_message_id: id("m1") })), "{effects:?}");
    assert!(!room.is_busy());
}

#[test]
fn a_message_that_ends_while_the_user_is_elsewhere_is_shown_with_its_words_and_whom_it_went_to() {
    let mut scene = Scene::of(vec![row("d1", "bob", 1), row("d2", "carol", 1)]);
    scene.room.begin(None, scene.now);
    scene.types("hello", "m1");
    scene.room.typed(b"/with carol");
    assert_eq!(said(scene.outgoing("m1", stored(2))), ["  ✓ #2 to bob: hello"]);
}

#[test]
fn what_a_restore_takes_back_is_shown_and_comes_again() {
    let mut scene = Scene::with_bob(3);
    scene.types("hi", "m1");
    scene.outgoing("m1", stored(4));
    let back = Shown::RolledBack { conversation: conversation("d1"), position: at(2) };
    let line = "· with bob: the server has lost what stood behind #2; what it still has comes again";
    assert_eq!(said(scene.shows(back)), [line]);
    let again = Shown::Entry { conversation: conversation("d1"), entry: entry("bob", 3, "other") };
    assert_eq!(said(scene.shows(again)), ["bob: other  #3"]);
    scene.cursors(4, 4);
    assert_eq!(scene.later(), [""; 0], "the message behind it is gone");
    let all = Shown::RolledBack { conversation: conversation("d1"), position: Position::ZERO };
    assert_eq!(said(scene.shows(all)), ["· with bob: the server has lost everything; what it still has comes again"]);
    let unknown = Shown::RolledBack { conversation: conversation("d9"), position: at(1) };
    assert_eq!(scene.shows(unknown), []);
}

#[test]
fn too_much_to_catch_up_with_is_fetched_backwards_where_the_user_looks() {
    let mut scene = Scene::with_bob(3);
    let skipped = |name: &str| Shown::Skipped { conversation: conversation(name), position: at(5_000) };
    let fetch = Effect::Do(Act::LoadHistory { conversation: conversation("d1"), before: None });
    assert_eq!(scene.shows(skipped("d1")), [Effect::Say("· much was missed, up to #5000".to_owned()), fetch]);
    assert_eq!(scene.shows(skipped("d9")), []);
    let page = vec![entry("bob", 4_999, "x"), entry("bob", 5_000, "y")];
    let page = Shown::History { conversation: conversation("d1"), entries: page, done: false };
    let lines = ["· earlier, #4999 to #5000:", "bob: x  #4999", "bob: y  #5000", "· further back: /history"];
    assert_eq!(said(scene.shows(page)), lines);
    let older = Effect::Older { conversation: conversation("d1"), before: at(4_999).seq };
    assert_eq!(scene.room.typed(b"/history"), [older]);
}

#[test]
fn history_without_anything_on_the_screen_is_asked_of_the_server() {
    let mut scene = Scene::of(vec![row("d1", "bob", 60)]);
    scene.room.begin(None, scene.now);
    let fetch = Effect::Do(Act::LoadHistory { conversation: conversation("d1"), before: None });
    assert_eq!(scene.room.turned(&conversation("d1"), vec![]), [fetch]);
    assert_eq!(scene.room.typed(b"/history"), [Effect::Do(Act::LoadHistory { conversation: conversation("d1"), before: None })]);
    let refusal = Refusal::new(ErrorCode::NotFound, "");
    let failed = Shown::Failed(Failure::History { conversation: conversation("d1"), refusal });
    assert_eq!(said(scene.shows(failed)), ["· no history: not_found"]);
    assert_eq!(said(Scene::of(vec![]).room.typed(b"/history")), ["· nobody to talk to yet: /with NAME"]);
}

#[test]
fn a_conversation_that_is_gone_is_named_as_such() {
    let mut scene = Scene::with_bob(1);
    let gone = Shown::Failed(Failure::NoConversation(conversation("d1")));
    assert_eq!(said(scene.shows(gone)), ["· this conversation is not there any more"]);
}

#[test]
fn a_conversation_that_opens_behind_the_users_back_takes_only_its_lines() {
    let mut scene = Scene::of(vec![row("d2", "carol", 1)]);
    let effects = scene.room.begin(None, scene.now);
    assert_eq!(effects[2], Effect::Open(user("bob")));
    let effects = scene.room.typed(b"for bob");
    let [Effect::ComposeTo { user: to, line, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((to, line.as_str()), (&user("bob"), "for bob"));
    scene.room.held(user("bob"), id("m"), "for bob".to_owned());
    scene.shows(Shown::Held { user: user("bob"), client_message_id: id("m") });
    assert_eq!(scene.later()[0], "  ○ for bob");
    scene.room.typed(b"/with carol");
    assert!(scene.shows(Shown::Opened { user: user("bob"), conversation: conversation("d1") }).is_empty());
    let effects = scene.room.typed(b"for carol");
    assert!(matches!(&effects[..], [Effect::Compose { conversation: to, .. }] if *to == conversation("d2")), "{effects:?}");
}

#[test]
fn whatever_becomes_of_another_conversation_names_it() {
    let mut scene = Scene::of(vec![row("d1", "bob", 1), row("d2", "carol", 1)]);
    scene.room.begin(None, scene.now);
    scene.types("one", "m1");
    scene.types("two", "m2");
    scene.room.typed(b"/with carol");
    assert_eq!(scene.later(), ["  ○ to bob: one", "  ○ to bob: two", "· connecting…"]);
    let refused = OutgoingState::Failed(Refusal::new(ErrorCode::Forbidden, ""));
    assert_eq!(said(scene.outgoing("m1", refused)), ["  ✗ not sent: forbidden: to bob: one"]);
    let refusal = Refusal::new(ErrorCode::Busy, "");
    let history = Failure::History { conversation: conversation("d1"), refusal: refusal.clone() };
    assert_eq!(said(scene.shows(Shown::Failed(history))), ["· no history with bob: busy"]);
    let gone = ConversationRow { with: None, ..row("d1", "bob", 1) };
    scene.shows(Shown::Conversation { row: gone, unread: 0 });
    let gone = Shown::Failed(Failure::NoConversation(conversation("d1")));
    assert_eq!(said(scene.shows(gone)), ["· this conversation with bob is not there any more"]);

    scene.room.typed(b"/with dave");
    scene.types("early", "m3");
    scene.room.typed(b"/with erin");
    scene.types("later", "m4");
    let failed = Failure::Open { user: user("dave"), refusal };
    assert_eq!(said(scene.shows(Shown::Failed(failed))), ["· cannot talk to dave: busy", "  ✗ not sent: busy: to dave: early"]);
    let last = ["  ○ later", "· 2 messages wait on this device; they are sent the next time"];
    assert_eq!(scene.room.farewell(), last);
}

#[test]
fn what_the_user_wrote_elsewhere_is_not_unread() {
    let mut scene = Scene::with_bob(1);
    for (sender, seq) in [("carol", 1), ("alice", 2), ("alice", 3), ("carol", 4)] {
        let entry = entry(sender, seq, "hi");
        scene.shows(Shown::Entry { conversation: conversation("d2"), entry });
        scene.shows(Shown::Conversation { row: row("d2", "carol", seq), unread: seq });
    }
    assert_eq!(scene.later(), ["· carol: 2 unread · /with carol"]);
    assert_eq!(said(scene.room.typed(b"/list")), ["· carol: 2 unread", "· bob: 1 unread (here)"]);
    let read = ConversationRow { read: at(1), read_count: 1, ..row("d2", "carol", 4) };
    scene.shows(Shown::Conversation { row: read, unread: 3 });
    assert_eq!(said(scene.room.typed(b"/list")), ["· bob: 1 unread (here)", "· carol: 1 unread"]);
    scene.shows(Shown::RolledBack { conversation: conversation("d2"), position: at(1) });
    scene.shows(Shown::Conversation { row: row("d2", "carol", 1), unread: 1 });
    assert_eq!(said(scene.room.typed(b"/list")), ["· bob: 1 unread (here)", "· carol: 1 unread"]);
}

#[test]
fn whom_one_turns_to_is_remembered_once_they_are_there() {
    let mut scene = Scene::with_bob(1);
    let remembered = |effects: Vec<Effect>| effects.into_iter().filter(|effect| matches!(effect, Effect::Remember(_))).collect::<Vec<_>>();
    assert_eq!(remembered(scene.room.typed(b"/with carol")), []);
    let opened = Shown::Opened { user: user("carol"), conversation: conversation("d2") };
    assert_eq!(remembered(scene.shows(opened)), [Effect::Remember(user("carol"))]);
    assert_eq!(remembered(scene.room.typed(b"/with bob")), [Effect::Remember(user("bob"))]);
}

/// After a restore without it, or where another deployment answers: the device has opened it again.
#[test]
fn a_conversation_that_the_server_has_lost_is_left_for_the_new_one() {
    let mut scene = Scene::with_bob(3);
    let row = ConversationRow { with: None, ..row("d1", "bob", 3) };
    scene.shows(Shown::Conversation { row, unread: 0 });
    let effects = scene.shows(Shown::Opened { user: user("bob"), conversation: conversation("d2") });
    let lines = ["· the server does not know this conversation any more; what is written from here on is in a new one", "· talking to bob"];
    assert_eq!(said(effects), lines);
    let effects = scene.room.typed(b"hello?");
    assert!(matches!(&effects[..], [Effect::Compose { conversation: to, .. }] if *to == conversation("d2")), "{effects:?}");
}

fn group(name: &str, title: &str, have: u64) -> ConversationRow {
    let title = Some(chatlane_protocol::Title::new(title).unwrap());
    ConversationRow { with: None, told: true, role: Some(chatlane_protocol::Role::Member), title, ..row(name, "nobody", have) }
}

/// alice's room, in the group `Tea` of alice, bob and carol.
fn in_tea() -> Scene {
    let mut scene = Scene::of(vec![group("g1", "Tea", 1), row("d2", "dave", 1)]);
    scene.room.begin(Some(user("Tea")), scene.now);
    scene.room.turned(&conversation("g1"), vec![entry("bob", 1, "hi")]);
    let member = |name| chatlane_protocol::frames::MemberInfo { user: user(name), role: chatlane_protocol::Role::Member };
    let members = ["alice", "bob", "carol"].map(member).to_vec();
    assert_eq!(scene.shows(Shown::Members { conversation: conversation("g1"), members }), [], "not asked for by the user");
    scene
}

fn kind(sender: &str, seq: u64, kind: EntryKind) -> Shown {
    Shown::Entry { conversation: conversation("g1"), entry: Entry { kind, ..entry(sender, seq, "-") } }
}

fn draft(effects: &[Effect]) -> &chatlane_session::Draft {
    let [Effect::Compose { draft, .. }] = effects else { panic!("{effects:?}") };
    draft
}

#[test]
fn who_turns_to_a_group_asks_for_what_is_not_known_of_it() {
    let mut unnamed = group("g1", "", 1);
    unnamed.title = None;
    let mut scene = Scene::of(vec![unnamed]);
    let effects = scene.room.begin(Some(user("g1")), scene.now);
    let asked = [
        Effect::Do(Act::AskInfo { conversations: vec![conversation("g1")] }),
        Effect::Do(Act::AskMembers { conversation: conversation("g1") }),
    ];
    assert!(effects.ends_with(&asked), "{effects:?}");
}

#[test]
fn a_text_mentions_the_members_that_it_names() {
    let mut scene = in_tea();
    let effects = scene.room.typed(b"@bob, @carol! @dave bob@bob @bob");
    let chatlane_session::Draft::Message { mentions, .. } = draft(&effects) else { panic!("{effects:?}") };
    assert_eq!(*mentions, [user("bob"), user("carol")]);
    scene.shows(kind("bob", 2, EntryKind::Added { users: vec![user("dave")] }));
    scene.shows(kind("bob", 3, EntryKind::Removed { users: vec![user("carol")] }));
    let effects = scene.room.typed(b"/reply 1 @dave @carol");
    let chatlane_session::Draft::Message { mentions, reply_to, .. } = draft(&effects) else { panic!("{effects:?}") };
    assert_eq!((mentions.as_slice(), *reply_to), (&[user("dave")][..], Some(at(1).seq)));
}

#[test]
fn a_change_is_shown_by_its_entry_and_one_that_changes_nothing_by_its_words() {
    let mut scene = in_tea();
    scene.types("/add dave", "m1");
    let outgoing = |state| Shown::Outgoing { conversation: conversation("g1"), client_message_id: id("m1"), state };
    assert_eq!(said(scene.shows(outgoing(stored(2)))), [""; 0]);
    let mut own = Entry { kind: EntryKind::Added { users: vec![user("dave")] }, ..entry("alice", 2, "-") };
    own.client_message_id = id("m1");
    assert_eq!(said(scene.shows(Shown::Entry { conversation: conversation("g1"), entry: own })), ["· alice added dave  #2"]);
    scene.types("/add dave", "m1");
    assert_eq!(said(scene.shows(outgoing(OutgoingState::Unchanged))), ["· it is so already: /add dave"]);
    scene.types("/remove dave", "m1");
    let refused = OutgoingState::Failed(Refusal::new(ErrorCode::Forbidden, "not you"));
    assert_eq!(said(scene.shows(outgoing(refused))), ["  ✗ not sent: not you (forbidden): /remove dave"]);
    scene.types("/leave", "m1");
    assert!(scene.later().contains(&"  ○ /leave".to_owned()));
    assert_eq!(said(scene.shows(outgoing(stored(3)))), ["  ✓ #3 /leave"]);
}

#[test]
fn a_group_that_has_ended_says_so_and_stays_in_the_list() {
    let mut scene = in_tea();
    assert_eq!(said(scene.shows(kind("bob", 2, EntryKind::Removed { users: vec![user("alice")] }))), ["· bob removed alice  #2"]);
    scene.shows(Shown::Conversation { row: ConversationRow { ended: true, ..group("g1", "Tea", 2) }, unread: 0 });
    let membership = |member| Shown::Membership { conversation: conversation("g1"), member };
    assert_eq!(said(scene.shows(membership(false))), ["· you are no member any more, what is here stays: Tea"]);
    assert!(said(scene.room.typed(b"/list")).contains(&"· Tea (ended): nothing new (here)".to_owned()));
    assert_eq!(said(scene.shows(membership(true))), ["· you are a member again of Tea"]);
}

#[test]
fn who_is_added_while_elsewhere_is_told_by_whom() {
    let mut scene = Scene::with_bob(1);
    scene.shows(Shown::Conversation { row: group("g1", "Tea", 1), unread: 0 });
    let added = |by| kind(by, 2, EntryKind::Added { users: vec![user("alice"), user("dave")] });
    assert_eq!(said(scene.shows(added("bob"))), ["· bob added you to Tea · /with Tea"]);
    assert_eq!(said(scene.shows(kind("bob", 3, EntryKind::Added { users: vec![user("dave")] }))), [""; 0]);
}

#[test]
fn whoever_makes_a_group_is_in_it_when_it_is_made() {
    let mut scene = Scene::with_bob(1);
    let effects = scene.room.typed(b"/group Tea bob");
    assert!(matches!(&effects[..], [Effect::Create { users, .. }] if *users == [user("bob")]), "{effects:?}");
    scene.room.creating(id("g"), chatlane_protocol::Title::new("Tea").unwrap());
    let created = |name| Shown::Created { client_message_id: id(name), conversation: conversation("g1") };
    assert_eq!(said(scene.shows(created("other"))), [""; 0], "one of before");
    assert_eq!(said(scene.shows(created("g"))), ["· talking to Tea"]);
    let refusal = Refusal::new(ErrorCode::Forbidden, "");
    let failed = Failure::Create { client_message_id: id("h"), refusal };
    assert_eq!(said(scene.shows(Shown::Failed(failed))), ["· the group is not made: forbidden"]);
}

#[test]
fn what_changes_a_message_is_told_by_the_message_and_to_those_who_saw_it_by_itself() {
    let edit =
        |seq| Entry { kind: EntryKind::Edit { target: at(1).seq, body: Some(Body::text("new").unwrap()) }, ..entry("bob", seq, "-") };
    let mut scene = Scene::of(vec![row("d1", "bob", 2), row("d2", "carol", 1)]);
    scene.room.begin(None, scene.now);
    let lines = said(scene.room.turned(&conversation("d1"), vec![entry("bob", 1, "new"), edit(2)]));
    assert_eq!(lines, ["bob: new  #1"]);
    scene.room.typed(b"/with carol");
    scene.room.typed(b"/with bob");
    assert_eq!(said(scene.room.turned(&conversation("d1"), vec![edit(3)])), ["· bob edited #1: new  #3"]);
    assert_eq!(said(scene.room.older(&conversation("d1"), vec![], true)).len(), 1);
}

#[test]
fn the_members_are_shown_to_whom_asks_for_them() {
    let mut scene = in_tea();
    assert_eq!(scene.room.typed(b"/members"), [Effect::Do(Act::AskMembers { conversation: conversation("g1") })]);
    let member = |name, role| chatlane_protocol::frames::MemberInfo { user: user(name), role };
    let members = vec![member("alice", chatlane_protocol::Role::Owner), member("bob", chatlane_protocol::Role::Member)];
    let lines = said(scene.shows(Shown::Members { conversation: conversation("g1"), members }));
    assert_eq!(lines, ["· members: alice (an owner), bob"]);
}

fn act(effects: &[Effect]) -> &Act {
    let Some(Effect::Do(act)) = effects.last() else { panic!("{effects:?}") };
    act
}

/// What a typed line makes the user prefer.
fn preferred(scene: &mut Scene, line: &str) -> PrefsChange {
    let effects = scene.room.typed(line.as_bytes());
    let Act::Prefer { prefs, .. } = act(&effects) else { panic!("{effects:?}") };
    *prefs
}

/// The server, or the device alone, has this of `d1`.
fn prefs(scene: &mut Scene, prefs: Prefs) {
    scene.shows(Shown::Prefs { conversation: conversation("d1"), prefs });
    scene.shows(Shown::Conversation { row: ConversationRow { prefs, ..row("d1", "bob", 1) }, unread: 0 });
}

#[test]
fn what_the_user_prefers_is_said_at_once_and_taken_back_by_the_same_line() {
    let mut scene = Scene::with_bob(1);
    let nothing = PrefsChange::default();
    assert_eq!(preferred(&mut scene, "/pin"), PrefsChange { pinned: Some(true), ..nothing });
    assert_eq!(preferred(&mut scene, "/archive"), PrefsChange { archived: Some(true), ..nothing });
    assert_eq!(preferred(&mut scene, "/unread"), PrefsChange { unread: Some(true), ..nothing });
    assert_eq!(said(scene.room.typed(b"/pin")), ["· this conversation is pinned"]);
    prefs(&mut scene, Prefs { version: 1, pinned: true, archived: true, unread: true, ..Prefs::default() });
    assert_eq!(preferred(&mut scene, "/pin"), PrefsChange { pinned: Some(false), ..nothing });
    assert_eq!(preferred(&mut scene, "/archive"), PrefsChange { archived: Some(false), ..nothing });
    assert_eq!(said(scene.room.typed(b"/unread")), ["· this conversation is marked as unread no more"]);
    let refusal = Refusal::new(ErrorCode::NotFound, "gone");
    let failed = Shown::Failed(Failure::Prefs { conversation: conversation("d1"), refusal });
    assert_eq!(said(scene.shows(failed)), ["· it stays as it was: gone (not_found)"]);
}

#[test]
fn a_conversation_is_muted_for_some_minutes_or_until_the_user_says_so() {
    let mut scene = Scene::with_bob(1);
    let until = |ms| {
        let mentions = (ms > 0).then_some(true);
        PrefsChange { muted_until_ms: Some(UnixMillis::ZERO.plus_ms(ms)), mentions, ..PrefsChange::default() }
    };
    scene.room.time_is(UnixMillis::ZERO.plus_ms(1_000));
    assert_eq!(preferred(&mut scene, "/mute 2"), until(121_000));
    assert_eq!(preferred(&mut scene, "/mute"), until(u64::MAX));
    assert_eq!(said(scene.room.typed(b"/mute off")), ["· this conversation is muted no more"]);
    prefs(&mut scene, Prefs { version: 1, muted_until_ms: Some(UnixMillis::ZERO.plus_ms(1_001)), ..Prefs::default() });
    assert_eq!(preferred(&mut scene, "/mute"), until(0));
    scene.room.time_is(UnixMillis::ZERO.plus_ms(1_001));
    assert_eq!(preferred(&mut scene, "/mute"), until(u64::MAX));
}

#[test]
fn the_list_has_what_is_pinned_first_what_is_archived_last_and_says_who_is_mentioned() {
    let with = |name: &str, with: &str, prefs| ConversationRow { prefs, ..row(name, with, 0) };
    let muted_until_ms = Some(UnixMillis::MAX);
    let mut scene = Scene::of(vec![
        with("d1", "bob", Prefs { archived: true, muted_until_ms, ..Prefs::default() }),
        with("d2", "carol", Prefs::default()),
        with("d3", "dave", Prefs { pinned: true, unread: true, ..Prefs::default() }),
        ConversationRow { mentioned: at(2).seq, ..row("d4", "erin", 3) },
    ]);
    let lines = ["· dave: unread, pinned", "· erin: 3 unread @", "· carol: nothing new", "· bob: nothing new, archived, muted"];
    assert_eq!(said(scene.room.typed(b"/list")), lines);
    let begun = said(scene.room.begin(Some(user("carol")), scene.now));
    assert_eq!(begun[1..3], ["· dave: unread, pinned", "· erin: 3 unread @"]);
}

#[test]
fn what_was_to_look_unread_does_so_no_more_when_the_user_opens_it() {
    let mut scene = Scene::of(vec![ConversationRow { prefs: Prefs { unread: true, ..Prefs::default() }, ..row("d1", "bob", 1) }]);
    let effects = scene.room.typed(b"/with bob");
    let seen = PrefsChange { unread: Some(false), ..PrefsChange::default() };
    assert_eq!(*act(&effects), Act::Prefer { conversation: conversation("d1"), prefs: seen });
}

#[test]
fn what_is_muted_is_not_news_unless_it_mentions_the_user() {
    let mut scene = in_tea();
    let muted = Prefs { muted_until_ms: Some(UnixMillis::MAX), mentions: true, ..Prefs::default() };
    let line = "· dave: 2 unread @, muted · /with dave";
    // The second has an older mention that is not read yet.
    for (mentions, mentioned, lines) in
        [(vec![], Seq::ZERO, vec![]), (vec![], at(1).seq, vec![]), (vec![user("alice")], at(2).seq, vec![line])]
    {
        scene.later();
        let kind = EntryKind::Message(Message { mentions, ..Body::text("hi").unwrap().into() });
        scene.shows(Shown::Entry { conversation: conversation("d2"), entry: Entry { kind, ..entry("dave", 2, "hi") } });
        scene.shows(Shown::Conversation { row: ConversationRow { prefs: muted, mentioned, ..row("d2", "dave", 2) }, unread: 2 });
        assert_eq!(scene.later(), lines);
    }
}

#[test]
fn how_a_group_is_set_is_asked_and_said() {
    let mut scene = in_tea();
    let settings = GroupSettings {
        title: Some(Title::new("Tea").unwrap()),
        send: Some(chatlane_protocol::Role::Member),
        locked: Some(false),
        history: Some(chatlane_protocol::History::Joined),
        ..GroupSettings::default()
    };
    let role = chatlane_protocol::Role::Admin;
    let info = |closed| Shown::Info {
        conversation: conversation("g1"),
        info: GroupInfo {
            at: Seq::FIRST,
            settings: settings.clone(),
            closed,
            members: 3,
            role,
            membership_changed: Seq::FIRST,
            settings_changed: Seq::ZERO,
        },
    };
    assert_eq!(said(scene.shows(info(false))), [""; 0], "nobody has asked");
    for (closed, line) in [
        (false, "· title Tea, send member, locked off, history joined; you are an admin of 3"),
        (true, "· title Tea, send member, locked off, history joined, closed; you are an admin of 3"),
    ] {
        assert_eq!(*act(&scene.room.typed(b"/settings")), Act::AskInfo { conversations: vec![conversation("g1")] });
        assert_eq!(said(scene.shows(info(closed))), [line]);
    }
    scene.types("/close", "m1");
    let outgoing = |state| Shown::Outgoing { conversation: conversation("g1"), client_message_id: id("m1"), state };
    assert_eq!(said(scene.shows(outgoing(OutgoingState::Unchanged))), ["· it is so already: /close"]);
    scene.room.typed(b"/settings");
    let refusal = Refusal::new(ErrorCode::NotFound, "gone");
    scene.shows(Shown::Failed(Failure::Group { conversation: conversation("g1"), refusal }));
    assert_eq!(said(scene.shows(info(false))), [""; 0], "it was not to be had");
}

#[test]
fn of_a_group_it_is_said_who_has_read_and_not_of_those_who_are_gone() {
    let mut scene = in_tea();
    assert_eq!(said(scene.room.typed(b"/readby")), ["· nothing of yours is on the screen"]);
    scene.shows(kind("alice", 2, EntryKind::Message(Body::text("who?").unwrap().into())));
    let cursors = |name: &str, delivered, read| MemberCursors { user: user(name), delivered: at(delivered), read: at(read) };
    let told = |cursors| Shown::Cursors { conversation: conversation("g1"), cursors };
    for cursors in [cursors("bob", 2, 2), cursors("carol", 2, 2), cursors("dave", 2, 1)] {
        scene.shows(told(cursors));
    }
    // The row was read before they came.
    scene.shows(Shown::Conversation { row: group("g1", "Tea", 2), unread: 0 });
    assert!(scene.later().contains(&"  ✓✓ #2 read by bob, carol".to_owned()));
    let effects = scene.room.typed(b"/readby");
    assert_eq!(*act(&effects), Act::Look { conversations: vec![conversation("g1")] });
    assert_eq!(said(effects), ["· #2 read by bob, carol; delivered to bob, carol"], "dave is no member that alice knows");
    scene.shows(kind("bob", 3, EntryKind::Removed { users: vec![user("carol")] }));
    scene.shows(kind("bob", 4, EntryKind::Left { successor: None }));
    scene.shows(Shown::Conversation { row: group("g1", "Tea", 4), unread: 0 });
    assert_eq!(said(scene.room.typed(b"/readby")), ["· #2 read by nobody; delivered to nobody"]);
}

#[test]
fn without_a_conversation_nothing_is_preferred_or_asked_about_it() {
    let mut scene = Scene::of(vec![]);
    for line in [&b"/pin"[..], b"/readby", b"/settings", b"/close"] {
        let effects = scene.room.typed(line);
        assert!(matches!(&effects[..], [Effect::Say(says)] if says.ends_with("/with NAME")), "{effects:?}");
    }
}
