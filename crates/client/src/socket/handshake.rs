//! From a URL, a device and a token to an open WebSocket.

use std::error::Error as StdError;

use chatlane_protocol::limits::WEBSOCKET_MESSAGE_BYTES_MAX;
use chatlane_protocol::{DeviceId, SUBPROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest as _};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::{Uri, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// An open one.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `ws://host…` nor `wss://host…`.
    #[error("`{url}` cannot be connected to: {reason}")]
    BadUrl {
        /// As given, without the device.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The token has characters that no header may have. Never shows the token.
    #[error("the token is none: it has characters that no header may have")]
    BadToken,
    /// Nobody there, or the network failed.
    #[error("cannot reach `{url}`")]
    Unreachable {
        /// As given, without the device.
        url: String,
        /// Of the operating system.
        source: std::io::Error,
    },
    /// The server's certificate is not trusted, or it does not speak TLS.
    #[error("no secure connection to `{url}`")]
    Insecure {
        /// As given, without the device.
        url: String,
        /// Of the TLS library.
        source: std::io::Error,
    },
    /// The gateway answered, and not with a socket.
    #[error("the server refused the connection: HTTP status {status}")]
    Refused {
        /// 401 and 403 are about the token and the device, 429 and 5xx may go by.
        status: u16,
    },
    /// The server opened a WebSocket that does not speak `chatlane.v1`.
    #[error("the server does not speak {SUBPROTOCOL}")]
    NoSubprotocol,
    /// Something answered that is no WebSocket server.
    #[error("the server does not speak WebSocket")]
    NoWebSocket(#[source] Box<dyn StdError + Send + Sync>),
}

/// Connects to `url` (`wss://host/stage`, or `ws://` without TLS; the system's certificates are trusted) as the user whom `token` names, on
/// this device. Offers `chatlane.v1` and the token as subprotocols: browsers can set no other header. Requires that `chatlane.v1` is
/// chosen.
pub async fn open(url: &str, device: DeviceId, token: &str) -> Result<Socket, OpenError> {
    let bad_url = |reason: &dyn ToString| OpenError::BadUrl { url: url.to_owned(), reason: reason.to_string() };
    let separator = if url.contains('?') { '&' } else { '?' };
    let uri: Uri = format!("{url}{separator}device={device}").parse().map_err(|error| bad_url(&error))?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => choose_crypto(),
        _ => return Err(bad_url(&"it must begin with wss:// or ws://")),
    }
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL).with_sub_protocol(format!("token.{token}"));
    let request = request.into_client_request().map_err(|error| match error {
        Error::Url(error) => bad_url(&error),
        _ => OpenError::BadToken,
    })?;
    // What the gateway cannot send is not read into memory.
    let config = WebSocketConfig::default().max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX));
    let no_delay = true; // small frames, and people who wait for them
    match connect_async_with_config(request, Some(config), no_delay).await {
        Ok((socket, response)) if response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|chosen| chosen == SUBPROTOCOL) => Ok(socket),
        Ok(_) | Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => Err(OpenError::NoSubprotocol),
        Err(Error::Http(response)) => Err(OpenError::Refused { status: response.status().as_u16() }),
        Err(Error::Io(source)) if is_of_tls(&source) => Err(OpenError::Insecure { url: url.to_owned(), source }),
        Err(Error::Io(source)) => Err(OpenError::Unreachable { url: url.to_owned(), source }),
        Err(Error::Url(error)) => Err(bad_url(&error)),
        Err(error) => Err(OpenError::NoWebSocket(Box::new(error))),
    }
}

/// tokio-rustls reports what rustls refuses inside an I/O error.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// rustls leaves the crypto library to the process, and panics where none or two were compiled in and none was chosen. A choice that the
/// program has made before stays.
fn choose_crypto() {
    let _made_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
