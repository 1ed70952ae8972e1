//! Tokens of the model: who, and until when.

use chatlane_protocol::{Token, UnixMillis, UserId};

/// So short that a run of some minutes needs several.
pub const LIFE_MS: u64 = 240_000;

/// What a good token says.
pub struct Claims {
    pub user: String,
    pub expires: UnixMillis,
}

pub fn issue(user: &UserId, now: UnixMillis) -> Token {
    Token::new(format!("{user} {}", now.plus_ms(LIFE_MS).get())).unwrap()
}

/// One that the server refuses.
pub fn forged() -> Token {
    Token::new("forged").unwrap()
}

pub fn read(text: &str) -> Option<Claims> {
    let (user, expires) = text.split_once(' ')?;
    Some(Claims { user: user.to_owned(), expires: UnixMillis::try_from(expires.parse::<u64>().ok()?).ok()? })
}
