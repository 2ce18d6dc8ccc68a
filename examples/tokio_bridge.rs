//! An async program asks, and blocking processes answer: queues lead from one to the other.
//!
//! ```text
//! client 1 asks for the factors of 1000000000000036
//! client 2 asks for the factors of 1000000000000037
//! client 3 asks for the factors of 1000000000000038
//! tick 1
//! tick 2
//! tick 3
//! 2 workers start
//! client 1 is told that 1000000000000036 = 2 x 2 x 7 x 37 x 965250965251
//! client 1 asks for the factors of 1000000000000039
//! client 1 is told that 1000000000000039 = 17 x 29 x 686669 x 2953967
//! client 3 is told that 1000000000000038 = 2 x 3 x 11593 x 34679 x 414559
//! client 3 asks for the factors of 1000000000000041
//! client 3 is told that 1000000000000041 = 3 x 23 x 137 x 577 x 13187 x 13903
//! tick 4
//! tick 5
//! client 2 is told that 1000000000000037 = 1000000000000037
//! client 2 asks for the factors of 1000000000000040
//! client 2 is told that 1000000000000040 = 2 x 2 x 2 x 5 x 13 x 41 x 46904315197
//! answered: 6 questions of 3 clients, by 2 workers
//! ticks meanwhile: 5
//! ```
//!
//! The questions come from tasks of tokio, all of them in one thread: whoever blocked it would stop everything. They await room in one queue and
//! the next answer in another, and the timer ticks meanwhile. To make that plain the workers start at the third tick only, which would never
//! come if anybody blocked: until then there is room for two questions, and nobody answers.
//!
//! The workers know nothing of futures. They block for a question, divide for as long as it takes, and answer when they are done. That is not the order in
//! which they were asked, so a number goes with each question, and comes back with its answer. A question is leased meanwhile: if its worker
//! dies, another one gets it.

use clap::Parser;
use shmkit::process::{JoinHandle, spawn};
use shmkit::queue::buffer::{self, Receiver, Sender};
use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::interval;

type Failure = Box<dyn Error + Send + Sync>;

/// In a process of its own: until nobody can ask any more.
fn work((questions, answers): (Receiver, Sender)) {
    for lease in questions.iter() {
        let (id, number): (u64, u64) = lease.value().expect("it was encoded as that");
        if answers.send_value(&(id, factors(number))).is_err() {
            return; // nobody is there to be told
        }
        lease.ack();
    }
}

/// The prime factors, by nothing but division.
fn factors(mut number: u64) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut divisor = 2;
    while divisor <= number / divisor {
        if number.is_multiple_of(divisor) {
            factors.push(divisor);
            number /= divisor;
        } else {
            divisor += 1 + divisor % 2; // 2, 3, 5, 7, 9, …
        }
    }
    factors.push(number);
    factors
}

/// The workers as the async side sees them.
struct Workers {
    questions: Sender,
    /// How many questions there were, and the number of the next one.
    asked: AtomicU64,
    /// Who waits for the answer to which question.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Vec<u64>>>>,
}

impl Workers {
    async fn ask(&self, number: u64) -> Result<Vec<u64>, Failure> {
        let (answer, answered) = oneshot::channel();
        let id = self.asked.fetch_add(1, Ordering::Relaxed); // a number that nobody else gets; it orders nothing
        self.waiting.lock().expect("nobody panics with it").insert(id, answer);
        self.questions.send_value_async(&(id, number)).await?;
        Ok(answered.await?)
    }

    /// Hands answers to those who wait for them, until there are no workers any more.
    async fn hand_out(&self, answers: &Receiver) -> Result<(), Failure> {
        while let Ok(lease) = answers.recv_async().await {
            let (id, factors) = lease.value()?;
            lease.ack();
            if let Some(answer) = self.waiting.lock().expect("nobody panics with it").remove(&id) {
                // Fails if the asker does not wait any more, which is its own business.
                let _ = answer.send(factors);
            }
        }
        Ok(())
    }
}

async fn client(name: u64, workers: Arc<Workers>, numbers: Vec<u64>) -> Result<(), Failure> {
    for number in numbers {
        println!("client {name} asks for the factors of {number}");
        let factors: Vec<String> = workers.ask(number).await?.iter().map(u64::to_string).collect();
        println!("client {name} is told that {number} = {}", factors.join(" x "));
    }
    Ok(())
}

/// All that is async. Returns the workers' processes, which end when nobody can ask any more.
async fn run(
    Arguments { clients, questions: each, workers: count }: Arguments,
) -> Result<Vec<JoinHandle<()>>, Failure> {
    // Two questions are under way at most, so one more client waits for room.
    let (questions, for_workers) = buffer::channel((2, 32))?;
    let (from_workers, answers) = buffer::channel((16, 1024))?;
    let mut ends_of_workers = Some((for_workers, from_workers));
    let workers = Arc::new(Workers { questions, asked: AtomicU64::new(0), waiting: Mutex::default() });

    let mut asking = JoinSet::new();
    for name in 1..=clients {
        let numbers = (0..each).map(|question| FIRST + question * clients + name - 1).collect();
        asking.spawn(client(name, workers.clone(), numbers));
    }
    let mut handing_out = pin!(workers.hand_out(&answers));
    let (mut timer, mut ticks) = (interval(Duration::from_millis(20)), 0);
    let mut processes = Vec::new();
    loop {
        tokio::select! {
            _ = timer.tick() => {
                ticks += 1;
                println!("tick {ticks}");
                if ticks == 3 && let Some(ends) = ends_of_workers.take() {
                    processes = (0..count).map(|_| spawn(work, ends.clone())).collect::<Result<_, _>>()?;
                    println!("{count} workers start");
                }
            }
            client = asking.join_next() => match client {
                Some(outcome) => outcome??,
                None => break,
            },
            outcome = &mut handing_out => {
                outcome?;
                return Err("every worker has gone, and questions are left".into());
            }
        }
    }
    println!("answered: {} questions of {clients} clients, by {count} workers", workers.asked.load(Ordering::Relaxed));
    println!("ticks meanwhile: {ticks}");
    Ok(processes)
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // To wait for the end of a process blocks, so that is done out here.
    for process in runtime.block_on(run(Arguments::parse()))? {
        process.join()?;
    }
    Ok(())
}

/// The numbers from here on are asked about. The second one is a prime, which takes longest.
const FIRST: u64 = 1_000_000_000_000_036;

/// Tokio's tasks ask blocking processes for the prime factors of large numbers.
#[derive(Parser)]
struct Arguments {
    /// How many tasks ask.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    clients: u64,
    /// How many questions each of them has, one after the other.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    questions: u64,
    /// How many processes answer.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
}
