//! What a function knows of its deployment: who makes the item, how often it is read, and what happens while it cannot be read.

use chatlane_chat::Settings;
use chatlane_chat::deployment::{Deployment, EPOCH_FIRST, Secret};
use chatlane_chat::log::hash::BodyHash;
use chatlane_chat::ports::Failure;
use chatlane_chat::settings::{Deployed, Limits, READ_EVERY_MS};
use chatlane_chat::testing::builders::{SECRET, deployment, direct, settings, start, text, user};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;

fn ask(deployed: &Deployed, ports: &Faulty) -> Result<Settings, Failure> {
    block_on(deployed.settings(ports))
}

fn founding() -> Deployed {
    Deployed::founding(Limits::DEFAULT, SECRET)
}

fn calls(ports: &Faulty) -> (usize, usize) {
    (ports.count("deployment"), ports.count("found"))
}

#[test]
fn the_first_function_makes_the_item_and_every_other_one_takes_it() {
    let ports = Faulty::new(start());
    assert_eq!(ask(&founding(), &ports).unwrap().epoch, EPOCH_FIRST);
    assert_eq!(ports.memory.state().deployment, Some(Deployment { secret: SECRET, epoch: EPOCH_FIRST }));

    let another = Deployed::founding(Limits::DEFAULT, Secret([8; Secret::BYTES]));
    let taken = ask(&another, &ports).unwrap();
    let (taken, ours) = (BodyHash::of(&text("x"), &taken.keys.bodies), BodyHash::of(&text("x"), &settings().keys.bodies));
    assert_eq!((taken, calls(&ports)), (ours, (2, 1)));
}

#[test]
fn two_that_start_at_once_have_one_secret() {
    let ports = Faulty::new(start());
    ports.meanwhile("found", |memory| memory.state().deployment = Some(Deployment { epoch: 4, ..deployment() }));
    let late = Deployed::founding(Limits::DEFAULT, Secret([8; Secret::BYTES]));
    let settings = ask(&late, &ports).unwrap();
    let pair = chatlane_chat::log::kinds::direct_conversation(&settings.keys.pairs, &user("alice"), &user("bob"));
    assert_eq!((settings.epoch, pair), (4, direct(&user("alice"), &user("bob"))));
}

#[test]
fn one_that_may_not_make_the_item_waits_for_it() {
    let (ports, reader) = (Faulty::new(start()), Deployed::new(Limits::DEFAULT));
    assert!(matches!(ask(&reader, &ports), Err(Failure::Unavailable { .. })));
    assert_eq!((ports.memory.state().deployment.clone(), calls(&ports)), (None, (1, 0)));
    ask(&founding(), &ports).unwrap();
    assert_eq!(ask(&reader, &ports).unwrap().epoch, EPOCH_FIRST);
}

#[test]
fn it_is_read_once_a_minute_and_a_raised_epoch_is_seen_then() {
    let (ports, function) = (Faulty::new(start()), founding());
    ask(&function, &ports).unwrap();
    ports.memory.state().deployment.as_mut().unwrap().epoch = 2;
    ports.memory.clock.advance_ms(READ_EVERY_MS - 1);
    assert_eq!((ask(&function, &ports).unwrap().epoch, calls(&ports)), (1, (1, 1)));
    ports.memory.clock.advance_ms(1);
    assert_eq!((ask(&function, &ports).unwrap().epoch, calls(&ports)), (2, (2, 1)));
    assert_eq!((ask(&function, &ports).unwrap().epoch, calls(&ports)), (2, (2, 1)));
}

#[test]
fn a_clock_that_was_put_back_does_not_prolong_what_is_known() {
    let (ports, function) = (Faulty::new(start()), founding());
    ask(&function, &ports).unwrap();
    ports.memory.clock.set(chatlane_protocol::UnixMillis::ZERO);
    ask(&function, &ports).unwrap();
    assert_eq!(calls(&ports), (2, 1));
}

#[test]
fn without_the_item_nothing_is_known_and_the_next_request_asks_again() {
    for (method, fault) in [("deployment", Fault::RequestLost), ("found", Fault::RequestLost), ("found", Fault::AnswerLost)] {
        let (ports, function) = (Faulty::new(start()), founding());
        ports.on(method, fault);
        assert!(matches!(ask(&function, &ports), Err(Failure::Unavailable { .. })), "{method}");
        assert_eq!(ask(&function, &ports).unwrap().epoch, EPOCH_FIRST, "{method}");
    }
    // Nor does what was known a minute ago stand in for it.
    let (ports, function) = (Faulty::new(start()), founding());
    ask(&function, &ports).unwrap();
    ports.memory.clock.advance_ms(READ_EVERY_MS);
    ports.on("deployment", Fault::RequestLost);
    assert!(matches!(ask(&function, &ports), Err(Failure::Unavailable { .. })));
}
