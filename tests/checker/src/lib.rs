//! Decides Chatlane's guarantees from the outside: from what clients saw and did, and a dump of the tables.
//!
//! It shares no code with what it judges, so that no fault can hide in both. The formats of its inputs, and what it cannot see, are in
//! `README.md`. One module for each group of guarantees: `log` (L1, L2, L3, count), `order` (L5), `delivery` (D1), `quiescence` (L4, D2,
//! live), `cursors` (C1), `members` (M1), `messages` (what is done to messages: L1, M1,
//! D2, count), `rights` (R1). None of them loops over lines within lines: what they compare they look up.

mod case;
mod codes;
mod cursors;
mod delivery;
mod dump;
mod fields;
mod fold;
mod history;
mod log;
mod members;
mod messages;
mod order;
mod policy;
mod quiescence;
mod rights;
mod standing;
mod verdict;
mod words;

pub use fields::Malformed;
pub use verdict::{Check, Excuse, Guarantee, Verdict, Violation};

/// Judges a history against a dump, both JSON lines. `Err`: the first line that is not what the README says.
pub fn judge(history: &str, dump: &str) -> Result<Verdict, Malformed> {
    let mut names = words::Names::default();
    let history = history::parse(history, &mut names)?;
    let tables = dump::parse(dump, &mut names)?;
    let case = case::Case::new(names, history, tables);
    let mut verdict = Verdict::default();
    let counts = log::judge(&case, &mut verdict);
    order::judge(&case, &mut verdict);
    let phones = delivery::judge(&case, &mut verdict);
    quiescence::judge(&case, &counts, &phones, &mut verdict);
    cursors::judge(&case, &mut verdict);
    members::judge(&case, &mut verdict);
    messages::judge(&case, &phones, &mut verdict);
    rights::judge(&case, &mut verdict);
    Ok(verdict.sorted())
}
