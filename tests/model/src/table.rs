//! Runs a search and tells what it saw, a line of a table each.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

/// A scene that was searched through.
#[derive(Debug)]
pub struct Held {
    /// What it is called.
    pub scene: &'static str,
    /// States that were reached, each as often as it was reached.
    pub states: usize,
    /// Different ones.
    pub unique: usize,
    /// Steps of the longest way that the search went, and one.
    pub depth: usize,
    /// Of the search.
    pub time: Duration,
    /// *Sometimes* properties with an example, and how many there are.
    pub reached: (usize, usize),
    /// What was broken or never reached, with the way to it.
    pub wrong: Vec<String>,
}

impl Held {
    /// The line above the lines.
    pub const HEADER: &'static str = "model                                         states     unique  depth    time  reached";
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, states, unique, depth, time, reached: (reached, of), wrong } = self;
        write!(f, "{scene:<40} {states:>11} {unique:>10} {depth:>6} {:>6.1}s  {reached}/{of}", time.as_secs_f64())?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n  WRONG: {wrong}"))
    }
}

/// A hole that was looked for.
#[derive(Debug)]
pub struct Found {
    /// What it is called.
    pub hole: String,
    /// The guarantee that it must break.
    pub breaks: &'static str,
    /// Different states until then.
    pub unique: usize,
    /// Of the search.
    pub time: Duration,
    /// The shortest way to the broken state; nothing if there is none, which is what must not be.
    pub script: Option<Vec<String>>,
}

impl Found {
    /// The line above the lines.
    pub const HEADER: &'static str = "hole                               breaks                     unique    time  found in";
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hole, breaks, unique, time, script } = self;
        let found = script.as_ref().map_or_else(|| "NOT FOUND".to_owned(), |script| format!("{} steps", script.len()));
        write!(f, "{hole:<34} {breaks:<23} {unique:>9} {:>6.1}s  {found}", time.as_secs_f64())
    }
}

/// Searches all of it.
pub fn hold<M>(scene: &'static str, model: M) -> Held
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    let properties = model.properties();
    let begun = Instant::now();
    // Whatever is broken, the numbers are those of the whole.
    let checker = model.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    let time = begun.elapsed();
    let discoveries = checker.discoveries();
    let (mut reached, mut of, mut wrong) = (0, 0, vec![]);
    for property in properties {
        let discovery = discoveries.get(property.name);
        match (property.expectation, discovery) {
            (Expectation::Always | Expectation::Eventually, None) => {}
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                wrong.push(format!("{} is broken: {}", property.name, script(path.clone()).join(" | ")));
            }
            (Expectation::Sometimes, found) => {
                of += 1;
                match found {
                    Some(_) => reached += 1,
                    None => wrong.push(format!("never reached: {}", property.name)),
                }
            }
        }
    }
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    Held { scene, states, unique, depth, time, reached: (reached, of), wrong }
}

/// Searches up to the first state that breaks what the model judges, which is one property.
///
/// # Panics
/// If the model judges more than one: the way to its first broken state would be written over by later ones.
pub fn find<M>(hole: String, model: M) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    let properties = model.properties();
    let [judged] = &properties[..] else { panic!("{hole}: one property is judged") };
    let breaks = judged.name;
    let begun = Instant::now();
    let checker = model.checker().spawn_bfs().join();
    let time = begun.elapsed();
    Found { hole, breaks, unique: checker.unique_state_count(), time, script: checker.discovery(breaks).map(script) }
}

fn script<S, A: Debug>(path: Path<S, A>) -> Vec<String> {
    path.into_actions().iter().map(|step| format!("{step:?}")).collect()
}

#[cfg(test)]
mod tests {
    use stateright::Property;

    use super::*;

    /// Counts from 0 to 3.
    struct Counts(Vec<Property<Self>>);

    impl Model for Counts {
        type State = u8;
        type Action = u8;

        fn init_states(&self) -> Vec<u8> {
            vec![0]
        }

        fn actions(&self, state: &u8, steps: &mut Vec<u8>) {
            steps.extend((*state < 3).then_some(1));
        }

        fn next_state(&self, last: &u8, step: u8) -> Option<u8> {
            Some(last + step)
        }

        fn properties(&self) -> Vec<Property<Self>> {
            self.0.clone()
        }
    }

    fn below_2() -> Property<Counts> {
        Property::always("below 2", |_, state| *state < 2)
    }

    fn below_4() -> Property<Counts> {
        Property::always("below 4", |_, state| *state < 4)
    }

    #[test]
    fn a_scene_tells_what_is_broken_and_what_was_never_reached() {
        let reached = Property::sometimes("is 3", |_, state| *state == 3);
        let held = hold("counts", Counts(vec![below_2(), below_4(), reached, Property::sometimes("is 9", |_, state| *state == 9)]));
        assert_eq!((held.unique, held.depth, held.reached), (4, 4, (1, 2)));
        let [broken, unreached] = &held.wrong[..] else { panic!("{held}") };
        assert!(broken.starts_with("below 2 is broken: 1 | 1"), "{broken}");
        assert_eq!(unreached, "never reached: is 9");
        assert!(held.to_string().contains("WRONG: never reached: is 9"), "{held}");
    }

    #[test]
    fn a_hole_is_found_by_the_shortest_way_or_said_not_to_be() {
        let found = find("a hole".to_owned(), Counts(vec![below_2()]));
        assert_eq!(found.script, Some(vec!["1".to_owned(), "1".to_owned()]));
        assert!(found.to_string().ends_with("2 steps"), "{found}");
        let missed = find("no hole".to_owned(), Counts(vec![below_4()]));
        assert_eq!((missed.script.as_deref(), missed.breaks), (None, "below 4"));
        assert!(missed.to_string().ends_with("NOT FOUND"), "{missed}");
    }

    #[test]
    #[should_panic(expected = "one property is judged")]
    fn a_hole_is_judged_by_one_property() {
        find("two".to_owned(), Counts(vec![below_2(), below_4()]));
    }
}
