//! Reading the fields of one line, with an error that names the field.

use std::fmt;

use serde_json::{Map, Value};

use crate::words::{Body, Position};

/// An input that cannot be judged: one line of it is not what the README says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// `history` or `dump`.
    pub input: &'static str,
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.input, self.line, self.why)
    }
}

impl std::error::Error for Malformed {}

/// The lines of an input that hold anything: number, JSON object.
pub fn objects(input: &'static str, text: &str, mut each: impl FnMut(usize, &Fields<'_>) -> Result<(), String>) -> Result<(), Malformed> {
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = index + 1;
        let read = serde_json::from_str::<Value>(text).map_err(|error| format!("not JSON: {error}")).and_then(|value| match value {
            Value::Object(object) => each(line, &Fields(&object)),
            _ => Err("not a JSON object".to_owned()),
        });
        read.map_err(|why| Malformed { input, line, why })?;
    }
    Ok(())
}

/// The fields of an object. A field that is `null` is missing.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The field, if it is there.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The names of the fields that are there.
    pub fn names(self) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name)
    }

    fn need<T>(name: &str, found: Option<T>) -> Result<T, String> {
        found.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn maybe<T>(self, name: &str, kind: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, String> {
        self.get(name).map(|value| read(value).ok_or_else(|| format!("`{name}` is not {kind}"))).transpose()
    }

    /// A text, if it is there.
    pub fn maybe_text(self, name: &str) -> Result<Option<&'a str>, String> {
        self.maybe(name, "text", Value::as_str)
    }

    /// A text.
    pub fn text(self, name: &str) -> Result<&'a str, String> {
        Self::need(name, self.maybe_text(name)?)
    }

    /// An integer that is not negative, if it is there.
    pub fn maybe_number(self, name: &str) -> Result<Option<u64>, String> {
        self.maybe(name, "an integer", Value::as_u64)
    }

    /// An integer that is not negative.
    pub fn number(self, name: &str) -> Result<u64, String> {
        Self::need(name, self.maybe_number(name)?)
    }

    /// An object, if it is there.
    pub fn maybe_object(self, name: &str) -> Result<Option<Self>, String> {
        self.maybe(name, "an object", |value| value.as_object().map(Fields))
    }

    /// An object.
    pub fn object(self, name: &str) -> Result<Self, String> {
        Self::need(name, self.maybe_object(name)?)
    }

    /// A list of objects, if it is there.
    pub fn maybe_objects(self, name: &str) -> Result<Option<Vec<Self>>, String> {
        let objects = |value: &'a Value| value.as_array()?.iter().map(|element| element.as_object().map(Fields)).collect();
        self.maybe(name, "a list of objects", objects)
    }

    /// A list of objects.
    pub fn objects(self, name: &str) -> Result<Vec<Self>, String> {
        Self::need(name, self.maybe_objects(name)?)
    }

    /// A list of texts.
    pub fn texts(self, name: &str) -> Result<Vec<&'a str>, String> {
        let texts = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        Self::need(name, self.maybe(name, "a list of texts", texts)?)
    }

    /// A position, if it is there.
    pub fn maybe_position(self, name: &str) -> Result<Option<Position>, String> {
        self.maybe(name, "a position {\"epoch\", \"seq\"}", position)
    }

    /// A list of positions.
    pub fn positions(self, name: &str) -> Result<Vec<Position>, String> {
        let positions = |value: &'a Value| value.as_array()?.iter().map(position).collect();
        Self::need(name, self.maybe(name, "a list of positions", positions)?)
    }

    /// A position.
    pub fn position(self, name: &str) -> Result<Position, String> {
        Self::need(name, self.maybe_position(name)?)
    }

    /// A body, if it is there: as on the wire, or `fnv1a64:` and 16 hexadecimal digits.
    pub fn maybe_body(self, name: &str) -> Result<Option<Body>, String> {
        let body = |value: &'a Value| match value {
            Value::String(text) => u64::from_str_radix(text.strip_prefix("fnv1a64:").filter(|hex| hex.len() == 16)?, 16).ok().map(Body),
            Value::Object(body) => {
                let part = |name| Fields(body).maybe_text(name).ok().flatten();
                let (form, content) = part("text").map(|text| ("text", text)).or_else(|| Some(("data", part("data")?)))?;
                Some(Body::of(part("content_type")?, form, content))
            }
            _ => None,
        };
        self.maybe(name, "a body {\"content_type\", \"text\" or \"data\"} or \"fnv1a64:…\"", body)
    }

    /// A body.
    pub fn body(self, name: &str) -> Result<Body, String> {
        Self::need(name, self.maybe_body(name)?)
    }
}

fn position(value: &Value) -> Option<Position> {
    let part = |part| value.get(part).and_then(Value::as_u64);
    Some(Position { epoch: part("epoch")?, seq: part("seq")? })
}
