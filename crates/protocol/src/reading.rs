//! Reads a request's text three times: first its grammar, for its action and its id; then all its values, whether each can be represented;
//! then as the form of that action. So whatever is wrong with a value, the answer has the request's id.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{ErrorCode, Refusal};
use crate::ids::{ConversationId, RequestId, UserId};
use crate::shared_limits::CONVERSATIONS_PER_REQUEST_MAX;

/// A text that is no request: the error to answer, with the request's `id` where one could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// The `id` of the request, if it has a good one.
    pub id: Option<RequestId>,
    /// What to answer.
    pub refusal: Refusal,
}

impl BadRequest {
    fn new(id: Option<RequestId>, message: impl Into<String>) -> Self {
        Self { id, refusal: Refusal::new(ErrorCode::BadRequest, message) }
    }
}

/// The form of a request: what serde reads, and the rules that it does not know.
pub trait Bounded: DeserializeOwned {
    /// What is wrong with the length or the order of its lists, or with a number; none by default. Never repeats a value.
    fn out_of_bounds(&self) -> Option<&'static str> {
        None
    }
}

/// What every request has. Read first, so that a bad request can still be answered by its `id`.
pub struct Envelope<'a> {
    text: &'a str,
    /// As the client named it; perhaps there is no such action.
    pub action: String,
    id: RequestId,
}

impl<'a> Envelope<'a> {
    /// Reads all of the text, also the fields that the action ignores: it is one JSON object, of at most 127 levels, in which all texts are
    /// Unicode and no number is beyond a double.
    pub fn read(text: &'a str) -> Result<Self, BadRequest> {
        let Fields { actions, ids } = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            BadRequest::new(None, format!("not one JSON object: malformed at line {line} column {column}"))
        })?;
        let id = only_text(&ids).ok_or_else(|| BadRequest::new(None, "`id` must be there once, as a text"))?;
        let id = RequestId::new(id).map_err(|error| BadRequest::new(None, error.to_string()))?;
        // As `Value`, because serde's `IgnoredAny` lets pass what cannot be represented.
        if let Err(error) = serde_json::from_str::<Value>(text) {
            let (line, column) = (error.line(), error.column());
            let rules = "a lone surrogate, a number beyond a double, or more than 127 levels";
            return Err(BadRequest::new(Some(id), format!("a value at line {line} column {column} cannot be represented: {rules}")));
        }
        let action = only_text(&actions).ok_or_else(|| BadRequest::new(Some(id.clone()), "`action` must be there once, as a text"))?;
        Ok(Self { text, action, id })
    }

    /// The request, if it is one of this form.
    pub fn request<R: Bounded>(self) -> Result<R, BadRequest> {
        let request: R = match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(self.text)) {
            Ok(request) => request,
            Err(error) => return Err(BadRequest::new(Some(self.id), what_is_wrong(&error))),
        };
        match request.out_of_bounds() {
            None => Ok(request),
            Some(why) => Err(BadRequest::new(Some(self.id), why)),
        }
    }

    /// The answer where nobody serves the action.
    pub fn unknown_action(self) -> BadRequest {
        BadRequest { id: Some(self.id), refusal: Refusal::new(ErrorCode::UnknownAction, "no such action here") }
    }
}

/// The text of a field that is there once, and is a text.
fn only_text(values: &[&RawValue]) -> Option<String> {
    let [value] = values else { return None };
    serde_json::from_str(value.get()).ok()
}

/// The values of the two fields of an envelope, each as often as it is there.
struct Fields<'a> {
    actions: Vec<&'a RawValue>,
    ids: Vec<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(request: D) -> Result<Self, D::Error> {
        request.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields { actions: vec![], ids: vec![] };
        while let Some((name, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            match serde_json::from_str::<String>(name.get()).as_deref() {
                Ok("action") => fields.actions.push(value),
                Ok("id") => fields.ids.push(value),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(fields)
    }
}

/// Says which field is wrong, what it must be and where it stands, never what it held: serde repeats the value in "invalid type" and
/// "invalid value", before what it expected.
fn what_is_wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, text) = (error.path().to_string(), error.inner().to_string());
    let said = match text.rsplit_once(", expected ") {
        Some((_, expected)) if text.starts_with("invalid ") => format!("expected {expected}"),
        _ if error.inner().is_data() => text,
        _ => "not as it must be".to_owned(),
    };
    if path == "." { said } else { format!("`{path}`: {said}") }
}

/// Whether there are `min` to 100 conversations and none twice: they become keys of one batch read, which refuses a key that is repeated.
pub fn are_bounded<'a>(min: usize, conversations: impl ExactSizeIterator<Item = &'a ConversationId>) -> bool {
    let count = conversations.len();
    (min..=CONVERSATIONS_PER_REQUEST_MAX).contains(&count) && conversations.collect::<BTreeSet<_>>().len() == count
}

/// Whether no user is named twice: they become keys of one transaction, which refuses a key that is repeated.
pub fn are_distinct(users: &[UserId]) -> bool {
    users.iter().collect::<BTreeSet<_>>().len() == users.len()
}

/// For fields: an optional list. Null counts as missing, as in every optional field.
pub fn list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

/// For fields: an object. serde reads a struct from an array too, value by value; the protocol does not.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    Object::deserialize(field).map(|Object(value)| value)
}

/// For fields: an optional object. Null counts as missing.
pub fn object_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(field)?.map(|Object(value)| value))
}

/// For fields: an object that may be left out. Null counts as missing.
pub fn object_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(field: D) -> Result<T, D::Error> {
    Ok(object_or_null(field)?.unwrap_or_default())
}

/// For fields: an optional switch, off if it is missing or null.
pub fn false_or_null<'de, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

/// For fields: a list of objects.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    let objects: Vec<Object<T>> = Deserialize::deserialize(field)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// For fields: an optional list of objects. Null counts as missing.
pub fn objects_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    let objects: Vec<Object<T>> = list_or_null(field)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Object<T>, A::Error> {
        Err(A::Error::custom("an array stands where an object belongs"))
    }
}
