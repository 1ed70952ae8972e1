//! What a message says. Opaque to the server: stored, bounded, passed on, never read and never logged.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::shared_limits::CONTENT_TYPE_BYTES_MAX;

/// A body: a content type and either `text` or `data` (base64), not empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Body {
    content_type: String,
    content: Content,
}

/// The two forms of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Any text, also with NUL.
    Text(String),
    /// Any bytes; base64 (RFC 4648 §4, padded) on the wire.
    Data(Vec<u8>),
}

/// Why something is not a body. Never repeats the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Neither or both of the two forms.
    #[error("a body has either `text` or `data`")]
    NotOneForm,
    /// Nothing in it.
    #[error("a body is not empty")]
    Empty,
    /// `data` is not base64.
    #[error("`data` must be base64 with padding")]
    NotBase64,
    /// No content type, or one that cannot be.
    #[error("`content_type` must be 1 to 128 printable ASCII characters")]
    ContentType,
}

impl Body {
    /// A body of this type and content.
    pub fn new(content_type: impl Into<String>, content: Content) -> Result<Self, BadBody> {
        let content_type = content_type.into();
        let printable = content_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !printable || !(1..=CONTENT_TYPE_BYTES_MAX).contains(&content_type.len()) {
            return Err(BadBody::ContentType);
        }
        let empty = match &content {
            Content::Text(text) => text.is_empty(),
            Content::Data(data) => data.is_empty(),
        };
        if empty { Err(BadBody::Empty) } else { Ok(Self { content_type, content }) }
    }

    /// A `text/plain` body.
    pub fn text(text: impl Into<String>) -> Result<Self, BadBody> {
        Self::new("text/plain", Content::Text(text.into()))
    }

    /// The content type as the sender gave it.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The text or the bytes.
    pub const fn content(&self) -> &Content {
        &self.content
    }
}

/// Says the type and the size only: bodies are never logged (R1).
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({}, {:?})", self.content_type, self.content)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "text of {} bytes", text.len()),
            Self::Data(data) => write!(f, "data of {} bytes", data.len()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl TryFrom<Wire> for Body {
    type Error = BadBody;

    fn try_from(wire: Wire) -> Result<Self, BadBody> {
        let content = match (wire.text, wire.data) {
            (Some(text), None) => Content::Text(text),
            (None, Some(data)) => Content::Data(STANDARD.decode(data).map_err(|_| BadBody::NotBase64)?),
            (None, None) | (Some(_), Some(_)) => return Err(BadBody::NotOneForm),
        };
        Self::new(wire.content_type, content)
    }
}

impl From<Body> for Wire {
    fn from(body: Body) -> Self {
        let (text, data) = match body.content {
            Content::Text(text) => (Some(text), None),
            Content::Data(data) => (None, Some(STANDARD.encode(data))),
        };
        Self { content_type: body.content_type, text, data }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<Body>(json).unwrap_err().to_string()
    }

    #[test]
    fn a_body_has_one_form_a_type_and_something_in_it() {
        assert!(refusal(r#"{"content_type":"text/plain"}"#).contains("either"));
        assert!(refusal(r#"{"content_type":"text/plain","text":"a","data":"YQ=="}"#).contains("either"));
        assert!(refusal(r#"{"content_type":"text/plain","text":""}"#).contains("empty"));
        assert!(refusal(r#"{"content_type":"text/plain","data":""}"#).contains("empty"));
        assert!(refusal(r#"{"content_type":"text/plain","data":"a"}"#).contains("base64"));
        assert!(refusal(r#"{"content_type":"","text":"a"}"#).contains("content_type"));
        assert!(refusal(r#"{"content_type":"a\nb","text":"a"}"#).contains("content_type"));
        assert!(refusal(r#"{"text":"a"}"#).contains("content_type"));
    }

    // holds: R1
    #[test]
    fn debug_output_never_holds_the_body() {
        assert_eq!(format!("{:?}", Body::text("secret").unwrap()), "Body(text/plain, text of 6 bytes)");
    }

    proptest! {
        #[test]
        fn a_body_survives_the_wire(text in ".{1,40}", data in proptest::collection::vec(any::<u8>(), 1..40)) {
            for content in [Content::Text(text.clone()), Content::Data(data.clone())] {
                let body = Body::new("application/x", content).unwrap();
                let json = serde_json::to_string(&body).unwrap();
                prop_assert_eq!(serde_json::from_str::<Body>(&json).unwrap(), body);
            }
        }
    }
}
