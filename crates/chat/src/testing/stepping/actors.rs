//! Who takes part: bob's device, alice who writes, and the workers; and what each of them runs.

use std::fmt;
use std::pin::Pin;

use chatlane_protocol::request::{Hello, Known, SendMessages};
use chatlane_protocol::{Position, UnixMillis, limits};

use super::Mutation;
use super::mutated::Ports;
use super::names::conversation;
use crate::ports::Connection;
use crate::requests::hello::{Greeting, hello};
use crate::requests::send::send;
use crate::testing::builders::{self, caller, device, message, position, request_id, seq, session, settings, start, user};
use crate::workers::fan_out::{Received, fan_out};
use crate::workers::task::Task;

/// What bob's device has stored when it says hello.
pub(super) fn had() -> Position {
    position(1)
}

/// The socket of this number of bob's device; higher ones were accepted later.
pub(super) fn socket(number: u8) -> Connection {
    Connection { device: device(2), connected_at: start().plus_ms(number.into()), ..session(&format!("bob-{number}")) }
}

/// The task of entry `number`, which alice has sent.
pub(super) fn task(number: u64) -> Task {
    Task { own: vec![seq(number)], origin: caller("alice").connection, ..builders::task(&conversation(), number, number) }
}

/// Who runs. Fixes, with the answers that it was given, what it does next.
#[derive(Clone, Debug)]
pub(super) enum Actor {
    /// Bob's device says hello, after opening the socket if it `connects`.
    Device { socket: Connection, connects: bool },
    /// Alice sends entry 2, from the anchor 1.
    Writer,
    /// A worker that was handed the task for the `times`-th time.
    Worker { task: Task, times: u32 },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { socket, .. } => write!(f, "hello on {}", socket.connection),
            Self::Writer => f.write_str("send"),
            Self::Worker { task, times } => write!(f, "fan-out of {}, receive {times},", task.last),
        }
    }
}

/// How it ended well.
pub(super) enum Ended {
    Greeted(Greeting),
    Sent,
    FannedOut,
}

pub(super) type Playing = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// What the actor runs. Panics where the code under test fails: no call of these ports does.
pub(super) fn play(actor: Actor, ports: Ports, mutation: Option<Mutation>) -> Playing {
    match actor {
        Actor::Device { socket, connects } => Box::pin(async move {
            let bob = user("bob");
            if connects {
                if mutation == Some(Mutation::SessionInConnect) {
                    ports.register_in_connect(&bob, &socket).await.expect("sessions can be written");
                }
                ports.accept(socket.connection.clone()).await;
            }
            let known = vec![Known { conversation: conversation(), have: had(), read: Position::ZERO, prefs: 0 }];
            let request = Hello { id: request_id("hello"), v: limits::VERSION_MAX, after: None, known, known_to: None };
            let greeting = hello(&ports, &settings(), 0, &bob, &socket, &request).await;
            Ended::Greeted(greeting.expect("hello is answered").answer)
        }),
        Actor::Writer => Box::pin(async move {
            let request =
                SendMessages { id: request_id("send"), conversation: conversation(), messages: vec![message("m-2", position(1))] };
            send(&ports, &settings(), &caller("alice"), &request).await.expect("send is answered");
            Ended::Sent
        }),
        Actor::Worker { task, times } => Box::pin(async move {
            let as_if_first = matches!(mutation, Some(Mutation::SkipAtHead | Mutation::RepeatedTaskSkipped));
            let received = Received { times: if as_if_first { 1 } else { times }, accepted: task.queued };
            fan_out(&ports, &settings().keys.users, &task, received, UnixMillis::MAX).await.expect("the task is done");
            Ended::FannedOut
        }),
    }
}
