//! A stranger's client: `tests/stranger/chat.py`, written from `docs/PROTOCOL.md` alone, against the running stack.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chatlane_tests_e2e::{patiently, start};
use tokio::process::Command;

fn script() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../stranger/chat.py"))
}

#[test]
fn the_strangers_client_is_under_forty_lines() {
    let lines = std::fs::read_to_string(script()).expect("tests/stranger/chat.py").lines().count();
    assert!(lines < 40, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sends_a_line_and_receives_it() {
    let python = std::env::var_os("CHATLANE_STRANGER_PYTHON").expect(
        "CHATLANE_STRANGER_PYTHON must name a Python with the package websockets: `tests/run e2e stranger` installs one and sets it",
    );
    let stack = start(|_| {}).await;
    let token = |user: &str| stack.token(user, Duration::from_hours(1));
    let mut client = Command::new(&python);
    client
        .arg(script())
        .env("CHATLANE_STRANGER", [stack.url(), token("alice"), token("bob")].join(" "))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = patiently("the stranger's client ends", client.output()).await;
    let done = done.unwrap_or_else(|error| panic!("cannot start {}: {error}", python.display()));
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{complained}");
    assert_eq!(said, "alice sent: ok #2\nbob received from alice: hello, bob #2\n", "{complained}");
    stack.quiet().await;
}
