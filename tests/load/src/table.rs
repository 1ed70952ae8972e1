//! The printed tables.

use std::time::Duration;

use hdrhistogram::Histogram;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// Milliseconds at some quantiles, a line each histogram (of microseconds); with a floor, each also as a multiple of it.
pub fn latencies(lines: &[(&str, &Histogram<u64>)], floor: Option<&Histogram<u64>>) -> String {
    let head = QUANTILES.map(|(name, _)| format!("{name:>10}{:8}", "")).concat();
    let lines = lines.iter().map(|(name, histogram)| {
        let cells = QUANTILES.map(|(_, quantile)| {
            let took = milliseconds(histogram.value_at_quantile(quantile));
            let times = floor.map(|floor| format!("×{:.1}", took / milliseconds(floor.value_at_quantile(quantile))));
            format!("{took:>10.1} {:7}", times.unwrap_or_default())
        });
        format!("{:32}{}", format!("{name} ({})", histogram.len()), cells.concat())
    });
    let table: Vec<String> = std::iter::once(format!("{:32}{head}", "milliseconds")).chain(lines).collect();
    table.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// The machine and the build, which all figures depend on.
pub fn machine() -> String {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("profile {profile}; {cores} cores")
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::histogram;

    #[test]
    fn a_line_has_the_count_the_milliseconds_and_the_multiple_of_the_floor() {
        let (mut floor, mut took) = (histogram(), histogram());
        floor.record(2_000).unwrap();
        took.record(5_000).unwrap();
        let table = latencies(&[("send → ack", &took)], Some(&floor));
        let (_, line) = table.split_once('\n').unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["send", "→", "ack", "(1)", "5.0", "×2.5", "5.0", "×2.5", "5.0", "×2.5", "5.0", "×2.5"]);
    }
}
