//! Names of users, devices, connections, conversations, messages and requests. Each is checked once, where it enters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::shared_limits::{
    CLIENT_MESSAGE_ID_BYTES_MAX, CONVERSATION_ID_BYTES_MAX, REQUEST_ID_BYTES_MAX, TOKEN_BYTES_MAX, USER_ID_BYTES_MAX,
};

/// Why a text is not an id. Says the rule, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct BadId {
    pub(crate) what: &'static str,
    pub(crate) rule: &'static str,
}

/// What every text has that is checked once, where it enters.
macro_rules! checked_text {
    ($name:ident, $what:literal, $rule:literal, $check:expr) => {
        impl $name {
            /// Checks and takes the text.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ids::BadId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err($crate::ids::BadId { what: $what, rule: $rule }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::ids::BadId;

            fn try_from(text: String) -> Result<Self, $crate::ids::BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

pub(crate) use checked_text;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        checked_text!($name, $what, $rule, $check);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A token as presented: 1 byte to 8 KB. Debug output hides it (R1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

// Only the server knows whether it is a good one.
checked_text!(Token, "a token", "1 byte to 8 KB", |text| (1..=TOKEN_BYTES_MAX).contains(&text.len()));

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A one-use ticket: 43 characters of base64url. Debug output hides it (R1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketText(String);

checked_text!(TicketText, "a ticket", "43 characters of A-Z, a-z, 0-9, _ and -", |text| text.len() == 43 && text.bytes().all(is_base64url));

impl fmt::Debug for TicketText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketText(…)")
    }
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn printable(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

text_id!(
    /// Who: the value of the token's user claim, any UTF-8 of 1 to 128 bytes.
    UserId,
    "a user id",
    "1 to 128 bytes",
    |text| (1..=USER_ID_BYTES_MAX).contains(&text.len())
);

text_id!(
    /// One lane. Made by the server: `d` and 27 characters for a direct conversation. 1 to 64 characters of `A–Z a–z 0–9 _ -`.
    ConversationId,
    "a conversation id",
    "1 to 64 characters of A-Z, a-z, 0-9, _ and -",
    |text| {
        (1..=CONVERSATION_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(is_base64url)
    }
);

text_id!(
    /// Names one message of one sender for ever (L2). Made and stored by the client before the first attempt; a UUID is a good one.
    /// 1 to 64 bytes without control characters.
    ClientMessageId,
    "a client message id",
    "1 to 64 bytes without control characters",
    |text| printable(text, CLIENT_MESSAGE_ID_BYTES_MAX)
);

text_id!(
    /// Names one request on its connection; the answer echoes it. 1 to 64 bytes without control characters.
    RequestId,
    "a request id",
    "1 to 64 bytes without control characters",
    |text| printable(text, REQUEST_ID_BYTES_MAX)
);

text_id!(
    /// The gateway's name for one socket, such as `L0SM9cOFvHcCIhw=`.
    ConnectionId,
    "a connection id",
    "1 to 128 bytes without control characters",
    |text| printable(text, 128)
);

/// One installation of an app (a browser tab is a device): a UUID that the app makes once and sends with every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(uuid::Uuid);

impl DeviceId {
    /// Takes any UUID but the nil one, in the hyphenated form.
    pub fn new(text: &str) -> Result<Self, BadId> {
        let refused = BadId { what: "a device id", rule: "a UUID in its hyphenated form, not all zeros" };
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) if text.len() == uuid::fmt::Hyphenated::LENGTH && !uuid.is_nil() => Ok(Self(uuid)),
            _ => Err(refused),
        }
    }
}

impl From<uuid::Uuid> for DeviceId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }
}

impl TryFrom<String> for DeviceId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        Self::new(&text)
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> String {
        id.to_string()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_any_text_of_1_to_128_bytes() {
        for good in ["a", "auth0|a#b/ü", "Ø\u{0}", &"u".repeat(128)] {
            assert_eq!(UserId::new(good).unwrap().as_str(), good);
        }
        assert!(UserId::new("").is_err());
        assert!(UserId::new("ü".repeat(65)).is_err());
    }

    #[test]
    fn ids_of_clients_are_short_and_printable() {
        assert!(ClientMessageId::new("m-1").is_ok());
        assert!(ClientMessageId::new("").is_err());
        assert!(ClientMessageId::new("a\u{0}").is_err());
        assert!(ClientMessageId::new("x".repeat(1024)).is_err());
        assert!(RequestId::new("x".repeat(65)).is_err());
    }

    #[test]
    fn a_conversation_id_cannot_end_a_key_part() {
        assert!(ConversationId::new("dAz09_-").is_ok());
        for bad in ["", "a#b", "a/b", "ä", &"d".repeat(65)] {
            assert!(ConversationId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_is_a_hyphenated_uuid() {
        let text = "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001";
        assert_eq!(DeviceId::new(text).unwrap().to_string(), text);
        assert_eq!(DeviceId::new(&text.to_uppercase()).unwrap().to_string(), text);
        for bad in ["", "3f0c", "00000000-0000-0000-0000-000000000000", "{3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001}"] {
            assert!(DeviceId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_the_text() {
        assert_eq!(UserId::new("").unwrap_err().to_string(), "a user id must be 1 to 128 bytes");
    }
}
