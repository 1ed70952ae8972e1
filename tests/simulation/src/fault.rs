//! Faults, in words of the domain. Each has its calls that it can hit; how many it could have hit, and how many it did, is counted.
//!
//! Whether a fault hits the n-th call that it can hit depends on the seed, the fault and n only. So the faults of a run are a list of
//! (fault, n), and a shorter list is a shorter run.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_tests_support::Dice;
use chatlane_tests_support::dice::hash;
use serde::{Deserialize, Serialize};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A frame of a device never reaches the gateway; its socket stays.
    RequestLost,
    /// The gateway throttles a request: the client gets its frame, no function runs.
    GatewayThrottles,
    /// A call of a function is refused for now; it has had no effect.
    Throttled,
    /// A write takes effect, and its answer is lost.
    ResponseLost,
    /// A creation's rows are seen one by one.
    ItemByItem,
    /// A function dies while it waits for a call, which had no effect.
    Killed,
    /// A function dies while it waits for a write, which takes effect later.
    KilledInFlight,
    /// The queue has a task twice.
    QueueDuplicate,
    /// Later tasks overtake one.
    QueueReorder,
    /// A task waits in a backlog.
    QueueDelay,
    /// A task comes fifteen minutes late.
    QueueQuarter,
    /// A message is handed out again while its worker has it.
    WorkerOverlap,
    /// A socket is cut when a request leaves the device.
    SocketCut,
    /// A socket carries nothing any more from a request on, and nobody is told.
    HalfOpen,
    /// A post to a live socket is answered that it is gone.
    FalseGone,
    /// `$disconnect` runs minutes later.
    DisconnectLate,
    /// `$disconnect` never runs.
    DisconnectLost,
    /// The clock of a function's machine is off by up to a day.
    ClockOff,
    /// A token whose time is nearly over.
    TokenExpiry,
    /// A handshake does not get through.
    Unreachable,
    /// An answer never reaches its device; the socket stays.
    AnswerLost,
    /// So does a push.
    PushLost,
    /// A push comes twice, the second time later.
    PushDoubled,
    /// Posts to a live socket are throttled for up to two and a half minutes.
    PostsThrottled,
    /// A device's store makes a write not, nor those behind it.
    StoreRefuses,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::RequestLost,
        Self::GatewayThrottles,
        Self::Throttled,
        Self::ResponseLost,
        Self::ItemByItem,
        Self::Killed,
        Self::KilledInFlight,
        Self::QueueDuplicate,
        Self::QueueReorder,
        Self::QueueDelay,
        Self::QueueQuarter,
        Self::WorkerOverlap,
        Self::SocketCut,
        Self::HalfOpen,
        Self::FalseGone,
        Self::DisconnectLate,
        Self::DisconnectLost,
        Self::ClockOff,
        Self::TokenExpiry,
        Self::Unreachable,
        Self::AnswerLost,
        Self::PushLost,
        Self::PushDoubled,
        Self::PostsThrottled,
        Self::StoreRefuses,
    ];

    /// For people: the fault, and what it can hit.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::RequestLost => ("request lost", "requests"),
            Self::GatewayThrottles => ("throttled by the gateway", "requests"),
            Self::Throttled => ("throttled", "calls"),
            Self::ResponseLost => ("response lost after commit", "writes"),
            Self::ItemByItem => ("transaction visible item by item", "transactions"),
            Self::Killed => ("killed between two awaits", "calls"),
            Self::KilledInFlight => ("killed, a write lands later", "writes"),
            Self::QueueDuplicate => ("queue: duplicate", "tasks"),
            Self::QueueReorder => ("queue: reorder", "tasks"),
            Self::QueueDelay => ("queue: delay", "tasks"),
            Self::QueueQuarter => ("queue: 15 minutes late", "tasks"),
            Self::WorkerOverlap => ("worker overlap", "receives"),
            Self::SocketCut => ("socket cut", "requests"),
            Self::HalfOpen => ("socket half-open", "requests"),
            Self::FalseGone => ("410 for a live socket", "posts"),
            Self::DisconnectLate => ("disconnect late", "ends"),
            Self::DisconnectLost => ("disconnect lost", "ends"),
            Self::ClockOff => ("clock off by up to a day", "invocations"),
            Self::TokenExpiry => ("token expiry", "tokens"),
            Self::Unreachable => ("gateway unreachable", "handshakes"),
            Self::AnswerLost => ("answer lost", "answers"),
            Self::PushLost => ("push lost", "posts"),
            Self::PushDoubled => ("push doubled", "posts"),
            Self::PostsThrottled => ("posts throttled for a while", "posts"),
            Self::StoreRefuses => ("store refuses", "writes of devices"),
        }
    }

    /// Hits in a thousand, of a run that has this fault: a function makes many calls, a run few creations.
    const fn often(self) -> (u64, u64) {
        match self {
            Self::Throttled | Self::Killed | Self::ResponseLost | Self::KilledInFlight => (20, 40),
            Self::SocketCut | Self::HalfOpen | Self::RequestLost | Self::GatewayThrottles | Self::AnswerLost => (20, 45),
            Self::ClockOff | Self::FalseGone | Self::PostsThrottled => (25, 60),
            Self::ItemByItem | Self::TokenExpiry => (100, 500),
            _ => (15, 120),
        }
    }

    /// Whether it may cost a live device a push, which only its next heartbeat or gap repairs.
    const fn costs_a_push(self) -> bool {
        matches!(self, Self::FalseGone | Self::ClockOff | Self::TokenExpiry | Self::PushLost)
    }
}

/// Which faults a run has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// None.
    None,
    /// As the seed says: some kinds, each as often as it says.
    Seeded,
    /// These: the fault, and the number (from 0) of the call among those that it can hit.
    These(BTreeSet<(Fault, u64)>),
}

/// How often a fault could have hit, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Calls that it can hit.
    pub could: u64,
    /// Those that it did.
    pub hit: u64,
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    plan: Plan,
    /// Delivery is judged without the repairs: no fault that may cost a push.
    strict: bool,
    rates: BTreeMap<Fault, u64>,
    pub(crate) hits: BTreeMap<Fault, Hits>,
    pub(crate) struck: BTreeSet<(Fault, u64)>,
    pub(crate) over: bool,
}

impl Faults {
    pub(crate) fn new(seed: u64, plan: Plan, strict: bool) -> Self {
        let rate = |fault: Fault| {
            let mut dice = Dice::new(hash(&[seed, fault as u64, 1]));
            let (low, high) = fault.often();
            // A run with everything at once never gets into the states that one fault alone leads to.
            (fault, if dice.below(10) < 3 { 0 } else { dice.between(low, high) })
        };
        let rates = Fault::ALL.into_iter().map(rate).collect();
        Self { seed, plan, strict, rates, hits: BTreeMap::new(), struck: BTreeSet::new(), over: false }
    }

    /// Whether the fault hits the call that is made now; then with a random number for what it does there.
    pub(crate) fn strike(&mut self, fault: Fault) -> Option<Dice> {
        if self.over || (self.strict && fault.costs_a_push()) {
            return None;
        }
        let hits = self.hits.entry(fault).or_default();
        let number = hits.could;
        hits.could += 1;
        let draw = hash(&[self.seed, fault as u64, 2, number]);
        let strikes = match &self.plan {
            Plan::None => false,
            Plan::Seeded => draw % 1000 < self.rates[&fault],
            Plan::These(these) => these.contains(&(fault, number)),
        };
        if !strikes {
            return None;
        }
        hits.hit += 1;
        self.struck.insert((fault, number));
        Some(Dice::new(draw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(faults: &mut Faults, fault: Fault) -> u64 {
        (0..1000).filter(|_| faults.strike(fault).is_some()).count() as u64
    }

    #[test]
    fn the_faults_of_a_seed_as_a_list_hit_the_same_calls() {
        let mut seeded = Faults::new(3, Plan::Seeded, false);
        let hit: u64 = Fault::ALL.into_iter().map(|fault| hits(&mut seeded, fault)).sum();
        assert!(hit > 0 && hit == seeded.struck.len() as u64);
        let mut listed = Faults::new(3, Plan::These(seeded.struck.clone()), false);
        for fault in Fault::ALL {
            hits(&mut listed, fault);
        }
        assert_eq!(listed.struck, seeded.struck);
        assert_eq!(listed.hits, seeded.hits);
    }

    #[test]
    fn nothing_hits_when_faults_are_over_and_what_costs_a_push_never_hits_a_strict_run() {
        let plan = Plan::These(Fault::ALL.into_iter().map(|fault| (fault, 0)).collect());
        let mut over = Faults::new(3, plan.clone(), false);
        over.over = true;
        assert!(Fault::ALL.into_iter().all(|fault| over.strike(fault).is_none()));
        let mut strict = Faults::new(3, plan, true);
        let spared: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| strict.strike(*fault).is_none()).collect();
        assert_eq!(spared, [Fault::FalseGone, Fault::ClockOff, Fault::TokenExpiry, Fault::PushLost]);
    }
}
