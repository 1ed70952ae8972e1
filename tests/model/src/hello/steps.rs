//! What can happen, and what happens then.

use super::{Gate, Greeting, Hello, Hole, Socket, Stage, State, Step, Task, Worker};

impl State {
    fn socket(&mut self, number: u8) -> &mut Socket {
        &mut self.sockets[usize::from(number)]
    }

    fn sessions(&self) -> u8 {
        bits(self.sockets.iter().map(|socket| socket.session))
    }

    fn add_task(&mut self, task: Task) {
        let index = self.tasks.partition_point(|other| *other < task);
        self.tasks.insert(index, task);
    }

    fn add_worker(&mut self, task: Task, stage: Stage) {
        if let Stage::Posting { left: 0, gone: 0, .. } = stage {
            return self.finish(task);
        }
        let worker = Worker { task, stage };
        let index = self.workers.partition_point(|other| *other < worker);
        self.workers.insert(index, worker);
    }

    fn remove_worker(&mut self, worker: Worker) {
        if let Ok(index) = self.workers.binary_search(&worker) {
            self.workers.remove(index);
        }
    }

    /// The task is deleted from the queue, with all its copies that nobody has.
    fn finish(&mut self, task: Task) {
        self.done |= 1 << task.entry;
        self.tasks.retain(|other| other.entry != task.entry);
    }

    fn remove_all_sessions(&mut self) {
        self.sockets.iter_mut().for_each(|socket| socket.session = false);
    }
}

impl Greeting {
    pub(super) fn possible(&self, state: &State, steps: &mut Vec<Step>) {
        if state.stored <= self.scene.messages {
            steps.push(Step::Store);
        }
        steps.extend(set(state.unqueued).map(Step::Enqueue));
        let may_die = state.left.deaths > 0;
        let mut before = None;
        for task in &state.tasks {
            if before.replace(*task) != Some(*task) {
                steps.push(Step::Receive(*task));
                if state.left.copies > 0 && !task.repeated {
                    steps.push(Step::Copy(*task));
                }
            }
        }
        let mut before = None;
        for worker in &state.workers {
            if before.replace(*worker) == Some(*worker) {
                continue; // the same as the other's steps
            }
            match worker.stage {
                Stage::Read { .. } => steps.push(Step::Raise(*worker)),
                Stage::Raised { .. } => steps.push(Step::ReadSessions(*worker)),
                Stage::Posting { left, gone, .. } => {
                    steps.extend(set(left).map(|socket| Step::Post(*worker, socket)));
                    steps.extend(set(gone).map(|socket| Step::Remove(*worker, socket)));
                }
            }
            if may_die {
                steps.push(Step::WorkerDies(*worker));
            }
            if state.left.again > 0 && state.done & 1 << worker.task.entry == 0 {
                steps.push(Step::HandOutAgain(*worker));
            }
        }
        for (number, socket) in (0..).zip(&state.sockets) {
            self.of_socket(number, *socket, may_die, steps);
        }
        steps.extend(set(state.late).map(Step::WriteLate));
        if state.left.moves > 0 && state.on == 0 {
            steps.push(Step::Move { known: true });
            if state.here().gate == Gate::Open {
                steps.push(Step::Move { known: false });
            }
        }
    }

    fn of_socket(&self, number: u8, Socket { gate, session, hello, .. }: Socket, may_die: bool, steps: &mut Vec<Step>) {
        match gate {
            Gate::Connecting if self.has(Hole::SessionInConnect) => steps.push(Step::WriteInConnect(number)),
            Gate::Connecting | Gate::ConnectingWritten => steps.push(Step::Accept(number)),
            Gate::HalfOpen => steps.push(Step::Notice(number)),
            Gate::Gone if session || self.has(Hole::DisconnectRemovesUser) => steps.push(Step::Disconnect(number)),
            Gate::Unused | Gate::Open | Gate::Gone => {}
        }
        match hello {
            Hello::Unsaid | Hello::Told(_) | Hello::Displaced => return,
            Hello::Said if self.has(Hole::HeadBeforeSession) || self.has(Hole::SessionInConnect) => steps.push(Step::ReadHead(number)),
            Hello::Said | Hello::Read(_) => steps.push(Step::Write(number)),
            Hello::Displaces { .. } => steps.push(Step::Displace(number)),
            Hello::Stays => steps.push(Step::ReadHead(number)),
        }
        if may_die {
            steps.push(Step::HelloDies(number));
            if matches!(hello, Hello::Said) {
                steps.push(Step::HelloDiesWriting(number));
            }
        }
    }

    pub(super) fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Store => {
                state.stored += 1;
                state.unqueued |= 1 << state.stored;
            }
            Step::Enqueue(entry) => {
                state.unqueued &= !(1 << entry);
                state.add_task(Task { entry, repeated: false });
            }
            Step::Receive(task) => self.receive(state, task),
            Step::Raise(worker) => {
                state.remove_worker(worker);
                if let (Some(from), Stage::Read { sessions }) = (self.raise(state, worker.task), worker.stage) {
                    state.add_worker(worker.task, Stage::Posting { from, left: sessions, gone: 0 });
                }
            }
            Step::ReadSessions(worker) => {
                state.remove_worker(worker);
                if let Stage::Raised { from } = worker.stage {
                    state.add_worker(worker.task, Stage::Posting { from, left: state.sessions(), gone: 0 });
                }
            }
            Step::Post(worker, socket) => Self::post(state, worker, socket),
            Step::Remove(worker, socket) => self.remove(state, worker, socket),
            Step::WorkerDies(worker) => {
                state.left.deaths -= 1;
                state.remove_worker(worker);
                if state.done & 1 << worker.task.entry == 0 {
                    state.add_task(Task { repeated: true, ..worker.task });
                }
            }
            Step::HandOutAgain(worker) => {
                state.left.again -= 1;
                state.add_task(Task { repeated: true, ..worker.task });
            }
            Step::Copy(task) => {
                state.left.copies -= 1;
                state.add_task(task);
            }
            Step::Move { known } => {
                state.left.moves -= 1;
                let heard = state.here().heard;
                let gap = (state.have + 1..8).find(|entry| heard & 1 << entry == 0);
                state.have = gap.map_or(state.have, |gap| gap - 1);
                state.socket(0).gate = if known { Gate::Gone } else { Gate::HalfOpen };
                state.socket(1).gate = Gate::Connecting;
                state.on = 1;
            }
            Step::Notice(socket) => state.socket(socket).gate = Gate::Gone,
            Step::Disconnect(_) if self.has(Hole::DisconnectRemovesUser) => state.remove_all_sessions(),
            Step::Disconnect(socket) => state.socket(socket).session = false,
            Step::WriteInConnect(socket) => {
                state.socket(socket).gate = Gate::ConnectingWritten;
                state.socket(socket).session = true;
            }
            Step::Accept(socket) => {
                state.socket(socket).gate = Gate::Open;
                state.socket(socket).hello = Hello::Said;
            }
            Step::WriteLate(socket) => {
                state.late &= !(1 << socket);
                state.socket(socket).session = true;
            }
            Step::Write(_) | Step::Displace(_) | Step::ReadHead(_) | Step::HelloDies(_) | Step::HelloDiesWriting(_) => {
                self.greet(state, step);
            }
        }
    }

    fn receive(&self, state: &mut State, task: Task) {
        if let Ok(index) = state.tasks.binary_search(&task) {
            state.tasks.remove(index);
        }
        if self.has(Hole::SessionsBeforeHead) {
            state.add_worker(task, Stage::Read { sessions: state.sessions() });
        } else if let Some(from) = self.raise(state, task) {
            state.add_worker(task, Stage::Raised { from });
        }
    }

    /// Rules 4 to 6: writes the head as a maximum and learns what it was; from which entry on to post, or nothing if the task is done.
    fn raise(&self, state: &mut State, task: Task) -> Option<u8> {
        let Task { entry, repeated } = task;
        let before = state.head;
        state.head = if self.has(Hole::HeadSet) { entry } else { before.max(entry) };
        let covered = match self.hole {
            Some(Hole::RepeatedSkippedAtHead) if repeated => before >= entry,
            Some(Hole::RepeatedSkippedBelowHead) if repeated => before > entry,
            Some(Hole::FirstSkippedAtHead) if !repeated => before >= entry,
            _ => !repeated && before > entry,
        };
        if covered {
            state.finish(task);
            return None;
        }
        Some(match self.hole {
            Some(Hole::OnlyOwnEntry) => entry,
            _ if repeated => 1,
            _ => entry.min(before + 1),
        })
    }

    fn post(state: &mut State, worker: Worker, socket: u8) {
        state.remove_worker(worker);
        let Stage::Posting { from, mut left, mut gone } = worker.stage else { return };
        left &= !(1 << socket);
        match state.socket(socket).gate {
            Gate::Open => {
                let posted = (from..=worker.task.entry).fold(0, |bits, entry| bits | 1 << entry);
                state.socket(socket).heard |= posted;
            }
            Gate::HalfOpen => {}
            Gate::Unused | Gate::Connecting | Gate::ConnectingWritten | Gate::Gone => gone |= 1 << socket,
        }
        state.add_worker(worker.task, Stage::Posting { from, left, gone });
    }

    /// Rule 3: a 410 removes the session of that connection only.
    fn remove(&self, state: &mut State, worker: Worker, socket: u8) {
        state.remove_worker(worker);
        let Stage::Posting { from, left, gone } = worker.stage else { return };
        if self.has(Hole::GoneRemovesUser) {
            state.remove_all_sessions();
        }
        state.socket(socket).session = false;
        state.add_worker(worker.task, Stage::Posting { from, left, gone: gone & !(1 << socket) });
    }

    /// Rule 2: one step of a hello.
    fn greet(&self, state: &mut State, step: Step) {
        let head = state.head;
        match step {
            Step::Write(number) => {
                let other = 1 - number;
                let both = state.sockets[usize::from(other)].session;
                let read = if let Hello::Read(head) = state.socket(number).hello { Some(head) } else { None };
                let displaced = if self.has(Hole::DisplacedByArrival) { other } else { 0 };
                let socket = state.socket(number);
                socket.session = true;
                socket.hello = match read {
                    _ if both => Hello::Displaces { socket: displaced, read },
                    Some(head) => Hello::Told(head),
                    None => Hello::Stays,
                };
            }
            Step::Displace(number) => {
                let Hello::Displaces { socket, read } = state.socket(number).hello else { return };
                state.socket(socket).session = false;
                state.socket(number).hello = match read {
                    _ if socket == number => Hello::Displaced,
                    Some(head) => Hello::Told(head),
                    None => Hello::Stays,
                };
            }
            Step::ReadHead(number) => {
                let reads_first = self.has(Hole::HeadBeforeSession);
                state.socket(number).hello = if reads_first { Hello::Read(head) } else { Hello::Told(head) };
            }
            Step::HelloDies(number) | Step::HelloDiesWriting(number) => {
                state.left.deaths -= 1;
                if matches!(step, Step::HelloDiesWriting(_)) {
                    state.late |= 1 << number;
                }
                // The device says it again, if it is still there.
                state.socket(number).hello = if state.on == number { Hello::Said } else { Hello::Unsaid };
            }
            _ => {}
        }
    }
}

fn bits(set: impl Iterator<Item = bool>) -> u8 {
    set.enumerate().fold(0, |bits, (number, is_in)| bits | u8::from(is_in) << number)
}

fn set(bits: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |number| bits & 1 << number != 0)
}
