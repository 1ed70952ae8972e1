//! One WebSocket connection, read by hand.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, http};

use crate::patiently;

/// The answer to a handshake that was accepted.
pub type Upgraded = http::Response<Option<Vec<u8>>>;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code of the close frame; 1005 without one in it, 1006 without a close frame.
    pub code: u16,
    /// Its reason.
    pub reason: String,
}

/// A connection that reads nothing until it is asked to.
#[derive(Debug)]
pub struct Socket {
    /// As the library has it. It sends more than the gateway takes, too.
    pub stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Opens a connection to a server on this machine, without TLS.
    ///
    /// # Errors
    /// [`Error::Http`] with the answer that refuses it, or what else went wrong.
    ///
    /// # Panics
    /// If the request has no address.
    pub async fn open(request: impl IntoClientRequest) -> Result<(Self, Upgraded), Error> {
        let request = request.into_client_request()?;
        let stream = TcpStream::connect(request.uri().authority().expect("an address").as_str()).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let connecting = Box::pin(tokio_tungstenite::client_async_with_config(request, stream, Some(config))); // a large future
        let (stream, answer) = patiently("the handshake is answered", connecting).await?;
        Ok((Self { stream }, answer))
    }

    /// Sends one message.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send(&mut self, message: impl Into<Message>) {
        self.stream.send(message.into()).await.expect("the connection is open");
    }

    /// The next message, whatever it is.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn message(&mut self) -> Message {
        patiently("a message", self.stream.next()).await.expect("the connection is open").expect("a message")
    }

    /// The next message, which must be a text.
    ///
    /// # Panics
    /// If it is none.
    pub async fn text(&mut self) -> String {
        match self.message().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next message, which must be JSON.
    ///
    /// # Panics
    /// If it is none.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// Waits until the next bytes are there, and leaves them unread.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn readable(&mut self) {
        let peeked = patiently("bytes", self.stream.get_mut().peek(&mut [0])).await;
        assert_eq!(peeked.expect("the connection is open"), 1);
    }

    /// Code and reason of the server's close frame; messages before it are passed over. Reads on until TCP ends, so that the close frame
    /// of this side is sent.
    ///
    /// # Panics
    /// If it has no code.
    pub async fn close_frame(&mut self) -> Closed {
        loop {
            if let Message::Close(frame) = self.message().await {
                let frame = frame.expect("a close frame with a code");
                let _end = patiently("the end of the connection", self.stream.next()).await;
                return Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() };
            }
        }
    }
}
