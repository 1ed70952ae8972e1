//! `history`: what somebody sees who scrolls up, page by page, from the newest entry down to the first that is theirs.

use chatlane_chat::ports::Creations as _;
use chatlane_chat::requests::history::history;
use chatlane_chat::testing::builders::{
    caller, conversation, creation, entry_saying, largest_entry, request_id, seq, settings, unavailable, user, wire,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ErrorFrame, HistoryAnswer, ServerFrame, encode};
use chatlane_protocol::request::History;
use chatlane_protocol::{ConversationId, Entry as WireEntry, ErrorCode, Position, Refusal, RequestId, Seq, limits};
use proptest::collection::vec;
use proptest::prelude::*;

fn request(conversation: &ConversationId, before: Option<u64>, limit: Option<u32>) -> History {
    History { id: request_id("r-1"), conversation: conversation.clone(), before: before.map(seq), limit }
}

fn ask_for(stage: &Stage, who: &str, request: &History) -> Result<HistoryAnswer, Refused> {
    let Done { answer, did } = block_on(history(&stage.ports, &settings().keys.users, &caller(who), request))?;
    assert_eq!(did, Did::default(), "it only reads");
    let bytes = encode(&ServerFrame::History(answer.clone())).len();
    let page = if answer.entries.len() > 1 { limits::PAGE_BYTES_MAX } else { limits::WEBSOCKET_FRAME_BYTES_MAX };
    assert!(bytes <= page, "{} entries in {bytes} bytes", answer.entries.len());
    assert_eq!((&answer.id, &answer.conversation), (&request.id, &request.conversation));
    Ok(answer)
}

fn ask(stage: &Stage, before: Option<u64>, limit: Option<u32>) -> HistoryAnswer {
    ask_for(stage, "alice", &request(&stage.conversation, before, limit)).unwrap()
}

/// The seqs of an answer, and whether it is the last.
fn told(answer: &HistoryAnswer) -> (Vec<u64>, bool) {
    (answer.entries.iter().map(|entry| entry.position.seq.get()).collect(), answer.done)
}

/// Scrolls up to the end: all entries ascending, and how many pages it took.
fn scroll(stage: &Stage, limit: Option<u32>) -> (Vec<WireEntry>, usize) {
    let (mut have, mut pages): (Vec<WireEntry>, usize) = (vec![], 0);
    loop {
        let before = have.first().map(|lowest| lowest.position.seq.get());
        let answer = ask(stage, before, limit);
        pages += 1;
        assert!(answer.done || !answer.entries.is_empty(), "a page without anything on it");
        let last = answer.entries.last().map(|last| last.position.seq.next().get());
        assert!(before.is_none() || last.is_none() || last == before, "consecutive");
        have.splice(0..0, answer.entries);
        if answer.done {
            assert!(have.windows(2).all(|two| two[1].position.seq == two[0].position.seq.next()), "consecutive");
            return (have, pages);
        }
    }
}

#[test]
fn the_newest_entries_come_first_to_be_asked_for_and_ascending() {
    let stage = Stage::with_entries(9);
    let answer = ask(&stage, None, Some(3));
    assert_eq!((answer.entries, answer.done), (wire(&stage.entries()[6..]), false));
    assert_eq!(told(&ask(&stage, Some(7), Some(3))), (vec![4, 5, 6], false));
    assert_eq!(told(&ask(&stage, Some(4), Some(1))), (vec![3], false));
    assert_eq!(told(&ask(&stage, None, None)), ((1..=9).collect(), true));
}

#[test]
fn the_first_entry_is_the_end() {
    let stage = Stage::with_entries(5);
    // Also where a full page ends with it.
    assert_eq!(told(&ask(&stage, Some(4), Some(3))), (vec![1, 2, 3], true));
    assert_eq!(told(&ask(&stage, Some(2), Some(1))), (vec![1], true));
    assert_eq!(told(&ask(&stage, Some(1), None)), (vec![], true));
    assert_eq!(told(&ask(&stage, Some(0), None)), (vec![], true));
}

#[test]
fn a_page_has_at_most_a_hundred_entries() {
    let stage = Stage::with_entries(250);
    let thin = |stage: &Stage, limit| told(&ask(stage, None, limit)).0.len();
    assert!((85..=100).contains(&thin(&stage, None)));
    assert!((85..=100).contains(&thin(&stage, Some(100))));
    assert_eq!(thin(&stage, Some(60)), 60);
    for limit in [None, Some(1), Some(7), Some(26), Some(100)] {
        assert_eq!(scroll(&stage, limit).0, wire(&stage.entries()), "{limit:?}");
    }
}

#[test]
fn entries_that_are_gone_end_the_history() {
    let stage = Stage::with_entries(60);
    for number in [3, 40] {
        stage.remove_entry(number);
        let expected: Vec<u64> = (number + 1..=60).collect();
        assert_eq!(told(&ask(&stage, None, None)), (expected, true), "{number}");
    }
    stage.ports.memory.state().log.get_mut(&stage.conversation).unwrap().retain(|number, _| *number > seq(40));
    assert_eq!(told(&ask(&stage, Some(42), None)), (vec![41], true));
    assert_eq!(told(&ask(&stage, Some(41), None)), (vec![], true));
}

#[test]
fn the_largest_entries_come_one_a_page_and_each_page_is_one_websocket_frame() {
    let stage = Stage::new();
    (2..=4).for_each(|number| stage.put(&largest_entry(&stage.conversation, number)));
    assert_eq!(scroll(&stage, None), (wire(&stage.entries()), 4));
}

/// With the longest names that there are, and entries that fill the page to the byte.
#[test]
fn a_full_page_with_the_longest_names_is_within_the_page_size() {
    let stage = Stage::new();
    let id = conversation(&"x".repeat(limits::CONVERSATION_ID_BYTES_MAX));
    assert!(block_on(stage.ports.memory.create(&creation(&id, &user("alice"), &user("bob")))).is_ok());
    let longest = RequestId::new("\"".repeat(limits::REQUEST_ID_BYTES_MAX)).unwrap();
    stage.put(&entry_saying(&id, 2, "bob", &"x".repeat(15_000)));
    for length in 14_500..15_500 {
        let last = entry_saying(&id, 3, "bob", &"x".repeat(length));
        stage.ports.memory.state().log.get_mut(&id).unwrap().insert(seq(3), last);
        ask_for(&stage, "alice", &History { id: longest.clone(), ..request(&id, None, Some(2)) }).unwrap();
    }
}

// holds: R1
#[test]
fn a_stranger_gets_the_same_answer_whether_the_conversation_exists_or_not() {
    let stage = Stage::with_entries(40);
    let missing = conversation(&"x".repeat(stage.conversation.as_str().len()));
    for (before, limit) in [(None, None), (Some(1), None), (Some(99), Some(1)), (Some(20), Some(100))] {
        let frame = |id: &ConversationId| {
            let refused = ask_for(&stage, "mallory", &request(id, before, limit)).unwrap_err();
            encode(&ServerFrame::Error(ErrorFrame { id: Some(request_id("r-1")), refusal: refused.to_wire() }))
        };
        assert_eq!(frame(&stage.conversation), frame(&missing));
        assert!(frame(&missing).contains(r#""code":"not_found""#));
    }
}

/// M1: the row is read first, so what came of the log may be newer than it is.
// holds: M1
#[test]
fn who_is_removed_while_the_log_is_read_gets_nothing_of_it() {
    for secrets in [0, 150, 400] {
        let stage = Stage::with_entries(5);
        stage.remove_alice_meanwhile("read_back", 6, secrets);
        let refused = ask_for(&stage, "alice", &request(&stage.conversation, None, None)).unwrap_err();
        assert_eq!(refused.to_wire(), Refusal::new(ErrorCode::NotFound, "no such conversation"), "{secrets}");
        assert!(stage.ports.is_answered_before("inbox_rows", "read_back"));
    }
    // Of what was before the removal nothing is held back.
    let stage = Stage::with_entries(5);
    stage.remove_alice_meanwhile("read_back", 6, 0);
    assert_eq!(told(&ask(&stage, Some(6), None)).0, [1, 2, 3, 4, 5]);
}

#[test]
fn whatever_cannot_be_read_the_history_is_asked_for_again() {
    for call in ["read_back", "inbox_rows", "member_consistent"] {
        let stage = Stage::with_entries(60);
        stage.change_tail(|facts| facts.membership_changed = seq(60));
        stage.ports.on(call, Fault::AnswerLost);
        let refused = ask_for(&stage, "alice", &request(&stage.conversation, None, None)).unwrap_err();
        assert_eq!(refused.to_wire(), unavailable(), "{call}");
        assert_eq!(told(&ask(&stage, None, None)).0.len(), 60, "{call}");
    }
}

#[test]
fn a_screen_of_history_costs_the_same_however_long_the_log() {
    let calls = |tail: u64| {
        let stage = Stage::with_entries(tail);
        ask(&stage, Some(tail - 30), Some(20));
        ["read_back", "read", "inbox_rows", "advance"].map(|call| stage.ports.count(call))
    };
    assert_eq!((calls(100), calls(10_000)), ([1, 0, 1, 0], [1, 0, 1, 0]));
}

/// Epochs are the entry's own business: a page may span a restore.
#[test]
fn a_history_goes_on_over_a_restore() {
    let stage = Stage::restored(&[1, 1, 1, 2]);
    assert_eq!(scroll(&stage, Some(2)).0, wire(&stage.entries()));
    assert_eq!(ask(&stage, Some(Seq::MAX.get()), Some(1)).entries[0].position, Position::new(2, seq(4)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whoever_scrolls_to_the_end_has_seen_everything_once(
        sizes in vec((prop_oneof![Just("x"), Just("\u{1}"), Just("ü")], prop_oneof![6 => 1..200usize, 1 => 1..5000usize]), 0..150),
        limit in proptest::option::of(1..=100u32),
        visible_from in 1..150u64,
    ) {
        let stage = Stage::new();
        for (number, (character, size)) in (2..).zip(&sizes) {
            stage.put(&entry_saying(&stage.conversation, number, "bob", &character.repeat(*size)));
        }
        let visible_from = visible_from.min(sizes.len() as u64 + 1);
        stage.change_row("alice", |row| row.visible_from = seq(visible_from));
        let (have, _) = scroll(&stage, limit);
        prop_assert!(have == wire(&stage.entries()[usize::try_from(visible_from - 1).unwrap()..]));
    }
}
