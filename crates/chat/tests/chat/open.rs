//! `open`: one conversation for two users, whoever asks, however often, and whatever died on the way.

use chatlane_chat::log::Head;
use chatlane_chat::log::append::ATTEMPTS_MAX;
use chatlane_chat::ports::{Creation, Creations as _, InboxRow};
use chatlane_chat::requests::open::open;
use chatlane_chat::testing::builders::{
    caller, creation, direct, head, member, message_id, position, request_id, settings, start, task_by, unavailable, user,
};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::Task;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ConversationId, ErrorCode, Refusal};

fn ask(store: &Faulty, who: &str, with: &str) -> Result<OpenAnswer, Refused> {
    Ok(ask_and_tell(store, who, with)?.answer)
}

fn ask_and_tell(store: &Faulty, who: &str, with: &str) -> Result<Done<OpenAnswer>, Refused> {
    let request = Open { id: request_id("r-1"), with: user(with), client_message_id: message_id("create") };
    block_on(open(store, &settings(), &caller(who), &request))
}

fn lane() -> ConversationId {
    direct(&user("alice"), &user("bob"))
}

fn answer(with: &str, head: u64) -> OpenAnswer {
    let conversation = ConversationHead { conversation: lane(), with: Some(user(with)), head: position(head) };
    OpenAnswer { id: request_id("r-1"), conversation }
}

/// What makes everybody learn of the conversation: also the creator's other devices, and this one.
fn announcement() -> (Task, u32) {
    (task_by("alice", &lane(), 1, 1), 0)
}

fn by(creator: &str) -> Creation {
    let other = if creator == "alice" { "bob" } else { "alice" };
    creation(&lane(), &user(creator), &user(other))
}

fn create_in(memory: &Memory, creator: &str) {
    assert!(block_on(memory.create(&by(creator))).is_ok());
}

fn raise_head(store: &Faulty, number: u64) {
    store.memory.state().heads.insert(lane(), head(number));
}

fn tasks(store: &Faulty) -> Vec<(Task, u32)> {
    std::mem::take(&mut store.memory.state().queue)
}

#[test]
fn opening_creates_the_conversation_and_announces_it() {
    let store = Faulty::new(start());
    let did = Did { stored: 1, attempts: 1, tasks: 1, ..Did::default() };
    assert_eq!(ask_and_tell(&store, "alice", "bob").unwrap(), Done { answer: answer("bob", 1), did });
    assert_eq!(store.memory.entries(&lane()), [by("alice").entry]);
    assert_eq!(tasks(&store), [announcement()]);
    {
        let state = store.memory.state();
        assert_eq!(state.heads[&lane()], Head::default());
        assert_eq!(state.members.values().cloned().collect::<Vec<_>>(), [member(&user("alice")), member(&user("bob"))]);
        for (who, with) in [("alice", "bob"), ("bob", "alice")] {
            assert_eq!(state.inboxes[&user(who)][&lane()], InboxRow::new(lane(), Some(user(with)), &member(&user(who))));
        }
    }
    assert!(store.is_answered_before("create", "enqueue"));
}

#[test]
fn the_fifty_first_conversation_of_a_day_waits_for_the_next_and_the_others_are_found() {
    let store = Faulty::new(start());
    for number in 0..50 {
        ask(&store, "alice", &format!("friend-{number}")).unwrap();
    }
    let today_ms = 86_400_000 - start().get() % 86_400_000;
    let refused = ask(&store, "alice", "one-more").unwrap_err();
    assert!(matches!(refused, Refused::TooManyOpened { retry_after_ms } if retry_after_ms == today_ms), "{refused:?}");
    assert_eq!(store.memory.state().log.len(), 50);
    ask(&store, "alice", "friend-7").unwrap();
    ask(&store, "one-more", "alice").unwrap();
    store.memory.clock.advance_ms(today_ms);
    ask(&store, "alice", "another").unwrap();
}

#[test]
fn opening_again_finds_the_same_conversation_from_both_sides() {
    let store = Faulty::new(start());
    ask(&store, "alice", "bob").unwrap();
    raise_head(&store, 1);
    tasks(&store);
    assert_eq!(ask_and_tell(&store, "alice", "bob").unwrap(), Done::read(answer("bob", 1)));
    assert_eq!(ask(&store, "bob", "alice").unwrap(), answer("alice", 1));
    raise_head(&store, 7);
    assert_eq!(ask(&store, "bob", "alice").unwrap(), answer("alice", 7));
    assert_eq!(store.memory.entries(&lane()), [by("alice").entry]);
    assert_eq!((tasks(&store), store.count("create")), (vec![], 1));
}

#[test]
fn who_loses_the_race_answers_what_the_winner_created() {
    let store = Faulty::new(start());
    store.meanwhile("create", |memory| create_in(memory, "bob"));
    let did = Did { attempts: 1, tasks: 1, ..Did::default() };
    assert_eq!(ask_and_tell(&store, "alice", "bob").unwrap(), Done { answer: answer("bob", 1), did });
    assert_eq!(store.memory.entries(&lane()), [by("bob").entry]);
    // Either may die before its enqueue: both announce.
    assert_eq!(tasks(&store), [announcement()]);
}

#[test]
fn who_meets_a_transaction_tries_again() {
    let store = Faulty::new(start());
    store.on("create", Fault::Contended);
    store.on("create", Fault::Contended);
    let did = Did { stored: 1, attempts: 3, tasks: 1, ..Did::default() };
    assert_eq!(ask_and_tell(&store, "alice", "bob").unwrap(), Done { answer: answer("bob", 1), did });
    assert_eq!(tasks(&store), [announcement()]);
}

#[test]
fn after_six_transactions_it_is_busy() {
    let store = Faulty::new(start());
    for _ in 0..ATTEMPTS_MAX {
        store.on("create", Fault::Contended);
    }
    let refused = ask(&store, "alice", "bob").unwrap_err();
    assert!(matches!(refused, Refused::Busy));
    assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::Busy, "others were faster, or too much was asked at once").after_ms(100));
    assert_eq!((store.count("create"), tasks(&store)), (ATTEMPTS_MAX, vec![]));
    assert_eq!(ask(&store, "alice", "bob").unwrap(), answer("bob", 1));
}

// holds: L4
#[test]
fn who_died_between_creation_and_enqueue_is_made_good_by_the_next_to_open() {
    for who_opens in ["alice", "bob"] {
        let store = Faulty::new(start());
        create_in(&store.memory, "alice");
        let with = if who_opens == "alice" { "bob" } else { "alice" };
        assert_eq!(ask(&store, who_opens, with).unwrap(), answer(with, 1));
        assert_eq!(tasks(&store), [(task_by(who_opens, &lane(), 1, 1), 0)]);
    }
}

#[test]
fn a_creation_of_which_nothing_is_known_is_found_by_the_retry() {
    let store = Faulty::new(start());
    store.on("create", Fault::AnswerLost);
    assert!(matches!(ask(&store, "alice", "bob"), Err(Refused::Failed(_))));
    assert_eq!(ask(&store, "alice", "bob").unwrap(), answer("bob", 1));
    assert_eq!((store.memory.entries(&lane()).len(), tasks(&store)), (1, vec![announcement()]));
}

// holds: L3
#[test]
fn nothing_is_answered_unless_the_announcement_is_queued() {
    let store = Faulty::new(start());
    store.on("enqueue", Fault::RequestLost);
    let refused = ask(&store, "alice", "bob").unwrap_err();
    assert_eq!(refused.to_wire(), unavailable());
    assert_eq!(ask(&store, "alice", "bob").unwrap(), answer("bob", 1));
    assert_eq!(tasks(&store), [announcement()]);
}

#[test]
fn whatever_cannot_be_reached_opening_is_retried() {
    for (call, exists) in [("read", false), ("create", false), ("heads", true)] {
        let store = Faulty::new(start());
        if exists {
            create_in(&store.memory, "alice");
        }
        store.on(call, Fault::RequestLost);
        assert!(matches!(ask(&store, "alice", "bob"), Err(Refused::Failed(_))), "{call}");
        assert_eq!(tasks(&store), [], "{call}");
        assert_eq!(ask(&store, "alice", "bob").unwrap(), answer("bob", 1), "{call}");
    }
}

#[test]
fn nobody_has_a_direct_conversation_with_oneself() {
    let store = Faulty::new(start());
    let refused = ask(&store, "alice", "alice").unwrap_err();
    assert!(matches!(refused, Refused::WithOneself));
    assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::BadRequest, "a direct conversation is with somebody else"));
    assert_eq!(store.count("read"), 0);
}
