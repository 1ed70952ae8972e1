//! What one user may make the deployment pay. Every frame is charged by what it cost; who spends more than the budget for long is shut out.
//!
//! An exact count would be a write for each frame, a tenth of a message's price. So a frame of few units is charged by chance: with a
//! probability of units/500 as 500 units, which is the same in the long run (a send of 30 units writes once in 17 times; what costs 500 or
//! more is always charged). An account is the units of the last windows of time. What they leave in a bucket that the budget empties is what
//! was spent at once; above the burst the user's *gate* is shut, for a minute and each time twice as long up to an hour, and their
//! connections are closed; a handshake is refused while it is shut. Where a charge fails, the user is served.
//!
//! A machine whose clock is wrong charges windows that nobody else counts, and shuts gates that others take for open; one that is an hour or
//! two ahead also takes what others count for old, and forgets it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chatlane_protocol::limits::{SHUT_OUT_MS_MAX, WEBSOCKET_FRAME_BYTES_MAX};
use chatlane_protocol::{ConnectionId, UnixMillis, UserId};
use futures_util::future::join_all;

use crate::ports::{Accounts, Clock, ConnectionsOfUser, Failure, Gate, Outbound, PostOutcome};

/// What a frame costs beside what was done for it: two messages of the gateway and one invocation. (One unit: $0.125 a million.)
pub const FRAME_UNITS: u64 = 18;

/// One message of the gateway, which is 32 KB: what a client sends in several WebSocket frames is several. Answers never exceed one.
const MESSAGE_UNITS: u64 = 8;

/// What a frame of so many bytes costs beside what was done for it.
pub const fn frame_units(bytes: usize) -> u64 {
    FRAME_UNITS + MESSAGE_UNITS * (bytes.saturating_sub(1) / WEBSOCKET_FRAME_BYTES_MAX) as u64
}

/// What an HTTPS request costs beside what was done for it: a request of the HTTP API, whatever its size, and an invocation.
pub const HTTP_UNITS: u64 = 10;

/// What the delivery of a task costs beside that: its receive, its removal and an invocation.
pub const DELIVERY_UNITS: u64 = 8;

/// What a post costs.
pub const POST_UNITS: u64 = 8;

/// For so long a gate is shut the first time.
const SHUT_MS: u64 = 60_000;

/// Attempts to shut a gate that others change meanwhile.
const ATTEMPTS: usize = 3;

/// What each user may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// For long.
    pub units_per_s: u64,
    /// At once.
    pub burst: u64,
    /// What is charged at once at least; of less it is charged with a probability of the ratio.
    pub charged_min: u64,
}

impl Budget {
    /// $4.32 a day. The heaviest honest use, a login with 500 conversations and 10,000 missed entries, spends an eighth of the burst; five
    /// messages a second are 300 units.
    pub const DEFAULT: Self = Self { units_per_s: 400, burst: 120_000, charged_min: 500 };

    /// So many windows count before the current one. Who spends steadily is overdrawn within them at a fifteenth more than the budget.
    pub const WINDOWS: u64 = 60;

    /// How long a window is: a fifth of the burst is earned in it; a minute where the budget is the default.
    fn window_ms(self) -> u64 {
        (self.burst.saturating_mul(200) / self.units_per_s).max(1)
    }

    /// The windows that count now: the first and the last.
    pub fn windows(self, now: UnixMillis) -> (u64, u64) {
        let last = now.get() / self.window_ms();
        (last.saturating_sub(Self::WINDOWS), last)
    }

    /// Whether more was spent at once than the burst: what a bucket holds that each window fills, and behind each the budget empties.
    fn is_overdrawn(self, spent: &BTreeMap<u64, u64>, now: UnixMillis) -> bool {
        let (first, last) = self.windows(now);
        let earned = self.units_per_s.saturating_mul(self.window_ms()) / 1000;
        let level = (first..=last).fold(0_u64, |level, window| {
            let filled = level.saturating_add(spent.get(&window).copied().unwrap_or_default());
            if window < last { filled.saturating_sub(earned) } else { filled }
        });
        level > self.burst
    }
}

impl Gate {
    /// Shut again. Who has kept the peace for longer than the longest shut-out begins again at a minute.
    fn again(self, now: UnixMillis) -> Self {
        let times = if now.since_ms(self.until) > SHUT_OUT_MS_MAX { 0 } else { self.times };
        let ms = SHUT_MS.saturating_mul(1 << times.min(6)).min(SHUT_OUT_MS_MAX);
        Self { until: now.plus_ms(ms), times: times.saturating_add(1) }
    }
}

/// Charges a user for what was done for them. `Some`: they are overdrawn, and their gate is shut for so many milliseconds; their connections
/// are closed, but for `own`, whose caller is to be told first. `dice` is a random number.
pub async fn charge<P: Accounts + Outbound + Clock>(
    ports: &P,
    budget: Budget,
    user: &UserId,
    own: Option<&ConnectionId>,
    units: u64,
    dice: u64,
) -> Option<u64> {
    if dice % budget.charged_min >= units {
        return None;
    }
    let now = ports.now();
    let charged = charge_and_shut(ports, budget, user, own, units.max(budget.charged_min), now).await;
    charged.unwrap_or_else(|failure| {
        failure.log("a user is not charged");
        None
    })
}

/// The same for what was done for several users, in equal shares; one who is named more than once has as many shares.
pub async fn charge_shares<P: Accounts + Outbound + Clock>(ports: &P, budget: Budget, users: &[UserId], units: u64, dice: u64) {
    let mut shares: BTreeMap<&UserId, u64> = BTreeMap::new();
    for user in users {
        *shares.entry(user).or_default() += 1;
    }
    let of_all = users.len() as u64;
    join_all(shares.into_iter().map(|(user, share)| charge(ports, budget, user, None, (units * share).div_ceil(of_all), dice))).await;
}

async fn charge_and_shut<P: Accounts + Outbound>(
    ports: &P,
    budget: Budget,
    user: &UserId,
    own: Option<&ConnectionId>,
    units: u64,
    now: UnixMillis,
) -> Result<Option<u64>, Failure> {
    let (first, last) = budget.windows(now);
    let spent = ports.charge(user, last, units, first, now).await?;
    if !budget.is_overdrawn(&spent, now) {
        return Ok(None);
    }
    for _ in 0..ATTEMPTS {
        let was = ports.gate(user).await?;
        if let Some(ms) = was.shut_for_ms(now) {
            return Ok(Some(ms)); // another frame has shut it, and closed the connections
        }
        let gate = was.again(now);
        if let Some(ConnectionsOfUser { greeted, pending }) = ports.shut(user, was, gate).await? {
            // What cannot be closed is charged further, and closed by its next charge.
            let others = greeted.iter().chain(&pending).filter(|connection| Some(*connection) != own);
            join_all(others.map(|connection| ports.close(connection))).await;
            tracing::warn!("a user has spent too much, and is shut out for {} s", gate.until.since_ms(now) / 1000);
            return Ok(gate.shut_for_ms(now));
        }
    }
    Err(Failure::unavailable("shut a gate", "others were changing it"))
}

/// A connection may be opening for so long: the gateway gives a handshake's functions 30 s at most.
const OPENS_WITHIN_MS: u64 = 30_000;

/// Rounds of a kick, in which what could not be closed is tried again.
const ROUNDS: usize = 100;

/// Shuts a user's gate until then, whatever it was, and closes all their connections. Answers how many it has closed, when none is left: one
/// that is just opening cannot be closed yet, and is tried again for half a minute. `pause` is awaited between two rounds.
pub async fn kick<P: Accounts + Outbound + Clock>(
    ports: &P,
    user: &UserId,
    until: UnixMillis,
    pause: impl AsyncFn(),
) -> Result<usize, Failure> {
    let (began, gate) = (ports.steady_ms(), Gate { until, times: 0 });
    let mut closed: BTreeSet<ConnectionId> = BTreeSet::new();
    let mut was = ports.gate(user).await?;
    for _ in 0..ROUNDS {
        let Some(ConnectionsOfUser { greeted, pending }) = ports.shut(user, was, gate).await? else {
            was = ports.gate(user).await?;
            continue;
        };
        was = gate;
        let may_open = ports.steady_ms() - began <= OPENS_WITHIN_MS;
        let all =
            greeted.into_iter().map(|connection| (connection, false)).chain(pending.into_iter().map(|connection| (connection, may_open)));
        let open = all.filter(|(connection, _)| !closed.contains(connection));
        let closing = join_all(open.map(async |(connection, opens)| (ports.close(&connection).await, connection, opens))).await;
        let mut left = None;
        for (outcome, connection, opens) in closing {
            match outcome {
                PostOutcome::Posted => drop(closed.insert(connection)),
                PostOutcome::Gone if !opens => {}
                PostOutcome::Gone => left = left.or(Some(Failure::unavailable("close a connection", "it is opening"))),
                PostOutcome::Throttled(cause) | PostOutcome::Unknown(cause) => left = Some(cause),
                PostOutcome::Refused(cause) => return Err(cause),
            }
        }
        if left.is_none() {
            return Ok(closed.len());
        }
        pause().await;
    }
    Err(Failure::unavailable("kick a user", "not all connections could be closed; the gate is shut: do it again"))
}

/// What one environment remembers of users, until the next period begins.
#[derive(Debug)]
struct Remembered<T>(Mutex<(u64, HashMap<UserId, T>)>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new((0, HashMap::new())))
    }
}

impl<T> Remembered<T> {
    /// In the period of this number, or nothing yet.
    fn in_period(&self, number: u64) -> MutexGuard<'_, (u64, HashMap<UserId, T>)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.0 != number {
            *all = (number, HashMap::new());
        }
        all
    }
}

/// Whom one environment has refused in the current minute, their gate being shut or their silent connections too many: who knocks again costs
/// no request. In the next minute it looks again.
#[derive(Debug, Default)]
pub struct ShutGates(Remembered<UnixMillis>);

impl ShutGates {
    const PERIOD_MS: u64 = 60_000;

    /// For how long a user is shut out yet, if it is known that they are.
    pub fn shut_for_ms(&self, user: &UserId, now: UnixMillis) -> Option<u64> {
        let until = self.0.in_period(now.get() / Self::PERIOD_MS).1.get(user)?.since_ms(now);
        (until > 0).then_some(until)
    }

    /// A user was found to be shut out for so long.
    pub fn found(&self, user: &UserId, now: UnixMillis, ms: u64) {
        self.0.in_period(now.get() / Self::PERIOD_MS).1.insert(user.clone(), now.plus_ms(ms));
    }
}

/// Frames of a user that one environment takes in one second. It costs nothing and stops a loop; the budget stops the rest.
const FRAMES_PER_S_MAX: u32 = 50;

/// Counts the frames of each user in the current second.
#[derive(Debug, Default)]
pub struct Sieve(Remembered<u32>);

impl Sieve {
    /// Whether this one passes.
    pub fn takes(&self, user: &UserId, now: UnixMillis) -> bool {
        let mut counted = self.0.in_period(now.get() / 1000);
        let frames = counted.1.entry(user.clone()).or_default();
        *frames += 1;
        *frames <= FRAMES_PER_S_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> UnixMillis {
        UnixMillis::ZERO.plus_ms(s * 1000)
    }

    #[test]
    fn a_gate_is_shut_for_a_minute_then_two_up_to_an_hour_and_an_hour_later_for_a_minute_again() {
        let (mut gate, mut now, mut minutes) = (Gate::default(), at(1_000_000), vec![]);
        for _ in 0..8 {
            gate = gate.again(now);
            minutes.push(gate.shut_for_ms(now).unwrap() / 60_000);
            now = gate.until;
            assert_eq!(gate.shut_for_ms(now), None);
        }
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(gate.again(now.plus_ms(3_600_001)).shut_for_ms(now.plus_ms(3_600_001)), Some(60_000));
    }

    #[test]
    fn an_environment_takes_fifty_frames_of_a_user_in_a_second() {
        let (sieve, [alice, bob]) = (Sieve::default(), ["alice", "bob"].map(|name| UserId::new(name).unwrap()));
        let taken = |user, now| (0..60).filter(|_| sieve.takes(user, now)).count();
        assert_eq!([taken(&alice, at(5)), taken(&bob, at(5)), taken(&alice, at(5)), taken(&alice, at(6))], [50, 50, 0, 50]);
    }

    #[test]
    fn who_spends_more_than_the_budget_for_long_or_the_burst_at_once_is_overdrawn() {
        let (budget, now) = (Budget::DEFAULT, at(1_000_000));
        assert_eq!((budget.window_ms(), budget.windows(now)), (60_000, (16_606, 16_666)));
        let overdrawn = |spent: &[(u64, u64)]| budget.is_overdrawn(&spent.iter().copied().collect(), now);
        assert!(!overdrawn(&[]) && !overdrawn(&[(16_666, 120_000)]) && overdrawn(&[(16_666, 120_001)]));
        // At once, some time ago: earned meanwhile.
        assert!(overdrawn(&[(16_656, 360_001)]) && !overdrawn(&[(16_656, 360_000)]));
        // For long: 400 a second never, 426 after an hour.
        let steadily = |a_second: u64| (16_000..=16_666).map(|window| (window, 60 * a_second)).collect::<Vec<_>>();
        assert!(!overdrawn(&steadily(400)) && !overdrawn(&steadily(425)) && overdrawn(&steadily(427)));
        // A machine whose clock is a day off.
        assert!(!overdrawn(&[(16_666 + 1_440, 1_000_000), (16_666 - 1_440, 1_000_000)]));
    }

    #[test]
    fn a_gate_that_a_wrong_clock_has_shut_is_open_and_an_operators_is_not() {
        let (now, far) = (at(1_000_000), at(1_000_000 + 86_400));
        assert_eq!(Gate { until: far, times: 1 }.shut_for_ms(now), None);
        assert_eq!(Gate { until: far, times: 0 }.shut_for_ms(now), Some(86_400_000));
    }
}
