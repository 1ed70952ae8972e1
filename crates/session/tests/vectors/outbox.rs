//! What the user writes: stored, attempted, repeated, repaired, settled.

use chatlane_session::{Act, Input, OutgoingState, Output, Shown};
use serde_json::json;

use super::scenario::*;

pub fn all() -> Vec<Scenario> {
    vec![
        a_message_is_stored_before_it_is_attempted(),
        a_lost_answer_is_repeated_with_the_same_id_and_anchor(),
        a_restarted_app_repeats_what_it_had(),
        messages_behind_a_failure_are_sent_again(),
        a_rate_limited_message_waits(),
        a_stale_anchor_moves_over_what_was_looked_through(),
        a_stale_anchor_that_was_taken_over_moves_at_once(),
        a_refusal_is_believed_after_a_look(),
        a_refused_message_may_be_in_the_log(),
        an_own_entry_settles_its_message(),
        the_gateways_frame_leaves_everything_open(),
        one_send_at_a_time(),
    ]
}

fn outgoing(s: &Scenario) -> Vec<&OutgoingState> {
    let states = s.shown().into_iter().filter_map(|shown| if let Shown::Outgoing { state, .. } = shown { Some(state) } else { None });
    states.collect()
}

fn a_message_is_stored_before_it_is_attempted() -> Scenario {
    let mut s = Scenario::live(
        "send",
        "A message gets its name and its anchor, the highest position known, and is stored with them. Then it is attempted. Its `ok` is \
         its delivery: it is the entry at that place.",
    );
    s.pass(10).compose("m-1", "hi");
    s.check(s.sent("send").is_none(), "not before it is stored");
    s.commit();
    let message = s.messages()[0].clone();
    s.check(message["anchor"] == json!(at(2)), "then it is attempted");
    s.pass(60).answer("send", results(&[stored("m-1", "ok", 3)])).commit();
    s.check(s.entries_shown() == [3] && matches!(outgoing(&s)[..], [OutgoingState::Stored(_)]), "settled, and shown as the entry");
    s
}

fn a_lost_answer_is_repeated_with_the_same_id_and_anchor() -> Scenario {
    let mut s = Scenario::live(
        "lost-answer",
        "The socket ends before the answer. On the next one the request is repeated: same id, same anchor, same body, although the device \
         knows of more entries now. `duplicate` is as good as `ok`.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    let first = s.messages();
    s.pass(10).frame(&push([4])).commit();
    s.pass(10).close();
    s.tick().opened();
    s.answer("hello", hello(&[])).commit();
    let again = s.until("send");
    s.check(again["messages"] == first, "the same");
    s.answer("send", results(&[stored("m-1", "duplicate", 3)])).commit();
    s.check(s.entries_shown() == [3, 4], "it closes the gap");
    s
}

fn a_restarted_app_repeats_what_it_had() -> Scenario {
    let mut s = Scenario::open(
        "restart",
        "The app was killed with two messages in the outbox. They go out as soon as the first page of `hello` is answered, in their order, \
         with the anchors that they were stored with.",
        vec![known("dbob", "bob", 9)],
        vec![waiting(4, "m-1", 2), waiting(5, "m-2", 2)],
    );
    s.answer("hello", hello(&[]));
    let messages = s.messages();
    s.check(messages[0]["anchor"] == json!(at(2)) && messages[1]["client_message_id"] == "m-2", "as stored");
    s.answer("send", results(&[stored("m-1", "duplicate", 3), stored("m-2", "ok", 10)])).commit();
    s.check(s.entries_shown() == [10], "one was there before: the device has had it as entry 3");
    s
}

fn messages_behind_a_failure_are_sent_again() -> Scenario {
    let outbox = vec![waiting(1, "m-1", 2), waiting(2, "m-2", 2), waiting(3, "m-3", 2)];
    let mut s = Scenario::greeted(
        "not-attempted",
        "Of one `send` the first message that is not stored stops those behind it. They are sent again, in their order, with it.",
        outbox,
    );
    let busy = json!({"code": "busy", "retryable": true, "retry_after_ms": 100});
    let not_attempted = json!({"client_message_id": "m-3", "status": "not_attempted"});
    s.answer("send", results(&[stored("m-1", "ok", 3), refused("m-2", busy), not_attempted])).commit();
    s.check(s.entries_shown() == [3], "the first is stored");
    let messages = s.tick_until("send")["messages"].clone();
    s.check(messages[0]["client_message_id"] == "m-2" && messages[1]["client_message_id"] == "m-3", "in their order");
    s.answer("send", results(&[stored("m-2", "ok", 4), stored("m-3", "ok", 5)])).commit();
    s.check(s.entries_shown() == [4, 5], "all are stored");
    s
}

fn a_rate_limited_message_waits() -> Scenario {
    let mut s =
        Scenario::live("rate-limited", "`rate_limited` is repeated after retry_after_ms and a random part, with the same id and anchor.");
    s.pass(10).compose("m-1", "hi").commit();
    let first = s.messages();
    let limited = json!({"code": "rate_limited", "retryable": true, "retry_after_ms": 2_000});
    s.answer("send", results(&[refused("m-1", limited)]));
    s.pass(1_999).input(Input::Tick);
    s.check(s.sent("send").is_none(), "not before");
    let again = s.tick_until("send");
    s.check(again["messages"] == first, "the same");
    s
}

fn a_stale_anchor_moves_over_what_was_looked_through() -> Scenario {
    let mut s = Scenario::greeted(
        "anchor-stale",
        "The anchor is too far behind, and the device does not have what lies between: `probe` looks through it for the messages that wait. \
         One is found; the other gets the place that was reached as its anchor, which is stored before it is used.",
        vec![waiting(1, "m-1", 1), waiting(2, "m-2", 2)],
    );
    let stale = stale(900);
    s.answer("send", results(&[refused("m-1", stale), json!({"client_message_id": "m-2", "status": "not_attempted"})])).commit();
    s.answer("probe", probed(Some(3), 900, true));
    s.check(s.sent("send").is_none(), "not before the anchor is stored");
    s.commit();
    let again = s.messages();
    s.check(again[0]["client_message_id"] == "m-2" && again[0]["anchor"] == json!(at(900)), "the other, from there");
    s
}

fn a_stale_anchor_that_was_taken_over_moves_at_once() -> Scenario {
    let mut s = Scenario::live(
        "anchor-stale-taken",
        "The anchor is too far behind (three entries can be: they are large), but the device has taken every entry since, live and without \
         a gap, and compared it with the outbox: the anchor moves to have, without a `probe`.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    s.pass(10).frame(&push(3..=5)).commit();
    let stale = stale(5);
    s.answer("send", results(&[refused("m-1", stale)]));
    s.check(s.sent("send").is_none(), "not before the anchor is stored");
    s.commit();
    let again = s.messages();
    s.check(again[0]["anchor"] == json!(at(5)), "from have");
    s
}

fn a_refusal_is_believed_after_a_look() -> Scenario {
    let mut s = Scenario::live(
        "refused",
        "A message is refused for good. An earlier attempt of it may be in the log, so it is looked for first; then it is shown as failed \
         and kept until the person gives it up.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    s.answer("send", results(&[refused("m-1", code("forbidden"))])).commit();
    s.check(outgoing(&s).is_empty(), "not yet");
    s.answer("probe", probed(None, 2, true)).commit();
    s.check(matches!(outgoing(&s)[..], [OutgoingState::Failed(_)]), "now");
    s.pass(10).does(Act::Discard { conversation: conversation("dbob"), client_message_id: message_id("m-1") });
    s.check(matches!(s.last[..], [Output::Commit { .. }]), "its row goes");
    s.commit();
    s
}

fn a_refused_message_may_be_in_the_log() -> Scenario {
    let mut s = Scenario::live("refused-and-found", "As before, but the look finds it: an earlier attempt had stored it.");
    s.pass(10).compose("m-1", "hi").commit();
    s.frame(&gateway());
    s.tick_until("send");
    s.answer("send", results(&[refused("m-1", code("forbidden"))])).commit();
    s.answer("probe", probed(Some(3), 3, true)).commit();
    s.check(matches!(outgoing(&s)[..], [OutgoingState::Stored(_)]) && s.entries_shown() == [3], "it is sent");
    s
}

fn an_own_entry_settles_its_message() -> Scenario {
    let mut s = Scenario::live(
        "own-entry",
        "No answer comes, but the entry does: sender and client message id say that it is the message that waits. It is not sent again.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    let own = json!({
        "position": at(3), "sender": "alice", "client_message_id": "m-1", "time_ms": 1_795_000_000_003_u64, "count": 2,
        "kind": "message", "body": {"content_type": "text/plain", "text": "hi"},
    });
    s.pass(50).frame(&json!({"type": "entries", "conversation": "dbob", "entries": [own]})).commit();
    s.check(matches!(outgoing(&s)[..], [OutgoingState::Stored(_)]) && s.entries_shown() == [3], "settled");
    s.pass(10).frame(&gateway());
    s.pass(60_000).input(Input::Tick);
    s.check(s.sent("send").is_none(), "not again");
    s
}

fn the_gateways_frame_leaves_everything_open() -> Scenario {
    let mut s = Scenario::live(
        "gateway-frame",
        "API Gateway's own frame names no request: whatever is in flight on the socket has an unknown outcome and is repeated on it, after \
         a random pause, with the same ids and anchors.",
    );
    s.pass(10).compose("m-1", "hi").commit();
    let first = s.messages();
    s.pass(20).frame(&gateway());
    s.check(!s.last.iter().any(|output| matches!(output, Output::Close(_))), "the socket stays");
    let again = s.tick_until("send");
    s.check(again["messages"] == first, "the same");
    s.answer("send", results(&[stored("m-1", "duplicate", 3)])).commit();
    s
}

fn one_send_at_a_time() -> Scenario {
    let mut s = Scenario::live(
        "one-send-at-a-time",
        "Requests are handled in no order, so a conversation has one `send` in flight: what is written meanwhile goes together with the next.",
    );
    s.pass(10).compose("m-1", "one").commit();
    s.pass(5).compose("m-2", "two").commit();
    s.check(s.sent("send").is_none(), "the next waits");
    s.pass(5).compose("m-3", "three").commit();
    s.pass(60).answer("send", results(&[stored("m-1", "ok", 3)]));
    let messages = s.messages();
    s.check(messages.as_array().unwrap().len() == 2, "both go together");
    s.answer("send", results(&[stored("m-2", "ok", 4), stored("m-3", "ok", 5)])).commit();
    s
}
