//! Whether users may be brought into one more conversation. Nobody asks them, so there is a limit to how many they have, and to how many
//! users one user adds. Both are looked at before the transaction: what others do at the same moment may exceed the first by a few.

use chatlane_protocol::limits::CONVERSATIONS_MAX;
use chatlane_protocol::{UnixMillis, UserId};
use futures_util::future::try_join_all;

use crate::ports::Creations;
use crate::refusal::Refused;

/// Makes sure that each of these users may have one more conversation.
pub async fn have_room(ports: &impl Creations, users: &[UserId]) -> Result<(), Refused> {
    let all = try_join_all(users.iter().map(|user| ports.conversations_of(user))).await?;
    if all.iter().any(|conversations| *conversations >= CONVERSATIONS_MAX) { Err(Refused::ConversationsFull) } else { Ok(()) }
}

/// The same, of users whom `by` adds to a group. An attempt counts also where its transaction fails.
pub async fn may_add(ports: &impl Creations, by: &UserId, users: &[UserId], now: UnixMillis, a_day_max: u64) -> Result<(), Refused> {
    have_room(ports, users).await?;
    if ports.count_added(by, now, users.len() as u64, a_day_max).await? { Ok(()) } else { Err(Refused::AddedEnough) }
}
