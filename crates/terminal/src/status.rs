//! The connection, as one line whenever it changes.

use std::time::{Duration, Instant};

/// A further wait that is shorter is over before anybody has read of it.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

/// The status of the connection, as the user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// On the way, also while what was missed is being fetched.
    Connecting,
    /// Up to date.
    Online,
    /// Nothing before this time.
    Offline {
        until: Instant,
    },
    NoToken,
    Displaced,
    Outdated,
}

impl Status {
    /// Whether waiting a little may bring an answer.
    pub(super) const fn is_hopeful(self) -> bool {
        matches!(self, Self::Connecting | Self::Online)
    }
}

/// What was said last, and what has changed since.
#[derive(Debug)]
pub(super) struct StatusLine {
    now: Status,
    said: Option<Status>,
    was_online: bool,
    /// Messages of others since the connection was up to date.
    missed: u64,
}

impl StatusLine {
    pub(super) const fn new() -> Self {
        Self { now: Status::Connecting, said: None, was_online: false, missed: 0 }
    }

    pub(super) const fn now(&self) -> Status {
        self.now
    }

    /// The connection is in another state.
    pub(super) const fn changed(&mut self, status: Status) {
        self.now = status;
    }

    /// A message of somebody else has come.
    pub(super) fn received(&mut self) {
        if self.said != Some(Status::Online) {
            self.missed += 1;
        }
    }

    /// What is to be said, if anything. A state that has gone by meanwhile is passed over; so are, while nobody is there, each new attempt
    /// and short waits between them.
    pub(super) fn say(&mut self, now: Instant) -> Option<String> {
        let was_offline = matches!(self.said, Some(Status::Offline { .. }));
        let nothing_new = match self.now {
            Status::Connecting => was_offline,
            Status::Offline { until } => was_offline && until.saturating_duration_since(now) < WORTH_A_LINE,
            _ => false,
        };
        if self.said == Some(self.now) || nothing_new {
            return None;
        }
        self.said = Some(self.now);
        Some(match self.now {
            Status::Connecting => "· connecting…".to_owned(),
            Status::Online => {
                let word = if std::mem::replace(&mut self.was_online, true) { "back" } else { "online" };
                match std::mem::take(&mut self.missed) {
                    0 => format!("· {word}"),
                    missed => format!("· {word}, {missed} new"),
                }
            }
            Status::Offline { until } => {
                let seconds = until.saturating_duration_since(now).max(Duration::from_millis(1)).as_millis().div_ceil(1000);
                format!("· offline, trying again in {seconds} s")
            }
            Status::NoToken => "· offline, waiting for a new token".to_owned(),
            Status::Displaced => "· offline, another connection took this one's place; /connect takes it back".to_owned(),
            Status::Outdated => "· offline, the server does not speak this version; update this program".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(now: Instant, ms: u64) -> Status {
        Status::Offline { until: now + Duration::from_millis(ms) }
    }

    #[test]
    fn each_change_is_one_line() {
        let (mut line, now) = (StatusLine::new(), Instant::now());
        let mut said = vec![];
        for status in [
            Status::Connecting,
            Status::Online,
            offline(now, 2_500),
            Status::Connecting,
            offline(now, 2_900),
            Status::Connecting,
            offline(now, 8_000),
            Status::Connecting,
            Status::Online,
            Status::NoToken,
            Status::Displaced,
            Status::Outdated,
        ] {
            line.changed(status);
            said.extend(line.say(now));
            assert_eq!(line.say(now), None);
        }
        let lines = [
            "· connecting…",
            "· online",
            "· offline, trying again in 3 s",
            "· offline, trying again in 8 s",
            "· back",
            "· offline, waiting for a new token",
            "· offline, another connection took this one's place; /connect takes it back",
            "· offline, the server does not speak this version; update this program",
        ];
        assert_eq!(said, lines);
    }

    #[test]
    fn who_comes_back_hears_how_much_was_missed() {
        let (mut line, now) = (StatusLine::new(), Instant::now());
        line.changed(Status::Online);
        line.received();
        assert_eq!(line.say(now).unwrap(), "· online, 1 new");
        line.received();
        line.changed(offline(now, 0));
        assert_eq!(line.say(now).unwrap(), "· offline, trying again in 1 s");
        line.changed(Status::Online);
        line.received();
        line.received();
        assert_eq!(line.say(now).unwrap(), "· back, 2 new");
    }

    #[test]
    fn a_state_that_has_gone_by_is_passed_over() {
        let (mut line, now) = (StatusLine::new(), Instant::now());
        line.changed(Status::Online);
        assert!(line.say(now).is_some());
        line.changed(offline(now, 1));
        line.changed(Status::Online);
        assert_eq!(line.say(now), None);
    }
}
