//! Requests that break a rule of the protocol.

/// Requests that break a rule, of a conversation and an id.
pub(crate) const BAD: [&str; 12] = [
    "not JSON",
    "[]",
    r#"{"action":"send","id":"#,
    r#"{"id":"ID","conversation":"LANE","messages":[{"client_message_id":"ID","anchor":{"epoch":1,"seq":1},"body":{"content_type":"text/plain","text":"x"}}]}"#,
    r#"{"action":"fly","id":"ID","conversation":"LANE"}"#,
    r#"{"action":"send","id":"ID","conversation":"LANE","messages":[]}"#,
    r#"{"action":"send","id":"ID","conversation":"LANE","messages":[{"client_message_id":"ID","anchor":{"epoch":1,"seq":-1},"body":{"content_type":"text/plain","text":"x"}}]}"#,
    r#"{"action":"send","id":"ID","conversation":"LANE","messages":[{"client_message_id":"ID","anchor":{"epoch":1,"seq":1},"body":{"content_type":"text/plain","text":""}}]}"#,
    r#"{"action":"send","id":"ID","conversation":"LANE","messages":[{"client_message_id":"ID","anchor":[1,1],"body":{"content_type":"text/plain","text":"x"}}]}"#,
    r#"{"action":"ack","id":"ID","positions":[]}"#,
    r#"{"action":"open","id":"ID","with":"alice","client_message_id":"ID"}"#,
    r#"{"action":"sync","id":"ID","conversations":[{"conversation":"LANE","after":{"epoch":1,"seq":9007199254740992}}]}"#,
];
