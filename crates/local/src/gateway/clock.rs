//! Wall-clock time as API Gateway writes it: milliseconds, the access-log form in events, ISO 8601 in `@connections`.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// `22/Feb/2022:19:07:37 +0000`, the form of `requestTime` (captured events in `aws_lambda_events`).
pub(super) fn access_log_time(epoch_ms: u64) -> String {
    let (year, month, day) = civil(epoch_ms);
    let (hour, minute, second) = time_of_day(epoch_ms);
    let month = MONTHS.get(usize::try_from(month - 1).unwrap_or_default()).unwrap_or(&"Jan");
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// `2022-02-22T19:07:37.902Z`.
pub(super) fn iso_time(epoch_ms: u64) -> String {
    let (year, month, day) = civil(epoch_ms);
    let (hour, minute, second) = time_of_day(epoch_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", epoch_ms % 1000)
}

fn time_of_day(epoch_ms: u64) -> (u64, u64, u64) {
    let seconds = epoch_ms / 1000;
    (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Year, month (1–12) and day of the proleptic Gregorian calendar; Howard Hinnant's `civil_from_days`, years that begin in March.
fn civil(epoch_ms: u64) -> (u64, u64, u64) {
    let days = epoch_ms / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
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
