//! The life of a connection (`docs/PROTOCOL.md` §8): the token's time, sessions that come and go, the gateway's limits.

mod gateway_limits;
mod sessions;
mod token_time;

use chatlane_chat::ports::{Session, Sessions as _};
use chatlane_chat::testing::builders;
use chatlane_protocol::UnixMillis;
use chatlane_tests_e2e::{Device, Running};
use serde_json::{Value, json};

/// All sessions of a user.
async fn sessions_of(stack: &Running, user: &str) -> Vec<Session> {
    let sessions = stack.store().await.of_users(&[builders::user(user)]).await.expect("sessions can be read");
    sessions.into_iter().map(|(_, session)| session).collect()
}

/// The session of a device, if it has one.
async fn session_of(stack: &Running, user: &str, device: &Device) -> Option<Session> {
    sessions_of(stack, user).await.into_iter().find(|session| session.device == device.id)
}

/// The answer to a `ping`.
async fn ping(device: &Device) -> Value {
    device.request(json!({ "action": "ping" })).await.expect("ping is answered")
}

/// Asks `device` for the server's time until that is past `time`.
async fn until_past(device: &Device, time: UnixMillis) {
    while ping(device).await["server_time_ms"].as_u64() <= Some(time.get()) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // between two looks at the clock
    }
}
