//! The model server: what docs/PROTOCOL.md promises, in memory and all at once. Pages, bounds and times are so small that short scripts
//! meet them.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{
    ConversationHead, ConversationRow, ConversationStatus, CursorOutcome, CursorResult, CursorsAnswer, ErrorFrame, Goaway, GoawayReason,
    HelloAnswer, HistoryAnswer, Limits, MemberCursors, Missed, OpenAnswer, PingAnswer, ProbeAnswer, Receipt, RefreshAnswer, SendAnswer,
    SyncAnswer, SyncOutcome, SyncPage, Versions,
};
use chatlane_protocol::request::{Hello, History, Open, Ping, PositionIn, Positions, Probe, Refresh, SendMessages, Sync};
use chatlane_protocol::{
    ClientMessageId, ConversationId, DeviceId, ErrorCode, MessageResult, Outcome, Position, Refusal, Request, RequestId, Seq, ServerFrame,
    UnixMillis, UserId, limits,
};

use super::delivery::{Task, task};
use super::log::{ANCHOR_ENTRIES_MAX, ENTRY_BYTES_MAX, Lane, Strain};
use super::token;
use super::watch::Logged;

/// Conversations that a page of `hello` looks at.
const HELLO_ROWS_MAX: usize = 1;

/// Entries of a page of `sync`, of all its conversations together.
const PAGE_ENTRIES_MAX: usize = 3;

/// Entries of a page of `history`.
const HISTORY_ENTRIES_MAX: usize = 4;

/// Messages of one `send`.
pub const MESSAGES_PER_SEND_MAX: usize = 3;

/// As in production.
pub const CURSORS_EVERY_MS: u64 = 1_000;

const PING_AFTER_IDLE_MS: u64 = 20_000;
const RECONNECT_IN_MS: u64 = 90_000;

/// One socket of the gateway; numbered over all devices, newer ones are higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(pub u64);

/// Who is at the other end of a socket.
#[derive(Clone, Debug)]
pub struct Peer {
    pub user: UserId,
    pub device: DeviceId,
    pub expires: UnixMillis,
}

/// What a request leads to.
#[derive(Debug, Default)]
pub struct Effect {
    pub answer: Option<ServerFrame>,
    pub posts: Vec<(Wire, ServerFrame)>,
    pub tasks: Vec<Task>,
    /// The server ends the socket, behind its posts.
    pub close: bool,
    pub note: Note,
}

/// What the device knows of its messages when it has the answer.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// The number of the request.
    pub request: u64,
    /// Conversations that were looked through to the end.
    pub scanned: Vec<ConversationId>,
    /// Messages that were refused for good.
    pub refused: Vec<ClientMessageId>,
}

/// The whole server.
#[derive(Debug, Default)]
pub struct Server {
    pub now: UnixMillis,
    pub epoch: u32,
    pub lanes: BTreeMap<ConversationId, Lane>,
    /// Every entry that was ever accepted, also those that a restore took back.
    pub ever: BTreeMap<(ConversationId, Position), Logged>,
    /// Rises with each request.
    pub requests: u64,
    pub strain: Strain,
    /// Sockets that the gateway holds open.
    peers: BTreeMap<Wire, Peer>,
    /// Those that are posted to.
    pub sessions: BTreeMap<Wire, Peer>,
    /// Messages that were refused for good: the ones behind them may overtake them (L5).
    pub refused: BTreeSet<ClientMessageId>,
    reconnect_spread: u64,
}

impl Server {
    pub fn new(now: UnixMillis) -> Self {
        Self { now, epoch: 1, ..Self::default() }
    }

    /// The authorizer's word on a handshake, and the gateway's socket.
    pub fn accept(&mut self, wire: Wire, user: &UserId, device: DeviceId, token: &str) -> bool {
        let good = token::read(token).filter(|claims| claims.user == user.as_str() && claims.expires > self.now);
        if let Some(claims) = &good {
            self.peers.insert(wire, Peer { user: user.clone(), device, expires: claims.expires });
        }
        good.is_some()
    }

    /// `$disconnect`.
    pub fn ended(&mut self, wire: Wire) {
        self.peers.remove(&wire);
        self.sessions.remove(&wire);
    }

    pub fn has(&self, wire: Wire) -> bool {
        self.peers.contains_key(&wire)
    }

    pub fn sockets(&self) -> Vec<Wire> {
        self.peers.keys().copied().collect()
    }

    /// A false 410, or posts given up: the sessions of the device go. Whether there were any.
    pub fn stop_pushes(&mut self, device: DeviceId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|_, session| session.device != device);
        self.sessions.len() < before
    }

    /// Whether nothing is posted to the device.
    pub fn receives_no_pushes(&self, device: DeviceId) -> bool {
        self.sessions.values().all(|session| session.device != device)
    }

    /// Somebody else says hello in the name of the device.
    pub fn displace(&mut self, wire: Wire, user: &UserId, device: DeviceId) -> Effect {
        self.peers.insert(wire, Peer { user: user.clone(), device, expires: self.now.plus_ms(token::LIFE_MS) });
        let mut effect = Effect::default();
        self.make_routable(wire, &mut effect);
        effect
    }

    /// The time of all of the device's tokens is over. Whether there was a connection.
    pub fn expire(&mut self, device: DeviceId) -> bool {
        let now = self.now;
        let of_device = self.peers.values_mut().chain(self.sessions.values_mut()).filter(|peer| peer.device == device);
        of_device.map(|peer| peer.expires = now).count() > 0
    }

    /// A restore from a backup, in a higher epoch. How many entries are lost.
    pub fn restore(&mut self, lost: usize) -> usize {
        self.epoch += 1;
        let lost = self.lanes.values_mut().map(|lane| lane.restore(lost)).sum();
        self.lanes.retain(|_, lane| !lane.entries.is_empty());
        lost
    }

    pub fn handle(&mut self, wire: Wire, text: &str) -> Effect {
        self.requests += 1;
        let request = Request::parse(text).unwrap_or_else(|bad| panic!("the session sent a bad request: {:?}: {text}", bad.refusal));
        let mut effect = Effect { note: Note { request: self.requests, ..Note::default() }, ..Effect::default() };
        let Some(peer) = self.admit(wire) else {
            effect.posts.push((wire, error(request.id(), Refusal::new(ErrorCode::TokenExpired, "over"))));
            effect.close = true;
            return effect;
        };
        let answer = self.answer(wire, &peer, request, &mut effect);
        Effect { answer, ..effect }
    }

    fn admit(&self, wire: Wire) -> Option<Peer> {
        let in_time = |peer: &&Peer| peer.expires > self.now;
        self.peers.get(&wire).filter(in_time).or_else(|| self.sessions.get(&wire).filter(in_time)).cloned()
    }

    fn answer(&mut self, wire: Wire, peer: &Peer, request: Request, effect: &mut Effect) -> Option<ServerFrame> {
        Some(match request {
            Request::Hello(hello) => return self.hello(wire, peer, &hello, effect),
            Request::Open(open) => self.open(peer, open, effect),
            Request::Send(send) => self.send(wire, peer, send, effect),
            Request::Sync(sync) => self.sync(peer, sync, effect),
            Request::History(history) => self.history(peer, history),
            Request::Probe(probe) => self.probe(peer, probe, effect),
            Request::Ack(Positions { id, positions }) => {
                ServerFrame::Ack(CursorsAnswer { id, results: self.advance(peer, &positions, false, effect) })
            }
            Request::Read(Positions { id, positions }) => {
                ServerFrame::Read(CursorsAnswer { id, results: self.advance(peer, &positions, true, effect) })
            }
            Request::Refresh(refresh) => self.refresh(wire, peer, refresh),
            Request::Ping(ping) => self.ping(wire, peer, ping),
        })
    }

    fn lane_of(&self, conversation: &ConversationId, user: &UserId) -> Result<&Lane, Refusal> {
        let lane = self.lanes.get(conversation).filter(|lane| lane.members.contains(user));
        lane.ok_or_else(not_found)
    }

    /// Of two connections of one device the newer one stays. Whether `wire` is posted to now.
    fn make_routable(&mut self, wire: Wire, effect: &mut Effect) -> bool {
        let Some(peer) = self.peers.get(&wire).cloned() else { return false };
        let expires = self.sessions.get(&wire).map_or(peer.expires, |session| session.expires.max(peer.expires));
        let others: Vec<Wire> = self
            .sessions
            .iter()
            .filter(|(other, session)| **other != wire && session.device == peer.device)
            .map(|(other, _)| *other)
            .collect();
        if others.iter().any(|other| *other > wire) {
            self.sessions.remove(&wire);
            return false;
        }
        for other in others {
            self.sessions.remove(&other);
            effect.posts.push((other, goaway()));
        }
        self.sessions.insert(wire, Peer { expires, ..peer });
        true
    }

    fn hello(&mut self, wire: Wire, peer: &Peer, hello: &Hello, effect: &mut Effect) -> Option<ServerFrame> {
        if hello.after.is_none() && !self.make_routable(wire, effect) {
            effect.posts.push((wire, goaway()));
            return None;
        }
        let expires_ms = self.sessions.get(&wire).map_or(peer.expires, |session| session.expires.max(peer.expires));
        self.reconnect_spread = (self.reconnect_spread + 7_919) % 30_000;
        let mine = self.lanes.values().filter(|lane| lane.members.contains(&peer.user));
        let wanted = mine.filter(|lane| hello.after.as_ref().is_none_or(|after| lane.id > *after));
        let page: Vec<&Lane> = wanted.clone().filter(|lane| hello.known_to.as_ref().is_none_or(|end| lane.id <= *end)).collect();
        let looked_at = &page[..page.len().min(HELLO_ROWS_MAX)];
        let next = if page.len() > HELLO_ROWS_MAX {
            looked_at.last().map(|lane| lane.id.clone())
        } else {
            hello.known_to.clone().filter(|end| wanted.clone().any(|lane| lane.id > *end))
        };
        let changed = looked_at.iter().filter(|lane| !self.is_as_known(lane, peer, hello));
        let conversations = changed.map(|lane| row(lane, &peer.user)).collect();
        Some(ServerFrame::Hello(Box::new(HelloAnswer {
            id: hello.id.clone(),
            versions: Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX },
            user: peer.user.clone(),
            device: peer.device,
            server_time_ms: self.now,
            epoch: self.epoch,
            reconnect_in_ms: RECONNECT_IN_MS + self.reconnect_spread,
            expires_ms,
            limits: Limits {
                entry_bytes_max: ENTRY_BYTES_MAX,
                request_bytes_max: limits::WEBSOCKET_FRAME_BYTES_MAX,
                messages_per_send_max: MESSAGES_PER_SEND_MAX,
                anchor_entries_max: ANCHOR_ENTRIES_MAX,
                anchor_bytes_max: limits::ANCHOR_BYTES_MAX,
                gap_wait_ms: limits::GAP_WAIT_MS,
                ping_after_idle_ms: PING_AFTER_IDLE_MS,
                cursors_every_ms: CURSORS_EVERY_MS,
            },
            conversations,
            next,
        })))
    }

    fn is_as_known(&self, lane: &Lane, peer: &Peer, hello: &Hello) -> bool {
        hello.known.iter().find(|known| known.conversation == lane.id).is_some_and(|known| {
            let has_all = lane.head == known.have || (lane.head < known.have && known.have.epoch == self.epoch);
            known.read == lane.cursors(&peer.user).read && has_all
        })
    }

    fn open(&mut self, peer: &Peer, Open { id, with, client_message_id }: Open, effect: &mut Effect) -> ServerFrame {
        let mut members = [peer.user.clone(), with.clone()];
        members.sort();
        let conversation = ConversationId::new(format!("d-{}-{}", members[0], members[1])).unwrap();
        if !self.lanes.contains_key(&conversation) {
            let lane = Lane::create(conversation.clone(), members, &peer.user, client_message_id, self.epoch, self.now);
            self.lanes.insert(conversation.clone(), lane);
            self.note_last(&conversation);
        }
        let lane = &self.lanes[&conversation];
        if lane.head < lane.tail() {
            effect.tasks.push(task(lane, Seq::FIRST, Seq::FIRST, BTreeSet::new(), None));
        }
        let first = lane.entries[0].position;
        let head = lane.head.max(first);
        ServerFrame::Open(OpenAnswer { id, conversation: ConversationHead { conversation, with: Some(with), head } })
    }

    fn send(
        &mut self,
        wire: Wire,
        peer: &Peer,
        SendMessages { id, conversation, messages }: SendMessages,
        effect: &mut Effect,
    ) -> ServerFrame {
        let mut results: Vec<MessageResult> = vec![];
        let mut written = BTreeSet::new();
        let mut placed = BTreeSet::new();
        for message in messages {
            let stopped = results.iter().any(|result| !matches!(result.outcome, Outcome::Ok(_) | Outcome::Duplicate(_)));
            let member = self.lane_of(&conversation, &peer.user).err();
            let outcome = match (member, self.lanes.get_mut(&conversation)) {
                _ if stopped => Outcome::NotAttempted,
                (None, Some(lane)) => lane.append(&peer.user, &message, self.epoch, self.now, &mut written, &mut self.strain),
                _ => Outcome::Refused(not_found()),
            };
            match &outcome {
                Outcome::Ok(stored) | Outcome::Duplicate(stored) => {
                    placed.insert(stored.position.seq);
                    if matches!(outcome, Outcome::Ok(_)) {
                        self.note_last(&conversation);
                    }
                }
                Outcome::Refused(refusal) if matches!(refusal.code, ErrorCode::Forbidden | ErrorCode::TooLarge) => {
                    self.refused.insert(message.client_message_id.clone());
                    effect.note.refused.push(message.client_message_id.clone());
                }
                Outcome::Conflict(_) | Outcome::Refused(_) | Outcome::NotAttempted => {}
            }
            results.push(MessageResult { client_message_id: message.client_message_id, outcome });
        }
        if let Some(lane) = self.lanes.get(&conversation) {
            let begin = placed.iter().find(|seq| written.contains(seq) || **seq > lane.head.seq);
            if let (Some(first), Some(last)) = (begin, placed.last()) {
                effect.tasks.push(task(lane, *first, *last, placed.clone(), Some(wire)));
            }
        }
        ServerFrame::Send(SendAnswer { id, conversation, results })
    }

    fn sync(&mut self, peer: &Peer, Sync { id, conversations, ack }: Sync, effect: &mut Effect) -> ServerFrame {
        let results = self.advance(peer, &ack, false, effect);
        let acked = !ack.is_empty() && results.iter().all(|result| result.outcome == CursorOutcome::Ok);
        let (mut pages, mut room, wanted) = (vec![], PAGE_ENTRIES_MAX, conversations.len());
        for from in conversations {
            if room == 0 {
                break;
            }
            let good = self.lane_of(&from.conversation, &peer.user).and_then(|lane| {
                let good = if from.after.seq == Seq::ZERO { Ok(()) } else { lane.judge(self.epoch, from.after) };
                good.map(|()| lane.after(from.after.seq, room))
            });
            let outcome = match good {
                Err(refusal) => SyncOutcome::Refused(refusal),
                Ok((entries, done)) => {
                    room -= entries.len();
                    if done {
                        effect.note.scanned.push(from.conversation.clone());
                    }
                    SyncOutcome::Ok(Missed { skip: None, entries: entries.to_vec(), done })
                }
            };
            pages.push(SyncPage { conversation: from.conversation, outcome });
        }
        let whole = |page: &SyncPage| !matches!(&page.outcome, SyncOutcome::Ok(missed) if !missed.done);
        let done = pages.len() == wanted && pages.iter().all(whole);
        ServerFrame::Sync(SyncAnswer { id, pages, done, acked })
    }

    fn history(&self, peer: &Peer, History { id, conversation, before, limit }: History) -> ServerFrame {
        let lane = match self.lane_of(&conversation, &peer.user) {
            Ok(lane) => lane,
            Err(refusal) => return error(&id, refusal),
        };
        let below = before.map_or(usize::MAX, |seq| usize::try_from(seq.get().saturating_sub(1)).unwrap()).min(lane.entries.len());
        let limit = limit.map_or(HISTORY_ENTRIES_MAX, |limit| usize::try_from(limit).unwrap()).min(HISTORY_ENTRIES_MAX);
        let first = below.saturating_sub(limit);
        let entries = lane.entries[first..below].to_vec();
        ServerFrame::History(HistoryAnswer { id, conversation, entries, done: first == 0 })
    }

    fn probe(&self, peer: &Peer, Probe { id, conversation, anchor, ids }: Probe, effect: &mut Effect) -> ServerFrame {
        let judged = self.lane_of(&conversation, &peer.user).and_then(|lane| {
            let good = if anchor.seq == Seq::ZERO { Ok(()) } else { lane.judge(self.epoch, anchor) };
            good.map(|()| lane.probe(&peer.user, anchor, &ids))
        });
        match judged {
            Err(refusal) => {
                // Where there is no log there is nothing to be found.
                effect.note.scanned.extend((refusal.code == ErrorCode::NotFound).then_some(conversation));
                error(&id, refusal)
            }
            Ok((found, reached, done)) => {
                effect.note.scanned.extend(done.then(|| conversation.clone()));
                ServerFrame::Probe(ProbeAnswer { id, conversation, found, reached, done })
            }
        }
    }

    fn advance(&mut self, peer: &Peer, positions: &[PositionIn], read: bool, effect: &mut Effect) -> Vec<CursorResult> {
        let mut results = vec![];
        for PositionIn { conversation, position } in positions {
            let lane = self.lanes.get_mut(conversation).filter(|lane| lane.members.contains(&peer.user));
            let moved = lane.map(|lane| lane.advance(&peer.user, peer.device, self.epoch, *position, read));
            if let Some((_, true)) = moved {
                self.post_receipt(conversation, &peer.user, effect);
            }
            let outcome = moved.map_or_else(|| CursorOutcome::Refused(not_found()), |(outcome, _)| outcome);
            results.push(CursorResult { conversation: conversation.clone(), outcome });
        }
        results
    }

    fn post_receipt(&self, conversation: &ConversationId, user: &UserId, effect: &mut Effect) {
        let lane = &self.lanes[conversation];
        let receipt = Receipt { conversation: conversation.clone(), cursors: member_cursors(lane, user), ttl_ms: limits::RECEIPT_TTL_MS };
        let to = self.sessions.iter().filter(|(_, session)| session.user == *lane.other(user) && session.expires > self.now);
        effect.posts.extend(to.map(|(wire, _)| (*wire, ServerFrame::Receipt(receipt.clone()))));
    }

    fn refresh(&mut self, wire: Wire, peer: &Peer, Refresh { id, token }: Refresh) -> ServerFrame {
        let refused = |code| error(&id, Refusal::new(code, "refused"));
        let Some(claims) = token::read(token.as_str()).filter(|claims| claims.user == peer.user.as_str() && claims.expires > self.now)
        else {
            return refused(ErrorCode::TokenRefused);
        };
        let Some(session) = self.sessions.get_mut(&wire) else { return refused(ErrorCode::Resync) };
        session.expires = session.expires.max(claims.expires);
        ServerFrame::Refresh(RefreshAnswer { id, expires_ms: session.expires })
    }

    fn ping(&self, wire: Wire, peer: &Peer, Ping { id, open }: Ping) -> ServerFrame {
        let lanes = open.iter().filter_map(|conversation| self.lane_of(conversation, &peer.user).ok());
        let status = |lane: &Lane| ConversationStatus {
            conversation: lane.id.clone(),
            head: lane.head,
            count: lane.count_at(lane.head),
            cursors: vec![member_cursors(lane, lane.other(&peer.user))],
        };
        let conversations = lanes.map(status).collect();
        ServerFrame::Ping(PingAnswer { id, server_time_ms: self.now, resync: !self.sessions.contains_key(&wire), conversations })
    }

    /// The gateway says 410: the session goes.
    pub fn gone(&mut self, wire: Wire) {
        self.sessions.remove(&wire);
    }
}

fn row(lane: &Lane, user: &UserId) -> ConversationRow {
    let read = lane.cursors(user).read;
    let last = lane.at(lane.head.seq).cloned();
    ConversationRow {
        conversation: ConversationHead { conversation: lane.id.clone(), with: Some(lane.other(user).clone()), head: lane.head },
        count: lane.count_at(lane.head),
        time_ms: last.as_ref().map_or(UnixMillis::ZERO, |entry| entry.time_ms),
        read,
        read_count: lane.count_at(read),
        last,
    }
}

fn member_cursors(lane: &Lane, user: &UserId) -> MemberCursors {
    let cursors = lane.cursors(user);
    MemberCursors { user: user.clone(), delivered: cursors.furthest(), read: cursors.read }
}

pub fn error(id: &RequestId, refusal: Refusal) -> ServerFrame {
    ServerFrame::Error(ErrorFrame { id: Some(id.clone()), refusal })
}

fn not_found() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such conversation")
}

fn goaway() -> ServerFrame {
    ServerFrame::Goaway(Goaway { reason: GoawayReason::Displaced, retry_after_ms: None })
}
