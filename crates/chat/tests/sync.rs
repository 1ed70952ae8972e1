//! `sync`: whatever the sizes, a device that asks until it is told "done" has the whole log, once and in order; nobody gets what is not
//! theirs; and what is read depends on what is missing.

use std::collections::BTreeMap;

use chatlane_chat::log::Entry;
use chatlane_chat::ports::{Connection, Creations as _, Failure, MessageLog as _};
use chatlane_chat::requests::sync::sync;
use chatlane_chat::testing::builders::{
    caller, conversation, creation, entry, message_kind, position, request_id, seq, session, start, text, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::memory::Memory;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done};
use chatlane_protocol::frames::{Missed, ServerFrame, Skip, SyncAnswer, SyncOutcome, SyncPage, encode};
use chatlane_protocol::request::{PositionIn, Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry as WireEntry, ErrorCode, Position, Refusal, Seq, UnixMillis, limits};
use proptest::collection::vec;
use proptest::prelude::*;

fn from(conversation: &ConversationId, after: Position) -> SyncFrom {
    SyncFrom { conversation: conversation.clone(), after }
}

fn at(conversation: &ConversationId, number: u64) -> PositionIn {
    PositionIn { conversation: conversation.clone(), position: position(number) }
}

fn ask_with_ack(stage: &Stage, who: &str, conversations: Vec<SyncFrom>, ack: Vec<PositionIn>) -> Result<SyncAnswer, Failure> {
    Ok(ask_and_tell(stage, who, conversations, ack)?.answer)
}

fn ask_and_tell(stage: &Stage, who: &str, conversations: Vec<SyncFrom>, ack: Vec<PositionIn>) -> Result<Done<SyncAnswer>, Failure> {
    let request = Sync { id: request_id("r-1"), conversations, ack };
    block_on(sync(&stage.ports, &stage.settings, &caller(who), &request))
}

/// One page for `who`. Every page fits a WebSocket frame, and the page size too, unless it is a single entry.
fn ask(stage: &Stage, who: &str, conversations: &[SyncFrom]) -> SyncAnswer {
    let answer = ask_with_ack(stage, who, conversations.to_vec(), vec![]).unwrap();
    let entries: usize = answer.pages.iter().map(|page| missed(page).map_or(0, |missed| missed.entries.len())).sum();
    let bytes = encode(&ServerFrame::Sync(answer.clone())).len();
    assert!(bytes <= if entries > 1 { limits::PAGE_BYTES_MAX } else { limits::WEBSOCKET_FRAME_BYTES_MAX }, "{bytes} bytes");
    assert!(
        answer.pages.iter().map(|page| &page.conversation).eq(conversations[..answer.pages.len()].iter().map(|from| &from.conversation))
    );
    answer
}

fn missed(page: &SyncPage) -> Option<&Missed> {
    match &page.outcome {
        SyncOutcome::Ok(missed) => Some(missed),
        SyncOutcome::Refused(_) => None,
    }
}

/// The one conversation's page, where that is all there is.
fn only(answer: &SyncAnswer) -> Missed {
    let [page] = &answer.pages[..] else { panic!("not one page: {answer:?}") };
    let missed = missed(page).unwrap_or_else(|| panic!("refused: {page:?}"));
    assert_eq!(answer.done, missed.done);
    missed.clone()
}

fn refusal(answer: &SyncAnswer) -> Refusal {
    match &answer.pages[..] {
        [SyncPage { outcome: SyncOutcome::Refused(refusal), .. }] => refusal.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Asks as a device does until it is told "done": the entries of each conversation, and how many pages it took.
fn catch_up(stage: &Stage, who: &str, mut left: Vec<SyncFrom>) -> (BTreeMap<ConversationId, Vec<WireEntry>>, usize) {
    let (mut have, mut pages) = (BTreeMap::<ConversationId, Vec<WireEntry>>::new(), 0);
    loop {
        let answer = ask(stage, who, &left);
        pages += 1;
        let mut came = 0;
        for page in &answer.pages {
            let Some(missed) = missed(page) else {
                left.retain(|from| from.conversation != page.conversation);
                came += 1;
                continue;
            };
            let here = left.iter_mut().find(|from| from.conversation == page.conversation).expect("it was asked for");
            here.after = missed.skip.map_or(here.after, |skip| skip.to);
            for entry in &missed.entries {
                assert_eq!(entry.position.seq, here.after.seq.next(), "consecutive");
                here.after = entry.position;
                have.entry(page.conversation.clone()).or_default().push(entry.clone());
            }
            came += missed.entries.len() + usize::from(missed.done);
            if missed.done {
                left.retain(|from| from.conversation != page.conversation);
            }
        }
        assert!(came > 0, "a page without anything on it: {answer:?}");
        assert_eq!(answer.done, left.is_empty());
        if answer.done {
            return (have, pages);
        }
    }
}

fn wire(entries: &[Entry]) -> Vec<WireEntry> {
    entries.iter().map(Entry::to_wire).collect()
}

/// Entry `number`, which says this.
fn saying(conversation: &ConversationId, number: u64, what: &str) -> Entry {
    Entry { kind: message_kind(text(what)), ..entry(conversation, number, "bob") }
}

/// The largest entry that `send` takes: its live frame with the longest numbers is 30 KB.
fn largest(conversation: &ConversationId, number: u64) -> Entry {
    let one = entry(conversation, number, "bob");
    let rest = WireEntry::live_frame_bytes_max(conversation, &one.sender, &one.client_message_id, &text("x")) - 1;
    let mut one = saying(conversation, number, &"x".repeat(limits::ENTRY_BYTES_MAX - rest));
    (one.time, one.facts.count) = (UnixMillis::MAX, limits::INTEGER_MAX);
    one.position.epoch = u32::MAX;
    one
}

/// One more conversation of alice, with entries up to `tail`.
fn add(stage: &Stage, name: &str, tail: u64) -> ConversationId {
    let id = conversation(name);
    assert!(block_on(stage.ports.memory.create(&creation(&id, &user("alice"), &user(&format!("with-{name}"))))).is_ok());
    (2..=tail).for_each(|number| stage.put(&entry(&id, number, "bob")));
    id
}

/// Alice may see the conversation from this entry on.
fn show_from(stage: &Stage, number: u64) {
    show_from_in(&stage.ports.memory, &stage.conversation, number);
}

fn show_from_in(memory: &Memory, conversation: &ConversationId, number: u64) {
    let mut state = memory.state();
    state.inboxes.get_mut(&user("alice")).unwrap().get_mut(conversation).unwrap().visible_from = seq(number);
}

/// Alice is removed, and bob writes what is not meant for her.
fn remove_alice_and_write(conversation: &ConversationId, number: u64) -> impl FnOnce(&Memory) + Send + 'static {
    let secret = saying(conversation, number, "secret");
    move |memory| {
        memory.state().inboxes.get_mut(&user("alice")).unwrap().remove(&secret.conversation);
        assert!(block_on(memory.put(&secret)).is_ok());
    }
}

// --- what comes

// holds: D1
#[test]
fn what_follows_on_the_position_comes_in_order() {
    let stage = Stage::with_entries(5);
    let all = wire(&stage.entries());
    for (after, expected) in [(position(2), &all[2..]), (position(1), &all[1..]), (Position::ZERO, &all[..]), (position(5), &[])] {
        let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!(missed, Missed { skip: None, entries: expected.to_vec(), done: true }, "after {after}");
    }
    // Nothing before the first: whatever the epoch.
    assert_eq!(only(&ask(&stage, "alice", &[from(&stage.conversation, Position::new(9, Seq::ZERO))])).entries, all);
}

#[test]
fn conversations_come_in_the_order_of_the_request_and_a_refused_one_harms_no_other() {
    let stage = Stage::with_entries(3);
    let (other, last) = (add(&stage, "dOther", 2), add(&stage, "dLast", 1));
    let asked = [
        from(&conversation("dNobodys"), position(1)),
        from(&other, Position::ZERO),
        from(&stage.conversation, position(99)),
        from(&last, position(1)),
    ];
    let answer = ask(&stage, "alice", &asked);
    let told = answer.pages.iter().map(|page| missed(page).map(|missed| missed.entries.len()));
    assert_eq!((told.collect::<Vec<_>>(), answer.done), (vec![None, Some(2), None, Some(0)], true));
}

// holds: D1
#[test]
fn a_long_absence_comes_page_by_page_whole_and_once() {
    let stage = Stage::new();
    let other = add(&stage, "dOther", 1);
    for number in 2..=60 {
        stage.put(&saying(&stage.conversation, number, &"x".repeat(2000)));
        stage.put(&saying(&other, number, &"y".repeat(500)));
    }
    let (have, pages) = catch_up(&stage, "alice", vec![from(&stage.conversation, position(1)), from(&other, Position::ZERO)]);
    assert_eq!(have[&stage.conversation], wire(&stage.entries()[1..]));
    assert_eq!(have[&other], wire(&stage.ports.memory.entries(&other)));
    assert!((6..=8).contains(&pages), "{pages} pages for about 170 KB");
}

#[test]
fn the_largest_entries_come_one_a_page_and_each_page_is_one_websocket_frame() {
    let stage = Stage::new();
    let other = add(&stage, "dOther", 1);
    (2..=4).for_each(|number| stage.put(&largest(&stage.conversation, number)));
    stage.put(&largest(&other, 2));
    let asked = vec![from(&other, position(1)), from(&stage.conversation, position(1))];
    let (have, pages) = catch_up(&stage, "alice", asked);
    assert_eq!((have[&stage.conversation].len(), have[&other].len(), pages), (3, 1, 4));
}

/// A control character is one byte in the log and six on the wire.
#[test]
fn pages_are_measured_as_they_are_encoded() {
    let stage = Stage::new();
    for number in 2..=30 {
        stage.put(&saying(&stage.conversation, number, &["\u{1}", "\"", "ü"][usize::try_from(number).unwrap() % 3].repeat(3000)));
    }
    let (have, _) = catch_up(&stage, "alice", vec![from(&stage.conversation, position(1))]);
    assert_eq!(have[&stage.conversation], wire(&stage.entries()[1..]));
}

#[test]
fn a_page_that_a_refusal_has_begun_leaves_the_largest_entry_to_the_next() {
    let stage = Stage::new();
    stage.put(&largest(&stage.conversation, 2));
    let asked = [from(&conversation("dNobodys"), position(1)), from(&stage.conversation, position(1))];
    let answer = ask(&stage, "alice", &asked);
    assert_eq!((answer.pages.len(), answer.done), (1, false));
    assert_eq!(catch_up(&stage, "alice", asked.to_vec()).0[&stage.conversation].len(), 1);
}

/// Also where exactly as many entries are missing as one read brings.
// holds: D2
#[test]
fn done_is_the_end_of_the_log_whatever_the_number_of_entries() {
    for tail in (23..=29).chain(48..=54).chain(124..=130) {
        let stage = Stage::with_entries(tail);
        for after in [Position::ZERO, position(1)] {
            let (have, _) = catch_up(&stage, "alice", vec![from(&stage.conversation, after)]);
            assert_eq!(have[&stage.conversation].last().unwrap().position, position(tail), "after {after}");
        }
    }
}

// holds: D2
#[test]
fn what_is_written_after_the_read_comes_next_time() {
    let stage = Stage::with_entries(2);
    let late = entry(&stage.conversation, 3, "bob");
    stage.ports.meanwhile("inbox_rows", move |memory| assert!(block_on(memory.put(&late)).is_ok()));
    let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, position(2))]));
    assert_eq!(missed, Missed { skip: None, entries: vec![], done: true });
    assert_eq!(only(&ask(&stage, "alice", &[from(&stage.conversation, position(2))])).entries.len(), 1);
}

// --- positions that are none

/// A log whose entry n has the n-th epoch.
fn restored(epochs: &[u32]) -> Stage {
    let mut stage = Stage::new();
    stage.ports.memory.state().log.get_mut(&stage.conversation).unwrap().clear();
    for (number, epoch) in (1..).zip(epochs) {
        stage.put(&Entry { position: Position::new(*epoch, seq(number)), ..entry(&stage.conversation, number, "bob") });
    }
    stage.settings.epoch = epochs.iter().copied().max().unwrap();
    stage
}

#[test]
fn a_position_that_no_server_gave_is_unknown() {
    let stage = Stage::with_entries(4);
    for after in [position(5), position(99), Position::new(2, seq(4)), Position::new(2, seq(5)), Position::new(1, Seq::MAX)] {
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorUnknown, false), "{after}");
    }
}

// holds: D1
#[test]
fn a_position_from_before_a_restore_learns_what_is_common() {
    for (epochs, deployment, after, common) in [
        (&[1, 1, 1, 2, 2][..], 2, position(5), position(3)),
        (&[1, 1, 1, 2, 2], 2, position(99), position(3)),
        (&[1, 1, 1], 2, position(7), position(3)),
        (&[2, 2], 2, position(2), Position::ZERO),
    ] {
        let mut stage = restored(epochs);
        stage.settings.epoch = deployment;
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.common), (ErrorCode::EpochChanged, Some(common)), "{after} in {epochs:?}");
        let (have, _) = catch_up(&stage, "alice", vec![from(&stage.conversation, common)]);
        let rest = &stage.entries()[usize::try_from(common.seq.get()).unwrap()..];
        assert_eq!(have.get(&stage.conversation).cloned().unwrap_or_default(), wire(rest), "{after} in {epochs:?}");
    }
}

// holds: D1
#[test]
fn a_log_with_a_gap_behind_the_position_is_too_old() {
    let stage = Stage::with_entries(6);
    stage.ports.memory.state().log.get_mut(&stage.conversation).unwrap().remove(&seq(4));
    for after in [position(2), position(4), Position::ZERO] {
        let refusal = refusal(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::AnchorTooOld, false), "{after}");
    }
    show_from(&stage, 5);
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::AnchorTooOld);
}

// --- rights

// holds: R1
#[test]
fn a_stranger_gets_the_same_answer_whether_the_conversation_exists_or_not() {
    let stage = Stage::with_entries(40);
    let broken = Stage::with_entries(4);
    broken.ports.memory.state().log.get_mut(&broken.conversation).unwrap().remove(&seq(3));
    let missing = conversation(&"x".repeat(stage.conversation.as_str().len()));
    for after in [Position::ZERO, position(1), position(40), position(99), Position::new(0, seq(1)), Position::new(9, seq(1))] {
        let told = |stage: &Stage, id: &ConversationId| {
            let frame = encode(&ServerFrame::Sync(ask(stage, "mallory", &[from(id, after)])));
            frame.replace(id.as_str(), "…")
        };
        let not_found = told(&stage, &missing);
        assert!(not_found.contains(r#""code":"not_found""#), "{not_found}");
        assert_eq!(told(&stage, &stage.conversation), not_found, "{after}");
        assert_eq!(told(&broken, &broken.conversation), not_found, "{after}");
    }
}

// holds: M1
#[test]
fn what_is_before_the_joining_is_skipped_and_the_rest_goes_on_there() {
    let stage = Stage::with_entries(6);
    show_from(&stage, 4);
    let all = wire(&stage.entries());
    let skip = Some(Skip { to: position(3) });
    for (after, skip, entries) in [
        (Position::ZERO, skip, &all[3..]),
        (position(1), skip, &all[3..]),
        (position(2), skip, &all[3..]),
        (position(3), None, &all[3..]),
        (position(5), None, &all[5..]),
    ] {
        let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!(missed, Missed { skip, entries: entries.to_vec(), done: true }, "after {after}");
    }
    // The other member was there from the start.
    assert_eq!(only(&ask(&stage, "bob", &[from(&stage.conversation, Position::ZERO)])).entries, all);
}

#[test]
fn a_skipped_beginning_is_paged_like_any_other() {
    let stage = Stage::with_entries(10);
    (11..=13).for_each(|number| stage.put(&largest(&stage.conversation, number)));
    show_from(&stage, 9);
    let (have, pages) = catch_up(&stage, "alice", vec![from(&stage.conversation, Position::ZERO)]);
    assert_eq!((have[&stage.conversation].clone(), pages), (wire(&stage.entries()[8..]), 4));
}

/// M1: were the row read first, a member removed between the two reads would get what was written after the removal.
// holds: M1
#[test]
fn who_is_removed_while_the_log_is_read_gets_nothing_of_it() {
    let stage = Stage::with_entries(5);
    stage.ports.meanwhile("read", remove_alice_and_write(&stage.conversation, 6));
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::NotFound);
    assert!(stage.ports.is_answered_before("read", "inbox_rows"));

    let stage = Stage::with_entries(5);
    show_from(&stage, 4);
    stage.ports.meanwhile("read", |_| {});
    stage.ports.meanwhile("read", remove_alice_and_write(&stage.conversation, 6));
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::NotFound);
}

// holds: M1
#[test]
fn a_membership_that_changes_or_is_seen_half_is_asked_for_again() {
    let stage = Stage::with_entries(5);
    let id = stage.conversation.clone();
    show_from(&stage, 4);
    stage.ports.meanwhile("inbox_rows", |_| {});
    stage.ports.meanwhile("inbox_rows", move |memory| show_from_in(memory, &id, 5));
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::Unavailable);

    let stage = Stage::with_entries(2);
    show_from(&stage, 9);
    assert_eq!(refusal(&ask(&stage, "alice", &[from(&stage.conversation, position(1))])).code, ErrorCode::Unavailable);
}

// --- what it costs, and what goes wrong

const ALL: [&str; 5] = ["read", "read_back", "at", "inbox_rows", "advance"];

#[test]
fn ten_missing_entries_cost_the_same_in_any_history() {
    let calls = |tail: u64| {
        let stage = Stage::with_entries(tail);
        let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, position(tail - 10))]));
        assert_eq!((missed.entries.len(), missed.done), (10, true));
        ALL.map(|call| stage.ports.count(call))
    };
    assert_eq!(calls(100), [1, 0, 0, 1, 0]);
    assert_eq!(calls(10_000), [1, 0, 0, 1, 0]);
}

#[test]
fn a_hundred_conversations_without_news_are_one_page_and_seven_rounds() {
    let stage = Stage::new();
    let asked: Vec<SyncFrom> = (0..100).map(|n| from(&add(&stage, &format!("d{n:027}"), 2), position(2))).collect();
    let answer = ask(&stage, "alice", &asked);
    assert!(answer.done && answer.pages.iter().all(|page| missed(page).is_some_and(|missed| missed.entries.is_empty())));
    assert_eq!(ALL.map(|call| stage.ports.count(call)), [100, 0, 0, 7, 0]);
}

// holds: D2
#[test]
fn a_hundred_conversations_with_an_entry_each_come_whole() {
    let stage = Stage::new();
    let asked: Vec<SyncFrom> = (0..100).map(|n| from(&add(&stage, &format!("d{n:027}"), 2), position(1))).collect();
    let (have, pages) = catch_up(&stage, "alice", asked);
    assert_eq!((have.len(), have.values().map(Vec::len).sum::<usize>(), pages), (100, 100, 2));
}

/// Where much is missing of the first, nothing is read of the others.
#[test]
fn a_page_that_is_full_reads_no_further() {
    let stage = Stage::new();
    (2..=30).for_each(|number| stage.put(&saying(&stage.conversation, number, &"x".repeat(2000))));
    let others = (0..20).map(|n| from(&add(&stage, &format!("d{n:03}"), 2), position(1)));
    let asked: Vec<SyncFrom> = [from(&stage.conversation, position(1))].into_iter().chain(others).collect();
    let answer = ask(&stage, "alice", &asked);
    assert_eq!((answer.pages.len(), answer.done), (1, false));
    assert_eq!(ALL.map(|call| stage.ports.count(call)), [1, 0, 0, 1, 0]);
}

fn delivered(stage: &Stage) -> Option<Position> {
    let stored = stage.ports.memory.state();
    stored.inboxes[&user("alice")][&stage.conversation].delivered.values().copied().next()
}

// holds: C1
#[test]
fn what_a_sync_acknowledges_moves_the_devices_cursor_and_is_told_to_the_other() {
    let stage = Stage::with_entries(5);
    let bobs = Connection { connection: caller("bob").connection, ..session("bob-1") };
    stage.ports.memory.state().sessions.entry(user("bob")).or_default().insert(bobs.connection.clone(), bobs);
    let (wanted, ack) = (vec![from(&stage.conversation, position(3))], vec![at(&stage.conversation, 3)]);
    let Done { answer, did } = ask_and_tell(&stage, "alice", wanted, ack).unwrap();
    assert_eq!((only(&answer).entries.len(), answer.acked, delivered(&stage)), (2, true, Some(position(3))));
    assert_eq!(did, Did { moved: 1, posted: 1, ..Did::default() });
    assert_eq!(stage.ports.count("post"), 1);
}

// holds: C1
#[test]
fn a_sync_without_ack_moves_no_cursor() {
    let stage = Stage::with_entries(5);
    let answer = ask(&stage, "alice", &[from(&stage.conversation, position(3))]);
    assert!(!answer.acked);
    assert_eq!((delivered(&stage), stage.ports.count("advance"), stage.ports.count("at")), (None, 0, 0));
}

// holds: C1
#[test]
fn an_ack_that_fails_does_not_fail_its_sync_which_says_so() {
    let stage = || Stage::with_entries(5);
    for (call, fault) in [("at", Fault::RequestLost), ("advance", Fault::RequestLost), ("advance", Fault::AnswerLost)] {
        let stage = stage();
        stage.ports.on(call, fault);
        let ack = vec![at(&stage.conversation, 3)];
        let answer = ask_with_ack(&stage, "alice", vec![from(&stage.conversation, position(3))], ack).unwrap();
        assert_eq!((only(&answer).entries.len(), answer.acked), (2, false), "{call}");
    }
    for (ack, moved) in [
        (vec![at(&stage().conversation, 99), at(&conversation("dNobodys"), 1)], None),
        (vec![at(&stage().conversation, 3), at(&conversation("dNobodys"), 1)], Some(position(3))),
    ] {
        let stage = stage();
        let answer = ask_with_ack(&stage, "alice", vec![from(&stage.conversation, position(3))], ack).unwrap();
        assert_eq!((only(&answer).entries.len(), answer.acked, delivered(&stage)), (2, false, moved));
    }
}

#[test]
fn a_conversation_that_cannot_be_read_is_asked_for_again_and_keeps_no_other_back() {
    for (before, call) in [(0, "read"), (1, "read"), (1, "inbox_rows"), (0, "read_back")] {
        let mut stage = Stage::with_entries(5);
        let other = add(&stage, "dOther", 2);
        let (mut asked, mut failing) = (vec![from(&stage.conversation, position(1)), from(&other, position(1))], 0);
        match call {
            "read_back" => (stage.settings.epoch, asked[0].after) = (2, position(99)),
            "inbox_rows" => show_from(&stage, 4),
            _ => failing = before,
        }
        (0..before).for_each(|_| stage.ports.meanwhile(call, |_| {}));
        stage.ports.on(call, Fault::AnswerLost);
        let answer = ask(&stage, "alice", &asked);
        assert_eq!((answer.pages.len(), answer.done), (2, true), "{call}");
        for (index, page) in answer.pages.iter().enumerate() {
            match &page.outcome {
                SyncOutcome::Ok(missed) => assert!(index != failing && missed.done, "{call}"),
                SyncOutcome::Refused(refusal) => {
                    assert_eq!((index, refusal.code, refusal.retryable), (failing, ErrorCode::Unavailable, true), "{call}");
                }
            }
        }
    }
}

/// Without the rows nobody gets anything; with those of an earlier round what was read by then is a page.
#[test]
fn where_no_rows_can_be_read_the_sync_ends_there() {
    for before in [0, 1] {
        let stage = Stage::with_entries(5);
        let asked: Vec<SyncFrom> = [stage.conversation.clone(), add(&stage, "dOther", 2)].iter().map(|id| from(id, position(1))).collect();
        (0..before).for_each(|_| stage.ports.meanwhile("inbox_rows", |_| {}));
        stage.ports.on("inbox_rows", Fault::AnswerLost);
        let answer = ask_with_ack(&stage, "alice", asked, vec![]);
        assert_eq!(answer.ok().map(|answer| (answer.pages.len(), answer.done)), (before == 1).then_some((1, false)));
    }
}

// --- any log

/// How an entry's text is made: one character, so many times.
fn lane() -> impl Strategy<Value = Vec<(&'static str, usize)>> {
    let character = prop_oneof![Just("x"), Just("\""), Just("\u{1}"), Just("ü"), Just("🙂")];
    let size = prop_oneof![6 => 1..200usize, 3 => 1..2000usize, 1 => 1..5000usize];
    vec((character, size), 0..70)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// D1: pages of any logs, from any position and joining, are the whole of them in order.
    // holds: D1
    #[test]
    fn whatever_is_missing_comes_whole_once_and_in_order(lanes in vec((lane(), 0..80u64, 1..80u64), 1..6)) {
        let stage = Stage::new();
        let (mut asked, mut expected) = (vec![], BTreeMap::new());
        for (index, (texts, after, visible_from)) in lanes.into_iter().enumerate() {
            let id = add(&stage, &format!("d{index}"), 1);
            for (number, (character, size)) in (2..).zip(&texts) {
                stage.put(&saying(&id, number, &character.repeat(*size)));
            }
            let all = stage.ports.memory.entries(&id);
            let tail = all.len() as u64;
            let (after, visible_from) = (after.min(tail), visible_from.min(tail));
            show_from_in(&stage.ports.memory, &id, visible_from);
            let first = after.max(visible_from - 1);
            if first < tail {
                expected.insert(id.clone(), wire(&all[usize::try_from(first).unwrap()..]));
            }
            asked.push(from(&id, if after == 0 { Position::ZERO } else { position(after) }));
        }
        let (have, _) = catch_up(&stage, "alice", asked);
        prop_assert!(have == expected);
    }
}

/// First and last of each queued task.
fn queued(stage: &Stage) -> Vec<(ConversationId, Seq, Position)> {
    let tasks = stage.take_tasks().into_iter();
    let of = |(task, delay): (chatlane_chat::workers::task::Task, u32)| {
        assert_eq!((delay, &task.own[..], &task.origin, &task.undelivered), (0, &[][..], &None, &None));
        assert_eq!((task.count, task.time), (task.last.seq.get() - 1, start()));
        (task.conversation, task.first, task.last)
    };
    tasks.map(of).collect()
}

// holds: L4
#[test]
fn who_is_shown_own_messages_whose_delivery_nobody_began_has_it_queued_before() {
    // L4: the attempt died before its enqueue, and who finds the message here sends it never again.
    let stage = Stage::with_entries(4);
    let task = |first, last| (stage.conversation.clone(), seq(first), position(last));
    let all = [from(&stage.conversation, position(1))];
    let did = ask_and_tell(&stage, "bob", all.to_vec(), vec![]).unwrap().did;
    assert_eq!((queued(&stage), did), (vec![task(2, 4)], Did { tasks: 1, ..Did::default() }));
    stage.deliver_up_to(3);
    ask(&stage, "bob", &all);
    assert_eq!(queued(&stage), [task(4, 4)]);
    ask(&stage, "bob", &[from(&stage.conversation, position(4))]);
    assert_eq!(queued(&stage), [], "of what is not shown nothing is promised");
    ask(&stage, "alice", &all);
    assert_eq!(queued(&stage), [], "those of others are for their senders to repeat");
    stage.deliver_up_to(4);
    ask(&stage, "bob", &all);
    assert_eq!(queued(&stage), []);
}

// holds: L4
#[test]
fn own_messages_are_shown_only_when_their_delivery_is_queued() {
    for (call, fault) in [("heads", Fault::RequestLost), ("enqueue", Fault::RequestLost), ("enqueue", Fault::AnswerLost)] {
        let stage = Stage::with_entries(3);
        stage.ports.on(call, fault);
        let all = vec![from(&stage.conversation, position(1))];
        assert!(ask_with_ack(&stage, "bob", all.clone(), vec![]).is_err());
        stage.take_tasks();
        ask(&stage, "bob", &all);
        assert_eq!(queued(&stage), [(stage.conversation.clone(), seq(2), position(3))]);
    }
}
