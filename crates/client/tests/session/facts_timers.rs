//! Timers: a session that is only ticked does not spin, and does not sleep over anything.

use chatlane_client::session::{Input, OpenFailure};

use crate::phone::*;

#[test]
fn a_phone_without_a_network_wakes_rarely() {
    let mut phone = Phone::with(&knows(3));
    phone.compose("m");
    phone.input(Input::ConnectNow);
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
