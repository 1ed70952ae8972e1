//! What listens on this machine is for programs of this machine. A page in its browser can reach it too, and gets nothing.

use axum::http::{HeaderMap, StatusCode, header};

/// The answer to a web page.
pub(crate) const REFUSED: (StatusCode, &str) = (StatusCode::FORBIDDEN, "web pages get no answer\n");

/// Whether a web page asks: the request has an `Origin` (a page of another site), or a `Host` that is not this machine (a page whose own name
/// resolves to 127.0.0.1 sends that name).
pub(crate) fn asks(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit())).map_or(host, |(name, _)| name);
    headers.contains_key(header::ORIGIN) || !matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}
