//! Changes of a message and of a group: their way through the outbox, and what becomes of messages by them.

use chatlane_protocol::frames::ChangeOutcome;
use chatlane_protocol::{
    Entry, EntryKind, ErrorCode, Message, Outcome, Reacting, ReactionChange, ReactionKey, Request, Role, Seq, ServerFrame,
};
use chatlane_session::{Draft, OutboxState, OutgoingState, Shown};

use crate::phone::*;

fn seq(number: u64) -> Seq {
    at(number).seq
}

fn key() -> ReactionKey {
    ReactionKey::new("👍").unwrap()
}

fn edit(text: &str) -> Draft {
    Draft::Edit { target: seq(2), body: body(text) }
}

/// All changes that there are, and the entry of each.
fn changes() -> Vec<(Draft, EntryKind)> {
    let users = || vec![user("carol")];
    vec![
        (edit("e"), EntryKind::Edit { target: seq(2), body: Some(body("e")) }),
        (Draft::Delete { target: seq(2) }, EntryKind::Deletion { target: seq(2) }),
        (
            Draft::react(seq(2), key(), ReactionChange::Add),
            EntryKind::Reaction(Reacting { target: seq(2), key: key(), change: ReactionChange::Add }),
        ),
        (Draft::Add { users: users() }, EntryKind::Added { users: users() }),
        (Draft::Remove { users: users() }, EntryKind::Removed { users: users() }),
        (Draft::Leave { successor: None }, EntryKind::Left { successor: None }),
        (Draft::Role { user: user("bob"), role: Role::Admin }, EntryKind::Role { user: user("bob"), role: Role::Admin }),
        (Draft::Settings { settings: titled("Tea") }, EntryKind::Settings { settings: titled("Tea") }),
        (Draft::Close, EntryKind::Closed),
    ]
}

fn own(number: u64, id: &str, kind: EntryKind) -> Entry {
    Entry { kind, ..own_entry(id, number) }
}

fn in_group() -> Phone {
    Phone::live(&knows_group(2), [])
}

#[test]
fn a_change_is_stored_then_attempted_and_repeated_as_it_was() {
    for (draft, _) in changes() {
        let mut phone = in_group();
        phone.slow_store = true;
        phone.write("c", draft.clone());
        assert!(phone.sent.is_empty(), "not in the store yet");
        phone.commit();
        let first = change_of(&phone.next()).unwrap();
        assert_eq!(first, (d1(), message_id("c"), at(2), draft));
        phone.slow_store = false;
        phone.entries_come(vec![entry(1, 3)]);
        phone.reconnects([]);
        assert_eq!(change_of(&phone.next()).unwrap(), first);
        phone.restart();
        phone.go_live([]);
        assert_eq!(change_of(&phone.next()).unwrap(), first);
    }
}

#[test]
fn a_change_is_settled_by_its_answer_or_by_its_entry_and_shown_once() {
    for (draft, kind) in changes() {
        for outcome in [ChangeOutcome::Ok(stored(3)), ChangeOutcome::Duplicate(stored(3))] {
            let mut phone = in_group();
            phone.write("c", draft.clone());
            let request = phone.next();
            phone.changed(&request, outcome);
            assert!(phone.shows_stored("c", 3) && phone.store.outbox.is_empty());
            assert_eq!(phone.row().have, at(2), "what came of it only the entry says");
            phone.entries_come(vec![own(3, "c", kind.clone())]);
            assert_eq!((phone.row().have, phone.outgoing_shown()), (at(3), vec![]));
        }
        let mut phone = in_group();
        phone.write("c", draft);
        phone.entries_come(vec![own(3, "c", kind)]);
        assert!(phone.store.outbox.is_empty() && phone.shows_stored("c", 3));
    }
}

#[test]
fn the_entry_of_a_change_that_is_not_pushed_is_asked_for() {
    let mut phone = in_group();
    phone.write("c", Draft::Add { users: vec![user("carol")] });
    let request = phone.next();
    phone.changed(&request, ChangeOutcome::Ok(stored(3)));
    phone.pass(1_000);
    assert_eq!(phone.sync().conversations[0].after, at(2));
}

#[test]
fn a_change_that_changes_nothing_is_done() {
    let mut phone = in_group();
    phone.write("c", Draft::Add { users: vec![user("carol")] });
    let request = phone.next();
    phone.changed(&request, ChangeOutcome::Unchanged);
    assert_eq!(phone.outgoing_shown().pop(), Some(("c".to_owned(), OutgoingState::Unchanged)));
    assert!(phone.store.outbox.is_empty());
}

#[test]
fn a_change_under_a_used_name_fails_and_stays() {
    let mut phone = in_group();
    phone.write("c", Draft::Close);
    let request = phone.next();
    phone.changed(&request, ChangeOutcome::Conflict(stored(2)));
    assert_eq!(phone.failure_shown(), Some(ErrorCode::BadRequest));
    phone.entries_come(vec![own(3, "c", EntryKind::Added { users: vec![user("carol")] })]);
    assert_eq!(phone.store.outbox.len(), 1, "that is the other one");
}

#[test]
fn a_change_that_is_refused_for_good_is_looked_for_and_fails() {
    for code in [ErrorCode::Forbidden, ErrorCode::MembersFull, ErrorCode::NoMessage, ErrorCode::NotEditable, ErrorCode::ReactionsFull] {
        let mut phone = in_group();
        phone.write("c", edit("e"));
        let id = phone.next().id().clone();
        phone.refuse(&id, refusal(code));
        assert!(phone.outgoing_shown().iter().all(|(_, state)| *state == OutgoingState::Waiting));
        let probe = phone.probe();
        phone.probed(&probe, &[], at(2), true);
        assert_eq!(phone.failure_shown(), Some(code));
    }
}

#[test]
fn a_change_that_is_put_off_is_repeated_after_a_pause() {
    let mut phone = in_group();
    phone.write("c", edit("e"));
    let id = phone.next().id().clone();
    phone.refuse(&id, refusal(ErrorCode::Busy).after_ms(1_000));
    phone.pass(999);
    assert!(phone.sent.is_empty());
    phone.pass(501);
    assert!(change_of(&phone.next()).is_some());
}

#[test]
fn the_anchor_of_a_change_moves_as_that_of_a_message_does() {
    let mut phone = in_group();
    phone.write("c", edit("e"));
    let request = phone.next();
    phone.push([3, 4]);
    let stale = chatlane_protocol::Refusal { tail: Some(at(4)), ..refusal(ErrorCode::AnchorStale) };
    phone.refuse(request.id(), stale);
    assert_eq!(change_of(&phone.next()).unwrap().2, at(4));
    assert_eq!(phone.store.outbox.values().next().unwrap().anchor, at(4));
}

#[test]
fn changes_and_messages_keep_their_order_and_one_request_is_in_flight() {
    let mut phone = in_group();
    phone.compose("a");
    let first = phone.send();
    phone.compose("b");
    phone.compose("c");
    phone.write("d", edit("e"));
    phone.write("e", Draft::Delete { target: seq(2) });
    phone.compose("f");
    assert!(phone.sent.is_empty());
    phone.results(&first, [Outcome::Ok(stored(3))]);
    let send = phone.send();
    assert_eq!(ids(&send), ["b", "c"]);
    phone.results(&send, [Outcome::Ok(stored(4)), Outcome::Ok(stored(5))]);
    for (id, at) in [("d", 6), ("e", 7)] {
        let request = phone.next();
        assert_eq!(change_of(&request).unwrap().1, message_id(id));
        assert!(phone.sent.is_empty());
        phone.changed(&request, ChangeOutcome::Ok(stored(at)));
    }
    assert_eq!(ids(&phone.send()), ["f"]);
}

#[test]
fn a_late_answer_settles_its_change() {
    let mut phone = in_group();
    phone.write("c", edit("e"));
    let request = phone.next();
    phone.gateway_fails();
    phone.changed(&request, ChangeOutcome::Ok(stored(3)));
    assert!(phone.shows_stored("c", 3) && phone.store.outbox.is_empty());
    phone.pass(1_000);
    assert!(phone.sent.iter().all(|(_, request)| change_of(request).is_none()));
}

#[test]
fn a_change_that_fits_into_no_request_fails() {
    let mut phone = in_group();
    phone.write("c", Draft::Edit { target: seq(2), body: chatlane_protocol::Body::text("x".repeat(40_000)).unwrap() });
    let probe = phone.probe();
    phone.probed(&probe, &[], at(2), true);
    assert_eq!(phone.failure_shown(), Some(ErrorCode::TooLarge));
}

#[test]
fn a_message_says_what_it_answers_and_whom_it_mentions_and_is_stored_so() {
    let mut phone = in_group();
    phone.write("m", Draft::Message { body: body("m"), reply_to: Some(seq(2)), mentions: vec![user("bob")] });
    let send = phone.send();
    assert_eq!((send.messages[0].reply_to, &send.messages[0].mentions), (Some(seq(2)), &vec![user("bob")]));
    phone.results(&send, [Outcome::Ok(stored(3))]);
    let EntryKind::Message(kept) = &phone.store.entries[&(d1(), seq(3))].kind else { panic!("a message") };
    assert_eq!((kept.reply_to, &kept.mentions), (Some(seq(2)), &vec![user("bob")]));
}

#[test]
fn an_own_message_that_was_edited_or_deleted_meanwhile_settles_its_row() {
    let edited = EntryKind::Message(Message { edited: Some(seq(9)), ..body("other").into() });
    for kind in [edited, EntryKind::Deleted] {
        let (mut phone, _) = Phone::sending(2);
        phone.entries_come(vec![own(3, "m", kind)]);
        assert!(phone.store.outbox.is_empty() && phone.shows_stored("m", 3));
    }
}

#[test]
fn a_deletion_takes_the_words_out_of_the_store_and_out_of_the_outbox() {
    let mut phone = in_group();
    phone.write("x", edit("secret"));
    let _in_flight = phone.next();
    phone.write("y", edit("secret too"));
    phone.entries_come(vec![entry_of(3, EntryKind::Edit { target: seq(2), body: Some(body("edited")) })]);
    phone.outgoing_shown();
    phone.entries_come(vec![entry_of(4, EntryKind::Deletion { target: seq(2) })]);
    assert!(phone.store.outbox.is_empty());
    assert_eq!(phone.store.entries[&(d1(), seq(2))].kind, EntryKind::Deleted);
    assert_eq!(phone.store.entries[&(d1(), seq(3))].kind, EntryKind::Edit { target: seq(2), body: None });
    let failed = phone.outgoing_shown();
    assert!(failed.iter().all(|(_, state)| matches!(state, OutgoingState::Failed(refusal) if refusal.code == ErrorCode::NoMessage)));
    assert_eq!(failed.len(), 2);
}

#[test]
fn messages_are_folded_with_what_comes_about_them_live_and_by_sync() {
    let mut phone = Phone::live(&knows_group(2), [group_row(at(3))]);
    let sync = phone.sync();
    let newer = Message { edited: Some(seq(5)), ..body("at 5").into() };
    let edits = [(4, "at 4"), (5, "at 5")].map(|(at, text)| entry_of(at, EntryKind::Edit { target: seq(3), body: Some(body(text)) }));
    let reaction = EntryKind::Reaction(Reacting { target: seq(2), key: key(), change: ReactionChange::Add });
    let [first, second] = edits;
    phone.page(&sync, vec![entry_of(3, EntryKind::Message(newer)), first, second, own(6, "r", reaction)], true);
    let EntryKind::Message(kept) = &phone.store.entries[&(d1(), seq(3))].kind else { panic!("a message") };
    assert_eq!((&kept.body, kept.edited), (&body("at 5"), Some(seq(5))), "an older edit takes nothing back");
    let EntryKind::Message(kept) = &phone.store.entries[&(d1(), seq(2))].kind else { panic!("a message") };
    assert_eq!((kept.reactions[0].count, kept.reactions[0].mine, kept.reactions_to), (1, Some(true), Some(seq(6))));
    assert_eq!(phone.entries_shown(), [3, 4, 5, 6], "each is shown in its place");
}

#[test]
fn a_page_of_history_that_was_read_before_a_change_is_shown_and_stored_with_it() {
    let mut store = knows_group(4);
    store.rows.get_mut(&d1()).unwrap().from = at(2);
    store.entries.retain(|(_, seq), _| *seq > at(2).seq);
    let mut phone = Phone::live(&store, []);
    phone.does(chatlane_session::Act::LoadHistory { conversation: d1(), before: None });
    let asked = phone.history();
    phone.entries_come(vec![entry_of(5, EntryKind::Deletion { target: seq(2) })]);
    phone.older(&asked, vec![entry(1, 1), entry(1, 2)], true);
    let shown = phone.shown.iter().find_map(|shown| if let Shown::History { entries, .. } = shown { Some(entries) } else { None });
    assert_eq!((&shown.unwrap()[1].kind, &phone.store.entries[&(d1(), seq(2))].kind), (&EntryKind::Deleted, &EntryKind::Deleted));
}

#[test]
fn a_place_only_waits_for_nothing() {
    let mut phone = in_group();
    let kinds = [EntryKind::Hidden, EntryKind::Deleted, EntryKind::Edit { target: seq(2), body: None }];
    phone.entries_come((3..).zip(kinds).map(|(seq, kind)| entry_of(seq, kind)).collect());
    assert_eq!((phone.row().have, phone.entries_shown()), (at(5), vec![3, 4, 5]));
    let EntryKind::Message(kept) = &phone.store.entries[&(d1(), seq(2))].kind else { panic!("a message") };
    assert_eq!((&kept.body, kept.edited), (&body("b-1-2"), None));
    phone.pass(60_000);
    assert!(phone.sent.is_empty());
}

#[test]
fn an_entry_of_a_known_name_that_says_something_else_keeps_its_place() {
    let mut phone = in_group();
    let text = r#"{"type":"entries","conversation":"d1","entries":[{"position":{"epoch":1,"seq":3},"sender":"bob","client_message_id":"x",
        "time_ms":0,"count":2,"kind":"reaction","to":[2]}]}"#;
    phone.receive_text(phone.socket(), text);
    let kept = &phone.store.entries[&(d1(), seq(3))];
    assert_eq!((&kept.kind, phone.row().have), (&EntryKind::Unknown, at(3)));
    assert!(chatlane_protocol::frames::encode(kept).contains(r#""to":[2]"#));
}

#[test]
fn an_answer_of_another_change_settles_nothing() {
    let mut phone = in_group();
    phone.write("c", edit("e"));
    let request = phone.next();
    let id = request.id().clone();
    phone.receive(&ServerFrame::Ping(chatlane_protocol::frames::PingAnswer {
        id,
        server_time_ms: chatlane_protocol::UnixMillis::ZERO,
        resync: false,
        conversations: vec![],
    }));
    assert_eq!(phone.session.outbox().next().unwrap().state, OutboxState::Waiting);
    phone.pass(500);
    assert!(matches!(phone.next(), Request::Edit(_)));
}

/// What a message was before an edit that a restore took back, the device does not know: the log does.
#[test]
fn a_restore_that_took_an_amendment_back_makes_the_conversation_begin_anew() {
    let edited = EntryKind::Edit { target: seq(2), body: Some(body("edited")) };
    let tells = EntryKind::Message(Message { reactions_to: Some(seq(9)), ..body("x").into() });
    for (taken, common, anew) in [(edited.clone(), 3, true), (edited, 4, false), (tells, 5, true), (EntryKind::Hidden, 3, false)] {
        let mut phone = in_group();
        phone.entries_come(vec![entry(1, 3), entry_of(4, taken), entry(1, 5)]);
        phone.restart();
        phone.go_live([]);
        phone.compose("m");
        let send = phone.send();
        phone.results(&send, [Outcome::Refused(restored_to(at(common)))]);
        let left = if anew { 0 } else { common };
        let shown = phone
            .shown
            .iter()
            .rev()
            .find_map(|shown| if let Shown::RolledBack { position, .. } = shown { Some(position.seq) } else { None });
        assert_eq!(shown.unwrap_or(at(5).seq).get(), left);
        assert_eq!((phone.store.entries.len() as u64, phone.anchors()), (left, vec![at(common)]));
    }
}
