//! The sockets between devices and server, and what becomes of the frames on them. They have no order, as behind API Gateway
//! (docs/PROTOCOL.md §3): each has its own latency.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{ErrorCode, Refusal, Request, ServerFrame};
use chatlane_session::{Input, OpenFailure, SocketId, Text};

use super::device::Device;
use super::server::{Effect, Note, Wire, error};
use super::world::{Event, World};

/// What becomes of the function that a request starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It answers.
    Answers,
    /// The gateway does not start it: throttled.
    Throttled,
    /// It dies before it has done anything.
    DiesFirst,
    /// It dies after its writes, before the delivery is queued.
    DiesBeforeEnqueue,
    /// It dies when everything is done but the answer.
    DiesBeforeAnswer,
    /// It answers `unavailable`, and has done nothing.
    FailsFirst,
    /// It answers `unavailable`, and has done everything.
    FailsAfter,
}

/// One socket, between the device that asked for it and the gateway.
#[derive(Clone, Debug)]
pub struct Link {
    pub device: usize,
    pub life: u32,
    pub socket: SocketId,
    pub stage: Stage,
    greeted: bool,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Open,
    /// Frames vanish in both directions, and nobody notices.
    HalfOpen,
    Ended,
}

impl World {
    pub fn wire(&self, device: usize, socket: SocketId) -> Option<Wire> {
        let life = self.devices[device].life;
        let same = |link: &Link| (link.device, link.life, link.socket) == (device, life, socket);
        self.links.iter().find(|(_, link)| same(link)).map(|(wire, _)| *wire)
    }

    pub fn next_wire(&mut self) -> Wire {
        self.wires += 1;
        Wire(self.wires)
    }

    pub fn connect(&mut self, device: usize, socket: SocketId) {
        let wire = self.next_wire();
        let Device { life, token, .. } = &self.devices[device];
        let token = token.as_str().to_owned();
        self.links.insert(wire, Link { device, life: *life, socket, stage: Stage::Opening, greeted: false });
        let latency = self.latency();
        if self.unreachable > 0 {
            self.unreachable -= 1;
            self.tally.fault("handshake does not get through");
            self.at(latency, Event::Opened { wire, failure: Some(OpenFailure::Unreachable) });
        } else {
            self.at(latency, Event::Handshake { wire, token });
        }
    }

    pub fn handshake(&mut self, wire: Wire, token: &str) {
        let Link { device, .. } = self.links[&wire];
        let Device { user, id, .. } = &self.devices[device];
        let failure = (!self.server.accept(wire, &user.id, *id, token)).then_some(OpenFailure::Denied);
        if failure.is_some() {
            self.tally.met("handshake: denied");
        }
        let latency = self.latency();
        self.at(latency, Event::Opened { wire, failure });
    }

    pub fn opened(&mut self, wire: Wire, failure: Option<OpenFailure>) {
        let Some(link) = self.links.get_mut(&wire).filter(|link| link.stage == Stage::Opening) else {
            self.server.ended(wire); // given up meanwhile
            return;
        };
        let (device, life, socket) = (link.device, link.life, link.socket);
        if let Some(failure) = failure {
            link.stage = Stage::Ended;
            self.tell_life(device, life, Input::OpenFailed { socket, failure });
        } else {
            link.stage = Stage::Open;
            self.tell_life(device, life, Input::Opened(socket));
        }
    }

    pub fn send(&mut self, device: usize, socket: SocketId, text: String) {
        let now_ms = self.now_ms;
        let request = Request::parse(&text).unwrap_or_else(|bad| panic!("a bad request: {:?}: {text}", bad.refusal));
        self.devices[device].check_request(&request, now_ms, &self.server);
        let wire = self.wire(device, socket).expect("frames go to sockets that were asked for");
        let link = self.links.get_mut(&wire).expect("just found");
        let hello = matches!(&request, Request::Hello(hello) if hello.after.is_none());
        assert!(link.greeted || hello, "the first request is `hello`, not {text}");
        link.greeted = true;
        match link.stage {
            Stage::Opening => panic!("a frame for a socket that is not open: {text}"),
            Stage::Open => {
                let latency = self.latency();
                self.at(latency, Event::ToServer { wire, text, fate: Fate::Answers });
            }
            Stage::HalfOpen => self.tally.fault("request vanishes in a half-open socket"),
            Stage::Ended => {}
        }
    }

    pub fn request(&mut self, wire: Wire, text: &str, fate: Fate) {
        if !self.server.has(wire) {
            return;
        }
        if let Some(fault) = fate.name() {
            self.tally.fault(fault);
        }
        let mut effect = match fate {
            Fate::Throttled | Fate::DiesFirst | Fate::FailsFirst => Effect::default(),
            _ => self.server.handle(wire, text),
        };
        let tasks = std::mem::take(&mut effect.tasks);
        if fate == Fate::DiesBeforeEnqueue {
            effect.posts.clear();
        } else {
            for task in tasks {
                let latency = self.latency();
                self.at(latency, Event::FanOut { task, again: false });
            }
        }
        self.post_all(std::mem::take(&mut effect.posts));
        let gateway = |message| format!(r#"{{"message":"{message}","connectionId":"c{}=","requestId":"r="}}"#, wire.0);
        let answer = match fate {
            Fate::Answers => effect.answer.as_ref().map(|answer| {
                self.tally.answer(answer);
                encode(answer)
            }),
            Fate::Throttled => Some(gateway("Too Many Requests")),
            Fate::DiesFirst | Fate::DiesBeforeEnqueue | Fate::DiesBeforeAnswer => Some(gateway("Internal server error")),
            Fate::FailsFirst | Fate::FailsAfter => {
                let id = Request::parse(text).expect("parsed before").id().clone();
                Some(encode(&error(&id, Refusal::new(ErrorCode::Unavailable, "unknown").after_ms(100))))
            }
        };
        let note = (fate == Fate::Answers).then_some(effect.note);
        if let Some(text) = answer {
            let latency = self.latency();
            self.at(latency, Event::ToClient { wire, text, push: false, note });
        }
        if effect.close {
            self.at(200, Event::Hangup { wire });
        }
    }

    pub fn post_all(&mut self, posts: Vec<(Wire, ServerFrame)>) {
        for (wire, frame) in posts {
            if self.server.has(wire) {
                if let ServerFrame::Error(_) | ServerFrame::Goaway(_) = &frame {
                    self.tally.answer(&frame);
                }
                let latency = self.latency();
                self.at(latency, Event::ToClient { wire, text: encode(&frame), push: true, note: None });
            } else {
                self.server.gone(wire);
            }
        }
    }

    pub fn frame(&mut self, wire: Wire, text: String, note: Option<Note>) {
        let Some(Link { device, life, socket, stage, .. }) = self.links.get(&wire).cloned() else {
            return; // somebody else's socket, in a displaced device's name
        };
        if stage == Stage::HalfOpen {
            self.tally.fault("frame vanishes in a half-open socket");
        }
        if stage != Stage::Open || self.devices[device].life != life {
            return;
        }
        self.devices[device].user.notes.extend(note);
        self.input(device, Input::Received { socket, text: Text(text) });
    }

    /// A socket carries nothing any more, from the device's side.
    pub fn end(&mut self, wire: Wire) {
        if let Some(link) = self.links.get_mut(&wire) {
            link.stage = Stage::Ended;
        }
        self.events.retain(|_, event| !matches!(event, Event::ToClient { wire: to, .. } | Event::Closed { wire: to } if *to == wire));
    }

    /// The server ends a socket; the device notices.
    pub fn hang_up(&mut self, wire: Wire) {
        self.server.ended(wire);
        if self.links.get(&wire).is_some_and(|link| matches!(link.stage, Stage::Open | Stage::HalfOpen)) {
            let open = self.links[&wire].stage == Stage::Open;
            self.end(wire);
            if open {
                let latency = self.latency();
                self.at(latency, Event::Closed { wire });
            }
        }
    }
}

impl Fate {
    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Answers => return None,
            Self::Throttled => "function: throttled",
            Self::DiesFirst => "function: dies before its writes",
            Self::DiesBeforeEnqueue => "function: dies before its enqueue",
            Self::DiesBeforeAnswer => "function: dies before its answer",
            Self::FailsFirst => "function: unavailable, nothing done",
            Self::FailsAfter => "function: unavailable, everything done",
        })
    }
}
