//! Depth-first search over all schedules. A run cannot be copied (it holds half-done futures), so a branch is reached by doing its steps
//! again from the beginning.

use std::collections::HashMap;

/// No schedule comes near it; one that does will not end.
const STEPS_MAX: usize = 500;

/// Two runs with the same identity go on in the same ways.
pub(super) type Identity = [u8; 32];

/// A run that is advanced step by step. The same steps lead to the same state.
pub(super) trait Run {
    /// One step.
    type Step: Copy;
    /// What is worth keeping of a step for when it is done again.
    type Trace;

    /// What can be next, always in the same order; nothing: the run has ended.
    fn possible(&self) -> Vec<Self::Step>;

    fn take(&mut self, step: Self::Step) -> Self::Trace;

    /// Takes a step that another run took in this state.
    fn take_again(&mut self, step: Self::Step, trace: &Self::Trace);

    fn identity(&self) -> Identity;

    /// Whether a run that has ended broke its promise.
    fn is_broken(&self) -> bool;
}

/// How the schedules end that go on from one state.
#[derive(Clone, Copy)]
struct Ends<S> {
    schedules: u64,
    broken: u64,
    /// Steps to the farthest end.
    steps_max: u32,
    /// Steps to the nearest broken end, and the first of them (none: this is it).
    nearest: Option<(u32, Option<S>)>,
}

/// How all schedules end.
pub(super) struct Searched {
    pub schedules: u64,
    pub broken: u64,
    pub steps_max: u32,
}

pub(super) struct Search<R: Run, B: Fn() -> R> {
    begin: B,
    /// The steps that led to the state in hand.
    path: Vec<(R::Step, R::Trace)>,
    seen: HashMap<Identity, Ends<R::Step>>,
}

impl<R: Run, B: Fn() -> R> Search<R, B> {
    pub(super) fn new(begin: B) -> Self {
        Self { begin, path: Vec::new(), seen: HashMap::new() }
    }

    pub(super) fn all(&mut self) -> Searched {
        let Ends { schedules, broken, steps_max, .. } = self.visit((self.begin)());
        Searched { schedules, broken, steps_max }
    }

    /// Different states that were visited.
    pub(super) fn states(&self) -> usize {
        self.seen.len()
    }

    /// The end of a shortest broken schedule among those that were searched.
    pub(super) fn shortest_broken(&self) -> Option<R> {
        let mut run = (self.begin)();
        loop {
            match self.seen.get(&run.identity())?.nearest? {
                (_, Some(step)) => drop(run.take(step)),
                (_, None) => return Some(run),
            }
        }
    }

    fn visit(&mut self, run: R) -> Ends<R::Step> {
        let identity = run.identity();
        if let Some(ends) = self.seen.get(&identity) {
            return *ends;
        }
        assert!(self.path.len() < STEPS_MAX, "the schedule does not end");
        let possible = run.possible();
        let mut ends = Ends { schedules: 0, broken: 0, steps_max: 0, nearest: None };
        if possible.is_empty() {
            ends.schedules = 1;
            if run.is_broken() {
                (ends.broken, ends.nearest) = (1, Some((0, None)));
            }
        }
        let mut in_hand = Some(run);
        for step in possible {
            let mut next = in_hand.take().unwrap_or_else(|| self.again());
            let trace = next.take(step);
            self.path.push((step, trace));
            let then = self.visit(next);
            self.path.pop();
            ends.schedules += then.schedules;
            ends.broken += then.broken;
            ends.steps_max = ends.steps_max.max(then.steps_max + 1);
            let through = then.nearest.map(|(steps, _)| steps + 1);
            if let Some(steps) = through.filter(|steps| ends.nearest.is_none_or(|(nearest, _)| *steps < nearest)) {
                ends.nearest = Some((steps, Some(step)));
            }
        }
        self.seen.insert(identity, ends);
        ends
    }

    /// Another run in the state in hand.
    fn again(&self) -> R {
        let mut run = (self.begin)();
        self.path.iter().for_each(|(step, trace)| run.take_again(*step, trace));
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that go from 0 to 2 and 3 in steps of one; broken if the first is done before the second has begun.
    struct Race {
        at: [u8; 2],
        first_was_done_alone: bool,
    }

    impl Run for Race {
        type Step = usize;
        type Trace = ();

        fn possible(&self) -> Vec<usize> {
            (0..2).filter(|counter| self.at[*counter] < [2, 3][*counter]).collect()
        }

        fn take(&mut self, counter: usize) {
            self.at[counter] += 1;
            self.first_was_done_alone |= self.at == [2, 0];
        }

        fn take_again(&mut self, counter: usize, (): &()) {
            self.take(counter);
        }

        fn identity(&self) -> Identity {
            let mut identity = [0; 32];
            identity[..3].copy_from_slice(&[self.at[0], self.at[1], u8::from(self.first_was_done_alone)]);
            identity
        }

        fn is_broken(&self) -> bool {
            self.first_was_done_alone
        }
    }

    #[test]
    fn every_schedule_is_counted_although_equal_states_are_visited_once() {
        let mut search = Search::new(|| Race { at: [0, 0], first_was_done_alone: false });
        let Searched { schedules, broken, steps_max } = search.all();
        assert_eq!((schedules, broken, steps_max), (10, 1, 5)); // 5 over 2; of these one begins with both steps of the first
        assert_eq!(search.states(), 12 + 3); // 3 × 4, and those of [2, 1] to [2, 3] that are broken; [2, 0] always is
        assert!(search.shortest_broken().is_some_and(|run| run.at == [2, 3] && run.first_was_done_alone));
    }
}
