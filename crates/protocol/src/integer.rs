//! Integers as JSON has them: `1`, `1.0` and `1e0` are one number (RFC 8259 §6), and some encoders write the longer ones.

use std::fmt;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::shared_limits::INTEGER_MAX;

/// An integer from 0 to `MAX`, at most 2⁵³ − 1: those that every JSON reader reads exactly.
struct UpTo<const MAX: u64>;

impl<const MAX: u64> Visitor<'_> for UpTo<MAX> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 0 to {MAX}")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        if number <= MAX { Ok(number) } else { Err(E::invalid_value(Unexpected::Unsigned(number), &self)) }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a double is exact up to 2⁵³")]
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u64, E> {
        let is_one = number.fract() == 0.0 && (0.0..=MAX as f64).contains(&number);
        if is_one { Ok(number as u64) } else { Err(E::invalid_value(Unexpected::Float(number), &self)) }
    }
}

/// For fields: an integer from 0 to 2⁵³ − 1.
pub fn integer<'de, D: Deserializer<'de>>(field: D) -> Result<u64, D::Error> {
    field.deserialize_u64(UpTo::<INTEGER_MAX>)
}

/// For fields: an integer from 0 to 2³² − 1.
pub fn small<'de, D: Deserializer<'de>>(field: D) -> Result<u32, D::Error> {
    let number = field.deserialize_u64(UpTo::<{ u32::MAX as u64 }>)?;
    u32::try_from(number).map_err(D::Error::custom)
}

/// For fields: the same or null.
pub fn small_or_null<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Small>::deserialize(field)?.map(|Small(number)| number))
}

/// The same as a value of a list.
#[derive(Deserialize)]
pub struct Small(#[serde(deserialize_with = "small")] pub u32);
