//! Timers: a session that is only ticked does not spin, and does not sleep over anything.

use chatlane_protocol::frames::{CursorOutcome, Entries, Missed, SyncOutcome};
use chatlane_protocol::{ErrorCode, Outcome, Refusal, ServerFrame};
use chatlane_session::{Input, OpenFailure};

use crate::phone::*;

/// The app tells it when it wakes up; behind a proxy that keeps silent nothing else does.
#[test]
fn a_device_that_slept_pings_at_once_and_has_what_it_missed_after_one_exchange_more() {
    // A short sleep, in which its token lives, and a dead connection; then a long one.
    for slept_ms in [60_000, 8 * 3_600_000] {
        let mut phone = Phone::live_at(3);
        phone.now += slept_ms;
        let woke = phone.now;
        phone.connect_now();
        phone.ping();
        // Nothing is answered.
        phone.pass(10_000);
        phone.pass(500);
        assert!(phone.is_opening());
        phone.opened();
        let hello = phone.hello();
        phone.hello_answered(hello, [row(at(5), at(1))], None);
        let sync = phone.sync();
        phone.page(&sync, entries(1, 4..=5), true);
        assert_eq!(phone.entries_shown(), [4, 5]);
        assert!(phone.now - woke <= 15_000, "{} ms", phone.now - woke);
    }
}

#[test]
fn a_phone_without_a_network_wakes_rarely() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.connect_now();
    let mut wakes = 0;
    while phone.now < 3_600_000 {
        phone.open_fails(OpenFailure::Unreachable);
        phone.now = phone.session.wake_at().expect("an attempt").0;
        phone.input(Input::Tick);
        wakes += 1;
    }
    assert!((120..400).contains(&wakes), "{wakes}");
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
    refusal(ErrorCode::Unavailable)
}

/// A phone that is live and has two conversations, `d1` and `d2`, of which an entry comes.
fn with_two_conversations(seq: u64) -> Phone {
    let mut phone = Phone::live(&knows_also(3, [d2()]), []);
    for conversation in [d1(), d2()] {
        phone.receive(&ServerFrame::Entries(Entries { conversation, entries: vec![entry(1, seq)] }));
    }
    phone
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
    phone.results(&send, [Outcome::Ok(stored(4))]);
    let ack = phone.ack();
    phone.cursors_ok(&ack);
    let answer = |phone: &mut Phone, first: Outcome| {
        let send = phone.send();
        phone.results(&send, [first, Outcome::Refused(unavailable())]);
    };
    let pauses_of_sends = pauses(&mut phone, |phone| answer(phone, Outcome::Refused(unavailable())));
    assert!(pauses_of_sends.iter().any(|ms| *ms > LONG_MS), "{pauses_of_sends:?}");
    answer(&mut phone, Outcome::Ok(stored(5)));
    phone.pass(SHORT_MS);
    assert_eq!(phone.send().messages.len(), 1);

    // Pages.
    let mut phone = with_two_conversations(5);
    phone.pass(1_000);
    let refused = || SyncOutcome::Refused(unavailable());
    let pauses_of_syncs = pauses(&mut phone, |phone| {
        let sync = phone.sync();
        phone.pages(&sync, [refused(), refused()], false);
    });
    assert!(pauses_of_syncs.iter().any(|ms| *ms > LONG_MS), "{pauses_of_syncs:?}");
    assert!(pauses_of_syncs[0] <= SHORT_MS, "one answer is one failure: {pauses_of_syncs:?}");
    let sync = phone.sync();
    let brought = SyncOutcome::Ok(Missed { skip: None, entries: vec![entry(1, 4)], done: true, ended: None });
    phone.pages(&sync, [brought, refused()], false);
    phone.pass(SHORT_MS);
    assert_eq!(phone.sync().conversations[0].conversation, d2());

    // Cursors.
    let mut phone = with_two_conversations(4);
    phone.ack();
    phone.gateway_fails();
    phone.pass(1_500);
    let refused = || CursorOutcome::Refused(unavailable());
    let answer = |phone: &mut Phone, first: CursorOutcome| {
        let ack = phone.ack();
        phone.cursors_answered(&ack, [first, refused()]);
    };
    let pauses_of_acks = pauses(&mut phone, |phone| answer(phone, refused()));
    assert!(pauses_of_acks.iter().any(|ms| *ms > LONG_MS), "{pauses_of_acks:?}");
    answer(&mut phone, CursorOutcome::Ok);
    phone.pass(1_000 + SHORT_MS);
    assert_eq!(phone.ack().positions[0].conversation, d2());
}
