//! A sender dies between put and enqueue, and its user never comes back: the sweeper finds what it left, and only that.

use std::time::Duration;

use chatlane_local::embedded::{At, Service};
use chatlane_tests_e2e::{message, start};
use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};

use crate::kills::{caught, kill, naming};

const PAIRS: usize = 10;

// holds: L4
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_sender_left_reaches_the_others_live() {
    let stack = start(|settings| settings.sweep_window = Duration::from_secs(1)).await;
    let mut pairs = vec![];
    for number in 0..PAIRS {
        let bob = format!("bob-{number}");
        let (alice, receivers) = (stack.device(&format!("alice-{number}")).await, [stack.device(&bob).await, stack.device(&bob).await]);
        let opened = alice.open(&bob).await.expect("open is answered");
        pairs.push((alice, receivers, opened));
    }
    stack.quiet().await;
    let calls = stack.record();

    let left = pairs.into_iter().map(async |(alice, receivers, opened)| {
        let (conversation, message) = (opened.conversation, message("my last words", opened.head));
        let enqueue = naming(Service::Sqs, "send", "SendMessage", &conversation);
        // All that fit: the SDK of a process that waits for long begins to repeat its request.
        let mut trap = stack.endpoints().hold(enqueue, At::Request, usize::MAX);
        let death = async {
            let held = caught(&mut trap).await;
            assert!(kill(&stack, &held).await);
            held.lose();
            // What the dead process sent again before it died must not be let go with the trap.
            while let Some(again) = trap.caught().now_or_never() {
                again.lose();
            }
        };
        let (answer, ()) = join(alice.send(&conversation, std::slice::from_ref(&message)), death).await;
        assert!(answer.is_err(), "L3: nothing is acknowledged by a process that was killed: {answer:?}");
        alice.close().await;
        (receivers, conversation, opened.head.seq.next(), message)
    });
    for (receivers, conversation, seq, message) in join_all(left).await {
        for device in &receivers {
            let entry = device.entry(&conversation, seq.get()).await;
            assert_eq!(entry.client_message_id, message.client_message_id);
        }
    }
    stack.quiet().await;
    // One task for each of them, and none for what was only late when it was swept.
    let queued = calls.calls();
    let by_checks = queued.iter().filter(|call| call.caller.function() == "fan_out" && call.operation == "SendMessage").count();
    let checks = queued.iter().filter(|call| call.caller.function() == "sweep" && call.operation == "SendMessage").count();
    println!("{PAIRS} killed; {checks} checks queued {by_checks} tasks");
    assert_eq!(by_checks, PAIRS);
    assert!(checks >= PAIRS);
}
