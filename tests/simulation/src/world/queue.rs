//! The queue between functions and workers: at least once, in any order, as late as it likes. After ten receives a message is a dead
//! letter, which an operator redrives in the end; it is then a new message (infra/template.yaml: `maxReceiveCount`, `VisibilityTimeout`).

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chatlane_chat::workers::task::{Task, Undelivered};
use chatlane_protocol::{ConversationId, Position};
use serde_json::json;

use super::watch::is_there;
use super::{Event, START_MS, World};
use crate::fault::Fault;

/// Six times the worker's time limit.
const VISIBILITY_MS: u64 = 60_000;

const RECEIVES_MAX: u32 = 10;

/// Messages of one batch.
const BATCH_MAX: usize = 10;

#[derive(Debug)]
struct Message {
    body: String,
    undelivered: Option<Undelivered>,
    sent_ms: u64,
    receives: u32,
    visible_ms: u64,
}

/// How much has been tried in vain for what a message is left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tried {
    Never,
    Once,
    /// It is given up soon.
    Long,
}

impl Tried {
    fn so_far(rest: &Undelivered, now_ms: u64) -> Self {
        let since_ms = now_ms.saturating_sub(rest.since.get());
        if rest.throttled >= 3 || since_ms >= 60_000 { Self::Long } else { Self::Once }
    }
}

/// The queue and its dead letters.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: BTreeMap<u64, Message>,
    dead: Vec<Message>,
    pub(crate) dead_letters: u64,
}

impl Queue {
    /// Whether a task delivers this entry.
    pub(crate) fn has(&self, conversation: &ConversationId, position: Position) -> bool {
        let tasks = self.messages.values().chain(&self.dead).filter_map(|message| serde_json::from_str::<Task>(&message.body).ok());
        tasks.filter(|task| !task.check).any(|task| task.conversation == *conversation && task.last >= position)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dead.is_empty()
    }
}

impl World {
    /// The queue has the task, durably.
    pub(crate) fn accept(&mut self, task: &Task, delay_s: u32) {
        if task.check {
            self.met.checked();
        }
        let copies = 1 + u8::from(self.faults.strike(Fault::QueueDuplicate).is_some());
        let (body, undelivered) = (serde_json::to_string(task).expect("a task is JSON"), &task.undelivered);
        for _ in 0..copies {
            let mut in_ms = u64::from(delay_s) * 1000 + self.dice.between(0, 30);
            if let Some(mut dice) = self.faults.strike(Fault::QueueReorder) {
                in_ms += dice.between(100, 3_000);
            }
            if let Some(mut dice) = self.faults.strike(Fault::QueueDelay) {
                in_ms += dice.between(3_000, 60_000);
            }
            if self.faults.strike(Fault::QueueQuarter).is_some() {
                in_ms += 900_000;
            }
            let (body, undelivered) = (body.clone(), undelivered.clone());
            self.enqueue(Message { body, undelivered, sent_ms: self.now_ms, receives: 0, visible_ms: self.now_ms + in_ms });
        }
    }

    fn enqueue(&mut self, message: Message) {
        let number = self.number();
        self.at(message.visible_ms - self.now_ms, Event::Poll);
        self.queue.messages.insert(number, message);
    }

    /// A worker takes what can be seen.
    pub(crate) fn poll_queue(&mut self) {
        let now_ms = self.now_ms;
        let mut visible: Vec<u64> =
            self.queue.messages.iter().filter(|(_, message)| message.visible_ms <= now_ms).map(|(number, _)| *number).collect();
        let most = 1 + self.dice.below(BATCH_MAX);
        if visible.len() > most {
            visible.truncate(most);
            self.at(1, Event::Poll);
        }
        let (mut batch, mut records, mut tried) = (vec![], vec![], Tried::Never);
        for number in visible {
            let overlap = self.faults.strike(Fault::WorkerOverlap).map(|mut dice| dice.between(1, 40));
            let message = self.queue.messages.get_mut(&number).expect("just seen");
            if message.receives == RECEIVES_MAX {
                let message = self.queue.messages.remove(&number).expect("just seen");
                self.queue.dead.push(message);
                self.queue.dead_letters += 1;
                continue;
            }
            message.receives += 1;
            let invisible_ms = overlap.unwrap_or(VISIBILITY_MS);
            message.visible_ms = now_ms + invisible_ms;
            tried = tried.max(message.undelivered.as_ref().map_or(Tried::Never, |rest| Tried::so_far(rest, START_MS + now_ms)));
            records.push(json!({
                "messageId": number.to_string(),
                "receiptHandle": format!("{number}-{}", message.receives),
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": (START_MS + message.sent_ms).to_string(),
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:fan-out",
                "awsRegion": "us-east-1",
            }));
            batch.push(number);
            self.at(invisible_ms, Event::Poll);
        }
        if !batch.is_empty() {
            let event: SqsEvent = serde_json::from_value(json!({"Records": records})).expect("an event of the queue");
            self.invoke_fan_out(batch, tried, event);
        }
    }

    /// Lambda deletes what the worker has done. The others are seen again when their time is over.
    pub(crate) fn batch_answered(&mut self, messages: &[u64], answer: &SqsBatchResponse) {
        for number in messages {
            let failed = answer.batch_item_failures.iter().any(|failure| failure.item_identifier == number.to_string());
            if failed {
                self.log(format_args!("message {number} is handed back"));
            } else {
                self.queue.messages.remove(number);
            }
        }
    }

    /// An operator redrives the dead letters, but for those about entries that a restore took back: nobody can deliver them.
    pub(crate) fn redrive(&mut self) {
        let is_deliverable = |task: &Task| is_there(&self.memory.state(), &task.conversation, task.last);
        let mut dead = std::mem::take(&mut self.queue.dead);
        dead.retain(|message| serde_json::from_str(&message.body).is_ok_and(|task| is_deliverable(&task)));
        for message in dead {
            self.enqueue(Message { sent_ms: self.now_ms, receives: 0, visible_ms: self.now_ms, ..message });
        }
    }
}
