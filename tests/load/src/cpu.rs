//! Processor time of this process and of its children, from `/proc` (Linux).

use std::time::Duration;

use anyhow::{Context as _, bail};

/// `USER_HZ`: the unit of times in `/proc`, 100 on every architecture of Linux (man page proc(5), time(7)).
const TICK: Duration = Duration::from_millis(10);

/// Processor time so far, of all threads, user and system together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// This process: generator, gateway, embedded endpoints.
    pub own: Duration,
    /// Its children, those that have ended included: the functions.
    pub children: Duration,
}

impl Cpu {
    /// Now.
    ///
    /// # Errors
    /// There is no `/proc`, or it is not Linux's.
    pub fn now() -> anyhow::Result<Self> {
        let own = Stat::read("self").context("/proc/self/stat")?;
        let mut cpu = Self { own: own.itself, children: own.ended_children };
        for entry in std::fs::read_dir("/proc").context("/proc")? {
            let name = entry?.file_name();
            // Whoever has ended meanwhile is counted by the parent the next time.
            let stat = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).and_then(|pid| Stat::read(pid).ok());
            if let Some(stat) = stat.filter(|stat| stat.parent == std::process::id()) {
                cpu.children += stat.itself + stat.ended_children;
            }
        }
        Ok(cpu)
    }

    /// The time since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { own: self.own.saturating_sub(before.own), children: self.children.saturating_sub(before.children) }
    }

    /// Both.
    pub fn all(self) -> Duration {
        self.own + self.children
    }
}

struct Stat {
    parent: u32,
    itself: Duration,
    ended_children: Duration,
}

impl Stat {
    fn read(pid: &str) -> anyhow::Result<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)
    }

    /// Fields behind the command, which is in parentheses and may hold anything: state (3), ppid (4), … utime (14), stime, cutime, cstime.
    fn parse(stat: &str) -> anyhow::Result<Self> {
        let (_, fields) = stat.rsplit_once(')').context("no command")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [_, parent, .., _] = fields[..] else { bail!("too few fields") };
        let ticks = |field: usize| -> anyhow::Result<Duration> {
            let ticks: u32 = fields.get(field - 3).context("too few fields")?.parse()?;
            Ok(TICK * ticks)
        };
        Ok(Self { parent: parent.parse()?, itself: ticks(14)? + ticks(15)?, ended_children: ticks(16)? + ticks(17)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_behind_whatever_the_command_is() {
        let stat = Stat::parse("7 (a) b (c) S 42 7 7 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 100 0 0").unwrap();
        assert_eq!((stat.parent, stat.itself, stat.ended_children), (42, Duration::from_secs(2), Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_stat_is_an_error() {
        for text in ["", "7 (a)", "7 (a) S", "7 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "7 (a) S 42 7"] {
            assert!(Stat::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn work_is_counted_as_ones_own() {
        let before = Cpu::now().unwrap();
        let mut sum = 0_u64;
        while Cpu::now().unwrap().since(before).own < Duration::from_millis(30) {
            sum = (0..100_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(Cpu::now().unwrap().since(before).all() >= Duration::from_millis(30), "{sum}");
    }
}
