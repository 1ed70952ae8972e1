//! From a text message to the function that its `action` selects, and back to the client with the answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::observe::What;
use super::{Shared, event};
use crate::lambda::InvokeError;

/// A text message with the route that takes it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) route: Option<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) key: String,
    function: String,
}

impl Frame {
    /// Selects the route: `$request.body.action`, else `$default`, else none.
    pub(super) fn new(text: String, routes: &BTreeMap<String, String>) -> Self {
        let action = serde_json::from_str::<Selection>(&text).ok().and_then(|selection| selection.action);
        let named = action
            // The predefined keys are for the gateway's own events; a client that names one is not matched (a belief).
            .filter(|action| !matches!(action.as_str(), "$connect" | "$disconnect" | "$default"))
            .and_then(|action| routes.get_key_value(&action));
        let route = named
            .or_else(|| routes.get_key_value("$default"))
            .map(|(key, function)| Route { key: key.clone(), function: function.clone() });
        Self { text, route }
    }
}

/// The top-level `action` of a JSON object: the last one if it is repeated, none if it is not a string. The other members are skipped
/// without recursion, so that deep nesting reaches the function that has to refuse it.
struct Selection {
    action: Option<String>,
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Selection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Selection, A::Error> {
                let mut action = None;
                while let Some(name) = members.next_key::<String>()? {
                    if name == "action" {
                        action = members.next_value::<Value>()?.as_str().map(str::to_owned);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Selection { action })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A Lambda proxy answer: `statusCode` is required, `body` must be text (page "Set up Lambda proxy integrations").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyAnswer {
    pub(super) status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<String>,
}

impl ProxyAnswer {
    /// `None` if the answer has another shape.
    pub(super) fn parse(answer: &Bytes) -> Option<Self> {
        serde_json::from_slice(answer).ok()
    }

    /// The first value of a header, from either map, whatever the case of its name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        [&self.headers, &self.multi_value_headers]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .find_map(|(_, value)| value.as_array().map_or(Some(value), |values| values.first())?.as_str())
    }
}

/// The gateway's own frame in place of an answer. Its form is as others have met it on AWS: docs/FIDELITY.md, "Messages".
fn gateway_frame(message: &str, connection: &Connection, request_id: &str) -> String {
    json!({"message": message, "connectionId": connection.id(), "requestId": request_id}).to_string()
}

/// Starts the invocation of one frame and sends its answer. It runs concurrently with every other frame, also of the same connection, and
/// goes on when the connection closes.
pub(super) fn dispatch(shared: &Arc<Shared>, connection: &Arc<Connection>, frame: Frame) {
    let (connection, request_id) = (connection.clone(), event::new_id());
    let bytes_max = shared.settings.limits.message_bytes_max;
    // Started here and not in the task: under a reordering seed the order of dispatch is the order of the starts.
    let invocation = frame.route.map(|route| {
        let event = event::message(&connection.client, &connection.authorized, &route.key, &frame.text, &request_id);
        shared.invoke(&route.function, event)
    });
    let shared = shared.clone();
    tokio::spawn(async move {
        let answer = match invocation {
            Some(invocation) => {
                let outcome = invocation.await;
                if let Err(error) = &outcome {
                    shared.notify(&connection, || What::NotServed { why: error.to_string() });
                }
                answer(outcome, bytes_max)
            }
            None => Err("Forbidden"),
        };
        let text = answer.unwrap_or_else(|message| Some(gateway_frame(message, &connection, &request_id)));
        if let Some(text) = text {
            connection.answer(text).await;
        }
    });
}

/// The text for the client, or the message of the gateway's own frame.
fn answer(outcome: Result<Bytes, InvokeError>, bytes_max: usize) -> Result<Option<String>, &'static str> {
    match outcome {
        Ok(answer) => match ProxyAnswer::parse(&answer) {
            // An answer is a message, so the largest message limits it (belief: a larger one fails like a bad shape).
            Some(ProxyAnswer { body: Some(body), .. }) if body.len() > bytes_max => Err("Internal server error"),
            Some(answer) => Ok(answer.body.filter(|body| !body.is_empty())),
            None => Err("Internal server error"),
        },
        Err(InvokeError::Throttled { .. }) => Err("Too Many Requests"),
        Err(_) => Err("Internal server error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> String {
        let routes = [("$connect", "connect"), ("$disconnect", "disconnect"), ("$default", "fallback"), ("send", "send")];
        let routes = routes.into_iter().map(|(key, function)| (key.to_owned(), function.to_owned())).collect();
        Frame::new(text.to_owned(), &routes).route.unwrap().key
    }

    #[test]
    fn the_top_level_action_selects_the_route_and_what_names_none_goes_to_default() {
        let nested = "[".repeat(5000) + &"]".repeat(5000);
        let deep = [format!(r#"{{"action":"send","deep":{nested}}}"#), format!(r#"{{"action":{nested}}}"#)];
        for (text, key) in [
            (r#"{"id":"1","action":"send"}"#, "send"),
            (r#"{"action":"hello","action":"send"}"#, "send"),
            (&deep[0], "send"),
            (&deep[1], "$default"),
            (r#"{"inner":{"action":"send"}}"#, "$default"),
            ("", "$default"),
            ("hello", "$default"),
            ("[]", "$default"),
            ("null", "$default"),
            ("{}", "$default"),
            (r#"{"action":"dance"}"#, "$default"),
            (r#"{"action":null}"#, "$default"),
            (r#"{"action":["send"]}"#, "$default"),
            (r#"{"action":"send""#, "$default"),
            // A client cannot name the predefined routes.
            (r#"{"action":"$connect"}"#, "$default"),
            (r#"{"action":"$disconnect"}"#, "$default"),
        ] {
            assert_eq!(route(text), key, "{text:.80}");
        }
    }

    #[test]
    fn a_header_is_found_in_either_map_and_any_case() {
        let answer = |json: Value| ProxyAnswer::parse(&Bytes::from(json.to_string())).unwrap();
        let single = answer(json!({"statusCode": 200, "headers": {"sec-websocket-protocol": "a"}}));
        assert_eq!(single.header("Sec-WebSocket-Protocol"), Some("a"));
        let multiple = answer(json!({"statusCode": 200, "headers": {}, "multiValueHeaders": {"Sec-WebSocket-Protocol": ["b", "c"]}}));
        assert_eq!(multiple.header("Sec-WebSocket-Protocol"), Some("b"));
        assert_eq!(answer(json!({"statusCode": 200})).header("Sec-WebSocket-Protocol"), None);
    }
}
