//! Processes that are killed in the middle of an operation, on purpose.
//!
//! The conductor, which takes part in the queue like everybody and on the record, *stops* those who are to die, waits until they have stopped, and
//! finds out by its own operations whether one of them stopped in the middle. If so it kills them; if not it lets them go on and tries again. So the
//! place of each kill is known, whatever the timing.
//!
//! - All receivers but the conductor have stopped. It tries to receive: empty. To send: full. To receive: still empty. Nobody else receives, so the
//!   room that is missing is that of a message which one of them has taken and not given back. If none has, the conductor can receive any number.
//! - All senders have stopped, and the conductor sends nothing. It receives until the queue is empty, or until the next message is still
//!   being written: by one of them.

use crate::history::{Operation, Outcome};
use crate::journal::{Journal, now};
use crate::worker::{Form, HUGE, Message, Start, receive, receive_all, send, send_all};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use shmkit::prelude::*;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

const SIGKILL: i32 = 9;
/// How long the conductor waits at most for something that others do: they may just have ended.
const A_WHILE: Duration = Duration::from_millis(100);
/// Stops in vain after which something must be wrong.
const PATIENCE: usize = 100_000;
/// Operations of one process: it is replaced after them.
const OPERATIONS: usize = 2_000;

/// A process and what it has written down.
struct Worker {
    process: JoinHandle<()>,
    journal: Journal,
}

pub(crate) struct Conductor {
    sender: mpmc::Sender<Message<HUGE>>,
    receiver: mpmc::Receiver<Message<HUGE>>,
    journal: Journal,
    messages: u32,
    history: Vec<Operation>,
    senders: Vec<Worker>,
    receivers: Vec<Worker>,
    /// The number of the process that was started last.
    last: u32,
    random: fastrand::Rng,
}

/// What a run with kills came to.
pub(crate) struct Killed {
    pub(crate) history: Vec<Operation>,
    /// How many messages were seen to come again: one in each round at least.
    pub(crate) again: usize,
    /// How many receivers were killed beside the one that surely held a message.
    pub(crate) companions: usize,
    /// How many times processes were stopped to find one in the middle.
    pub(crate) stops: usize,
}

/// Kills senders in `rounds` rounds, and receivers in as many, one at least being in the middle of a message.
pub(crate) fn run(capacity: usize, rounds: usize, random: fastrand::Rng) -> Killed {
    let (sender, receiver) = mpmc::channel(capacity).expect("a queue");
    let journal = Journal::new(1, OPERATIONS);
    let (history, senders, receivers) = (Vec::new(), Vec::new(), Vec::new());
    let mut conductor =
        Conductor { sender, receiver, journal, messages: 0, history, senders, receivers, last: 1, random };
    (0..2).for_each(|_| conductor.start_sender());
    let (mut again, mut companions, mut stops) = (0, 0, 0);
    for round in 0..rounds {
        let receivers = 1 + round % 2;
        (0..receivers).for_each(|_| conductor.start_receiver());
        stops += conductor.kill_senders();
        stops += conductor.kill_receivers();
        again += conductor.receive_again();
        companions += receivers - 1;
    }
    Killed { history: conductor.end(), again, companions, stops }
}

impl Conductor {
    /// A journal and a seed for the next process.
    fn next(&mut self) -> (Journal, u64) {
        self.last += 1;
        (Journal::new(self.last, OPERATIONS), self.random.u64(..))
    }

    fn start_sender(&mut self) {
        let (end, (journal, seed)) = (self.sender.clone(), self.next());
        let start = Start { journal: journal.clone(), end, seed, messages: u32::MAX, failures: OPERATIONS };
        let process = spawn(send_all, start).expect("a sender");
        self.senders.push(Worker { process, journal });
    }

    fn start_receiver(&mut self) {
        let (end, (journal, seed)) = (self.receiver.clone(), self.next());
        let start = Start { journal: journal.clone(), end, seed, messages: 0, failures: OPERATIONS };
        let process = spawn(receive_all, start).expect("a receiver");
        self.receivers.push(Worker { process, journal });
    }

    /// Puts a journal that is full away.
    fn make_room(&mut self) {
        if self.journal.room() == 0 {
            let full = std::mem::replace(&mut self.journal, Journal::new(1, OPERATIONS));
            self.history.extend(full.history(0, 0));
        }
    }

    fn send(&mut self, form: Form) -> Outcome {
        self.make_room();
        let value = self.journal.message(self.messages);
        let outcome = send(&self.journal, &self.sender, value, form);
        self.messages += u32::from(outcome == Outcome::Sent(value));
        outcome
    }

    /// `None` once nothing will ever come again.
    fn receive(&mut self, form: Form) -> Option<Outcome> {
        self.make_room();
        receive(&self.journal, &self.receiver, form)
    }

    fn receive_some(&mut self, form: Form) -> Outcome {
        self.receive(form).expect("the conductor is a sender itself")
    }

    /// Returns how many times the receivers were stopped.
    fn kill_receivers(&mut self) -> usize {
        for stops in 1..PATIENCE {
            self.stop(|conductor| &mut conductor.receivers, Self::start_receiver);
            if self.is_a_message_held() {
                std::mem::take(&mut self.receivers).into_iter().for_each(|victim| self.kill(victim));
                return stops;
            }
            // They find messages without end, and go on from one to the next while the conductor is told of the first.
            while self.send(Form::Try) != Outcome::Full {}
            go_on(&self.receivers);
            self.send(Form::For(A_WHILE));
        }
        panic!("no receiver ever stops in the middle of a message");
    }

    /// Receives what the receivers held that were killed. Returns how many messages these were.
    fn receive_again(&mut self) -> usize {
        let mut again = 0;
        while again == 0 || self.is_a_message_held() {
            // Nobody can send, for want of room, so it is that one. Who waits finds the dead.
            let waits = (0..1_000).map(|_| self.receive_some(Form::For(A_WHILE)));
            let received = waits.into_iter().find(|outcome| matches!(outcome, Outcome::Received(_)));
            received.expect("a message that a dead receiver held comes again");
            again += 1;
        }
        again
    }

    /// Whether a receiver has taken a message and not given its room back. All receivers but this one have stopped, or are dead.
    fn is_a_message_held(&mut self) -> bool {
        // Behind a message that is held there are fewer than the capacity; and once one of two is given back, as many again.
        let enough = 2 * self.sender.capacity();
        let mut received = 0;
        while received < enough {
            let mut outcome = self.receive_some(Form::Try);
            if outcome == Outcome::Empty && self.send(Form::Try) == Outcome::Full {
                outcome = self.receive_some(Form::Try);
                if outcome == Outcome::Empty {
                    return true;
                }
            }
            match outcome {
                Outcome::Received(_) => received += 1,
                // A sender is writing, and may wait for the processor.
                _ => std::thread::yield_now(),
            }
        }
        false
    }

    /// Returns how many times the senders were stopped.
    fn kill_senders(&mut self) -> usize {
        for stops in 1..PATIENCE {
            self.stop(|conductor| &mut conductor.senders, Self::start_sender);
            if self.is_a_message_half_sent() {
                std::mem::take(&mut self.senders).into_iter().for_each(|victim| self.kill(victim));
                (0..2).for_each(|_| self.start_sender());
                // Until somebody who waits has found the dead, the message in the way seems to be being written.
                while self.receive_some(Form::Try) == Outcome::Busy {
                    self.receive_some(Form::For(A_WHILE));
                }
                return stops;
            }
            // They find room for more than one message, and the conductor is told of the first.
            go_on(&self.senders);
            self.receive_some(Form::For(A_WHILE));
        }
        panic!("no sender ever stops in the middle of a message");
    }

    /// Whether a sender has claimed a place and not finished its message. All senders have stopped.
    fn is_a_message_half_sent(&mut self) -> bool {
        loop {
            match self.receive_some(Form::Try) {
                Outcome::Received(_) => {}
                other => return other == Outcome::Busy,
            }
        }
    }

    /// Stops all workers of a kind. Those that have ended meanwhile are replaced, and their replacements stopped.
    fn stop(&mut self, workers: fn(&mut Self) -> &mut Vec<Worker>, start: fn(&mut Self)) {
        let mut running = std::mem::take(workers(self));
        let mut stopped = Vec::new();
        while let Some(worker) = running.pop() {
            if stops(&worker.process) {
                stopped.push(worker);
                continue;
            }
            worker.process.join().expect("it ended by itself");
            self.history.extend(worker.journal.history(0, 0));
            start(self);
            running.append(workers(self));
        }
        *workers(self) = stopped;
    }

    fn kill(&mut self, victim: Worker) {
        let killed = now();
        victim.process.kill().expect("a child can be killed");
        match victim.process.join() {
            Err(JoinError::Exited { status }) if status.signal() == Some(SIGKILL) => {}
            // It had done everything, or had not come to life.
            Ok(()) | Err(JoinError::NeverStarted(_)) => {}
            Err(other) => panic!("the victim failed in another way: {other}"),
        }
        self.history.extend(victim.journal.history(killed, now()));
    }

    /// Receives what there is until the senders have left, and gathers all histories.
    fn end(mut self) -> Vec<Operation> {
        // A sender that nobody uses: the conductor's own is gone with it.
        let unused = mpmc::channel(1).expect("a queue").0;
        drop(std::mem::replace(&mut self.sender, unused));
        while self.receive(Form::Wait).is_some() {}
        for worker in self.senders.drain(..).chain(self.receivers.drain(..)) {
            worker.process.join().expect("it ends by itself");
            self.history.extend(worker.journal.history(0, 0));
        }
        self.history.extend(self.journal.history(0, 0));
        self.history
    }
}

/// Stops a process and waits until it has stopped: false if it has ended instead.
fn stops(process: &JoinHandle<()>) -> bool {
    // It may have ended.
    let _ = pidfd_send_signal(process.as_fd(), Signal::STOP);
    // The end is left for `join` to find.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(process.as_fd()), options).expect("a child").is_some_and(|status| status.stopped())
}

/// Lets workers that have stopped go on.
fn go_on(workers: &[Worker]) {
    for worker in workers {
        pidfd_send_signal(worker.process.as_fd(), Signal::CONT).expect("a child that has stopped");
    }
}
