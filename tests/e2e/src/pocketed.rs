//! A device in a pocket: it asks over HTTPS.

use std::time::Duration;

use chatlane_protocol::DeviceId;
use serde_json::{Value, json};

use crate::{Device, DeviceError, Running};

/// A device that has no socket.
pub struct Pocketed<'a> {
    stack: &'a Running,
    /// Its id.
    pub id: DeviceId,
    /// Its user's.
    pub token: String,
    http: reqwest::Client,
}

impl<'a> Pocketed<'a> {
    /// One of this user, with a good token.
    pub fn new(stack: &'a Running, user: &str) -> Self {
        let id = DeviceId::from(uuid::Uuid::new_v4());
        Self { stack, id, token: stack.token(user, Duration::from_hours(1)), http: reqwest::Client::new() }
    }

    /// The status and the frame.
    ///
    /// # Panics
    /// If it is not answered by a frame.
    pub async fn ask(&self, mut frame: Value) -> (u16, Value) {
        frame["id"] = json!("1");
        let url = format!("http://{}/v1/{}?device={}", self.stack.address(), frame["action"].as_str().expect("an action"), self.id);
        let asked = self.http.post(url).bearer_auth(&self.token).json(&frame).send().await.expect("an answer");
        let status = asked.status().as_u16();
        (status, asked.json().await.expect("a frame"))
    }

    /// The answer's frame.
    ///
    /// # Panics
    /// If the request is refused.
    pub async fn answered(&self, frame: Value) -> Value {
        let (status, answer) = self.ask(frame).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// A handshake of a device with a ticket.
    ///
    /// # Errors
    /// It is not let in.
    ///
    /// # Panics
    /// If the ticket is no text.
    pub async fn connects_as(&self, id: DeviceId, ticket: &Value) -> Result<Device, DeviceError> {
        let url = format!("{}?device={id}", self.stack.url());
        let offered = format!("chatlane.v1, ticket.{}", ticket.as_str().expect("a text"));
        Device::connect_with(&url, id, &[("Sec-WebSocket-Protocol", &offered)]).await
    }
}
