//! Where a device's tokens come from.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use chatlane_protocol::Token;

/// Why there is no token. For the source's own logs: a device only tries again.
pub type NoToken = Box<dyn Error + Send + Sync>;

/// A source of tokens, such as the app's login.
pub trait Tokens: Send + Sync + 'static {
    /// A fresh token of the device's user. An error means "not now": it is asked for again, after a pause. The same
    /// if it takes over a minute: the future is dropped.
    fn token(&self) -> impl Future<Output = Result<Token, NoToken>> + Send;
}

impl<F, A> Tokens for F
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = Result<Token, NoToken>> + Send,
{
    fn token(&self) -> impl Future<Output = Result<Token, NoToken>> + Send {
        self()
    }
}

/// The pause after so many failures: it doubles up to half a minute, and half of it is random, so that many devices do not come together.
pub(super) fn pause(failures: u32, random: u64) -> Duration {
    const FIRST_MS: u64 = 1_000;
    const LONGEST_MS: u64 = 30_000;
    let longest = FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_MS);
    Duration::from_millis(longest / 2 + random % (longest / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_a_failure_doubles_up_to_half_a_minute() {
        let longest: Vec<_> = (1..8).map(|failures| pause(failures, 1_000_000_000).as_millis()).collect();
        assert!(longest.is_sorted() && longest.iter().all(|ms| (500..=30_000).contains(ms)), "{longest:?}");
        assert_eq!(pause(1, 0), Duration::from_millis(500));
        assert_eq!(pause(1, 500), Duration::from_secs(1));
        assert_eq!(pause(u32::MAX, 0), Duration::from_secs(15));
    }
}
