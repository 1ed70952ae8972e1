//! Names, devices and recordings of one measurement.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chatlane_aws::items::deployment;
use chatlane_local::embedded::{Call, Caller, Recording, Service};
use chatlane_protocol::frames::{ConversationHead, Outcome, SendAnswer};
use chatlane_protocol::{ConversationId, Position};
use chatlane_tests_e2e::{Device, Running, message};
use serde_json::json;

use crate::table::Row;

/// Two users with a conversation of two entries, delivered.
pub struct Pair {
    pub alice: Device,
    pub bob: Device,
    pub conversation: ConversationId,
    pub tail: Position,
}

/// Devices stay connected to the end of the measurement: a `$disconnect` would be counted.
pub struct Scene<'a> {
    pub stack: &'a Running,
    pub recording: Recording,
    pub attempt: usize,
    pub pairs: Vec<Pair>,
    pub others: Vec<Device>,
    /// Processes that have been handed an event: what they asked before that was to open their connections.
    started: Mutex<BTreeSet<Caller>>,
}

impl<'a> Scene<'a> {
    pub fn new(stack: &'a Running, attempt: usize) -> Self {
        Self { stack, recording: stack.record(), attempt, pairs: vec![], others: vec![], started: Mutex::default() }
    }

    /// A user's name, new in this measurement; all of one length, so that nothing depends on it.
    pub fn user(&self, role: &str, number: usize) -> String {
        format!("{role}-{}-{number:02}", self.attempt)
    }

    pub async fn pair(&mut self) -> usize {
        let number = self.pairs.len();
        let alice = self.stack.device(&self.user("alice", number)).await;
        let name = self.user("bobby", number);
        let bob = self.stack.device(&name).await;
        let ConversationHead { conversation, head, .. } = alice.open(&name).await.expect("open is answered");
        let warm = alice.send(&conversation, &[message("an earlier message", head)]).await.expect("send is answered");
        let tail = position_of(&warm, 0);
        self.calls().await;
        self.pairs.push(Pair { alice, bob, conversation, tail });
        number
    }

    /// The row of what `device` asks, when everything is delivered; and the answer.
    pub async fn row<T>(&self, scene: &'static str, device: &Device, asked: impl Future<Output = T>) -> (Row, T) {
        self.calls().await;
        let before = device.traffic();
        let answer = asked.await;
        (Row { scene, calls: self.calls().await, traffic: device.traffic().since(before) }, answer)
    }

    /// What was called since the last time, when everything is delivered.
    pub async fn calls(&self) -> Vec<Call> {
        self.stack.quiet().await;
        self.counted(self.recording.take())
    }

    /// The Runtime API costs nothing; what a starting process asks is not counted, nor that it reads the deployment's item once a minute.
    pub fn counted(&self, mut calls: Vec<Call>) -> Vec<Call> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|call| {
            if call.service == Service::Runtime && call.operation == "Next" {
                started.insert(call.caller.clone());
            }
            call.service != Service::Runtime && started.contains(&call.caller) && !deployment::is_asked_for(&call.request)
        });
        calls
    }

    /// A token of the same user, as a device has it that renews it in time.
    pub fn new_token(&self, user: &str) -> serde_json::Value {
        json!({ "action": "refresh", "token": self.stack.token(user, Duration::from_hours(2)) })
    }
}

pub fn position_of(answer: &SendAnswer, index: usize) -> Position {
    match answer.results[index].outcome {
        Outcome::Ok(stored) => stored.position,
        ref other => panic!("message {index} was not stored: {other:?}"),
    }
}
