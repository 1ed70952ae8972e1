//! Every order in which somebody's removal or addition can meet what reads for them (M1, D2): `hello`, `sync`, `history`, and the workers of
//! all entries. A change is seen item by item: its entry first, then each of the rows, in any order; only what reads in a transaction
//! waits until all of them can be seen. Nothing goes wrong here but that.
//!
//! Bob is removed, added, or removed and added again; alice writes behind each. A schedule breaks M1 if bob's connection is posted, or bob
//! is answered, an entry from outside of his spans. It breaks D2 if at its end bob is a member and an entry of his last span was neither
//! posted to his connection nor is up to the head that `hello` told; or if he is none and was told nothing by which he could know.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::mem;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use chatlane_protocol::frames::{HelloAnswer, SyncAnswer, SyncOutcome};
use chatlane_protocol::request::{self, Hello, History, Known, SyncFrom};
use chatlane_protocol::{ConversationId, Position, ServerFrame, UnixMillis, limits};
use sha2::{Digest as _, Sha256};

use super::Explored;
use super::search::{Identity, Run, Search, Searched};
use crate::Refused;
use crate::log::draft::Draft;
use crate::log::{ChangeEntry, Entry, Role};
use crate::ports::{Clock, Failure, FanOutQueue as _, InboxRow, Member, Memberships as _, Span};
use crate::requests::caller::Caller;
use crate::requests::change::{Asked, change};
use crate::requests::hello::{Greeting, hello};
use crate::requests::history::history;
use crate::requests::sync::sync;
use crate::testing::builders::{caller, conversation, message_id, position, request_id, seq, session, settings, start, task, user};
use crate::testing::desk::{AtDesk, SharedDesk, Waiting, lock};
use crate::testing::memory::Memory;
use crate::testing::ready::block_on;
use crate::testing::stage::Stage;
use crate::testing::wrapper::{Answer, Call, Taking, Wrapper, same};
use crate::workers::fan_out::{Received, fan_out};
use crate::workers::task::Task;

/// What happens to bob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// He is removed by entry 2; entry 3 is a message.
    Removal,
    /// He is added by entry 2, behind entry 1; entry 3 is a message.
    Addition,
    /// He is removed by entry 2 and added again by entry 4; entry 3 is a message.
    Both,
}

/// What reads for bob meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Nothing: it is connected.
    Nobody,
    /// His device, which has entry 1, says hello.
    Hello,
    /// The first page of its hello has told of other conversations; it asks for the next.
    SecondPage,
    /// It has said hello before, and fetches what is behind entry 1.
    Sync,
    /// It has said hello before, and asks for the latest entries.
    History,
}

/// One way to break M1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The member's row is not read again, whatever the entries tell: as it was, it holds.
    RowNotReadAgain,
    /// The workers keep the first list of members that one of them has read, and use it where it has the number of members.
    ListKept,
    /// The rows that are compared with the tail are read before it.
    RowsBeforeTail,
}

/// Runs every schedule.
///
/// # Panics
/// If the code under test fails or does not end, which nothing here gives it a reason to.
pub fn explore_membership(change: Change, reader: Reader, mutation: Option<Mutation>) -> Explored {
    let mut search = Search::new(move || World::new(change, reader, mutation));
    let Searched { schedules, broken, steps_max } = search.all();
    let shortest = search.shortest_broken().map(|mut world| world.take_script()).unwrap_or_default();
    Explored { schedules, states: search.states(), steps_max, broken, shortest }
}

/// Bob's rows after an entry.
#[derive(Clone)]
struct Rows {
    member: Option<Member>,
    inbox: Option<InboxRow>,
    left: Option<Vec<Span>>,
}

/// One of them; what is read in a transaction only is seen with the inbox row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Member,
    Inbox,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next entry of the log can be seen; a message is queued at once.
    Log,
    /// An item of the change that is under way can be seen; with the last one the change is answered, and queued.
    Shows(Item),
    /// A call takes effect, and its process goes on.
    Effect { process: usize, call: usize },
}

#[derive(Clone, Debug)]
enum Actor {
    Reader,
    Worker(Task),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reader => f.write_str("bob"),
            Self::Worker(task) => write!(f, "fan-out of {}", task.last),
        }
    }
}

enum Ended {
    Greeted(Box<HelloAnswer>),
    Synced(SyncAnswer),
    /// The entries of a page; refused, none.
    Paged(Vec<chatlane_protocol::Entry>),
    FannedOut,
}

type Told = [u8; 32];

struct Process {
    actor: Actor,
    desk: SharedDesk<Memory>,
    playing: Pin<Box<dyn Future<Output = Ended>>>,
    told: Vec<(usize, Told)>,
    written: Vec<usize>,
}

struct World {
    change: Change,
    mutation: Option<Mutation>,
    memory: Memory,
    lane: ConversationId,
    /// What is written, with bob's rows behind it; the first is entry 2.
    script: Vec<(Entry, Rows)>,
    written: usize,
    /// What of the last change cannot be seen yet.
    hidden: BTreeSet<Item>,
    processes: Vec<Process>,
    /// What the reader was answered, by seqs.
    answered: BTreeSet<u64>,
    /// What hello told: the head, or that there is no such conversation.
    head: Option<Position>,
    gone: bool,
    /// The first list of members.
    list: std::sync::Arc<Mutex<Option<Vec<Member>>>>,
    lines: Vec<String>,
    records: bool,
}

fn bob() -> Caller {
    caller("bob")
}

/// The log, written by the real code one change after the other, and bob's rows after each.
fn written(change_of_bob: Change) -> (Stage, Vec<(Entry, Rows)>) {
    let with_bob = [("alice", Role::Owner), ("carol", Role::Member), ("bob", Role::Member)];
    let stage = Stage::group(if change_of_bob == Change::Addition { &with_bob[..2] } else { &with_bob });
    let first = stage.ports.memory.state().clone();
    let (removed, added) = (ChangeEntry::Removed(vec![user("bob")]), ChangeEntry::Added(vec![user("bob")]));
    let changes = match change_of_bob {
        Change::Removal => vec![removed],
        Change::Addition => vec![added],
        Change::Both => vec![removed, added],
    };
    let mut script = vec![];
    for (number, kind) in changes.into_iter().enumerate() {
        let draft = Draft { client_message_id: message_id(&format!("change-{number}")), anchor: position(1), kind };
        let asked = Asked { id: request_id("r-1"), conversation: stage.conversation.clone(), draft };
        block_on(change(&stage.ports.memory, &settings(), &caller("alice"), &asked)).expect("alice may");
        stage.send("alice", vec![crate::testing::builders::message(&format!("m-{number}"), position(1))]).expect("sent");
        let rows = {
            let stored = stage.ports.memory.state();
            let key = (stage.conversation.clone(), user("bob"));
            let inbox = stored.inboxes.get(&user("bob")).and_then(|rows| rows.get(&stage.conversation)).cloned();
            Rows { member: stored.members.get(&key).cloned(), inbox, left: stored.left.get(&key).cloned() }
        };
        let entries = stage.entries();
        script.extend(entries[entries.len() - 2..].iter().map(|entry| (entry.clone(), rows.clone())));
    }
    if change_of_bob == Change::Both {
        script.pop(); // what is written behind the addition is the scene of the addition
    }
    *stage.ports.memory.state() = first;
    (stage, script)
}

impl World {
    fn new(change: Change, reader: Reader, mutation: Option<Mutation>) -> Self {
        let (stage, script) = written(change);
        let memory = Memory::at(start());
        *memory.state() = stage.ports.memory.state().clone();
        if reader != Reader::Hello {
            memory.log_in(&user("bob"), session("bob-1"));
        }
        let mut world = Self {
            change,
            mutation,
            memory,
            lane: stage.conversation.clone(),
            script,
            written: 0,
            hidden: BTreeSet::new(),
            processes: vec![],
            answered: BTreeSet::new(),
            head: None,
            gone: false,
            list: std::sync::Arc::default(),
            lines: vec![],
            records: true,
        };
        let lane = world.lane.clone();
        world.begin(Actor::Reader, |ports| Box::pin(async move { read(&ports, reader, lane).await }));
        world
    }

    fn begin(&mut self, actor: Actor, play: impl FnOnce(Ports) -> Pin<Box<dyn Future<Output = Ended>>>) {
        let desk = SharedDesk::default();
        let waiting = AtDesk { desk: desk.clone(), clock: start as fn() -> UnixMillis };
        let is_worker = matches!(actor, Actor::Worker(_));
        let list = is_worker.then(|| std::sync::Arc::clone(&self.list));
        let playing = play(Ports { waiting, mutation: self.mutation, list, early: Mutex::default() });
        self.processes.push(Process { actor, desk, playing, told: vec![], written: vec![] });
        self.go_on(self.processes.len() - 1);
    }

    fn go_on(&mut self, process: usize) {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(ended) = self.processes[process].playing.as_mut().poll(&mut context) else { return };
        self.processes.remove(process);
        let seqs = |entries: &[chatlane_protocol::Entry]| entries.iter().map(|entry| entry.position.seq.get()).collect::<Vec<_>>();
        match ended {
            Ended::Greeted(answer) => {
                let row = answer.conversations.into_iter().find(|row| row.conversation.conversation == self.lane);
                self.answered.extend(row.iter().flat_map(|row| seqs(row.last.as_slice())));
                self.gone = answer.gone.contains(&self.lane);
                // Left out: it stands as the device knows it.
                self.head = if self.gone { None } else { Some(row.map_or(position(1), |row| row.conversation.head)) };
            }
            Ended::Synced(answer) => {
                for page in &answer.pages {
                    if let SyncOutcome::Ok(missed) = &page.outcome {
                        self.answered.extend(seqs(&missed.entries));
                    }
                }
            }
            Ended::Paged(entries) => self.answered.extend(seqs(&entries)),
            Ended::FannedOut => {}
        }
    }

    /// What is queued is with a worker at once.
    fn receive(&mut self) {
        let queued = mem::take(&mut self.memory.state().queue);
        for (task, _) in queued {
            let received = Received { times: 1, accepted: start() };
            self.begin(Actor::Worker(task.clone()), |ports| {
                Box::pin(async move {
                    fan_out(&ports, &settings().keys.users, &task, received, UnixMillis::MAX).await.expect("the task is done");
                    Ended::FannedOut
                })
            });
        }
    }

    /// The last entry that can be seen is a change.
    fn changes(&self) -> bool {
        self.written > 0 && self.written % 2 == 1
    }

    fn queue(&self) {
        let number = self.written as u64 + 1;
        let head = self.script[self.written - 1].0.head();
        let task = Task { group: head.group, count: head.count, ..task(&self.lane, number, number) };
        block_on(self.memory.enqueue(&task, 0)).expect("the memory backend never fails");
    }

    fn log(&mut self) {
        let (entry, _) = self.script[self.written].clone();
        self.written += 1;
        self.note(|| format!("entry {} can be seen", entry.position));
        self.memory.state().log.get_mut(&self.lane).expect("the group exists").insert(entry.position.seq, entry);
        if self.changes() {
            self.hidden = [Item::Member, Item::Inbox].into();
        } else {
            self.queue();
        }
    }

    fn show(&mut self, item: Item) {
        self.hidden.remove(&item);
        // A message may have come behind the change.
        let change = self.written - usize::from(!self.changes());
        let rows = self.script[change - 1].1.clone();
        {
            let mut state = self.memory.state();
            let key = (self.lane.clone(), user("bob"));
            match item {
                Item::Member => drop(match rows.member {
                    Some(member) => state.members.insert(key, member),
                    None => state.members.remove(&key),
                }),
                Item::Inbox => {
                    let inbox = state.inboxes.entry(user("bob")).or_default();
                    drop(match rows.inbox {
                        Some(row) => inbox.insert(self.lane.clone(), row),
                        None => inbox.remove(&self.lane),
                    });
                    drop(rows.left.and_then(|spans| state.left.insert(key, spans)));
                }
            }
        }
        self.note(|| format!("the change's {item:?} row can be seen"));
        // Of both changes the removal's own task is the scene of the removal.
        if self.hidden.is_empty() && !(self.change == Change::Both && change == 1) {
            let written = mem::replace(&mut self.written, change);
            self.queue();
            self.written = written;
        }
    }

    fn effect(&mut self, process: usize, call: usize, known: Option<&Told>) -> Told {
        let at = &mut self.processes[process];
        let call = lock(&at.desk).calls.remove(call);
        let number = call.number;
        if call.leaves_a_trace() {
            at.written.push(number);
        }
        let outcome = call.take_effect(&self.memory);
        let told = known.copied().unwrap_or_else(|| {
            let text = format!("{outcome:?}");
            if self.records {
                self.lines.push(format!("{}: {}", at.actor, call.method));
            }
            Sha256::digest(text).into()
        });
        at.told.push((number, told));
        at.told.sort_unstable();
        call.answer(outcome);
        self.go_on(process);
        told
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.records {
            self.lines.push(line());
        }
    }

    fn step(&mut self, step: Step, known: Option<&Told>) -> Option<Told> {
        let told = match step {
            Step::Log => {
                self.log();
                None
            }
            Step::Shows(item) => {
                self.show(item);
                None
            }
            Step::Effect { process, call } => Some(self.effect(process, call, known)),
        };
        self.receive();
        told
    }

    /// The entries that bob's connection was posted.
    fn posted(&self) -> BTreeSet<u64> {
        let state = self.memory.state();
        let posts = state.posts.iter().filter(|(connection, _)| Some(connection) == bob().connection.as_ref());
        let entries = posts.filter_map(|(_, frame)| match serde_json::from_str(frame) {
            Ok(ServerFrame::Entries(entries)) => Some(entries.entries),
            _ => None,
        });
        entries.flatten().map(|entry| entry.position.seq.get()).collect()
    }

    /// Entries that bob has, and that are not for him.
    fn forbidden(&self) -> Vec<u64> {
        let secret = |number: &u64| match self.change {
            Change::Removal => *number > 2,
            Change::Addition => *number < 2,
            Change::Both => *number == 3,
        };
        self.posted().union(&self.answered).copied().filter(secret).collect()
    }

    /// Of a hello: what bob's device does not learn of.
    fn missing(&self, reader_is_hello: bool) -> Vec<u64> {
        if !reader_is_hello || self.gone {
            return vec![]; // a device that is told so asks `sync`, which tells it all
        }
        let posted = self.posted();
        let head = self.head.map_or(0, |head| head.seq.get());
        let missed = |number: &u64| *number > head && !posted.contains(number);
        match self.change {
            // That it has ended: by its entry, or by a `sync` up to that head.
            Change::Removal => [2].into_iter().filter(missed).collect(),
            Change::Addition => [2, 3].into_iter().filter(missed).collect(),
            Change::Both => [4].into_iter().filter(missed).collect(),
        }
    }

    fn take_script(&mut self) -> Vec<String> {
        let mut lines = mem::take(&mut self.lines);
        lines.push(format!("the end: bob has {:?} that is not for him; hello told {:?}, gone {}", self.forbidden(), self.head, self.gone));
        lines.push(format!("posted {:?}, answered {:?}", self.posted(), self.answered));
        lines
    }

    fn is_hello(&self) -> bool {
        self.head.is_some() || self.gone
    }
}

async fn read(ports: &Ports, reader: Reader, lane: ConversationId) -> Ended {
    let id = request_id("read");
    match reader {
        Reader::Nobody => Ended::FannedOut,
        Reader::Hello | Reader::SecondPage => {
            let after = (reader == Reader::SecondPage).then(|| conversation("a"));
            let known = vec![Known { conversation: lane, have: position(1), read: Position::ZERO, prefs: 0 }];
            let request = Hello { id, v: limits::VERSION_MAX, after, known, known_to: None };
            match hello(ports, &settings(), 0, &user("bob"), &session("bob-1"), &request).await.expect("hello is answered").answer {
                Greeting::Welcome(answer) => Ended::Greeted(answer),
                Greeting::Parted => panic!("bob has one connection"),
            }
        }
        Reader::Sync => {
            let conversations = vec![SyncFrom { conversation: lane, after: position(1) }];
            let request = request::Sync { id, conversations, ack: vec![] };
            Ended::Synced(sync(ports, &settings(), &bob(), &request).await.expect("sync is answered").answer)
        }
        Reader::History => {
            let request = History { id, conversation: lane, before: None, limit: None };
            match history(ports, &settings().keys.users, &bob(), &request).await {
                Ok(done) => Ended::Paged(done.answer.entries),
                Err(Refused::NotFound | Refused::Ended(_) | Refused::Failed(_)) => Ended::Paged(vec![]),
                Err(other) => panic!("history is answered {other}"),
            }
        }
    }
}

/// The ports of one process, with the mutation if there is one.
struct Ports {
    waiting: AtDesk<Memory, fn() -> UnixMillis>,
    mutation: Option<Mutation>,
    /// Of a worker: the list that all of them share.
    list: Option<std::sync::Arc<Mutex<Option<Vec<Member>>>>>,
    early: Mutex<Option<Vec<Member>>>,
}

impl Ports {
    /// What the mutation makes of it.
    fn without_sums(mut entries: Vec<Entry>) -> Vec<Entry> {
        for entry in &mut entries {
            entry.facts.members_sum = None;
        }
        entries
    }
}

impl Wrapper for Ports {
    type Inner = AtDesk<Memory, fn() -> UnixMillis>;

    fn now(&self) -> UnixMillis {
        Clock::now(&self.waiting)
    }

    async fn call<T: Answer>(
        &self,
        call: Call<'_>,
        effect: impl for<'a> Fn(&'a Self::Inner) -> Taking<'a, T> + Send + Sync + 'static,
    ) -> T {
        match (call.method, self.mutation) {
            ("member_consistent", Some(Mutation::RowNotReadAgain)) => {
                let member = Member { user: user("bob"), role: Role::Member, visible_from: seq(1), version: seq(1) };
                return same(Ok::<_, Failure>(Some(member)));
            }
            ("read_back", Some(Mutation::RowsBeforeTail)) if self.list.is_some() => {
                let lane = call.argument().expect("it reads a conversation");
                *lock(&self.early) = self.waiting.members(lane).await.ok();
            }
            ("members", _) => {
                if let Some(early) = lock(&self.early).take() {
                    return same(Ok::<_, Failure>(early));
                }
                if let (Some(Mutation::ListKept), Some(list)) = (self.mutation, &self.list)
                    && let Some(kept) = lock(list).clone()
                {
                    return same(Ok::<_, Failure>(kept));
                }
            }
            _ => {}
        }
        let answer = effect(&self.waiting).await;
        match (call.method, self.mutation) {
            ("members", Some(Mutation::ListKept)) => {
                let answer: Result<Vec<Member>, Failure> = same(answer);
                if let (Some(list), Ok(members)) = (&self.list, &answer) {
                    lock(list).get_or_insert_with(|| members.clone());
                }
                same(answer)
            }
            ("read" | "read_back", Some(Mutation::ListKept)) => {
                same(same::<_, Result<Vec<Entry>, Failure>>(answer).map(Self::without_sums))
            }
            _ => answer,
        }
    }
}

impl Run for World {
    type Step = Step;
    type Trace = Option<Told>;

    fn possible(&self) -> Vec<Step> {
        let mut steps = vec![];
        // One transaction on bob's rows at a time.
        let next_changes = self.written.is_multiple_of(2);
        if self.written < self.script.len() && (!next_changes || self.hidden.is_empty()) {
            steps.push(Step::Log);
        }
        steps.extend(self.hidden.iter().map(|item| Step::Shows(*item)));
        for (process, at) in self.processes.iter().enumerate() {
            let waits = |call: &Waiting<Memory>| !self.hidden.is_empty() && matches!(call.method, "member_consistent" | "memberships");
            let calls = lock(&at.desk);
            let ready = calls.calls.iter().enumerate().filter(|(_, call)| !waits(call));
            steps.extend(ready.map(|(call, _)| Step::Effect { process, call }));
        }
        steps
    }

    fn take(&mut self, step: Step) -> Option<Told> {
        self.step(step, None)
    }

    fn take_again(&mut self, step: Step, told: &Option<Told>) {
        self.records = false;
        self.step(step, told.as_ref());
        self.records = true;
    }

    fn identity(&self) -> Identity {
        let mut identity = String::with_capacity(8 * 1024);
        let mut add = |part: std::fmt::Arguments<'_>| identity.write_fmt(part).expect("a string takes everything");
        add(format_args!("{} {:?} {:?} {:?} {}\n", self.written, self.hidden, self.answered, self.head, self.gone));
        add(format_args!("{:?}\n", lock(&self.list)));
        for Process { actor, told, written, .. } in &self.processes {
            add(format_args!("{actor:?} {told:x?} {written:?}\n"));
        }
        add(format_args!("{:?}", self.memory.state()));
        Sha256::digest(identity).into()
    }

    fn is_broken(&self) -> bool {
        !self.forbidden().is_empty() || !self.missing(self.is_hello()).is_empty()
    }
}
