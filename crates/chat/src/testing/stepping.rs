//! Every order in which a hello and the fan-out can meet (D2), with at most one fault.
//!
//! The real [`crate::requests::hello::hello`], [`crate::workers::fan_out::fan_out`] and [`crate::requests::send::send`] run on the memory
//! backend, and every call of a port waits until it is chosen to be next: then it takes effect and its caller goes on to its next call.
//! What a process does between two calls touches nothing that another one sees, so the orders of the calls are all the orders there are.
//! Calls that a process makes at once can be chosen in any order. The one fault is a process that dies: each write that it waits for is
//! lost, or takes effect at any later time; or a task that the queue hands out a second time. What died is made good as in production:
//! the queue hands the task out again, the sender sends again, the device says hello again, on the same socket or on a new one.
//!
//! A schedule breaks D2 if at its end, when nothing is left to do, there is an entry that is neither up to what the last hello told (the
//! device syncs up to there) nor posted to the device's connection.
//!
//! Schedules that lead to the same state go on from there in the same ways, so what follows it is searched once and counted for all of
//! them: the search is exhaustive, the counts are exact. The same search with one [`Mutation`] in the ports must break; that is how it
//! shows that it reaches the places that matter.
//!
//! Not promised: anything about lost sessions (a false 410, a connection that was given up), which `ping` repairs; nor about calls that
//! fail while their process lives (`tests/fan_out.rs` and `tests/hello.rs` have these).

mod actors;
pub mod membership;
mod mutated;
mod names;
mod search;
mod world;

use self::search::{Search, Searched};
use self::world::World;

/// What happens while the device says hello. It has entry 1, whose delivery has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// The other user sends a message, entry 2.
    AMessageIsSent,
    /// Entries 2 and 3 are stored; the task of each is queued.
    TwoTasksAreQueued,
    /// Entry 2 is stored and its task is queued; the device has another socket, with a session, and leaves it.
    TheDeviceMoves,
}

/// One way to break D2, in the order of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// `$connect` writes the session and hello does not: a post before the gateway has accepted the connection is answered "gone", and
    /// the worker removes the session.
    SessionInConnect,
    /// Hello reads the heads before it writes the session.
    HeadsBeforeSession,
    /// The worker reads the sessions before it raises the head.
    SessionsBeforeHead,
    /// The worker takes a task for superseded if the head is at its last entry, on whatever receive.
    SkipAtHead,
    /// The worker takes a repeated task for superseded if the head is above it, as if it were received for the first time.
    RepeatedTaskSkipped,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Schedules from beginning to end: all there are.
    pub schedules: u64,
    /// Different states that they pass.
    pub states: usize,
    /// Steps of the longest one.
    pub steps_max: u32,
    /// Schedules that broke D2.
    pub broken: u64,
    /// The shortest of these, a line a step and what is wrong at its end; empty if there is none.
    pub shortest: Vec<String>,
}

/// Runs every schedule of the scene, with at most `faults` faults, of the real code (`None`) or with a mutation.
///
/// # Panics
/// If the code under test fails or does not end, which nothing here gives it a reason to.
pub fn explore(scene: Scene, faults: u32, mutation: Option<Mutation>) -> Explored {
    let mut search = Search::new(move || World::new(scene, faults, mutation));
    let Searched { schedules, broken, steps_max } = search.all();
    let shortest = search.shortest_broken().map(|mut world| world.take_script()).unwrap_or_default();
    Explored { schedules, states: search.states(), steps_max, broken, shortest }
}
