//! What a script is made of: what people do, what the world does to them, and time. Choices are numbers taken modulo what there is, so
//! that a shrunk script still means something.

use chatlane_protocol::{Body, ConversationId, ErrorCode, Seq};
use chatlane_session::{Act, Input};
use proptest::prelude::*;

use super::harm::{Harm, Kind};
use super::server::Wire;
use super::sockets::{Fate, Stage};
use super::world::{Event, World};

/// One line of a script.
#[derive(Clone, Debug)]
pub enum Line {
    /// The user writes so many messages; with `long` the first of them is too large for the server.
    Compose { device: usize, pick: usize, messages: u8, long: bool },
    /// The user has read up to some entry on the screen.
    MarkRead { device: usize, pick: usize, back: usize },
    /// The user looks at some of the conversations.
    Look { device: usize, picks: u8 },
    /// The user wants to talk to somebody.
    Open { device: usize, with: usize },
    /// The user scrolls up.
    LoadHistory { device: usize, pick: usize },
    /// The user gives up a failed message.
    Discard { device: usize },
    /// The user acts after a displacement, or is impatient.
    Connect { device: usize },
    /// Time passes.
    Pass { ms: u64 },
    /// The next frame but `nth` of this kind is lost, and its socket stays.
    Lose { kind: Kind, nth: u8 },
    /// The next push but `nth` comes twice.
    Double { nth: u8, later_ms: u64 },
    /// The next frame but `nth` of this kind takes its time; others overtake it.
    Delay { kind: Kind, nth: u8, ms: u64 },
    /// The function of the next request but `nth` comes to harm.
    Harm { nth: u8, fate: Fate },
    /// The next delivery but `nth` is taken a second time.
    Redeliver { nth: u8, later_ms: u64 },
    /// The next delivery but `nth` waits in the queue.
    Backlog { nth: u8, ms: u64 },
    /// A socket of the device breaks; both sides notice, sooner or later.
    Cut { device: usize },
    /// A socket of the device carries nothing any more, and nobody notices.
    HalfOpen { device: usize },
    /// The gateway says 410 of a live socket.
    StopPushes { device: usize },
    /// The app dies. So many of the writes under way were made.
    Crash { device: usize, kept: usize, away_ms: u64 },
    /// The device's store is slow for a while.
    SlowStore { ms: u64 },
    /// The gateway ends all sockets.
    Restart,
    /// The logs are restored from a backup that lacks the last entries.
    Restore { lost: usize },
    /// The token expires.
    Expire { device: usize },
    /// The same device says hello from somewhere else.
    Displace { device: usize },
    /// So many messages are refused.
    Refuse { code: ErrorCode, messages: u32 },
    /// So many handshakes do not get through.
    Unreachable { handshakes: u32 },
    /// The identity provider is slow, or has signed with a wrong key.
    Tokens { late: u32, bad: u32 },
}

/// All lines, as often as they are worth it.
pub fn lines() -> BoxedStrategy<Line> {
    let device = || 0..4_usize;
    let pick = || 0..64_usize;
    let fate = prop_oneof![
        Just(Fate::Throttled),
        Just(Fate::DiesFirst),
        Just(Fate::DiesBeforeEnqueue),
        Just(Fate::DiesBeforeAnswer),
        Just(Fate::FailsFirst),
        Just(Fate::FailsAfter),
    ];
    let code = prop_oneof![3 => Just(ErrorCode::RateLimited), 3 => Just(ErrorCode::Busy), 2 => Just(ErrorCode::Forbidden)];
    let kind = || prop_oneof![Just(Kind::Request), Just(Kind::Answer), Just(Kind::Push)];
    let nth = || 0..6_u8;
    let pass = prop_oneof![8 => 5..80_u64, 10 => 80..1_000_u64, 5 => 1_000..8_000_u64, 2 => 8_000..60_000_u64];
    prop_oneof![
        60 => (device(), pick(), 1..6_u8, prop::bool::weighted(0.03))
            .prop_map(|(device, pick, messages, long)| Line::Compose { device, pick, messages, long }),
        12 => (device(), pick(), 0..4_usize).prop_map(|(device, pick, back)| Line::MarkRead { device, pick, back }),
        5 => (device(), any::<u8>()).prop_map(|(device, picks)| Line::Look { device, picks }),
        4 => (device(), 0..3_usize).prop_map(|(device, with)| Line::Open { device, with }),
        5 => (device(), pick()).prop_map(|(device, pick)| Line::LoadHistory { device, pick }),
        2 => device().prop_map(|device| Line::Discard { device }),
        4 => device().prop_map(|device| Line::Connect { device }),
        90 => pass.prop_map(|ms| Line::Pass { ms }),
        14 => (kind(), nth()).prop_map(|(kind, nth)| Line::Lose { kind, nth }),
        8 => (nth(), 0..3_000_u64).prop_map(|(nth, later_ms)| Line::Double { nth, later_ms }),
        12 => (kind(), nth(), 100..25_000_u64).prop_map(|(kind, nth, ms)| Line::Delay { kind, nth, ms }),
        16 => (nth(), fate).prop_map(|(nth, fate)| Line::Harm { nth, fate }),
        4 => (nth(), 0..20_000_u64).prop_map(|(nth, later_ms)| Line::Redeliver { nth, later_ms }),
        4 => (nth(), 100..30_000_u64).prop_map(|(nth, ms)| Line::Backlog { nth, ms }),
        8 => device().prop_map(|device| Line::Cut { device }),
        4 => device().prop_map(|device| Line::HalfOpen { device }),
        4 => device().prop_map(|device| Line::StopPushes { device }),
        6 => (device(), 0..3_usize, 0..60_000_u64).prop_map(|(device, kept, away_ms)| Line::Crash { device, kept, away_ms }),
        4 => (500..5_000_u64).prop_map(|ms| Line::SlowStore { ms }),
        1 => Just(Line::Restart),
        2 => prop_oneof![9 => 1..6_usize, 1 => Just(1_000)].prop_map(|lost| Line::Restore { lost }),
        2 => device().prop_map(|device| Line::Expire { device }),
        2 => device().prop_map(|device| Line::Displace { device }),
        5 => (code, 1..4_u32).prop_map(|(code, messages)| Line::Refuse { code, messages }),
        2 => (1..4_u32).prop_map(|handshakes| Line::Unreachable { handshakes }),
        2 => (0..2_u32, 0..2_u32).prop_map(|(late, bad)| Line::Tokens { late, bad }),
    ]
    .boxed()
}

impl Line {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Compose { .. } => "compose",
            Self::MarkRead { .. } => "mark read",
            Self::Look { .. } => "look",
            Self::Open { .. } => "open",
            Self::LoadHistory { .. } => "load history",
            Self::Discard { .. } => "discard",
            Self::Connect { .. } => "connect",
            Self::Pass { .. } => "pass",
            Self::Lose { .. } => "lose",
            Self::Double { .. } => "double",
            Self::Delay { .. } => "delay",
            Self::Harm { .. } => "harm",
            Self::Redeliver { .. } => "redeliver",
            Self::Backlog { .. } => "backlog",
            Self::Cut { .. } => "cut",
            Self::HalfOpen { .. } => "half-open",
            Self::StopPushes { .. } => "stop_pushes",
            Self::Crash { .. } => "crash",
            Self::SlowStore { .. } => "slow store",
            Self::Restart => "restart",
            Self::Restore { .. } => "restore",
            Self::Expire { .. } => "expire",
            Self::Displace { .. } => "displace",
            Self::Refuse { .. } => "refuse",
            Self::Unreachable { .. } => "unreachable",
            Self::Tokens { .. } => "tokens",
        }
    }
}

/// One of `all`, by a number.
fn one<T: Clone>(all: &[T], pick: usize) -> Option<T> {
    all.get(pick.checked_rem(all.len())?).cloned()
}

impl World {
    /// Carries out one line. Whether it had an effect.
    pub fn perform(&mut self, line: &Line) -> bool {
        match *line {
            Line::Compose { device, pick, messages, long } => self.compose(device, pick, messages, long).is_some(),
            Line::MarkRead { device, pick, back } => self.mark_read(device, pick, back).is_some(),
            Line::Look { device, picks } => self.look(device, picks),
            Line::Open { device, with } => self.open(device, ["a", "b", "c"][with]),
            Line::LoadHistory { device, pick } => self.scroll_up(device, pick).is_some(),
            Line::Discard { device } => self.discard(device).is_some(),
            Line::Connect { device } => self.input(device, Input::Do(Act::ConnectNow)),
            Line::Pass { ms } => {
                self.run_for(ms);
                true
            }
            Line::Lose { kind, nth } => self.arm("lose", nth, Harm::Lose(kind)),
            Line::Double { nth, later_ms } => self.arm("double", nth, Harm::Double { later_ms }),
            Line::Delay { kind, nth, ms } => self.arm("delay", nth, Harm::Delay(kind, ms)),
            Line::Harm { nth, fate } => self.arm("harm", nth, Harm::Fate(fate)),
            Line::Redeliver { nth, later_ms } => self.arm("redeliver", nth, Harm::Redeliver { later_ms }),
            Line::Backlog { nth, ms } => self.arm("backlog", nth, Harm::Backlog { ms }),
            Line::Cut { device } => self.cut(device).is_some(),
            Line::HalfOpen { device } => self.half_open(device).is_some(),
            Line::StopPushes { device } => self.stop_pushes(device),
            Line::Crash { device, kept, away_ms } => self.crash(device, kept, away_ms),
            Line::SlowStore { ms } => {
                self.tally.fault("store is slow");
                self.slow_until_ms = self.now_ms + ms;
                true
            }
            Line::Restart => self.restart(),
            Line::Restore { lost } => self.restore(lost),
            Line::Expire { device } => self.expire(device),
            Line::Displace { device } => self.displace(device),
            Line::Refuse { code, messages } => {
                self.server.strain.refusals = Some((code, messages));
                true
            }
            Line::Unreachable { handshakes } => {
                self.unreachable = handshakes;
                true
            }
            Line::Tokens { late, bad } => {
                (self.late_tokens, self.bad_tokens) = (late, bad);
                late + bad > 0
            }
        }
    }

    fn compose(&mut self, device: usize, pick: usize, messages: u8, long: bool) -> Option<()> {
        let conversation = one(&self.known(device), pick)?;
        for number in 0..messages {
            let client_message_id = self.devices[device].next_message();
            let text = if long && number == 0 { "x".repeat(600) } else { format!("this is {client_message_id}") };
            let body = Body::text(text).expect("not empty");
            self.input(device, Input::Do(Act::Compose { conversation: conversation.clone(), client_message_id, body }));
        }
        Some(())
    }

    fn mark_read(&mut self, device: usize, pick: usize, back: usize) -> Option<()> {
        let conversation = one(&self.known(device), pick)?;
        let seen = self.devices[device].user.seen(&conversation);
        let position = *seen.get(seen.len().checked_sub(1 + back)?)?;
        self.input(device, Input::Do(Act::MarkRead { conversation, position })).then_some(())
    }

    fn look(&mut self, device: usize, picks: u8) -> bool {
        let known = self.known(device).into_iter().enumerate();
        let conversations = known.filter(|(number, _)| picks & (1 << (number % 8)) != 0).map(|(_, conversation)| conversation).collect();
        self.input(device, Input::Do(Act::Look { conversations }))
    }

    fn open(&mut self, device: usize, with: &str) -> bool {
        let another = self.devices[device].user.id.as_str() != with && self.devices[device].session.is_some();
        if another {
            self.open_with(device, with);
        }
        another
    }

    fn scroll_up(&mut self, device: usize, pick: usize) -> Option<()> {
        let conversation = one(&self.known(device), pick)?;
        self.load_history(device, &conversation).then_some(())
    }

    /// Asks for what is before the device's run of a conversation; without a run, for what is up to where it goes on.
    pub fn load_history(&mut self, device: usize, conversation: &ConversationId) -> bool {
        let row = self.devices[device]
            .session
            .as_ref()
            .and_then(|session| session.conversations().find(|row| row.conversation == *conversation).cloned());
        let before = row.map(|row| row.from.seq.next()).filter(|seq| *seq > Seq::FIRST);
        self.input(device, Input::Do(Act::LoadHistory { conversation: conversation.clone(), before }))
    }

    fn discard(&mut self, device: usize) -> Option<()> {
        self.devices[device].session.as_ref()?;
        let (conversation, client_message_id) = self.devices[device].user.failed.pop_first()?;
        self.devices[device].discarded.push(client_message_id.clone());
        self.input(device, Input::Do(Act::Discard { conversation, client_message_id })).then_some(())
    }

    /// A socket of the device that carries frames, the newest.
    fn carrying(&self, device: usize) -> Option<Wire> {
        let life = self.devices[device].life;
        let carries = |wire: &Wire| {
            let link = &self.links[wire];
            (link.device, link.life, link.stage) == (device, life, Stage::Open)
        };
        self.links.keys().rev().find(|wire| carries(wire)).copied()
    }

    fn cut(&mut self, device: usize) -> Option<()> {
        let wire = self.carrying(device)?;
        self.tally.fault("socket cut");
        self.end(wire);
        self.drop_requests(wire);
        let (noticed_ms, late_ms) = (self.dice.between(0, 2_000), self.dice.between(0, 20_000));
        self.at(noticed_ms, Event::Closed { wire });
        self.at(late_ms, Event::Disconnected { wire });
        Some(())
    }

    fn half_open(&mut self, device: usize) -> Option<()> {
        let wire = self.carrying(device)?;
        self.tally.fault("socket half-open");
        self.end(wire);
        self.drop_requests(wire);
        self.links.get_mut(&wire)?.stage = Stage::HalfOpen;
        self.at(60_000, Event::Disconnected { wire });
        Some(())
    }

    /// Of the requests on a broken socket some have reached the gateway: they are carried out, and their answers go nowhere.
    fn drop_requests(&mut self, wire: Wire) {
        let dice = &mut self.dice;
        self.events.retain(|_, event| !matches!(event, Event::ToServer { wire: on, .. } if *on == wire) || dice.one_in(2));
    }

    fn stop_pushes(&mut self, device: usize) -> bool {
        let id = self.devices[device].id;
        let stopped = self.server.stop_pushes(id);
        if stopped {
            self.tally.fault("session removed by a false 410");
        }
        stopped
    }

    fn crash(&mut self, device: usize, kept: usize, away_ms: u64) -> bool {
        if self.devices[device].session.is_none() {
            return false;
        }
        let one = &mut self.devices[device];
        let unwritten = one.writing.len();
        one.crash(kept, &self.server);
        self.tally.fault(match (unwritten, kept) {
            (0, _) => "app killed",
            (_, 0) => "app killed, its writes lost",
            _ => "app killed, a write made but not confirmed",
        });
        let life = self.devices[device].life;
        let wires: Vec<Wire> =
            self.links.iter().filter(|(_, link)| (link.device, link.life) == (device, life)).map(|(wire, _)| *wire).collect();
        for wire in wires.into_iter().filter(|wire| self.links[wire].stage != Stage::Ended).collect::<Vec<_>>() {
            self.end(wire);
            self.drop_requests(wire);
            let late_ms = self.dice.between(0, 60_000);
            self.at(late_ms, Event::Disconnected { wire });
        }
        self.at(away_ms, Event::Start { device });
        true
    }

    fn restart(&mut self) -> bool {
        self.tally.fault("gateway restarted");
        for wire in self.server.sockets() {
            self.drop_requests(wire);
            self.hang_up(wire);
        }
        true
    }

    fn restore(&mut self, lost: usize) -> bool {
        let before = self.server.lanes.len();
        let lost = self.server.restore(lost);
        self.tally.fault("logs restored from a backup");
        if self.server.lanes.len() < before {
            self.tally.fault("logs restored from a backup, a conversation lost");
        }
        // The functions that were running when the tables were exchanged are gone; queues and sockets are not.
        for event in self.events.values_mut() {
            if let Event::ToServer { fate, .. } = event {
                *fate = Fate::DiesFirst;
            }
        }
        lost > 0
    }

    fn expire(&mut self, device: usize) -> bool {
        let id = self.devices[device].id;
        let expired = self.server.expire(id);
        if expired {
            self.tally.fault("token expired");
        }
        expired
    }

    fn displace(&mut self, device: usize) -> bool {
        if self.devices[device].session.is_none() {
            return false;
        }
        let wire = self.next_wire();
        let (user, id) = (self.devices[device].user.id.clone(), self.devices[device].id);
        let effect = self.server.displace(wire, &user, id);
        self.devices[device].displaced = true;
        self.tally.fault("device displaced");
        self.post_all(effect.posts);
        // The other one goes away again, some time.
        self.at(30_000, Event::Disconnected { wire });
        true
    }
}
