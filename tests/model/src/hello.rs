//! A device that says hello while messages are fanned out: D2.
//!
//! One conversation whose entry 1 the device has. Others send; the device opens a socket, says hello, and may move to a second socket at
//! any time, before its hello is answered or after.
//!
//! | | rule | in the code |
//! |---|---|---|
//! | 1 | `$connect` writes nothing; until it has answered, a post gets 410 | `functions/handshake/connect` |
//! | 2 | hello writes the session, then takes the sessions of the device's earlier sockets away (a late hello its own), then reads the head | `chat/src/requests/hello.rs` |
//! | 3 | a 410 and a disconnect event take that connection's session away and no other | `chat/src/workers/fan_out.rs`, `functions/handshake/disconnect` |
//! | 4 | a worker raises the head and learns what it was, then reads the sessions | `chat/src/workers/fan_out.rs` |
//! | 5 | head = last never skips a task; a first receive that finds head > last is done | `chat/src/workers/fan_out.rs` |
//! | 6 | it posts (min(old head, first − 1), last]; on a repeated receive from further back | `chat/src/workers/fan_out/range.rs` |
//! | 7 | what was begun is received again until a worker ends well | L4: the queue |
//! | 8 | a task may be queued any time after its entry was stored: its sender died, and somebody made it good | L4: `chat/src/workers/dispatch.rs` |
//!
//! Faults: a worker dies at any step and its task is received again; a task is handed out again while a worker has it, or comes twice as if
//! each were the first; a hello dies at any step, also with the session's write on its way, and is said again. The device's old socket is
//! half-open (posts go into the void) or gone; its disconnect event comes late or never.
//!
//! D2 is judged at rest: the device has every entry or knows a head that is not below it, and so syncs. Beside it, what the design does
//! more: the rest came by itself ([`CAME`]), and the socket has its session, so that what is sent later comes too ([`HEARS`]).
//!
//! Not modelled: several conversations and their pages, members, merged frames, posts that are throttled (remainders with targets), a
//! connection that is given up, tokens that expire. A device that gets a false 410 is told by `ping` and comes back by hello, which is
//! here; that ping does tell is not. Reading the head and being answered is one step: what is posted in between comes on the same socket.

mod steps;

use stateright::{Model, Property};

use crate::Design;

/// One socket of the device; the second was opened later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// What the gateway makes of posts.
    pub gate: Gate,
    /// Whether it is in the user's sessions.
    pub session: bool,
    /// The hello that was said on it.
    pub hello: Hello,
    /// Entries that were posted while the device was on it: a bit for each.
    pub heard: u8,
}

/// What the gateway knows of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Not opened.
    Unused,
    /// `$connect` runs: posts get 410.
    Connecting,
    /// `$connect` has written a session, which is a hole, and runs: posts get 410.
    ConnectingWritten,
    /// Posts reach the device.
    Open,
    /// The device has left it, and the gateway does not know: posts are taken.
    HalfOpen,
    /// Closed: posts get 410.
    Gone,
}

/// How far a hello is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hello {
    /// Not said.
    Unsaid,
    /// On its way.
    Said,
    /// It has read the head before anything else, which is a hole.
    Read(u8),
    /// The session is written; this socket's is to be taken away.
    Displaces {
        /// Its number.
        socket: u8,
        /// What a hole has read before.
        read: Option<u8>,
    },
    /// The session is written and alone.
    Stays,
    /// Answered with this head.
    Told(u8),
    /// Answered: a later socket is there.
    Displaced,
}

/// A task in the queue; its entry is first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// Which.
    pub entry: u8,
    /// Whether it was received before.
    pub repeated: bool,
}

/// A worker that has a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// The task.
    pub task: Task,
    /// How far it is.
    pub stage: Stage,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has read the sessions before anything else, which is a hole.
    Read {
        /// Those it has found: a bit for each socket.
        sessions: u8,
    },
    /// The head is raised; it will post from here on.
    Raised {
        /// Inclusive.
        from: u8,
    },
    /// It posts.
    Posting {
        /// Inclusive.
        from: u8,
        /// Sockets that it has not posted to.
        left: u8,
        /// Sockets that are gone and still have their sessions, as it knows.
        gone: u8,
    },
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The log is 1..=this.
    pub stored: u8,
    /// Entries whose task is not queued: a bit for each.
    pub unqueued: u8,
    /// As written by workers.
    pub head: u8,
    /// The queue, sorted.
    pub tasks: Vec<Task>,
    /// Sorted.
    pub workers: Vec<Worker>,
    /// Entries whose task was deleted from the queue: a bit for each.
    pub done: u8,
    /// The device's sockets.
    pub sockets: [Socket; 2],
    /// Which one the device is on.
    pub on: u8,
    /// What the device has without a gap.
    pub have: u8,
    /// Sessions that dead hellos have written and that are on their way: a bit for each socket.
    pub late: u8,
    /// How much may still go wrong.
    pub left: Left,
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Deaths of workers and hellos.
    pub deaths: u8,
    /// Tasks that are handed out again while a worker has them.
    pub again: u8,
    /// Tasks that come twice, each as if for the first time.
    pub copies: u8,
    /// Moves of the device.
    pub moves: u8,
}

/// What can be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody's message is stored.
    Store,
    /// The task of this entry is queued.
    Enqueue(u8),
    /// A worker receives the task and does its first step: it raises the head.
    Receive(Task),
    /// The worker of a hole raises the head.
    Raise(Worker),
    /// A worker reads the sessions.
    ReadSessions(Worker),
    /// A worker posts to this socket.
    Post(Worker, u8),
    /// A worker takes the session of this socket away.
    Remove(Worker, u8),
    /// A worker dies; its task comes again, if no other has done it.
    WorkerDies(Worker),
    /// The task of a worker is handed out again, though the worker lives.
    HandOutAgain(Worker),
    /// The task comes twice, each as if for the first time.
    Copy(Task),
    /// `$connect` writes a session: a hole.
    WriteInConnect(u8),
    /// `$connect` has answered, and the device says hello.
    Accept(u8),
    /// Hello writes the session.
    Write(u8),
    /// Hello takes away the session of an earlier socket, or its own.
    Displace(u8),
    /// Hello reads the head, and is answered.
    ReadHead(u8),
    /// A hello dies.
    HelloDies(u8),
    /// A hello dies; the session that it writes is on its way.
    HelloDiesWriting(u8),
    /// A dead hello's session is written.
    WriteLate(u8),
    /// The device moves to its second socket. The gateway knows that the first is gone, or it does not.
    Move {
        /// Whether it knows.
        known: bool,
    },
    /// The gateway notices that a socket is gone.
    Notice(u8),
    /// The disconnect event of a socket that is gone.
    Disconnect(u8),
}

/// A rule turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// The worker reads the sessions and then writes the head.
    SessionsBeforeHead,
    /// Hello reads the head and then writes the session.
    HeadBeforeSession,
    /// `$connect` writes the session; hello reads the head only.
    SessionInConnect,
    /// A task that is received again is taken for done if the head is at it.
    RepeatedSkippedAtHead,
    /// A task that is received for the first time is taken for done if the head is at it.
    FirstSkippedAtHead,
    /// A task that is received again is taken for done if the head is above it.
    RepeatedSkippedBelowHead,
    /// A worker posts its task's entry only.
    OnlyOwnEntry,
    /// The head is set, not raised.
    HeadSet,
    /// A 410 takes all sessions of the user away.
    GoneRemovesUser,
    /// A disconnect event takes all sessions of the user away.
    DisconnectRemovesUser,
    /// Whichever hello comes later displaces the other's socket.
    DisplacedByArrival,
}

impl Hole {
    /// All, each with what it breaks and the scene in which it does.
    pub const ALL: [(Self, &'static str, Scene); 11] = [
        (Self::SessionsBeforeHead, D2, STAYS),
        (Self::HeadBeforeSession, D2, STAYS),
        (Self::SessionInConnect, D2, STAYS),
        (Self::RepeatedSkippedAtHead, D2, STAYS),
        (Self::FirstSkippedAtHead, D2, COPIES),
        (Self::RepeatedSkippedBelowHead, CAME, STAYS),
        (Self::OnlyOwnEntry, CAME, STAYS),
        (Self::HeadSet, D2, STAYS),
        (Self::GoneRemovesUser, D2, MOVES),
        (Self::DisconnectRemovesUser, D2, MOVES),
        (Self::DisplacedByArrival, HEARS, MOVES),
    ];
}

/// A device that said hello has each entry or knows a head that is not below it.
pub const D2: &str = "D2";
/// It was told a head or was posted the entry: no entry is missed that a later one must reveal. Not so where the queue hands a task out
/// twice and says of both that they are the first: the first copy raises the head and dies, the task of the next entry posts that entry
/// only, the second copy finds the head above it and is done. The device then sees a gap and syncs (D1), so D2 holds; it is not judged in
/// such scenes.
pub const CAME: &str = "D2 without a gap";
/// The socket that the device is on has its session.
pub const HEARS: &str = "hears what comes later";

/// How many messages there are and how much may go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// Entries that are stored while the device says hello.
    pub messages: u8,
    /// How much may go wrong.
    pub left: Left,
}

/// The device stays on its socket.
pub const STAYS: Scene = Scene { name: "hello: two messages", messages: 2, left: Left { deaths: 2, again: 1, copies: 0, moves: 0 } };
/// With more messages.
pub const THREE: Scene = Scene { name: "hello: three messages", messages: 3, left: Left { deaths: 2, again: 1, copies: 0, moves: 0 } };
/// Tasks come twice.
pub const COPIES: Scene =
    Scene { name: "hello: tasks that come twice", messages: 3, left: Left { deaths: 2, again: 0, copies: 2, moves: 0 } };
/// The device moves.
pub const MOVES: Scene = Scene { name: "hello: a second socket", messages: 2, left: Left { deaths: 2, again: 0, copies: 0, moves: 1 } };

/// A hello in a scene.
pub type Greeting = Design<Scene, Hole>;

impl State {
    fn here(&self) -> &Socket {
        &self.sockets[usize::from(self.on)]
    }

    /// The head that hello told on the socket that the device is on; what the device has if it told none.
    fn told(&self) -> u8 {
        match self.here().hello {
            Hello::Told(head) => head.max(self.have),
            _ => self.have,
        }
    }

    fn is_missed(&self, entry: u8) -> bool {
        entry > self.told() && self.here().heard & 1 << entry == 0
    }

    /// It was greeted, and has the last entry or knows that it exists.
    fn knows_all(&self) -> bool {
        matches!(self.here().hello, Hello::Told(_)) && !self.is_missed(self.stored)
    }

    /// Nothing is on its way, and whoever is there was greeted.
    fn is_at_rest(&self, messages: u8) -> bool {
        let idle = self.stored == 1 + messages && self.unqueued == 0 && self.tasks.is_empty() && self.workers.is_empty() && self.late == 0;
        idle && self.here().is_greeted() && self.sockets.iter().all(|socket| socket.hello == Hello::Unsaid || socket.is_greeted())
    }
}

impl Socket {
    const fn is_greeted(self) -> bool {
        matches!(self.hello, Hello::Told(_) | Hello::Displaced)
    }
}

impl Model for Greeting {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let socket = |gate| Socket { gate, session: false, hello: Hello::Unsaid, heard: 0 };
        vec![State {
            stored: 1,
            unqueued: 0,
            head: 1,
            tasks: vec![],
            workers: vec![],
            done: 0,
            sockets: [socket(Gate::Connecting), socket(Gate::Unused)],
            on: 0,
            have: 1,
            late: 0,
            left: self.scene.left,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.possible(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, step);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn at_rest(model: &Greeting, state: &State) -> bool {
            state.is_at_rest(model.scene.messages)
        }
        fn is_final(model: &Greeting, state: &State) -> bool {
            let mut steps = vec![];
            at_rest(model, state) || {
                model.possible(state, &mut steps);
                steps.is_empty() // which must not be before everything is done
            }
        }
        let mut properties = vec![
            Property::always(D2, |model, state: &State| state.knows_all() || !is_final(model, state)),
            Property::always(CAME, |model, state: &State| {
                !at_rest(model, state) || (1..=state.stored).all(|entry| !state.is_missed(entry))
            }),
            Property::always(HEARS, |model, state: &State| !at_rest(model, state) || state.here().session),
            Property::sometimes("hello told the last entry", |model, state: &State| at_rest(model, state) && state.told() == state.stored),
            Property::sometimes("all entries were posted", |model, state: &State| at_rest(model, state) && state.told() == 1),
            Property::sometimes("a later entry comes before an earlier one", |_, state: &State| {
                state.is_missed(2) && state.here().heard & 1 << 3 != 0
            }),
        ];
        if self.scene.left.moves > 0 {
            properties.extend([
                Property::sometimes("a late hello displaces itself", |_, state: &State| state.sockets[0].hello == Hello::Displaced),
                Property::sometimes("a worker posts to a socket that is gone", |_, state: &State| {
                    state.workers.iter().any(|worker| matches!(worker.stage, Stage::Posting { gone: 1.., .. }))
                }),
                Property::sometimes("both sockets have a session", |_, state: &State| state.sockets.iter().all(|socket| socket.session)),
            ]);
        }
        if self.scene.left.copies > 0 {
            properties.retain(|property| property.name != CAME || self.judged == Some(CAME));
        }
        properties.retain(|property| self.is_judged(property.name));
        properties
    }
}
