//! Two models of the design, in its own words, and every order of their steps.
//!
//! [`append`] is the anchored append: retries that overlap, dead writers whose put lands late, puts that are sent twice, a restore.
//! [`hello`] is a device that says hello while messages are fanned out. Neither shares a line with the code; each rule has a
//! number and names the place where the code has it. What the code does there is judged elsewhere: by the schedules in
//! `chatlane_chat::testing`, which run the real code. A model is smaller and can say more: not a sample of the orders but all there are
//! within its bounds, restores included.
//!
//! A model that cannot fail proves nothing. So each comes with *holes*: the same model with one rule left out or turned round. For each
//! the search must find a state that breaks the named guarantee, and it prints the shortest way there. *Sometimes* properties say that
//! the rare states (two attempts at once on different slots, an acknowledged message that a restore took back, …) are reached at all.
//!
//! "Finally" is not left to the checker's own *eventually*, which overlooks cases where two ways meet in one state. In both models each
//! step uses something up, so no way is endless, and a model at rest is judged by an *always* property: where nothing is left to do,
//! everything must have happened.
//!
//! A single thread searches breadth first, so that the first broken state is a nearest one and the numbers are the same every time.
//! Processes that are interchangeable are kept as a sorted list without regard to who began first: states that differ only by that are
//! one state.

pub mod append;
pub mod hello;
pub mod table;

/// The design in a scene, with a hole or without one.
#[derive(Clone, Copy, Debug)]
pub struct Design<Scene, Hole> {
    scene: Scene,
    hole: Option<Hole>,
    judged: Option<&'static str>,
}

impl<Scene, Hole: PartialEq> Design<Scene, Hole> {
    /// The design: everything is judged.
    pub const fn new(scene: Scene) -> Self {
        Self { scene, hole: None, judged: None }
    }

    /// The design, of which only this property is judged.
    pub const fn judged(judged: &'static str, scene: Scene) -> Self {
        Self { scene, hole: None, judged: Some(judged) }
    }

    /// The design with a hole; only this property is judged.
    pub const fn with(hole: Hole, judged: &'static str, scene: Scene) -> Self {
        Self { scene, hole: Some(hole), judged: Some(judged) }
    }

    fn has(&self, hole: Hole) -> bool {
        self.hole == Some(hole)
    }

    fn is_judged(&self, property: &str) -> bool {
        self.judged.is_none_or(|judged| judged == property)
    }
}
