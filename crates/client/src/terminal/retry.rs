//! Whether and when a request is made again. Always with the same ids and anchors: that is what makes it safe (L2).

use std::time::Duration;

use chatlane_protocol::Refusal;

use crate::connection::RequestError;

/// After so many attempts a person is told that it did not work.
pub(super) const ATTEMPTS_MAX: u32 = 10;

/// The first pause where the server names none; each further one is twice as long, up to [`PAUSE_MS_MAX`].
const PAUSE_MS: u64 = 200;
const PAUSE_MS_MAX: u64 = 5_000;

/// The pause before the next attempt, after `attempts` of them. `None`: a further one changes nothing, or enough were made. `random`
/// spreads the attempts of many clients over half of the pause again.
pub(super) fn pause(failure: &RequestError, attempts: u32, random: u64) -> Option<Duration> {
    let doubled = PAUSE_MS.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_MS_MAX);
    let pause_ms = match failure {
        RequestError::Refused(Refusal { retryable: true, retry_after_ms, .. }) => retry_after_ms.unwrap_or(doubled),
        RequestError::Unknown(_) => doubled,
        RequestError::Refused(_) | RequestError::Unreadable | RequestError::Displaced | RequestError::Closed(_) => return None,
    };
    let spread_ms = random % (pause_ms / 2 + 1);
    (attempts < ATTEMPTS_MAX).then(|| Duration::from_millis(pause_ms.saturating_add(spread_ms)))
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::ErrorCode;

    use super::*;

    fn refused(code: ErrorCode) -> RequestError {
        RequestError::Refused(Refusal::new(code, ""))
    }

    #[test]
    fn a_pause_is_what_the_server_asks_for_and_up_to_half_more() {
        let failure = RequestError::Refused(Refusal::new(ErrorCode::RateLimited, "").after_ms(100));
        assert_eq!(pause(&failure, 1, 0), Some(Duration::from_millis(100)));
        assert_eq!(pause(&failure, 1, 50), Some(Duration::from_millis(150)));
        assert_eq!(pause(&failure, 1, 51), Some(Duration::from_millis(100)));
    }

    #[test]
    fn where_nobody_names_a_pause_it_doubles_up_to_a_bound() {
        let failure = RequestError::Unknown(String::new());
        let pauses: Vec<_> = (1..ATTEMPTS_MAX).map(|attempts| pause(&failure, attempts, 0).unwrap().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000]);
        assert_eq!(pause(&refused(ErrorCode::Busy), 1, 0), Some(Duration::from_millis(200)));
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        assert_eq!(pause(&refused(ErrorCode::NotFound), 1, 0), None);
        assert_eq!(pause(&RequestError::Unreadable, 1, 0), None);
    }

    #[test]
    fn attempts_end() {
        assert_eq!(pause(&refused(ErrorCode::Unavailable), ATTEMPTS_MAX, 0), None);
    }
}
