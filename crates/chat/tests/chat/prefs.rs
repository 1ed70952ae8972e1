//! `prefs`: of one user, on all devices; and mentions, which stand in the same row.

use chatlane_chat::log::Role;
use chatlane_chat::ports::Heads;
use chatlane_chat::requests::hello::{Greeting, hello};
use chatlane_chat::requests::prefs::prefs;
use chatlane_chat::testing::builders::{caller, message, position, request_id, seq, session, settings, start, user};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::fan_out::{Received, fan_out};
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ConversationRow, PrefsAnswer, PrefsChanged, ServerFrame, encode};
use chatlane_protocol::request::{Hello, Known, SetPrefs};
use chatlane_protocol::{ErrorCode, NewMessage, Outcome, Position, Prefs, PrefsChange, UnixMillis};

fn set(stage: &Stage, who: &str, change: PrefsChange) -> Result<Done<PrefsAnswer>, Refused> {
    let request = SetPrefs { id: request_id("r-1"), conversation: stage.conversation.clone(), prefs: change };
    block_on(prefs(&stage.ports, &caller(who), &request))
}

const PINNED: PrefsChange = PrefsChange { muted_until_ms: None, mentions: None, pinned: Some(true), archived: None, unread: None };

/// The row of the conversation in `hello`, to a device that has all of it, and these preferences.
fn row(stage: &Stage, who: &str, prefs: u64) -> Option<ConversationRow> {
    let tail = stage.entries().pop().unwrap().position;
    stage.ports.memory.state().sessions.clear(); // the others are of the same device
    let known = Known { conversation: stage.conversation.clone(), have: tail, read: Position::ZERO, prefs };
    let request = Hello { id: request_id("r-1"), v: 1, after: None, known: vec![known], known_to: None };
    match block_on(hello(&stage.ports, &stage.settings, 0, &user(who), &session(&format!("{who}-1")), &request)).unwrap().answer {
        Greeting::Welcome(answer) => answer.conversations.into_iter().next(),
        Greeting::Parted => panic!("parted"),
    }
}

#[test]
fn preferences_are_answered_told_by_hello_and_posted_to_the_users_other_devices() {
    let stage = Stage::new();
    stage.deliver_up_to(1);
    for name in ["alice-1", "alice-2", "bob-1"] {
        stage.ports.memory.log_in(&user(&name[..name.len() - 2]), session(name));
    }
    let late = chatlane_chat::ports::Connection { expires: start(), ..session("alice-3") };
    stage.ports.memory.log_in(&user("alice"), late);
    let pinned = Prefs { version: 1, pinned: true, ..Prefs::default() };
    let Done { answer, did } = set(&stage, "alice", PINNED).unwrap();
    assert_eq!((answer.prefs, did), (pinned, Did { moved: 1, posted: 1, ..Did::default() }));
    let frame = encode(&ServerFrame::PrefsChanged(PrefsChanged { conversation: stage.conversation.clone(), prefs: pinned }));
    let posts = std::mem::take(&mut stage.ports.memory.state().posts);
    assert_eq!(posts.iter().map(|(to, text)| (to.as_str(), text)).collect::<Vec<_>>(), [("alice-2", &frame)]);
    // Once more: nothing is written, nobody is told.
    let Done { answer, did } = set(&stage, "alice", PINNED).unwrap();
    assert_eq!((answer.prefs, did, stage.ports.count("prefer")), (pinned, Did::default(), 1));
    assert_eq!(row(&stage, "alice", 1), None);
    assert_eq!(row(&stage, "alice", 0).unwrap().prefs, Some(pinned));
    assert_eq!(row(&stage, "bob", 0), None);

    let muted = PrefsChange { muted_until_ms: Some(start()), mentions: Some(true), ..PrefsChange::default() };
    let both = Prefs { version: 2, muted_until_ms: Some(start()), mentions: true, ..pinned };
    assert_eq!(set(&stage, "alice", muted).unwrap().answer.prefs, both);
    let not_muted = PrefsChange { muted_until_ms: Some(UnixMillis::ZERO), unread: Some(true), ..PrefsChange::default() };
    let last = Prefs { version: 3, muted_until_ms: None, unread: true, ..both };
    assert_eq!(set(&stage, "alice", not_muted).unwrap().answer.prefs, last);
    // A mark of unread moves nothing.
    assert_eq!(row(&stage, "alice", 2).unwrap().read, Position::ZERO);
}

// holds: R1
#[test]
fn preferences_are_of_members_only() {
    let stage = Stage::new();
    assert_eq!(set(&stage, "mallory", PINNED).unwrap_err().to_wire().code, ErrorCode::NotFound);
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("prefer", move |memory| drop(memory.state().inboxes.get_mut(&user("alice")).unwrap().remove(&lane)));
    assert_eq!(set(&stage, "alice", PINNED).unwrap_err().to_wire().code, ErrorCode::NotFound);
    for lost in ["inbox_rows", "prefer"] {
        let stage = Stage::new();
        stage.ports.on(lost, Fault::RequestLost);
        assert_eq!(set(&stage, "alice", PINNED).unwrap_err().to_wire().code, ErrorCode::Unavailable, "{lost}");
    }
    // A hint that is lost is no failure.
    let stage = Stage::new();
    stage.ports.on("of_users", Fault::RequestLost);
    assert_eq!(set(&stage, "alice", PINNED).unwrap().did, Did { moved: 1, ..Did::default() });
}

/// Bob writes entry 2, which mentions these; its delivery is done.
fn mentioning(stage: &Stage, names: &[&str]) {
    let mentions = names.iter().map(|name| user(name)).collect();
    let sent = stage.send("bob", vec![NewMessage { mentions, ..message("m-1", position(1)) }]).unwrap();
    assert!(matches!(sent[..], [Outcome::Ok(_)]));
    deliver(stage);
}

fn deliver(stage: &Stage) {
    for (task, _) in stage.take_tasks() {
        let received = Received { times: 1, accepted: start() };
        block_on(fan_out(&stage.ports, &settings().keys.users, &task, received, UnixMillis::MAX)).unwrap();
    }
}

#[test]
fn who_is_mentioned_and_sees_it_has_that_in_their_row() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member), ("carol", Role::Member)]);
    mentioning(&stage, &["alice", "bob", "mallory"]);
    assert_eq!(row(&stage, "alice", 1).unwrap().mentioned, Some(seq(2)));
    // Not the sender, and nobody who is not mentioned; of strangers there is no row.
    assert_eq!(["bob", "carol"].map(|who| row(&stage, who, 1).unwrap().mentioned), [None, None]);
    assert!(!stage.ports.memory.state().inboxes.contains_key(&user("mallory")));
    assert_eq!(stage.ports.count("mention"), 1);
    // A later one raises it, an older delivery does not lower it.
    let mentions = vec![user("alice")];
    assert!(matches!(stage.send("carol", vec![NewMessage { mentions, ..message("m-2", position(2)) }]).unwrap()[..], [Outcome::Ok(_)]));
    let tasks = stage.take_tasks();
    for (task, times) in [(&tasks[0].0, 1), (&tasks[0].0, 2)] {
        let received = Received { times, accepted: start() };
        block_on(fan_out(&stage.ports, &settings().keys.users, task, received, UnixMillis::MAX)).unwrap();
        assert_eq!(row(&stage, "alice", 1).unwrap().mentioned, Some(seq(3)));
    }
}

/// The worker of the later one may have died before it noted anything.
#[test]
fn a_mention_is_noted_by_its_own_task_too_where_a_later_one_was_begun_before() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
    let mentions = vec![user("alice")];
    for (number, mentions) in [(1, mentions), (2, vec![])] {
        let message = NewMessage { mentions, ..message(&format!("m-{number}"), position(number)) };
        assert!(matches!(stage.send("bob", vec![message]).unwrap()[..], [Outcome::Ok(_)]));
    }
    let tasks = stage.take_tasks();
    block_on(stage.ports.raise_head(&stage.conversation, tasks[1].0.head())).unwrap();
    let received = Received { times: 1, accepted: start() };
    let outcome = block_on(fan_out(&stage.ports, &settings().keys.users, &tasks[0].0, received, UnixMillis::MAX)).unwrap();
    assert!(outcome.superseded);
    assert_eq!(row(&stage, "alice", 1).unwrap().mentioned, Some(seq(2)));
}

// holds: L4
#[test]
fn a_mention_that_cannot_be_noted_is_repeated_with_its_task() {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Member)]);
    let sent = stage.send("bob", vec![NewMessage { mentions: vec![user("alice")], ..message("m-1", position(1)) }]).unwrap();
    assert!(matches!(sent[..], [Outcome::Ok(_)]));
    stage.ports.on("mention", Fault::RequestLost);
    let (task, _) = stage.take_tasks().remove(0);
    for (times, is_done) in [(1, false), (2, true)] {
        let done = block_on(fan_out(&stage.ports, &settings().keys.users, &task, Received { times, accepted: start() }, UnixMillis::MAX));
        assert_eq!(done.is_ok(), is_done);
    }
    assert_eq!(row(&stage, "alice", 1).unwrap().mentioned, Some(seq(2)));
}
