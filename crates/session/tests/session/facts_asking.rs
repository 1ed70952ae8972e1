//! What the user asks for: older entries, a conversation with somebody. The simple cases are vectors.

use chatlane_protocol::frames::{ConversationHead, OpenAnswer};
use chatlane_protocol::request::Open;
use chatlane_protocol::{ErrorCode, Position, Request, Seq, ServerFrame};
use chatlane_session::{Act, Failure, OutgoingState, Shown};

use crate::phone::*;

/// A phone that began `d1` at entry 900 and holds nothing before it.
fn begun_late() -> Phone {
    let mut phone = Phone::live(&Shelf::default(), [row_with_last(at(900), at(890))]);
    phone.shown.clear();
    phone
}

fn load(phone: &mut Phone, before: Option<u64>) {
    let before = before.map(|seq| Seq::try_from(seq).unwrap());
    phone.does(Act::LoadHistory { conversation: d1(), before });
}

fn syncs(phone: &mut Phone) -> bool {
    phone.pass(1_000);
    phone.sent.iter().any(|(_, request)| matches!(request, Request::Sync(_)))
}

#[test]
fn history_that_does_not_join_is_shown_and_not_kept() {
    let mut phone = begun_late();
    load(&mut phone, Some(100));
    let asked = phone.history();
    phone.older(&asked, vec![entry(1, 99)], false);
    assert!(matches!(phone.shown.as_slice(), [Shown::History { .. }]));
    assert_eq!((phone.row().from.seq, phone.store.entries.len()), (at(899).seq, 1));
}

#[test]
fn history_down_to_the_first_entry_leaves_nothing_to_ask_for() {
    let mut phone = Phone::live_at(3);
    load(&mut phone, None);
    load(&mut phone, Some(1));
    let none = Shown::History { conversation: d1(), entries: vec![], done: true };
    assert_eq!(phone.shown.iter().filter(|shown| **shown == none).count(), 2);
    assert!(phone.sent.is_empty());
    let mut phone = begun_late();
    load(&mut phone, None);
    let asked = phone.history();
    phone.older(&asked, entries(1, 1..900), true);
    assert_eq!(phone.row().from, Position::ZERO);
}

#[test]
fn history_is_asked_for_again_until_it_is_answered() {
    let mut phone = begun_late();
    load(&mut phone, None);
    load(&mut phone, None);
    phone.history();
    assert!(phone.sent.is_empty(), "asked twice, wanted once");
    phone.gateway_fails();
    phone.pass(500);
    let asked = phone.history();
    phone.refuse(&asked.id, refusal(ErrorCode::Unavailable));
    phone.pass(1_000);
    phone.history();
    phone.reconnects([]);
    let asked = phone.history();
    phone.refuse(&asked.id, refusal(ErrorCode::NotFound));
    assert!(phone.shown.iter().any(|shown| matches!(shown, Shown::Failed(Failure::History { .. }))));
    phone.open();
    phone.pass(10_000);
    assert!(phone.sent.is_empty());
}

#[test]
fn history_of_another_log_is_not_taken_before_a_sync_has_answered() {
    // The second: with another entry where the conversation goes on.
    for (mut phone, other) in [(begun_late(), entry(2, 899)), (Phone::live(&knows(3), [row(at_epoch(2, 5_000), at(1))]), entry(1, 5_000))] {
        let kept = phone.store.entries.len();
        load(&mut phone, None);
        let asked = phone.history();
        phone.older(&asked, vec![other], false);
        assert!(!phone.shown.iter().any(|shown| matches!(shown, Shown::History { .. })));
        assert_eq!(phone.store.entries.len(), kept);
        assert!(syncs(&mut phone));
    }
}

#[test]
fn an_own_message_that_history_brings_is_settled_if_it_is_not_above_what_the_device_has() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live([row(at(5_000), at(1))]);
    phone.send();
    load(&mut phone, None);
    let asked = phone.history();
    phone.older(&asked, vec![entry(1, 4_998), own_entry("m", 4_999), entry(1, 5_000)], false);
    assert!(phone.shows_stored("m", 4_999));
    assert_eq!((phone.store.outbox.len(), phone.row().from), (0, at(4_997)));
    // L4: whoever stored it may have died before its delivery was queued; `sync`, which brings it for good, sees to that.
    let (mut phone, _) = Phone::sending(3);
    load(&mut phone, Some(5));
    let asked = phone.history();
    phone.older(&asked, vec![entry(1, 3), own_entry("m", 4)], false);
    assert_eq!((phone.store.outbox.len(), phone.row().have), (1, at(3)));
}

#[test]
fn history_that_comes_after_the_conversation_began_anew_is_asked_for_again() {
    let mut phone = begun_late();
    load(&mut phone, None);
    let asked = phone.history();
    phone.push([4_000]);
    phone.pass(1_000);
    assert_eq!(phone.row().have, at(4_000));
    phone.older(&asked, vec![entry(1, 899)], false);
    phone.pass(500);
    assert_eq!(phone.history().before, asked.before);
}

fn open_with(phone: &mut Phone, name: &str, id: &str) {
    phone.does(Act::OpenWith { user: user(name), client_message_id: message_id(id) });
}

/// The conversation is there: with this head.
fn opened(phone: &mut Phone, asked: &Open, head: Position) {
    let conversation = ConversationHead { conversation: d1(), with: Some(asked.with.clone()), head };
    phone.receive(&ServerFrame::Open(OpenAnswer { id: asked.id.clone(), conversation }));
    assert!(phone.shown.contains(&Shown::Opened { user: user("bob"), conversation: d1() }));
}

#[test]
fn a_new_conversation_is_asked_for_with_one_id_until_it_is_answered() {
    let mut phone = Phone::new();
    open_with(&mut phone, "bob", "o");
    open_with(&mut phone, "bob", "another");
    phone.go_live([]);
    phone.open();
    assert!(phone.sent.is_empty());
    phone.gateway_fails();
    phone.pass(500);
    assert_eq!(phone.open().client_message_id, message_id("o"));
    phone.reconnects([]);
    let again = phone.open();
    phone.refuse(&again.id, refusal(ErrorCode::Busy).after_ms(50));
    phone.pass(2_050);
    let again = phone.open();
    assert_eq!(again.client_message_id, message_id("o"));
    opened(&mut phone, &again, at(1));
    assert_eq!((phone.row().with.clone(), phone.store.rows.len()), (Some(user("bob")), 1));
    phone.push([1]);
    phone.compose("m");
    assert_eq!((phone.entries_shown(), phone.anchors()), (vec![1], vec![at(1)]));
}

/// The ways in which a known conversation can turn out not to be there.
const NOT_FOUND: [fn(&mut Phone); 4] = [
    |phone| {
        let sync = phone.gap_before(11);
        phone.refuse_page(&sync, refusal(ErrorCode::NotFound));
    },
    |phone| {
        let send = phone.attempt("m");
        phone.results(&send, [refused(ErrorCode::NotFound)]);
        let probe = phone.probe();
        phone.refuse(&probe.id, refusal(ErrorCode::NotFound));
    },
    |phone| {
        phone.mark_read(at(2));
        let read = phone.read();
        phone.refuse_cursor(&read, refusal(ErrorCode::NotFound));
    },
    |phone| {
        load(phone, Some(2));
        let asked = phone.history();
        phone.refuse(&asked.id, refusal(ErrorCode::NotFound));
    },
];

#[test]
fn a_conversation_that_the_server_does_not_know_is_opened_anew_by_itself_or_by_the_user() {
    for (lose, by_itself) in NOT_FOUND.into_iter().flat_map(|lose| [(lose, true), (lose, false)]) {
        let mut phone = Phone::live_at(3);
        lose(&mut phone);
        assert_eq!((phone.row().with.clone(), phone.row().have), (None, at(3)), "what is here stays");
        if !by_itself {
            phone.restart();
            phone.go_live([]);
            open_with(&mut phone, "bob", "o");
        }
        let asked = phone.open();
        assert_eq!(asked.with, user("bob"));
        opened(&mut phone, &asked, at_epoch(2, 1));
        phone.pass(1_000);
        let sync = phone.sync();
        assert_eq!(sync.conversations[0].after, at(3));
        phone.refuse_page(&sync, restored_to(Position::ZERO));
        phone.shown.clear();
        let sync = phone.sync();
        phone.page(&sync, entries(2, [1]), true);
        assert_eq!((phone.entries_shown(), phone.row().with.clone()), (vec![1], Some(user("bob"))));
        assert_eq!(phone.store.entries.len(), 1);
    }
}

#[test]
fn a_server_that_opens_what_it_does_not_know_is_asked_once() {
    let mut phone = Phone::live_at(3);
    for round in 0..3 {
        let sync = phone.gap_before(11 + round);
        phone.refuse_page(&sync, refusal(ErrorCode::NotFound));
        if round == 0 {
            let asked = phone.open();
            opened(&mut phone, &asked, at(3));
            phone.pass(1_000);
            let sync = phone.sync();
            phone.refuse_page(&sync, refusal(ErrorCode::NotFound));
        }
        phone.pass(1_000);
        assert!(phone.sent.is_empty(), "it is left until something new is heard of it");
    }
}

fn writes_to(phone: &mut Phone, name: &str, id: &str) {
    let (client_message_id, opening) = (message_id(id), message_id(&format!("o-{id}")));
    phone.does(Act::ComposeTo { user: user(name), client_message_id, opening, body: body(id) });
}

// holds: L2
#[test]
fn a_message_to_somebody_new_is_kept_until_there_is_a_conversation_and_sent_then() {
    let mut phone = Phone::new();
    writes_to(&mut phone, "bob", "m");
    writes_to(&mut phone, "bob", "m"); // a double tap
    writes_to(&mut phone, "carol", "c");
    writes_to(&mut phone, "bob", "n");
    let held = |name, id| Shown::Held { user: user(name), client_message_id: message_id(id) };
    assert_eq!(phone.shown, [held("bob", "m"), held("carol", "c"), held("bob", "n")]);
    // A process that ends loses none of them, and asks with the same ids.
    phone.restart();
    phone.go_live([]);
    let (first, second) = (phone.open(), phone.open());
    assert_eq!([&first, &second].map(|open| open.client_message_id.clone()), [message_id("o-c"), message_id("o-m")]);
    opened(&mut phone, &second, at(1));
    assert_eq!((phone.anchors(), phone.store.held.len()), (vec![at(1), at(1)], 1));
    assert_eq!(ids(&phone.send()), ["m", "n"]);
    assert_eq!(phone.outgoing_shown(), [("m".to_owned(), OutgoingState::Waiting), ("n".to_owned(), OutgoingState::Waiting)]);
    // With somebody who is known there is nothing to hold.
    writes_to(&mut phone, "bob", "p");
    assert_eq!((phone.anchors().len(), phone.store.held.len()), (3, 1));
    phone.refuse(&first.id, refusal(ErrorCode::BadRequest));
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::Open { user: with, .. })) if *with == user("carol")));
    assert!(phone.store.held.is_empty(), "it goes nowhere");
}

#[test]
fn a_conversation_that_was_not_found_and_is_there_all_the_same_goes_on() {
    let mut phone = Phone::live_at(3);
    NOT_FOUND[3](&mut phone);
    phone.open();
    phone.breaks();
    let hello = phone.hello();
    assert!(hello.known.is_empty());
    phone.hello_answered(hello, [row(at(3), at(1))], None);
    assert_eq!((phone.row().with.clone(), phone.sent.len()), (Some(user("bob")), 1), "it is opened all the same");
    let mut phone = Phone::live_at(3);
    NOT_FOUND[3](&mut phone);
    open_with(&mut phone, "bob", "o");
    let asked = phone.open();
    opened(&mut phone, &asked, at(3));
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    assert_eq!((phone.row().have, phone.store.entries.len(), phone.row().with.clone()), (at(3), 3, Some(user("bob"))));
}

#[test]
fn a_conversation_that_is_refused_cannot_be_had() {
    let mut phone = Phone::live(&Shelf::default(), []);
    open_with(&mut phone, "alice", "o");
    let asked = phone.open();
    phone.refuse(&asked.id, refusal(ErrorCode::BadRequest));
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::Open { user: with, .. })) if *with == user("alice")));
    phone.pass(10_000);
    assert!(phone.sent.is_empty());
}
