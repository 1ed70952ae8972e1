//! What was missed: `hello` with what is known, `sync` page by page, too much of it, and restores.

use chatlane_session::{Act, Change, ConnectionState, Output, Shown};
use serde_json::json;

use super::scenario::*;

pub fn all() -> Vec<Scenario> {
    vec![
        hello_says_what_is_known(),
        hello_pages_follow_each_other(),
        missed_entries_come_in_pages(),
        too_much_is_skipped(),
        a_restore_is_rolled_back(),
        a_log_that_the_device_does_not_know_is_begun_anew(),
        a_head_that_ping_answers_is_waited_for(),
    ]
}

fn hello_says_what_is_known() -> Scenario {
    let mut s = Scenario::new(
        "hello-known",
        "The first request of a socket is `hello`, with a row for each conversation that the device has. What is not answered stands as \
         it said.",
        vec![known("dbob", "bob", 2), known("dcarol", "carol", 7)],
        vec![],
    );
    s.does(Act::ConnectNow);
    s.check(s.sent("hello").is_none(), "nothing is sent on a socket that is not open");
    s.pass(80).opened();
    let known = s.sent("hello").unwrap()["known"].clone();
    s.check(known == json!([["dbob", 1, 2, 0, 0], ["dcarol", 1, 7, 0, 0]]), "ascending, have and read");
    s.pass(80).answer("hello", hello(&[])).commit();
    s.check(s.state() == ConnectionState::Live, "nothing was missed");
    s
}

fn hello_pages_follow_each_other() -> Scenario {
    let mut s = Scenario::open(
        "hello-pages",
        "`next` asks for a further page, with what the device knows behind it. Only the last page makes the device live.",
        vec![known("dbob", "bob", 2)],
        vec![],
    );
    let mut first = hello(&[hello_row("daaron", "aaron", 1)]);
    first["next"] = json!("daaron");
    s.answer("hello", first);
    let next = s.sent("hello").unwrap();
    s.check(next["after"] == "daaron" && next["known"] == json!([["dbob", 1, 2, 0, 0]]), "the second page");
    s.answer("hello", hello(&[])).commit();
    s.answer("sync", page_of("daaron", &[created()], true)).commit();
    s.check(s.state() == ConnectionState::Live, "live");
    s
}

fn created() -> serde_json::Value {
    json!({
        "position": at(1), "sender": "aaron", "client_message_id": "open-1", "time_ms": 1_795_000_000_000_u64, "count": 0,
        "kind": "created", "members": ["aaron", "alice"],
    })
}

fn missed_entries_come_in_pages() -> Scenario {
    let mut s = Scenario::open(
        "sync-pages",
        "What was missed is asked for at once, page by page; the next request carries the acknowledgement of what is stored of the pages \
         before, an `ack` that of the last. A live entry that comes meanwhile is kept aside.",
        vec![known("dbob", "bob", 2)],
        vec![],
    );
    s.answer("hello", hello(&[hello_row("dbob", "bob", 6)])).commit();
    s.check(s.state() == ConnectionState::CatchingUp, "catching up");
    s.frame(&push([7]));
    s.pass(100).answer("sync", page([3, 4], false));
    s.check(s.sent("sync").is_some(), "on with the next page");
    s.commit();
    s.check(s.entries_shown() == [3, 4], "shown page by page");
    s.pass(100).answer("sync", page([5, 6], true)).commit();
    s.check(s.entries_shown() == [5, 6, 7], "and what came meanwhile");
    s.until("ack");
    s.check(s.state() == ConnectionState::Live, "live");
    s
}

fn too_much_is_skipped() -> Scenario {
    let mut s = Scenario::open(
        "too-far-behind",
        "More was missed than is worth fetching: the conversation goes on at its head, its entries are forgotten, the outbox is not. Its \
         message is looked for by `probe` when its anchor is too far behind.",
        vec![known("dbob", "bob", 2)],
        vec![waiting(1, "m-1", 2)],
    );
    s.answer("hello", hello(&[hello_row("dbob", "bob", 5_000)])).commit();
    let skipped = |output: &Output| matches!(output, Output::Show(Shown::Skipped { position, .. }) if *position == at(5_000));
    s.check(s.last.iter().any(skipped), "it goes on at the head");
    let stale = stale(5_000);
    s.answer("send", results(&[refused("m-1", stale)])).commit();
    s.answer("probe", probed(None, 1_002, false)).commit();
    s.answer("probe", probed(None, 5_000, true)).commit();
    s.check(s.messages()[0]["anchor"] == json!(at(5_000)), "the anchor has moved over what was looked through");
    s.answer("send", results(&[stored("m-1", "ok", 5_001)])).commit();
    s.check(s.entries_shown() == [5_001], "and is the next entry");
    s
}

fn a_restore_is_rolled_back() -> Scenario {
    let mut s = Scenario::live(
        "epoch-changed",
        "The service was restored from a backup that lacks entry 3. The device drops it, goes on from the common entry, and sends again \
         what it had to send, with anchors that were moved back.",
    );
    s.pass(10).frame(&push([3])).commit();
    s.pass(10).compose("m-1", "hi").commit();
    let changed = json!({"code": "epoch_changed", "retryable": false, "common": at(2)});
    s.pass(10).answer("send", results(&[refused("m-1", changed)]));
    let dropped = s.last.iter().any(|output| match output {
        Output::Commit { changes, .. } => {
            changes.iter().any(|change| matches!(change, Change::DropBeyond { position, .. } if *position == at(2)))
        }
        _ => false,
    });
    s.check(dropped, "what is not in the log any more is dropped");
    s.commit();
    s.answer("sync", page_of("dbob", &[entry(2, 3)], true)).commit();
    let again = s.until("send");
    s.check(again["messages"][0]["anchor"] == json!(at(2)), "from the common entry");
    s
}

fn a_log_that_the_device_does_not_know_is_begun_anew() -> Scenario {
    let mut s = Scenario::live(
        "anchor-unknown",
        "The server does not know a position that the device has: what it holds of this conversation is from another log. It forgets the \
         entries and begins anew. The outbox stays: its message is looked for from the first entry on, then sent from what was reached.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    let unknown = code("anchor_unknown");
    s.answer("send", results(&[refused("m-1", unknown)])).commit();
    let probe = s.tick_until("probe");
    s.check(probe["anchor"] == json!(position(0, 0)), "from the first entry on");
    s.answer("probe", probed(None, 1, true)).commit();
    let first = s.messages();
    s.check(first[0]["client_message_id"] == "m-1" && first[0]["anchor"] == json!(at(1)), "the same message");
    s.tick_until("sync");
    let unknown = json!({"conversation": "dbob", "status": "refused", "code": "anchor_unknown", "retryable": false});
    s.answer("sync", json!({"pages": [unknown], "done": true}));
    let forgets = |change: &Change| matches!(change, Change::DropAll(_));
    let forgotten = s.last.iter().any(|output| matches!(output, Output::Commit { changes, .. } if changes.iter().any(forgets)));
    s.check(forgotten, "the entries are forgotten");
    s.commit();
    s.frame(&gateway());
    let again = s.tick_until("send");
    s.check(again["messages"] == first, "the outbox is not");
    s
}

fn a_head_that_ping_answers_is_waited_for() -> Scenario {
    let mut s = Scenario::live(
        "ping-head",
        "The person looks at a conversation: `ping` asks for its head and the other's marks. A head beyond have may be on its way: it is \
         asked for after the same wait as a gap.",
    );
    s.pass(10).does(Act::Look { conversations: vec![conversation("dbob")] });
    s.check(s.sent("ping").unwrap()["open"] == json!(["dbob"]), "at once");
    let cursors = json!([{"user": "bob", "delivered": at(2), "read": at(2)}]);
    let status = json!({"conversation": "dbob", "head": at(3), "count": 2, "cursors": cursors});
    s.pass(20).answer("ping", json!({"server_time_ms": 1_795_000_000_000_u64, "conversations": [status]})).commit();
    s.check(s.sent("sync").is_none(), "not at once");
    s.tick_until("sync");
    s.answer("sync", page([3], true)).commit();
    s
}
