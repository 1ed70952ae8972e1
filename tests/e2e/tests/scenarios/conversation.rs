//! A stack that is stopped and started again.

use chatlane_protocol::frames::Outcome;
use chatlane_tests_e2e::{message, start};

// holds: L2, L3
#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_survives_a_restart_of_the_stack() {
    let mut stack = start(|_| {}).await;
    let alice = stack.device("alice").await;
    let opened = alice.open("bob").await.unwrap();
    let sent = message("kept", opened.head);
    alice.send(&opened.conversation, std::slice::from_ref(&sent)).await.unwrap();
    stack.quiet().await;
    stack.restart(|_| {}).await;

    let bob = stack.silent_device("bob").await;
    let welcome = bob.hello().await.unwrap();
    assert_eq!(welcome.conversations.len(), 1);
    assert_eq!(welcome.conversations[0].conversation.head.seq.get(), 2);
    // L2: the retry after the restart is answered with the first position.
    let alice = stack.device("alice").await;
    let answer = alice.send(&opened.conversation, &[sent]).await.unwrap();
    assert!(matches!(answer.results[0].outcome, Outcome::Duplicate(stored) if stored.position.seq.get() == 2), "{answer:?}");
}
