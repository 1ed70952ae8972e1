//! What must be, and what must be possible.

use stateright::Property;

use super::{ANSWERED, Append, L1, L2, L3, L4, Scene, Stage, State, Told};

pub(super) fn properties(scene: Scene) -> Vec<Property<Append>> {
    let mut properties = vec![
        Property::always(L1, |_, state: &State| is_gapless(state) && is_never_reused(state)),
        Property::always(L2, |_, state: &State| is_stored_once(state)),
        Property::always(L3, |_, state: &State| is_kept(state)),
        Property::always(ANSWERED, |model: &Append, state: &State| {
            state.devices.iter().all(|device| device.told.is_some()) || !(is_at_rest(model, state) || is_stuck(model, state))
        }),
        Property::sometimes("a message is stored and its device cannot know", |_, state: &State| is_stored_unknown(state)),
        Property::sometimes("a message is found by sync", |_, state: &State| {
            state.devices.iter().any(|device| matches!(device.told, Some(Told::Seen(_))))
        }),
        Property::sometimes("everything is done", is_at_rest),
    ];
    if scene.left.overlaps > 0 {
        properties.push(Property::sometimes("two requests of one message claim different slots", |_, state: &State| claims_differ(state)));
    }
    if scene.queue {
        properties.push(Property::always(L4, |model: &Append, state: &State| !is_at_rest(model, state) || is_begun(state)));
        properties.push(Property::sometimes("a request finds what an earlier one has stored", |_, state: &State| {
            state.requests.iter().any(|request| matches!(request.stage, Stage::Found(_)))
        }));
    }
    if scene.left.restores > 0 {
        properties.extend([
            Property::sometimes("an anchor is refused", |_, state: &State| {
                state.requests.iter().any(|request| matches!(request.stage, Stage::EpochChanged { .. }))
            }),
            Property::sometimes("a restore takes back what a device was told", |_, state: &State| {
                known(state).any(|(device, told)| !stands(state, device, told))
            }),
            Property::sometimes("a message is stored again under another position", |_, state: &State| {
                let [first, second, _] = &state.named;
                second.iter().flatten().any(|entry| first.iter().flatten().any(|other| other.device == entry.device))
            }),
        ]);
    }
    if scene.queue && scene.left.restores > 0 {
        properties.push(Property::sometimes("the head is beyond the log", |_, state: &State| {
            usize::from(state.head.seq) > state.log.iter().flatten().count()
        }));
    }
    properties
}

fn is_gapless(state: &State) -> bool {
    state.log.iter().skip_while(|slot| slot.is_some()).all(Option::is_none)
}

fn is_never_reused(state: &State) -> bool {
    let stored = state.log.iter().enumerate().filter_map(|(slot, entry)| Some((slot, (*entry)?)));
    stored.into_iter().all(|(slot, entry)| state.named[usize::from(entry.epoch) - 1][slot] == Some(entry))
}

fn is_stored_once(state: &State) -> bool {
    let of = |number| state.log.iter().flatten().filter(|entry| entry.device == Some(number)).count();
    (0..).zip(&state.devices).all(|(number, _)| of(number) <= 1)
}

fn known(state: &State) -> impl Iterator<Item = (u8, Told)> {
    (0..).zip(&state.devices).filter_map(|(number, device)| Some((number, device.told?)))
}

fn stands(state: &State, device: u8, told: Told) -> bool {
    let position = told.position();
    let entry = state.log[usize::from(position.seq) - 1];
    entry.is_some_and(|entry| entry.epoch == position.epoch && entry.device == Some(device))
}

fn is_kept(state: &State) -> bool {
    known(state).all(|(device, told)| {
        let position = told.position();
        // The first restore raised the epoch to 2: what is of epoch 1 may be cut by any of them, what is of 2 not by that one.
        let is_cut = state.cuts.iter().skip(usize::from(position.epoch) - 1).any(|cut| position.seq > *cut);
        stands(state, device, told) || is_cut
    })
}

fn is_begun(state: &State) -> bool {
    known(state).all(|(device, told)| match told {
        Told::Answered(position) => position <= state.head || !stands(state, device, told),
        Told::Seen(_) => true, // nobody sends again: that one is the sweeper's
    })
}

/// Nothing is on its way and no device would send again.
fn is_at_rest(model: &Append, state: &State) -> bool {
    let rests = state.devices.iter().all(|device| device.anchor.is_some() && (device.told.is_some() || device.tries == model.tries_max()));
    rests && state.requests.is_empty() && state.tasks.is_empty()
}

/// What must not be before everything is done: then "at rest" would not be reached.
fn is_stuck(model: &Append, state: &State) -> bool {
    let mut steps = vec![];
    model.possible(state, &mut steps);
    steps.is_empty()
}

fn claims_differ(state: &State) -> bool {
    let claims = |request: &super::Request| match request.stage {
        Stage::Claims { seq, .. } | Stage::Zombie { seq, .. } => Some((request.device, seq)),
        _ => None,
    };
    let all: Vec<(u8, u8)> = state.requests.iter().filter_map(claims).collect();
    all.iter().any(|(device, seq)| all.iter().any(|(other, another)| other == device && another != seq))
}

fn is_stored_unknown(state: &State) -> bool {
    let stored = |number| state.log.iter().flatten().any(|entry| entry.device == Some(number));
    (0..).zip(&state.devices).any(|(number, device)| {
        let nobody_knows = state.requests.iter().filter(|request| request.device == number).count() == 0;
        device.told.is_none() && stored(number) && nobody_knows
    })
}
