//! The task that reads and writes one socket.

use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Closed;
use super::handshake::Socket;

/// How long the other side may take for its part of closing.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What [`super::Connection::close`] sends.
pub(crate) fn close_frame() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Drives the socket to its end: `arrived` gets each text, `ended` how it ended.
pub(crate) async fn drive(socket: Socket, outgoing: UnboundedReceiver<Message>, arrived: impl FnMut(&str), ended: impl FnOnce(Closed)) {
    let (mut sink, mut stream) = socket.split();
    // Both at once: a server that does not read must not keep this side from reading, or the two wait for each other.
    let closed = tokio::select! {
        closed = read(&mut stream, arrived) => closed,
        closed = write(&mut sink, outgoing) => closed,
    };
    ended(closed);
    // The reply to the server's close frame. Whether the server still takes it changes nothing.
    let _outcome = timeout(CLOSE_WAIT, sink.close()).await;
}

async fn read(stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin), mut arrived: impl FnMut(&str)) -> Closed {
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => arrived(text.as_str()),
            Ok(Message::Close(Some(frame))) => return Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
            Ok(Message::Close(None)) => return Closed { code: 1005, reason: String::new() },
            // Chatlane's frames are text. Pongs are sent by the socket itself.
            Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(error) => return lost(&error),
        }
    }
    lost(&Error::ConnectionClosed)
}

/// Writes what is queued; ends when writing fails, or when the server does not answer a close frame in time.
async fn write(sink: &mut (impl Sink<Message, Error = Error> + Unpin), mut outgoing: UnboundedReceiver<Message>) -> Closed {
    while let Some(message) = outgoing.recv().await {
        let is_last = message.is_close();
        if let Err(error) = sink.send(message).await {
            return lost(&error);
        }
        if is_last {
            sleep(CLOSE_WAIT).await;
            break;
        }
    }
    Closed { code: 1006, reason: "the server did not answer the close frame".to_owned() }
}

fn lost(error: &Error) -> Closed {
    Closed { code: 1006, reason: error.to_string() }
}
