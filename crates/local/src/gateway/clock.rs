//! Wall-clock time as API Gateway writes it: milliseconds, the access-log form in events, ISO 8601 in `@connections`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::UtcDateTime;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// `22/Feb/2022:19:07:37 +0000`, the form of `requestTime` (captured events in `aws_lambda_events`).
pub(crate) fn access_log_time(epoch_ms: u64) -> String {
    let time = utc(epoch_ms);
    let (hour, minute, second) = time.as_hms();
    format!("{:02}/{:.3}/{}:{hour:02}:{minute:02}:{second:02} +0000", time.day(), time.month().to_string(), time.year())
}

/// `2022-02-22T19:07:37.902Z`.
pub(super) fn iso_time(epoch_ms: u64) -> String {
    let time = utc(epoch_ms);
    let (hour, minute, second, millisecond) = time.as_hms_milli();
    format!("{}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", time.date())
}

fn utc(epoch_ms: u64) -> UtcDateTime {
    UtcDateTime::UNIX_EPOCH + Duration::from_millis(epoch_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_time_is_written_as_in_captured_events() {
        // Both values of one captured event: aws_lambda_events, example-apigw-websocket-request-disconnect-route.json.
        assert_eq!(access_log_time(1_707_503_008_941), "09/Feb/2024:18:23:28 +0000");
    }

    #[test]
    fn iso_times_know_leap_days_and_the_first_day() {
        assert_eq!(iso_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_time(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(iso_time(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
    }
}
