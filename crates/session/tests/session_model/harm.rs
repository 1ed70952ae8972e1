//! Harm that waits for its frame: a script names the n-th next frame of a kind, so that its faults meet something.

use chatlane_protocol::Request;

use super::sockets::Fate;
use super::world::{Event, World};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Answer,
    Push,
}

/// What happens to a frame or a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// It is lost, and its socket stays.
    Lose(Kind),
    /// It comes so much later; others overtake it.
    Delay(Kind, u64),
    /// A push comes twice.
    Double { later_ms: u64 },
    /// The function of a request comes to harm.
    Fate(Fate),
    /// A delivery is taken twice.
    Redeliver { later_ms: u64 },
    /// A delivery waits.
    Backlog { ms: u64 },
}

/// Harm, and how many of its kind go unharmed before.
#[derive(Clone, Debug)]
pub struct Armed {
    line: &'static str,
    unharmed: u8,
    harm: Harm,
}

/// What is left of an event that met harm, with the time until then.
pub type Left = Vec<(u64, Event)>;

impl World {
    /// Lets harm wait for its frame. The line counts as effective only when it has met it.
    pub fn arm(&mut self, line: &'static str, nth: u8, harm: Harm) -> bool {
        self.armed.push(Armed { line, unharmed: nth, harm });
        false
    }

    /// What becomes of an event that is to happen in `in_ms`.
    pub fn meet_harm(&mut self, in_ms: u64, event: Event) -> Left {
        let mut met = None;
        for (index, armed) in self.armed.iter_mut().enumerate() {
            if !armed.harm.is_for(&event) {
                continue;
            }
            if armed.unharmed == 0 && met.is_none() {
                met = Some(index);
            }
            armed.unharmed = armed.unharmed.saturating_sub(1);
        }
        let Some(Armed { line, harm, .. }) = met.map(|index| self.armed.remove(index)) else { return vec![(in_ms, event)] };
        self.tally.effect(line);
        if let Some(fault) = harm.name() {
            self.tally.fault(fault);
        }
        harm.strike(in_ms, event)
    }
}

impl Harm {
    const fn is_for(self, event: &Event) -> bool {
        matches!(
            (self, event),
            (Self::Lose(Kind::Request) | Self::Delay(Kind::Request, _) | Self::Fate(_), Event::ToServer { .. })
                | (Self::Lose(Kind::Answer) | Self::Delay(Kind::Answer, _), Event::ToClient { push: false, .. })
                | (Self::Lose(Kind::Push) | Self::Delay(Kind::Push, _) | Self::Double { .. }, Event::ToClient { push: true, .. })
                | (Self::Redeliver { .. } | Self::Backlog { .. }, Event::FanOut { again: false, .. })
        )
    }

    fn strike(self, in_ms: u64, event: Event) -> Left {
        match (self, event) {
            (Self::Lose(_), _) => vec![],
            (Self::Delay(_, ms) | Self::Backlog { ms }, event) => vec![(in_ms + ms, event)],
            (Self::Double { later_ms }, event) => vec![(in_ms, event.clone()), (in_ms + later_ms, event)],
            (Self::Fate(harm), Event::ToServer { wire, text, .. }) => {
                // Only a `send` has a delivery to enqueue.
                let sends = matches!(Request::parse(&text), Ok(Request::Send(_)));
                let fate = if sends || harm != Fate::DiesBeforeEnqueue { harm } else { Fate::DiesBeforeAnswer };
                vec![(in_ms, Event::ToServer { wire, text, fate })]
            }
            (Self::Redeliver { later_ms }, Event::FanOut { task, .. }) => {
                vec![(in_ms, Event::FanOut { task: task.clone(), again: false }), (in_ms + later_ms, Event::FanOut { task, again: true })]
            }
            (Self::Fate(_) | Self::Redeliver { .. }, event) => vec![(in_ms, event)],
        }
    }

    /// How it is counted; what happens to a function is counted when it happens.
    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Lose(Kind::Request) => "request lost",
            Self::Lose(Kind::Answer) => "answer lost after its effect",
            Self::Lose(Kind::Push) => "push lost",
            Self::Delay(Kind::Request, _) => "request overtaken",
            Self::Delay(Kind::Answer, _) => "answer overtaken",
            Self::Delay(Kind::Push, _) => "push overtaken",
            Self::Double { .. } => "push doubled",
            Self::Fate(_) => return None,
            Self::Redeliver { .. } => "delivery repeated",
            Self::Backlog { .. } => "delivery late",
        })
    }
}
