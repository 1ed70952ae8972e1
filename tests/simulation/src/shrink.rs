//! From a failing run to a short script: leave out operations, then faults, as long as the same guarantee is broken (delta debugging:
//! Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).

use crate::fault::{Fault, Plan};
use crate::run::{Outcome, run};
use crate::script::{Script, Step};

/// A shorter script that breaks the same guarantee, as short as `runs_max` further runs get it.
pub fn shrink(script: &Script, runs_max: usize) -> Script {
    let outcome = run(script, false);
    let Some(violation) = &outcome.violation else { return script.clone() };
    let same = |outcome: &Outcome| outcome.violation.as_ref().is_some_and(|found| found.guarantee == violation.guarantee);
    let story = format!("{}: {}", violation.guarantee, violation.what);
    Script { story, ..shrink_while(script, &outcome, runs_max, same) }
}

/// A shorter script whose outcome is still of this kind, as that of the script is.
pub fn shrink_while(script: &Script, outcome: &Outcome, runs_max: usize, mut is_such: impl FnMut(&Outcome) -> bool) -> Script {
    let mut left = runs_max;
    let mut fails = |script: &Script| {
        left = left.saturating_sub(1);
        left > 0 && is_such(&run(script, false))
    };
    let mut best = script.with_faults(&outcome.struck);
    for _ in 0..3 {
        let before = best.clone();
        let faults: Vec<(Fault, u64)> = if let Plan::These(faults) = &best.faults { faults.iter().copied().collect() } else { vec![] };
        let plan = |faults: &[(Fault, u64)]| Plan::These(faults.iter().copied().collect());
        let faults = reduce(faults, |faults| fails(&Script { faults: plan(faults), ..best.clone() }));
        best.faults = plan(&faults);
        let steps = reduce(best.steps.clone(), |steps: &[Step]| fails(&Script { steps: steps.to_vec(), ..best.clone() }));
        best.steps = steps;
        if best == before {
            break;
        }
    }
    best
}

/// The smallest list found that still fails.
fn reduce<T: Clone>(mut list: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut size = list.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut shorter) = (0, false);
        while at < list.len() {
            let mut rest = list[..at].to_vec();
            rest.extend_from_slice(&list[list.len().min(at + size)..]);
            if fails(&rest) {
                list = rest;
                shorter = true;
            } else {
                at += size;
            }
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::reduce;

    #[test]
    fn what_is_needed_is_left_in_its_order_and_nothing_else() {
        let fails = |list: &[u32]| [17, 42, 43].iter().all(|needed| list.contains(needed));
        assert_eq!(reduce((0..100).collect(), fails), [17, 42, 43]);
    }

    #[test]
    fn a_list_that_is_not_needed_at_all_is_left_out() {
        assert_eq!(reduce(vec![1, 2, 3], |_| true), [0; 0]);
        assert_eq!(reduce(vec![1, 2, 3], |list| list == [1, 2, 3]), [1, 2, 3]);
    }
}
