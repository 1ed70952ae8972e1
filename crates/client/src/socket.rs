//! One WebSocket: opened as `docs/PROTOCOL.md` §2 says, read and written to its end. What its texts say is the session's.

use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

mod handshake;

pub use handshake::{OpenError, Socket, open};

/// How long the other side may take for its part of closing.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Says goodbye: the last thing that is queued for a socket.
pub fn close_frame() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Reads and writes the socket to its end. After a queued close frame the server has 2 s to answer it. `arrived` gets each text, in order;
/// `ended` is called at the end, unless this future is dropped before.
pub async fn drive(socket: Socket, outgoing: UnboundedReceiver<Message>, arrived: impl FnMut(&str), ended: impl FnOnce()) {
    let (mut sink, mut stream) = socket.split();
    let mut reading = std::pin::pin!(read(&mut stream, arrived));
    // Both at once: a server that does not read must not keep this side from reading, or the two wait for each other.
    tokio::select! {
        () = &mut reading => {}
        () = write(&mut sink, outgoing) => {
            // What was on its way is read still, such as why the server closes.
            let _outcome = timeout(CLOSE_WAIT, reading).await;
        }
    }
    ended();
    // The reply to the server's close frame. Whether the server still takes it changes nothing.
    let _outcome = timeout(CLOSE_WAIT, sink.close()).await;
}

async fn read(stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin), mut arrived: impl FnMut(&str)) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Text(text) => arrived(text.as_str()),
            Message::Close(_) => return,
            // Chatlane's frames are text. Pongs are sent by the socket itself.
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Writes what is queued, up to a close frame; ends sooner when writing fails.
async fn write(sink: &mut (impl Sink<Message, Error = Error> + Unpin), mut outgoing: UnboundedReceiver<Message>) {
    while let Some(message) = outgoing.recv().await {
        let is_last = message.is_close();
        if sink.send(message).await.is_err() || is_last {
            return;
        }
    }
}
