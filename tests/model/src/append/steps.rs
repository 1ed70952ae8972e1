//! What can happen, and what happens then.

use super::{Append, Device, Entry, Hole, Position, Request, SLOTS, Stage, State, Step, Told};

impl State {
    fn at(&self, seq: u8) -> Option<Entry> {
        *self.log.get(usize::from(seq.checked_sub(1)?))?
    }

    /// The last entry of the run that begins at this seq; the seq before it if nothing is there.
    fn run_from(&self, seq: u8) -> u8 {
        (seq..u8::MAX).find(|seq| self.at(*seq).is_none()).map_or(seq, |gap| gap - 1)
    }

    fn position(&self, seq: u8) -> Option<Position> {
        self.at(seq).map(|entry| Position { epoch: entry.epoch, seq })
    }

    /// Rule 7: the last position before the first entry of an epoch above the anchor's; none: the tail.
    fn common(&self, anchor: Position) -> Position {
        let tail = self.run_from(1);
        let last = (1..=tail).take_while(|seq| self.at(*seq).is_some_and(|entry| entry.epoch <= anchor.epoch)).last();
        self.position(last.unwrap_or(1)).unwrap_or(anchor)
    }

    /// Rule 3: the anchor's entry exists, in its epoch.
    fn stands(&self, anchor: Position) -> bool {
        self.position(anchor.seq) == Some(anchor)
    }

    fn waits(&self, device: u8) -> bool {
        self.requests.iter().any(|request| request.device == device && !matches!(request.stage, Stage::Zombie { .. }))
    }

    fn device(&mut self, number: u8) -> &mut Device {
        &mut self.devices[usize::from(number)]
    }

    fn remove(&mut self, request: Request) {
        if let Ok(index) = self.requests.binary_search(&request) {
            self.requests.remove(index);
        }
    }

    fn add(&mut self, device: u8, stage: Stage) {
        let request = Request { device, stage };
        let index = self.requests.partition_point(|other| *other < request);
        self.requests.insert(index, request);
    }

    fn enqueue(&mut self, task: Position) {
        let index = self.tasks.partition_point(|other| *other < task);
        self.tasks.insert(index, task);
    }

    fn store(&mut self, seq: u8, entry: Entry) {
        let slot = usize::from(seq) - 1;
        self.log[slot] = Some(entry);
        let named = &mut self.named[usize::from(entry.epoch) - 1][slot];
        *named = named.or(Some(entry));
    }
}

impl Append {
    pub(super) fn possible(&self, state: &State, steps: &mut Vec<Step>) {
        let left = state.left;
        for (number, device) in (0..).zip(&state.devices) {
            match device.anchor {
                None => {
                    // Devices that have done nothing are alike: the one with the lowest number is the next.
                    steps.extend(Self::may_be_known(state).map(|known| Step::Compose(number, known)));
                    break;
                }
                Some(_) if device.told.is_some() => {}
                Some(anchor) => {
                    if left.syncs > 0 && state.position(state.run_from(1)) != Some(anchor) {
                        steps.push(Step::Sync(number));
                    }
                    if device.tries < self.tries_max() && (left.overlaps > 0 || !state.waits(number)) {
                        steps.push(Step::Send(number));
                    }
                }
            }
        }
        let mut before = None;
        for request in &state.requests {
            if before.replace(*request) == Some(*request) {
                continue; // the same as the other's steps
            }
            // Once its device is told, a request that is lost does nothing that a slow one does not.
            let matters = state.devices[usize::from(request.device)].told.is_none();
            Self::of_request(*request, left.faults > 0 && matters, steps);
        }
        let mut before = None;
        for task in &state.tasks {
            if before.replace(*task) != Some(*task) {
                steps.push(Step::Begin(*task));
            }
        }
        if left.restores > 0 {
            steps.extend((1..=state.run_from(1)).map(Step::Restore));
        }
    }

    /// What the highest position that a device has heard of can be: any that ever was one.
    fn may_be_known(state: &State) -> impl Iterator<Item = Position> {
        let of_epochs = (1..).zip(&state.named);
        of_epochs.flat_map(|(epoch, named)| {
            let seqs = (1..).zip(named).filter(|(_, entry)| entry.is_some());
            seqs.map(move |(seq, _)| Position { epoch, seq })
        })
    }

    fn of_request(request: Request, may_fail: bool, steps: &mut Vec<Step>) {
        match request.stage {
            Stage::OnItsWay { .. } => steps.push(Step::Read(request)),
            Stage::Claims { .. } => {
                steps.push(Step::Put(request));
                if may_fail {
                    steps.extend([Step::PutTwice(request), Step::DieInFlight(request)]);
                }
            }
            Stage::Zombie { .. } => steps.push(Step::Land(request)),
            Stage::Stored(_) | Stage::Found(_) => steps.push(Step::Enqueue(request)),
            Stage::Answers(_) | Stage::EpochChanged { .. } => steps.push(Step::Answer(request)),
        }
        if may_fail {
            steps.push(Step::Lose(request));
        }
    }

    /// What happens; `None`: nothing that the model has room for.
    pub(super) fn take(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Compose(number, known) => {
                state.device(number).anchor = Some(known);
                self.send(&mut state, number, known);
            }
            Step::Send(number) => {
                let anchor = state.device(number).anchor?;
                self.send(&mut state, number, anchor);
            }
            Step::Sync(number) => self.sync(&mut state, number),
            Step::Read(request) => {
                state.remove(request);
                if let Stage::OnItsWay { anchor } = request.stage {
                    self.read(&mut state, request.device, anchor);
                }
            }
            Step::Put(request) => {
                state.remove(request);
                if let Stage::Claims { seq, epoch } = request.stage {
                    let next = self.put(&mut state, request.device, seq, epoch)?;
                    self.go_on(&mut state, request.device, next);
                }
            }
            Step::PutTwice(Request { device, stage }) => {
                state.left.faults -= 1;
                if let Stage::Claims { seq, epoch } = stage {
                    state.add(device, Stage::Zombie { seq, epoch });
                }
            }
            Step::Land(request) => {
                state.remove(request);
                if let Stage::Zombie { seq, epoch } = request.stage
                    && (state.at(seq).is_none() || self.has(Hole::PutNotConditional))
                {
                    state.store(seq, Entry { epoch, device: Some(request.device) });
                }
            }
            Step::Enqueue(request) => {
                state.remove(request);
                self.queue(&mut state, request);
            }
            Step::Answer(request) => {
                state.remove(request);
                self.answer(&mut state, request);
            }
            Step::Lose(request) => {
                state.left.faults -= 1;
                state.remove(request);
            }
            Step::DieInFlight(request) => {
                state.left.faults -= 1;
                state.remove(request);
                if let Stage::Claims { seq, epoch } = request.stage {
                    state.add(request.device, Stage::Zombie { seq, epoch });
                }
            }
            Step::Begin(task) => {
                // Rule 9: the head is written as a maximum; positions compare as (epoch, seq).
                state.tasks.retain(|other| *other != task);
                state.head = state.head.max(task);
            }
            Step::Restore(cut) => self.restore(&mut state, cut),
        }
        if !self.has(Hole::PutNotConditional) {
            // What can have no effect any more need not be told apart.
            let log = state.log;
            let is_taken = |seq: u8| log.get(usize::from(seq) - 1).is_none_or(Option::is_some);
            state.requests.retain(|request| !matches!(request.stage, Stage::Zombie { seq, .. } if is_taken(seq)));
        }
        let devices = &state.devices;
        state.requests.retain(|Request { device, stage }| {
            let knows = devices[usize::from(*device)].told.is_some();
            !(knows && matches!(stage, Stage::Answers(_) | Stage::EpochChanged { .. }))
        });
        Some(state)
    }

    /// Without a queue, what is stored or found is answered at once.
    fn go_on(&self, state: &mut State, device: u8, next: Stage) {
        match next {
            Stage::Stored(position) | Stage::Found(position) if !self.scene.queue => state.add(device, Stage::Answers(position)),
            next => state.add(device, next),
        }
    }

    fn send(&self, state: &mut State, number: u8, anchor: Position) {
        if state.waits(number) {
            state.left.overlaps -= 1;
        }
        let tail = state.position(state.run_from(1));
        let device = state.device(number);
        device.tries += 1;
        let anchor = match tail {
            Some(tail) if self.has(Hole::AnchorRefreshedOnRetry) && device.tries > 1 => tail,
            _ => anchor, // rule 1: never refreshed by a retry
        };
        state.add(number, Stage::OnItsWay { anchor });
    }

    /// Rule 2: by its own sync a device may move the anchor, over entries that it has looked through.
    fn sync(&self, state: &mut State, number: u8) {
        state.left.syncs -= 1;
        let Some(anchor) = state.device(number).anchor else { return };
        if !state.stands(anchor) && !self.has(Hole::EpochNotCompared) {
            state.device(number).anchor = Some(state.common(anchor));
            return;
        }
        let tail = state.run_from(1);
        let seen = (anchor.seq + 1..=tail).find(|seq| state.at(*seq).is_some_and(|entry| entry.device == Some(number)));
        let (seen, tail) = (seen.and_then(|seq| state.position(seq)), state.position(tail));
        let device = state.device(number);
        if !self.has(Hole::SyncDoesNotLook) {
            device.told = seen.map(Told::Seen);
        }
        device.anchor = tail;
    }

    /// Rules 3 and 4, and which slot to claim by rule 5.
    fn read(&self, state: &mut State, device: u8, anchor: Position) {
        let occupant = state.at(anchor.seq);
        let stands = match self.hole {
            Some(Hole::AnchorNotChecked) => true,
            Some(Hole::EpochNotCompared) => occupant.is_some(),
            _ => state.stands(anchor),
        };
        if !stands {
            let restored = occupant.map_or(anchor.epoch < state.epoch, |entry| entry.epoch > anchor.epoch);
            if restored {
                state.add(device, Stage::EpochChanged { common: state.common(anchor) });
            }
            return; // else `anchor_unknown`: who keeps the rules never gets it, and would stay without an answer
        }
        let tail = state.run_from(anchor.seq + 1);
        let looked_from = if self.has(Hole::LookFromHead) { state.head.seq } else { anchor.seq };
        if let Some(found) = self.own(state, device, looked_from + 1, tail) {
            self.go_on(state, device, Stage::Found(found));
            return;
        }
        let seq = if self.has(Hole::SeqFromHead) { state.head.seq + 1 } else { tail + 1 };
        let epoch = state.epoch;
        state.add(device, Stage::Claims { seq, epoch });
        if self.has(Hole::AckBeforePut) {
            state.add(device, Stage::Answers(Position { epoch, seq }));
        }
    }

    /// Rule 5: what the put makes of the request.
    fn put(&self, state: &mut State, device: u8, seq: u8, epoch: u8) -> Option<Stage> {
        if usize::from(seq) > SLOTS {
            return None;
        }
        let Some(occupant) = state.at(seq).filter(|_| !self.has(Hole::PutNotConditional)) else {
            state.store(seq, Entry { epoch, device: Some(device) });
            return Some(Stage::Stored(Position { epoch, seq }));
        };
        let looks = !(self.has(Hole::OwnPutNotRecognised) && occupant.device == Some(device));
        let tail = state.run_from(seq);
        let found = if looks { self.own(state, device, seq, tail) } else { self.own(state, device, seq + 1, tail) };
        Some(found.map_or(Stage::Claims { seq: tail + 1, epoch }, Stage::Found))
    }

    /// L2: by sender and client message id. A hole does without the sender, and the first and the third device use the same id.
    fn own(&self, state: &State, device: u8, from: u8, to: u8) -> Option<Position> {
        let is_own = |entry: Entry| {
            entry.device == Some(device) || self.has(Hole::SenderNotCompared) && entry.device.is_some_and(|other| other % 2 == device % 2)
        };
        (from..=to).find(|seq| state.at(*seq).is_some_and(is_own)).and_then(|seq| state.position(seq))
    }

    /// Rule 6: queues the task, then answers.
    fn queue(&self, state: &mut State, request: Request) {
        match request.stage {
            Stage::Stored(position) => {
                state.enqueue(position);
                state.add(request.device, Stage::Answers(position));
            }
            Stage::Found(position) => {
                if position > state.head && !self.has(Hole::DuplicateNotQueued) {
                    state.enqueue(position);
                }
                state.add(request.device, Stage::Answers(position));
            }
            _ => {}
        }
    }

    fn answer(&self, state: &mut State, request: Request) {
        let device = state.device(request.device);
        match request.stage {
            Stage::Answers(position) if device.told.is_none() => device.told = Some(Told::Answered(position)),
            Stage::EpochChanged { common } if !self.has(Hole::AnchorKeptAfterRestore) => device.anchor = device.anchor.min(Some(common)),
            _ => {}
        }
    }

    /// Rule 7: cuts the log and raises the epoch.
    fn restore(&self, state: &mut State, cut: u8) {
        state.left.restores -= 1;
        state.log[usize::from(cut)..].fill(None);
        state.cuts.push(cut);
        if let Some(tail) = state.position(cut) {
            state.head = state.head.min(tail);
        }
        if !self.has(Hole::EpochNotRaised) {
            state.epoch += 1;
        }
        if !self.has(Hole::OldWritersReachTheRestoredLog) {
            let survives = |stage| matches!(stage, Stage::OnItsWay { .. } | Stage::Answers(_) | Stage::EpochChanged { .. });
            state.requests.retain(|request| survives(request.stage));
        }
    }
}
