//! Timers: a session that is only ticked does not spin, and does not sleep over anything.

use chatlane_protocol::frames::{CursorOutcome, CursorResult, CursorsAnswer, Entries, Missed, SyncOutcome};
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ConversationId, ErrorCode, Outcome, Refusal, ServerFrame};
use chatlane_session::{Act, ConversationRow, Input, OpenFailure};

use crate::phone::*;

#[test]
fn a_phone_without_a_network_wakes_rarely() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.input(Input::Do(Act::ConnectNow));
    let mut wakes = 0;
    while phone.now < 3_600_000 {
        phone.open_fails(OpenFailure::Unreachable);
        phone.now = phone.session.wake_at().expect("an attempt").0;
        phone.input(Input::Tick);
        wakes += 1;
    }
    assert!((120..400).contains(&wakes), "{wakes}");
}

#[test]
fn a_live_phone_sleeps_until_the_next_ping() {
    let phone = Phone::live_at(3);
    assert_eq!(phone.session.wake_at().unwrap().0, phone.now + 240_000);
}

/// How long the phone waits after each of eight refusals.
fn pauses(phone: &mut Phone, refuse: impl Fn(&mut Phone)) -> Vec<u64> {
    let pause = |_| {
        refuse(phone);
        let refused_at = phone.now;
        while phone.sent.is_empty() && phone.cursors.is_empty() {
            phone.now = phone.session.wake_at().expect("another attempt").0;
            phone.input(Input::Tick);
        }
        phone.now - refused_at
    };
    (0..8).map(pause).collect()
}

fn unavailable() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "")
}

fn cursors(phone: &mut Phone, outcomes: &[CursorOutcome]) {
    let ack = phone.ack();
    let result =
        |(sent, outcome): (&PositionIn, &CursorOutcome)| CursorResult { conversation: sent.conversation.clone(), outcome: outcome.clone() };
    let results = ack.positions.iter().zip(outcomes).map(result).collect();
    phone.receive(&ServerFrame::Ack(CursorsAnswer { id: ack.id, results }));
}

/// A phone that is live and has two conversations, `d1` and `d2`, with bob up to entry 3.
fn with_two_conversations() -> Phone {
    let mut store = knows(3);
    store.rows.insert(d2(), ConversationRow { conversation: d2(), ..store.rows[&d1()].clone() });
    let mut phone = Phone::with(&store);
    phone.go_live(vec![]);
    phone
}

fn d2() -> ConversationId {
    ConversationId::new("d2").unwrap()
}

fn push_in_both(phone: &mut Phone, seq: u64) {
    for conversation in [d1(), d2()] {
        phone.receive(&ServerFrame::Entries(Entries { conversation, entries: vec![entry(1, seq)] }));
    }
}

const SHORT_MS: u64 = 500;
const LONG_MS: u64 = 4_000;

#[test]
fn refusals_inside_answers_make_the_pauses_grow_until_an_answer_brings_something() {
    // Messages.
    let mut phone = Phone::live_at(3);
    for id in ["sent", "a", "b"] {
        phone.compose(id);
    }
    let send = phone.send();
    phone.results(&send, vec![Outcome::Ok(stored(4))]);
    let ack = phone.ack();
    phone.cursors_ok(&ack, ServerFrame::Ack);
    let answer = |phone: &mut Phone, first: Outcome| {
        let send = phone.send();
        phone.results(&send, vec![first, Outcome::Refused(unavailable())]);
    };
    let pauses_of_sends = pauses(&mut phone, |phone| answer(phone, Outcome::Refused(unavailable())));
    assert!(pauses_of_sends.iter().any(|ms| *ms > LONG_MS), "{pauses_of_sends:?}");
    answer(&mut phone, Outcome::Ok(stored(5)));
    phone.pass(SHORT_MS);
    assert_eq!(phone.send().messages.len(), 1);

    // Pages.
    let mut phone = with_two_conversations();
    push_in_both(&mut phone, 5);
    phone.pass(1_000);
    let refused = || SyncOutcome::Refused(unavailable());
    let pauses_of_syncs = pauses(&mut phone, |phone| {
        let sync = phone.sync();
        phone.pages(&sync, vec![refused(), refused()], false);
    });
    assert!(pauses_of_syncs.iter().any(|ms| *ms > LONG_MS), "{pauses_of_syncs:?}");
    assert!(pauses_of_syncs[0] <= SHORT_MS, "one answer is one failure: {pauses_of_syncs:?}");
    let sync = phone.sync();
    let brought = SyncOutcome::Ok(Missed { skip: None, entries: vec![entry(1, 4)], done: true });
    phone.pages(&sync, vec![brought, refused()], false);
    phone.pass(SHORT_MS);
    assert_eq!(phone.sync().conversations[0].conversation, d2());

    // Cursors.
    let mut phone = with_two_conversations();
    push_in_both(&mut phone, 4);
    phone.ack();
    phone.gateway_fails();
    phone.pass(1_500);
    let refused = || CursorOutcome::Refused(unavailable());
    let pauses_of_acks = pauses(&mut phone, |phone| cursors(phone, &[refused(), refused()]));
    assert!(pauses_of_acks.iter().any(|ms| *ms > LONG_MS), "{pauses_of_acks:?}");
    cursors(&mut phone, &[CursorOutcome::Ok, refused()]);
    phone.pass(1_000 + SHORT_MS);
    assert_eq!(phone.ack().positions[0].conversation, d2());
}

#[test]
fn a_page_that_brings_nothing_is_not_asked_for_again_at_once() {
    let mut phone = Phone::with(&knows(3));
    phone.go_live(vec![row(at(4), at(1))]);
    let sync = phone.sync();
    phone.page(&sync, vec![], false);
    assert!(phone.sent.is_empty());
    phone.pass(SHORT_MS);
    assert_eq!(phone.sync().conversations, sync.conversations);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut phone = Phone::live_at(3);
        phone.push([5, 7]);
        phone.compose("m");
        phone.pass(100_000);
        (format!("{:?}", phone.sent), format!("{:?}", phone.shown), phone.connects)
    };
    assert_eq!(run(), run());
}
