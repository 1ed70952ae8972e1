//! A stack with a conversation, a device that sends what is bad, and a bystander who must not notice.

use chatlane_local::embedded::{At, Matching, Recording, Service};
use chatlane_local::lambda::InvocationEnded;
use chatlane_protocol::frames::ConversationHead;
use chatlane_tests_e2e::{Device, Running, message, patiently, start};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

pub struct Scene {
    pub stack: Running,
    /// Sends what is bad.
    pub alice: Device,
    /// The bystander; the other member of the conversation.
    pub bob: Device,
    /// Of alice and bob, with one entry.
    pub lane: ConversationHead,
    calls: Recording,
    ended: UnboundedReceiver<InvocationEnded>,
}

impl Scene {
    pub async fn new() -> Self {
        let stack = start(|_| {}).await;
        let (alice, bob) = (stack.device("alice").await, stack.device("bob").await);
        let lane = alice.open("bob").await.expect("a conversation");
        for device in [&alice, &bob] {
            device.entry(&lane.conversation, 1).await;
        }
        stack.quiet().await;
        let (calls, ended) = (stack.record(), stack.lambda().observe());
        Self { stack, alice, bob, lane, calls, ended }
    }

    /// Does something bad while a request of bob's is in flight, and asserts that it harmed nobody and stored nothing.
    pub async fn harmless<T>(&mut self, name: &str, bad: impl AsyncFnOnce(&Self) -> T) -> T {
        self.calls.take();
        // Bob's function has done its work and its answer is on the way when the bad thing happens.
        let answers = Matching::service(Service::Runtime).function("ping").operation("Response");
        let mut hold = self.stack.endpoints().hold(answers, At::Request, 1);
        let meanwhile = async {
            let caught = patiently("bob's request is in flight", hold.caught()).await;
            let outcome = bad(self).await;
            caught.release();
            outcome
        };
        let (answered, outcome) = tokio::join!(self.bob.request(json!({ "action": "ping" })), meanwhile);
        assert_eq!(answered.expect("bob's request is answered")["type"], "ping", "{name}");

        let calls = self.calls.take();
        // `disconnect` takes the session of a socket that was closed, late, and adds nothing.
        let stored = calls.iter().filter(|call| call.caller.function() != "disconnect").find(|call| match call.service {
            Service::DynamoDb => !matches!(call.operation.as_str(), "GetItem" | "BatchGetItem" | "Query" | "TransactGetItems"),
            Service::Sqs => call.operation != "GetQueueAttributes", // a process that starts opens its connection
            Service::Connections | Service::Runtime => false,
        });
        assert!(stored.is_none(), "{name}: {stored:?}");
        let panicked = self.stack.lines().into_iter().find(|line| line.contains("panicked"));
        assert_eq!(panicked, None, "{name}");
        while let Ok(ended) = self.ended.try_recv() {
            assert_eq!(ended.outcome, Ok(()), "{name}: {ended:?}");
        }
        outcome
    }

    /// A good `send` of one message, to be made worse.
    pub fn good_send(&self) -> Value {
        let message = message("stored by mistake", self.lane.head);
        json!({ "action": "send", "id": "bad", "conversation": self.lane.conversation, "messages": [message] })
    }

    /// Asserts that alice got nothing but `answers` frames since the scene began, and that all goes on as ever.
    pub async fn goes_on(self, answers: usize, before: usize) {
        let (Self { stack, alice, bob, lane, .. }, text) = (self, "as if nothing had happened");
        assert_eq!(alice.frames().len(), before + answers, "one answer to each");
        let sent = message(text, lane.head);
        let answer = alice.send(&lane.conversation, &[sent]).await.expect("an answer");
        let answer = serde_json::to_value(&answer.results[0]).expect("JSON");
        assert_eq!(answer["status"], "ok", "{answer}");
        let entry = bob.entry(&lane.conversation, answer["position"]["seq"].as_u64().expect("a seq")).await;
        assert_eq!(serde_json::to_value(entry).expect("JSON")["body"]["text"], text);
        stack.quiet().await;
    }
}
