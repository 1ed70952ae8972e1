//! How early and how late the wait before a `tick` may end, whatever a client draws: the session's own wait, played again with the least
//! and with the greatest random numbers.

use chatlane_session::{Moment, Session};
use serde_json::{Value, json};

use crate::read;

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Writes into the steps whose wait is over since which step that wait has run, and its bounds. `before` are the sessions before each step.
pub fn bound(steps: &mut [Value], before: &[Session]) {
    for over in 1..steps.len() {
        if steps[over]["input"]["wait"] != "over" {
            continue;
        }
        let run = &steps[..over];
        let wake = run[over - 1]["wake_at_ms"].as_u64().expect("what is over was waited for");
        let as_it_was = |step: &Value| step["random"].as_u64().unwrap_or_default();
        // What was set by a later step than this one does not move with it.
        let since = (0..over).rev().find(|&since| wake_after(&before[since], &run[since..], 1, as_it_was) == Some(wake + 1));
        let since = since.unwrap_or_else(|| panic!("the wait before step {over} began with none: {}", steps[over]));
        let ends = |value_of: fn(u64) -> u64| {
            let wake = wake_after(&before[since], &run[since..], 0, |step| random(step, value_of)).expect("it still waits");
            wake - at_ms(&run[since])
        };
        let (next_to_least_ms, late_ms) = (ends(|max| max.min(1)), ends(|max| max));
        // With the least one a wait of nothing else would be none, and a wait lasts a millisecond at least. How long a refused token is left
        // alone is for each client to say.
        let input = &run[since]["input"];
        let token_refused = input["failure"] == "denied" || input["frame"]["code"] == "token_refused";
        let early_ms = if token_refused { 1 } else { (next_to_least_ms - u64::from(next_to_least_ms < late_ms)).max(1) };
        steps[over]["ends"] = json!({"since": since, "early_ms": early_ms, "late_ms": late_ms});
    }
}

fn at_ms(step: &Value) -> u64 {
    step["at_ms"].as_u64().expect("a step has a time")
}

/// When the wait ends that runs behind these steps, if they begin so much later, with these random numbers. As the judge does it: a wait that
/// is shorter or longer than the vector's moves the times.
fn wake_after(before: &Session, steps: &[Value], later_ms: u64, random: impl Fn(&Value) -> u64) -> Option<u64> {
    let mut session = before.clone();
    let mut ahead = i64::try_from(later_ms).ok()?;
    for (number, step) in steps.iter().enumerate() {
        let mut at = at_ms(step).checked_add_signed(ahead)?;
        if let Some(Moment(wake)) = session.wake_at().filter(|_| number > 0) {
            at = match step["input"]["wait"].as_str() {
                Some("over") => at.max(wake),
                Some(_) => at,
                None => at.min(wake - 1),
            };
        }
        ahead = at.cast_signed() - at_ms(step).cast_signed();
        session.handle(Moment(at), random(step), read::input(&step["input"]));
    }
    session.wake_at().map(|wake| wake.0)
}

/// A random number of which the session draws, in this step, what `value_of` makes of the greatest value of each draw.
fn random(step: &Value, value_of: fn(u64) -> u64) -> u64 {
    let moduli = step["draws"].as_array().into_iter().flatten().filter_map(|draw| draw["modulus"].as_u64());
    let wanted: Vec<_> = moduli.map(|modulus| (modulus, value_of(modulus - 1))).collect();
    let Some((modulus, value)) = wanted.first() else { return 0 };
    // The first draw by turning `splitmix64` round, the others by trying.
    let seeds = (0_u64..).map(|times| unmix(value + times * modulus).wrapping_sub(GAMMA));
    let fits = |seed: &u64| {
        (1_u64..).zip(&wanted).all(|(nth, (modulus, value))| mix(seed.wrapping_add(GAMMA.wrapping_mul(nth))) % modulus == *value)
    };
    seeds.into_iter().find(fits).expect("some number does")
}

const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const fn unmix(z: u64) -> u64 {
    let z = (z ^ (z >> 31) ^ (z >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    z ^ (z >> 30) ^ (z >> 60)
}
