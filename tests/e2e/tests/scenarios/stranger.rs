//! Strangers' clients: `tests/stranger/*.py`, written from `docs/PROTOCOL.md` alone, against the running stack.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chatlane_tests_e2e::{patiently, start};
use tokio::process::Command;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../stranger").join(name)
}

#[test]
fn the_strangers_clients_are_short() {
    for (name, fewer_than) in [("chat.py", 40), ("group.py", 80)] {
        let lines = std::fs::read_to_string(script(name)).expect(name).lines().count();
        assert!(lines < fewer_than, "{name}: {lines} lines");
    }
}

/// Runs the script with tokens of these users; what it says.
async fn says(name: &str, users: &[&str]) -> String {
    let python = std::env::var_os("CHATLANE_STRANGER_PYTHON").expect(
        "CHATLANE_STRANGER_PYTHON must name a Python with the package websockets: `tests/run e2e stranger` installs one and sets it",
    );
    let stack = start(|_| {}).await;
    let tokens = users.iter().map(|user| stack.token(user, Duration::from_hours(1)));
    let given: Vec<String> = std::iter::once(stack.url()).chain(tokens).collect();
    let mut client = Command::new(&python);
    client.arg(script(name)).env("CHATLANE_STRANGER", given.join(" ")).stdin(Stdio::null()).kill_on_drop(true);
    let done = patiently("the stranger's client ends", client.output()).await;
    let done = done.unwrap_or_else(|error| panic!("cannot start {}: {error}", python.display()));
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{complained}");
    stack.quiet().await;
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sends_a_line_and_receives_it() {
    let said = says("chat.py", &["alice", "bob"]).await;
    assert_eq!(said, "alice sent: ok #2\nbob received from alice: hello, bob #2\n");
}

// holds: M1
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_makes_a_group_edits_reacts_and_removes() {
    let said = says("group.py", &["alice", "bob", "carol"]).await;
    let kinds = "['group_created', 'hidden', 'edit', 'reaction', 'removed']";
    assert_eq!(said, format!("carol sees: ('hello', {{'👍': 1}})\ncarol: it ended at #5; {kinds}\n"));
}
