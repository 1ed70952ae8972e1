//! SQS: the queue of delivery tasks.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use chatlane_chat::ports::{Failure, FanOutQueue};
use chatlane_chat::workers::task::Task;

use crate::backend::{Backend, Clients, Part, Resource};
use crate::failure::unavailable;
use crate::meter;

/// One standard queue: at least once, in any order.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// Opens the connection that the first task will use, by asking for the queue's name. An error changes nothing: the first task
    /// then opens it.
    pub async fn open_connection(&self) -> Result<(), Failure> {
        let name = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::QueueArn);
        name.send().await.map(|_| ()).map_err(|error| unavailable("open a connection to the queue", &error))
    }
}

impl Part for Queue {
    const RESOURCE: Option<Resource> = Some(Resource::Queue);

    fn new(clients: &Clients<'_>, name: &str) -> Self {
        Self { client: Client::new(clients.config), url: name.to_owned() }
    }
}

impl<L: Part, C: Part, I: Part, U: Part, G: Part> FanOutQueue for Backend<L, C, I, U, Queue, G> {
    async fn enqueue(&self, task: &Task, delay_s: u32) -> Result<(), Failure> {
        let attempted = "queue a task";
        let body = serde_json::to_string(task).expect("a task has text keys and holds no foreign types");
        let mut request = self.queue.client.send_message().queue_url(&self.queue.url).message_body(body);
        if let Some(sender) = task.sender {
            // Where one group has much of what is being worked on, a standard queue hands out the messages of others first (SQS guide,
            // "Amazon SQS fair queues").
            request = request.message_group_id(format!("{sender:08x}"));
        }
        if delay_s > 0 {
            request = request.delay_seconds(i32::try_from(delay_s.min(900)).unwrap_or(900));
        }
        meter::add(meter::TASK);
        request.send().await.map(|_| ()).map_err(|error| unavailable(attempted, &error))
    }
}
