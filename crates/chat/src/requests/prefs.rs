//! `prefs`: what a user prefers about one conversation. It stands in their row, is told in `hello`, and the user's other devices are posted it.

use chatlane_protocol::frames::{PrefsAnswer, PrefsChanged, ServerFrame, encode};
use chatlane_protocol::request::SetPrefs;
use futures_util::future::join_all;

use super::caller::Caller;
use super::rows;
use crate::done::{Did, Done};
use crate::ports::{Clock, Connections, Inboxes, Memberships, Outbound, PostOutcome};
use crate::refusal::Refused;

/// Sets what is to be set. Where all is so already, nothing is written, and nobody is told.
pub async fn prefs<P>(ports: &P, caller: &Caller, request: &SetPrefs) -> Result<Done<PrefsAnswer>, Refused>
where
    P: Inboxes + Memberships + Connections + Outbound + Clock,
{
    let conversation = &request.conversation;
    let before = rows::read_one(ports, &caller.user, conversation).await?.row.prefs;
    let mut did = Did::default();
    let mut prefs = before;
    if before.with(&request.prefs) != before {
        prefs = ports.prefer(&caller.user, conversation, request.prefs).await?.ok_or(Refused::NotFound)?;
        did.moved = 1;
        did.posted = tell(ports, caller, &PrefsChanged { conversation: conversation.clone(), prefs }).await;
    }
    Ok(Done { answer: PrefsAnswer { id: request.id.clone(), conversation: conversation.clone(), prefs }, did })
}

/// A hint for the user's other devices: what is lost comes with their next `hello`. Answers how many connections took it.
async fn tell<P: Connections + Outbound + Clock>(ports: &P, caller: &Caller, changed: &PrefsChanged) -> usize {
    let frame = encode(&ServerFrame::PrefsChanged(changed.clone()));
    let sessions = match ports.of_users(std::slice::from_ref(&caller.user)).await {
        Ok(sessions) => sessions,
        Err(failure) => {
            failure.log("preferences not posted");
            return 0;
        }
    };
    let now = ports.now();
    let others = sessions.iter().filter(|(_, session)| session.expires > now && Some(&session.connection) != caller.connection.as_ref());
    let outcomes = join_all(others.map(|(_, session)| ports.post(&session.connection, &frame))).await;
    outcomes.iter().filter(|outcome| **outcome == PostOutcome::Posted).count()
}
