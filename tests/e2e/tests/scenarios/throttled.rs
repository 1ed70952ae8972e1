//! Posts that the gateway throttles: one try and one line of the log for each task, and no session ends for it.

use axum::http::StatusCode;
use chatlane_local::embedded::{At, Matching, Service};
use chatlane_tests_e2e::{Refusing, message, start};

const DEVICES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn throttled_posts_cost_one_try_and_one_line_a_task_and_the_session_stays() {
    let mut stack = start(|_| ()).await;
    let alice = stack.device("alice").await;
    let mut bobs = vec![];
    for _ in 0..DEVICES {
        bobs.push(stack.device("bob").await);
    }
    let opened = alice.open("bob").await.unwrap();
    stack.quiet().await;

    let recording = stack.record();
    let posts = Matching::service(Service::Connections).function("fan_out");
    let throttled = stack.endpoints().hold(posts, At::Request, DEVICES);
    let _throttling = Refusing::with(throttled, StatusCode::TOO_MANY_REQUESTS, "LimitExceededException");
    for (seq, text) in [(2, "throttled"), (3, "not throttled")] {
        alice.send(&opened.conversation, &[message(text, opened.head)]).await.unwrap();
        for bob in &bobs {
            bob.entry(&opened.conversation, seq).await; // without another hello
        }
        stack.quiet().await;
    }

    let calls = recording.calls();
    let of_worker =
        |operation: &str| calls.iter().filter(|call| call.caller.function() == "fan_out" && call.operation == operation).count();
    assert_eq!((of_worker("PostToConnection"), of_worker("SendMessage")), (3 * DEVICES, 1));
    stack.stop().await;
    let lines = stack.lines();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("LimitExceededException")).collect();
    let [line] = &told[..] else { panic!("one line, not {told:?}") };
    assert!(line.contains("not all connections took a task's entries: post to a connection: LimitExceededException"), "{line}");
    assert!(line.contains("WARN") && line.contains(&format!("throttled={DEVICES}")), "{line}");
}
