//! One message through the real stack: processes, SDK, tables, queue, gateway.

use chatlane_protocol::frames::Outcome;
use chatlane_protocol::{EntryKind, Position, Seq};
use chatlane_tests_e2e::{message, start};

#[tokio::test(flavor = "multi_thread")]
async fn alice_sends_a_line_and_bob_sees_it() {
    let stack = start(|_| {}).await;
    let (alice, bob) = (stack.device("alice").await, stack.device("bob").await);
    let opened = alice.open("bob").await.unwrap();
    assert_eq!(opened.head, Position::new(1, Seq::FIRST));
    assert!(matches!(bob.entry(&opened.conversation, 1).await.kind, EntryKind::Created { .. }));

    let sent = message("hello bob", opened.head);
    let answer = alice.send(&opened.conversation, std::slice::from_ref(&sent)).await.unwrap();
    let Outcome::Ok(stored) = answer.results[0].outcome else { panic!("{answer:?}") };
    assert_eq!((stored.position.seq.get(), stored.count), (2, 1));

    let entry = bob.entry(&opened.conversation, 2).await;
    assert_eq!((entry.sender.as_str(), entry.client_message_id), ("alice", sent.client_message_id));
    assert_eq!(entry.kind, EntryKind::Message { body: sent.body });
    stack.quiet().await;
    assert!(!alice.entries(&opened.conversation).unwrap().contains_key(&stored.position.seq), "the ack is the sender's delivery");
}

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
