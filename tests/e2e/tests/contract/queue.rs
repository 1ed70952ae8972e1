//! `FanOutQueue` on `chatlane_aws::Queue` and the embedded queue.

use std::time::Duration;

use chatlane_aws::{Backend, Queue, Resource, SdkConfig, sdk_config_at};
use chatlane_chat::ports::FanOutQueue as _;
use chatlane_chat::testing::builders::{self, conversation, seq};
use chatlane_chat::workers::task::Task;
use chatlane_local::embedded::{At, Endpoints, Matching, Service};
use chatlane_local::queue::{self, QueueSettings};
use chatlane_protocol::UnixMillis;
use chatlane_tests_e2e::{Folder, part_on};
use serde_json::{Value, json};

use crate::embedded::{CALLER, serve};

const NAME: &str = "tasks";

/// A queue in a folder of its own, which goes with it.
pub struct Bench {
    pub queue: Backend<(), (), (), (), Queue>,
    embedded: queue::Queue,
    endpoints: Endpoints,
    url: String,
    _folder: Folder,
}

fn queue_on(config: &SdkConfig, url: &str, name: &str) -> Backend<(), (), (), (), Queue> {
    part_on(config, [(Resource::Queue, queue::Queue::url(url, name))])
}

impl Bench {
    pub async fn new() -> Self {
        let folder = Folder::new();
        let settings = QueueSettings {
            name: NAME.to_owned(),
            visibility_timeout: Duration::from_mins(1),
            max_receive_count: 10,
            dead_letter_queue: None,
        };
        let embedded = queue::Queue::open(&folder.file("queue"), [settings]).expect("a new file");
        let endpoints = Endpoints::new();
        let url = serve(&endpoints, Service::Sqs, embedded.router()).await;
        let queue = queue_on(&sdk_config_at(&url, CALLER).await, &url, NAME);
        Self { queue, embedded, endpoints, url, _folder: folder }
    }

    /// The bodies of what can be received now.
    pub async fn receive(&self) -> Vec<String> {
        let request = json!({ "QueueUrl": queue::Queue::url(&self.url, NAME), "MaxNumberOfMessages": 10 });
        let request = reqwest::Client::new().post(&self.url).header("x-amz-target", "AmazonSQS.ReceiveMessage").json(&request);
        let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(|message| message["Body"].as_str().expect("a body").to_owned()).collect()
    }
}

fn task() -> Task {
    Task { own: vec![seq(2), seq(3)], queued: UnixMillis::ZERO, ..builders::task(&conversation("d-1"), 2, 3) }
}

#[tokio::test]
async fn a_delayed_task_is_not_received_before_its_time() {
    let bench = Bench::new().await;
    let recording = bench.endpoints.record();
    for delay_s in [0, 600, 900, 100_000] {
        bench.queue.enqueue(&task(), delay_s).await.unwrap();
    }
    assert_eq!(bench.receive().await.len(), 1);
    assert_eq!(bench.embedded.depth(NAME).unwrap().delayed, 3);
    let delays: Vec<Value> = recording.calls().iter().map(|call| call.request["DelaySeconds"].clone()).collect();
    assert_eq!(delays[..4], [Value::Null, json!(600), json!(900), json!(900)], "900 s is the longest that SQS has");
}

/// What SQS is fair between: the senders, by their hashes.
#[tokio::test]
async fn a_task_is_in_the_group_of_its_sender() {
    let bench = Bench::new().await;
    let recording = bench.endpoints.record();
    for sender in [None, Some(0), Some(0xa1b2_c3d4)] {
        bench.queue.enqueue(&Task { sender, ..task() }, 0).await.unwrap();
    }
    let groups: Vec<Value> = recording.calls().iter().map(|call| call.request["MessageGroupId"].clone()).collect();
    assert_eq!(groups, [Value::Null, json!("00000000"), json!("a1b2c3d4")]);
}

#[tokio::test]
async fn a_task_whose_answer_is_lost_is_in_the_queue_at_least_once() {
    let bench = Bench::new().await;
    let mut hold = bench.endpoints.hold(Matching::service(Service::Sqs).operation("SendMessage"), At::Answer, 1);
    let task = task();
    let (accepted, ()) = tokio::join!(bench.queue.enqueue(&task, 0), async { hold.caught().await.lose() });
    accepted.unwrap();
    assert_eq!(bench.embedded.depth(NAME).unwrap().visible, 2, "the SDK sent it again: standard queues may hold it twice");
}

#[tokio::test]
async fn a_task_that_no_queue_accepts_is_unavailable() {
    let bench = Bench::new().await;
    let config = sdk_config_at(&bench.url, CALLER).await;
    let nowhere = queue_on(&config, &bench.url, "nobody");
    let refused = nowhere.enqueue(&task(), 0).await.unwrap_err();
    assert!(refused.to_string().ends_with("AWS.SimpleQueueService.NonExistentQueue"));

    let mut hold = bench.endpoints.hold(Matching::service(Service::Sqs), At::Request, 3);
    let lose_all = async {
        for _ in 0..3 {
            hold.caught().await.lose();
        }
    };
    let task = task();
    let (refused, ()) = tokio::join!(bench.queue.enqueue(&task, 0), lose_all);
    assert!(refused.unwrap_err().to_string().ends_with("no connection, or it was lost"));
    assert!(bench.embedded.depth(NAME).unwrap().is_empty());
}
