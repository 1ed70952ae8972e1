//! Edits, deletions and reactions: what each does to its message, to whom, and what is refused; and replies. Attempts that meet others are the
//! interleaver's.

use chatlane_chat::log::reactions::Reactors;
use chatlane_chat::log::{AmendmentEntry, ChangeEntry, Entry, Kind, MessageEntry, Role};
use chatlane_chat::ports::Put;
use chatlane_chat::requests::history::history;
use chatlane_chat::requests::sync::sync;
use chatlane_chat::testing::builders::{
    caller, entry, message, message_id, position, request_id, seq, session, settings, start, text, user, wire,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::workers::fan_out::{Received, fan_out};
use chatlane_chat::{Did, Done};
use chatlane_protocol::frames::{ChangeOutcome, ServerFrame, Stored, SyncOutcome, encode};
use chatlane_protocol::request::{History, Sync, SyncFrom};
use chatlane_protocol::{
    EntryKind, ErrorCode, GroupSettings, Message, NewMessage, Outcome, Position, Reacting, ReactionChange, ReactionKey, UnixMillis, limits,
};

fn edit(target: u64, body: &str) -> AmendmentEntry {
    AmendmentEntry::Edit { target: seq(target), body: Some(text(body)) }
}

fn deletion(target: u64) -> AmendmentEntry {
    AmendmentEntry::Deletion { target: seq(target) }
}

fn reaction(target: u64, key: &str, change: ReactionChange) -> AmendmentEntry {
    AmendmentEntry::Reaction(Reacting { target: seq(target), key: ReactionKey::new(key).unwrap(), change })
}

fn add(key: &str) -> AmendmentEntry {
    reaction(2, key, ReactionChange::Add)
}

/// One of each role; carol moderates, dave has written entry 2.
fn four() -> Stage {
    let stage = Stage::group(&[("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Moderator), ("dave", Role::Member)]);
    assert!(matches!(stage.send("dave", vec![message("m-1", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
    stage.take_tasks();
    stage
}

fn outcome(stage: &Stage, who: &str, id: &str, kind: AmendmentEntry) -> ChangeOutcome {
    stage.change(who, id, position(1), kind).unwrap().answer.outcome
}

/// It has to be stored.
fn done(stage: &Stage, who: &str, id: &str, kind: AmendmentEntry) -> Entry {
    let outcome = outcome(stage, who, id, kind);
    assert!(matches!(outcome, ChangeOutcome::Ok(_)), "{id}: {outcome:?}");
    stage.entries().pop().unwrap()
}

/// Why it was refused; nothing is stored or changed, and nothing queued.
fn refused(stage: &Stage, who: &str, kind: &AmendmentEntry) -> ErrorCode {
    let before = format!("{:?}", *stage.ports.memory.state());
    let refused = stage.change(who, "refused", position(1), kind.clone()).unwrap_err();
    assert_eq!(format!("{:?}", *stage.ports.memory.state()), before, "{kind:?}");
    refused.to_wire().code
}

fn said(stage: &Stage, number: usize) -> MessageEntry {
    match &stage.entries()[number - 1].kind {
        Kind::Message(message) => message.clone(),
        other => panic!("no message: {other:?}"),
    }
}

/// What `who` is told of entry `number` by `history`.
fn told(stage: &Stage, who: &str, number: u64) -> EntryKind {
    let request =
        History { id: request_id("r-1"), conversation: stage.conversation.clone(), before: Some(seq(number + 1)), limit: Some(1) };
    let answer = block_on(history(&stage.ports, &stage.settings.keys.users, &caller(who), &request)).unwrap().answer;
    answer.entries.into_iter().next_back().expect("an entry").kind
}

fn synced(stage: &Stage, who: &str, after: Position) -> Vec<EntryKind> {
    let conversations = vec![SyncFrom { conversation: stage.conversation.clone(), after }];
    let answer = block_on(sync(&stage.ports, &stage.settings, &caller(who), &Sync { id: request_id("r-1"), conversations, ack: vec![] }));
    match answer.unwrap().answer.pages.remove(0).outcome {
        SyncOutcome::Ok(missed) => missed.entries.into_iter().map(|entry| entry.kind).collect(),
        SyncOutcome::Refused(refusal) => panic!("{refusal:?}"),
    }
}

// --- edits

#[test]
fn an_edit_changes_what_its_message_says_and_nothing_else() {
    let stage = four();
    let was = stage.entries()[1].clone();
    let Done { answer, did } = stage.change("dave", "edit-1", position(1), edit(2, "second")).unwrap();
    assert_eq!(answer.outcome, ChangeOutcome::Ok(Stored { position: position(3), time_ms: start(), count: 1 }));
    assert_eq!(did, Did { stored: 1, attempts: 1, tasks: 1, ..Did::default() });
    let expected =
        MessageEntry { body: text("second"), edits: vec![seq(3)], edits_bytes: encode(&text("second")).len(), ..said(&four(), 2) };
    assert_eq!(stage.entries()[1], Entry { kind: Kind::Message(expected.clone()), ..was });
    assert_eq!(stage.entries()[2].kind, Kind::Amendment(edit(2, "second")));
    let as_told = Message { edited: Some(seq(3)), ..Message::from(text("second")) };
    assert_eq!(told(&stage, "bob", 2), EntryKind::Message(as_told.clone()));
    let edit = EntryKind::Edit { target: seq(2), body: Some(text("second")) };
    assert_eq!(synced(&stage, "bob", position(1)), [EntryKind::Message(as_told), edit]);
}

// holds: L2
#[test]
fn a_message_that_was_edited_is_still_the_answer_to_its_retry() {
    let stage = four();
    done(&stage, "dave", "edit-1", edit(2, "second"));
    assert!(matches!(stage.send("dave", vec![message("m-1", position(1))]).unwrap()[..], [Outcome::Duplicate(_)]));
    let other = NewMessage::new(message_id("m-1"), position(1), text("second"));
    assert!(matches!(stage.send("dave", vec![other]).unwrap()[..], [Outcome::Conflict(_)]));
    assert!(matches!(outcome(&stage, "dave", "edit-1", edit(2, "second")), ChangeOutcome::Duplicate(_)));
    for other in [edit(2, "third"), deletion(2), add("+1")] {
        assert!(matches!(outcome(&stage, "dave", "edit-1", other), ChangeOutcome::Conflict(_)));
    }
    assert!(matches!(outcome(&stage, "dave", "m-1", edit(2, "third")), ChangeOutcome::Conflict(_)));
}

// holds: M1
#[test]
fn only_the_sender_edits_for_a_day_twenty_times_a_message_that_is_there() {
    let stage = four();
    assert_eq!(outcome(&stage, "dave", "same", edit(2, "m-1")), ChangeOutcome::Unchanged);
    assert_eq!(refused(&stage, "alice", &edit(2, "mine")), ErrorCode::Forbidden);
    for none in [1, 3, 99, limits::INTEGER_MAX] {
        assert_eq!(refused(&stage, "dave", &edit(none, "x")), ErrorCode::NoMessage);
    }
    for number in 0..limits::EDITS_MAX {
        done(&stage, "dave", &format!("edit-{number}"), edit(2, &format!("{number}")));
        stage.ports.memory.clock.advance_ms(1000);
    }
    assert_eq!(refused(&stage, "dave", &edit(2, "x")), ErrorCode::NotEditable);
    assert!(matches!(stage.send("dave", vec![message("m-2", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
    let sent_at = stage.entries()[22].time;
    stage.ports.memory.clock.set(sent_at.plus_ms(limits::EDITED_WITHIN_MS + 1));
    assert_eq!(refused(&stage, "dave", &edit(23, "x")), ErrorCode::NotEditable);
    stage.ports.memory.clock.set(sent_at.plus_ms(limits::EDITED_WITHIN_MS));
    done(&stage, "dave", "in-time", edit(23, "x"));
}

// holds: M1
#[test]
fn the_edits_of_a_message_have_so_many_bytes_in_all() {
    let stage = four();
    let around = encode(&text("x")).len() - 1;
    let says = |bytes: usize, letter: &str| letter.repeat(bytes - around);
    for (number, bytes) in [25_000, 25_000, limits::EDITS_BYTES_MAX - 50_000 - 100].into_iter().enumerate() {
        done(&stage, "dave", &format!("edit-{number}"), edit(2, &says(bytes, if number == 0 { "a" } else { "b" })));
        stage.ports.memory.clock.advance_ms(60_000);
    }
    assert_eq!(refused(&stage, "dave", &edit(2, &says(101, "c"))), ErrorCode::NotEditable);
    done(&stage, "dave", "last", edit(2, &says(100, "c")));
}

#[test]
fn an_edit_by_which_its_message_would_not_fit_a_frame_is_too_large() {
    let stage = four();
    let mentions = (0..limits::MENTIONS_MAX).map(|n| user(&format!("{n:02}{}", "\u{1}".repeat(126)))).collect();
    let crowded = NewMessage { mentions, ..message("crowded", position(1)) };
    assert!(matches!(stage.send("dave", vec![crowded]).unwrap()[..], [Outcome::Ok(_)]));
    assert_eq!(refused(&stage, "dave", &edit(3, &"x".repeat(20_000))), ErrorCode::TooLarge);
    assert_eq!(refused(&stage, "dave", &edit(2, &"x".repeat(29_000))), ErrorCode::TooLarge);
    // As large as it can be sent, it can be edited.
    let stage = four();
    let longest = "y".repeat(28_300);
    assert!(matches!(
        stage.send("dave", vec![NewMessage::new(message_id("long"), position(1), text(&longest))]).unwrap()[..],
        [Outcome::Ok(_)]
    ));
    stage.ports.memory.clock.advance_ms(60_000);
    done(&stage, "dave", "long-edit", edit(3, &"x".repeat(28_300)));
}

// --- deletions

// holds: M1
#[test]
fn a_deletion_takes_the_words_of_the_message_and_of_its_edits_and_leaves_the_place() {
    for who in ["dave", "carol", "alice"] {
        let stage = four();
        done(&stage, "dave", "edit-1", edit(2, "second secret"));
        done(&stage, "bob", "react", add("+1"));
        let was = stage.entries()[1].clone();
        let entry = done(&stage, who, "delete", deletion(2));
        assert_eq!((entry.position, entry.facts.count), (position(5), 1));
        assert_eq!(stage.entries()[1], Entry { kind: Kind::Deleted, ..was });
        assert!(wire(&stage.entries()).iter().all(|entry| !encode(entry).contains(r#""text""#)), "words are left");
        assert_eq!(told(&stage, "bob", 2), EntryKind::Deleted);
        assert_eq!(told(&stage, "bob", 3), EntryKind::Edit { target: seq(2), body: None });
        // The names stay used.
        assert!(matches!(
            stage.send("dave", vec![NewMessage::new(message_id("m-1"), position(1), text("else"))]).unwrap()[..],
            [Outcome::Duplicate(_)]
        ));
        assert!(matches!(outcome(&stage, "dave", "edit-1", edit(2, "other")), ChangeOutcome::Duplicate(_)));
        assert!(matches!(outcome(&stage, "dave", "edit-1", edit(1, "other")), ChangeOutcome::Conflict(_)));
        assert_eq!(outcome(&stage, who, "again", deletion(2)), ChangeOutcome::Unchanged);
        for late in [edit(2, "late"), add("+1"), reaction(2, "+1", ReactionChange::Remove)] {
            assert_eq!(refused(&stage, "dave", &late), ErrorCode::NoMessage, "{late:?}");
        }
    }
}

/// A restore of a table may have one item of a transaction, and another not.
// holds: L2
#[test]
fn a_deletion_leaves_what_stands_where_a_restore_has_lost_an_edit() {
    let stage = four();
    for (number, words) in [(3, "first"), (4, "second"), (5, "third")] {
        done(&stage, "dave", &format!("edit-{number}"), edit(2, words));
    }
    (3..=5).for_each(|number| stage.remove_entry(number));
    assert!(matches!(stage.send("alice", vec![message("m-2", position(2))]).unwrap()[..], [Outcome::Ok(_)]));
    done(&stage, "alice", "edit-m-2", edit(3, "of alice"));
    let others = stage.entries()[2..].to_vec();
    done(&stage, "dave", "delete", deletion(2));
    assert_eq!((stage.entries()[1].kind.clone(), &stage.entries()[2..4]), (Kind::Deleted, &others[..]));
}

// holds: M1
#[test]
fn others_messages_are_deleted_by_moderators_and_in_a_direct_conversation_by_nobody() {
    let stage = four();
    assert!(matches!(stage.send("alice", vec![message("m-2", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
    assert_eq!(refused(&stage, "dave", &deletion(3)), ErrorCode::Forbidden);
    done(&stage, "carol", "delete", deletion(3));
    for none in [1, 4, 9] {
        assert_eq!(refused(&stage, "alice", &deletion(none)), ErrorCode::NoMessage);
    }
    let direct = Stage::with_entries(2);
    assert_eq!(refused(&direct, "alice", &deletion(2)), ErrorCode::Forbidden);
    done(&direct, "bob", "delete", deletion(2));
}

// --- reactions

// holds: M1
#[test]
fn reactions_are_counted_once_for_each_member_and_told_with_the_own() {
    let stage = four();
    for (who, key) in [("alice", "+1"), ("bob", "+1"), ("bob", "👍")] {
        done(&stage, who, &format!("{key} of {who}"), add(key));
    }
    assert_eq!(outcome(&stage, "bob", "again", add("+1")), ChangeOutcome::Unchanged);
    assert_eq!(outcome(&stage, "carol", "none", reaction(2, "+1", ReactionChange::Remove)), ChangeOutcome::Unchanged);
    let counts = |who| match told(&stage, who, 2) {
        EntryKind::Message(message) => {
            let counts = message.reactions.into_iter().map(|one| (one.key.as_str().to_owned(), one.count, one.mine));
            (counts.collect::<Vec<_>>(), message.reactions_to)
        }
        other => panic!("{other:?}"),
    };
    let two = |bobs| vec![("+1".to_owned(), 2, Some(bobs)), ("👍".to_owned(), 1, Some(bobs))];
    assert_eq!(counts("bob"), (two(true), Some(seq(5))));
    assert_eq!(counts("dave"), (two(false), Some(seq(5))));
    done(&stage, "bob", "off", reaction(2, "+1", ReactionChange::Remove));
    assert_eq!(counts("alice"), (vec![("+1".to_owned(), 1, Some(true)), ("👍".to_owned(), 1, Some(false))], Some(seq(6))));
    done(&stage, "bob", "on again", add("+1"));
    // Who takes entry after entry counts them.
    let EntryKind::Message(by_sync) = synced(&stage, "bob", position(1)).remove(0) else { panic!("a message") };
    assert_eq!((by_sync.reactions, by_sync.reactions_to), (vec![], None));
}

#[test]
fn a_message_has_room_for_twenty_different_reactions() {
    let stage = four();
    for number in 0..limits::REACTION_KEYS_MAX {
        stage.ports.memory.clock.advance_ms(1000);
        done(&stage, "alice", &format!("r-{number}"), add(&format!("{number}")));
    }
    assert_eq!(refused(&stage, "bob", &add("one more")), ErrorCode::ReactionsFull);
    done(&stage, "bob", "one of them", add("0"));
    done(&stage, "alice", "off", reaction(2, "1", ReactionChange::Remove));
    done(&stage, "bob", "another", add("one more"));
    assert_eq!(refused(&stage, "alice", &reaction(1, "+1", ReactionChange::Add)), ErrorCode::NoMessage);
    // A later version may have let in more: those that are there are put and taken away as ever.
    let mut full = stage.ports.memory.state().reactions.values().next().expect("there are some").clone();
    full.counts.insert(ReactionKey::new("of a later version").unwrap(), Reactors { count: 3, users: vec![] });
    stage.ports.memory.state().reactions.values_mut().for_each(|reactions| *reactions = full.clone());
    done(&stage, "bob", "as others", add("of a later version"));
    done(&stage, "bob", "and off", reaction(2, "0", ReactionChange::Remove));
    assert_eq!(refused(&stage, "alice", &reaction(99, "+1", ReactionChange::Add)), ErrorCode::NoMessage);
}

#[test]
fn reactions_leave_half_of_what_the_conversation_admits_to_messages() {
    let stage = four();
    let mut stored = 0;
    let refused = loop {
        let change = if stored % 2 == 0 { ReactionChange::Add } else { ReactionChange::Remove };
        let who = ["alice", "bob", "carol", "dave"][stored / 2 % 4];
        match stage.change(who, &format!("r-{stored}"), position(1), reaction(2, "+1", change)) {
            Ok(_) => stored += 1,
            Err(refused) => break refused.to_wire().code,
        }
    };
    // The bucket holds 60, and the message has taken one.
    assert_eq!((stored, refused), (30, ErrorCode::RateLimited));
    assert!(matches!(stage.send("alice", vec![message("m-2", position(3))]).unwrap()[..], [Outcome::Ok(_)]));
    done(&stage, "dave", "edit", edit(2, "an edit is no reaction"));
}

#[test]
fn edits_and_deletions_take_what_they_rewrite() {
    let stage = four();
    let tokens = || stage.entries().pop().unwrap().facts.bucket.tokens_milli;
    let fill = || stage.change_tail(|facts| facts.bucket.tokens_milli = 60_000);
    for (id, kilobytes, left) in [("short", 0, 59_000), ("long", 5, 54_000), ("longer", 9, 45_000)] {
        fill();
        done(&stage, "dave", id, edit(2, &"x".repeat(kilobytes * 1024 + 1)));
        assert_eq!(tokens(), left, "{id}");
    }
    // Its words go, of 9 KB, and those of its edits, of 14 KB in all.
    let owing = |ms| stage.entries().pop().unwrap().facts.bucket.time == start().plus_ms(ms);
    stage.change_tail(|facts| facts.bucket.tokens_milli = 24_000);
    done(&stage, "carol", "deletion", deletion(2));
    assert!(tokens() == 0 && owing(50), "one token is owed");
    assert_eq!(refused(&stage, "dave", &edit(5, "no message")), ErrorCode::NoMessage);
    assert!(matches!(stage.send("dave", vec![message("m-2", position(3))]).unwrap()[..], [Outcome::Refused(_)]));
    stage.ports.memory.clock.advance_ms(100);
    assert!(matches!(stage.send("dave", vec![message("m-2", position(3))]).unwrap()[..], [Outcome::Ok(_)]));
}

// --- rights

// holds: M1
#[test]
fn a_lock_and_the_role_that_sends_hold_for_what_is_done_to_messages() {
    let set = |settings| ChangeEntry::Settings(settings);
    let stage = four();
    let announced = GroupSettings { send: Some(Role::Moderator), ..GroupSettings::default() };
    stage.change("alice", "announce", position(1), set(announced)).unwrap();
    assert_eq!(refused(&stage, "dave", &edit(2, "x")), ErrorCode::Forbidden);
    done(&stage, "dave", "react", add("+1"));
    done(&stage, "dave", "delete", deletion(2));
    let stage = four();
    let locked = GroupSettings { locked: Some(true), ..GroupSettings::default() };
    stage.change("alice", "lock", position(1), set(locked)).unwrap();
    for kind in [edit(2, "x"), deletion(2), add("+1")] {
        assert_eq!(refused(&stage, "dave", &kind), ErrorCode::Forbidden);
    }
    assert_eq!(refused(&stage, "carol", &deletion(2)), ErrorCode::Forbidden);
    done(&stage, "bob", "react", add("+1"));
    stage.change("alice", "close", position(1), ChangeEntry::Closed).unwrap();
    assert_eq!(refused(&stage, "alice", &add("+1")), ErrorCode::Forbidden);
}

/// Erin is added by entry 3, behind entry 2.
fn erin_is_added(stage: &Stage) {
    stage.change("alice", "add", position(1), ChangeEntry::Added(vec![user("erin")])).unwrap();
}

// holds: M1
#[test]
fn what_is_about_a_message_before_the_joining_is_a_place_only() {
    let stage = four();
    erin_is_added(&stage);
    for kind in [deletion(2), edit(2, "x"), add("+1")] {
        assert_eq!(refused(&stage, "erin", &kind), ErrorCode::NoMessage);
    }
    done(&stage, "dave", "edit", edit(2, "secret"));
    done(&stage, "bob", "react", add("+1"));
    let reply = NewMessage { reply_to: Some(seq(2)), mentions: vec![user("erin")], ..message("reply", position(3)) };
    assert!(matches!(stage.send("dave", vec![reply.clone()]).unwrap()[..], [Outcome::Ok(_)]));
    done(&stage, "dave", "delete", deletion(2));
    let sent = Message { mentions: vec![user("erin")], ..Message::from(text("reply")) };
    let of_erin = [EntryKind::Hidden, EntryKind::Hidden, EntryKind::Message(sent.clone()), EntryKind::Hidden];
    assert_eq!(synced(&stage, "erin", position(3)), of_erin);
    for (number, kind) in (4..).zip(&of_erin) {
        assert_eq!(told(&stage, "erin", number), *kind);
    }
    assert_eq!(synced(&stage, "bob", position(5))[0], EntryKind::Message(Message { reply_to: Some(seq(2)), ..sent }));
    // And so they are pushed.
    stage.deliver_up_to(3);
    for who in ["bob", "erin"] {
        stage.ports.memory.log_in(&user(who), session(&format!("{who}-1")));
    }
    let task = chatlane_chat::testing::builders::task(&stage.conversation, 4, 7);
    let task = chatlane_chat::workers::task::Task { last: position(7), ..task };
    block_on(fan_out(&stage.ports, &settings().keys.users, &task, Received { times: 1, accepted: start() }, UnixMillis::MAX)).unwrap();
    let kinds = |who: &str| -> Vec<EntryKind> {
        let stored = stage.ports.memory.state();
        let frames = stored.posts.iter().filter(|(to, _)| to.as_str() == format!("{who}-1"));
        let entries = frames.flat_map(|(_, frame)| match serde_json::from_str(frame).unwrap() {
            ServerFrame::Entries(entries) => entries.entries,
            other => panic!("{other:?}"),
        });
        entries.map(|entry| entry.kind).collect()
    };
    assert_eq!(kinds("erin"), of_erin);
    assert_eq!(kinds("bob").len(), 4);
    assert!(!kinds("bob").contains(&EntryKind::Hidden));
}

#[test]
fn a_reply_is_to_an_entry_that_its_sender_may_see() {
    let stage = four();
    erin_is_added(&stage);
    let reply = |target| NewMessage { reply_to: Some(seq(target)), ..message(&format!("to-{target}"), position(3)) };
    for (who, target, good) in [("erin", 2, false), ("erin", 4, false), ("erin", 3, true), ("dave", 99, false), ("dave", 2, true)] {
        let outcomes = stage.send(who, vec![reply(target)]).unwrap();
        match &outcomes[..] {
            [Outcome::Ok(_)] => assert!(good, "{who} {target}"),
            [Outcome::Refused(refusal)] => assert_eq!((refusal.code, good), (ErrorCode::NoMessage, false), "{who} {target}"),
            other => panic!("{other:?}"),
        }
    }
    let twice = NewMessage { reply_to: Some(seq(1)), ..reply(2) };
    assert!(matches!(stage.send("dave", vec![twice]).unwrap()[..], [Outcome::Conflict(_)]));
}

/// Their row is read behind the tail, and says what they are behind entries that were not read.
// holds: M1
#[test]
fn who_is_removed_and_added_again_while_the_group_is_locked_is_judged_by_the_log() {
    let locked = |locked| ChangeEntry::Settings(GroupSettings { locked: Some(locked), ..GroupSettings::default() });
    let stage = four();
    stage.change("alice", "add", position(1), ChangeEntry::Added(vec![user("erin")])).unwrap();
    stage.change("alice", "lock", position(1), locked(true)).unwrap();
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("member_consistent", move |memory| {
        let dave = || vec![user("dave")];
        for (id, kind) in [("remove", ChangeEntry::Removed(dave())), ("unlock", locked(false)), ("again", ChangeEntry::Added(dave()))] {
            block_on(chatlane_chat::requests::change::change(memory, &settings(), &caller("alice"), &asked(&lane, id, kind))).unwrap();
        }
    });
    let outcomes = stage.send("dave", vec![message("m-2", position(4))]).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Ok(stored)] if stored.position == position(8)), "{outcomes:?}");
}

// holds: M1
#[test]
fn who_was_removed_is_not_told_what_a_message_says_since() {
    let stage = four();
    stage.change("alice", "remove", position(1), ChangeEntry::Removed(vec![user("bob")])).unwrap();
    done(&stage, "dave", "edit", edit(2, "secret"));
    assert!(matches!(stage.send("dave", vec![message("m-2", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
    assert_eq!(synced(&stage, "bob", position(1)), [EntryKind::Hidden, EntryKind::Removed { users: vec![user("bob")] }]);
    done(&stage, "dave", "delete", deletion(2));
    assert_eq!(synced(&stage, "bob", position(1))[0], EntryKind::Deleted);
}

// holds: M1
#[test]
fn a_reader_who_is_removed_before_an_edit_is_not_told_it() {
    let remove_and_edit = |stage: &Stage, method| {
        let lane = stage.conversation.clone();
        stage.ports.meanwhile(method, move |memory| {
            let removal = asked(&lane, "remove", ChangeEntry::Removed(vec![user("bob")]));
            block_on(chatlane_chat::requests::change::change(memory, &settings(), &caller("alice"), &removal)).unwrap();
            block_on(chatlane_chat::requests::change::change(
                memory,
                &settings(),
                &caller("dave"),
                &asked(&lane, "edit", edit(2, "secret")),
            ))
            .unwrap();
        });
    };
    // The page ends below the removal, and tells of an edit behind it.
    let stage = four();
    remove_and_edit(&stage, "read_back");
    let before = Some(seq(3));
    let request = History { id: request_id("r-1"), conversation: stage.conversation.clone(), before, limit: None };
    let refused = block_on(history(&stage.ports, &stage.settings.keys.users, &caller("bob"), &request)).unwrap_err();
    assert_eq!(refused.to_wire().code, ErrorCode::NotFound);
    let stage = four();
    remove_and_edit(&stage, "read");
    assert_eq!(synced(&stage, "bob", position(1)), [EntryKind::Hidden, EntryKind::Removed { users: vec![user("bob")] }]);
    // A worker that was late, with the task of the message or of one behind it.
    for last in [2, 3] {
        let stage = four();
        assert!(matches!(stage.send("dave", vec![message("m-2", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
        for who in ["alice", "bob"] {
            stage.ports.memory.log_in(&user(who), session(&format!("{who}-1")));
        }
        remove_and_edit(&stage, "read");
        let task = chatlane_chat::testing::builders::task(&stage.conversation, last, last);
        let received = Received { times: 1, accepted: start() };
        block_on(fan_out(&stage.ports, &settings().keys.users, &task, received, UnixMillis::MAX)).unwrap();
        let posts = stage.ports.memory.state().posts.clone();
        assert!(posts.iter().all(|(to, _)| to.as_str() == "alice-1") && !posts.is_empty(), "{last}: {posts:?}");
    }
}

fn asked<K>(lane: &chatlane_protocol::ConversationId, id: &str, kind: K) -> chatlane_chat::requests::change::Asked<K> {
    let draft = chatlane_chat::log::draft::Draft { client_message_id: message_id(id), anchor: position(1), kind };
    chatlane_chat::requests::change::Asked { id: request_id("r-2"), conversation: lane.clone(), draft }
}

// --- attempts that fail

// holds: L2, L3
#[test]
fn an_attempt_whose_answer_is_lost_is_found_by_the_next() {
    for (who, kind) in [("dave", edit(2, "second")), ("dave", deletion(2)), ("bob", add("+1"))] {
        for fault in [Fault::AnswerLost, Fault::Resent] {
            let stage = four();
            stage.ports.on("amend", fault);
            let first = stage.change(who, "a-1", position(1), kind.clone());
            let again = outcome(&stage, who, "a-1", kind.clone());
            assert!(matches!(again, ChangeOutcome::Duplicate(_)), "{again:?}");
            assert!(first.is_err() || matches!(first.unwrap().answer.outcome, ChangeOutcome::Duplicate(_)));
            assert_eq!(stage.entries().len(), 3);
            assert!(!stage.take_tasks().is_empty(), "L4");
        }
        let stage = four();
        stage.ports.on("amend", Fault::Contended);
        done(&stage, who, "a-1", kind.clone());
        assert_eq!(stage.ports.count("amend"), 2);
        for lost in ["amend", "entry_consistent"] {
            let stage = four();
            stage.ports.on(lost, Fault::RequestLost);
            assert_eq!(refused(&stage, who, &kind), ErrorCode::Unavailable);
        }
    }
    let stage = four();
    stage.ports.on("reacted", Fault::RequestLost);
    assert_eq!(refused(&stage, "bob", &add("+1")), ErrorCode::Unavailable);
}

// holds: L2
#[test]
fn what_changes_nothing_is_looked_for_in_the_slot_behind_the_tail() {
    // An own attempt lands between the reads: what was read of the message is behind it.
    let stage = four();
    let lane = stage.conversation.clone();
    stage.ports.meanwhile("entry_consistent", move |memory| {
        block_on(chatlane_chat::requests::change::change(memory, &settings(), &caller("dave"), &asked(&lane, "edit", edit(2, "second"))))
            .unwrap();
    });
    assert!(matches!(outcome(&stage, "dave", "edit", edit(2, "second")), ChangeOutcome::Duplicate(_)));
    assert_eq!(said(&stage, 2).edits, [seq(3)]);
}

#[test]
fn a_reaction_of_the_other_answers_who_has_opened_a_direct_conversation() {
    let stage = Stage::new();
    stage.change_tail(|facts| facts.unanswered = Some(0));
    assert!(matches!(stage.send("alice", vec![message("m-1", position(1))]).unwrap()[..], [Outcome::Ok(_)]));
    let edit = done(&stage, "alice", "edit", edit(2, "second"));
    assert_eq!(edit.facts.unanswered, Some(1));
    let reaction = done(&stage, "bob", "react", add("+1"));
    assert_eq!(reaction.facts.unanswered, None);
}

#[test]
fn a_message_of_before_is_edited_and_deleted_too() {
    let stage = Stage::with_entries(2);
    let one = Entry {
        kind: Kind::Later(chatlane_chat::log::LaterEntry { kind: "poll".to_owned(), wire: None }),
        ..entry(&stage.conversation, 3, "bob")
    };
    assert!(matches!(block_on(chatlane_chat::ports::MessageLog::put(&stage.ports.memory, &one)), Ok(Put::Stored)));
    done(&stage, "bob", "edit", edit(2, "x"));
    for kind in [edit(3, "x"), deletion(3)] {
        assert_eq!(refused(&stage, "bob", &kind), ErrorCode::NoMessage);
    }
}
