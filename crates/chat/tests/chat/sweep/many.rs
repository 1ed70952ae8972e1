//! Ten thousand messages that are delivered, and fifty whose sender dies between put and enqueue and never comes back: the real `send`,
//! `fan_out` and `sweep` in virtual time, with a backlog in which nothing is delivered for a minute.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::ports::{Created, Creations as _, Heads as _};
use chatlane_chat::requests::send::send;
use chatlane_chat::testing::builders::{
    self, caller, connection, creation, direct, head, message, position, request_id, session, settings, start, user,
};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::fan_out::{Received, fan_out};
use chatlane_chat::workers::sweep::sweep;
use chatlane_chat::workers::task::Task;
use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, Outcome, Seq, ServerFrame, UnixMillis};

const CONVERSATIONS: usize = 400;
const DELIVERED: usize = 10_000;
const KILLED: usize = 50;

/// Messages are sent within so long.
const TALK_MS: u64 = 600_000;

/// The batching window of the log's stream.
const WINDOW_MS: u64 = 60_000;

/// No worker takes anything from the queue.
const BACKLOG_MS: std::ops::Range<u64> = 200_000..260_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A check queues a task also where the head is at its last entry.
    QueuesAtTheHead,
    /// Nobody looks at what the log tells.
    NeverSweeps,
}

enum Event {
    Sent { lane: usize, killed: bool },
    Received(Task),
    WindowEnds,
}

/// What came of a run.
#[derive(Debug, Default)]
struct Verdict {
    killed: BTreeSet<ConversationId>,
    acknowledged: usize,
    sweeps: usize,
    looked_at: usize,
    checks: usize,
    /// Tasks that the sweeper queued.
    tasks: BTreeMap<ConversationId, usize>,
    /// How often the other member's phone got each entry but the first.
    posts: BTreeMap<(usize, Seq), usize>,
}

struct World {
    broken: Broken,
    ports: Faulty,
    lanes: Vec<ConversationId>,
    chance: u64,
    events: BTreeMap<(u64, u64), Event>,
    now_ms: u64,
    /// What the log's stream holds of this window.
    stored: Vec<(ConversationId, Seq)>,
    verdict: Verdict,
}

fn names(lane: usize) -> [String; 2] {
    [format!("alice-{lane}"), format!("bob-{lane}")]
}

impl World {
    fn new(broken: Broken, seed: u64) -> Self {
        let ports = Faulty::new(start());
        let lanes = (0..CONVERSATIONS).map(|lane| {
            let [alice, bob] = names(lane);
            let (one, other) = (user(&alice), user(&bob));
            let lane = direct(&one, &other);
            assert!(matches!(block_on(ports.memory.create(&creation(&lane, &one, &other))), Ok(Created::New)));
            block_on(ports.memory.raise_head(&lane, head(1))).unwrap();
            ports.memory.log_in(&other, session(&bob));
            lane
        });
        let lanes = lanes.collect();
        let mut world =
            Self { broken, ports, lanes, chance: seed, events: BTreeMap::new(), now_ms: 0, stored: vec![], verdict: Verdict::default() };
        world.plan();
        world
    }

    /// A step of a linear congruential generator (Knuth, MMIX); its high bits.
    fn below(&mut self, n: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % n
    }

    fn at(&mut self, ms: u64, event: Event) {
        let number = self.events.len() as u64 + self.now_ms * 1_000_000;
        let mut key = (ms, number);
        while self.events.contains_key(&key) {
            key.1 += 1;
        }
        self.events.insert(key, event);
    }

    /// Everybody talks; the killed messages are the last of their conversations: another one would be delivered with them.
    fn plan(&mut self) {
        let mut last = vec![0; CONVERSATIONS];
        for _ in 0..DELIVERED {
            let (lane, ms) = (usize::try_from(self.below(CONVERSATIONS as u64)).unwrap(), self.below(TALK_MS));
            last[lane] = ms.max(last[lane]);
            self.at(ms, Event::Sent { lane, killed: false });
        }
        let mut killed = BTreeSet::new();
        while killed.len() < KILLED {
            killed.insert(usize::try_from(self.below(CONVERSATIONS as u64)).unwrap());
        }
        for lane in killed {
            let ms = last[lane] + 1 + self.below(30_000);
            self.verdict.killed.insert(self.lanes[lane].clone());
            self.at(ms, Event::Sent { lane, killed: true });
        }
    }

    fn run(mut self) -> Verdict {
        while let Some(((now_ms, _), event)) = self.events.pop_first() {
            self.now_ms = now_ms;
            self.ports.memory.clock.set(start().plus_ms(now_ms));
            match event {
                Event::Sent { lane, killed } => self.send(lane, killed),
                // Behind the backlog, in the same order.
                Event::Received(task) if BACKLOG_MS.contains(&now_ms) => {
                    self.at(BACKLOG_MS.end + (now_ms - BACKLOG_MS.start) / 60, Event::Received(task));
                }
                Event::Received(task) => self.receive(&task),
                Event::WindowEnds => self.sweep(),
            }
        }
        self.count_posts();
        self.verdict
    }

    fn send(&mut self, lane: usize, killed: bool) {
        let ([alice, _], conversation) = (names(lane), self.lanes[lane].clone());
        let next = self.ports.memory.entries(&conversation).len() as u64 + 1;
        let messages = vec![message(&format!("m-{next}"), position(1))];
        if killed {
            self.ports.on("enqueue", Fault::RequestLost);
        }
        let request = SendMessages { id: request_id("r"), conversation: conversation.clone(), messages };
        match block_on(send(&self.ports, &settings(), &caller(&alice), &request)) {
            Ok(done) => {
                assert!(!killed && matches!(done.answer.results[0].outcome, Outcome::Ok(_)), "{done:?}");
                self.verdict.acknowledged += 1;
            }
            Err(_) => assert!(killed, "only where it dies"),
        }
        assert_eq!(self.ports.memory.entries(&conversation).len() as u64, next, "it is stored in any case");
        if self.stored.is_empty() {
            self.at(self.now_ms + WINDOW_MS, Event::WindowEnds);
        }
        self.stored.push((conversation, builders::seq(next)));
        self.take_queued(None);
    }

    /// What was queued is received a little after its delay. `by`: the check that queued it.
    fn take_queued(&mut self, by: Option<&ConversationId>) {
        let queued = std::mem::take(&mut self.ports.memory.state().queue);
        for (task, delay_s) in queued {
            self.verdict.checks += usize::from(task.check);
            if let Some(conversation) = by {
                *self.verdict.tasks.entry(conversation.clone()).or_default() += 1;
            }
            let ms = self.now_ms + u64::from(delay_s) * 1000 + 5 + self.below(200);
            self.at(ms, Event::Received(task));
        }
    }

    fn receive(&mut self, task: &Task) {
        let lower = task.check && self.broken == Broken::QueuesAtTheHead;
        let move_head = |back: bool| {
            let mut state = self.ports.memory.state();
            let seq = &mut state.heads.get_mut(&task.conversation).unwrap().position.seq;
            *seq = if back { seq.next() } else { seq.minus(1) };
        };
        if lower {
            move_head(false);
        }
        let accepted = start().plus_ms(self.now_ms).min(task.queued);
        let outcome =
            block_on(fan_out(&self.ports, &settings().keys.users, task, Received { times: 1, accepted }, UnixMillis::MAX)).unwrap();
        if lower {
            move_head(true);
        }
        assert!(task.check || !outcome.swept);
        self.take_queued(task.check.then_some(&task.conversation));
    }

    fn sweep(&mut self) {
        let stored = std::mem::take(&mut self.stored);
        if self.broken == Broken::NeverSweeps {
            return;
        }
        let swept = block_on(sweep(&self.ports, &settings(), stored)).unwrap();
        self.verdict.sweeps += 1;
        self.verdict.looked_at += swept.conversations;
        self.take_queued(None);
    }

    fn count_posts(&mut self) {
        let of: BTreeMap<_, usize> = (0..CONVERSATIONS).map(|lane| (connection(&names(lane)[1]), lane)).collect();
        for (to, frame) in std::mem::take(&mut self.ports.memory.state().posts) {
            let Ok(ServerFrame::Entries(frame)) = serde_json::from_str(&frame) else { panic!("not entries: {frame}") };
            for entry in frame.entries {
                *self.verdict.posts.entry((of[&to], entry.position.seq)).or_default() += 1;
            }
        }
    }
}

impl Verdict {
    /// Exactly the conversations of the killed have a task by the sweeper, one each.
    fn finds_the_killed_and_no_other(&self) -> bool {
        self.tasks.keys().eq(&self.killed) && self.tasks.values().all(|tasks| *tasks == 1)
    }

    fn print(&self) {
        let Self { killed, acknowledged, sweeps, looked_at, checks, tasks, posts } = self;
        println!(
            "{acknowledged} messages acknowledged, {} stored by a sender that died; {sweeps} sweeps of {looked_at} heads queued {checks} \
             checks, which queued {} tasks; {} entries posted, {} times",
            killed.len(),
            tasks.values().sum::<usize>(),
            posts.len(),
            posts.values().sum::<usize>(),
        );
    }
}

// holds: L4
#[test]
fn exactly_what_a_dead_sender_left_gets_a_task_and_each_once() {
    for seed in 1..=3 {
        let verdict = World::new(Broken::Nothing, seed).run();
        verdict.print();
        assert!(verdict.finds_the_killed_and_no_other(), "seed {seed}: {:?}", verdict.tasks);
        assert_eq!((verdict.acknowledged, verdict.killed.len(), verdict.posts.len()), (DELIVERED, KILLED, DELIVERED + KILLED));
        assert!(verdict.posts.values().all(|times| *times == 1), "seed {seed}: doubled by nobody");
        assert!(verdict.checks > 2 * KILLED, "the backlog was looked at: {} checks", verdict.checks);
    }
}

#[test]
fn a_check_that_queues_where_the_head_is_at_its_last_entry_is_found() {
    let verdict = World::new(Broken::QueuesAtTheHead, 1).run();
    verdict.print();
    assert!(!verdict.finds_the_killed_and_no_other());
    assert!(verdict.posts.values().any(|times| *times > 1), "what was only late is delivered twice");
}

#[test]
fn a_log_that_nobody_sweeps_is_found() {
    let verdict = World::new(Broken::NeverSweeps, 1).run();
    verdict.print();
    assert!(!verdict.finds_the_killed_and_no_other());
    assert_eq!(verdict.posts.len(), DELIVERED, "what the dead left reaches nobody");
}
