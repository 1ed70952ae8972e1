//! Whose conversation it is.

use chatlane_protocol::{ConversationId, UserId};

use crate::testing::builders::{direct, user};

/// Whose conversation it is.
pub(super) fn users() -> [UserId; 2] {
    [user("alice"), user("bob")]
}

/// Of alice and bob.
pub(super) fn conversation() -> ConversationId {
    let [alice, bob] = users();
    direct(&alice, &bob)
}
