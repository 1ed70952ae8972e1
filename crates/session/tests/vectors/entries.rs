//! Entries as they come: taken, dropped, kept aside, shown after they are stored.

use chatlane_session::{Act, Input, Output, Shown};
use serde_json::json;

use super::scenario::*;

pub fn all() -> Vec<Scenario> {
    vec![
        the_next_entry_is_stored_then_shown_then_acknowledged(),
        an_old_entry_is_dropped(),
        an_early_entry_waits_for_the_one_before_it(),
        a_gap_that_stays_open_is_asked_for_once(),
        an_unknown_kind_keeps_its_place(),
        a_later_epoch_at_the_next_seq_waits_for_a_sync(),
        acknowledgements_are_merged(),
        a_read_mark_is_stored_and_sent(),
        receipts_only_go_forward(),
        older_entries_are_fetched_on_demand(),
    ]
}

fn the_next_entry_is_stored_then_shown_then_acknowledged() -> Scenario {
    let mut s = Scenario::live(
        "entry-next",
        "The entry at have + 1 goes into the store. When the store has it, it is shown, and then acknowledged.",
    );
    s.pass(10).frame(&push([3]));
    s.check(s.entries_shown().is_empty() && s.sent("ack").is_none(), "nothing is shown or acknowledged before it is stored");
    s.commit();
    s.check(s.entries_shown() == [3], "it is shown when it is stored");
    let ack = s.sent("ack").unwrap_or_default();
    s.check(ack["positions"] == json!([{"conversation": "dbob", "position": {"epoch": 1, "seq": 3}}]), "and acknowledged");
    s.pass(50).answer("ack", json!({"results": [{"conversation": "dbob", "status": "ok"}]}));
    s
}

fn an_old_entry_is_dropped() -> Scenario {
    let mut s = Scenario::live("entry-old", "Pushes may come twice: an entry at or below have is dropped, and nothing happens.");
    s.pass(10).frame(&push([2]));
    s.check(s.last.is_empty(), "nothing happens");
    s.frame(&push([3])).commit();
    s.pass(10).frame(&push([2, 3]));
    s.check(s.last.is_empty(), "nothing happens");
    s
}

fn an_early_entry_waits_for_the_one_before_it() -> Scenario {
    let mut s = Scenario::live(
        "entry-ahead",
        "Pushes may overtake each other: an entry beyond have + 1 is kept aside. If what is before it comes in time, nothing is asked.",
    );
    s.pass(10).frame(&push([5])).frame(&push([4])).commit();
    s.check(s.entries_shown().is_empty(), "nothing is shown out of order");
    s.pass(150).frame(&push([3])).commit();
    s.check(s.entries_shown() == [3, 4, 5], "all are shown in order");
    s.pass(2_000).input(Input::Tick);
    s.check(s.sent("sync").is_none(), "nothing is asked");
    s
}

fn a_gap_that_stays_open_is_asked_for_once() -> Scenario {
    let mut s = Scenario::live(
        "gap",
        "An entry is missing, and does not come within gap_wait_ms and a random part up to as much again: one `sync` from have. \
         The socket stays.",
    );
    s.pass(10).frame(&push([4])).commit();
    s.pass(200).frame(&push([5])).commit();
    s.pass(299).input(Input::Tick);
    s.check(s.sent("sync").is_none(), "not before gap_wait_ms");
    let after = s.tick_until("sync")["conversations"].clone();
    s.check(after == json!([{"conversation": "dbob", "after": {"epoch": 1, "seq": 2}}]), "from have");
    s.pass(40).frame(&push([6]));
    s.check(s.sent("sync").is_none(), "one is enough");
    s.answer("sync", page([3, 4, 5, 6], true)).commit();
    s.check(s.entries_shown() == [3, 4, 5, 6], "all are shown, once");
    s
}

fn an_unknown_kind_keeps_its_place() -> Scenario {
    let mut s = Scenario::live(
        "unknown-kind",
        "An entry of a kind that this client does not know is stored, shown as unknown and acknowledged; the next one follows on it.",
    );
    let mut odd = entry(1, 3);
    odd["kind"] = json!("hologram");
    odd.as_object_mut().unwrap().remove("body");
    s.pass(10).frame(&json!({"type": "entries", "conversation": "dbob", "entries": [odd, entry(1, 4)]})).commit();
    s.check(s.entries_shown() == [3, 4], "both have their places");
    s
}

fn a_later_epoch_at_the_next_seq_waits_for_a_sync() -> Scenario {
    let mut s = Scenario::live(
        "later-epoch",
        "A pushed entry at have + 1 has a higher epoch: a restore may have cut off have. It is kept aside until a `sync` from have has \
         told; here have is still in the log.",
    );
    s.pass(10).frame(&json!({"type": "entries", "conversation": "dbob", "entries": [entry(2, 3)]})).commit();
    s.check(s.entries_shown().is_empty(), "it is not taken");
    s.tick_until("sync");
    s.answer("sync", page_of("dbob", &[entry(2, 3)], true));
    s.commit();
    s.check(s.entries_shown() == [3], "the log tells");
    s
}

fn acknowledgements_are_merged() -> Scenario {
    let mut s = Scenario::live("ack-merged", "One `ack` in cursors_every_ms, with the highest position of each conversation.");
    s.pass(10).frame(&push([3])).commit();
    s.answer("ack", json!({"results": [{"conversation": "dbob", "status": "ok"}]}));
    for seq in 4..8 {
        s.pass(100).frame(&push([seq])).commit();
        s.check(s.sent("ack").is_none(), "not within a second");
    }
    let positions = s.tick_until("ack")["positions"].clone();
    s.check(positions == json!([{"conversation": "dbob", "position": {"epoch": 1, "seq": 7}}]), "once, with the highest");
    s
}

fn a_read_mark_is_stored_and_sent() -> Scenario {
    let mut s = Scenario::live(
        "read",
        "The person reads: the mark is stored and told, which implies delivered. If no answer comes it is told again on the next socket, \
         and after a restart.",
    );
    s.pass(10).frame(&push([3])).commit();
    s.pass(500).does(Act::MarkRead { conversation: conversation("dbob"), position: at(3) }).commit();
    s.check(s.asked_so_far("read") == 1, "sent");
    s.pass(10).close();
    s.tick().opened();
    s.answer("hello", hello(&[hello_row("dbob", "bob", 3)])).commit();
    while s.asked_so_far("read") < 2 {
        s.tick();
    }
    s.answer("read", json!({"results": [{"conversation": "dbob", "status": "ok"}]})).commit();
    s.pass(5_000).input(Input::Tick);
    s.check(s.asked_so_far("read") == 2, "an answered mark is not sent again");
    s
}

fn receipts_only_go_forward() -> Scenario {
    let mut s = Scenario::live("receipts", "How far the other is comes by soft pushes, which overtake each other: marks only go forward.");
    let receipt = |delivered, read| {
        let (delivered, read) = (at(delivered), at(read));
        json!({"type": "receipt", "conversation": "dbob", "user": "bob", "delivered": delivered, "read": read, "ttl_ms": 30_000})
    };
    s.pass(10).frame(&receipt(2, 1));
    s.check(matches!(s.shown()[..], [Shown::Cursors { .. }]), "shown");
    s.frame(&receipt(1, 1));
    s.check(s.last.is_empty(), "an old one");
    s.frame(&receipt(2, 2));
    s.check(matches!(s.shown()[..], [Shown::Cursors { .. }]), "shown");
    s
}

fn older_entries_are_fetched_on_demand() -> Scenario {
    let mut s = Scenario::open(
        "new-and-long",
        "A conversation that is new to the device and long begins at its head; what is before is fetched when the person scrolls up.",
        vec![],
        vec![],
    );
    s.answer("hello", hello(&[hello_row("dbob", "bob", 300)])).commit();
    let skipped = |output: &Output| matches!(output, Output::Show(Shown::Skipped { .. }));
    s.check(s.last.iter().any(skipped), "it begins at the head");
    s.pass(1_000).does(Act::LoadHistory { conversation: conversation("dbob"), before: Some(at(301).seq) });
    s.answer("history", json!({"conversation": "dbob", "entries": entries(298..=300), "done": false})).commit();
    s.check(matches!(s.shown()[..], [Shown::History { .. }]), "older entries");
    s
}
