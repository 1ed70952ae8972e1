//! What comes, page by page, and what it costs.

use std::collections::BTreeMap;

use chatlane_chat::testing::builders::{conversation, entry_saying, largest_entry, position, seq, user, wire};
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::frames::Missed;
use chatlane_protocol::request::SyncFrom;
use chatlane_protocol::{Position, Seq};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{add, ask, ask_with_ack, at, catch_up, from, missed, only};

// holds: D1
#[test]
fn what_follows_on_the_position_comes_in_order() {
    let stage = Stage::with_entries(5);
    let all = wire(&stage.entries());
    for (after, expected) in [(position(2), &all[2..]), (position(1), &all[1..]), (Position::ZERO, &all[..]), (position(5), &[])] {
        let missed = only(&ask(&stage, "alice", &[from(&stage.conversation, after)]));
        assert_eq!(missed, Missed { skip: None, entries: expected.to_vec(), done: true, ended: None }, "after {after}");
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

#[test]
fn the_largest_entries_come_one_a_page_and_each_page_is_one_websocket_frame() {
    let stage = Stage::new();
    let other = add(&stage, "dOther", 1);
    (2..=4).for_each(|number| stage.put(&largest_entry(&stage.conversation, number)));
    stage.put(&largest_entry(&other, 2));
    let asked = vec![from(&other, position(1)), from(&stage.conversation, position(1))];
    let (have, pages) = catch_up(&stage, "alice", asked);
    // Of what has filled a page the next one tells that it was the last.
    assert_eq!((have[&stage.conversation].len(), have[&other].len(), pages), (3, 1, 6));
}

#[test]
fn a_page_that_a_refusal_has_begun_leaves_the_largest_entry_to_the_next() {
    let stage = Stage::new();
    stage.put(&largest_entry(&stage.conversation, 2));
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

// --- what it costs

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
fn a_hundred_conversations_without_news_are_one_page_and_ten_rounds() {
    let stage = Stage::new();
    let asked: Vec<SyncFrom> = (0..100).map(|n| from(&add(&stage, &format!("d{n:027}"), 2), position(2))).collect();
    let answer = ask(&stage, "alice", &asked);
    assert!(answer.done && answer.pages.iter().all(|page| missed(page).is_some_and(|missed| missed.entries.is_empty())));
    assert_eq!(ALL.map(|call| stage.ports.count(call)), [100, 0, 0, 10, 0]);
}

/// Of several at once a little is read, and of those that have more the rest in their turn, as far as the page goes.
#[test]
fn of_conversations_that_are_read_at_once_little_is_read_in_vain() {
    let stage = Stage::new();
    let mut asked: Vec<SyncFrom> = (0..3).map(|n| from(&add(&stage, &format!("a{n:03}"), 1), position(1))).collect();
    for n in 0..4 {
        let id = add(&stage, &format!("b{n:03}"), 1);
        (2..=9).for_each(|number| stage.put(&entry_saying(&id, number, "bob", &"x".repeat(1200))));
        asked.push(from(&id, position(1)));
    }
    let answer = ask(&stage, "alice", &asked);
    // Three that have nothing; then four at once, one entry each, of the first three also the rest: the page is full.
    let told: Vec<usize> = answer.pages.iter().map(|page| missed(page).unwrap().entries.len()).collect();
    assert_eq!((told, answer.done), (vec![0, 0, 0, 8, 8, 5], false));
    assert_eq!(ALL.map(|call| stage.ports.count(call)), [3 + 4 + 3, 0, 0, 3, 0]);
    assert_eq!(catch_up(&stage, "alice", asked).0.values().map(Vec::len).collect::<Vec<_>>(), [8; 4]);
}

/// Also of entries that the device has: a read is paid whatever it tells.
#[test]
fn a_request_ends_when_a_quarter_of_a_megabyte_was_read() {
    let stage = Stage::new();
    let mut asked = vec![];
    for n in 0..40 {
        let id = add(&stage, &format!("d{n:03}"), 1);
        stage.put(&entry_saying(&id, 2, "bob", &"x".repeat(28_000)));
        asked.push(from(&id, position(2)));
    }
    let answer = ask(&stage, "alice", &asked);
    // One, two and four of them are less, and eight more are enough.
    assert_eq!((answer.pages.len(), answer.done), (15, false));
    assert_eq!(stage.ports.count("read"), 15);
    assert_eq!(catch_up(&stage, "alice", asked).1, 3);
}

/// An `ack` beside it has no allowances of its own.
#[test]
fn a_sync_and_its_ack_look_into_sixteen_foreign_conversations_in_all() {
    let stage = Stage::new();
    let ids: Vec<_> = (0..10).map(|n| conversation(&format!("dNobodys{n}"))).collect();
    let asked = ids.iter().map(|id| from(id, position(1))).collect();
    let ack = ids.iter().map(|id| at(id, 1)).collect();
    ask_with_ack(&stage, "alice", asked, ack).unwrap();
    assert_eq!(stage.ports.count("memberships"), 16);
}

/// Where much is missing of the first, nothing is read of the others.
#[test]
fn a_page_that_is_full_reads_no_further() {
    let stage = Stage::new();
    (2..=30).for_each(|number| stage.put(&entry_saying(&stage.conversation, number, "bob", &"x".repeat(2000))));
    let others = (0..20).map(|n| from(&add(&stage, &format!("d{n:03}"), 2), position(1)));
    let asked: Vec<SyncFrom> = [from(&stage.conversation, position(1))].into_iter().chain(others).collect();
    let answer = ask(&stage, "alice", &asked);
    assert_eq!((answer.pages.len(), answer.done), (1, false));
    assert_eq!(ALL.map(|call| stage.ports.count(call)), [1, 0, 0, 1, 0]);
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
                stage.put(&entry_saying(&id, number, "bob", &character.repeat(*size)));
            }
            let all = stage.ports.memory.entries(&id);
            let tail = all.len() as u64;
            let (after, visible_from) = (after.min(tail), visible_from.min(tail));
            stage.ports.memory.change_row(&user("alice"), &id, |row| row.visible_from = seq(visible_from));
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
