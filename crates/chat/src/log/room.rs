//! Whether users may be brought into one more group. Nobody asks them, so there is a limit to how many they are in, and to how many users one
//! user adds. Direct conversations do not count: nobody leaves them, so whoever opened 2,000 with somebody would lock them out of all groups.
//! Both are looked at before the transaction: what others do at the same moment may exceed the first by a few.

use chatlane_protocol::limits::GROUPS_MAX;
use chatlane_protocol::{UnixMillis, UserId};
use futures_util::future::try_join_all;

use crate::ports::Creations;
use crate::refusal::Refused;

/// Makes sure that each of these users may be in one more group.
pub async fn have_room(ports: &impl Creations, users: &[UserId]) -> Result<(), Refused> {
    let all = try_join_all(users.iter().map(|user| ports.groups_of(user))).await?;
    if all.iter().any(|groups| *groups >= GROUPS_MAX) { Err(Refused::GroupsFull) } else { Ok(()) }
}

/// The same, of users whom `by` adds to a group. An attempt counts also where it is refused, or its transaction fails.
pub async fn may_add(ports: &impl Creations, by: &UserId, users: &[UserId], now: UnixMillis, a_day_max: u64) -> Result<(), Refused> {
    if !ports.count_added(by, now, users.len() as u64, a_day_max).await? {
        return Err(Refused::AddedEnough);
    }
    have_room(ports, users).await
}
