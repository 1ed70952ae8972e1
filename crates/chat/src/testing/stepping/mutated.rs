//! The ports of one process, with the mutation if there is one.

use std::sync::Mutex;

use chatlane_protocol::{ConnectionId, Position, UnixMillis, UserId};

use super::Mutation;
use super::names::{conversation, users};
use crate::log::Head;
use crate::ports::{Clock, Connection, Connections as _, Failure, Gate, Heads as _, Registered};
use crate::testing::builders::start;
use crate::testing::desk::{AtDesk, SharedDesk, lock};
use crate::testing::memory::Memory;
use crate::testing::wrapper::{Answer, Call, Effect, Taking, Wrapper, same};

type Waiting = AtDesk<Memory, fn() -> UnixMillis>;

/// All ports, as one process has them.
pub(super) struct Ports {
    waiting: Waiting,
    mutation: Option<Mutation>,
    /// What a mutated order has read too early.
    early: Mutex<Early>,
}

#[derive(Default)]
struct Early {
    heads: Option<Vec<Head>>,
    sessions: Option<Vec<(UserId, Connection)>>,
}

impl Ports {
    pub(super) fn new(desk: SharedDesk<Memory>, mutation: Option<Mutation>) -> Self {
        Self { waiting: AtDesk { desk, clock: start }, mutation, early: Mutex::default() }
    }

    /// The gateway has had the answer of `$connect`: until then, a post to the connection is answered "gone". Not ours, so it does not
    /// happen if `$connect` has died.
    pub(super) async fn accept(&self, connection: ConnectionId) {
        let call = Call { method: "the gateway accepts ", effect: Effect::reads, arguments: &[&connection.clone()] };
        let accepted = self.waiting.call(call, move |memory: &Memory| {
            let connection = connection.clone();
            Box::pin(async move {
                memory.state().gone.remove(&connection);
                Ok::<_, Failure>(())
            })
        });
        accepted.await.expect("nothing is lost here");
    }

    /// What [`Mutation::SessionInConnect`] has `$connect` do.
    pub(super) async fn register_in_connect(&self, user: &UserId, session: &Connection) -> Result<Registered, Failure> {
        self.waiting.register(user, session, UnixMillis::ZERO).await
    }
}

impl Wrapper for Ports {
    type Inner = Waiting;

    fn now(&self) -> UnixMillis {
        Clock::now(&self.waiting)
    }

    async fn call<T: Answer>(&self, call: Call<'_>, effect: impl for<'a> Fn(&'a Waiting) -> Taking<'a, T> + Send + Sync + 'static) -> T {
        match (call.method, self.mutation) {
            ("register", Some(Mutation::SessionInConnect)) => {
                let all: Vec<Connection> = call.argument().cloned().into_iter().collect();
                return same(Ok::<_, Failure>(Registered { all, in_this_minute: 1, gate: Gate::default() }));
            }
            ("register", Some(Mutation::HeadsBeforeSession)) => {
                let heads = self.waiting.heads(&[conversation()]).await;
                lock(&self.early).heads = heads.ok();
            }
            ("raise_head", Some(Mutation::SessionsBeforeHead)) => {
                let sessions = self.waiting.of_users(&users()).await;
                lock(&self.early).sessions = sessions.ok();
            }
            ("heads", _) => {
                if let Some(heads) = lock(&self.early).heads.take() {
                    return same(Ok::<_, Failure>(heads));
                }
            }
            ("of_users", _) => {
                if let Some(sessions) = lock(&self.early).sessions.take() {
                    return same(Ok::<_, Failure>(sessions));
                }
            }
            _ => {}
        }
        let answer = effect(&self.waiting).await;
        if call.method == "raise_head" && self.mutation == Some(Mutation::SkipAtHead) {
            let skips = |before: Position| call.argument::<Head>().is_some_and(|to| before == to.position);
            let above = |before: Position| if skips(before) { Position::new(before.epoch, before.seq.next()) } else { before };
            return same(same::<_, Result<Position, Failure>>(answer).map(above));
        }
        answer
    }
}
