//! Reactions: what members put beside a message.

use serde::{Deserialize, Serialize};

use crate::ids::checked_text;
use crate::position::Seq;
use crate::shared_limits::REACTION_KEY_BYTES_MAX;

/// What is put beside a message, an emoji or a name: 1 to 32 bytes without control characters, `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReactionKey(String);

// No character of it takes more bytes encoded: so twenty of them fit between the longest entry and a page.
checked_text!(ReactionKey, "a reaction", r#"1 to 32 bytes without control characters, " and \"#, |text| {
    (1..=REACTION_KEY_BYTES_MAX).contains(&text.len()) && !text.chars().any(|one| one.is_control() || matches!(one, '"' | '\\'))
});

/// What becomes of a reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReactionChange {
    /// The sender has it there.
    Add,
    /// The sender has it there no more.
    Remove,
}

/// A reaction of a member to a message, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reacting {
    /// To which entry.
    pub target: Seq,
    /// What.
    pub key: ReactionKey,
    /// Whether it comes or goes.
    pub change: ReactionChange,
}

/// How many members have put something beside a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionCount {
    /// What.
    pub key: ReactionKey,
    /// How many.
    pub count: u32,
    /// Whether the reader is one of them; `None`: that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mine: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_short_and_takes_no_more_bytes_encoded() {
        for good in ["👍", "+1", "ü", &"x".repeat(32), "👨‍👩‍👧‍👦"] {
            let key = ReactionKey::new(good).unwrap();
            assert_eq!(serde_json::to_string(&key).unwrap().len(), good.len() + 2);
        }
        for bad in ["", "a\nb", "\"", "\\", &"x".repeat(33)] {
            assert!(ReactionKey::new(bad).is_err(), "{bad}");
        }
    }
}
