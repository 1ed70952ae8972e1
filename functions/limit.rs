//! What a user may ask of this environment, and what the deployment lets them spend: given to every function that answers users.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chatlane_chat::limit::{self, Budget, ShutGates, Sieve};
use chatlane_chat::ports::{Accounts, Clock, Outbound};
use chatlane_protocol::{ConnectionId, UserId};

/// The limits of one function.
#[derive(Debug)]
pub struct UserLimit {
    /// `None`: nobody is charged.
    budget: Option<Budget>,
    sieve: Sieve,
    /// What this environment knows of the users' gates.
    pub gates: ShutGates,
}

impl UserLimit {
    /// Users have this budget; without one they are neither charged nor sieved.
    pub fn new(budget: Option<Budget>) -> Self {
        Self { budget, sieve: Sieve::default(), gates: ShutGates::default() }
    }

    /// Whether this environment takes one more frame of the user in this second.
    pub fn takes(&self, ports: &impl Clock, user: &UserId) -> bool {
        self.budget.is_none() || self.sieve.takes(user, ports.now())
    }

    /// [`limit::charge`] for one event. The gateway's id of the request decides what is charged by chance.
    pub async fn charge<P: Accounts + Outbound + Clock>(
        &self,
        ports: &P,
        user: &UserId,
        own: Option<&ConnectionId>,
        units: u64,
        request_id: Option<&str>,
    ) -> Option<u64> {
        limit::charge(ports, self.budget?, user, own, units, dice(request_id)).await
    }

    /// [`limit::charge_shares`] for one message of the queue, whose id decides.
    pub async fn charge_shares<P: Accounts + Outbound + Clock>(&self, ports: &P, users: &[UserId], units: u64, message_id: Option<&str>) {
        if let Some(budget) = self.budget {
            limit::charge_shares(ports, budget, users, units, dice(message_id)).await;
        }
    }
}

/// A number that nobody chooses: AWS makes such ids.
fn dice(id: Option<&str>) -> u64 {
    let mut dice = DefaultHasher::new();
    id.hash(&mut dice);
    dice.finish()
}
