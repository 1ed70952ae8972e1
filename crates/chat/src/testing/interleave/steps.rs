//! The steps of a schedule: what one of them does, and what goes wrong in it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use chatlane_protocol::{ClientMessageId, Position, Seq, UnixMillis};
use futures_util::FutureExt as _;

use super::device::{Anchors, Device, Wish};
use super::frame::{Answer, Told};
use super::half::{Before, Half, Meeting};
use super::judge;
use super::races::Met;
use super::script::{answered, drafts, operation, results};
use super::tally::Fault;
use super::{Attempt, Ports, Run, Stage, group, now, serving};
use crate::log::{Entry, Facts, Head, Kind, LaterEntry};
use crate::ports::{Failure, Heads as _, Put};
use crate::testing::desk::{Outcome as Answered, SharedDesk, Waiting, lock};
use crate::testing::memory::Memory;
use crate::workers::fan_out::{Received, fan_out};
use crate::workers::task::Task;

/// Receives of a task before it goes to the dead letters.
const RECEIVES_MAX: u32 = 3;

impl Run {
    /// A client sends its next frame, or the same again.
    pub(super) fn client(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let state = self.memory.state();
        let log = &state.log[&self.conversation];
        match device.wish() {
            Wish::Rest => return,
            Wish::Send => {
                let user = device.caller.user.clone();
                let wish = self.focus.as_ref().and_then(|focus| group::wish(self.scene, &mut self.rng, &user, &self.users, focus, log));
                for id in device.make(&mut self.rng, log, &mut self.numbers[index % self.users.len()], wish) {
                    self.judge.made(index, &user, id);
                    self.tally.made += 1;
                }
            }
            wish @ (Wish::Retry | Wish::Wait) => {
                let waits = wish == Wish::Wait;
                if waits && !self.rng.one_in(16) {
                    return;
                }
                if !device.retry(&mut self.rng, log) {
                    let frame = device.frame;
                    drop(state);
                    return self.note(format_args!("device {index} is done with frame {frame}: found in the log, or given up"));
                }
                self.tally.retried += 1;
                if waits {
                    self.tally.hit(Fault::Impatience);
                }
            }
        }
        let (request, frame) = (device.request(&mut self.rng, &self.conversation), device.frame);
        drop(state);
        self.tally.attempts += 1;
        let number = usize::try_from(self.tally.attempts).unwrap_or(usize::MAX);
        self.note(format_args!("device {index} sends {} as attempt {number}", drafts(&request)));
        let slow = self.rng.one_in(3);
        self.attempts.push(Attempt {
            number,
            device: index,
            frame: Some(frame),
            slow,
            desk: SharedDesk::default(),
            answered: false,
            wanted: request.wanted(),
            from: Seq::ZERO,
            stage: Stage::Travelling(request),
        });
    }

    /// An attempt begins, one of its calls takes effect, or it is answered and goes on to the next.
    pub(super) fn attempt(&mut self, index: usize) {
        let travels = matches!(self.attempts[index].stage, Stage::Travelling(_));
        let pace = if travels && self.restore_at.is_some() { 60 } else { 10 }; // late enough to arrive after the restore
        if self.attempts[index].slow && !self.rng.one_in(pace) {
            return;
        }
        let call = lock(&self.attempts[index].desk).calls.pop();
        if self.fault_one_in > 0 && self.rng.one_in(self.fault_one_in * 4) {
            return self.kill(index, call);
        }
        if let Some(call) = call {
            return self.call(index, call);
        }
        if !self.attempts[index].answered {
            let draw = self.rng.next();
            let attempt = &mut self.attempts[index];
            if let Stage::Travelling(request) = &attempt.stage {
                let (time, off_ms) = (Arc::clone(&self.time), draw % 2000); // clocks differ
                let clock = Box::new(move || now(time.load(Ordering::Relaxed)).plus_ms(off_ms));
                let ports = Ports { desk: Arc::clone(&attempt.desk), clock };
                let (request, settings) = (request.clone(), self.settings.clone());
                let caller = self.devices[attempt.device].caller.clone();
                attempt.stage = Stage::Running(serving(self.mutation, ports, draw, settings, caller, request));
                attempt.from = match &self.half {
                    Some(half) => half.seen(),
                    None => self.memory.state().log[&self.conversation].keys().next_back().copied().unwrap_or(Seq::ZERO),
                };
            }
        }
        self.go_on(index);
    }

    /// Polls the attempt, up to its next call or its end.
    fn go_on(&mut self, index: usize) {
        let attempt = &mut self.attempts[index];
        attempt.answered = false;
        let Stage::Running(serving) = &mut attempt.stage else { return };
        let Poll::Ready(result) = serving.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { return };
        let Attempt { number, device: of, frame, wanted, from, .. } = self.attempts.swap_remove(index);
        let lost = self.fault_one_in > 0 && self.rng.one_in(self.fault_one_in);
        let device = &mut self.devices[of];
        let present = frame == Some(device.frame);
        if present {
            device.awaited -= 1;
        }
        match &result {
            Ok(answer) => {
                let state = self.memory.state();
                let log = &state.log[&self.conversation];
                let (sender, honest) = (&device.caller.user, device.anchors != Anchors::Beyond);
                self.judge.answered(&judge::Answered { sender, wanted: &wanted, answer, honest, from }, log);
                if let Some(began) = self.judge.group_at(from) {
                    let ids = answer.iter().map(|(id, _)| id).collect();
                    Met { user: sender, wanted: &wanted, guessed: !honest, ids, from, began }.count(log, &mut self.tally);
                }
                if present && !lost {
                    device.take(answer, log);
                }
                drop(state);
                self.count(answer);
                self.note(format_args!("attempt {number} answers {}", results(answer)));
            }
            Err(failure) => self.note(format_args!("attempt {number} fails: {failure}")),
        }
        if lost {
            self.tally.hit(Fault::AnswerToClientLost);
            self.note(format_args!("device {of} does not get it"));
        }
    }

    fn count(&mut self, answer: &Answer) {
        for (_, told) in answer {
            match told {
                Told::Ok(_) => self.tally.ok += 1,
                Told::Duplicate(_) => self.tally.duplicates += 1,
                Told::Unchanged => self.tally.unchanged += 1,
                Told::Refused(_) => self.tally.refused += 1,
                Told::Conflict(_) | Told::NotAttempted => {}
            }
        }
    }

    /// A call reaches the backend, or something goes wrong.
    fn call(&mut self, index: usize, call: Waiting<Memory>) {
        match self.half.as_ref().map(|half| half.meets(&call)) {
            Some(Meeting::Waits) => return lock(&self.attempts[index].desk).calls.push(call),
            Some(Meeting::Contended) => return self.answer_call(index, &call, None, Box::new(Ok::<_, Failure>(Put::Contended))),
            Some(Meeting::Passes) | None => {}
        }
        let fault = self.fault_for(&call);
        let Attempt { number, device, .. } = self.attempts[index];
        self.judge.called(&self.devices[device].caller.user, call.method);
        match fault {
            None if matches!(call.method, "change" | "amend") && self.half.is_none() && self.rng.one_in(3) => {
                return self.begin_half(index, call);
            }
            None => {
                let answer = self.take_effect(&call);
                let answer = match &self.half {
                    Some(half) => half.seen_through(&call, answer),
                    None => answer,
                };
                return self.answer_call(index, &call, None, answer);
            }
            Some(Fault::PutAnswerLost | Fault::EnqueueAnswerLost) => {
                let _lost = self.take_effect(&call);
                self.note_call(number, &call, fault, None);
                call.lose();
            }
            Some(Fault::PutLate | Fault::EnqueueLate) => {
                self.note_call(number, &call, fault, None);
                call.lose();
                self.in_flight.push(call);
            }
            Some(Fault::PutContended) => {
                return self.answer_call(index, &call, fault, Box::new(Ok::<_, Failure>(Put::Contended)));
            }
            // The same request is on its way again.
            Some(Fault::PutResent | Fault::EnqueueResent) => {
                let first = self.take_effect(&call);
                self.note_call(number, &call, fault, Some(&*first));
                return lock(&self.attempts[index].desk).calls.push(call);
            }
            Some(Fault::PutResentWhileInFlight) => {
                self.note_call(number, &call, fault, None);
                lock(&self.attempts[index].desk).calls.push(call.again());
                return self.in_flight.push(call);
            }
            Some(_) => {
                self.note_call(number, &call, fault, None);
                call.lose();
            }
        }
        self.attempts[index].answered = true;
    }

    fn answer_call(&mut self, index: usize, call: &Waiting<Memory>, fault: Option<Fault>, answer: Box<dyn Answered>) {
        self.note_call(self.attempts[index].number, call, fault, Some(&*answer));
        call.answer(answer);
        self.attempts[index].answered = true;
    }

    /// A change takes effect, and is seen half until it ends.
    fn begin_half(&mut self, index: usize, call: Waiting<Memory>) {
        let number = self.attempts[index].number;
        let before = Before::of(&call, &self.memory.state());
        let answer = self.take_effect(&call);
        self.note_call(number, &call, None, Some(&*answer));
        match Half::of(number, call, answer, before) {
            Ok(half) => {
                self.tally.hit(Fault::HalfSeen);
                self.half = Some(half);
            }
            Err((call, answer)) => {
                call.answer(answer);
                self.attempts[index].answered = true;
            }
        }
    }

    /// More of a change is seen, or all of it and its writer goes on.
    pub(super) fn settle(&mut self) {
        let Some(mut half) = self.half.take() else { return };
        if half.goes_on(|hidden| self.rng.below(hidden)) {
            self.half = Some(half);
            return self.note(format_args!("more of the transaction is seen"));
        }
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.number == half.attempt) {
            attempt.answered = true;
        }
        half.end();
        self.note(format_args!("the transaction is seen whole"));
    }

    fn fault_for(&mut self, call: &Waiting<Memory>) -> Option<Fault> {
        const PUT: [Fault; 6] = [
            Fault::RequestLost,
            Fault::PutAnswerLost,
            Fault::PutLate,
            Fault::PutResent,
            Fault::PutResentWhileInFlight,
            Fault::PutContended,
        ];
        const ENQUEUE: [Fault; 4] = [Fault::EnqueueLost, Fault::EnqueueAnswerLost, Fault::EnqueueLate, Fault::EnqueueResent];
        if !self.rng.one_in(self.fault_one_in) {
            return None;
        }
        let fault = match call.method {
            "put" | "change" | "amend" => PUT[self.rng.below(PUT.len())],
            "enqueue" => ENQUEUE[self.rng.below(ENQUEUE.len())],
            _ => Fault::RequestLost,
        };
        self.tally.hit(fault);
        Some(fault)
    }

    fn take_effect(&mut self, call: &Waiting<Memory>) -> Box<dyn Answered> {
        self.tally.effects += 1;
        let answer = call.take_effect(&self.memory);
        if let Some(Ok(Put::Taken(_))) = (&*answer as &dyn Any).downcast_ref::<Result<Put, Failure>>() {
            self.tally.taken += 1;
        }
        // Before a later one changes what it says.
        self.judge.follow(&self.memory.state().log[&self.conversation]);
        answer
    }

    /// A put or a task of a writer that no longer waits for it reaches the backend.
    pub(super) fn arrive(&mut self, index: usize) {
        if !self.rng.one_in(8) {
            return;
        }
        let call = self.in_flight.swap_remove(index);
        let answer = self.take_effect(&call);
        self.note(format_args!("in flight: {} → {}", operation(&call), answered(&*answer)));
    }

    /// The process of an attempt dies; what it has sent may still arrive.
    fn kill(&mut self, index: usize, call: Option<Waiting<Memory>>) {
        let Attempt { number, device, frame, answered, .. } = self.attempts.swap_remove(index);
        if frame == Some(self.devices[device].frame) {
            self.devices[device].awaited -= 1;
        }
        let fault = match call {
            Some(call) if call.leaves_a_trace() && self.rng.one_in(2) => {
                self.in_flight.push(call);
                Fault::KilledInFlight
            }
            None if answered => Fault::KilledBeforeAnswer,
            Some(_) | None => Fault::Killed,
        };
        self.tally.hit(fault);
        self.note(format_args!("attempt {number} of device {device} dies: {fault:?}"));
    }

    /// A fan-out worker receives one of the tasks, and does all of it in one step: what runs between its calls is not the append's matter.
    pub(super) fn worker(&mut self) {
        if !self.rng.one_in(4) {
            return;
        }
        let (task, receives) = self.receive();
        let range = format!("#{} to {}", task.first, task.last);
        if self.rng.one_in(self.fault_one_in) {
            // It dies after its first call.
            let raised = self.memory.raise_head(&self.conversation, task.head()).now_or_never();
            raised.expect("the memory backend never waits").expect("the conversation exists");
            self.visible_again.push((task, receives + 1));
            self.tally.hit(Fault::WorkerKilled);
            return self.note(format_args!("a worker raises the head for {range} and dies"));
        }
        self.memory.clock.set(now(self.steps));
        let done =
            fan_out(&self.memory, &self.settings.keys.users, &task, Received { times: receives, accepted: task.queued }, UnixMillis::MAX)
                .now_or_never();
        match done.expect("the memory backend never waits") {
            Ok(report) => {
                let frames = std::mem::take(&mut self.memory.state().posts);
                for (connection, frame) in &frames {
                    self.judge.posted(connection, frame);
                }
                let did = if report.superseded { "leaves to a later task" } else { "delivers" };
                self.note(format_args!("a worker {did} {range}"));
                if self.rng.one_in(self.fault_one_in) {
                    self.tally.hit(Fault::TaskReceivedAgain);
                    self.visible_again.push((task, receives + 1));
                }
            }
            Err(failure) => {
                self.note(format_args!("a worker fails at {range}: {failure}"));
                if receives < RECEIVES_MAX {
                    self.visible_again.push((task, receives + 1));
                } else {
                    self.judge.dead_letter(&task);
                }
            }
        }
    }

    /// Any task, and how often it was received with this time.
    fn receive(&mut self) -> (Task, u32) {
        let mut state = self.memory.state();
        let any = self.rng.below(state.queue.len() + self.visible_again.len());
        if any < state.queue.len() { (state.queue.swap_remove(any).0, 1) } else { self.visible_again.swap_remove(any - state.queue.len()) }
    }

    /// The tables are restored to an earlier moment under a raised epoch. What ran against the old ones has no effect on the new ones;
    /// requests on their way arrive at the new deployment.
    pub(super) fn restore(&mut self) {
        self.restore_at = None;
        self.settings.epoch += 1;
        let last = {
            let mut state = self.memory.state();
            let log = state.log.get_mut(&self.conversation).expect("the conversation exists");
            let entries = log.len() as u64;
            let kept = entries - self.rng.between(0, 5.min(entries - 1));
            let last = log.values().take_while(|entry| entry.position.seq.get() <= kept).last().map_or_else(Head::default, Entry::head);
            log.split_off(&last.position.seq.next());
            let head = state.heads.get_mut(&self.conversation).expect("the conversation exists");
            *head = std::cmp::min_by_key(last, *head, |head| head.position);
            last.position
        };
        self.in_flight.clear();
        self.attempts.retain(|attempt| matches!(attempt.stage, Stage::Travelling(_)));
        // Sockets end with the old deployment: what was on its way arrives now, and nobody waits for the answers.
        for attempt in &mut self.attempts {
            (attempt.frame, attempt.slow) = (None, false);
        }
        self.devices.iter_mut().for_each(Device::reconnect);
        // The others may all be beyond the tail and wait; one who held nothing of the old log goes on at once.
        self.devices.push(Device::new(self.scene.caller(self.devices.len()), Anchors::Known, 3, 4));
        self.judge.restored(last.seq, self.settings.epoch);
        self.tally.hit(Fault::Restore);
        let epoch = self.settings.epoch;
        self.note(format_args!("restored to {last}, epoch {epoch}"));
    }

    /// Alice is removed, as a later version does it: an entry and her rows in one transaction.
    pub(super) fn remove_alice(&mut self) {
        self.removal_at = None;
        let alice = self.devices[0].caller.user.clone();
        let removal = {
            let mut state = self.memory.state();
            let log = state.log.get_mut(&self.conversation).expect("the conversation exists");
            let tail = log.values().next_back().expect("a log has entry 1");
            let seq = tail.position.seq.next();
            let facts = Facts { membership_changed: seq, removed: seq, ..tail.facts.clone() };
            let (position, sender) = (Position::new(tail.position.epoch, seq), self.devices[1].caller.user.clone());
            let client_message_id = ClientMessageId::new("removal").expect("this is a client message id");
            let kind = Kind::Later(LaterEntry { kind: "expelled".to_owned(), wire: None });
            let removal = Entry { position, sender, client_message_id, kind, facts, ..tail.clone() };
            log.insert(seq, removal);
            state.members.remove(&(self.conversation.clone(), alice.clone()));
            seq
        };
        self.judge.removed(&alice, removal);
        self.tally.hit(Fault::Removal);
        self.note(format_args!("alice is removed by #{removal}"));
    }

    fn note_call(&mut self, number: usize, call: &Waiting<Memory>, fault: Option<Fault>, answer: Option<&dyn Answered>) {
        if self.script.is_none() {
            return;
        }
        let fault = fault.map(|fault| format!(" ({fault:?})")).unwrap_or_default();
        match answer {
            Some(answer) => self.note(format_args!("attempt {number}: {}{fault} → {}", operation(call), answered(answer))),
            None => self.note(format_args!("attempt {number}: {}{fault}", operation(call))),
        }
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(script) = &mut self.script {
            script.push(format!("{:4} {line}", self.steps));
        }
    }
}
