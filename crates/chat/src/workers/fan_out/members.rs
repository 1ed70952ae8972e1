//! To whom a group's entries go. A query may see a transaction half, so the rows that it finds are used only if they are the members that an
//! entry's facts tell of (number, and sum of keyed hashes: with the number alone a removal and an addition, each half seen, cancel out).
//! Nothing is kept between two tasks.

use std::collections::BTreeSet;

use chatlane_protocol::{Seq, UserId};

use crate::log::hash::UserKey;
use crate::log::{Entry, Facts};
use crate::ports::{Failure, Member, Membership, Memberships, MessageLog, ReadBound, last};
use crate::workers::task::Task;

/// Queries beside the first.
const QUERIES: usize = 2;

/// Users of one read in a transaction, two items each.
const READ_AT_ONCE: usize = 50;

/// The members, given what a query found while `last`, the last entry of the task, was stored already; or, if the entries tell of a later one
/// (`up_to`), not older than that. `None`: not known yet, transactions are in the way.
pub(super) async fn agreed<P: MessageLog + Memberships>(
    ports: &P,
    key: &UserKey,
    task: &Task,
    found: Vec<Member>,
    last: &Entry,
    up_to: Seq,
) -> Result<Option<Vec<Member>>, Failure> {
    if !last.facts.policy.is_group() || (up_to <= last.position.seq && are(key, &found, &last.facts)) {
        return Ok(Some(found));
    }
    // Others may have come or gone since: then the rows are those of a later entry. First that entry, then the rows: who was removed and
    // added again between them would else be shown what lay between.
    for _ in 0..QUERIES {
        let tail = tail(ports, task).await?;
        let members = ports.members(&task.conversation).await?;
        if are(key, &members, &tail.facts) {
            return Ok(Some(members));
        }
    }
    Ok(None)
}

/// The same, read in transactions: of those whom a query finds, and whom the entry of the last change names, whose rows it may not see yet.
pub(super) async fn settled<P: MessageLog + Memberships>(ports: &P, task: &Task) -> Result<Vec<Member>, Failure> {
    let changed = tail(ports, task).await?.facts.membership_changed;
    let change = ports.read(&task.conversation, changed, ReadBound::ONE).await?;
    let named = change.iter().flat_map(Entry::named).cloned();
    let found: BTreeSet<UserId> = ports.members(&task.conversation).await?.into_iter().map(|member| member.user).chain(named).collect();
    let found: Vec<UserId> = found.into_iter().collect();
    let mut members = vec![];
    for some in found.chunks(READ_AT_ONCE) {
        members.extend(ports.memberships(&task.conversation, some).await?.into_iter().filter_map(|Membership { member, .. }| member));
    }
    Ok(members)
}

async fn tail<P: MessageLog>(ports: &P, task: &Task) -> Result<Entry, Failure> {
    last(ports, &task.conversation).await?.ok_or_else(|| Failure::unavailable("read the tail of a task's log", "it is empty"))
}

fn are(key: &UserKey, members: &[Member], facts: &Facts) -> bool {
    let sum = key.sum(members.iter().map(|member| &member.user));
    u32::try_from(members.len()) == Ok(facts.members) && facts.members_sum.is_none_or(|told| told == sum)
}
