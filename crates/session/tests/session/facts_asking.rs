//! What the user asks for: older entries, a conversation with somebody.

use chatlane_protocol::frames::{ConversationHead, CursorOutcome, CursorResult, CursorsAnswer, HistoryAnswer, OpenAnswer, SyncOutcome};
use chatlane_protocol::request::{History, Open};
use chatlane_protocol::{Entry, ErrorCode, Outcome, Position, Refusal, Request, Seq, ServerFrame};
use chatlane_session::{Act, Failure, Input, OutgoingState, Shown};

use crate::phone::*;

/// A phone that began `d1` at entry 900 and holds nothing before it.
fn begun_late() -> Phone {
    let mut phone = Phone::new();
    let mut row = row(at(900), at(890));
    row.last = Some(entry(1, 900));
    phone.go_live(vec![row]);
    phone.shown.clear();
    phone
}

fn load(phone: &mut Phone, before: Option<u64>) {
    let before = before.map(|seq| Seq::try_from(seq).unwrap());
    phone.input(Input::Do(Act::LoadHistory { conversation: d1(), before }));
}

fn history(phone: &mut Phone) -> History {
    let Request::History(history) = phone.next() else { panic!("a history") };
    history
}

fn older(phone: &mut Phone, asked: &History, entries: Vec<Entry>, done: bool) {
    phone.receive(&ServerFrame::History(HistoryAnswer { id: asked.id.clone(), conversation: d1(), entries, done }));
}

#[test]
fn history_is_shown_and_kept_where_it_joins() {
    let mut phone = begun_late();
    load(&mut phone, None);
    let asked = history(&mut phone);
    assert_eq!(asked.before, Some(at(900).seq));
    let entries: Vec<_> = (880..900).map(|seq| entry(1, seq)).collect();
    older(&mut phone, &asked, entries.clone(), false);
    assert!(phone.shown.contains(&Shown::History { conversation: d1(), entries, done: false }));
    assert_eq!((phone.row().from.seq, phone.store.entries.len()), (at(879).seq, 21));
    assert!(phone.entries_shown().is_empty(), "history is no news");
    load(&mut phone, None);
    assert_eq!(history(&mut phone).before, Some(at(880).seq));
}

#[test]
fn history_that_does_not_join_is_shown_and_not_kept() {
    let mut phone = begun_late();
    load(&mut phone, Some(100));
    let asked = history(&mut phone);
    older(&mut phone, &asked, vec![entry(1, 99)], false);
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
    let asked = history(&mut phone);
    older(&mut phone, &asked, (1..900).map(|seq| entry(1, seq)).collect(), true);
    assert_eq!(phone.row().from, Position::ZERO);
}

#[test]
fn history_is_asked_for_again_until_it_is_answered() {
    let mut phone = begun_late();
    load(&mut phone, None);
    load(&mut phone, None);
    history(&mut phone);
    assert!(phone.sent.is_empty(), "asked twice, wanted once");
    phone.gateway_fails();
    phone.pass(500);
    let asked = history(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::Unavailable, ""));
    phone.pass(1_000);
    history(&mut phone);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    let asked = history(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::NotFound, ""));
    assert!(phone.shown.iter().any(|shown| matches!(shown, Shown::Failed(Failure::History { .. }))));
    phone.pass(10_000);
    assert!(phone.sent.is_empty());
}

#[test]
fn history_of_another_log_is_not_taken_before_a_sync_has_answered() {
    let mut phone = begun_late();
    load(&mut phone, None);
    let asked = history(&mut phone);
    older(&mut phone, &asked, vec![entry(2, 899)], false);
    assert!(!phone.shown.iter().any(|shown| matches!(shown, Shown::History { .. })));
    phone.pass(1_000);
    assert!(phone.sent.iter().any(|(_, request)| matches!(request, Request::Sync(_))));
}

#[test]
fn history_with_another_entry_where_the_conversation_goes_on_is_not_taken_either() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at_epoch(2, 5_000), at(1))]);
    load(&mut phone, None);
    let asked = history(&mut phone);
    older(&mut phone, &asked, vec![entry(1, 5_000)], false);
    let acknowledged = phone.cursors.iter().any(|request| matches!(request, Request::Ack(_)));
    assert!(phone.store.entries.is_empty() && !acknowledged);
    phone.pass(1_000);
    assert!(phone.sent.iter().any(|(_, request)| matches!(request, Request::Sync(_))));
}

#[test]
fn an_own_message_that_history_brings_is_settled() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.go_live(vec![row(at(5_000), at(1))]);
    phone.next();
    phone.shown.clear();
    load(&mut phone, None);
    let asked = history(&mut phone);
    older(&mut phone, &asked, vec![entry(1, 4_998), own_entry("m", 4_999), entry(1, 5_000)], false);
    assert_eq!(phone.outgoing_shown(), [("m".to_owned(), OutgoingState::Stored(stored(4_999)))]);
    assert_eq!((phone.store.outbox.len(), phone.row().from), (0, at(4_997)));
}

#[test]
fn an_own_message_above_what_the_device_has_is_not_settled_by_history() {
    // L4: whoever stored it may have died before its delivery was queued; `sync`, which brings it for good, sees to that.
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(3), at(1))]);
    phone.compose("m");
    phone.next();
    load(&mut phone, Some(5));
    let asked = history(&mut phone);
    older(&mut phone, &asked, vec![entry(1, 3), own_entry("m", 4)], false);
    assert!(!phone.outgoing_shown().iter().any(|(_, state)| matches!(state, OutgoingState::Stored(_))));
    assert_eq!((phone.store.outbox.len(), phone.row().have), (1, at(3)));
}

#[test]
fn history_that_comes_after_the_conversation_began_anew_is_asked_for_again() {
    let mut phone = begun_late();
    load(&mut phone, None);
    let asked = history(&mut phone);
    phone.receive(&ServerFrame::Entries(chatlane_protocol::frames::Entries { conversation: d1(), entries: vec![entry(1, 4_000)] }));
    phone.pass(1_000);
    assert_eq!(phone.row().have, at(4_000));
    older(&mut phone, &asked, vec![entry(1, 899)], false);
    phone.pass(500);
    assert_eq!(history(&mut phone).before, asked.before);
}

#[test]
fn history_of_an_unknown_conversation_cannot_be_had() {
    let mut phone = Phone::new();
    load(&mut phone, None);
    assert_eq!(phone.shown, [Shown::Failed(Failure::NoConversation(d1()))]);
}

fn open_with(phone: &mut Phone, name: &str, id: &str) {
    phone.input(Input::Do(Act::OpenWith { user: user(name), client_message_id: message_id(id) }));
}

fn open(phone: &mut Phone) -> Open {
    let Request::Open(open) = phone.next() else { panic!("an open") };
    open
}

fn opened(phone: &mut Phone, asked: &Open, head: Position) {
    let conversation = ConversationHead { conversation: d1(), with: Some(asked.with.clone()), head };
    phone.receive(&ServerFrame::Open(OpenAnswer { id: asked.id.clone(), conversation }));
}

fn bob_is_opened() -> Shown {
    Shown::Opened { user: user("bob"), conversation: d1() }
}

#[test]
fn a_conversation_that_is_known_is_opened_at_once() {
    let mut phone = Phone::with(&knows(3));
    open_with(&mut phone, "bob", "o");
    assert_eq!(phone.shown, [bob_is_opened()]);
}

#[test]
fn a_new_conversation_is_asked_for_with_one_id_until_it_is_answered() {
    let mut phone = Phone::new();
    open_with(&mut phone, "bob", "o");
    open_with(&mut phone, "bob", "another");
    phone.go_live(vec![]);
    let asked = open(&mut phone);
    assert!(phone.sent.is_empty());
    phone.gateway_fails();
    phone.pass(500);
    assert_eq!(open(&mut phone).client_message_id, asked.client_message_id);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome(vec![]);
    let again = open(&mut phone);
    phone.refuse(&again.id, Refusal::new(ErrorCode::Busy, "").after_ms(50));
    phone.pass(2_050);
    let again = open(&mut phone);
    assert_eq!(again.client_message_id, message_id("o"));
    opened(&mut phone, &again, at(1));
    assert!(phone.shown.contains(&bob_is_opened()));
    assert_eq!((phone.row().with.clone(), phone.store.rows.len()), (Some(user("bob")), 1));
    phone.push([1]);
    assert_eq!(phone.entries_shown(), [1]);
    phone.compose("m");
    assert_eq!(phone.anchors(), [at(1)]);
}

/// The ways in which a known conversation can turn out not to be there.
const NOT_FOUND: [fn(&mut Phone); 4] = [
    |phone| {
        phone.push([11]);
        phone.pass(1_000);
        let sync = phone.sync();
        phone.pages(&sync, vec![SyncOutcome::Refused(Refusal::new(ErrorCode::NotFound, ""))], true);
    },
    |phone| {
        phone.compose("m");
        let send = phone.send();
        phone.results(&send, vec![Outcome::Refused(Refusal::new(ErrorCode::NotFound, ""))]);
        let probe = phone.probe();
        phone.refuse(&probe.id, Refusal::new(ErrorCode::NotFound, ""));
    },
    |phone| {
        phone.input(Input::Do(Act::MarkRead { conversation: d1(), position: at(2) }));
        let read = phone.read();
        let outcome = CursorOutcome::Refused(Refusal::new(ErrorCode::NotFound, ""));
        let results = vec![CursorResult { conversation: d1(), outcome }];
        phone.receive(&ServerFrame::Read(CursorsAnswer { id: read.id, results }));
    },
    |phone| {
        load(phone, Some(2));
        let asked = history(phone);
        phone.refuse(&asked.id, Refusal::new(ErrorCode::NotFound, ""));
    },
];

#[test]
fn a_conversation_that_the_server_does_not_know_is_opened_anew() {
    for lose in NOT_FOUND {
        let mut phone = Phone::live_at(3);
        lose(&mut phone);
        assert_eq!((phone.row().with.clone(), phone.row().have), (None, at(3)), "what is here stays");
        phone.restart();
        phone.go_live(vec![]);
        open_with(&mut phone, "bob", "o");
        let asked = open(&mut phone);
        opened(&mut phone, &asked, at_epoch(2, 1));
        assert!(phone.shown.contains(&bob_is_opened()));
        phone.pass(1_000);
        let sync = phone.sync();
        assert_eq!(sync.conversations[0].after, at(3));
        let mut restored = Refusal::new(ErrorCode::EpochChanged, "");
        restored.common = Some(Position::ZERO);
        phone.pages(&sync, vec![SyncOutcome::Refused(restored)], true);
        phone.shown.clear();
        let sync = phone.sync();
        phone.page(&sync, vec![entry(2, 1)], true);
        assert_eq!((phone.entries_shown(), phone.row().with.clone()), (vec![1], Some(user("bob"))));
        assert_eq!(phone.store.entries.len(), 1);
    }
}

#[test]
fn a_conversation_that_was_not_found_and_is_there_all_the_same_goes_on() {
    let mut phone = Phone::live_at(3);
    NOT_FOUND[3](&mut phone);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    let hello = phone.hello();
    assert!(hello.known.is_empty());
    phone.receive(&ServerFrame::Hello(Box::new(hello_answer(hello.id, vec![row(at(3), at(1))], None))));
    assert_eq!((phone.row().with.clone(), phone.sent.len()), (Some(user("bob")), 0));
    let mut phone = Phone::live_at(3);
    NOT_FOUND[3](&mut phone);
    open_with(&mut phone, "bob", "o");
    let asked = open(&mut phone);
    opened(&mut phone, &asked, at(3));
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    assert_eq!((phone.row().have, phone.store.entries.len(), phone.row().with.clone()), (at(3), 3, Some(user("bob"))));
}

#[test]
fn a_conversation_that_is_refused_cannot_be_had() {
    let mut phone = Phone::new();
    phone.go_live(vec![]);
    open_with(&mut phone, "alice", "o");
    let asked = open(&mut phone);
    phone.refuse(&asked.id, Refusal::new(ErrorCode::BadRequest, "with oneself"));
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::Open { user: with, .. })) if *with == user("alice")));
    phone.pass(10_000);
    assert!(phone.sent.is_empty());
}
